"""ASSERTIONS: each computes a score between 0 and 1, records one check, and raises where it does not hold."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import (
    assert_contains,
    assert_exact,
    assert_json_valid,
    assert_matches,
    assert_not_contains,
    check_all,
    clean_json,
    collect,
)

HUGE = "x" * 2_000_000


class Array:
    """What compares as numpy's arrays do."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")


# assertion, arguments, keyword arguments, score, passed
TABLE: list[tuple[Callable[..., float], tuple[Any, ...], dict[str, Any], float, bool]] = [
    (assert_exact, ("", ""), {}, 1.0, True),
    (assert_exact, ("a", "A"), {}, 0.0, False),
    (assert_exact, ("Straße", "STRASSE"), {"case_sensitive": False}, 1.0, True),
    (assert_exact, ("a ", "a"), {}, 0.0, False),
    (assert_exact, ({"a": [1, 2]}, {"a": [1, 2]}), {}, 1.0, True),
    (assert_exact, (None, ""), {}, 0.0, False),
    (assert_exact, (3, "3"), {"case_sensitive": False}, 0.0, False),
    (assert_exact, (HUGE, HUGE), {}, 1.0, True),
    (assert_exact, (HUGE, HUGE + "y"), {}, 0.0, False),
    (assert_exact, ("\ud800", "\ud800"), {}, 1.0, True),
    (assert_contains, ("", "a"), {}, 0.0, False),
    (assert_contains, ("abc", "cab"), {}, 0.0, False),  # a text is one keyword, not a list of its signs
    (assert_contains, ("abc", "bc"), {}, 1.0, True),
    (assert_contains, ("Hello World", ["hello", "WORLD"]), {}, 1.0, True),
    (assert_contains, ("Hello World", ["hello"]), {"case_sensitive": True}, 0.0, False),
    (assert_contains, ("one two", ["one", "two", "three", "four"]), {}, 0.5, False),
    (assert_contains, ("one", ("one", "two")), {}, 0.5, False),
    (assert_contains, ("one", iter(["one", "two"])), {}, 0.5, False),
    (assert_contains, ("a b", " "), {}, 1.0, True),
    (assert_contains, ("groß", "GROSS"), {}, 1.0, True),
    (assert_contains, ("日本語のテキスト", "テキスト"), {}, 1.0, True),
    (assert_contains, (HUGE + "needle", "needle"), {}, 1.0, True),
    (assert_contains, ("a.c", "a.c"), {}, 1.0, True),
    (assert_contains, ("abc", "a.c"), {}, 0.0, False),
    (assert_not_contains, ("", "a"), {}, 1.0, True),
    (assert_not_contains, ("abc", "cab"), {}, 1.0, True),
    (assert_not_contains, ("abc", "BC"), {}, 0.0, False),
    (assert_not_contains, ("abc", "BC"), {"case_sensitive": True}, 1.0, True),
    (assert_not_contains, ("a b", ["a", "x", "y", "z"]), {}, 0.75, False),
    (assert_not_contains, ("日本語", "日"), {}, 0.0, False),
    (assert_not_contains, (HUGE, "y"), {}, 1.0, True),
    (assert_matches, ("  abc\n", "abc"), {}, 1.0, True),
    (assert_matches, ("abcd", "abc"), {}, 0.0, False),
    (assert_matches, ("abcd", "abc"), {"fullmatch": False}, 1.0, True),
    (assert_matches, ("", "^$"), {}, 1.0, True),
    (assert_matches, ("", ".+"), {}, 0.0, False),
    (assert_matches, ("a\nb", "a.b"), {}, 1.0, True),
    (assert_matches, ("Grüße", "Gr.ße"), {}, 1.0, True),
    (assert_matches, (HUGE, "x+"), {}, 1.0, True),
    (assert_json_valid, ('{"a": 1}',), {}, 1.0, True),
    (assert_json_valid, ("",), {}, 0.0, False),
    (assert_json_valid, ("no json",), {}, 0.0, False),
    (assert_json_valid, ('{"a": ',), {}, 0.0, False),
    (assert_json_valid, ('{"a": NaN}',), {}, 0.0, False),
    (assert_json_valid, ('{"ä": "日本"}',), {}, 1.0, True),
    (assert_json_valid, ("[" * 100_000,), {}, 0.0, False),
    (assert_json_valid, ('["' + HUGE + '"]',), {}, 1.0, True),
]


