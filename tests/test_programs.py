"""PROGRAMS: functions and commands of the user answer text; what goes wrong in them is an error, never a failure."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

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
    pid = int(mark.read_text())
    for _ in range(200):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("what the command started still runs")


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
