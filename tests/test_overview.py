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


@pytest.fixture
def quiz(store: Path) -> dict[str, int]:
    """A suite of eight cases that pass or fail as this dict says, with a baseline run on its prompt tagged prod."""
    outcomes = {f"c{number}": 1 for number in range(8)}
    promptry.save_prompt("p", "text", tag="prod")

    @promptry.suite("quiz", prompt="p", dataset=[{"id": name} for name in outcomes], confirm=0)
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        promptry.assert_exact(outcomes[item["id"]], 1)

    promptry.run_suite("quiz")
    return outcomes


def standing(suite: str = "quiz") -> dict[str, Any]:
    (found,) = (row for row in promptry.get_overview()["suites"] if row["suite"] == suite)
    return found


def test_what_the_newest_run_was_compared_with_is_told_as_the_comparison_tells_it(
    quiz: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert standing()["comparison"] is None and standing()["verdict"] is None
    quiz.update(dict.fromkeys(("c1", "c2", "c3", "c4", "c5", "c6"), 0))
    result = promptry.run_suite("quiz", compare="prod")
    found, full = standing(), promptry.compare_runs(result.run_id).to_dict()
    told, baseline = found["comparison"], found["comparison"].pop("baseline")
    assert told == {key: full[key] for key in ("verdict", "delta", "interval", "p", "n", "groups", "reason")}
    assert (told["verdict"], told["delta"], told["n"], baseline["id"]) == ("regressed", -0.75, 8, "1")
    assert baseline.keys() == full["baseline"].keys() and baseline["n"] == 8 and baseline["age_s"] >= 0
    assert promptry.run_command(["status"]) == 0
    said = capsys.readouterr().out
    low, high = told["interval"]
    assert f"regressed (-0.750, 95 % {low:+.3f} to {high:+.3f}, p {told['p']:.3f}, n 8, against run 1)" in said


def test_a_run_that_found_no_baseline_was_compared_with_nothing(quiz: dict[str, int]) -> None:
    promptry.save_prompt("p", "another", tag="prod")
    result = promptry.run_suite("quiz", compare="prod")
    assert "NO BASELINE" in result.notes[0] and standing()["comparison"] is None
    gate = promptry.get_run(result.run_id)["manifest"]["gate"]
    assert gate["comparison"] is None and gate["flakes"] == []


def test_flaky_cases_are_told_though_they_pass_now(quiz: dict[str, int], tmp_path: Path) -> None:
    for outcome in (0, 1, 0, 1):
        quiz.update(c3=outcome, c4=0)
        promptry.run_suite("quiz")
    assert standing()["flaky"] == {"known": [], "measured": ["c3"]}, "c4 broke once, and stayed broken"
    (tmp_path / "promptry.toml").write_text('[run]\nflaky = ["quiz/c3", "quiz/c5", "other/c1"]\n')
    promptry.forget_settings()
    promptry.run_suite("quiz")
    assert standing()["flaky"] == {"known": ["c3", "c5"], "measured": ["c3"]}


def test_a_part_of_a_suite_its_coverage_and_flaky_cases_stand_in_the_line(
    quiz: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (standing()["partial"], standing()["coverage"]) == (False, 1.0)
    quiz.update(c3=0)
    promptry.run_suite("quiz")
    quiz.update(c3=1)
    promptry.run_suite("quiz", select="c3")
    assert (standing()["partial"], standing()["coverage"]) == (True, 1.0)
    assert promptry.run_command(["status"]) == 0
    assert ", partial)" in capsys.readouterr().out
    promptry.run_suite("quiz")
    assert standing()["flaky"]["measured"] == ["c3"]
    assert promptry.run_command(["status"]) == 0
    assert ", flaky: c3 (run 4 of " in capsys.readouterr().out


@pytest.mark.parametrize(
    "manifest",
    [None, "no json", "[1]", '{"gate": 1, "counts": "x"}', '{"gate": {"comparison": 3, "flakes": "c1", "flaky": {}}}']
    + ['{"gate": {"comparison": {"baseline": []}}}'],
)
def test_a_run_that_others_wrote_tells_nothing_of_what_it_was_compared_with(
    manifest: str | None, store: Path, raw: sqlite3.Connection
) -> None:
    raw.execute("PRAGMA ignore_check_constraints = ON")
    raw.execute("INSERT INTO eval_runs (suite_name, metadata) VALUES ('s', ?)", (manifest,))
    found = standing("s")
    assert (found["comparison"], found["coverage"], found["partial"]) == (None, None, False)
    assert found["flaky"] == {"known": [], "measured": None}, "nobody measured it: not the same as none"


def test_what_others_left_out_of_a_comparison_is_unknown(store: Path, raw: sqlite3.Connection) -> None:
    told = '{"gate": {"comparison": {"verdict": "tied", "baseline": {"id": "7"}}}}'
    raw.execute("INSERT INTO eval_runs (suite_name, metadata) VALUES ('s', ?)", (told,))
    found = standing("s")["comparison"]
    assert found["verdict"] == "tied" and found["delta"] is found["interval"] is found["p"] is None
    assert found["baseline"] == {"id": "7", "date": None, "n": None, "age_s": None}
    assert promptry.run_command(["status"]) == 0


def test_the_history_of_a_run_is_asked_for_once_when_it_is_judged(
    quiz: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz.update(c1=0)
    asked: list[str] = []
    real = promptry.query

    def query(name: str, part: int = 0, /, **parameters: Any) -> Any:
        asked.append(f"{name} {part}")
        return real(name, part, **parameters)

    monkeypatch.setattr(promptry, "query", query)
    result = promptry.run_suite("quiz", compare="prod")
    assert [row["case"] for row in result.flakes] == ["c1"]
    assert asked.count("list_flakes 0") == 1


def test_no_suite_more_asks_the_store_for_more_than_its_runs(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = promptry.fetch
    monkeypatch.setattr(promptry, "fetch", lambda sql, *more: [asked.append(sql), real(sql, *more)][1])

    def questions(suites: int) -> int:
        """Return how many statements the overview of so many suites makes, aside from those of their drift."""
        raw.executemany("INSERT INTO eval_runs (suite_name) VALUES (?)", [(f"s{number}",) for number in range(suites)])
        asked.clear()
        assert len(promptry.get_overview()["suites"]) == suites
        return len([sql for sql in asked if sql != promptry.statements("check_drift")[0]])

    assert questions(2) == questions(20)


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
