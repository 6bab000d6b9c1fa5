"""OVERVIEW: how everything stands, in one answer."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry


def test_an_empty_store_has_an_answer(store: Path) -> None:
    promptry.connect()
    found = promptry.get_overview()
    assert (found["suites"], found["budgets"], found["fallbacks"]) == ([], [], [])
    assert (found["spend"]["spent_usd"], found["spend"]["today_usd"], found["spend"]["unpriced"]) == (0.0, 0.0, 0)


def test_where_there_is_no_store_none_is_made(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["status"]) == 2 and not store.exists()
    assert "There is no store at" in capsys.readouterr().err


def test_the_newest_run_of_each_suite_stands_there_and_a_fall_is_said(store: Path, raw: sqlite3.Connection) -> None:
    rows = [("falls", 0.9 - number % 3 / 20 - number // 10 / 2, number < 10) for number in range(15)]
    rows += [("holds", 0.8 + number % 3 / 20, True) for number in range(8)]
    promptry.connect()
    raw.executemany("INSERT INTO eval_runs (suite_name, overall_score, overall_pass) VALUES (?, ?, ?)", rows)
    holds, falls = promptry.get_overview()["suites"]
    assert (holds["suite"], holds["run"], holds["passed"], holds["drifting"]) == ("holds", "23", True, False)
    assert (falls["suite"], falls["run"], falls["passed"], falls["drifting"]) == ("falls", "15", False, True)
    assert falls["drift"] and falls["complete"] is True and falls["verdict"] is None


def test_the_month_is_the_sum_of_its_settled_calls_with_and_without_a_budget(store: Path, clock: Any) -> None:
    for cost in (0.5, 0.25):
        promptry.track_invocation("app/answer", {"cost_usd": cost})
    promptry.track_invocation("app/answer", model="nobody-knows", usage={"prompt_tokens": 1, "completion_tokens": 1})
    first = promptry.get_overview()["spend"]
    promptry.set_budget("prompt", "other", "daily", 1)
    promptry.track_invocation("app/answer", {"cost_usd": 1})
    second = promptry.get_overview()["spend"]
    assert (first["spent_usd"], first["today_usd"], first["unpriced"]) == (0.75, 0.75, 1)
    assert (second["spent_usd"], second["today_usd"], second["unpriced"]) == (1.75, 1.75, 1)


def test_prompts_served_from_the_code_are_told_with_their_counts(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promptry.connect()
    for name in ("p", "q", "p"):
        promptry._fall_back(name, ValueError("no"))
    promptry.track_invocation("p", {"cost_usd": 0})
    found = promptry.get_overview()["fallbacks"]
    assert [(row["name"], row["times"]) for row in found] == [("p", 2), ("q", 1)] and found[0]["last_at"]
    assert promptry.run_command(["status"]) == 0
    assert "3 times the text in the code was served because the store failed: p, q." in capsys.readouterr().out


def test_a_spent_budget_and_one_that_will_not_last_are_said(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promptry.set_budget("global", None, "monthly", 1)
    promptry.set_budget("module", "app", "monthly", 1000)
    promptry.track_invocation("app/answer", {"cost_usd": 2})
    assert promptry.run_command(["status"]) == 0
    said = capsys.readouterr().out
    assert "The monthly global budget is spent: $2.00 of $1.00." in said and "module" not in said


@pytest.mark.parametrize("items", ["null", "[1]", '{"p": "x"}', "no json"])
def test_what_others_wrote_in_the_place_of_fallbacks_is_passed_over(store: Path, items: str) -> None:
    promptry.connect().execute("PRAGMA ignore_check_constraints = ON")
    promptry.connect().execute(
        "INSERT INTO datasets (name, version, items) VALUES ('promptry/fallbacks', 1, ?)", (items,)
    )
    assert promptry.get_overview()["fallbacks"] == []
