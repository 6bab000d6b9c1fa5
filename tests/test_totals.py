"""TOTALS: what is kept gives the answers of the plain SQL, whoever wrote the calls, whenever and in which order."""

from __future__ import annotations

import json
import math
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import count_calls, get_overview, list_costs, list_unpriced, track_invocation

KEPT = "SELECT version FROM datasets WHERE name = ?"
STEP = 3


@pytest.fixture(autouse=True)
def of_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have totals kept of few calls, and every third latency looked at."""
    monkeypatch.setattr(promptry, "_LEAST_CALLS", 1)
    monkeypatch.setattr(promptry, "_SHORTEST_TAIL", 3)
    monkeypatch.setattr(promptry, "_RETRY_S", 0.0)
    monkeypatch.setattr(promptry, "step_of", lambda calls: STEP)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that sets the clock to a UTC time."""

    def move(text: str) -> None:
        monkeypatch.setattr(promptry, "now_text", lambda: text)

    return move


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a list that grows by one whenever all calls are summed, their buckets aside."""
    return counts_of(monkeypatch, "promptry/totals")


@pytest.fixture
def counted_buckets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a list that grows by one whenever the buckets of all calls are summed."""
    return counts_of(monkeypatch, "promptry/buckets")


def counts_of(monkeypatch: pytest.MonkeyPatch, kind_name: str) -> list[str]:
    found, count = list[str](), promptry._count_totals

    def watched(kind: Any, name: str, since: str) -> Any:
        found.extend([since] if kind.name == kind_name else [])
        return count(kind, name, since)

    monkeypatch.setattr(promptry, "_count_totals", watched)
    return found


def answers() -> dict[str, Any]:
    """Return what the reads say that rest on totals."""
    overview = get_overview()
    return {
        "module": list_costs(30, by="module", daily=True, origin="all"),
        "version": list_costs(30, by="version", prompt="a/1"),
        "model": list_costs(30, by="model", origin="judge"),
        "day": list_costs(90, by="day", origin="all"),
        "today": list_costs(1, by="prompt", origin="all"),
        "year": list_costs(365, by="prompt", daily=True, origin="all"),
        "of all time": list_costs(3650, by="day", prompt="b"),
        "calls": count_calls(days=30),
        "calls of": count_calls(days=30, module="a", status="ok", origin="app"),
        "calls of one": count_calls(days=90, prompt="b", version=1),
        "all calls": count_calls(),
        "all calls of": count_calls(module="a", version=2, model="m"),
        "calls of a year": count_calls(days=365, origin="app"),
        "bucket": list_costs(30, by="bucket"),
        "bucket of": list_costs(7, by="bucket", prompt="a/1", origin="all"),
        "bucket of a model": list_costs(90, by="bucket", model="m", origin="judge"),
        "bucket of all time": list_costs(3650, by="bucket", origin="all"),
        "overview": (overview["modules"], overview["spend"]),
        "unpriced": (list_unpriced(30), list_unpriced(30, limit=1), list_unpriced(30, limit=1, before="1")),
        "all unpriced": list_unpriced(3650),
    }


