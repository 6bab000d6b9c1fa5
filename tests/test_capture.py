"""CAPTURE: the real SDKs against a fake server, each scenario with the bare client and with the instrumented one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import openai
import pydantic
import pytest
from fake_llm import CHAT_USAGE, MESSAGE_USAGE, WORDS, FakeServer, serve_fake

import promptry

pytestmark = pytest.mark.filterwarnings("ignore:The model")

SAID = "".join(WORDS)
MESSAGES: Any = [{"role": "user", "content": "Say hello"}]
CHAT: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": MESSAGES}
RESPONSE: dict[str, Any] = {"model": "gpt-4.1-mini", "input": "Say hello"}
MESSAGE: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 500, "messages": MESSAGES}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
RESPONSE_TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
MESSAGE_TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
KEY = "sk-abcdefghijklmnopqrstuvwx"


class City(pydantic.BaseModel):
    """What an answer is parsed into."""

    city: str


@pytest.fixture(scope="module")
def running() -> Iterator[FakeServer]:
    with serve_fake() as server:
        yield server


@pytest.fixture
def server(running: FakeServer, store: Path) -> FakeServer:
    running.requests.clear()
    return running


def make_client(kind: type, server: FakeServer, **more: Any) -> Any:
    address = server.url if "Anthropic" in kind.__name__ else f"{server.url}/v1"
    return kind(api_key="key", base_url=address, **more)


def calls(store: Path) -> list[dict[str, Any]]:
    """Return the recorded calls, oldest first, with their columns beside the metadata."""
    if not store.exists():
        return []
    with contextlib.closing(sqlite3.connect(store)) as connection:
        rows = connection.execute(
            "SELECT prompt_name, prompt_version, input_text, output_text, request_id, metadata"
            " FROM invocations ORDER BY id"
        ).fetchall()
    names = ("name", "version", "input", "output", "request_id")
    return [{**json.loads(row[-1]), **dict(zip(names, row, strict=False))} for row in rows]


def the_call(store: Path) -> dict[str, Any]:
    (found,) = calls(store)
    return found


# --------------------------------------------------------------------------------------
# Bare and instrumented: nobody can tell
# --------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return what a caller can see of a value."""
    if isinstance(value, pydantic.BaseModel):
        return type(value).__name__, value.model_dump(exclude_unset=True, warnings=False), repr(value)
    return type(value).__name__, value if isinstance(value, (str, bytes, int, float, type(None))) else str(type(value))


def end_of(stream: Any) -> str | None:
    return next((name for name in dir(type(stream)) if name.startswith("get_final_") and "text" not in name), None)


def read(answer: Any, raw: str) -> Any:
    """Return all that an answer says, read as a caller would."""
    if type(answer).__name__.endswith("Manager"):
        with answer as inner:
            return read(inner, raw)
    if hasattr(answer, "http_response"):
        if raw == "lines":
            return [answer.status_code, *(answer.http_response.iter_lines())]
        return [type(answer).__name__, answer.status_code, answer.request_id, read(answer.parse(), raw)]
    if hasattr(answer, "__next__"):
        chunks = [plain(chunk) for chunk in answer]
        end = end_of(answer)
        return [type(answer).__name__, chunks, plain(getattr(answer, end)()) if end else None]
    return plain(answer)


async def read_async(answer: Any, raw: str) -> Any:
    """Return all that an answer of an async client says."""
    if hasattr(answer, "__await__"):
        answer = await answer
    if type(answer).__name__.endswith("Manager"):
        async with answer as inner:
            return await read_async(inner, raw)
    if hasattr(answer, "http_response"):
        if raw == "lines":
            return [answer.status_code, *[line async for line in answer.http_response.aiter_lines()]]
        parsed = answer.parse()
        parsed = await parsed if hasattr(parsed, "__await__") else parsed
        return [type(answer).__name__, answer.status_code, answer.request_id, await read_async(parsed, raw)]
    if hasattr(answer, "__anext__"):
        chunks = [plain(chunk) async for chunk in answer]
        end = end_of(answer)
        return [type(answer).__name__, chunks, plain(await getattr(answer, end)()) if end else None]
    return plain(answer)


def outcome(client: Any, ask: Callable[[Any], Any], raw: str = "") -> Any:
    """Return what comes back or is raised."""
    try:
        if "Async" in type(client).__name__:

            async def run() -> Any:
                async with client:
                    return await read_async(ask(client), raw)

            return asyncio.run(run())
        return read(ask(client), raw)
    except Exception as error:
        cause = error.__cause__
        return [type(error), str(error), getattr(error, "status_code", None), type(cause), error.__context__ is None]


class Scenario(NamedTuple):
    """What is asked of a client, and what its row then says."""

    family: str
    ask: Callable[[Any], Any]
    row: dict[str, Any]
    retries: int = 0
    raw: str = ""


