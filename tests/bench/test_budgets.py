"""What a guarded call costs, and what a look at the budgets costs, over a month of 1,000,000 calls; -s shows the table.

A look in a process that has looked before reads only what came since, so it is held against the month's grouped costs
and against a look at an empty ledger. The first look of a process counts the month once and is shown, not held: no
index makes a sum over a million rows five times cheaper than a grouped one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import budget_guard, budget_status, set_budget, track_invocation

pytestmark = pytest.mark.bench

CALLS = 1_000_000
FACTS = {"latency_ms": 812.5, "cost_usd": 0.001}
TABLE = "{:<46}{:>12}{:>12}{:>9}{:>7}"
COSTS = """SELECT day, prompt_name, prompt_version, model, SUM(cost_usd), COUNT(*)
    FROM invocations INDEXED BY calls_by_day WHERE day >= ? GROUP BY day, prompt_name, prompt_version, model"""
FILL = """INSERT INTO invocations (prompt_name, prompt_version, metadata, request_id, created_at)
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :calls)
    SELECT 'support' || (i % 10) || '/p' || (i % 50), i % 3,
        json_object('model', 'm' || (i % 4), 'cost_usd', 0.0001 * (i % 97 + 1), 'tokens_in', 1200, 'tokens_out', 300),
        'r' || i, :month || '-' || printf('%02dT%02d:00:00.000Z', 1 + i * :days / :calls, i % 24) FROM n"""


def fill(calls: int) -> None:
    """Fill the month up to today with calls of 50 prompts; the indexes are made afterwards, in one go."""
    connection, now = promptry.connect(), promptry.now_text()
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'invocations' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    connection.execute(FILL, {"calls": calls, "month": now[:7], "days": int(now[8:10])})
    for _, sql in indexes:
        connection.execute(sql)
    promptry.close_store()


def use(path: Path) -> None:
    promptry.use_store(path)
    promptry.connect()
    for scope, target in (("global", None), ("module", "support1"), ("prompt", "support1/p1")):
        for period in ("daily", "monthly"):
            set_budget(scope, target, period, 1e9)


def span_ms(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def track() -> None:
    track_invocation("support1/p1", FACTS)


def guarded() -> None:
    with budget_guard("support1/p1"):
        track()


def guarded_with_estimate() -> None:
    with budget_guard("support1/p1", model="gpt-4o", provider="openai", input_chars=4000, max_tokens=500):
        track()


def medians(*works: Callable[[], Any]) -> list[float]:
    """Return the medians of some functions that alternate in small blocks."""
    spans: list[list[float]] = [[] for _ in works]
    for number in range(24):
        for mine, work in zip(spans, works, strict=True):
            found = [span_ms(work) for _ in range(25)]
            mine.extend(found if number >= 4 else [])
    return [statistics.median(mine) for mine in spans]


def costs() -> list[Any]:
    return promptry.connect().execute(COSTS, (promptry.now_text()[:8] + "01",)).fetchall()


def test_a_look_at_the_budgets_costs_the_same_at_any_size(tmp_path: Path) -> None:
    use(tmp_path / "small.db")
    for _ in range(250):
        track()
    small_status = statistics.median(span_ms(budget_status) for _ in range(50))
    small = medians(track, guarded, guarded_with_estimate)
    promptry.use_store(tmp_path / "big.db")
    fill(CALLS)
    use(tmp_path / "big.db")
    costs()
    grouped = statistics.median(span_ms(costs) for _ in range(5))
    cold = []
    for _ in range(3):
        use(tmp_path / "big.db")
        cold.append(span_ms(budget_status))
    for _ in range(250):
        track()
    warm = statistics.median(span_ms(budget_status) for _ in range(50))
    big = medians(track, guarded, guarded_with_estimate)
    rows = [
        ("status, 1,000,000 calls, first look / costs", statistics.median(cold), grouped, None),
        ("status, 1,000,000 calls / grouped costs", warm, grouped, 0.2),
        ("status, 1,000,000 calls / 250 calls", warm, small_status, 3.0),
        ("guarded call / track_invocation, 250 calls", small[1], small[0], 10.0),
        ("guarded call / track_invocation, 1,000,000", big[1], big[0], 10.0),
        ("with an estimate at rates / track_invocation", big[2], big[0], 10.0),
        ("guarded call, 1,000,000 calls / 250 calls", big[1], small[1], 2.0),
    ]
    print("\n" + TABLE.format("what", "ms", "floor ms", "ratio", "goal"))
    for name, ours, floor, goal in rows:
        print(TABLE.format(name, f"{ours:.3f}", f"{floor:.3f}", f"{ours / floor:.3f}", goal or ""))
    assert all(ours / floor <= goal for _, ours, floor, goal in rows if goal)
    (month,) = (row for row in budget_status() if (row.scope, row.period) == ("global", "monthly"))
    assert month.spent_usd == pytest.approx(sum(row[4] for row in costs()), abs=1e-9 * month.spent_usd)