def name_of(row: tuple[Any, ...]) -> str:
    return f"{row[0].__name__}{tuple(str(part)[:20] for part in row[1])}{'' if row[4] else ' fails'}"


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_each_assertion_scores_records_and_raises(row: tuple[Any, ...]) -> None:
    function, arguments, options, score, passed = row
    with collect() as checks:
        if passed:
            assert function(*arguments, **options) == score
        else:
            with pytest.raises(promptry.CheckFailed) as caught:
                function(*arguments, **options)
            assert isinstance(caught.value, AssertionError)
            assert str(caught.value) and len(str(caught.value)) < 1_000
    (check,) = checks
    assert check.assertion_type == function.__name__.removeprefix("assert_")
    assert (check.passed, check.score) == (passed, pytest.approx(score))
    assert set(check.details) >= {"expected", "actual", "reason"}
    assert check.latency_ms is not None and check.latency_ms >= 0
    assert len(promptry.write_json(check.details)) < 100_000, "a huge answer is shortened before it is stored"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assert_contains(None, "a"), "NoneType"),  # type: ignore[arg-type]
        (lambda: assert_contains({"a": 1}, "a"), "dict"),  # type: ignore[arg-type]
        (lambda: assert_contains(b"abc", "a"), "bytes"),  # type: ignore[arg-type]
        (lambda: assert_contains("abc", ["a", 3]), "int"),  # type: ignore[list-item]
        (lambda: assert_contains("abc", None), "keyword"),  # type: ignore[arg-type]
        (lambda: assert_contains("abc", 5), "keyword"),  # type: ignore[arg-type]
        (lambda: assert_not_contains(3, "a"), "int"),  # type: ignore[arg-type]
        (lambda: assert_matches(3, "a"), "int"),  # type: ignore[arg-type]
        (lambda: assert_matches("a", 3), "int"),  # type: ignore[arg-type]
        (lambda: assert_matches("a", "("), "no regular expression"),
        (lambda: assert_matches("a", ""), r"pattern is empty. Write a regular expression; \^\$ is"),
        (lambda: assert_matches("a", "a" * 20_001), "pattern has 20,001 characters; it takes 20,000 at most"),
        (lambda: assert_matches("a", "(" * 5_000), r"The pattern '\(+\.\.\. is no regular expression"),
        (lambda: assert_exact(Array(), 1), "cannot be compared: the truth of an array is ambiguous"),
        (lambda: assert_contains("abc", ""), r"keywords are \[''\]; an empty one is in every text"),
        (lambda: assert_contains("abc", ["a", ""]), "an empty one is in every text"),
        (lambda: assert_contains("abc", []), "There are no keywords. Name one or more"),
        (lambda: assert_contains("abc", iter(())), "There are no keywords"),
        (lambda: assert_not_contains("abc", ""), "an empty one is in every text"),
        (lambda: assert_not_contains("abc", ()), "There are no keywords"),
        (lambda: assert_json_valid(None), "NoneType"),  # type: ignore[arg-type]
        (lambda: assert_json_valid({"a": 1}), "dict"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_a_wrong_use_and_no_failed_check(call: Callable[[], float], words: str) -> None:
    with collect() as checks, pytest.raises(promptry.WrongUse, match=words):
        call()
    assert checks == []


@pytest.mark.slow
def test_a_catastrophic_pattern_is_an_error_and_neither_a_hang_nor_a_failed_check() -> None:
    began = time.monotonic()
    with collect() as checks, pytest.raises(promptry.PromptryError, match="no answer") as caught:
        assert_matches("a" * 60 + "b", "(a|aa)+$")
    assert time.monotonic() - began < promptry.PATTERN_TIMEOUT_S + 10.0, "a busy machine is late, a hang is longer"
    assert not isinstance(caught.value, AssertionError)
    assert checks == []


JSON_CASES: list[tuple[str, Any]] = [
    ('{"a": 1}', {"a": 1}),
    ("  [1, 2]\n", [1, 2]),
    ("42", 42),
    ('"text"', "text"),
    ("null", None),
    ("true", True),
    ('Here you are: {"a": 1}. Anything else?', {"a": 1}),
    ('Sure! [{"a":1},{"a":2}] as asked.', [{"a": 1}, {"a": 2}]),
    ('{"a": 1} and {"b": 2}', {"a": 1}),
    ('```json\n{"a": 1}\n```', {"a": 1}),
    ("```\n[1]\n```", [1]),
    ('```JSON\n{"a": 1}\n```', {"a": 1}),
    ('Answer:\n```json\n{"a": 1}\n```\nDone.', {"a": 1}),
    ('```json\n{"a": 1}', {"a": 1}),  # cut before the fence was closed
    ('Use `{"a": 1}`.', {"a": 1}),
    ('{"a": [1, 2,], "b": 3,}', {"a": [1, 2], "b": 3}),
    ('{"a": "x,]", "b": [1,],}', {"a": "x,]", "b": [1]}),
    ('so: {"a": "}{][", "b": "\\"}"} end', {"a": "}{][", "b": '"}'}),
    ('{"a": {"b": [{"c": []}]}}', {"a": {"b": [{"c": []}]}}),
    ('{"ä": "日本 \\u00e9"}', {"ä": "日本 é"}),
    ('{"a": "line\\nbreak"}', {"a": "line\nbreak"}),
    # A value, and not the first bracket, is what counts.
    ('Set {x} to: {"a": 1}', {"a": 1}),
    (':-[ sorry. {"a": 1}', {"a": 1}),
    ('```python\nx = 1\n```\nprints\n```json\n{"a": 1}\n```', {"a": 1}),
    ('{"code": "```x```"}', {"code": "```x```"}),  # valid as it stands
    ('```json\n{"code": "```x```"}\n```', {"code": "```x```"}),
]


@pytest.mark.parametrize(("text", "value"), JSON_CASES)
def test_clean_json_finds_the_value(text: str, value: Any) -> None:
    assert clean_json(text) == value
    with collect() as checks:
        assert assert_json_valid(text) == 1.0
    assert checks[0].passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "no json",
        "{",
        "}",
        "[1, 2",
        '{"a": NaN}',
        "[Infinity]",
        "-Infinity",
        "NaN",
        "{'a': 1}",
        '{"a" 1}',
        "```json\n```",
        ",",
    ],
)
def test_clean_json_refuses_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match="No JSON"):
        clean_json(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "```" + "\n" * 60_000,
        "```" + " " * 60_000,
        '{"' + '\\"' * 60_000,
        "[" + ", " * 60_000,
        "[" * 200_000,
        "{[" * 60_000 + "]}" * 60_000,
        '{"a' * 60_000,
    ],
    ids=["fence and lines", "fence and blanks", "escaped quotes", "commas", "brackets", "nested", "open strings"],
)
def test_clean_json_of_a_huge_broken_answer_does_not_take_the_square_of_its_length(text: str) -> None:
    """In a child, so that a text that takes minutes fails the test and not the session."""
    code = "import sys, promptry\ntry: promptry.clean_json(sys.stdin.read())\nexcept ValueError: pass"
    subprocess.run(
        [sys.executable, "-c", code], input=text, text=True, timeout=60, check=True, cwd=Path(promptry.__file__).parent
    )