def plain_answers() -> dict[str, Any]:
    """Return what the plain SQL says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promptry, "read_totals", lambda since, **asked: None)
        return answers()


def rounded(value: Any) -> Any:
    """Return an answer without what sums of floats differ in, and without the order of equals."""
    if isinstance(value, float):
        return value if not math.isfinite(value) else round(value, 9) + 0.0
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def same() -> None:
    now = promptry.now_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promptry, "now_text", lambda: now)  # a forecast is of the moment
        found, expected = rounded(answers()), rounded(plain_answers())
    for name, answer in expected.items():
        assert found[name] == answer, name


def insert(raw: sqlite3.Connection, metadata: str | None, at: str, name: Any = "b", id: int | None = None) -> None:
    row = (id, name, 1, metadata, at)
    raw.execute(
        "INSERT OR REPLACE INTO invocations (id, prompt_name, prompt_version, metadata, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        row,
    )


ODD = [
    None,
    "[]",
    "5",
    "{}",
    '{"cost_usd": "dear", "tokens_in": "many"}',
    '{"tokens_in": 1.5, "tokens_out": 2, "model": "m"}',
    '{"tokens_in": -4, "status": "error", "model": "m2", "provider": {"a": 1}}',
    '{"tokens_in": 4, "status": "error", "model": "m2", "provider": "acme"}',
    '{"status": "odd", "origin": "nobody", "cost_usd": 0.5, "latency_ms": 5}',
    '{"model": null, "cached_tokens": 3, "tokens_in": 9, "cache_saved_usd": 0.25}',
    '{"model": "M\\u00e4", "cost_usd": -1, "latency_ms": "slow"}',
    '{"cost_usd": 1, "cost_source": "computed", "rates": {"input": 2}, "buckets": {"input": 3, "input": 4}}',
    '{"cost_usd": 1, "cost_source": "computed", "rates": {"r\\u00e9": 1}, "buckets": {"r\\u00e9": 1, " ": 3}}',
    '{"cost_usd": 1, "cost_source": "computed", "rates": {}, "buckets": {"a": null, "b": [1], "c": {"d": 2}}}',
    '{"cost_usd": 1, "cost_source": "computed", "rates": {"f": 5}, "buckets": {"f": "6", "g\\":h": 7, "i": -1.5}}',
    '{"cost_usd": 1, "cost_source": "computed", "rates": "{\\"input\\": 2}", "buckets": "{\\"input\\": 3}"}',
    '{"cost_usd": 1, "cost_source": "given", "rates": {"input": 2}, "buckets": [{"input": true}]}',
    '{"cost_source": "computed", "rates": {"input": 2}, "buckets": {"input": 4, "web_search": 2}}',
    '{"cost_usd": 1, "cost_source": "computed", "rates": {"requests": 2}, "buckets": {" ": 3}}',
    '{"cost_usd": 1, "cost_source": ["computed", {}], "rates": null, "buckets": {"": 0, "input": 1e3}}',
]
ODD_TIMES = ["x", "", "2026-11", "2026-11-2", "2026-12", "9999-12-31T00:00:00.000Z", "5", "2026-11-30", "\u00e4"]
NAMES = ("a/1", "a.2", "a", "b", "b/a/1", "it's \u00e4")


class World:
    """A store, its backup, the reservations that are open, and what is drawn next."""

    def __init__(self, path: Path, draw: random.Random, move: Callable[[str], None]) -> None:
        self.path, self.draw, self.move, self.held = path, draw, move, list[tuple[str, Any]]()
        self.backup: Path | None = None
        self.older = draw.choice([(), (), ("02-03", "06-07"), ("08-30",)])
        self.raw = sqlite3.connect(path, isolation_level=None)

    def facts(self) -> dict[str, Any]:
        draw = self.draw
        facts = {
            "cost_usd": draw.choice([None, draw.random(), draw.random()]),
            "tokens_in": draw.choice([None, 10, 200]),
            "tokens_out": draw.choice([None, 7]),
            "cached_tokens": draw.choice([None, 0, 5]),
            "latency_ms": draw.choice([None, 100 * draw.random()]),
            "model": draw.choice([None, "m", "m2"]),
            "status": draw.choice([None, None, "error"]),
            "origin": draw.choice([None, None, "judge"]),
            "cost_source": draw.choice([None, "computed", "computed"]),
            "rates": draw.choice([{"input": 2.0, "cache_read": 0.5}, {"input": 3, "requests": 4}, None]),
            "buckets": draw.choice([{"input": 5, "cache_read": draw.randrange(9)}, {"audio_seconds": 0.5}, {}, None]),
        }
        return {key: value for key, value in facts.items() if value is not None}

    def any_id(self) -> int:
        row = self.raw.execute("SELECT id FROM invocations ORDER BY random() LIMIT 1").fetchone()
        return row[0] if row else 1

    def change(self) -> None:
        """Do one of the many things that happen to a ledger."""
        draw, now = self.draw, promptry.now_text()
        name, past = (
            draw.choice(NAMES),
            f"2026-{draw.choice(('10-20', '11-01', '11-28', '11-30', '12-01', *self.older))}T01:02:03.000Z",
        )
        sql = self.raw.execute
        options: list[tuple[int, Callable[[], Any]]] = [
            (12, lambda: track_invocation(name, self.facts(), prompt_version=draw.choice([None, 1, 2]))),
            (4, lambda: insert(self.raw, json.dumps(self.facts()), past, name)),
            (4, lambda: insert(self.raw, draw.choice(ODD), past, name)),
            (2, lambda: insert(self.raw, draw.choice(ODD), draw.choice(ODD_TIMES), name)),
            (1, lambda: insert(self.raw, '{"cost_usd": 0.125}', now, name, self.any_id())),
            (1, lambda: insert(self.raw, '{"cost_usd": 0.25}', now, name, -draw.randrange(1, 99))),
            (1, lambda: insert(self.raw, '{"cost_usd": 0.75}', now, name, draw.randrange(1, 500))),
            (1, lambda: sql("UPDATE invocations SET metadata = '{\"cost_usd\": 0.5}' WHERE id = ?", (self.any_id(),))),
            (1, lambda: sql("UPDATE invocations SET prompt_version = 2 WHERE id = ?", (self.any_id(),))),
            (1, lambda: sql("UPDATE invocations SET created_at = ? WHERE id = ?", (past, self.any_id()))),
            (1, lambda: sql("UPDATE OR IGNORE invocations SET id = id + 3 WHERE id = ?", (self.any_id(),))),
            (2, lambda: sql("UPDATE invocations SET input_text = 'x' WHERE id = ?", (self.any_id(),))),
            (2, lambda: sql("DELETE FROM invocations WHERE id = ?", (self.any_id(),))),
            (1, lambda: promptry.reprice(apply=True)),
            (1, lambda: promptry.retention(calls_days=40, apply=True)),
            (4, lambda: self.held.append((name, promptry.reserve(name, estimate_usd=0.5)))),
            (4, self.settle),
            (1, lambda: self.move(f"2026-{draw.choice(('11-30T23:59', '12-01T00:00', '12-02T12:00'))}:30.000Z")),
            (1, self.restore),
            (1, self.tamper),
            (4, promptry._parsed_totals.clear),  # as a new process reads it
        ]
        draw.choices([work for _, work in options], [weight for weight, _ in options])[0]()

    def settle(self) -> None:
        if self.held:
            name, held = self.held.pop(self.draw.randrange(len(self.held)))
            if self.draw.random() < 0.6:
                promptry.record_call(name, {"cost_usd": 1.5}, settles=held)
            else:
                promptry.release(held)

    def restore(self) -> None:
        if self.backup is None:
            self.backup = self.path.with_suffix(".backup")
            with sqlite3.connect(self.backup) as copy:
                self.raw.backup(copy)
            copy.close()
            return
        self.raw.close()
        promptry.close_store()
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)
        shutil.copy(self.backup, self.path)
        self.raw, self.backup = sqlite3.connect(self.path, isolation_level=None), None

    def tamper(self) -> None:
        self.raw.execute(
            self.draw.choice(
                [
                    "DELETE FROM datasets",
                    "DELETE FROM datasets WHERE name = 'promptry/spend'",
                    "DELETE FROM datasets WHERE name = 'promptry/totals'",
                    "DELETE FROM datasets WHERE name = 'promptry/totals/whole'",
                    "UPDATE datasets SET name = 'promptry/totals' WHERE name = 'promptry/totals/whole'"
                    " AND NOT EXISTS (SELECT 1 FROM datasets WHERE name = 'promptry/totals')",
                    "UPDATE datasets SET name = 'promptry/totals/whole' WHERE name = 'promptry/totals'"
                    " AND NOT EXISTS (SELECT 1 FROM datasets WHERE name = 'promptry/totals/whole')",
                    "UPDATE datasets SET items = '[]', version = version + 1 WHERE name = 'promptry/totals'",
                    "UPDATE datasets SET metadata = NULL, version = version + 1 WHERE name = 'promptry/totals'",
                    "DELETE FROM datasets WHERE name = 'promptry/buckets'",
                    "UPDATE datasets SET name = 'promptry/buckets' WHERE name = 'promptry/totals'"
                    " AND NOT EXISTS (SELECT 1 FROM datasets WHERE name = 'promptry/buckets')",
                    "UPDATE datasets SET name = 'promptry/totals' WHERE name = 'promptry/buckets'"
                    " AND NOT EXISTS (SELECT 1 FROM datasets WHERE name = 'promptry/totals')",
                    "UPDATE datasets SET items = '[]', version = version + 1 WHERE name = 'promptry/buckets'",
                    "UPDATE OR IGNORE datasets SET id = id + 5",
                ]
            )
        )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_writes_gives_the_answers_of_the_plain_sql(
    store: Path, monkeypatch: pytest.MonkeyPatch, at: Any, seed: int
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(promptry, "_SHORTEST_TAIL", draw.choice([0, 3, 20]))
    monkeypatch.setattr(promptry, "_LONGEST_TAIL", draw.choice([30, 1_000]))
    monkeypatch.setattr(promptry, "_READ_TAIL", draw.choice([0, 2, 1_000]))
    monkeypatch.setattr(promptry, "_MOST_KEPT_DAYS", draw.choice([32, 92]))
    served = {True: 0, False: 0}
    find = promptry._find_totals

    def found(*asked: Any) -> Any:
        totals = find(*asked)
        served[totals is not None] += 1
        return totals

    monkeypatch.setattr(promptry, "_find_totals", found)
    at("2026-11-30T23:58:30.000Z")
    promptry.set_budget("module", "a", "monthly", 1e6)
    promptry.set_budget("global", None, "monthly", 1e6)
    world = World(store, draw, at)
    for _ in range(100):
        world.change()
        same()
    world.raw.close()
    assert served[True] > served[False], served


def fill(raw: sqlite3.Connection, calls: int, at: str = "") -> None:
    for number in range(calls):
        insert(
            raw, json.dumps({"cost_usd": 0.5, "model": f"m{number % 3}", "latency_ms": 5}), at or promptry.now_text()
        )


def kept(raw: sqlite3.Connection, name: str = "promptry/totals") -> int | None:
    row = raw.execute(KEPT, (name,)).fetchone()
    return row[0] if row else None


def whole(raw: sqlite3.Connection) -> int | None:
    return kept(raw, "promptry/totals/whole")


def ago(days: int) -> str:
    """Return a time of the day so many days ago."""
    return f"{promptry.first_day(days + 1)}T01:02:03.000Z"


def test_calls_are_counted_once_and_then_only_read_on(raw: sqlite3.Connection, counted: list[str]) -> None:
    fill(raw, 1, ago(200))
    fill(raw, 9)
    list_costs(30)
    first = kept(raw)
    assert len(counted) == 1 and first
    fill(raw, 3)
    assert list_costs(30)["sum"]["calls"] == count_calls(days=30)["sum"]["calls"] == 12
    assert kept(raw) == first, "so short a tail is read again"
    fill(raw, 1)
    assert list_costs(7)["sum"]["calls"] == 13 and kept(raw) != first
    assert get_overview()["modules"][0]["calls"] == 13 and len(counted) == 1
    list_costs(90)
    assert len(counted) == 2, "so far back nobody had asked"
    list_costs(30)
    assert len(counted) == 2 and whole(raw) is None
    assert list_costs(93)["sum"]["calls"] == 13
    assert len(counted) == 3 and whole(raw), "beyond that all are kept, under a name of their own"
    assert list_costs(300)["sum"]["calls"] == count_calls()["sum"]["calls"] == 14 and len(counted) == 3
    same()


def test_where_no_call_is_older_one_count_serves_every_question(raw: sqlite3.Connection, counted: list[str]) -> None:
    fill(raw, 9, ago(40))
    fill(raw, 9)
    promptry.keep_totals()
    assert counted == [promptry.first_day(32), ""], "forty days ago there were calls"
    same()
    list_costs(90)
    count_calls()
    assert len(counted) == 2 and whole(raw) is None
    insert(raw, '{"cost_usd": 8}', ago(200))
    assert count_calls()["sum"]["calls"] == 19 and len(counted) == 2, "it came later, so it is read on"
    fill(raw, 9)
    list_costs(30)
    assert count_calls()["sum"]["calls"] == 28 and len(counted) == 3, "what is kept anew is of 92 days at most"
    assert whole(raw)
    same()


INSERT = "INSERT INTO invocations (id, prompt_name, prompt_version, metadata, created_at) VALUES"


def test_what_a_process_has_at_hand_is_what_another_one_reads(raw: sqlite3.Connection) -> None:
    for number, facts in enumerate(ODD):
        insert(raw, facts, ago(40 * number), NAMES[number % len(NAMES)])
    promptry.keep_totals()
    at_hand = dict(promptry._parsed_totals)
    promptry._parsed_totals.clear()
    promptry.keep_totals()
    assert at_hand.keys() == {"promptry/totals", "promptry/totals/whole"} and at_hand == promptry._parsed_totals
    assert repr(at_hand) == repr(promptry._parsed_totals), "also where numbers of two types are equal"


def test_who_has_not_read_all_counts_the_newest_days_once_and_then_reads_them_alone(
    raw: sqlite3.Connection, counted: list[str]
) -> None:
    fill(raw, 3, ago(200))
    fill(raw, 3, ago(60))
    fill(raw, 9)
    promptry.keep_totals()
    assert list_costs(90)["sum"]["calls"] == 12 and len(counted) == 2, "all are at hand"
    promptry._parsed_totals.clear()
    for _ in range(2):
        assert list_costs(90)["sum"]["calls"] == 12
    assert len(counted) == 3 and promptry._parsed_totals.keys() == {"promptry/totals"}


OLD_CHANGES = [
    'UPDATE invocations SET metadata = \'{"cost_usd": 30, "model": "m9"}\' WHERE id = 2',
    "UPDATE invocations SET prompt_version = 9 WHERE id = 2",
    "UPDATE invocations SET created_at = '2024-02-03T00:00:00.000Z' WHERE id = 12",
    "DELETE FROM invocations WHERE id = 3",
    f"{INSERT} (-7, 'b', NULL, '{{\"cost_usd\": 7}}', '2025-01-01')",
]
NEW_CALLS = [
    f"{INSERT} (NULL, 'b', 1, '{{\"model\": \"m\"}}', '')",
    f"{INSERT} (NULL, 'a/1', NULL, '{{\"cost_usd\": 7}}', 'undated')",
    f"{INSERT} (NULL, 'a/1', 2, '{{\"cost_usd\": 7}}', '2025-01-01T00:00Z')",
    f"{INSERT} (NULL, 'b', NULL, NULL, '9999-12-31T00:00:00.000Z')",
]


@pytest.mark.slow
@pytest.mark.parametrize("change", [*OLD_CHANGES, *NEW_CALLS])
@pytest.mark.parametrize("asked_before", [True, False])
def test_a_long_history_is_summed_whole_and_tells_what_the_plain_sql_tells(
    raw: sqlite3.Connection, counted: list[str], change: str, asked_before: bool
) -> None:
    for days in (700, 400, 93, 92, 91, 33, 31, 2, 0):
        fill(raw, 2, ago(days))
    insert(raw, '{"tokens_in": 5, "model": "m"}', "")
    if asked_before:
        promptry.keep_totals()
        same()
        assert counted == [promptry.first_day(32), ""] and kept(raw) and whole(raw)
    before = len(counted)
    raw.execute(change)
    found = count_calls()
    assert len(counted) == before + (1 if change in OLD_CHANGES or not asked_before else 0)
    same()
    (every,) = raw.execute("SELECT count(*) FROM invocations").fetchone()
    assert found["sum"]["calls"] == promptry.list_calls(limit=1)["total"] == every
    assert list_costs(365, by="day", origin="all")["sum"]["calls"] == promptry.list_calls(days=365, limit=1)["total"]


@pytest.mark.parametrize("undated", [0, 30])
def test_of_all_calls_as_many_latencies_are_looked_at_as_by_the_plain_sql(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, undated: int
) -> None:
    monkeypatch.setattr(promptry, "step_of", lambda calls: 1 + calls // 20)
    monkeypatch.setattr(promptry, "_ENOUGH", 1)
    for number in range(90):
        insert(raw, json.dumps({"latency_ms": number}), ago(3 * (90 - number)))
    for number in range(undated):
        insert(raw, json.dumps({"latency_ms": 1000 + number}), "")
    found = count_calls()
    assert whole(raw) and found["sum"]["latency_of"] < 30
    monkeypatch.setattr(promptry, "read_totals", lambda since, **asked: None)
    monkeypatch.setattr(promptry, "now_text", lambda: found["until"])
    assert count_calls()["sum"] == found["sum"]


def test_a_history_in_too_many_groups_is_not_kept_but_its_newest_days_are(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    monkeypatch.setattr(promptry, "_MOST_OF_WHOLE", 10)
    monkeypatch.setattr(promptry, "_RETRY_S", 60.0)
    for days in range(0, 400, 20):
        fill(raw, 3, ago(days))
    for _ in range(2):
        count_calls()
    promptry.keep_totals()
    assert kept(raw) and whole(raw) is None and len(counted) == 2, "what cannot be kept is not counted again at once"
    same()


def test_a_look_that_changes_nothing_writes_nothing(raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_MOST_GROUPS", 1)
    fill(raw, 9)
    list_costs(30)
    (before,) = raw.execute("PRAGMA data_version").fetchone()
    for _ in range(3):
        list_costs(30)
        count_calls(days=30)
        get_overview()
        list_unpriced()
    assert raw.execute("PRAGMA data_version").fetchone() == (before,), "pages look again whenever rows change"
    monkeypatch.setattr(promptry, "_MOST_GROUPS", 100)
    list_costs(30)
    (before,) = raw.execute("PRAGMA data_version").fetchone()
    list_costs(30)
    assert raw.execute("PRAGMA data_version").fetchone() == (before,)


def test_few_calls_are_not_kept(raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_LEAST_CALLS", 20)
    fill(raw, 9)
    list_costs(30)
    assert raw.execute("SELECT count(*) FROM datasets").fetchone() == (0,)


def test_what_cannot_be_kept_is_not_counted_again_at_once(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    monkeypatch.setattr(promptry, "_RETRY_S", 60.0)
    fill(raw, 9)
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('p', '{\"cost_usd\": 1e999}')")
    assert list_costs(30, by="model")["sum"]["cost_usd"] == math.inf and kept(raw) is None
    same()
    assert len(counted) == 1
    promptry.use_store(None)
    assert not promptry._not_kept_at


CHANGES = [
    "UPDATE invocations SET metadata = '{\"cost_usd\": 30}' WHERE id = 2",
    "UPDATE invocations SET prompt_version = 9 WHERE id = 2",
    "DELETE FROM invocations WHERE id = 3",
    "INSERT INTO invocations (id, prompt_name, metadata) VALUES (7, 'b', '{\"cost_usd\": 7}')",
    "INSERT INTO invocations (id, prompt_name, metadata) VALUES (-7, 'b', '{\"cost_usd\": 7}')",
    "DELETE FROM datasets WHERE name = 'promptry/spend'",
]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("tail", [0, 12])
@pytest.mark.parametrize("kept_name", ["promptry/totals", "promptry/buckets"])
def test_a_change_between_the_count_and_the_keeping_is_not_lost(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, change: str, tail: int, kept_name: str
) -> None:
    fill(raw, 9)
    raw.execute("UPDATE invocations SET id = id + 10 WHERE id > 4")
    if tail:
        list_costs(30, by="bucket")
        fill(raw, tail)
    keep = promptry._keep_totals
    changed = []

    def late(totals: Any) -> bool:
        if totals.name == kept_name:
            changed.append(raw.execute(change))
            if "datasets" in change:
                raw.execute(CHANGES[0])
        return keep(totals)

    monkeypatch.setattr(promptry, "_keep_totals", late)
    list_costs(30, by="bucket")
    assert changed
    monkeypatch.setattr(promptry, "_keep_totals", keep)
    same()
    same()


def test_sums_of_the_month_do_not_narrow_the_watch(raw: sqlite3.Connection) -> None:
    promptry.set_budget("global", None, "monthly", 100)
    fill(raw, 9)
    with promptry.one_state(promptry.connect()) as connection:
        spend = promptry.read_spend(connection, promptry.now_text(), set())
    raw.execute("UPDATE invocations SET id = id + 10 WHERE id > 4")
    fill(raw, 5)
    list_costs(30)
    found = raw.execute("SELECT version, items FROM datasets WHERE name = 'promptry/spend'").fetchone()
    with promptry.transact() as connection:
        promptry.keep_spend(connection, spend._replace(kept=(*found, spend.kept[2])))  # type: ignore[index]
    insert(raw, '{"cost_usd": 7}', promptry.now_text(), id=11)
    promptry.watch_calls()
    assert list_costs(30)["sum"]["calls"] == 15
    same()


def test_totals_of_another_store_count_for_nothing(store: Path, tmp_path: Path, raw: sqlite3.Connection) -> None:
    promptry.use_store(tmp_path / "other.db")
    for _ in range(9):
        track_invocation("p", {"cost_usd": 7})
    list_costs(30)
    promptry.use_store(store)
    fill(raw, 9)
    raw.execute("UPDATE schema_version SET applied_at = '2026-01-01T00:00:00.000Z'")
    raw.execute(f"ATTACH '{tmp_path / 'other.db'}' AS other")
    raw.execute(
        "INSERT INTO datasets (name, version, items, metadata)"
        " SELECT name, version, items, metadata FROM other.datasets"
    )
    same()
    assert list_costs(30)["sum"]["cost_usd"] == 4.5


def test_totals_changed_by_hand_are_counted_anew(raw: sqlite3.Connection, counted: list[str]) -> None:
    fill(raw, 9)
    list_costs(30)
    (text,) = raw.execute("SELECT items FROM datasets WHERE name = 'promptry/totals'").fetchone()
    for number, changed in enumerate((text.replace("1.5", "1.75"), "null", "5", '{"a": 1}', "[]"), 2):
        raw.execute("UPDATE datasets SET items = ? WHERE name = 'promptry/totals'", (changed,))
        promptry.use_store(promptry.store_path())  # as a new process reads it
        assert list_costs(30)["sum"]["cost_usd"] == 4.5 and len(counted) == number


def test_no_writer_is_waited_for_and_a_store_that_cannot_be_written_is_read(
    raw: sqlite3.Connection, locked: Any, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "_RETRY_S", 60.0)
    fill(raw, 9)
    with locked():
        began = promptry.monotonic_s()
        for _ in range(5):
            assert list_costs(30)["sum"]["calls"] == 9
        assert promptry.monotonic_s() - began < 2
    promptry._not_kept_at.clear()
    promptry.connect().execute("PRAGMA query_only = ON")
    try:
        same()
    finally:
        promptry.connect().execute("PRAGMA query_only = OFF")
    promptry._not_kept_at.clear()
    list_costs(30)
    fill(raw, 9)
    with locked():
        assert list_costs(30)["sum"]["calls"] == 18, "what is kept is read on"


def test_latencies_are_looked_at_more_rarely_once_there_are_many(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    monkeypatch.setattr(promptry, "step_of", lambda calls: 2 if calls < 20 else 7)
    fill(raw, 12)
    assert count_calls(days=30)["sum"]["latency_of"] == 6
    fill(raw, 12)
    get_overview()
    assert len(counted) == 1
    assert count_calls(days=30)["sum"]["latency_of"] == 3 and len(counted) == 2


def test_the_sql_that_is_shown_gives_the_groups_that_are_kept(raw: sqlite3.Connection) -> None:
    fill(raw, 30)
    list_costs(30)
    with promptry.noted_queries() as notes:
        list_costs(30)
        count_calls(days=30)
        list_unpriced()
    answered = {}
    for sql, parameters in notes:
        answered[sql] = raw.execute(sql, parameters).fetchall()
    costs, traffic = promptry.statements("list_costs")[0], promptry.statements("count_calls")[0]
    assert len(answered[costs]) == len(answered[traffic]) == 3
    assert promptry.statements("list_unpriced")[0] in answered


BUCKETS = '{"cost_usd": 0.5, "cost_source": "computed", "rates": {"input": 50}, "buckets": {"input": 10000}}'


def test_what_buckets_cost_is_summed_once_and_then_read_on(
    raw: sqlite3.Connection, counted_buckets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(9):
        insert(raw, BUCKETS, promptry.now_text())
    promptry.keep_sums()
    first = kept(raw, "promptry/buckets")
    assert len(counted_buckets) == 1 and first
    insert(raw, BUCKETS, ago(20))
    monkeypatch.setattr(promptry, "_OF_DAYS", "SELECT 'nothing may be counted anew'")
    found = list_costs(30, by="bucket")["items"]
    assert found == [{"bucket": "input", "calls": 10, "tokens": 100_000, "units": None, "cost_usd": 5.0}]
    assert list_costs(7, by="bucket")["items"][0]["calls"] == 9 and kept(raw, "promptry/buckets") == first
    insert(raw, BUCKETS, promptry.now_text())
    held = promptry.reserve("b", estimate_usd=0.5)
    for _ in range(9):
        insert(raw, BUCKETS, promptry.now_text())
    assert list_costs(30, by="bucket")["items"][0]["calls"] == 20 and kept(raw, "promptry/buckets") != first
    promptry.record_call("b", json.loads(BUCKETS), settles=held)
    (row,) = list_costs(30, by="bucket", prompt="b")["items"]
    assert row["calls"] == 21 and len(counted_buckets) == 1, "a reservation was settled below what had been read"
    same()


def test_the_sql_of_buckets_that_is_shown_gives_what_is_kept(raw: sqlite3.Connection) -> None:
    for facts in (*ODD, BUCKETS):
        insert(raw, facts, promptry.now_text())
    promptry.keep_sums()
    with promptry.noted_queries() as notes:
        told = {row["bucket"]: row["calls"] for row in list_costs(30, by="bucket", origin="all")["items"]}
    asked = next(parameters for sql, parameters in notes if sql == promptry.statements("list_costs")[3])
    calls: dict[str, int] = {}
    for _, bucket, count, *_ in raw.execute(promptry.statements("list_costs")[3], asked):
        calls[bucket] = calls.get(bucket, 0) + count
    assert {name: count for name, count in told.items() if name in calls and name != "requests"} == {
        name: count for name, count in calls.items() if name != " "
    }
    same()


@pytest.mark.parametrize(("one", "other"), [("totals", "buckets"), ("buckets", "totals")])
def test_sums_of_another_kind_count_for_nothing(raw: sqlite3.Connection, one: str, other: str) -> None:
    for _ in range(9):
        insert(raw, BUCKETS, promptry.now_text())
    promptry.keep_sums()
    raw.execute("DELETE FROM datasets WHERE name = ?", (f"promptry/{one}",))
    raw.execute("UPDATE datasets SET name = ? WHERE name = ?", (f"promptry/{one}", f"promptry/{other}"))
    promptry._parsed_totals.clear()
    same()


@pytest.mark.parametrize("amount", ["9" * 5_000, "[" * 990 + "]" * 990, "1e999"], ids=["digits", "depth", "infinite"])
def test_of_what_python_does_not_parse_the_plain_sql_tells(raw: sqlite3.Connection, amount: str) -> None:
    for facts in (BUCKETS, BUCKETS.replace("10000}", f'10000, "odd": {amount}}}')):
        insert(raw, facts, promptry.now_text())
    promptry.keep_sums()
    calls = {row["bucket"]: row["calls"] for row in list_costs(30, by="bucket")["items"]}
    assert calls["input"] == 2 and calls["odd"] == 1 and kept(raw, "promptry/buckets") is None


def test_totals_are_no_dataset_of_anybodys_and_are_begun_ahead(raw: sqlite3.Connection, counted: list[str]) -> None:
    fill(raw, 9)
    promptry.keep_totals()
    assert len(counted) == 1 and kept(raw)
    list_costs(30)
    get_overview()
    assert len(counted) == 1 and promptry.list_datasets()["items"] == []


WRITER = """
import random, sys, promptry
promptry._LEAST_CALLS, promptry._SHORTEST_TAIL, promptry.step_of = 1, 20, lambda calls: 3
promptry.use_store(sys.argv[1])
draw = random.Random(int(sys.argv[2]))
for number in range(120):
    name = draw.choice(["a/1", "a/2", "b"])
    if draw.random() < 0.3:
        with promptry.budget_guard(name, 0.01):
            promptry.track_invocation(name, {"cost_usd": draw.random()})
    else:
        promptry.track_invocation(name, {"cost_usd": draw.random(), "model": draw.choice(["m", None])})
    if draw.random() < 0.5:
        usage = {"prompt_tokens": draw.randrange(99), "completion_tokens": 5}
        promptry.track_invocation("priced", usage=usage, model="gpt-4.1-mini", provider="openai")
    if draw.random() < 0.05:
        with promptry.transact() as connection:
            half = "(SELECT max(id) / 2 FROM invocations)"
            connection.execute(f"UPDATE invocations SET metadata = '{{}}' WHERE id = {half}")
    if draw.random() < 0.3:
        promptry.list_costs(30, by="bucket")
        promptry.count_calls(days=30)
