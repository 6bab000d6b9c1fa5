"""FLIPS: the cases that changed sides between two runs, and the checks that only one of them has."""

from __future__ import annotations

from typing import Any

import pytest

import promptry

Rows = list[dict[str, Any]]


def rows_of(cases: dict[str, list[tuple[str, bool]]]) -> Rows:
    return [
        {"case": name, "checks": [{"assertion_type": kind, "passed": passed} for kind, passed in checks]}
        for name, checks in cases.items()
    ]


@pytest.mark.parametrize(
    ("now", "tries", "state"),
    [
        ("fail", [], "broken"),
        ("fail", ["fail", "fail"], "broken"),
        ("fail", ["fail", "error"], "broken"),
        ("fail", ["error", "error"], "unconfirmed"),
        ("fail", ["error", "skipped"], "unconfirmed"),
        ("fail", ["error", "pass"], "flaky"),
        ("mixed", [], "flaky"),
    ],
)
def test_a_case_that_held_is_what_its_further_tries_make_of_it(now: str, tries: list[str], state: str) -> None:
    rows = rows_of({"a": [("exact", True), ("contains", False)]})
    (flip,) = promptry.find_flips({"a": "pass"}, {"a": now}, rows, rows, {"a": tries} if tries else {})
    told = {"case": "a", "assertion_type": "contains", "ordinal": 0, "before": "pass", "now": "fail", "state": state}
    assert flip == told


def test_a_case_that_broke_hard_is_broken_whatever_else_was_seen_of_it() -> None:
    failing = rows_of({name: [("exact", False)] for name in "abcd"})
    before, now = {"a": "pass", "b": "pass", "c": "mixed"}, {"a": "mixed", "b": "fail", "c": "fail", "d": "fail"}
    flips = promptry.find_flips(before, now, failing, failing, {"b": ["error", "pass"]}, "abcd")
    assert [(flip["case"], flip["before"], flip["state"]) for flip in flips] == [
        ("a", "pass", "broken"),
        ("b", "pass", "broken"),
        ("c", "mixed", "broken"),
        ("d", "pass", "broken"),
    ]
    assert promptry.find_flips({"a": "pass"}, {"a": "pass"}, failing, failing, {}, "a") == []


def test_what_broke_stands_first_and_what_failed_before_is_no_flip() -> None:
    failing = {name: [("exact", False)] for name in "abcd"}
    before = {"a": "fail", "b": "pass", "c": "pass", "d": "fail"}
    now = {"a": "pass", "b": "fail", "c": "fail", "d": "fail"}
    flips = promptry.find_flips(before, now, rows_of(failing), rows_of(failing), {"b": ["pass"]})
    assert [(flip["case"], flip["state"]) for flip in flips] == [("c", "broken"), ("b", "flaky"), ("a", "fixed")]
    assert promptry.flips_in(flips, "fixed") == ["a"] and promptry.flips_in(flips, "unconfirmed") == []


@pytest.mark.parametrize(
    ("before", "now", "tries", "alone"),
    [
        (None, "fail", [], True),
        ("error", "fail", ["fail"], True),
        ("skipped", "fail", [], True),
        (None, "fail", ["pass"], False),
        (None, "error", [], False),
        ("fail", "fail", [], False),
        ("mixed", "fail", [], False),
        ("pass", "fail", [], False),
    ],
)
def test_a_case_fails_alone_where_the_baseline_says_nothing(
    before: Any, now: str, tries: list[str], alone: bool
) -> None:
    assert promptry.fails_alone(before, now, tries) is alone


def test_checks_that_only_one_run_has_are_counted_where_the_other_ran_to_its_end() -> None:
    old = rows_of({"a": [("exact", True), ("contains", True)], "b": [("exact", False)], "gone": [("exact", True)]})
    new = rows_of({"a": [("exact", True), ("exact", False)], "b": [("exact", True), ("contains", True)]})
    found = promptry.lone_checks({"a": "pass", "b": "fail", "gone": "pass"}, {"a": "fail", "b": "pass"}, old, new)
    assert found == [{"assertion_type": "exact", "new": 1, "missing": 0}], "a failing case ends at its check"
    found = promptry.lone_checks({"a": "pass"}, {"a": "pass"}, old[:1], new[:1])
    assert found == [
        {"assertion_type": "contains", "new": 0, "missing": 1},
        {"assertion_type": "exact", "new": 1, "missing": 0},
    ]