OK = {"status": "ok", "tokens_in": 1200, "tokens_out": 300, "cached_tokens": 1000, "cost_source": "computed"}
OK_MESSAGE = {**OK, "tokens_in": 1250, "cache_write_tokens": 50, "response_id": "msg_1"}
STREAM = {**OK, "stream": True}
UNKNOWN = {"cost_source": "unpriced", "usage": None, "tokens_in": None, "cost_usd": None}
FAILED = {**UNKNOWN, "status": "error"}


def chat(**more: Any) -> Callable[[Any], Any]:
    return lambda client: client.chat.completions.create(**{**CHAT, **more})


def chat_as(mood: str, **more: Any) -> Callable[[Any], Any]:
    return chat(model=f"gpt-4.1-mini!{mood}", **more)


def message(**more: Any) -> Callable[[Any], Any]:
    return lambda client: client.messages.create(**{**MESSAGE, **more})


def message_as(mood: str, **more: Any) -> Callable[[Any], Any]:
    return message(model=f"claude-sonnet-4-5!{mood}", **more)


def response(**more: Any) -> Callable[[Any], Any]:
    return lambda client: client.responses.create(**{**RESPONSE, **more})


SCENARIOS = {
    "chat": Scenario(
        "openai",
        chat(),
        {
            **OK,
            "api": "chat",
            "model": "gpt-4.1-mini",
            "served_model": "gpt-4.1-mini-2025-04-14",
            "provider": "openai",
            "response_id": "chatcmpl-1",
            "finish_reasons": ["stop"],
            "service_tier": "default",
            "reasoning_tokens": 100,
            "stream": None,
            "ttft_ms": None,
        },
    ),
    "chat with parameters": Scenario(
        "openai",
        chat(temperature=0.5, seed=7, max_tokens=99, top_p=None),
        {**OK, "parameters": {"temperature": 0.5, "seed": 7, "max_tokens": 99}},
    ),
    "chat with two choices": Scenario("openai", chat(n=2), {**OK, "finish_reasons": ["stop", "stop"]}),
    "chat with a tool": Scenario(
        "openai", chat(tools=[TOOL]), {**OK, "tool_calls": ["weather"], "finish_reasons": ["tool_calls"]}
    ),
    "chat parsed": Scenario(
        "openai",
        lambda client: client.chat.completions.parse(**CHAT, response_format=City),
        {**OK, "parameters": {"response_format": "json_schema"}},
    ),
    "chat that cannot be parsed is charged": Scenario(
        "openai",
        lambda client: client.chat.completions.parse(**{**CHAT, "model": "gpt-4.1-mini!length"}, response_format=City),
        {**OK, "status": "error", "finish_reasons": ["length"]},
    ),
    "chat streamed": Scenario(
        "openai", chat(stream=True), {**STREAM, "finish_reasons": ["stop"], "response_id": "chatcmpl-1", "cut": None}
    ),
    "chat streamed with usage asked": Scenario(
        "openai", chat(stream=True, stream_options={"include_usage": True}), STREAM
    ),
    "chat streamed with usage refused by the caller": Scenario(
        "openai", chat(stream=True, stream_options={"include_usage": False}), {**UNKNOWN, "status": "ok"}
    ),
    "chat streamed with a tool": Scenario(
        "openai", chat(stream=True, tools=[TOOL]), {**STREAM, "tool_calls": ["weather"]}
    ),
    "chat streamed by a helper": Scenario("openai", lambda client: client.chat.completions.stream(**CHAT), STREAM),
    "chat streamed and parsed": Scenario(
        "openai", lambda client: client.chat.completions.stream(**CHAT, response_format=City), STREAM
    ),
    "chat stream that a server cannot end with usage": Scenario(
        "openai", chat_as("no-options", stream=True), {**UNKNOWN, "status": "ok", "stream": True}
    ),
    "chat raw": Scenario("openai", lambda client: client.chat.completions.with_raw_response.create(**CHAT), OK),
    "chat raw, streamed": Scenario(
        "openai",
        lambda client: client.chat.completions.with_raw_response.create(
            **CHAT, stream=True, stream_options={"include_usage": True}
        ),
        STREAM,
    ),
    "chat raw, streamed without usage": Scenario(
        "openai",
        lambda client: client.chat.completions.with_raw_response.create(**CHAT, stream=True),
        {**UNKNOWN, "status": "ok"},
    ),
    "chat with a streaming response": Scenario(
        "openai", lambda client: client.chat.completions.with_streaming_response.create(**CHAT), OK
    ),
    "chat with a streaming response, by lines": Scenario(
        "openai",
        lambda client: client.chat.completions.with_streaming_response.create(
            **CHAT, stream=True, stream_options={"include_usage": True}
        ),
        STREAM,
        raw="lines",
    ),
    "chat by a copy": Scenario(
        "openai", lambda client: client.with_options(timeout=5).copy(max_retries=1).chat.completions.create(**CHAT), OK
    ),
    "chat by raw responses of the client": Scenario(
        "openai", lambda client: client.with_raw_response.chat.completions.create(**CHAT), OK
    ),
    "chat with extra_body": Scenario(
        "openai",
        chat(extra_body={"model": "gpt-4.1", "temperature": 0.1}),
        {**OK, "model": "gpt-4.1", "parameters": {"temperature": 0.1}},
    ),
    "text completion": Scenario(
        "openai",
        lambda client: client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say"),
        {"status": "ok", "api": "completions", "tokens_in": 1200},
    ),
    "text completion streamed": Scenario(
        "openai",
        lambda client: client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say", stream=True),
        {"status": "ok", "tokens_in": 1200, "tokens_out": 300},
    ),
    "embeddings": Scenario(
        "openai",
        lambda client: client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]),
        {"status": "ok", "api": "embeddings", "tokens_in": 8, "cost_source": "computed", "parameters": None},
    ),
    "response": Scenario(
        "openai",
        response(temperature=0.1),
        {
            **OK,
            "api": "responses",
            "response_id": "resp_1",
            "finish_reasons": ["completed"],
            "parameters": {"temperature": 0.1},
        },
    ),
    "response with a tool": Scenario("openai", response(tools=[RESPONSE_TOOL]), {**OK, "tool_calls": ["weather"]}),
    "response parsed": Scenario("openai", lambda client: client.responses.parse(**RESPONSE, text_format=City), OK),
    "response streamed": Scenario("openai", response(stream=True), {**STREAM, "response_id": "resp_1"}),
    "response streamed by a helper": Scenario("openai", lambda client: client.responses.stream(**RESPONSE), STREAM),
    "response that failed": Scenario(
        "openai",
        response(model="gpt-4.1-mini!failed"),
        {"status": "error", "error": "server_error: it broke", "tokens_in": 1200},
    ),
    "response streamed that failed": Scenario(
        "openai",
        response(model="gpt-4.1-mini!failed", stream=True),
        {"status": "error", "error": "server_error: it broke", "tokens_in": 1200},
    ),
    "response streamed and incomplete": Scenario(
        "openai",
        response(model="gpt-4.1-mini!incomplete", stream=True),
        {**STREAM, "finish_reasons": ["max_output_tokens"]},
    ),
    "message": Scenario(
        "anthropic",
        message(stop_sequences=["x"]),
        {
            **OK_MESSAGE,
            "api": "messages",
            "provider": "anthropic",
            "model": "claude-sonnet-4-5",
            "service_tier": "standard",
            "finish_reasons": ["end_turn"],
            "parameters": {"stop_sequences": ["x"], "max_tokens": 500},
        },
    ),
    "message with a tool": Scenario(
        "anthropic", message(tools=[MESSAGE_TOOL]), {**OK_MESSAGE, "tool_calls": ["weather"]}
    ),
    "message streamed": Scenario(
        "anthropic", message(stream=True), {**OK_MESSAGE, "stream": True, "finish_reasons": ["end_turn"]}
    ),
    "message streamed with a tool": Scenario(
        "anthropic", message(stream=True, tools=[MESSAGE_TOOL]), {**OK_MESSAGE, "tool_calls": ["weather"]}
    ),
    "message streamed by a helper": Scenario(
        "anthropic", lambda client: client.messages.stream(**MESSAGE), {**OK_MESSAGE, "stream": True}
    ),
    "message raw": Scenario(
        "anthropic", lambda client: client.messages.with_raw_response.create(**MESSAGE), OK_MESSAGE
    ),
    "message raw, streamed": Scenario(
        "anthropic", lambda client: client.messages.with_raw_response.create(**MESSAGE, stream=True), OK_MESSAGE
    ),
    "message with a streaming response": Scenario(
        "anthropic", lambda client: client.messages.with_streaming_response.create(**MESSAGE), OK_MESSAGE
    ),
    "message of the beta": Scenario("anthropic", lambda client: client.beta.messages.create(**MESSAGE), OK_MESSAGE),
    "chat refused for a while": Scenario("openai", chat_as("429-once"), OK, retries=2),
    "chat refused": Scenario("openai", chat_as("429"), {**FAILED, "http_status": 429}, retries=1),
    "chat without credit": Scenario("openai", chat_as("401"), {**FAILED, "http_status": 401}),
    "chat broken": Scenario("openai", chat_as("500"), {**FAILED, "http_status": 500}),
    "chat stream refused": Scenario("openai", chat_as("429", stream=True), {**FAILED, "http_status": 429}),
    "chat in half JSON": Scenario("openai", chat_as("wrong-json"), {**FAILED, "http_status": None}),
    "chat in HTML": Scenario("openai", chat_as("html"), {**UNKNOWN, "status": "ok"}),
    "chat stream of nothing": Scenario(
        "openai", chat_as("empty", stream=True), {**UNKNOWN, "status": "ok", "ttft_ms": None}
    ),
    "chat stream cut by the server": Scenario("openai", chat_as("cut", stream=True), {**FAILED, "stream": True}),
    "chat stream with an error inside": Scenario("openai", chat_as("broken", stream=True), FAILED),
    "chat too slow": Scenario("openai", chat_as("slow0.4", timeout=0.1), FAILED),
    "message refused for a while": Scenario("anthropic", message_as("429-once"), OK_MESSAGE, retries=2),
    "message refused": Scenario("anthropic", message_as("400"), {**FAILED, "http_status": 400}),
    "message in half JSON": Scenario("anthropic", message_as("wrong-json"), FAILED),
    "message stream of nothing": Scenario("anthropic", message_as("empty", stream=True), {**UNKNOWN, "status": "ok"}),
    "message stream cut by the server": Scenario("anthropic", message_as("cut", stream=True), FAILED),
    "message stream with an error inside": Scenario("anthropic", message_as("broken", stream=True), FAILED),
    "wrong argument": Scenario("openai", lambda client: client.chat.completions.create(messages=MESSAGES), {}),
    "a call that is not recorded": Scenario("openai", lambda client: client.moderations.create(input="a"), {}),
}
KINDS = {
    "openai": (openai.OpenAI, openai.AsyncOpenAI),
    "anthropic": (anthropic.Anthropic, anthropic.AsyncAnthropic),
}
UNRECORDED = {"wrong argument", "a call that is not recorded"}
TWICE = {"chat stream that a server cannot end with usage"}  # the one thing that a server sees


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_caller_gets_what_the_bare_client_gives(server: FakeServer, store: Path, name: str, is_async: bool) -> None:
    scenario = SCENARIOS[name]
    kind = KINDS[scenario.family][is_async]
    seen = []
    for instruments in (lambda client: client, promptry.instrument):
        server.requests.clear()
        client = instruments(make_client(kind, server, max_retries=scenario.retries))
        result = outcome(client, scenario.ask, scenario.raw)
        seen.append((result, [(path, {**body, "stream_options": None}) for path, body in server.requests]))
    (bare, sent), (ours, ours_sent) = seen
    assert ours == bare
    assert ours_sent == sent * (2 if name in TWICE else 1)
    if name in UNRECORDED:
        assert calls(store) == []
        return
    row = the_call(store)
    assert {key: row.get(key) for key in scenario.row} == scenario.row
    assert row["latency_ms"] > 0 and row["name"].startswith("test_capture")
    if scenario.row.get("stream") and scenario.row["status"] == "ok":
        assert 0 < row["ttft_ms"] <= row["latency_ms"]


