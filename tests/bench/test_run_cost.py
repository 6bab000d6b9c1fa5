"""Benchmarks of the runner: what a case costs beside its assertions, and what memory a run takes; run with -s.

Two floors stand beside it: a bare loop over the same items that makes the same assertions, and what nobody who keeps
the results can do without: the same rows written as JSON into the migrated table in one transaction. Floors and runs
take turns, each in a store of its own. What is asserted is the median over the rounds of ratios against the second
floor of the same round, for the speed of a machine changes from round to round: of processor time, which other programs
hardly change, and, wider, of the time that passed, which waiting would show in. Microseconds are printed, not asserted.
Beside them stands how often a thread gave its processor away: four cases at a time may not wait for each other.
"""

from __future__ import annotations

import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]  # minutes where others share the processors

ROOT = Path(__file__).resolve().parent.parent.parent
CASES, ROUNDS = 10_000, 5
MOST_WORK = {1: 3.5, 4: 6.0}  # by cases at a time, of what keeping the rows takes: threads hand the interpreter over
MOST_TIME = {1: 3.0, 4: 6.0}
MOST_WAITS = 2.5  # of a case: one is for the write that keeps it; where each case waits for another they are four
TABLE = "{:<30}{:>13}{:>13}{:>9}{:>13}{:>9}{:>9}"
WAYS: dict[str, dict[str, Any]] = {
    "one at a time": {},
    "4 at a time": {"concurrency": 4},
    "with a limit": {"timeout_s": 60},
    "4 at a time with a limit": {"concurrency": 4, "timeout_s": 60},
}


def items_of(count: int) -> list[dict[str, Any]]:
    return [{"id": f"c{number}", "x": number} for number in range(count)]


def check(item: dict[str, Any]) -> None:
    promptry.assert_exact(item["x"], item["x"])
    promptry.assert_contains("the answer holds the word", "word")
    promptry.assert_not_contains("the answer holds the word", "other")


def cost_of(work: Callable[[], object]) -> tuple[float, float, int]:
    """Return the seconds that passed, those that this process worked, and how often a thread of it waited."""
    began, began_work, waits = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    passed, worked = time.perf_counter() - began, time.process_time() - began_work
    return passed, worked, resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - waits.ru_nvcsw


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


def test_a_case_costs_little_beside_its_assertions(store: Path, tmp_path: Path) -> None:
    items = items_of(CASES)
    promptry.suite("s", dataset=items)(check)
    works: dict[str, Callable[[], object]] = {
        "a bare loop": lambda: [check(item) for item in items],
        "a loop that keeps its rows": lambda: keep_rows(items),
        **{name: functools.partial(promptry.run_suite, "s", **more) for name, more in WAYS.items()},
    }
    rounds: dict[str, list[tuple[float, float, int]]] = {name: [] for name in works}
    for number in range(ROUNDS):
        for place, (name, work) in enumerate(works.items()):
            promptry.use_store(tmp_path / f"{number}-{place}.db")
            promptry.connect()
            rounds[name].append(cost_of(work))
    best = {name: tuple(map(min, zip(*found, strict=True))) for name, found in rounds.items()}
    bare, floors = best["a bare loop"][0], rounds["a loop that keeps its rows"]
    ratios = {
        name: [statistics.median(own[k] / floor[k] for own, floor in zip(found, floors, strict=True)) for k in (0, 1)]
        for name, found in rounds.items()
    }
    waits = {name: statistics.median(found[2] for found in rounds[name]) / CASES for name in rounds}
    heads = "us a case", "above bare", "ratio", "us of work", "ratio", "waits"
    print("\n" + TABLE.format(f"{CASES:,} cases of 3 assertions", *heads))
    for name, (passed, worked, _) in best.items():
        each, above, work = (seconds / CASES * 1e6 for seconds in (passed, passed - bare, worked))
        texts = (
            f"{each:.1f}",
            f"{above:.1f}",
            f"{ratios[name][0]:.2f}",
            f"{work:.1f}",
            f"{ratios[name][1]:.2f}",
            f"{waits[name]:.1f}",
        )
        print(TABLE.format(name, *texts))
    for name, way in WAYS.items():
        together = way.get("concurrency", 1)
        assert ratios[name][1] <= MOST_WORK[together], f"{name}: the work of a case"
        assert ratios[name][0] <= MOST_TIME[together], f"{name}: the time of a case"
        assert waits[name] <= MOST_WAITS, f"{name}: a case waits for others"


MEMORY = """
import sys, tracemalloc
import promptry

count, way = int(sys.argv[1]), sys.argv[3]
items = [{"id": f"c{number}", "x": number} for number in range(count)]

def check(item):
    promptry.assert_exact(item["x"], item["x"])
    promptry.assert_contains("the answer holds the word", "word")
    promptry.assert_not_contains("the answer holds the word", "other")

def check_blocks():
    for item in items:
        with promptry.case(item["id"]):
            check(item)

promptry.use_store(sys.argv[2])
if way == "blocks":
    promptry.suite("s")(check_blocks)
else:
    promptry.suite("s", dataset=items, concurrency=8 if way == "8 at a time" else 1)(check)
promptry.connect()
tracemalloc.start()
result = promptry.run_suite("s")
peak = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()
assert result.passed and result.counts["cases"] == count and result.counts["checks"] == 3 * count, result.counts
print(peak)
"""


@pytest.mark.parametrize("way", ["one at a time", "8 at a time", "blocks"])
def test_memory_does_not_grow_with_the_cases(way: str, tmp_path: Path) -> None:
    """Run, saved and judged: all that a run must remember is on disk."""
    peaks = {}
    for count in (1_000, 100_000):
        words = [sys.executable, "-c", MEMORY, str(count), str(tmp_path / f"{count}.db"), way]
        peaks[count] = int(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    print(f"\n{way}: peak {peaks[1_000] / 1e6:.2f} MB with 1,000 cases, {peaks[100_000] / 1e6:.2f} MB with 100,000")
    assert peaks[100_000] <= 1.5 * peaks[1_000]