def test_collect_gives_the_checks_in_the_order_made_with_the_keys_of_the_json() -> None:
    with collect() as checks:
        assert_contains("a b", "a")
        with pytest.raises(AssertionError):
            assert_exact(1, 2)
        assert_json_valid("[]")
    assert [(check.assertion_type, check.passed) for check in checks] == [
        ("contains", True),
        ("exact", False),
        ("json_valid", True),
    ]
    assert set(checks[0].to_dict()) == {"assertion_type", "passed", "score", "details", "latency_ms"}
    json.dumps([check.to_dict() for check in checks])


def test_outside_of_collect_an_assertion_only_answers_and_raises() -> None:
    assert assert_contains("abc", "b") == 1.0
    with pytest.raises(AssertionError):
        assert_contains("abc", "x")


def test_collect_inside_collect_takes_its_own_checks_only() -> None:
    with collect() as outer:
        assert_exact(1, 1)
        with collect() as inner:
            assert_contains("a", "a")
        assert_json_valid("1")
    assert [check.assertion_type for check in outer] == ["exact", "json_valid"]
    assert [check.assertion_type for check in inner] == ["contains"]


def test_a_failure_leaves_no_collection_open_behind() -> None:
    with pytest.raises(AssertionError), collect() as checks:
        assert_exact(1, 2)
    assert_exact(1, 1)
    assert len(checks) == 1


def test_checks_made_in_worker_threads_are_recorded() -> None:
    with collect() as checks:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: assert_exact(number, number), range(100)))
        thread = threading.Thread(target=assert_contains, args=("a", "a"))
        thread.start()
        thread.join()
    assert len(checks) == 101
    assert {check.details["actual"] for check in checks if check.assertion_type == "exact"} == set(range(100))


