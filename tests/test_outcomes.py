"""OUTCOMES: what pytest is told of a case. How whole sessions end is in test_pytest."""

from __future__ import annotations

import traceback

import pytest

import promptry
from promptry import Check


def outcome(*checks: Check, state: str = "fail") -> promptry.CaseOutcome:
    return promptry.CaseOutcome("a\x1b", 0, state, None, list(checks), 0)


def test_a_case_says_why_it_did_not_pass_and_steers_no_terminal() -> None:
    bad = Check("exact", False, 0.0, {"reason": "expected b", "actual": "\x1b[2J"})
    assert promptry.why_of(outcome(Check("exact", True, 1.0, {}), bad)) == "expected b"
    assert promptry.why_of(outcome(Check("exact", False, 0.0, {}))) == "exact"
    assert promptry.why_of(outcome(state="skipped")) == "skipped"
    text = promptry.checks_text([outcome(bad)])
    assert text == "fail  a\\x1b: exact 0.000\n      reason: expected b\n      actual: \\x1b[2J"


def test_what_fixtures_raise_is_an_error_or_a_skip_and_never_a_failed_check() -> None:
    found = promptry.outcome_of_setup("a", AssertionError("no"))
    assert (found.state, found.score, found.checks[-1].assertion_type) == ("error", None, "error")


def test_what_a_function_raises_is_kept_and_shown_at_the_lines_of_the_user() -> None:
    troubles: list[BaseException] = []

    def fail() -> None:
        promptry.assert_exact("a", "b")

    with pytest.raises(AssertionError):
        promptry.keeping_troubles(fail, troubles)()
    frames = traceback.extract_tb(promptry.outside_of_us(troubles[0].__traceback__))
    assert [frame.name for frame in frames][-1:] == ["fail"]
    assert {frame.filename for frame in frames} == {__file__}
