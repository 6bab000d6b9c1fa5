"""TEXTS: edit distance and ROUGE-L against the plain tables that define them, at every edge and at length."""

from __future__ import annotations

import doctest
import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptry
from promptry import assert_levenshtein, assert_rouge_l, collect

HUGE = "x" * 2_000_000
WORDS = "word " * 300_000


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for function in (assert_levenshtein, assert_rouge_l):
        for found in finder.find(function, function.__name__, globs=vars(promptry).copy()):
            assert found.examples, function.__name__
            runner.run(found)
    assert runner.summarize().failed == 0


def table_distance(one: str, other: str) -> int:
    """Fill the whole table of Wagner and Fischer."""
    row = list(range(len(other) + 1))
    for number, sign in enumerate(one, 1):
        above, row = row, [number]
        for place, match in enumerate(other, 1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (sign != match)))
    return row[-1]


def table_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Fill the whole table of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for item in one:
        above, row = row, [0]
        for place, match in enumerate(other, 1):
            row.append(above[place - 1] + 1 if item == match else max(above[place], row[-1]))
    return row[-1]


short_texts = st.text(alphabet="abé日", max_size=16)
any_texts = st.text(max_size=80)


@settings(max_examples=300, deadline=None)
@given(st.one_of(short_texts, any_texts), st.one_of(short_texts, any_texts))
def test_the_quick_ways_give_what_the_tables_give(one: str, other: str) -> None:
    assert promptry.levenshtein_distance(one, other) == table_distance(one, other)
    assert promptry.common_length(one, other) == table_common(one, other)


@settings(max_examples=100, deadline=None)
@given(any_texts, any_texts)
def test_both_measures_lie_in_0_to_1_are_the_same_both_ways_and_1_for_the_same(one: str, other: str) -> None:
    for measure in (partial(assert_levenshtein, min_ratio=0), partial(assert_rouge_l, min_score=0)):
        assert 0.0 <= measure(one, other) == measure(other, one) <= 1.0
        assert measure(one, one) == 1.0


# assertion, texts, limits, score, passed
TABLE: list[tuple[Callable[..., float], tuple[str, str], dict[str, Any], float, bool]] = [
    (assert_levenshtein, ("kitten", "sitting"), {"max_distance": 3}, 4 / 7, True),
    (assert_levenshtein, ("kitten", "sitting"), {"max_distance": 2}, 4 / 7, False),
    (assert_levenshtein, ("kitten", "sitting"), {"min_ratio": 0.57}, 4 / 7, True),
    (assert_levenshtein, ("kitten", "sitting"), {"min_ratio": 0.58}, 4 / 7, False),
    (assert_levenshtein, ("", ""), {"max_distance": 0}, 1.0, True),
    (assert_levenshtein, ("\u200b \n", "\t"), {"max_distance": 0}, 1.0, True),
    (assert_levenshtein, ("\u200b \n", "abc"), {"min_ratio": 0.1}, 0.0, False),
    (assert_levenshtein, ("a ", "a"), {"max_distance": 0}, 0.5, False),
    (assert_levenshtein, ("", ""), {"min_ratio": 1}, 1.0, True),
    (assert_levenshtein, ("", "abc"), {"max_distance": 3}, 0.0, True),
    (assert_levenshtein, ("abc", ""), {"min_ratio": 0.01}, 0.0, False),
    (assert_levenshtein, ("a", "A"), {"max_distance": 0}, 0.0, False),
    (assert_levenshtein, ("abcdefghij", "abcdefgxyz"), {"min_ratio": 0.7}, 0.7, True),  # no rounding away of the limit
    (assert_levenshtein, ("日本語", "日本"), {"max_distance": 1}, 2 / 3, True),
    (assert_levenshtein, ("👍🏽", "👍"), {"max_distance": 1}, 0.5, True),  # a modifier is a character
    (assert_levenshtein, ("\ud800a", "\ud800b"), {"max_distance": 1}, 0.5, True),
    (assert_levenshtein, ("a", "b"), {"max_distance": 10**9}, 0.0, True),
    (assert_levenshtein, (HUGE, HUGE), {"max_distance": 0}, 1.0, True),
    (assert_levenshtein, (HUGE + "abc" + HUGE, HUGE + "b" + HUGE), {"max_distance": 2}, 1 - 2 / 4_000_003, True),
    (assert_levenshtein, (HUGE, ""), {"min_ratio": 0.5}, 0.0, False),
    (assert_rouge_l, ("the cat sat", "the cat sat down"), {"min_score": 0.8}, 6 / 7, True),
    (assert_rouge_l, ("the cat sat", "the cat sat down"), {"min_score": 0.9}, 6 / 7, False),
    (assert_rouge_l, ("", ""), {"min_score": 1.0}, 1.0, True),
    (assert_rouge_l, ("\u200b", "\ufeff\n"), {"min_score": 1.0}, 1.0, True),
    (assert_rouge_l, ("\u200b", "\u200b word"), {"min_score": 0.1}, 0.0, False),
    (assert_rouge_l, (" \n", "\t"), {"min_score": 1.0}, 1.0, True),
    (assert_rouge_l, ("", "word"), {"min_score": 0.1}, 0.0, False),
    (assert_rouge_l, ("word", "   "), {"min_score": 0.0}, 0.0, True),
    (assert_rouge_l, ("b a", "a b"), {"min_score": 0.5}, 0.5, True),
    (assert_rouge_l, ("a x b y c", "a b c"), {"min_score": 0.75}, 0.75, True),
    (assert_rouge_l, ("The end.", "the end"), {"min_score": 0.1}, 0.0, False),
    (assert_rouge_l, ("Grüße  aus\u3000Köln", "Grüße aus Köln"), {"min_score": 1.0}, 1.0, True),
    (assert_rouge_l, ("日本語の文", "日本語の本"), {"min_score": 0.1}, 0.0, False),
    (assert_rouge_l, (WORDS + "a", WORDS + "b"), {"min_score": 0.99}, 300_000 / 300_001, True),
]


