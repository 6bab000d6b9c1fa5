"""PROGRAMS: functions and commands of the user answer text; what goes wrong in them is an error, never a failure."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_llm import answer_of

import promptry

posix = pytest.mark.skipif(os.name == "nt", reason="the commands are those of a POSIX shell")


async def answer_later(prompt: str) -> str:
    await asyncio.sleep(0)
    return f"{prompt}, later"


class Asked:
    """An object that can be called, and a method."""

    def __call__(self, prompt: str) -> str:
        return prompt

    def answer(self, prompt: str) -> str:
        return prompt


def wait_for_text(path: Path) -> str:
    until = time.monotonic() + 20
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until, f"{path} was never written"
        time.sleep(0.01)
    return path.read_text()


def has_ended(mark: Path) -> bool:
    """Tell whether the process whose id stands in a file ends within two seconds."""
    status = Path(f"/proc/{int(wait_for_text(mark))}/stat")
    for _ in range(200):
        try:
            if status.read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (answer_later, f"{__name__}.answer_later"),
        (functools.partial(answer_later), f"{__name__}.answer_later"),
        (Asked(), f"{__name__}.Asked"),
        (Asked().answer, f"{__name__}.Asked.answer"),
        (str, "builtins.str"),
        (str.upper, "?.str.upper"),
    ],
)
def test_a_function_goes_by_its_module_and_name(function: Any, name: str) -> None:
    assert promptry.function_name(function) == name
    assert promptry.make_judge(function).name == name


@pytest.mark.parametrize(
    ("function", "text"),
    [(str.upper, "HI"), (answer_later, "hi, later"), (lambda prompt: answer_later(prompt), "hi, later"), (str, "hi")],
)
def test_a_function_sync_or_async_is_asked(function: Any, text: str) -> None:
    assert promptry.ask_function(function, "hi", "it") == text


def test_an_async_function_is_asked_from_within_a_running_loop() -> None:
    async def suite() -> str:
        return promptry.ask_function(answer_later, "hi", "it")

    assert asyncio.run(suite()) == "hi, later"


def test_async_functions_of_many_threads_share_one_loop() -> None:
    loops: list[Any] = []

    async def note(prompt: str) -> str:
        loops.append(asyncio.get_running_loop())
        return prompt

    threads = [threading.Thread(target=promptry.ask_function, args=(note, "x", "it")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loops) == 8 and len(set(map(id, loops))) == 1


def test_an_async_function_that_asks_another_is_told_and_does_not_hang() -> None:
    async def outer(prompt: str) -> str:
        return promptry.ask_function(answer_later, prompt, "the inner one")

    with pytest.raises(promptry.ProviderError, match="cannot ask another and wait for it"):
        promptry.ask_function(outer, "hi", "the outer one")


def test_the_context_goes_along_into_the_async_function() -> None:
    async def say_origin(_: str) -> str:
        return promptry.call_origin()

    with promptry.calls_for("judge"):
        assert promptry.ask_function(say_origin, "", "it") == "judge"


@pytest.mark.parametrize("kind", [AssertionError, ValueError, promptry.CheckFailed, StopIteration])
def test_what_a_function_raises_is_an_error_and_no_failed_check(kind: type[Exception]) -> None:
    def fail(_: str) -> str:
        raise kind("no")

    with pytest.raises(promptry.ProviderError, match=f"it raised {kind.__name__}: no") as caught:
        promptry.ask_function(fail, "hi", "it")
    assert not isinstance(caught.value, AssertionError) and isinstance(caught.value.__cause__, kind)


def test_an_interrupt_in_a_function_goes_through() -> None:
    def stop(_: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        promptry.ask_function(stop, "hi", "it")


@pytest.mark.parametrize("answer", [None, 1, b"x", {"text": "x"}, ["x"]])
def test_an_answer_that_is_no_text_is_told(answer: Any) -> None:
    with pytest.raises(promptry.ProviderError, match="it takes a function that answers text"):
        promptry.ask_function(lambda _: answer, "hi", "it")


def told(given: Any) -> tuple[promptry.Answer, str, list[dict[str, str]]]:
    """Return what is noted of a function's answer, its text and its tool calls."""
    answer = promptry.Answer("chat", True)
    promptry.note_told(answer, given, "it")
    return answer, promptry.said_first(answer)[0], list(answer.tools.values())