def test_an_instrumented_client_is_the_same_object_of_the_same_class(server: FakeServer) -> None:
    for kind in (openai.OpenAI, openai.AsyncOpenAI, anthropic.Anthropic, anthropic.AsyncAnthropic):
        client = make_client(kind, server)
        agent = client.user_agent
        assert promptry.instrument(client) is client
        assert type(client) is kind and type(client.with_options(timeout=1)) is kind and client.user_agent == agent


def test_an_azure_client_records_as_azure(server: FakeServer, store: Path) -> None:
    bare = openai.AzureOpenAI(api_key="k", azure_endpoint=server.url, api_version="2025-01-01", azure_deployment="mini")
    outcome(promptry.instrument(bare), chat())
    assert server.requests[0][0] == "/openai/deployments/mini/chat/completions"
    assert the_call(store)["tokens_in"] == 1200
    assert promptry.find_provider_by_url("https://x.openai.azure.com/openai/") == "azure"


@pytest.mark.parametrize("other", [None, "client", openai, openai.OpenAI, object(), {"post": print}])
def test_another_object_is_refused_in_one_sentence(other: Any) -> None:
    with pytest.raises(promptry.WrongUse, match=r"^instrument\(\) got an object of class .*client of openai or anth"):
        promptry.instrument(other)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"sample_rate": 2}, {"sample_rate": "all"}, {"max_capture_chars": 1.5}]
)
def test_a_wrong_choice_is_refused(server: FakeServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(promptry.WrongUse):
        promptry.instrument(make_client(openai.OpenAI, server), **wrong)


def test_promptry_needs_neither_sdk(run_python: Any) -> None:
    run_python(
        """
        import sys
        import promptry
        assert not {"openai", "anthropic", "httpx2", "pydantic"} & set(sys.modules)
        try:
            promptry.instrument(object())
        except promptry.WrongUse:
            print("refused")
        """
    )


# --------------------------------------------------------------------------------------
# What is recorded
# --------------------------------------------------------------------------------------


def test_the_cost_is_exact(server: FakeServer, store: Path) -> None:
    outcome(promptry.instrument(make_client(openai.OpenAI, server)), chat(stream=True))
    outcome(promptry.instrument(make_client(anthropic.Anthropic, server)), message(stream=True))
    mini, sonnet = calls(store)
    assert mini["cost_usd"] == pytest.approx((200 * 0.4 + 1000 * 0.1 + 300 * 1.6) / 1e6, abs=1e-12)
    assert sonnet["cost_usd"] == pytest.approx((200 * 3 + 1000 * 0.3 + 50 * 3.75 + 300 * 15) / 1e6, abs=1e-12)
    assert mini["usage"]["prompt_tokens"] == CHAT_USAGE["prompt_tokens"]
    assert sonnet["usage"]["output_tokens"] == MESSAGE_USAGE["output_tokens"]


def test_twice_instrumented_is_recorded_once_and_as_told_last(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), "first")
    outcome(client, chat())
    outcome(promptry.instrument(client, "second"), chat())
    outcome(client.with_options(timeout=3), chat())
    assert [row["name"] for row in calls(store)] == ["first", "second", "second"]


