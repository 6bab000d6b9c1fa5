"""Benchmarks of what the dashboard asks first, over a million calls and ten thousand runs.

The floor is one aggregate over the index that most of these reads rest on: what each day and prompt cost. A read is
asked by a connection of its own each time, as the first request after a start is: once of a store that nobody has
looked at before, and once of one where the first look has left the totals of its calls.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_hot_path import show
from test_ledger import CALLS, FILL, RUNS, manifest_of_a_run

import promptry

pytestmark = pytest.mark.bench

DAY_S = 86_400
CASES = 40
# One call in 97 failed, one in 101 has no cost, one in 89 was rated.
FAILED = "UPDATE invocations SET metadata = json_set(metadata, '$.status', 'error') WHERE id % 97 = 0"
UNPRICED = "UPDATE invocations SET metadata = json_remove(metadata, '$.cost_usd') WHERE id % 101 = 0"
RATED = """INSERT INTO feedback (request_id, prompt_name, rating, created_at)
SELECT request_id, prompt_name, id % 3 / 2.0, created_at FROM invocations WHERE id % 89 = 0"""
SPREAD = "UPDATE eval_runs SET timestamp = strftime('%Y-%m-%dT%H:%M:%fZ', ? + 2592000.0 * id / 10000, 'unixepoch')"
RESULTS = """WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1)
INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details, latency_ms)
SELECT eval_runs.id, 'case' || i, 'exact', (eval_runs.id * 7 + i * 13) % 11 > 0, (eval_runs.id * 7 + i * 13) % 11 > 0,
    '{"expected": "yes", "actual": "no", "repeat": 0, "reason": "another text"}', 1.5
FROM eval_runs CROSS JOIN n WHERE suite_name <> 'one'"""
FLOOR = """SELECT day, prompt_name, count(*), sum(cost_usd) FROM invocations INDEXED BY calls_by_day
WHERE status <> 'reserved' GROUP BY day, prompt_name"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a store with a month of calls and runs, fifty prompts of three versions, ratings, and a budget."""
    path = tmp_path_factory.mktemp("board") / "store.db"
    promptry.use_store(path)
    promptry.connect()
    now = promptry.seconds_of(promptry.now_text()) or 0.0
    start = now - 30 * DAY_S + 60
    with sqlite3.connect(path, isolation_level=None) as raw:
        raw.execute("PRAGMA synchronous = OFF")
        raw.execute(FILL, {"calls": CALLS, "start": start, "now": now})
        raw.execute(RUNS, {"manifest": manifest_of_a_run()})
        raw.execute(SPREAD, (start,))
        raw.execute(RESULTS, (CASES,))
        for sql in (FAILED, UNPRICED, RATED):
            raw.execute(sql)
    raw.close()
    for number in range(50):
        for version in range(3):
            text = f"text {version}\n" * 40
            promptry.save_prompt(f"module{number % 10}/prompt{number}", text, tag="prod" if version == 1 else None)
    promptry.set_budget("global", None, "monthly", 1e6)
    yield path
    promptry.use_store(None)


@pytest.fixture(autouse=True)
def on_board(board: Path, clean_process: Path) -> None:
    promptry.use_store(board)


# What is asked, and how many floors it may take of a store never looked at, and of one that was: a pass over all calls
# at the finest grain is two to four, what is kept is a part of one.
READS: list[tuple[str, Callable[[], Any], float, float]] = [
    ("how everything stands", promptry.get_overview, 4, 2),
    ("suites", promptry.list_suites, 1, 1),
    ("one suite, 30 runs", lambda: promptry.get_suite("suite3"), 1, 1),
    ("one suite, 500 runs", lambda: promptry.get_suite("suite3", window=500), 3, 3),
    ("runs", promptry.list_runs, 1, 1),
    ("one run", lambda: promptry.get_run("777"), 1, 1),
    ("prompts", promptry.list_prompts, 1, 1),
    ("one prompt", lambda: promptry.get_prompt("module1/prompt1"), 1, 1),
    ("calls", promptry.list_calls, 0.5, 0.5),
    ("calls of the last hour", lambda: promptry.list_calls(hours=1), 0.5, 0.5),
    ("calls of a module", lambda: promptry.list_calls(module="module3"), 2.5, 2.5),
    ("calls without a price", lambda: promptry.list_calls(unpriced=True), 3, 3),
    ("calls rated down", lambda: promptry.list_calls(rating="down"), 0.25, 0.25),
    ("calls that cost much", lambda: promptry.list_calls(min_cost_usd=0.009), 4, 4),
    ("calls with a text", lambda: promptry.list_calls(search="no such text"), 4, 4),
    ("count of the last hour", lambda: promptry.count_calls(hours=1), 0.5, 0.5),
    ("count of calls rated down", lambda: promptry.count_calls(rating="down"), 0.9, 0.9),
    ("count of a day", lambda: promptry.count_calls(hours=24), 2, 2),
    ("count of 30 days", lambda: promptry.count_calls(days=30), 7, 2),
    ("count of 30 days, a prompt", lambda: promptry.count_calls(days=30, prompt="module3/prompt3"), 7, 2.5),
    ("cost by module, 30 days", lambda: promptry.list_costs(30, by="module", daily=True), 7, 1.5),
    ("cost by model, a day", lambda: promptry.list_costs(1, by="model"), 2, 1),
    ("models without a rate", promptry.list_unpriced, 4, 2),
    ("budgets", promptry.list_budgets, 1, 1),
    ("feedback", promptry.list_feedback, 1, 1),
    ("traces", promptry.list_traces, 1, 1),
    ("settings", promptry.list_settings, 1, 1),
]


