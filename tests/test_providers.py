"""PROVIDERS: each API is asked in its own words; every call stands in the ledger with its exact cost."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_llm import CHAT_USAGE, GEMINI_USAGE, MESSAGE_USAGE, OLLAMA_USAGE, FakeServer, serve_fake

import promptry

KEY = "sk-test-0123456789abcdefSECRET"
VARIABLES = {
    "openai": ("OPENAI_BASE_URL", "/v1", "OPENAI_API_KEY"),
    "anthropic": ("ANTHROPIC_BASE_URL", "", "ANTHROPIC_API_KEY"),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", "/v1beta", "GEMINI_API_KEY"),
    "ollama": ("OLLAMA_HOST", "", ""),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Run a fake of the four APIs, whose addresses and keys stand in the environment."""
    monkeypatch.setattr(promptry, "_pause", lambda _: None)
    for name in [name for name in os.environ if name.lower().endswith(("_proxy", "_api_key"))]:
        monkeypatch.delenv(name)
    with serve_fake() as server:
        for base, path, key in VARIABLES.values():
            monkeypatch.setenv(base, server.url + path)
            if key:
                monkeypatch.setenv(key, f" {KEY}\n")
        yield server


def rows(raw: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "input": said, "output": answered, **json.loads(metadata)}
        for name, metadata, said, answered in raw.execute(
            "SELECT prompt_name, metadata, input_text, output_text FROM invocations ORDER BY id"
        )
    ]


GENERATE = "/v1beta/models/gemini-2.5-flash:generateContent"
APIS = [
    # (provider, path, header with the key, usage, USD)
    ("openai:gpt-4.1-mini", "/v1/chat/completions", ("authorization", f"Bearer {KEY}"), CHAT_USAGE, 0.00066),
    ("anthropic:claude-sonnet-4-5", "/v1/messages", ("x-api-key", KEY), MESSAGE_USAGE, 0.0055875),
    ("gemini:gemini-2.5-flash", GENERATE, ("x-goog-api-key", KEY), GEMINI_USAGE, 0.00084),
    ("ollama:llama3", "/api/chat", ("authorization", None), OLLAMA_USAGE, None),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "path", "header", "usage", "usd"), APIS)
def test_each_api_is_asked_in_its_words_and_its_call_has_the_exact_cost(
    provider: str, path: str, header: tuple[str, str | None], usage: dict[str, Any], usd: float | None,
    server: FakeServer, raw: Any,
) -> None:  # fmt: skip
    reply = promptry.ask_provider(provider, "Say hello.", {"temperature": 0}, name="greeting")
    assert (reply.text, reply.usage, reply.tool_calls) == ("Hello, world!", usage, [])
    assert reply.cost_usd == (None if usd is None else pytest.approx(usd, abs=1e-15)) and reply.latency_ms > 0
    assert reply.finish_reason in {"stop", "end_turn", "STOP"}
    assert server.requests[0][0] == path and server.headers[0].get(header[0]) == header[1]
    (row,) = rows(raw)
    assert (row["name"], row["origin"], row["status"]) == ("greeting", "eval", "ok")
    assert (row["tokens_in"], row["tokens_out"]) == (1250 if "claude" in provider else 1200, 300)
    assert row.get("cost_usd") == reply.cost_usd and row["usage"] == usage
    assert row["cost_source"] == ("unpriced" if usd is None else "computed")
    assert row["parameters"] == {"temperature": 0} and row["latency_ms"] == reply.latency_ms
    assert row["model"] == provider.partition(":")[2] and row["input"] is None


CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Weather?"},
]
WANTED = {"temperature": 0.5, "max_tokens": 9, "stop": "END"}
BODIES = {
    "openai": {"model": "m", "messages": CHAT, **WANTED},
    "anthropic": {
        "model": "m", "max_tokens": 9, "temperature": 0.5, "stop_sequences": ["END"], "system": "Be brief.",
        "messages": CHAT[1:],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {"role": "user", "parts": [{"text": "Weather?"}]},
        ],
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9, "stopSequences": ["END"]},
    },
    "ollama": {
        "model": "m", "stream": False, "options": {"temperature": 0.5, "num_predict": 9, "stop": "END"},
        "messages": [CHAT[0], {"role": "user", "content": "Hi"}, *CHAT[2:]],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", BODIES)
def test_messages_and_parameters_are_translated(kind: str, server: FakeServer, store: Any) -> None:
    promptry.ask_provider(f"{kind}:m", CHAT, WANTED, name="p")
    assert server.requests[0][1] == BODIES[kind]


def test_anthropic_is_told_a_limit_and_the_version(server: FakeServer, store: Any) -> None:
    promptry.ask_provider("anthropic:m", "Hi", name="p")
    assert server.requests[0][1] == {
        "model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hi"}],
    }  # fmt: skip
    assert server.headers[0]["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "ollama"])
def test_the_new_name_of_the_limit_is_translated_too(kind: str, server: FakeServer, store: Any) -> None:
    promptry.ask_provider(f"{kind}:m", CHAT, {"max_completion_tokens": 9, "stop": "END", "temperature": 0.5}, name="p")
    assert server.requests[0][1] == BODIES[kind]


def test_a_developer_s_message_is_a_system_s_where_there_are_no_developers(server: FakeServer, store: Any) -> None:
    chat = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    for kind in BODIES:
        promptry.ask_provider(f"{kind}:m", chat, name="p")
    bodies = [body for _, body in server.requests]
    assert bodies[0]["messages"] == chat and bodies[1]["system"] == "Be brief."
    assert bodies[2]["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert bodies[3]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_an_address_may_end_in_its_path_or_in_a_query(server: FakeServer, store: Any) -> None:
    for end in ("/v1/chat/completions", "/v1/?api-version=2"):
        promptry.ask_provider({"provider": "openai:m", "base_url": server.url + end}, "Hi", name="p")
    assert [path for path, _ in server.requests] == ["/v1/chat/completions"] * 2


def test_openai_itself_is_told_the_limit_under_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert promptry.APIS["openai"].base_url == "https://api.openai.com/v1"
    seen: list[Any] = []
    api = promptry.APIS["openai"]._replace(request=lambda *given: (seen.append(given), ("/x", {}))[1])
    provider = promptry.make_provider({"provider": "openai:gpt-5", "api_key_env": "PATH"})
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    promptry._make_api_call(provider, api, [], {"max_tokens": 5}, {})
    assert seen[0][2] == {"max_completion_tokens": 5}


@pytest.mark.parametrize("kind", VARIABLES)
def test_tool_calls_come_back_under_one_shape_and_the_message_as_the_api_has_it(
    kind: str, server: FakeServer, raw: Any
) -> None:
    reply = promptry.ask_provider(f"{kind}:m", "Weather in Bonn?", {"tools": [{"name": "weather"}]}, name="p")
    assert [tool["name"] for tool in reply.tool_calls] == ["weather"]
    assert json.loads(reply.tool_calls[0]["arguments"]) == {"city": "Bonn"}
    assert reply.message["role"] in {"assistant", "model"} and "weather" in json.dumps(reply.message)
    assert rows(raw)[0]["tool_calls"] == ["weather"]
    assert "parameters" not in rows(raw)[0], "tools are no parameters"
    if kind != "gemini":
        promptry.assert_tool_called([reply.message], "weather")


FAILURES = [
    # (mood, what the error holds, HTTP status, requests)
    ("429", "429: told to fail with 429, key [key removed]", 429, 4),
    ("500", "500: told to fail", 500, 4),
    ("400", "400: told to fail", 400, 1),
    ("401", "401: told to fail", 401, 1),
    ("wrong-json", "200 and no JSON object", 200, 1),
    ("html", "Out of order", 200, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", VARIABLES)
@pytest.mark.parametrize(("mood", "words", "status", "requests"), FAILURES)
def test_a_failure_is_one_error_and_stands_in_the_ledger(
    kind: str, mood: str, words: str, status: int, requests: int, server: FakeServer, raw: Any
) -> None:
    with pytest.raises(promptry.ProviderError) as caught:
        promptry.ask_provider(f"{kind}:m!{mood}", "Hi", name="p")
    assert words in str(caught.value) and KEY not in str(caught.value) and caught.value.status == status
    assert len(server.requests) == requests
    (row,) = rows(raw)
    assert (row["status"], row["http_status"], row["cost_source"]) == ("error", status, "unpriced")
    assert words[:20] in row["error"] and "tokens_in" not in row


def test_a_call_that_is_tried_again_is_one_call(server: FakeServer, raw: Any) -> None:
    assert promptry.ask_provider("openai:m!429-once", "Hi", name="p").text == "Hello, world!"
    assert len(server.requests) == 2 and len(rows(raw)) == 1


def test_a_slow_model_is_told_after_its_time(server: FakeServer, raw: Any) -> None:
    slow = {"provider": "openai:m!slow1", "timeout_s": 0.1}
    with pytest.raises(promptry.ProviderError, match=r"did not answer within 0.1 s"):
        promptry.ask_provider(slow, "Hi", name="p")
    assert rows(raw)[0]["status"] == "error"


def test_a_prompt_that_gemini_blocks_is_an_error_and_paid_for(server: FakeServer, raw: Any) -> None:
    with pytest.raises(promptry.ProviderError, match="without a message: the prompt was blocked: SAFETY"):
        promptry.ask_provider("gemini:gemini-2.5-flash!blocked", "Hi", name="p")
    assert rows(raw)[0]["status"] == "error" and rows(raw)[0]["tokens_in"] == 1200


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("openai", {"error": {"message": "no credit"}}),
        ("openai", {"choices": []}),
        ("openai", {"choices": [{"message": None}]}),
        ("openai", {"choices": [{"message": {}}]}),
        ("openai", {"choices": [{"message": {"content": 5}}]}),
        ("openai", {"choices": [{"message": {"content": {"text": "x"}}}]}),
        ("openai", {"choices": [{"message": {"content": ["x"]}}]}),
        ("openai", {"choices": 5}),
        ("openai", {"choices": [{"error": {"code": 502, "message": "no credit"}, "message": {"content": ""}}]}),
        ("anthropic", {"type": "message", "content": "x", "stop_reason": "end_turn"}),
        ("anthropic", {"type": "message", "content": [5], "stop_reason": "end_turn"}),
        ("anthropic", {"type": "message", "content": [{"type": "text", "text": ["x"]}]}),
        ("gemini", {"candidates": [{"content": {"parts": "x"}, "finishReason": "STOP"}]}),
        ("gemini", {"candidates": 5}),
        ("ollama", {"message": {"content": 5}, "done_reason": "stop"}),
        ("anthropic", {"type": "error", "error": {"message": "no credit"}}),
        ("gemini", {"candidates": [{"finishReason": "SAFETY"}]}),
        ("ollama", {"error": "no credit"}),
    ],
)
def test_an_answer_without_a_message_is_an_error(
    kind: str, found: dict[str, Any], server: FakeServer, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "post_json", lambda *args, **kwargs: (found, 1.0))
    with pytest.raises(promptry.ProviderError, match=f"^{kind}:m answered without a message: .") as caught:
        promptry.ask_provider(f"{kind}:m", "Hi", name="p")
    assert "no credit" in str(caught.value) or "error" not in str(found)
    assert rows(raw)[0]["status"] == "error"


def answer_in(found: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch) -> promptry.Reply:
    """Return the reply of an API that answers this."""
    monkeypatch.setattr(promptry, "post_json", lambda *args, **kwargs: (found, 1.0))
    return promptry.ask_provider(f"{kind}:m", "Hi", name="p")


def test_a_candidate_that_was_stopped_is_told_with_its_reason(
    server: FakeServer, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": GEMINI_USAGE}
    with pytest.raises(promptry.ProviderError, match="without a message: it stopped for SAFETY"):
        answer_in(found, "gemini", monkeypatch)
    assert (rows(raw)[0]["status"], rows(raw)[0]["tokens_in"]) == ("error", 1200)


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]


@pytest.mark.parametrize(
    ("kind", "found", "text", "reason"),
    [
        ("openai", {"choices": [{"index": 1, "message": {"content": "Yes."}}]}, "Yes.", None),
        ("openai", {"choices": [{"message": {"content": PARTS}, "finish_reason": "stop"}]}, "Yes.", "stop"),
        ("openai", {"choices": [{"message": {"content": None, "refusal": "No."}}]}, "No.", None),
        ("openai", {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}, "", "length"),
        (
            "anthropic",
            {"type": "message", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"},
                                            {"type": "redacted_thinking"}, {"type": "text", "text": "Yes."}],
             "stop_reason": "end_turn"},
            "Yes.", "end_turn",
        ),
        ("anthropic", {"type": "message", "content": [], "stop_reason": "refusal"}, "", "refusal"),
        ("gemini", {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]}, "", "MAX_TOKENS"),
        ("ollama", {"message": {"content": "Yes.", "thinking": "Hm."}, "done_reason": "stop"}, "Yes.", "stop"),
    ],
)  # fmt: skip
def test_thoughts_are_no_text_and_refusals_and_reasons_come_through(
    kind: str, found: dict[str, Any], text: str, reason: str | None,
    server: FakeServer, store: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    reply = answer_in(found, kind, monkeypatch)
    assert (reply.text, reply.finish_reason) == (text, reason)


# ------------------------------------------------------------------------------------------------
# Keys and addresses
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_a_missing_key_is_told_by_its_variable_and_nothing_is_sent(
    kind: str, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _, key = VARIABLES[kind]
    for name in (base, key, "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(promptry.ConfigError, match=f"{kind}:m needs a key, and {key}.* is not set"):
        promptry.ask_provider(f"{kind}:m", "Hi", name="p")
    assert rows(raw) == []


def test_gemini_s_key_has_a_second_name(server: FakeServer, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("GOOGLE_API_KEY", "other")
    promptry.ask_provider("gemini:m", "Hi", name="p")
    assert server.headers[0]["x-goog-api-key"] == "other"


def test_an_address_of_a_table_is_given_only_the_key_of_that_table(
    server: FakeServer, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"provider": "openai", "base_url": f"{server.url}/v1/", "model": "m"}
    promptry.ask_provider(table, "Hi", name="p")
    monkeypatch.setenv("MY_KEY", "mine")
    promptry.ask_provider({**table, "api_key_env": "MY_KEY"}, "Hi", name="p")
    assert [headers.get("authorization") for headers in server.headers] == [None, "Bearer mine"]
    assert [path for path, _ in server.requests] == ["/v1/chat/completions"] * 2
    with pytest.raises(promptry.ConfigError, match="openai:m needs a key, and NO_SUCH_KEY is not set"):
        promptry.ask_provider({**table, "api_key_env": "NO_SUCH_KEY"}, "Hi", name="p")


def test_where_no_key_was_sent_and_one_is_wanted_the_way_to_name_one_is_told(server: FakeServer, store: Any) -> None:
    table = {"provider": "openai", "base_url": f"{server.url}/v1", "model": "m!401"}
    with pytest.raises(promptry.ProviderError, match="No key was sent: name the variable.* as api_key_env"):
        promptry.ask_provider(table, "Hi", name="p")


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu", "http://gpu:11434"),
        ("gpu:80", "http://gpu:80"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("https://ollama.example/", "https://ollama.example"),
        ("[::1]", "http://[::1]:11434"),
    ],
)
def test_the_host_of_ollama_may_be_what_its_server_listens_on(
    host: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    provider = promptry.make_provider("ollama:llama3:8b")
    assert promptry._base_url(provider, promptry.APIS["ollama"]) == base and provider.model == "llama3:8b"


def test_the_address_of_anthropic_may_end_in_its_version(server: FakeServer, store: Any) -> None:
    promptry.ask_provider({"provider": "anthropic:m", "base_url": f"{server.url}/v1"}, "Hi", name="p")
    assert server.requests[0][0] == "/v1/messages"


def test_a_tuned_model_of_gemini_keeps_its_place(server: FakeServer, store: Any) -> None:
    with pytest.raises(promptry.ProviderError):
        promptry.ask_provider("gemini:tunedModels/my bot!400", "Hi", name="p")
    assert server.requests[0][0] == "/v1beta/tunedModels/my%20bot%21400:generateContent"


# ------------------------------------------------------------------------------------------------
# What names a provider
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "model"),
    [
        ("openai:gpt-4.1-mini", "openai", "gpt-4.1-mini"),
        (" OpenAI : gpt ", "openai", "gpt"),
        ("ollama:llama3:8b", "ollama", "llama3:8b"),
        ("exec: ./ask.sh --to 'a:b' ", "exec", "./ask.sh --to 'a:b'"),
        ("python:pkg.mod:fn", "python", "pkg.mod:fn"),
        ({"provider": "openai", "model": "a:b"}, "openai", "a:b"),
        ({"provider": "openai:gpt"}, "openai", "gpt"),
        ({"model": "anthropic:claude"}, "anthropic", "claude"),
    ],
)
def test_a_provider_is_a_text_or_a_table(given: Any, kind: str, model: str) -> None:
    provider = promptry.make_provider(given)
    assert (provider.kind, provider.model) == (kind, model)
    assert promptry.make_provider(provider) is provider and promptry.provider_name(provider) == f"{kind}:{model}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("gpt-4.1-mini", "'gpt-4.1-mini' names no provider; there are openai, anthropic, gemini, ollama, python, exec"),
        ("opnai:gpt", "Did you mean 'openai'"),
        ("groq:llama", "Any other API in the style of OpenAI is openai with a base_url"),
        ("openai:", "says the provider alone. Write openai:MODEL"),
        ("openai", "says the provider alone"),
        ("python:mod", "Write python:my_module:my_function"),
        ("exec:", "Write exec: ./ask.sh"),
        ("", "names no provider"),
        (None, "takes a text such as"),
        (5, "takes a text such as"),
        ({}, "names no provider"),
        ({"provider": "openai", "modle": "x"}, "no key 'modle'. Did you mean 'model'"),
        ({"provider": "openai", "api_key": KEY}, "no key 'api_key'. Did you mean 'api_key_env'"),
        ({"provider": "openai", "model": ""}, "The model of a provider is ''"),
        ({"provider": "openai", "model": 5}, "The model of a provider is 5"),
        ({"provider": "openai:x", "timeout_s": 0}, "timeout_s of a provider is 0"),
        ({"provider": "openai:x", "timeout_s": True}, "timeout_s of a provider is True"),
        ({"provider": "openai:x", "parameters": "no"}, "they take a table"),
        ({"provider": "exec: cat", "base_url": "http://x"}, "takes no base_url"),
    ],
)
def test_what_names_no_provider_is_a_wrong_use(given: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse) as caught:
        promptry.make_provider(given)
    assert words in str(caught.value) and KEY not in str(caught.value)