def test_resources_made_before_are_made_anew(server: FakeServer, store: Path) -> None:
    client = make_client(openai.OpenAI, server)
    outcome(client, chat())
    client.with_raw_response.chat.completions.create(**CHAT)
    promptry.instrument(client)
    outcome(client, chat())
    client.with_raw_response.chat.completions.create(**CHAT)
    assert len(calls(store)) == 2


@pytest.mark.slow
def test_a_call_is_named_by_where_it_is_made(server: FakeServer, store: Path, run_python: Any) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    ask = [lambda: client.chat.completions.create(**CHAT)]
    [make() for make in ask]
    run_python(
        """
        import sys
        import openai, promptry
        promptry.use_store(sys.argv[2])
        client = promptry.instrument(openai.OpenAI(api_key="k", base_url=sys.argv[1] + "/v1"))
        class Bot:
            def say(self):
                client.chat.completions.create(model="gpt-4.1-mini", messages=[])
        Bot().say()
        client.chat.completions.create(model="gpt-4.1-mini", messages=[])
        """,
        server.url,
        store,
    )
    here, method, script = [row["name"] for row in calls(store)]
    assert here == "test_capture.test_a_call_is_named_by_where_it_is_made"
    assert method == f"{script}.Bot.say" and script.startswith("child_")


