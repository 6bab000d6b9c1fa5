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


def test_the_scores_of_the_last_thirty_runs_stand_there_with_their_gaps(store: Path, raw: sqlite3.Connection) -> None:
    rows = [(number / 100, None) for number in range(31)] + [(None, None), (0.5, '{"complete": false}'), (0.6, None)]
    rows += [(0.7, '{"partial": {"ran": 1}}'), (0.9, '{"complete": true, "partial": null}')]
    raw.executemany("INSERT INTO eval_runs (suite_name, overall_score, metadata) VALUES ('s', ?, ?)", rows)
    history = standing("s")["history"]
    assert history == [number / 100 for number in range(6, 31)] + [None, None, 0.6, None, 0.9] and len(history) == 30


def test_what_changed_since_the_baseline_and_how_many_cases_flipped_is_told(quiz: dict[str, int]) -> None:
    assert [standing()[key] for key in ("against", "changed", "broke", "fixed")] == [None] * 4
    quiz.update(c1=0, c2=0)
    promptry.save_prompt("p", "another text")
    promptry.run_suite("quiz", compare="prod", model_version="m2")
    found = standing()
    assert (found["against"], found["broke"], found["fixed"]) == ("prod", 2, 0)
    assert found["changed"]["prompt"] == {"before": "p@1", "now": "p@2"}
    assert found["changed"]["model"] == {"before": None, "now": "m2"}
    assert found["changed"]["dataset"] is found["changed"]["commit"] is None


def add_call(raw: sqlite3.Connection, at: str, name: str = "app/a", **facts: Any) -> None:
    raw.execute(
        "INSERT INTO invocations (prompt_name, metadata, created_at) VALUES (?, ?, ?)",
        (name, promptry.write_json(facts) if facts else None, at),
    )


def test_today_is_of_production_calls_of_the_utc_day(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(promptry, "now_text", lambda: "2026-12-01T00:30:00.000Z")
    for number in range(1, 41):
        add_call(raw, "2026-12-01T00:10:00.000Z", cost_usd=0.25, latency_ms=number)
    add_call(raw, "2026-12-01T00:00:00.000Z")
    add_call(raw, "2026-12-01T00:20:00.000Z", status="error", error="time out")
    add_call(raw, "2026-12-01T00:20:00.000Z", status="reserved", cost_usd=9)
    add_call(raw, "2026-12-01T00:20:00.000Z", origin="eval", cost_usd=1, latency_ms=9000)
    add_call(raw, "2026-11-30T23:59:59.999Z", cost_usd=9, latency_ms=9000)
    add_call(raw, "2026-12-02T00:00:00.000Z", cost_usd=9)
    for request, rating, at in (
        ("r1", 1, "2026-12-01T00:00:00.000Z"),
        ("r2", 0.5, "2026-12-01T00:05:00.000Z"),
        ("r3", 0.4, "2026-12-01T00:05:00.000Z"),
        ("r4", None, "2026-12-01T00:05:00.000Z"),
        ("r5", 1, "2026-11-30T23:00:00.000Z"),
    ):
        raw.execute("INSERT INTO feedback (request_id, rating, created_at) VALUES (?, ?, ?)", (request, rating, at))
    raw.execute(
        "INSERT INTO feedback (request_id, rating, source, created_at)"
        " VALUES ('r1', 0.2, 'x', '2026-12-01T00:06:00.000Z')"
    )
    found = promptry.get_overview()
    assert found["today"] == {
        "calls": 42,
        "errors": 1,
        "unpriced": 1,
        "cost_usd": 10.0,
        "p95_ms": 38.0,
        "latency_of": 40,
        "rated": {"up": 2, "down": 1},
        "renders_fallback": 0,
    }
    assert found["modules"] == [
        {"module": "app", "calls": 44, "unpriced": 1, "cost_usd": 20.0, "per_thousand_usd": pytest.approx(20000 / 42)}
    ], "December alone, of every origin"
    assert promptry.run_command(["status"]) == 0
    said = "Today: 42 production calls, 2.4% failed, 95 of 100 within 38 ms, 1 without a cost, 2 of 3 ratings up."
    assert said in capsys.readouterr().out


def test_a_day_without_calls_has_no_latency_and_no_cost(store: Path, raw: sqlite3.Connection) -> None:
    today = promptry.get_overview()["today"]
    assert (today["calls"], today["p95_ms"], today["latency_of"], today["cost_usd"]) == (0, None, 0, None)
    add_call(raw, promptry.now_text(), "lone", cost_usd="dear", latency_ms="slow")
    found = promptry.get_overview()
    assert (found["today"]["cost_usd"], found["today"]["p95_ms"], found["today"]["unpriced"]) == (None, None, 1)
    (module,) = found["modules"]
    assert (module["module"], module["cost_usd"], module["per_thousand_usd"]) == ("lone", None, None)


def test_of_very_many_calls_the_latency_is_of_each_so_many(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "LATENCIES_READ", 10)
    for number in range(1, 101):
        add_call(raw, promptry.now_text(), latency_ms=number)
    today = promptry.get_overview()["today"]
    assert (today["calls"], today["latency_of"], today["p95_ms"]) == (100, 9, 99.0), "of 11, 22 ... 99"


def test_modules_end_at_a_slash_or_dot_and_the_dearest_stands_first(store: Path, raw: sqlite3.Connection) -> None:
    for name, cost in (("a/x", 1), ("a.y", 2), ("b", 4), ("b/c.d", 0.5), ("free", None)):
        add_call(raw, promptry.now_text(), name, cost_usd=cost)
    modules = [(row["module"], row["calls"], row["cost_usd"]) for row in promptry.get_overview()["modules"]]
    assert modules == [("b", 2, 4.5), ("a", 2, 3.0), ("free", 1, None)]


def test_what_was_served_from_the_code_today_is_counted_by_the_day(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(day: str) -> int | None:
        monkeypatch.setattr(promptry, "now_text", lambda: f"{day}T12:00:00.000Z")
        promptry._fall_back("p", ValueError("no"))
        promptry.tell_fallbacks()
        return promptry.get_overview()["today"]["renders_fallback"]

    promptry.connect()
    assert [fall("2030-01-01"), fall("2030-01-01"), fall("2030-01-02")] == [1, 2, 1]
    assert promptry.get_overview()["fallbacks"][0]["times"] == 3
    promptry.connect().execute(
        "UPDATE datasets SET metadata = '[1]', created_at = '2030-01-02' WHERE name LIKE 'promptry/f%'"
    )
    assert promptry.get_overview()["today"]["renders_fallback"] is None, "the day is not told"
    promptry.connect().execute("UPDATE datasets SET created_at = '2030-01-01' WHERE name LIKE 'promptry/f%'")
    assert promptry.get_overview()["today"]["renders_fallback"] == 0
