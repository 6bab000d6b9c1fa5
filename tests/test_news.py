"""NEWS: what happened in the last day."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry


def changes(kind: str | None = None) -> list[dict[str, Any]]:
    found = promptry.get_overview()["changes"]
    return [row for row in found if kind in {None, row["kind"]}]


def said(rows: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(row["state"], f"{row['name']} {row['text']}", row["detail"]) for row in rows]


def ago(hours: float) -> str:
    return promptry.text_of((promptry.seconds_of(promptry.now_text()) or 0) - hours * 3600)


def test_an_empty_store_changed_in_nothing(store: Path) -> None:
    promptry.connect()
    assert changes() == []


def test_runs_that_got_worse_or_better_or_failed_are_told_with_their_flips(raw: sqlite3.Connection) -> None:
    rows = [
        ("old", 0, 30, '{"verdict": "regressed"}'),
        ("worse", 0, 5, '{"verdict": "regressed", "gate": {"comparison": {"broke": 9, "fixed": 1}}}'),
        ("better", 1, 4, '{"verdict": "improved", "gate": {"comparison": {"broke": 0, "fixed": 6}}}'),
        ("tied", 1, 3, '{"verdict": "tied"}'),
        ("failed", 0, 2, None),
        ("fine", 1, 1, None),
        ("odd", 0, 0.5, '{"verdict": 7, "gate": {"comparison": {"broke": "many"}}}'),
    ]
    raw.executemany(
        "INSERT INTO eval_runs (suite_name, overall_pass, timestamp, metadata) VALUES (?, ?, ?, ?)",
        [(name, passed, ago(hours), manifest) for name, passed, hours, manifest in rows],
    )
    assert said(changes()) == [
        ("failed", "odd failed in run 7", None),
        ("failed", "failed failed in run 5", None),
        ("improved", "better improved in run 3", "6 fixed"),
        ("regressed", "worse regressed in run 2", "9 broke, 1 fixed"),
    ]
    assert [row["link_id"] for row in changes()] == ["7", "5", "3", "2"]


def test_a_prompt_is_told_once_however_many_versions_were_saved(store: Path) -> None:
    promptry.save_prompt("p", "a\nb\nc")
    promptry.connect().execute("DROP TRIGGER prompts_keep_their_text")
    promptry.connect().execute("UPDATE prompts SET created_at = ?", (ago(48),))
    assert changes() == []
    promptry.save_prompt("p", "a\nx\ny\nc")
    assert said(changes()) == [("saved", "p version 2 saved", "+2 \u22121 lines")]
    promptry.save_prompt("p", "a")
    promptry.save_prompt("q", "new")
    promptry.track_context(["chunk"], "p")
    (q, p) = changes("prompt")
    assert said([p]) == [("saved", "p versions 2 to 3 saved", "+0 \u22122 lines")] and p["link_id"] == "3"
    assert said([q]) == [("saved", "q version 1 saved", None)]


def test_tags_that_were_put_are_told_with_where_they_stood(store: Path, raw: sqlite3.Connection) -> None:
    for text in ("one", "two"):
        promptry.save_prompt("p", text)
    promptry.promote("p", 1, "prod")
    promptry.promote("p", 2, "prod")
    promptry.promote("p", 1, "dev")
    assert sorted(said(changes("promotion"))) == [
        ("promoted", "p version 1 promoted to dev", None),
        ("promoted", "p version 2 promoted to prod", "was 1"),
    ]
    for told in ('{"promptry": {"promotions": ["x", 3, {"tag": "prod", "at": 5}]}}', "[1]", '{"promptry": 3}', None):
        raw.execute("UPDATE prompts SET metadata = ?", (told,))
        assert changes("promotion") == []


def test_budgets_that_were_set_are_spent_or_will_not_last_are_told(store: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(promptry, "now_text", lambda: "2026-11-21T00:00:00.000Z")
    promptry.set_budget("global", None, "monthly", 100)
    promptry.set_budget("module", "app", "monthly", 2)
    promptry.set_budget("prompt", "app/a", "daily", 1)
    promptry.track_invocation("app/a", {"cost_usd": 1.5})
    found = changes("budget")
    assert said(found[:2]) == [
        ("breached", "app/a passed the daily budget", "$1.50 of $1.00"),
        ("forecast", "app will pass the monthly budget", "about 2026-11-27"),
    ], "1.5 USD in 20 days of 30 are 2 USD on the 27th"
    assert [row["at"] for row in found[:2]] == [None, None]
    assert said(found[2:]) == [
        ("set", "app/a has a daily budget", "$1"),
        ("set", "app has a monthly budget", "$2"),
        ("set", "all calls has a monthly budget", "$100"),
    ]


def add_call(raw: sqlite3.Connection, hours: float, served: Any, model: str = "m", **facts: Any) -> None:
    metadata = promptry.write_json({"model": model, "served_model": served, **facts})
    raw.execute(
        "INSERT INTO invocations (prompt_name, metadata, created_at) VALUES ('p', ?, ?)", (metadata, ago(hours))
    )


def test_a_model_that_another_one_serves_now_is_told_once(raw: sqlite3.Connection) -> None:
    for hours in (10, 8, 6):
        add_call(raw, hours, "m-001")
    add_call(raw, 5, None)
    add_call(raw, 4.5, 3)
    for hours in (3, 1):
        add_call(raw, hours, "m-002")
    (row,) = changes("model")
    assert said([row]) == [("changed", "m is served by another model", "m-001 to m-002")]
    assert row["link_id"] == "6" and row["at"][:13] == ago(3)[:13]


def test_models_that_take_turns_or_answer_tests_changed_in_nothing(raw: sqlite3.Connection) -> None:
    for hours, served in ((9, "a"), (7, "b"), (5, "a"), (3, "b")):
        add_call(raw, hours, served)
    for hours, served in ((9, "a"), (7, "b")):
        add_call(raw, hours, served, model="of tests", origin="eval")
        add_call(raw, hours, served, model="failing", status="error")
        add_call(raw, hours + 30, served, model="old")
    assert changes("model") == []


def test_at_most_twenty_changes_are_told_the_newest_first(raw: sqlite3.Connection) -> None:
    raw.executemany(
        "INSERT INTO eval_runs (suite_name, overall_pass, timestamp) VALUES (?, 0, ?)",
        [(f"s{number}", ago(23 - number / 10)) for number in range(30)],
    )
    assert [row["name"] for row in changes()] == [f"s{number}" for number in range(29, 9, -1)]


def test_the_changes_stand_in_the_status(raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    raw.execute("INSERT INTO eval_runs (suite_name, overall_pass, timestamp) VALUES ('s', 0, ?)", (ago(1),))
    assert promptry.run_command(["status"]) == 0
    assert f"Changed in the last day, UTC:\n  {ago(1)[11:16]}  s failed in run 1\n" in capsys.readouterr().out