@pytest.mark.parametrize("messages", [None, 5, [], ["hi"], [{"content": "x"}], [{"role": 5}], {"role": "user"}])
def test_messages_that_are_none_are_a_wrong_use(messages: Any, raw: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="The messages are"):
        promptry.ask_provider("openai:m", messages, name="p")
    assert rows(raw) == []


@pytest.mark.parametrize("content", [None, 5, [{"type": "image"}]])
def test_content_that_an_api_cannot_take_is_a_wrong_use(content: Any, server: FakeServer, raw: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="this provider takes text"):
        promptry.ask_provider("gemini:m", [{"role": "user", "content": content}], name="p")
    assert rows(raw) == [] and server.requests == []


# ------------------------------------------------------------------------------------------------
# Functions and commands
# ------------------------------------------------------------------------------------------------


@pytest.fixture
def bots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "my_bots.py").write_text(
        "import promptry\n\n\ndef echo(prompt):\n    return prompt\n\n\n"
        "def fail(prompt):\n    raise AssertionError('no')\n\n\n"
        "def track(prompt):\n    usage = {'prompt_tokens': 10, 'completion_tokens': 5}\n"
        "    promptry.track_invocation('inner', usage=usage, model='gpt-4.1-mini', provider='openai')\n"
        "    return 'tracked'\n\n\n"
        "def tracked_answer(prompt):\n    usage = {'prompt_tokens': 10, 'completion_tokens': 5}\n"
        "    promptry.track_invocation('inner', usage=usage, model='gpt-4.1-mini', provider='openai')\n"
        "    return {'output': 'tracked', 'usage': usage, 'model': 'gpt-4.1-mini'}\n\n\n"
        "def failed(prompt):\n    return {'error': 'no credit', 'usage': {'input_tokens': 10, 'output_tokens': 5}, "
        "'model': 'gpt-4.1-mini'}\n"
    )