def test_calls_stand_in_their_span_their_run_and_their_version(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), "answer")
    promptry.track("one", "answer")
    scope = promptry.make_scope("run-1")
    with promptry.trace("agent"), promptry.trace("step") as trace_id, promptry.entered_scope(scope):
        promptry.track("one", "answer")
        stream = client.chat.completions.create(**CHAT, stream=True)
    promptry.track("two", "answer")
    assert len(list(stream)) > 3
    row = the_call(store)
    assert (row["trace_id"], row["span_name"], row["run_uid"], row["origin"]) == (trace_id, "step", "run-1", "eval")
    assert [span["name"] for span in row["spans"]] == ["agent", "step"] and row["version"] == 1
    assert promptry.last_request_id() == row["request_id"] == "chatcmpl-1"


def test_a_whole_call_tells_its_request_id(server: FakeServer, store: Path) -> None:
    async def run() -> str | None:
        await promptry.instrument(make_client(openai.AsyncOpenAI, server)).chat.completions.create(**CHAT)
        return promptry.last_request_id()

    assert asyncio.run(run()) == "chatcmpl-1"


def test_an_error_is_masked_and_cut(server: FakeServer, store: Path) -> None:
    with pytest.raises(openai.AuthenticationError, match=KEY):
        make = promptry.instrument(make_client(openai.OpenAI, server)).chat.completions.create
        make(**{**CHAT, "model": "gpt-4.1-mini!401"})
    error = the_call(store)["error"]
    assert error.startswith("AuthenticationError: Error code: 401") and "[key removed]" in error and KEY not in error
    assert len(error) <= 300


# --------------------------------------------------------------------------------------
# Text
# --------------------------------------------------------------------------------------


def test_no_text_is_kept_unless_asked(server: FakeServer, store: Path) -> None:
    outcome(promptry.instrument(make_client(openai.OpenAI, server)), chat())
    outcome(promptry.instrument(make_client(openai.OpenAI, server)), chat(stream=True))
    assert [(row["input"], row["output"]) for row in calls(store)] == [(None, None)] * 2


