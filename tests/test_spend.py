"""SPEND: the sums that the store keeps are those of its rows, whoever wrote them, whenever and in which order."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import budget_status, set_budget, track_invocation

CELL = "SELECT version, items FROM datasets WHERE name = 'promptry/spend'"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that sets the clock to a UTC time."""

    def move(text: str) -> None:
        monkeypatch.setattr(promptry, "now_text", lambda: text)

    return move


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a list that grows by one whenever the whole month is counted."""
    found, count = [], promptry._count_month

    def watched(connection: sqlite3.Connection, now: str, *rest: Any) -> Any:
        found.append(now)
        return count(connection, now, *rest)

    monkeypatch.setattr(promptry, "_count_month", watched)
    return found


def spent() -> float:
    (status,) = budget_status()
    return status.spent_usd


def insert(raw: sqlite3.Connection, usd: float | None, at: str = "", name: str = "p", id: int | None = None) -> None:
    row = (id, name, json.dumps({} if usd is None else {"cost_usd": usd}), at or promptry.now_text())
    raw.execute("INSERT INTO invocations (id, prompt_name, metadata, created_at) VALUES (?, ?, ?, ?)", row)


def test_the_month_is_counted_when_the_budget_is_set_and_then_only_read_on(
    store: Path, raw: sqlite3.Connection, counted: list[str]
) -> None:
    track_invocation("p", {"cost_usd": 1})
    set_budget("global", None, "monthly", 100)
    assert len(counted) == 1
    for number in range(30):
        track_invocation("p", {"cost_usd": 1})
        with promptry.budget_guard("p", 0.5):
            track_invocation("p", {"cost_usd": 1})
        assert spent() == 1 + 2 * (number + 1)
    set_budget("global", None, "monthly", 200)
    set_budget("global", None, "daily", 200)
    assert len(counted) == 1
    set_budget("module", "p", "daily", 200)
    assert len(counted) == 2, "what a new budget covers is in no sum yet"
    assert {status.spent_usd for status in budget_status()} == {61} and len(counted) == 2


@pytest.mark.parametrize(
    ("change", "usd"),
    [
        ("UPDATE invocations SET metadata = json_set(metadata, '$.cost_usd', 5) WHERE id = 2", 7),
        ("UPDATE invocations SET prompt_name = 'other' WHERE id = 1", 2),
        ("UPDATE invocations SET created_at = '2020-01-01T00:00:00.000Z' WHERE id = 3", 2),
        ("DELETE FROM invocations WHERE id = 1", 2),
        ("DELETE FROM invocations WHERE id = 3", 2),
        ("DELETE FROM invocations", 0),
        ("INSERT INTO invocations (id, prompt_name, metadata) VALUES (-7, 'p', '{\"cost_usd\": 2}')", 5),
        ("INSERT OR REPLACE INTO invocations (id, prompt_name, metadata) VALUES (1, 'p', '{\"cost_usd\": 9}')", 11),
        ("INSERT OR REPLACE INTO invocations (id, prompt_name, metadata) VALUES (3, 'p', '{\"cost_usd\": 9}')", 11),
        ("INSERT INTO invocations (id, prompt_name, metadata) VALUES (0, 'p', '{\"cost_usd\": 2}')", 5),
    ],
)
def test_what_changes_older_rows_voids_the_sums(
    store: Path, raw: sqlite3.Connection, counted: list[str], change: str, usd: float
) -> None:
    set_budget("prompt", "p", "monthly", 100)
    for _ in range(3):
        track_invocation("p", {"cost_usd": 1})
    assert spent() == 3 and len(counted) == 1
    keep()
    version = raw.execute(CELL).fetchone()[0]
    raw.execute(change)
    found = raw.execute(CELL).fetchone()
    assert found[0] > version and found[1] == "null"
    assert spent() == usd and len(counted) == 2
    assert spent() == usd and len(counted) == 2
    track_invocation("p", {"cost_usd": 1})
    assert spent() == usd + 1 and len(counted) == 2


def keep() -> None:
    """Have the store keep the sums as of now."""
    with promptry.transact() as connection:
        promptry.keep_spend(connection, promptry.read_spend(connection, promptry.now_text(), set()))


def test_texts_ratings_and_reservations_void_nothing(store: Path, raw: sqlite3.Connection, counted: list[str]) -> None:
    set_budget("global", None, "monthly", 100)
    with promptry.budget_guard("p", 1):
        track_invocation("p", {"cost_usd": 1}, request_id="r")
    held: Any = promptry.reserve("p", estimate_usd=1)
    promptry.release(held)
    promptry.record_feedback("r", 0.5)
    raw.execute("UPDATE invocations SET input_text = 'x', output_text = NULL")
    promptry.save_dataset("qa", [1])
    assert spent() == 1 and len(counted) == 1


def test_repricing_and_retention_need_no_word_of_theirs(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 100)
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    track_invocation("p", {"provider": "openai"}, model="gpt-4.1", usage=usage)
    raw.execute("UPDATE invocations SET metadata = json_set(metadata, '$.cost_usd', 9)")
    assert spent() == 9
    promptry.reprice(apply=True)
    assert spent() == 2
    insert(raw, 5, "2020-01-01T00:00:00.000Z")
    promptry.retention(calls_days=30, apply=True)
    assert spent() == 2


def test_sums_that_were_made_void_meanwhile_are_not_kept(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 100)
    track_invocation("p", {"cost_usd": 1})
    connection = promptry.connect()
    spend = promptry.read_spend(connection, promptry.now_text(), {("global", None)})
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 3}'")
    promptry.keep_spend(connection, spend)
    assert raw.execute(CELL).fetchone()[1] == "null"
    promptry.keep_spend(connection, spend._replace(kept=None))
    assert spent() == 3


def test_a_change_during_the_first_count_is_not_lost(store: Path, raw: sqlite3.Connection) -> None:
    for _ in range(3):
        track_invocation("p", {"cost_usd": 1})
    raw.execute("INSERT INTO budgets (scope, period, limit_usd) VALUES ('global', 'monthly', 100.0)")
    connection = promptry.connect()
    with promptry.one_state(connection):
        spend = promptry.read_spend(connection, promptry.now_text(), {("global", None)})
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 30}'")
    promptry.offer_spend(spend)
    assert [spent(), spent(), spent()] == [90, 90, 90]


def test_a_void_between_the_count_and_the_lock_has_nothing_counted_in_the_lock(
    store: Path, raw: sqlite3.Connection, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget("global", None, "monthly", 100)
    track_invocation("p", {"cost_usd": 1})
    keep()
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 3}'")
    ahead = promptry.count_ahead

    def voided(now: str, scopes: Any) -> Any:
        found = ahead(now, scopes)
        raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 5}' WHERE id = 1")
        return found

    monkeypatch.setattr(promptry, "count_ahead", voided)
    with promptry.budget_guard("p", 1):
        assert len(counted) == 2, "when set, and ahead of the lock"
    assert spent() == 5


def test_sums_of_another_store_count_for_nothing(store: Path, tmp_path: Path, raw: sqlite3.Connection) -> None:
    promptry.use_store(tmp_path / "other.db")
    promptry.track_invocation("p", {"cost_usd": 7})
    set_budget("global", None, "monthly", 100)
    promptry.use_store(store)
    track_invocation("p", {"cost_usd": 1})
    raw.execute("UPDATE schema_version SET applied_at = '2026-01-01T00:00:00.000Z'")
    raw.execute(f"ATTACH '{tmp_path / 'other.db'}' AS other")
    raw.execute("INSERT INTO datasets (name, version, items) SELECT name, version, items FROM other.datasets")
    set_budget("global", None, "monthly", 100)
    assert spent() == 1


def test_a_second_row_of_the_name_keeps_nobody_from_changing_calls(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 100)
    track_invocation("p", {"cost_usd": 1})
    keep()
    raw.execute("INSERT INTO datasets (name, version, items) SELECT name, version + 1, items FROM datasets")
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 2}'")
    assert spent() == 2
    raw.execute("UPDATE datasets SET version = 9223372036854775807 WHERE id = 2")
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 3}'")
    assert spent() == 3


def test_a_reservation_moved_by_hand_is_counted(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 100)
    held: Any = promptry.reserve("p", estimate_usd=1)
    track_invocation("p", {"cost_usd": 1})
    keep()
    raw.execute("UPDATE invocations SET id = -5 WHERE id = ?", (held.id,))
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 2}' WHERE id = -5")
    assert spent() == 3


@pytest.mark.parametrize("at_text", ["2026-12", "2026-12-0", "2026-12 05", "2026-11", "2026-11-30", "x", ""])
def test_a_day_that_is_none_counts_as_in_the_sql(store: Path, raw: sqlite3.Connection, at: Any, at_text: str) -> None:
    at("2026-11-24T12:00:00.000Z")
    set_budget("global", None, "monthly", 100)
    insert(raw, 5, at_text or "2026")
    sql = promptry.statements("list_budgets")[0]
    rows = raw.execute(sql, {"now": promptry.now_text(), "limit": 9, "offset": 0})
    place = [column[0] for column in rows.description].index("spent_usd")
    assert spent() == rows.fetchone()[place]
    raw.execute("UPDATE datasets SET items = 'null'")
    assert spent() == spent()


def test_a_cost_beyond_all_numbers_breaks_no_look(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 100)
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('p', '{\"cost_usd\": 1e999}')")
    for _ in range(30):
        with pytest.raises(promptry.BudgetExceeded), promptry.budget_guard("p", 0):
            pass
        track_invocation("p", {"cost_usd": 1})
        assert spent() == math.inf


def test_a_look_does_not_wait_long_to_keep_what_it_read(store: Path, raw: sqlite3.Connection, locked: Any) -> None:
    set_budget("global", None, "monthly", 100)
    track_invocation("p", {"cost_usd": 1})
    raw.execute("DELETE FROM datasets")
    with locked():
        began = time.perf_counter()
        assert spent() == 1
        assert time.perf_counter() - began < 2


TAMPERED = [
    ("last", None),
    ("last", "x"),
    ("last", 99999999999999999999999),
    ("since", 5),
    ("open", {"a": 1}),
    ("sums", [["2026-11", "global", None, None, 0]]),
    ("sums", [["2026-11", "global", None, "x", 0]]),
    ("sums", [[None, "global", None, 1, 0]]),
    ("scopes", [[[], None]]),
]


@pytest.mark.parametrize(("key", "value"), TAMPERED)
def test_kept_sums_of_a_wrong_kind_break_no_look(store: Path, raw: sqlite3.Connection, key: str, value: Any) -> None:
    set_budget("global", None, "monthly", 100)
    for _ in range(3):
        track_invocation("p", {"cost_usd": 1})
    keep()
    known = json.loads(raw.execute(CELL).fetchone()[1])
    raw.execute("UPDATE datasets SET items = ?", (json.dumps({**known, key: value}),))
    with promptry.budget_guard("p", 1):
        pass
    assert spent() == 3


@pytest.mark.parametrize("text", ["null", "[]", "5", '"x"', "{}", '{"since": 5}', '{"sums": [[1]]}'])
def test_kept_sums_that_are_none_are_counted_anew(
    store: Path, raw: sqlite3.Connection, counted: list[str], text: str
) -> None:
    set_budget("global", None, "monthly", 100)
    track_invocation("p", {"cost_usd": 1})
    raw.execute("UPDATE datasets SET items = ?", (text,))
    assert [spent(), spent()] == [1, 1] and len(counted) == 2
    raw.execute("DELETE FROM datasets")
    assert [spent(), spent(), spent()] == [1, 1, 1] and len(counted) == 4, "a void is kept first, then the sums"


def test_days_and_months_pass_and_clocks_go_back(store: Path, at: Any, counted: list[str]) -> None:
    at("2026-11-29T12:00:00.000Z")
    for period in ("daily", "monthly"):
        set_budget("global", None, period, 1000)
    spends = {}
    for usd, hour in enumerate(
        ("2026-11-29T12", "2026-11-29T23", "2026-11-30T00", "2026-11-29T23", "2026-11-30T01", "2026-12-01T00"), 1
    ):
        at(f"{hour}:00:00.000Z")
        for _ in range(20):  # more than a guard leaves unread
            with promptry.budget_guard("p", 0):
                track_invocation("p", {"cost_usd": usd})
        spends[hour] = [status.spent_usd for status in budget_status()]
    assert spends == {
        "2026-11-29T12": [20, 20],
        "2026-11-29T23": [200, 140],  # with 80 that were spent when the clock had gone back
        "2026-11-30T00": [120, 60],
        "2026-11-30T01": [300, 160],
        "2026-12-01T00": [120, 120],
    }


def test_a_long_tail_is_counted_by_the_index(
    store: Path, raw: sqlite3.Connection, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "_LONG_TAIL", 50)
    monkeypatch.setattr(promptry, "_READ_TAIL", 10)
    set_budget("global", None, "monthly", 1000)
    for rows, times in ((5, 1), (30, 1), (49, 1), (60, 2), (3, 2)):
        for _ in range(rows):
            insert(raw, 1)
        before = spent()
        assert len(counted) == times, rows
    assert before == 147
    for _ in range(60):
        insert(raw, 1)
    with promptry.budget_guard("p", 1):
        assert len(counted) == 3
    assert spent() == 207


def test_a_store_that_cannot_be_written_is_read_all_the_same(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 100)
    track_invocation("p", {"cost_usd": 1})
    raw.execute("DELETE FROM datasets")
    promptry.connect().execute("PRAGMA query_only = ON")
    try:
        assert spent() == 1
    finally:
        promptry.connect().execute("PRAGMA query_only = OFF")


def test_the_sums_are_no_dataset_of_anybodys(store: Path) -> None:
    set_budget("global", None, "monthly", 100)
    assert promptry.list_datasets()["items"] == []
    with pytest.raises(promptry.WrongUse, match="'promptry/spend' is one of promptry's own. Choose"):
        promptry.save_dataset("promptry/spend", [1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_writes_gives_the_sums_of_the_rows(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, at: Any, seed: int
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(promptry, "_LONG_TAIL", draw.choice([3, 30, 40_000]))
    monkeypatch.setattr(promptry, "_READ_TAIL", draw.choice([0, 2, 1_000]))
    monkeypatch.setattr(promptry, "_SHORT_TAIL", draw.choice([0, 2, 8]))
    at("2026-11-23T12:00:00.000Z")
    for scope, target in (("global", None), ("module", "a"), ("prompt", "a/1")):
        for period in ("daily", "monthly"):
            set_budget(scope, target, period, 1e6)
    held: list[tuple[str, Any]] = []
    names, days = ("a/1", "a.2", "a", "b", "b/a/1"), ("2026-10-31", "2026-11-01", "2026-11-23", "2026-11-24")
    for number in range(300):
        at(f"2026-11-{draw.choice(('23', '23', '24'))}T12:00:00.000Z")
        name, step = draw.choice(names), draw.randrange(12)
        some = raw.execute("SELECT id FROM invocations WHERE status <> 'reserved' ORDER BY random() LIMIT 1").fetchone()
        if step < 3:
            track_invocation(name, {"cost_usd": draw.random()} if step else None)
        elif step < 5:
            insert(raw, draw.random(), f"{draw.choice(days)}T01:00:00.000Z", name)
        elif step < 7:
            held.append((name, promptry.reserve(name, estimate_usd=0.5)))
        elif step < 9 and held:
            name, id = held.pop(draw.randrange(len(held)))
            promptry.record_call(name, {"cost_usd": 1.5}, settles=id) if step == 7 else promptry.release(id)
        elif step == 9 and some:
            raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 0.75}' WHERE id = ?", some)
        elif step == 10 and some:
            raw.execute("DELETE FROM invocations WHERE id = ?", some)
        elif step == 11 and some:
            insert(raw, 2, name=name, id=-number)
        now = promptry.now_text()
        sql = promptry.statements("list_budgets")[0]
        rows = raw.execute(sql, {"now": now, "limit": 9, "offset": 0})
        keys = [column[0] for column in rows.description]
        for row, status in zip((dict(zip(keys, row, strict=True)) for row in rows), budget_status(), strict=True):
            for key in ("spent_usd", "reserved_usd", "unpriced"):
                assert getattr(status, key) == pytest.approx(row[key], abs=1e-9), (number, key, status)