def first_of(work: Callable[[], Any]) -> float:
    """Return the seconds of a request that nobody asked before in this process."""
    promptry.use_store(promptry.store_path())
    promptry.connect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def as_never_looked_at() -> None:
    with promptry.transact() as connection:
        connection.execute("DELETE FROM datasets WHERE name IN ('promptry/totals', 'promptry/buckets')")


@pytest.mark.timeout(600)
def test_each_read_answers_its_first_request_at_once(board: Path) -> None:
    rows, slow = [], []
    for name, read, never_goal, goal in READS:
        never, spans, floors = [], [], []
        for _ in range(3):
            floors.append(first_of(lambda: promptry.fetch(FLOOR)))
            as_never_looked_at()
            never.append(first_of(read))
            promptry.keep_totals()
            spans.append(first_of(read))
        floor = min(floors)  # of each the quickest: what else goes on here only adds
        for when, found, most in (("never looked at", never, never_goal), ("looked at before", spans, goal)):
            span = min(found)
            rows.append((f"{name}, {when}", f"{span * 1e3:.1f} ms", f"{floor * 1e3:.0f} ms", span / floor, f"{most:g}"))
            slow += [rows[-1]] if span / floor > most else []
    show(rows)
    assert slow == []


def test_a_look_while_calls_come_in_reads_what_is_kept_and_a_short_tail(board: Path) -> None:
    promptry.keep_totals()
    with promptry.transact() as connection:
        connection.execute(
            "INSERT INTO invocations (prompt_name, prompt_version, metadata, request_id) SELECT prompt_name,"
            " prompt_version, metadata, request_id FROM invocations WHERE id <= 2000"
        )
    floor = first_of(lambda: promptry.fetch(FLOOR))
    span = first_of(lambda: promptry.list_costs(30, by="module", daily=True))
    show([("cost by module, 2,000 calls later", f"{span * 1e3:.0f} ms", f"{floor * 1e3:.0f} ms", span / floor, "2")])
    assert span / floor < 2


def test_what_buckets_cost_is_summed_once_and_adds_up(board: Path) -> None:
    """To sum it reads the facts of each call, so the floor is to read these; once it is summed, nothing is to read."""
    facts = "SELECT sum(length(metadata)) AS n FROM invocations WHERE created_at >= date('now', '-6 days')"
    found: list[Any] = []

    def read() -> None:
        found.append(promptry.list_costs(7, by="bucket", origin="all"))

    spans: dict[str, list[float]] = {"floor": [], "never looked at": [], "looked at before": []}
    for _ in range(3):
        spans["floor"].append(first_of(lambda: promptry.fetch(facts)))
        as_never_looked_at()
        spans["never looked at"].append(first_of(read))
        spans["looked at before"].append(first_of(read))
    floor, never, before = map(min, spans.values())
    told = f"{floor * 1e3:.0f} ms"
    show(
        [
            ("cost by bucket, never looked at", f"{never * 1e3:.0f} ms", told, never / floor, "14"),
            ("cost by bucket, looked at before", f"{before * 1e3:.0f} ms", told, before / floor, "1"),
        ]
    )
    for answer in found:
        parts = [row["cost_usd"] for row in answer["items"] if row["cost_usd"] is not None]
        assert sum(parts) == pytest.approx(answer["sum"]["cost_usd"], rel=1e-9)
    assert never / floor < 14
    assert before / floor < 1
