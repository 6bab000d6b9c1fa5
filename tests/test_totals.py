"""TOTALS: what is kept gives the answers of the plain SQL, whoever wrote the calls, whenever and in which order."""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import count_calls, get_overview, list_costs, list_unpriced, track_invocation

KEPT = "SELECT version FROM datasets WHERE name = 'promptry/totals'"
STEP = 3


@pytest.fixture(autouse=True)
def of_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have totals kept of few calls, and every third latency looked at."""
    monkeypatch.setattr(promptry, "_LEAST_CALLS", 1)
    monkeypatch.setattr(promptry, "_SHORTEST_TAIL", 3)
    monkeypatch.setattr(promptry, "step_of", lambda calls: STEP)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that sets the clock to a UTC time."""

    def move(text: str) -> None:
        monkeypatch.setattr(promptry, "now_text", lambda: text)

    return move


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a list that grows by one whenever all calls are summed."""
    found, count = [], promptry._count_totals

    def watched(since: str) -> Any:
        found.append(since)
        return count(since)

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
        "calls": count_calls(days=30),
        "calls of": count_calls(days=30, module="a", status="ok", origin="app"),
        "calls of one": count_calls(days=90, prompt="b", version=1),
        "overview": (overview["modules"], overview["spend"]),
        "unpriced": (list_unpriced(30), list_unpriced(30, limit=1), list_unpriced(30, limit=1, before="1")),
    }


def plain_answers() -> dict[str, Any]:
    """Return what the plain SQL says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promptry, "read_totals", lambda since, may_count=False: None)
        return answers()


def rounded(value: Any) -> Any:
    """Return an answer without what sums of floats differ in, and without the order of equals."""
    if isinstance(value, float):
        return value if not math.isfinite(value) else round(value, 9) + 0.0
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def same() -> None:
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
]
ODD_TIMES = ["x", "", "2026-11", "2026-11-2", "2026-12", "9999-12-31T00:00:00.000Z", "5", "2026-11-30", "\u00e4"]
NAMES = ("a/1", "a.2", "a", "b", "b/a/1", "it's \u00e4")


class World:
    """A store, its backup, the reservations that are open, and what is drawn next."""

    def __init__(self, path: Path, draw: random.Random, move: Callable[[str], None]) -> None:
        self.path, self.draw, self.move, self.held = path, draw, move, list[tuple[str, Any]]()
        self.backup: Path | None = None
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
        }
        return {key: value for key, value in facts.items() if value is not None}

    def any_id(self) -> int:
        row = self.raw.execute("SELECT id FROM invocations ORDER BY random() LIMIT 1").fetchone()
        return row[0] if row else 1

    def change(self) -> None:
        """Do one of the many things that happen to a ledger."""
        draw, now = self.draw, promptry.now_text()
        name, past = draw.choice(NAMES), f"2026-{draw.choice(('10-20', '11-01', '11-28', '11-30', '12-01'))}T01:02:03.000Z"
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
                    "UPDATE datasets SET items = '[]', version = version + 1 WHERE name = 'promptry/totals'",
                    "UPDATE datasets SET metadata = NULL, version = version + 1 WHERE name = 'promptry/totals'",
                    "UPDATE OR IGNORE datasets SET id = id + 5",
                ]
            )
        )


@pytest.mark.parametrize("seed", range(6))
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
    for _ in range(150):
        world.change()
        same()
    world.raw.close()
    assert served[True] > served[False], served