def name_of(row: tuple[Any, ...]) -> str:
    return f"{row[0].__name__}{tuple(part[:12].strip() for part in row[1])} {row[2]}".encode(
        "ascii", "replace"
    ).decode()


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_each_assertion_scores_records_and_raises(row: tuple[Any, ...]) -> None:
    function, texts, limits, score, passed = row
    with collect() as checks:
        if passed:
            assert function(*texts, **limits) == score
        else:
            with pytest.raises(promptry.CheckFailed):
                function(*texts, **limits)
    (check,) = checks
    assert check[:3] == (function.__name__.removeprefix("assert_"), passed, score)
    assert set(check.details) >= {"expected", "actual", "reason"} and len(check.details["reason"]) < 200
    assert len(promptry.write_json(check.details)) < 100_000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assert_levenshtein("a", "b"), "exactly one"),
        (lambda: assert_levenshtein("a", "b", 1, 0.5), "exactly one"),
        (lambda: assert_levenshtein(None, "b", 1), "actual text is NoneType"),  # type: ignore[arg-type]
        (lambda: assert_levenshtein("a", b"b", 1), "expected text is bytes"),  # type: ignore[arg-type]
        (lambda: assert_levenshtein("a", "b", -1), "0 or more"),
        (lambda: assert_levenshtein("a", "b", True), "max_distance is True"),
        (lambda: assert_levenshtein("a", "b", "1"), "max_distance is '1'"),  # type: ignore[arg-type]
        (lambda: assert_levenshtein("a", "b", math.nan), "max_distance is nan"),  # type: ignore[arg-type]
        (lambda: assert_levenshtein("a", "b", math.inf), "max_distance is inf"),  # type: ignore[arg-type]
        (lambda: assert_levenshtein("a", "b", min_ratio=80), "from 0 to 1"),
        (lambda: assert_levenshtein("a", "b", min_ratio=math.nan), "from 0 to 1"),
        (lambda: assert_levenshtein(HUGE, "y" * 100_001, 1), "at most 100,000"),
        (lambda: assert_rouge_l(3, "b", 0.5), "actual text is int"),  # type: ignore[arg-type]
        (lambda: assert_rouge_l("a", ["b"], 0.5), "expected text is list"),  # type: ignore[arg-type]
        (lambda: assert_rouge_l("a", "b", 1.1), "min_score is 1.1"),
        (lambda: assert_rouge_l("a", "b", None), "min_score is None"),  # type: ignore[arg-type]
        (lambda: assert_rouge_l(WORDS, "other " * 5, 0.5), "differ over 300,000"),
    ],
)
def test_a_wrong_argument_is_a_wrong_use_and_no_failed_check(call: Callable[[], float], words: str) -> None:
    with collect() as checks, pytest.raises(promptry.WrongUse, match=words):
        call()
    assert checks == []


def test_long_texts_are_compared_in_seconds() -> None:
    """A table of 20,000 by 20,000 would take minutes; the time given is for a busy machine."""
    draw = random.Random(1)
    one, other = ("".join(draw.choices("abcdefghij ", k=20_000)) for _ in "ab")
    words, others = (" ".join(draw.choices("abcdefghij", k=5_000)) for _ in "ab")
    began = time.monotonic()
    assert 0.2 < assert_levenshtein(one, other, min_ratio=0.2) < 0.8
    assert 0.2 < assert_rouge_l(words, others, 0.2) < 0.9
    assert time.monotonic() - began < 10