def test_a_function_is_asked_and_its_call_recorded(bots: None, raw: Any) -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    reply = promptry.ask_provider("python:my_bots:echo", said, name="p")
    assert (reply.text, reply.cost_usd, reply.usage) == ("Be brief.\n\nHi", None, None)
    (row,) = rows(raw)
    assert (row["provider"], row["model"], row["cost_source"]) == ("python", "my_bots:echo", "unpriced")


def test_a_conversation_reaches_a_function_as_json(bots: None, store: Any) -> None:
    assert json.loads(promptry.ask_provider("python:my_bots:echo", CHAT, name="p").text) == CHAT


def test_a_function_that_records_its_calls_is_not_counted_twice(bots: None, raw: Any) -> None:
    reply = promptry.ask_provider("python:my_bots:track", "Hi", name="p", origin="judge")
    assert [(row["name"], row["origin"]) for row in rows(raw)] == [("inner", "judge")]
    assert reply.cost_usd == pytest.approx(10 * 0.4e-6 + 5 * 1.6e-6)
    promptry.ask_provider("python:my_bots:tracked_answer", "Hi", name="p")
    assert [row["name"] for row in rows(raw)] == ["inner", "inner"], "what it says of the call is in its own row"


def test_what_a_function_used_before_it_failed_is_paid_for(bots: None, raw: Any) -> None:
    with pytest.raises(promptry.ProviderError, match="python:my_bots:failed answered an error: no credit"):
        promptry.ask_provider("python:my_bots:failed", "Hi", name="p")
    (row,) = rows(raw)
    assert (row["status"], row["model"], row["program"]) == ("error", "gpt-4.1-mini", "python:my_bots:failed")
    assert row["cost_usd"] == pytest.approx(10 * 0.4e-6 + 5 * 1.6e-6) and "provider" not in row


