"""CASES: what a case is, how it ends, and whose check is whose."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import promptry
from promptry import assert_contains, assert_exact, case, run_suite, suite

pytestmark = pytest.mark.usefixtures("own_registry")


def states_of(result: promptry.RunResult) -> dict[str, str]:
    return {row["case"]: row["state"] for row in result.cases}


def test_a_function_without_blocks_is_one_case_named_as_its_suite() -> None:
    @suite("greet")
    def check() -> None:
        assert_exact(1, 1)
        assert_contains("ab", "a")

    result = run_suite("greet")
    assert states_of(result) == {"greet": "pass"}
    counts = {"cases": 1, "pass": 1, "fail": 0, "error": 0, "skipped": 0, "checks": 2, "scored": 1}
    assert result.counts.items() >= counts.items()
    assert result.passed and result.score == 1.0


def test_each_block_is_a_case_and_one_that_fails_does_not_end_the_suite() -> None:
    @suite("blocks")
    def check() -> None:
        for number in range(4):
            with case(f"n{number}"):
                assert_exact(number % 2, 0)

    assert states_of(run_suite("blocks")) == {"n0": "pass", "n1": "fail", "n2": "pass", "n3": "fail"}


def test_what_is_asserted_outside_of_the_blocks_is_a_case_too() -> None:
    @suite("both")
    def check() -> None:
        with case("inner"):
            assert_exact(1, 1)
        assert_exact(1, 2)

    result = run_suite("both")
    assert states_of(result) == {"inner": "pass", "both": "fail"}
    assert not result.passed


def test_blocks_below_an_item_are_named_below_it() -> None:
    @suite("nested", dataset=[{"id": "de"}, {"id": "fr"}])
    def check(item: dict[str, str]) -> None:
        for part in ("short", "long"):
            with case(part):
                assert_exact(item["id"], "de")

    assert states_of(run_suite("nested")) == {
        "de/short": "pass",
        "de/long": "pass",
        "fr/short": "fail",
        "fr/long": "fail",
    }


def test_two_blocks_of_one_name_stay_two_cases() -> None:
    @suite("twice")
    def check() -> None:
        for number in range(3):
            with case("same"):
                assert_exact(number, 0)

    assert states_of(run_suite("twice")) == {"same": "pass", "same#2": "fail", "same#3": "fail"}


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_a_case_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="case id"), case(name):
        pass


def test_outside_of_a_run_a_block_is_only_a_block() -> None:
    with pytest.raises(ZeroDivisionError), case("x"):
        _ = 1 / 0


async def answer(text: str) -> str:
    await asyncio.sleep(0.001)
    return text


def test_an_async_suite_really_runs() -> None:
    done: list[str] = []

    @suite("async")
    async def check() -> None:
        with case("one"):
            assert_exact(await answer("a"), "b")
        with case("two"):
            done.append(await answer("a"))
            assert_exact(1, 1)

    assert states_of(run_suite("async")) == {"one": "fail", "two": "pass"}
    assert done == ["a"]


def test_an_async_suite_over_a_dataset_has_one_loop_for_all_its_cases() -> None:
    loops: set[int] = set()

    @suite("loops", dataset=[{"id": str(number)} for number in range(5)])
    async def check(item: Any) -> None:
        loops.add(id(asyncio.get_running_loop()))
        assert_exact(await answer(item["id"]), item["id"])

    assert run_suite("loops").counts["pass"] == 5
    assert len(loops) == 1


def test_cases_that_run_as_tasks_at_once_keep_their_own_checks() -> None:
    @suite("tasks")
    async def check() -> None:
        async def one(number: int) -> None:
            with case(f"t{number}"):
                await answer("x")
                assert_exact(number % 2, 0)

        await asyncio.gather(*(one(number) for number in range(6)))

    result = run_suite("tasks")
    assert states_of(result) == {f"t{number}": "fail" if number % 2 else "pass" for number in range(6)}
    assert result.counts["checks"] == 6


def test_an_async_suite_runs_where_a_loop_is_already_running() -> None:
    @suite("inside")
    async def check() -> None:
        assert_exact(await answer("a"), "a")

    async def main() -> promptry.RunResult:
        return run_suite("inside")

    assert asyncio.run(main()).passed


def test_assertions_in_worker_threads_belong_to_their_case() -> None:
    @suite("threads")
    def check() -> None:
        for name in ("a", "b"):
            with case(name):
                thread = threading.Thread(target=assert_exact, args=(1, 1))
                thread.start()
                thread.join()

    result = run_suite("threads")
    assert states_of(result) == {"a": "pass", "b": "pass"}
    assert result.counts["checks"] == 2


def test_cases_in_worker_threads_are_cases_of_their_own() -> None:
    """The usual way to ask a slow model many questions at once."""

    @suite("pool")
    def check() -> None:
        def one(number: int) -> None:
            with case(f"n{number}"):
                assert_exact(number % 3 == 0, True)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(60)))

    result = run_suite("pool")
    assert states_of(result) == {f"n{number}": "fail" if number % 3 else "pass" for number in range(60)}
    assert result.counts["checks"] == 60


def raise_it(error: BaseException) -> Callable[[], None]:
    def go() -> None:
        raise error

    return go


class Ended(BaseException):
    """What no `except Exception` stops."""


def compare_plainly() -> None:
    left = 1
    assert left == 2


ENDINGS: list[tuple[str, Callable[[], Any], str, str | None, str]] = [
    # what it does, how, state, assertion type of the last row, a word of the reason
    ("pytest.skip", lambda: pytest.skip("no key"), "skipped", "skipped", "no key"),
    ("SkipTest", raise_it(unittest.SkipTest("not today")), "skipped", "skipped", "not today"),
    ("a plain assert", compare_plainly, "fail", "assert", "== 2"),
    ("a plain assert with words", raise_it(AssertionError("too rude")), "fail", "assert", "too rude"),
    ("an exception", raise_it(RuntimeError("crashed")), "error", "error", "RuntimeError: crashed"),
    ("SystemExit", raise_it(SystemExit(0)), "error", "error", "SystemExit"),
    ("pytest.fail", lambda: pytest.fail("says the author"), "fail", None, "says the author"),
    ("nothing asserted", lambda: None, "fail", "no_assertion", "asserted nothing"),
    ("a failed check", lambda: assert_exact(1, 2), "fail", "exact", "expected 2"),
    ("a wrong argument", lambda: assert_contains(3, "a"), "error", "error", "int"),  # type: ignore[arg-type]
    ("GeneratorExit", raise_it(GeneratorExit("gone")), "error", "error", "GeneratorExit: gone"),
    ("CancelledError", raise_it(asyncio.CancelledError("own")), "error", "error", "CancelledError: own"),
    ("pytest.exit", lambda: pytest.exit("enough"), "error", "error", "Exit: enough"),
    ("a BaseException of its own", raise_it(Ended("mine")), "error", "error", "Ended: mine"),
    ("StopIteration", raise_it(StopIteration()), "error", "error", "StopIteration"),
]


@pytest.mark.slow
@pytest.mark.parametrize("row", ENDINGS, ids=[row[0] for row in ENDINGS])
@pytest.mark.parametrize("form", ["block", "function", "async"])
def test_each_way_a_case_ends_has_its_state_and_reason(row: tuple[Any, ...], form: str) -> None:
    _, go, state, kind, words = row
    if form == "block":

        @suite("ends")
        def check() -> None:
            with case("it"):
                go()
            with case("next"):
                assert_exact(1, 1)
    elif form == "function":

        @suite("ends", dataset=[{"id": "it"}, {"id": "next"}])
        def check(item: Any) -> None:
            assert_exact(1, 1) if item["id"] == "next" else go()
    else:

        @suite("ends", dataset=[{"id": "it"}, {"id": "next"}])
        async def check(item: Any) -> None:
            await answer("x")
            assert_exact(1, 1) if item["id"] == "next" else go()

    result = run_suite("ends")
    if form == "async" and row[0] == "StopIteration":
        words = "StopIteration"  # Python wraps it in a RuntimeError that names it
    assert states_of(result) == {"it": state, "next": "pass"}
    found = promptry.get_run(result.run_id)["cases"][0]
    assert found["checks"][-1]["assertion_type"] == (kind or found["checks"][-1]["assertion_type"])
    assert words in found["checks"][-1]["details"]["reason"]
    if state in {"error", "skipped"}:
        assert found["score"] is None and found["checks"][-1]["passed"] is None
    assert result.passed is (state == "skipped")


def test_a_block_around_the_yield_of_a_generator_that_is_closed_is_an_error_and_the_suite_goes_on() -> None:
    def answers() -> Any:
        for name in ("a", "b"):
            with case(name):
                yield name

    @suite("closed")
    def check() -> None:
        found = answers()
        next(found)
        found.close()
        with case("next"):
            assert_exact(1, 1)

    assert states_of(run_suite("closed")) == {"a": "error", "next": "pass"}


@pytest.mark.parametrize("pace", [{}, {"concurrency": 3}, {"timeout_s": 20}], ids=str)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_no_except_stops_ends_a_case_alone_at_any_pace(pace: dict[str, Any], is_async: bool) -> None:
    raised = [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), Ended()]
    items: list[Any] = [{"id": type(error).__name__, "at": at} for at, error in enumerate(raised)]

    def check(item: Any) -> None:
        if "at" in item:
            raise raised[item["at"]]
        assert_exact(1, 1)

    async def wait(item: Any) -> None:
        await answer("x")
        check(item)

    suite("s", dataset=[*items, {"id": "last"}], **pace)(wait if is_async else check)
    states = {item["id"]: "error" for item in items}
    assert states_of(run_suite("s")) == {**states, "last": "pass"}


def test_a_failed_check_that_the_author_swallowed_still_fails_the_case() -> None:
    @suite("swallow")
    def check() -> None:
        with contextlib.suppress(AssertionError):
            assert_exact(1, 2)
        assert_exact(1, 1)

    result = run_suite("swallow")
    assert states_of(result) == {"swallow": "fail"} and result.score == 0.5


def test_an_error_after_checks_has_no_score_and_the_reason_is_stored() -> None:
    @suite("late")
    def check() -> None:
        assert_exact(1, 1)
        raise RuntimeError("connection lost")

    result = run_suite("late")
    assert result.score is None and not result.passed
    assert result.cases[0]["reason"] == "RuntimeError: connection lost"


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["pass", "pass"], "pass"),
        (["fail", "fail"], "fail"),
        (["pass", "fail"], "mixed"),
        (["error", "pass"], "pass"),
        (["fail", "skipped"], "fail"),
        (["error", "skipped"], "error"),
        (["skipped"], "skipped"),
    ],
)
def test_the_repeats_of_a_case_make_one_state(states: list[str], state: str) -> None:
    rows = [{"case": "a", "state": one} for one in states]
    assert promptry.states_of([*rows, {"case": "b", "state": "pass"}]) == {"a": state, "b": "pass"}