CHAT = answer_of("/v1/chat/completions", {"model": "gpt-4.1-mini"})
CHAT_TOOLS = answer_of("/v1/chat/completions", {"model": "gpt-4.1-mini", "tools": ["weather"]})
RESPONSE = answer_of("/v1/responses", {"model": "gpt-4.1-mini", "tools": ["weather"]})
MESSAGE = answer_of("/v1/messages", {"model": "claude-sonnet-4-5", "tools": ["weather"]})
GENERATED = answer_of("/v1beta/models/gemini-2.5-flash:generateContent", {"tools": ["weather"]})
TURN = answer_of("/api/chat", {"model": "llama3", "tools": ["weather"]})
HELLO, WEATHER = "Hello, world!", {"name": "weather", "arguments": '{"city": "Bonn"}'}
LINE = {"usage": {"input_tokens": 10, "output_tokens": 5}, "model": "m"}
OBJECT = SimpleNamespace(
    content="hi", tool_calls=[{"name": "weather", "args": {"city": "Bonn"}, "id": "1"}], type="ai",
    usage_metadata={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
)  # fmt: skip
TOLD: list[tuple[Any, str, list[Any], str | None, int | None]] = [
    # (what a function answers, text, tool calls, model, tokens in)
    ("hi", "hi", [], None, None),
    ({"output": "hi"}, "hi", [], None, None),
    ({"text": "", **LINE}, "", [], "m", 10),
    ({"content": "hi", "context": ["other keys are passed over"], **LINE}, "hi", [], "m", 10),
    ({"output": "hi", "tokenUsage": {"total": 15, "prompt": 10, "completion": 5}}, "hi", [], None, 10),
    ({"tool_calls": [WEATHER]}, "", [WEATHER], None, None),
    ({"text": "hi", "tool_calls": [{"name": "weather", "args": {"city": "Bonn"}}]}, "hi", [WEATHER], None, None),
    ({"text": "hi", "tool_calls": [{"name": "weather", "input": {"city": "Bonn"}}]}, "hi", [WEATHER], None, None),
    ({"text": "hi", "tool_calls": [{"name": "f"}]}, "hi", [{"name": "f", "arguments": "{}"}], None, None),
    (CHAT, HELLO, [], "gpt-4.1-mini-2025-04-14", 1200),
    (CHAT_TOOLS, "", [WEATHER], "gpt-4.1-mini-2025-04-14", 1200),
    (CHAT_TOOLS["choices"][0]["message"], "", [WEATHER], None, None),
    ({"role": "assistant", "content": None, "function_call": WEATHER}, "", [WEATHER], None, None),
    ({"role": "assistant", "content": None, "refusal": "No."}, "No.", [], None, None),
    ({"role": "assistant", "content": None}, "", [], None, None),
    (RESPONSE, HELLO, [WEATHER], "gpt-4.1-mini", 1200),
    ({"output": RESPONSE["output"]}, HELLO, [WEATHER], None, None),
    (MESSAGE, HELLO, [WEATHER], "claude-sonnet-4-5", 1250),
    ({"role": "assistant", "content": MESSAGE["content"], **LINE}, HELLO, [WEATHER], "m", 10),
    (GENERATED, HELLO, [WEATHER], "gemini-2.5-flash", 1200),
    (TURN, HELLO, [WEATHER], "llama3", 1200),
    (OBJECT, "hi", [WEATHER], None, 10),
    (SimpleNamespace(text="hi", usage=SimpleNamespace(prompt_tokens=10, completion_tokens=5)), "hi", [], None, 10),
]


@pytest.mark.parametrize(("given", "text", "calls", "model", "tokens"), TOLD, ids=map(str, range(len(TOLD))))
def test_a_function_may_answer_what_its_sdk_gave_it_or_a_dict(
    given: Any, text: str, calls: list[Any], model: str | None, tokens: int | None
) -> None:
    answer, said, called = told(given)
    shown = [{**call, "arguments": json.loads(call["arguments"])} for call in called]
    assert said == text and shown == [{**call, "arguments": json.loads(call["arguments"])} for call in calls]
    facts = promptry.answer_facts(answer)
    assert facts.get("model") == model and facts.get("tool_calls", []) == [call["name"] for call in calls]
    used = promptry.read_usage(facts["usage"]) if "usage" in facts else None
    assert (used and used.tokens_in) == tokens and not (used and used.faults)


def test_objects_of_the_sdks_say_what_their_json_says() -> None:
    from anthropic.types import Message
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response
    from pydantic import BaseModel, ConfigDict
    from pydantic.alias_generators import to_camel

    class Generated(BaseModel):  # as Google's SDK does it: its own names in Python, those of the API as aliases
        model_config = ConfigDict(alias_generator=to_camel)
        candidates: list[Any]
        usage_metadata: dict[str, Any]
        model_version: str

    usage = {**RESPONSE["usage"], "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 0}}
    response = {**RESPONSE, "usage": usage}
    pairs = [
        (CHAT_TOOLS, ChatCompletion.model_validate(CHAT_TOOLS)), (response, Response.model_validate(response)),
        (MESSAGE, Message.model_validate(MESSAGE)),
        ({key: GENERATED[key] for key in ("candidates", "usageMetadata", "modelVersion")}, Generated(**GENERATED)),
        (CHAT_TOOLS["choices"][0]["message"], ChatCompletion.model_validate(CHAT_TOOLS).choices[0].message),
    ]  # fmt: skip
    for plain, given in pairs:
        (one, *said), (other, *heard) = told(plain), told(given)
        assert said == heard
        facts, others = promptry.answer_facts(one), promptry.answer_facts(other)
        assert facts.keys() == others.keys() and facts.get("model") == others.get("model")
        if "usage" in facts:
            assert promptry.read_usage(facts["usage"]) == promptry.read_usage(others["usage"])


WRONG = [
    (None, "it answered None. It takes a text, a dict with output, text or content, or an answer of OpenAI"),
    (5, "it answered 5. It takes"),
    (b"x", "it answered b'x'. It takes"),
    (["x"], r"it answered \['x'\]. It takes"),
    ({}, "it answered {}. It takes"),
    ({"city": "Bonn"}, "it answered {'city': 'Bonn'}. It takes"),
    ((word for word in "ab"), "it answered <generator"),
    ({"output": "a", "text": "b"}, "it answered both output and text. It takes"),
    ({"output": 5}, "it answered the output 5; it takes text"),
    ({"output": {"city": "Bonn"}}, "it answered the output {'city': 'Bonn'}; it takes text"),
    ({"text": []}, r"it answered the text \[\]; it takes text"),
    ({"content": ["x"]}, "answered without a message"),
    ({"text": "a", "usage": "many"}, "it answered the usage 'many'; it takes"),
    ({"text": "a", "usage": 15}, "it answered the usage 15; it takes"),
    ({"text": "a", "model": 5}, "it answered the model 5; it takes text"),
    ({"text": "a", "provider": ["x"]}, r"it answered the provider \['x'\]; it takes text"),
    ({"text": "a", "finish_reason": 5}, "it answered the finish_reason 5; it takes text"),
    ({"text": "a", "cost": -1}, "it answered the cost -1; it takes dollars"),
    ({"text": "a", "cost_usd": float("nan")}, "it answered the cost nan; it takes dollars"),
    ({"text": "a", "cost_usd": float("inf")}, "it answered the cost inf; it takes dollars"),
    ({"text": "a", "cost_usd": Decimal("NaN")}, r"it answered the cost Decimal\('NaN'\); it takes dollars"),
    ({"text": "a", "cost_usd": "0.1"}, "it answered the cost '0.1'; it takes dollars"),
    ({"text": "a", "tool_calls": "f"}, "it answered the tool_calls 'f'; it takes a list"),
    ({"text": "a", "tool_calls": [5]}, "it answered the tool call 5; it takes {name, arguments}"),
    ({"text": "a", "tool_calls": [{"name": ""}]}, "it answered the tool call {'name': ''}; it takes"),
    ({"text": "a", "tool_calls": [{"name": "f", "args": 5}]}, "it answered the tool call .*; it takes"),
    ({"error": "no credit, key sk-abcdefghijklmnopqrstuvwx"}, r"it answered an error: no credit, key \[key removed\]"),
    ({"error": {"message": "no credit"}, "output": "a"}, "it answered an error: no credit"),
    ({"choices": []}, "it answered without a message: {'choices': "),
    ({"choices": [{"message": {"content": 5}}]}, "it answered without a message: a text of it is int"),
    ({"choices": [{"error": {"code": 502, "message": "lost"}}]}, "it answered without a message: 502: lost"),
    (answer_of("/v1/responses", {"model": "m!failed"}), "it answered without a message: server_error: it broke"),
    (answer_of("/x/models/m!blocked:generateContent", {}), "without a message: the prompt was blocked: SAFETY"),
]


@pytest.mark.parametrize(("given", "words"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_no_function_can_mean_is_one_sentence(given: Any, words: str) -> None:
    with pytest.raises(promptry.ProviderError, match=words) as caught:
        told(given)
    assert "\n" not in str(caught.value)


def test_what_a_function_says_it_cost_is_noted() -> None:
    assert told({"output": "a", "cost": 0.25})[0].facts["cost_usd"] == 0.25
    assert told({"output": "a", "cost_usd": 0})[0].facts["cost_usd"] == 0
    assert told({**CHAT, "provider": "azure"})[0].facts["provider"] == "azure"


def test_checks_that_a_function_makes_are_not_the_case_s_and_those_of_other_threads_are() -> None:
    begun, done = threading.Event(), threading.Event()

    def judge(_: str) -> str:
        promptry.assert_exact(1, 1)
        begun.set()
        assert done.wait(10)
        return "x"

    def other() -> None:
        assert begun.wait(10)
        promptry.assert_contains("abc", "b")
        done.set()

    with promptry.collect() as checks:
        thread = threading.Thread(target=other)
        thread.start()
        promptry.ask_function(judge, "hi", "it")
        thread.join()
    assert [check.assertion_type for check in checks] == ["contains"]


def test_a_function_is_found_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "bots_of_mine.py").write_text(
        "class bot:\n    ask = staticmethod(lambda prompt: prompt[::-1])\nno = 5\n"
    )
    (tmp_path / "broken_bot.py").write_text("1 / 0\n")
    assert promptry.find_function("bots_of_mine:bot.ask")("abc") == "cba"
    for place, words in [
        ("bots_of_mine:nobody", "cannot be loaded: AttributeError"),
        ("bots_of_mine:no", "is 5; it takes a function"),
        ("no_such_module_here:f", "cannot be loaded: ModuleNotFoundError"),
        ("broken_bot:f", "cannot be loaded: ZeroDivisionError"),
    ]:
        with pytest.raises(promptry.ConfigError, match=words):
            promptry.find_function(place)


@posix
@pytest.mark.parametrize(
    ("command", "prompt", "text"),
    [
        ("cat", "Grüße\nan $HOME `id` $(id); rm -rf 'x\" \\", None),
        ("cat", "--help", None),
        ("tr a-z A-Z | rev", "abc", "CBA"),
        ("printf 'a\\n\\n'", "ignored", "a"),
        ("echo done", "x" * 1_000_000, "done"),
        ("true", "", ""),
    ],
)
def test_a_command_reads_the_prompt_and_never_runs_it(command: str, prompt: str, text: str | None) -> None:
    assert promptry.ask_command(command, prompt, "it", 20.0) == (prompt if text is None else text)


@posix
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo why not >&2; exit 3", "it ended with 3: why not"),
        ("exit 1", "it ended with 1: it said nothing"),
        ("no-such-command-anywhere", "it ended with 127: .*not found"),
        ("echo key sk-abcdefghijklmnopqrstuvwx >&2; exit 2", r"key \[key removed\]"),
        ("printf '\\377'", "no text in UTF-8"),
    ],
)
def test_a_command_that_fails_is_an_error_with_what_it_said(command: str, words: str) -> None:
    with pytest.raises(promptry.ProviderError, match=words):
        promptry.ask_command(command, "", "it", 20.0)


@posix
def test_a_command_that_is_late_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    command = f"sleep 60 & echo $! > '{mark}'; wait"
    with pytest.raises(promptry.ProviderError, match="it did not answer within 0.3 s"):
        promptry.ask_command(command, "", "it", 0.3)
    assert has_ended(mark), "what the command started still runs"


@posix
@pytest.mark.parametrize("pipe", ["1", "2"])
def test_a_command_that_says_too_much_is_an_error_and_ended(
    pipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_COMMAND_BYTES", 200_000)
    mark = tmp_path / "pid"
    with pytest.raises(promptry.ProviderError, match="it said more than 200,000 bytes, and was ended"):
        promptry.ask_command(f"echo $$ > '{mark}'; yes >&{pipe}", "", "it", 30.0)
    assert has_ended(mark)
    assert len(promptry.ask_command("head -c 200000 /dev/zero | tr '\\0' a", "", "it", 30.0)) == 200_000


@posix
def test_a_command_for_which_nobody_waits_any_more_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    told: dict[str, BaseException] = {}

    def ask(name: str) -> None:
        try:
            promptry.ask_command(f"sleep 60 & echo $! > '{tmp_path / name}'; wait", "", name, 50.0)
        except promptry.ProviderError as error:
            told[name] = error

    threads = {name: threading.Thread(target=ask, args=(name,), daemon=True) for name in ("left", "other")}
    for name, thread in threads.items():
        thread.start()
        wait_for_text(tmp_path / name)
    promptry.end_commands(threads["left"].ident)
    threads["left"].join(10)
    assert "left ended with -9" in str(told["left"]) and has_ended(tmp_path / "left") and "other" not in told
    promptry.end_commands()
    threads["other"].join(10)
    assert "other ended with -9" in str(told["other"]) and has_ended(tmp_path / "other") and not promptry._commands


def test_an_async_function_that_ends_the_program_does_not_end_the_loop_of_the_others() -> None:
    async def leave(prompt: str) -> str:
        sys.exit(3)

    raised: list[BaseException] = []

    def ask() -> None:
        try:
            promptry.ask_function(leave, "hi", "it")
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(5)
    assert [type(error) for error in raised] == [SystemExit]
    assert promptry.ask_function(answer_later, "hi", "it") == "hi, later"