def test_a_function_that_fails_stands_in_the_ledger(bots: None, raw: Any) -> None:
    with pytest.raises(promptry.ProviderError, match="python:my_bots:fail raised AssertionError: no"):
        promptry.ask_provider("python:my_bots:fail", "Hi", name="p")
    assert rows(raw)[0]["status"] == "error"


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_a_command_is_asked_and_its_call_recorded(raw: Any) -> None:
    assert promptry.ask_provider("exec: tr a-z A-Z", "hi $(id)", name="p").text == "HI $(ID)"
    assert (rows(raw)[0]["provider"], rows(raw)[0]["cost_source"]) == ("exec", "unpriced")
    with pytest.raises(promptry.ProviderError, match="ended with 3"):
        promptry.ask_provider("exec: exit 3", "hi", name="p")
    assert rows(raw)[1]["status"] == "error"


# ------------------------------------------------------------------------------------------------
# The ledger around it
# ------------------------------------------------------------------------------------------------


def test_a_call_within_a_run_counts_for_it(server: FakeServer, raw: Any) -> None:
    with promptry.entered_scope(promptry.make_scope("run-7")):
        promptry.ask_provider("openai:gpt-4.1-mini", "Hi", name="p", prompt_version=3)
        promptry.ask_provider("openai:gpt-4.1-mini", "Hi", name="j", origin="judge")
    assert [(row["run_uid"], row["origin"]) for row in rows(raw)] == [("run-7", "eval"), ("run-7", "judge")]
    assert promptry.run_cost("run-7") == pytest.approx(2 * 0.00066)
    facts = promptry.call_facts("run-7")
    assert facts["models"] == {"gpt-4.1-mini-2025-04-14": 1} and facts["prompts"] == {"p": [3]}
    assert facts["cost_usd"] == pytest.approx(2 * 0.00066), "what judging cost is what the run cost"