def test_the_settings_have_text_kept(server: FakeServer, store: Path) -> None:
    Path("promptry.toml").write_text("[capture]\ntext = true\n", encoding="utf-8")
    promptry.forget_settings()
    outcome(promptry.instrument(make_client(openai.OpenAI, server)), chat())
    outcome(promptry.instrument(make_client(openai.OpenAI, server), capture=False), chat())
    assert [row["output"] for row in calls(store)] == [SAID, None]


TOOL_CALLS = json.dumps([{"name": "weather", "arguments": '{"city": "Bonn"}'}])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "ask", "said", "answered"),
    [
        (openai.OpenAI, chat(), json.dumps(MESSAGES), SAID),
        (openai.OpenAI, chat(stream=True), json.dumps(MESSAGES), SAID),
        (openai.OpenAI, chat(tools=[TOOL]), json.dumps(MESSAGES), TOOL_CALLS),
        (openai.OpenAI, chat(tools=[TOOL], stream=True), json.dumps(MESSAGES), TOOL_CALLS),
        (openai.OpenAI, chat(n=2), json.dumps(MESSAGES), json.dumps([SAID, SAID])),
        (openai.OpenAI, response(), "Say hello", SAID),
        (openai.OpenAI, response(stream=True, instructions="Be kind"), None, SAID),
        (openai.OpenAI, lambda client: client.embeddings.create(model="e", input="a"), "a", None),
        (anthropic.Anthropic, message(system="Be kind"), None, SAID),
        (anthropic.Anthropic, message(stream=True), json.dumps(MESSAGES), SAID),
    ],
)
def test_text_is_kept_when_asked(
    server: FakeServer, store: Path, kind: type, ask: Any, said: str | None, answered: str
) -> None:
    outcome(promptry.instrument(make_client(kind, server), capture=True), ask)
    row = the_call(store)
    led = json.dumps([{"role": "system", "content": "Be kind"}, *MESSAGES])
    assert (row["input"], row["output"]) == (led if said is None else said, answered)


def test_text_is_masked_before_it_is_cut(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), capture=True, max_capture_chars=30)
    client.responses.create(model="gpt-4.1-mini", input=f"{'a' * 20} {KEY}")
    assert the_call(store)["input"] == f"{'a' * 20} [key remo"


@pytest.mark.slow
def test_a_share_of_the_texts_is_kept_and_every_row(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), capture=True, sample_rate=0.5)
    for _ in range(60):
        client.chat.completions.create(**CHAT)
    texts = [row["output"] for row in calls(store)]
    assert len(texts) == 60 and 10 < texts.count(SAID) < 50
    assert texts.count(SAID) + texts.count(None) == 60


# --------------------------------------------------------------------------------------
# What ends early
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("closes", ["stream", "with", "helper", "response"])
def test_a_stream_that_is_closed_early_is_cut_and_unpriced(server: FakeServer, store: Path, closes: str) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    if closes == "helper":
        with client.chat.completions.stream(**CHAT) as events:
            next(events)
    elif closes == "with":
        with client.chat.completions.create(**CHAT, stream=True) as stream:
            next(stream)
    else:
        stream = client.chat.completions.create(**CHAT, stream=True)
        next(stream)
        (stream if closes == "stream" else stream.response).close()
    row = the_call(store)
    assert (row["status"], row["cut"], row["cost_source"]) == ("ok", True, "unpriced")
    assert "usage" not in row and row["ttft_ms"] > 0


def test_a_raw_response_that_nobody_reads_is_cut(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        assert response.status_code == 200 and calls(store) == []
    assert (the_call(store)["cut"], the_call(store)["cost_source"]) == (True, "unpriced")


def test_a_message_cut_before_its_usage_is_told_is_unpriced(server: FakeServer, store: Path) -> None:
    with promptry.instrument(make_client(anthropic.Anthropic, server)).messages.stream(**MESSAGE) as stream:
        for _ in stream.text_stream:
            break
    row = the_call(store)
    assert (row["status"], row["cut"], row["cost_source"], row["response_id"]) == ("ok", True, "unpriced", "msg_1")


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False], ids=["begun", "unread"])
@pytest.mark.parametrize("kind", [openai.OpenAI, anthropic.Anthropic])
def test_a_dropped_stream_is_recorded_by_the_next_call(
    server: FakeServer, store: Path, kind: type, reads: bool
) -> None:
    client = promptry.instrument(make_client(kind, server))
    ask = chat if kind is openai.OpenAI else message

    def drop() -> None:
        stream = ask(stream=True)(client)
        if reads:
            next(stream)

    drop()
    gc.collect()
    ask()(client)
    dropped, whole = calls(store)
    assert (dropped["status"], dropped.get("cut"), dropped["cost_source"]) == ("ok", True, "unpriced")
    assert whole["tokens_out"] == 300


