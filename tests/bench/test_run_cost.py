"""Benchmarks of the runner: what a case costs beside its assertions, and what memory a run takes; run with -s.

The floor of time is a bare loop over the same items that makes the same assertions. Beside it stands what nobody who
keeps the results can do without: the same rows written as JSON into the migrated table in one transaction.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = 10_000
TABLE = "{:<44}{:>14}{:>14}{:>10}"


def items_of(count: int) -> list[dict[str, Any]]:
    return [{"id": f"c{number}", "x": number} for number in range(count)]


def check(item: dict[str, Any]) -> None:
    promptry.assert_exact(item["x"], item["x"])
    promptry.assert_contains("the answer holds the word", "word")
    promptry.assert_not_contains("the answer holds the word", "other")


def seconds_of(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def keep_rows(items: list[dict[str, Any]]) -> None:
    """Collect the checks of each item and write their rows, as plainly as it can be done."""
    rows = []
    for item in items:
        with promptry.collect() as checks:
            check(item)
        for row in checks:
            details = json.dumps({**row.details, "repeat": 0})
            rows.append((1, item["id"], row.assertion_type, int(bool(row.passed)), row.score, details, row.latency_ms))
    with promptry.transact() as connection:
        connection.execute("INSERT INTO eval_runs (id, suite_name) VALUES (1, 'floor')")
        connection.executemany(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details, latency_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def test_a_case_costs_little_beside_its_assertions(store: Path) -> None:
    items = items_of(CASES)
    promptry.suite("s", dataset=items)(check)
    promptry.connect()
    bare = min(seconds_of(lambda: [check(item) for item in items]) for _ in range(3))
    kept = seconds_of(lambda: keep_rows(items))
    ways = {"one at a time": {}, "4 at a time": {"concurrency": 4}, "with a limit": {"timeout_s": 60}}
    ours = {
        name: min(seconds_of(functools.partial(promptry.run_suite, "s", **more)) for _ in range(2))
        for name, more in ways.items()
    }
    print("\n" + TABLE.format("10,000 cases of 3 assertions", "us a case", "above bare", "ratio"))
    for name, seconds in {"a bare loop": bare, "a loop that keeps its rows": kept, **ours}.items():
        each, above = seconds / CASES * 1e6, (seconds - bare) / CASES * 1e6
        print(TABLE.format(name, f"{each:.1f}", f"{above:.1f}", f"{seconds / bare:.1f}"))
    assert ours["one at a time"] <= 3.0 * kept
    assert ours["4 at a time"] <= 6.0 * kept


MEMORY = """
import sys, tracemalloc
import promptry

count = int(sys.argv[1])
items = [{"id": f"c{number}", "x": number} for number in range(count)]

def check(item):
    promptry.assert_exact(item["x"], item["x"])
    promptry.assert_contains("the answer holds the word", "word")
    promptry.assert_not_contains("the answer holds the word", "other")

promptry.use_store(sys.argv[2])
promptry.suite("s", dataset=items, concurrency=int(sys.argv[3]))(check)
promptry.connect()
tracemalloc.start()
promptry.record_run(promptry.require_suite("s"), promptry.Job())
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.parametrize("concurrency", [1, 8])
def test_memory_does_not_grow_with_the_checks(concurrency: int, tmp_path: Path) -> None:
    """A run keeps some hundred bytes a case (its name and score, its place in the spool), and no check of it."""
    peaks = {}
    for count in (1_000, 100_000):
        words = [sys.executable, "-c", MEMORY, str(count), str(tmp_path / f"{count}.db"), str(concurrency)]
        peaks[count] = int(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    size = len(json.dumps(promptry.plain_json(_checks_of_one())))
    each = (peaks[100_000] - peaks[1_000]) / 99_000
    print(
        f"\nconcurrency {concurrency}: peak {peaks[1_000] / 1e6:.1f} MB with 1,000 cases, "
        f"{peaks[100_000] / 1e6:.1f} MB with 100,000; {each:.0f} bytes a case, whose checks are {size} as JSON"
    )
    assert each < size


def _checks_of_one() -> list[dict[str, Any]]:
    with promptry.collect() as checks:
        check({"x": 1})
    return [row.to_dict() for row in checks]