def test_checks_made_in_tasks_are_recorded() -> None:
    async def work() -> None:
        async def one(number: int) -> None:
            await asyncio.sleep(0)
            assert_exact(number, number)

        await asyncio.gather(*(one(number) for number in range(20)), asyncio.to_thread(assert_contains, "a", "a"))

    with collect() as checks:
        asyncio.run(work())
    assert len(checks) == 21


def test_collections_open_in_two_threads_at_once_do_not_mix() -> None:
    barrier = threading.Barrier(2)
    found: dict[str, list[promptry.Check]] = {}

    def work(name: str) -> None:
        with collect() as checks:
            barrier.wait(5)
            for _ in range(50):
                assert_exact(name, name)
            barrier.wait(5)
        found[name] = checks

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: {check.details["actual"] for check in checks} for name, checks in found.items()} == {
        "a": {"a"},
        "b": {"b"},
    }
    assert [len(checks) for checks in found.values()] == [50, 50]
    with collect() as checks:
        thread = threading.Thread(target=assert_exact, args=(1, 1))
        thread.start()
        thread.join()
    assert len(checks) == 1


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("", []),
        ("no json", []),
        ("[1, 2]", []),
        ('[{"a": 1}]', []),
        ('{"a": 1}', [{"a": 1}]),
        ('x {"a": {"b": 1}} y {"c": 2} z', [{"a": {"b": 1}}, {"c": 2}]),
        ('{"a": 1,} and {"b": [2,],}', [{"a": 1}, {"b": [2]}]),
        ('```json\n{"a": "} {"}\n```', [{"a": "} {"}]),
        ('{broken {"a": 1}', [{"a": 1}]),
        ('{"a": 1} {"a": 1}', [{"a": 1}]),
        ('{"a": 1, "a": 1}', [{"a": 1}]),
        ('{"a": 1, "b": 3, "a": 2}', [{"a": None, "b": 3}]),
        ('{"a": NaN}', []),
        ("{" * 50_000, []),
        ("[" * 50_000 + '{"a": 1}', []),
    ],
)
def test_all_objects_of_an_answer_are_found_outermost_only(text: str, objects: list[Any]) -> None:
    assert [value for value, _ in promptry.json_objects(text)] == objects
    assert all(
        json.loads(written.replace(",}", "}").replace(",]", "]")) is not None
        for _, written in promptry.json_objects(text)
    )


def test_checks_in_an_unrecorded_block_go_nowhere() -> None:
    with promptry.collect() as checks:
        with promptry.unrecorded_checks(), pytest.raises(promptry.CheckFailed):
            promptry.assert_exact(1, 2)
        promptry.assert_exact(1, 1)
    assert [check.passed for check in checks] == [True]


def test_all_of_several_checks_are_made_and_the_failing_ones_told_together() -> None:
    with collect() as rows, pytest.raises(promptry.CheckFailed) as raised:
        check_all(
            lambda: assert_contains("Rome", "Paris"),
            lambda: assert_exact("a", "a"),
            lambda: _hold(2 < 1),
            lambda: assert_exact("a", "b"),
        )
    assert [(row.assertion_type, row.passed) for row in rows] == [
        ("contains", False),
        ("exact", True),
        ("assert", False),
        ("exact", False),
    ]
    assert str(raised.value) == "3 of 4 checks failed: missing ['Paris']; it does not hold; expected 'b', got 'a'"


def _hold(fact: bool) -> None:
    if not fact:
        raise AssertionError("it does not hold")


def test_checks_that_all_hold_return_their_mean_and_none_are_one() -> None:
    with collect() as rows:
        assert check_all(lambda: 0.5, lambda: assert_exact(1, 1), lambda: _hold(True)) == pytest.approx(2.5 / 3)
        assert check_all() == 1.0
    assert len(rows) == 1


def test_an_error_among_several_checks_is_no_failure_and_the_others_are_made() -> None:
    with collect() as rows, pytest.raises(ZeroDivisionError):
        check_all(lambda: assert_exact(1, 2), lambda: 1 / 0, lambda: assert_exact(1, 1))
    assert [row.passed for row in rows] == [False, True]


async def _later() -> float:
    return 1.0


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ((1.0,), "Check 1 is 1.0, made already"),
        ((lambda: 1.0, None), "Check 2 is None"),
        ((lambda: False,), "answers is False"),
        ((lambda: 7,), "answers is 7"),
        ((_later,), "is async"),
    ],
)
def test_what_is_no_check_is_refused(checks: tuple[Any, ...], words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words):
        check_all(*checks)