@pytest.mark.slow
def test_a_stream_that_is_open_at_exit_is_recorded(server: FakeServer, store: Path, run_python: Any) -> None:
    run_python(
        """
        import sys
        import openai, promptry
        promptry.use_store(sys.argv[2])
        client = promptry.instrument(openai.OpenAI(api_key="k", base_url=sys.argv[1] + "/v1"))
        for chunk in client.chat.completions.create(model="gpt-4.1-mini", messages=[], stream=True):
            break
        kept = client.chat.completions.create(model="gpt-4.1-mini", messages=[], stream=True)
        """,
        server.url,
        store,
    )
    assert [row["cut"] for row in calls(store)] == [True, True]


def test_a_cancelled_call_and_a_cancelled_stream_are_recorded(server: FakeServer, store: Path) -> None:
    async def run() -> None:
        client = promptry.instrument(make_client(openai.AsyncOpenAI, server))
        for mood, streams in (("slow", False), ("drip", True)):

            async def ask(mood: str = mood, streams: bool = streams) -> None:
                answer = await client.chat.completions.create(**{**CHAT, "model": f"m!{mood}"}, stream=streams)
                async for _ in answer:
                    pass

            task = asyncio.create_task(ask())
            await asyncio.sleep(0.12)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    rows = calls(store)
    assert [(row["status"], row["error"], row["cost_source"]) for row in rows] == [
        ("error", "CancelledError", "unpriced")
    ] * 2
    assert "ttft_ms" in rows[1]


def test_an_async_stream_closed_or_dropped_is_cut(server: FakeServer, store: Path) -> None:
    async def run() -> None:
        client = promptry.instrument(make_client(openai.AsyncOpenAI, server))
        async with await client.chat.completions.create(**CHAT, stream=True) as stream:
            async for _ in stream:
                break
        async for _ in await client.chat.completions.create(**CHAT, stream=True):
            break
        await client.close()

    asyncio.run(run())
    gc.collect()
    promptry._finish_dropped()
    assert [row["cut"] for row in calls(store)] == [True, True]


