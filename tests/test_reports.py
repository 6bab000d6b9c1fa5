"""REPORTS: results as text for people: the verdict first, then what changed, then why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

import promptry
from promptry import RunResult

COUNTS = {"cases": 20, "pass": 18, "fail": 2, "error": 0, "skipped": 0, "checks": 20, "scored": 20}
COMPARISON: dict[str, Any] = {
    "verdict": "regressed",
    "delta": -0.25,
    "interval": [-0.44, -0.05],
    "p": 0.03125,
    "n": 20,
    "flips": [
        {"case": "c1", "assertion_type": "exact", "ordinal": 0, "before": "pass", "now": "fail", "state": "broken"},
        {"case": "c2", "assertion_type": "exact", "ordinal": 0, "before": "pass", "now": "fail", "state": "flaky"},
        {"case": "c3", "assertion_type": "exact", "ordinal": 0, "before": "fail", "now": "pass", "state": "fixed"},
    ],
    "deltas": [
        {
            "assertion_type": "exact",
            "n": 20,
            "groups": None,
            "baseline": 1.0,
            "current": 0.75,
            "delta": -0.25,
            "interval": None,
            "p": 0.0001,
            "test": "mcnemar_p",
        }
    ],
    "cause": {
        "prompt": {"before": "p@1", "now": "p@2"},
        "model": None,
        "dataset": None,
        "commit": None,
        "prompt_diff": "--- p v1\n+++ p v2\n@@ -1 +1 @@\n-Short.\n+Long.",
    },
    "run": {"id": "9", "date": "2026-11-23T12:00:00.000Z", "n": 20, "age_s": 1.0},
    "baseline": {"id": "7", "date": "2026-11-20T12:00:00.000Z", "n": 20, "age_s": 260_000.0},
    "passed": False,
    "known": ["c9"],
    "unpaired": {"new": ["n1"], "missing": ["m1"], "errors": ["e1"], "failing": [], "checks": []},
    "groups": None,
    "breaks": [
        {
            "case": "c1",
            "before": {"passed": 20, "tries": 20},
            "now": {"passed": 0, "tries": 5},
            "p": 2e-5,
            "hard": True,
            "decides": 3,
        },
        {
            "case": "c2",
            "before": {"passed": 4, "tries": 4},
            "now": {"passed": 1, "tries": 2},
            "p": 1.0,
            "hard": False,
            "decides": 7,
        },
    ],
    "reason": "case c1 is broken hard",
}


def result(**changes: Any) -> RunResult:
    first = RunResult("9", "quiz", False, 0.75, COUNTS, [], None, prompt="p", prompt_version=2, compare="prod")
    return first._replace(**changes)


def plain(text: str) -> str:
    return click.unstyle(text)


def test_the_verdict_comes_first_then_flips_then_numbers_then_the_cause() -> None:
    text = plain(
        promptry.render_result(
            result(verdict="regressed", comparison=COMPARISON, reasons=("the verdict is regressed",))
        )
    )
    places = [
        text.index(words)
        for words in (
            "FAIL",
            "because the verdict is regressed",
            "regressed: run 9",
            "broken 1: c1",
            "flaky 1: c2",
            "fixed 1: c3",
            "exact",
            "probable cause",
            "p@1 -> p@2",
            "+Long.",
        )
    ]
    assert places == sorted(places)


def test_no_number_stands_without_its_n_and_the_baseline_has_a_date_and_an_age() -> None:
    text = plain(promptry.render_comparison(COMPARISON))
    assert "20 pairs" in text and "-0.250" in text and "-0.440 to -0.050" in text and "p 0.031" in text
    assert "run 7 of 2026-11-20T12:00" in text and "3 days old" in text
    assert "< 0.001" in text, "a p is never shown as 0"
    assert "known failures, in both runs: 1" in text
    for words in ("without a baseline 1: n1", "missing now 1: m1", "in error 1: e1"):
        assert words in text


def test_a_comparison_without_pairs_is_still_a_text() -> None:
    bare = {**COMPARISON, "delta": None, "interval": None, "p": None, "n": 0, "flips": [], "deltas": [], "cause": None}
    text = plain(promptry.render_comparison({**bare, "verdict": "not enough data"}))
    assert "not enough data" in text and "0 pairs" in text and "nothing we record changed" in text


def test_many_flips_and_cases_are_cut_and_counted() -> None:
    flips = [{**COMPARISON["flips"][0], "case": f"c{number}"} for number in range(25)]
    text = plain(promptry.render_comparison({**COMPARISON, "flips": flips}))
    assert "broken 25: c0," in text and "and 15 more" in text
    cases = [{"case": f"c{number}", "state": "fail", "score": 0.0, "reason": "x" * 500} for number in range(50)]
    lines = plain(promptry.render_cases(cases)).splitlines()
    assert lines[-1] == "... and 30 more" and max(map(len, lines)) < 140


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (5.0, "5 seconds"),
        (300.0, "5 minutes"),
        (4 * 3600.0, "4 hours"),
        (86_400 * 40.0, "40 days"),
        (None, "unknown age"),
    ],
)
def test_the_age_of_a_baseline_is_said_in_words(age: float | None, words: str) -> None:
    found = {**COMPARISON, "baseline": {**COMPARISON["baseline"], "age_s": age}}
    assert words in plain(promptry.render_comparison(found))


def test_without_a_baseline_the_note_and_the_next_step_are_shown() -> None:
    text = plain(promptry.render_result(result(passed=True, notes=("NO BASELINE: none is tagged 'prod'.",))))
    assert "NO BASELINE" in text and "promptry prompt promote p 2 prod" in text


def test_a_failing_run_lists_what_fails_with_the_reasons() -> None:
    cases = [
        {"case": "good", "repeat": 0, "state": "pass", "score": 1.0, "reason": None},
        {"case": "bad", "repeat": 0, "state": "fail", "score": 0.0, "reason": "expected 'a',\ngot 'b'"},
        {"case": "worse", "repeat": 0, "state": "error", "score": None, "reason": "RuntimeError: crashed"},
    ]
    text = plain(promptry.render_result(result(cases=cases, reasons=("2 of 20 cases fail",))))
    assert "bad" in text and "expected 'a', got 'b'" in text and "RuntimeError: crashed" in text
    assert "good" not in text
    assert "18 pass, 2 fail" in text


def test_an_unknown_score_is_no_zero() -> None:
    text = plain(promptry.render_result(result(score=None)))
    assert "no score" in text and "0.000" not in text


def test_a_run_read_back_shows_its_facts_and_what_did_not_pass(store: Path) -> None:
    @promptry.suite("quiz")
    def check() -> None:
        for number in range(3):
            with promptry.case(f"n{number}"):
                promptry.assert_exact(number, 0)

    key = promptry.run_suite("quiz", model_version="m-1").run_id
    text = plain(promptry.render_run(promptry.get_run(key)))
    assert "suite quiz" in text and "m-1" in text and "3 cases: 1 pass, 2 fail" in text
    assert "n1" in text and "n2" in text and "n0" not in text
