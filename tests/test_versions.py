"""VERSIONS: how each version of a prompt did: in tests, in production, in the eyes of its users."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

import promptry


@pytest.fixture(autouse=True)
def three_versions(raw: sqlite3.Connection) -> None:
    for text in ("one", "two", "three"):
        promptry.save_prompt("app/p", text)


def metric(version: int) -> dict[str, Any]:
    (found,) = (row for row in promptry.get_prompt("app/p")["metrics"] if row["version"] == version)
    return found


def ago(days: float) -> str:
    return promptry.text_of((promptry.seconds_of(promptry.now_text()) or 0) - days * 86_400)


def add_call(
    raw: sqlite3.Connection, version: int | None, request: str | None = None, days: float = 0, **facts: Any
) -> None:
    raw.execute(
        "INSERT INTO invocations (prompt_name, prompt_version, metadata, request_id, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        ("app/p", version, promptry.write_json(facts) if facts else None, request, ago(days)),
    )


def add_run(raw: sqlite3.Connection, version: int, score: float | None, scores: list[Any], manifest: Any = None) -> int:
    """Write a run with one check a case: a score, or None for an error."""
    key = raw.execute(
        "INSERT INTO eval_runs (suite_name, prompt_name, prompt_version, overall_score, metadata)"
        " VALUES ('s', 'app/p', ?, ?, ?)",
        (version, score, None if manifest is None else json.dumps(manifest)),
    ).lastrowid
    for number, own in enumerate(scores):
        kind, passed = ("error", None) if own is None else ("exact", int(own == 1))
        raw.execute(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score) VALUES (?, ?, ?, ?, ?)",
            (key, f"c{number}", kind, passed, own),
        )
    assert key is not None
    return key


def test_a_version_that_nothing_used_has_no_number_and_no_zero_in_its_place() -> None:
    assert metric(2) == {
        "version": 2,
        "runs": 0,
        "run": None,
        "score": None,
        "interval": None,
        "n": None,
        "calls": 0,
        "cost_per_call_usd": None,
        "p50_ms": None,
        "latency_of": 0,
        "rating": None,
        "ratings": 0,
    }
    assert [row["version"] for row in promptry.get_prompt("app/p", 1)["metrics"]] == [3, 2, 1], (
        "of all, the newest first"
    )


def test_the_score_is_of_the_newest_whole_run_with_wilsons_interval(raw: sqlite3.Connection) -> None:
    """9 of 10: centre (0.9 + 1.96² / 20) / (1 + 1.96² / 10), half 1.96 sqrt(0.009 + 1.96² / 400) / (1 + 1.96² / 10)."""
    add_run(raw, 1, 0.1, [0] * 10)
    key = add_run(raw, 1, 0.9, [1] * 9 + [0, None])
    add_run(raw, 1, 0.5, [1, 0], {"partial": {"ran": 2}})
    add_run(raw, 1, 0.4, [1, 0], {"complete": False})
    add_run(raw, 1, None, [None])
    found = metric(1)
    assert (found["runs"], found["run"], found["score"], found["n"]) == (5, str(key), 0.9, 10)
    assert found["interval"] == [pytest.approx(0.59585, abs=1e-5), pytest.approx(0.98212, abs=1e-5)]


def test_few_cases_have_no_interval_and_errors_alone_no_score(raw: sqlite3.Connection) -> None:
    add_run(raw, 1, 0.5, [1, 0, 1, 0])
    add_run(raw, 2, None, [None, None])
    assert (metric(1)["score"], metric(1)["interval"], metric(1)["n"]) == (0.5, None, 4)
    assert (metric(2)["runs"], metric(2)["run"], metric(2)["score"], metric(2)["n"]) == (1, None, None, None)


def test_known_flaky_cases_are_left_out_and_tries_are_one_case(raw: sqlite3.Connection) -> None:
    key = add_run(raw, 1, 0.75, [1, 0.5, 0], {"gate": {"flaky": ["c2"]}})
    raw.execute(
        "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details)"
        " VALUES (?, 'c1', 'exact', 1, 1.0, '{\"repeat\": 1}')",
        (key,),
    )
    assert metric(1)["n"] == 2


def test_cases_of_groups_have_the_interval_of_groups(raw: sqlite3.Connection) -> None:
    scores = [1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0]
    key = add_run(raw, 1, 0.75, scores)
    apart = metric(1)["interval"]
    raw.execute("UPDATE eval_results SET details = json_object('group', 'g' || (id % 8)) WHERE run_id = ?", (key,))
    assert metric(1)["interval"] != apart and metric(1)["n"] == 12


def test_of_very_many_results_the_newest_versions_have_an_interval(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (1, 2, 3):
        add_run(raw, version, 0.5, [1, 0] * 4)
    monkeypatch.setattr(promptry, "_MOST_RESULTS", 8)
    assert [metric(version)["n"] for version in (1, 2, 3)] == [None, None, 8]
    assert [metric(version)["score"] for version in (1, 2, 3)] == [0.5] * 3


def test_production_is_of_the_last_thirty_days_and_of_the_app_alone(raw: sqlite3.Connection) -> None:
    for latency, cost in ((100, 0.5), (300, 0.25), (200, None), (None, 0.75)):
        add_call(raw, 1, latency_ms=latency, cost_usd=cost)
    add_call(raw, 1, days=29, status="error", latency_ms=400)
    add_call(raw, 1, days=30.01, cost_usd=50, latency_ms=1)
    add_call(raw, 1, origin="eval", cost_usd=50, latency_ms=1)
    add_call(raw, 1, status="reserved", cost_usd=50, latency_ms=1)
    add_call(raw, None, cost_usd=50)
    add_call(raw, 2, cost_usd="dear", latency_ms="slow")
    add_call(raw, 3)
    assert {key: metric(1)[key] for key in ("calls", "cost_per_call_usd", "p50_ms", "latency_of")} == {
        "calls": 5,
        "cost_per_call_usd": 0.5,
        "p50_ms": 200.0,
        "latency_of": 4,
    }
    for version in (2, 3):
        assert [metric(version)[key] for key in ("calls", "cost_per_call_usd", "p50_ms")] == [1, None, None]


def test_of_very_many_calls_of_a_version_some_tell_the_latency_and_of_others_all(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 101):
        add_call(raw, 1, latency_ms=number)
    for number in range(3):
        add_call(raw, 2, latency_ms=number)
    monkeypatch.setattr(promptry, "LATENCIES_READ", 10)
    assert (metric(1)["latency_of"], metric(1)["p50_ms"]) == (9, 55.0), "of 11, 22 ... 99 the fifth"
    assert (metric(2)["latency_of"], metric(2)["p50_ms"]) == (3, 1.0)


def test_ratings_are_means_of_requests_and_belong_to_the_version_of_the_call(raw: sqlite3.Connection) -> None:
    def rate(
        request: str, rating: float | None, source: str | None = None, days: float = 0, name: Any = "app/p"
    ) -> None:
        raw.execute(
            "INSERT INTO feedback (request_id, rating, source, prompt_name, created_at) VALUES (?, ?, ?, ?, ?)",
            (request, rating, source, name, ago(days)),
        )

    for request, version in (("r1", 1), ("r2", 1), ("r3", 2), ("r4", 1), ("r5", 1), ("r6", 1)):
        add_call(raw, version, request)
    add_call(raw, 2, "r2")
    rate("r1", 1)
    rate("r1", 0.5, "user")
    rate("r2", 0.2)
    rate("r3", 0.4, name=None)
    rate("r4", None)
    rate("r5", 0, days=31)
    rate("r6", 0, name="other")
    rate("unknown", 0)
    raw.execute("INSERT INTO invocations (prompt_name, request_id) VALUES ('other', 'r7')")
    rate("r7", 0, name=None)
    assert (metric(1)["rating"], metric(1)["ratings"]) == (0.75, 1)
    assert (metric(2)["rating"], metric(2)["ratings"]) == (pytest.approx(0.3), 2), "r2's newest call was of version 2"
    assert (metric(3)["rating"], metric(3)["ratings"]) == (None, 0)


def test_each_tag_is_told_with_the_version_it_serves_and_served_before(raw: sqlite3.Connection) -> None:
    promptry.promote("app/p", 1, "prod")
    promptry.promote("app/p", 3, "prod")
    promptry.promote("app/p", 2, "dev")
    promptry.promote("app/p", 2, "gone")
    promptry.remove_tag("app/p", "gone")
    dev, prod = promptry.get_prompt("app/p")["serves"]
    assert (dev["tag"], dev["version"], dev["was"]) == ("dev", 2, None)
    assert (prod["tag"], prod["version"], prod["was"]) == ("prod", 3, 1)
    assert promptry.age_s(prod["since"]) is not None
    raw.execute('UPDATE prompts SET metadata = \'{"promptry": {"promotions": [3, {"tag": "prod", "at": 7}]}}\'')
    assert promptry.get_prompt("app/p")["serves"][1] == {"tag": "prod", "version": 3, "since": None, "was": None}
    raw.execute("UPDATE prompts SET metadata = NULL")
    assert promptry.get_prompt("app/p")["serves"][0] == {"tag": "dev", "version": 2, "since": None, "was": None}


def test_prompts_are_listed_with_their_module(raw: sqlite3.Connection) -> None:
    promptry.save_prompt("alone", "x")
    add_run(raw, 1, 1.0, [1])
    rows = {row["name"]: (row["module"], row["runs"]) for row in promptry.list_prompts()["items"]}
    assert rows == {"app/p": ("app", 1), "alone": ("alone", 0)}


def test_what_versions_did_stands_in_the_text_if_they_did_anything(
    raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command(["prompt", "show", "app/p"]) == 0
    assert "ratings" not in capsys.readouterr().out
    add_run(raw, 2, 0.9, [1] * 9 + [0])
    assert promptry.run_command(["prompt", "show", "app/p"]) == 0
    said = capsys.readouterr().out
    assert "0.596 to 0.982" in said and "ratings" in said and said.endswith("app/p@3:\nthree\n")


def test_the_calls_of_one_prompt_are_found_day_by_day(raw: sqlite3.Connection) -> None:
    for part in (5, 6):
        sql = promptry.statements("get_prompt")[part]
        given = dict.fromkeys(("name", "since", "step", "versions"))
        plan = " ".join(row[-1] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", given))
        assert "(day=? AND prompt_name=?)" in plan
    sql = promptry.statements("list_prompts")[0]
    plan = " ".join(row[-1] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(("limit", "offset"))))
    assert plan.count("SCAN eval_runs") == 1, "once for all prompts"