def test_texts_are_stored_where_the_settings_say_so(server: FakeServer, raw: Any, tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text("[capture]\ntext = true\n")
    promptry.forget_settings()
    promptry.ask_provider("openai:m", f"My key is {KEY}.", name="p")
    assert "[key removed]" in rows(raw)[0]["input"] and rows(raw)[0]["output"] == "Hello, world!"


def test_a_budget_that_is_spent_refuses_where_the_settings_enforce_it(
    server: FakeServer, raw: Any, tmp_path: Path
) -> None:
    (tmp_path / "promptry.toml").write_text("[budget]\nenforce = true\n")
    promptry.forget_settings()
    promptry.set_budget("prompt", "p", "daily", 0.0006)
    promptry.ask_provider("openai:gpt-4.1-mini", "Hi", name="p")
    with pytest.raises(promptry.BudgetExceeded, match="daily budget of prompt 'p'"):
        promptry.ask_provider("openai:gpt-4.1-mini", "Hi", name="p")
    assert len(server.requests) == 1 and [row["status"] for row in rows(raw)] == ["ok"]


def test_an_interrupt_is_recorded_and_goes_through(
    server: FakeServer, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(promptry, "_pause", interrupt)
    with pytest.raises(KeyboardInterrupt):
        promptry.ask_provider("openai:m!429", "Hi", name="p")
    assert rows(raw)[0]["status"] == "error"


def test_answers_of_parts_are_summed_only_where_all_are_known() -> None:
    known, unknown = {"tokens_in": 1, "tokens_out": 2, "cost_usd": 0.1}, {"tokens_in": 1}
    assert promptry.sums_of_calls([known, known]) == (2, 4, 0.2)
    assert promptry.sums_of_calls([known, unknown]) == (2, None, None)
    assert promptry.sums_of_calls([]) == (None, None, None)


def ask_in_bits(provider: str, **more: Any) -> tuple[promptry.Reply, list[str]]:
    heard: list[str] = []
    return promptry.ask_provider(provider, "Say hello.", name="greeting", hear=heard.append, **more), heard


@pytest.mark.parametrize(("provider", "path", "header", "usage", "usd"), APIS)
def test_a_stream_gives_its_text_in_bits_and_costs_what_the_whole_does(
    provider: str, path: str, header: tuple[str, str | None], usage: dict[str, Any], usd: float | None,
    server: FakeServer, raw: Any,
) -> None:  # fmt: skip
    reply, heard = ask_in_bits(provider, origin="playground", capture=True)
    assert heard == ["Hello", ", ", "world", "!"] and reply.text == "Hello, world!"
    assert server.requests[0][0].partition(":stream")[0] == path.partition(":gen")[0]
    assert server.headers[0].get(header[0]) == header[1]
    (row,) = rows(raw)
    assert row.get("cost_usd") == reply.cost_usd == (None if usd is None else pytest.approx(usd, abs=1e-15))
    assert (row["origin"], row["input"], row["output"]) == (
        "playground",
        '[{"role": "user", "content": "Say hello."}]',
        reply.text,
    )
    assert 0 < row["ttft_ms"] <= row["latency_ms"] and row["tokens_out"] == 300
    assert raw.execute("SELECT id FROM invocations").fetchall() == [(reply.call_id,)]


def test_a_server_that_knows_no_streams_is_heard_at_once(server: FakeServer, store: Any) -> None:
    reply, heard = ask_in_bits("openai:gpt-4.1-mini!no-stream")
    assert heard == ["Hello, world!"] == [reply.text]


def test_a_server_that_knows_no_stream_options_is_asked_again_without(server: FakeServer, raw: Any) -> None:
    _, heard = ask_in_bits("openai:gpt-4.1-mini!no-options")
    assert heard and [("stream_options" in body) for _, body in server.requests] == [True, False]
    assert rows(raw)[0]["cost_source"] == "unpriced"  # nobody told what was used


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("cut", "it ended before the model was done"),
        ("broken", "ended its answer with an error: Overloaded."),
        ("empty", "it ended before the model was done"),
        ("429", "answered 429: told to fail with 429, key [key removed]."),
        ("wrong-json", "no JSON object"),
        ("html", "no JSON object: <p>Out of order</p>"),
    ],
)
def test_a_stream_that_fails_is_told_and_recorded_once(mood: str, words: str, server: FakeServer, raw: Any) -> None:
    with pytest.raises(promptry.ProviderError) as caught:
        ask_in_bits(f"openai:gpt-4.1-mini!{mood}")
    assert words in str(caught.value)
    (row,) = rows(raw)
    assert row["status"] == "error" and "cost_usd" not in row


def test_who_stops_listening_ends_the_call(server: FakeServer, raw: Any) -> None:
    def hang_up(_: str) -> None:
        raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError):
        promptry.ask_provider("openai:gpt-4.1-mini!drip", "Hi", name="greeting", hear=hang_up)
    assert rows(raw)[0]["status"] == "error"


def test_a_function_is_heard_when_it_is_done(store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text("def answer(prompt): return 'I say ' + prompt")
    monkeypatch.syspath_prepend(str(tmp_path))
    _, heard = ask_in_bits("python:my_model:answer")
    assert heard == ["I say Say hello."]