"""


@pytest.mark.slow
def test_four_processes_that_write_and_look_leave_the_truth(
    store: Path, raw: sqlite3.Connection, start_python: Any
) -> None:
    promptry.set_budget("global", None, "monthly", 1e6)
    children = [start_python(WRITER, store, seed) for seed in range(4)]
    for number in range(2_000):
        promptry.list_costs(30, by="bucket")
        if all(child.poll() is not None for child in children):
            break
        if number % 10 == 0:
            with promptry.one_state(promptry.connect()):  # of one state: what is kept, and the rows
                for kind in (promptry._GROUPED, promptry._USED):
                    known = promptry._find_totals(promptry.connect(), kind, promptry.first_day(30))
                    if known is not None:
                        mark = promptry.mark_of(promptry.connect(), promptry.now_text())
                        groups = promptry._advanced(promptry.connect(), known, mark).groups
                        rows = promptry.connect().execute("SELECT count(*) FROM invocations WHERE status <> 'reserved'")
                        calls = sum(total.calls for total in groups if getattr(total, "bucket", " ") == " ")
                        assert calls == rows.fetchone()[0]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    same()
    (priced,) = raw.execute("SELECT count(*) FROM invocations WHERE prompt_name = 'priced'").fetchone()
    assert priced > 100 and list_costs(30)["sum"]["calls"] == 480 + priced


SERVER = """
import sys, promptry
promptry._LEAST_CALLS = 1
promptry.use_store(sys.argv[1])
promptry.serve_dashboard("127.0.0.1", 0, None)
"""


def test_a_dashboard_sums_at_its_start_what_its_first_page_will_ask(
    store: Path, raw: sqlite3.Connection, start_python: Any, counted: list[str], counted_buckets: list[str]
) -> None:
    fill(raw, 9)
    server = start_python(SERVER, store)
    for _ in range(600):
        if kept(raw, "promptry/buckets") or server.poll() is not None:
            break
        time.sleep(0.05)
    assert kept(raw) and kept(raw, "promptry/buckets") and list_costs(30, by="bucket") and not counted_buckets
    assert server.poll() is None
    assert list_costs(30)["sum"]["calls"] == count_calls(days=30)["sum"]["calls"] == 9 and not counted
    server.terminate()
    server.wait(30)