def test_an_interrupt_goes_through(server: FakeServer, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(openai.OpenAI, server)

    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client._client, "send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        promptry.instrument(client).chat.completions.create(**CHAT)
    assert (the_call(store)["status"], the_call(store)["error"]) == ("error", "KeyboardInterrupt")


def test_a_server_that_refuses_our_question_is_not_asked_again(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    for _ in range(2):
        list(chat_as("no-options", stream=True)(client))
    list(chat_as("no-options", stream=True)(client.with_options(timeout=9)))
    assert ["stream_options" in body for _, body in server.requests] == [True, False, False, False]


def test_a_request_that_was_wrong_anyway_leaves_the_question_open(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    with pytest.raises(openai.BadRequestError):
        chat_as("400", stream=True)(client)
    list(chat(stream=True)(client))
    assert ["stream_options" in body for _, body in server.requests] == [True, False, True]
    assert [row["status"] for row in calls(store)] == ["error", "ok"]


# --------------------------------------------------------------------------------------
# Many at once, and a store that fails
# --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_threads_lose_and_double_nothing(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), "answer")

    def work() -> None:
        for number in range(25):
            answer = client.chat.completions.create(**CHAT, stream=bool(number % 2))
            if number % 2:
                list(answer)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [row["tokens_out"] for row in calls(store)] == [300] * 200


@pytest.mark.slow
def test_fifty_tasks_keep_their_own_spans(server: FakeServer, store: Path) -> None:
    async def ask(client: Any, number: int) -> None:
        with promptry.trace(f"task {number}"):
            stream = await client.chat.completions.create(**CHAT, stream=True)
            async for _ in stream:
                await asyncio.sleep(0)

    async def run() -> None:
        async with promptry.instrument(make_client(openai.AsyncOpenAI, server)) as client:
            await asyncio.gather(*(ask(client, number) for number in range(50)))

    asyncio.run(run())
    rows = calls(store)
    assert sorted(row["span_name"] for row in rows) == sorted(f"task {number}" for number in range(50))
    assert {row["name"] for row in rows} == {"test_capture.test_fifty_tasks_keep_their_own_spans.ask"} and {
        row["status"] for row in rows
    } == {"ok"}


def test_a_locked_store_breaks_no_call(server: FakeServer, store: Path, locked: Any) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    with locked():
        assert client.chat.completions.create(**CHAT).choices[0].message.content == SAID
        assert len(list(client.chat.completions.create(**CHAT, stream=True))) > 3
    client.chat.completions.create(**CHAT)
    assert len(calls(store)) == 3


@pytest.mark.parametrize("place", ["missing", "corrupt", "full"])
def test_a_store_that_fails_breaks_no_call(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server))
    if place == "missing":
        (tmp_path / "file").touch()
        promptry.use_store(tmp_path / "file" / "store.db")
    elif place == "corrupt":
        (tmp_path / "bad.db").write_bytes(b"no store" * 1000)
        promptry.use_store(tmp_path / "bad.db")
    else:
        promptry.connect().execute("PRAGMA max_page_count = 1")
    for _ in range(3):
        assert client.chat.completions.create(**{**CHAT, "temperature": 0.5}).choices[0].message.content == SAID
        assert len(list(client.chat.completions.create(**CHAT, stream=True))) > 3
    promptry.forget_kept_rows()


BREAKS = ("record_call", "request_facts", "find_provider_by_url", "settings_or_default", "note_answer", "note_event")


@pytest.mark.slow
@pytest.mark.parametrize("step", BREAKS)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_a_fault_of_ours_breaks_no_call(
    server: FakeServer, store: Path, monkeypatch: pytest.MonkeyPatch, step: str, streams: bool
) -> None:
    bare = outcome(make_client(openai.OpenAI, server), chat(stream=streams, stream_options={"include_usage": True}))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a fault of ours")

    client = promptry.instrument(make_client(openai.OpenAI, server))
    with monkeypatch.context() as patch:
        patch.setattr(promptry, step, fail)
        ours = outcome(client, chat(stream=streams, stream_options={"include_usage": True}))
    assert ours == bare


# --------------------------------------------------------------------------------------
# Budgets, with stand-ins: they hold the contract that CAPTURE relies on
# --------------------------------------------------------------------------------------


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put stand-ins in the place of reserve and release; `refuses` has them refuse."""
    seen: dict[str, Any] = {"asked": [], "released": [], "refuses": False}

    def reserve(name: str, **asked: Any) -> promptry.Reservation:
        if seen["refuses"]:
            raise promptry.BudgetExceeded("The budget is spent.")
        seen["asked"].append((name, asked))
        facts = json.dumps({"status": "reserved", "cost_usd": 0.5, "uid": "u"})
        insert = "INSERT INTO invocations (prompt_name, metadata) VALUES (?, ?)"
        return promptry.Reservation(promptry.connect().execute(insert, (name, facts)).lastrowid or 0, "u")

    monkeypatch.setattr(promptry, "reserve", reserve)
    monkeypatch.setattr(promptry, "release", seen["released"].append)
    return seen


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_a_call_settles_what_was_reserved_for_it(
    server: FakeServer, store: Path, budget: dict[str, Any], streams: bool
) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), "answer", enforce=True)
    outcome(client, chat(stream=streams, max_tokens=99))
    row = the_call(store)
    assert (row["status"], row["tokens_out"], budget["released"]) == ("ok", 300, [])
    size = len(json.dumps(MESSAGES))
    asked = {"model": "gpt-4.1-mini", "provider": "openai", "input_chars": size, "max_tokens": 99}
    assert budget["asked"] == [("answer", asked)]


def test_a_failed_call_frees_what_was_reserved(server: FakeServer, store: Path, budget: dict[str, Any]) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server, max_retries=0), enforce=True)
    outcome(client, chat_as("500"))
    row = the_call(store)
    assert (row["status"], row.get("cost_usd"), row["cost_source"]) == ("error", None, "unpriced")


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_call_that_a_budget_forbids_is_not_sent(
    server: FakeServer, store: Path, budget: dict[str, Any], is_async: bool
) -> None:
    budget["refuses"] = True
    client = promptry.instrument(make_client(KINDS["openai"][is_async], server), enforce=True)
    assert outcome(client, chat())[0] is promptry.BudgetExceeded
    assert server.requests == [] and calls(store) == [] and not promptry._open_calls


def test_a_call_that_cannot_be_recorded_leaves_its_reservation_to_lapse(
    server: FakeServer, store: Path, budget: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), enforce=True)
    with monkeypatch.context() as patch:
        patch.setattr(promptry, "record_call", lambda *args, **kwargs: None)
        outcome(client, chat())
    assert budget["released"] == [], "giving it back would wait for the same store"


def test_without_enforce_nothing_is_reserved(server: FakeServer, store: Path, budget: dict[str, Any]) -> None:
    outcome(promptry.instrument(make_client(openai.OpenAI, server)), chat())
    assert budget["asked"] == [] and sys.modules["promptry"] is promptry


def test_a_raw_stream_that_nobody_reads_is_let_go_and_recorded(server: FakeServer, store: Path) -> None:
    client = promptry.instrument(make_client(openai.OpenAI, server), "answer")
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    response = weakref.ref(raw.http_response)
    del raw
    gc.collect()
    assert response() is None
    outcome(client, chat())
    assert len(calls(store)) == 2 and not promptry._open_calls
