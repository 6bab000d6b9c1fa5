"""Benchmarks of what stands in the way of every request; run with -s to see the table.

Each figure is a ratio against a floor that is measured in the same run, in small blocks that alternate with ours, so
that noise of the machine falls on both.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parent.parent.parent
FACTS = {"latency_ms": 812.5, "status": "ok"}
USAGE = {
    "prompt_tokens": 1234,
    "completion_tokens": 321,
    "total_tokens": 1555,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}
TABLE = "{:<34}{:>14}{:>14}{:>10}{:>8}"


def show(rows: list[tuple[str, str, str, float, str]]) -> None:
    print("\n" + TABLE.format("what", "promptry", "floor", "ratio", "goal"))
    for name, ours, floor, ratio, goal in rows:
        print(TABLE.format(name, ours, floor, f"{ratio:.2f}", goal))


def spans_of(work: Callable[[], Any], count: int) -> list[float]:
    clock, spans = time.perf_counter, []
    for _ in range(count):
        began = clock()
        work()
        spans.append(clock() - began)
    return spans


def percentile(spans: list[float], share: float) -> float:
    return sorted(spans)[min(len(spans) - 1, int(len(spans) * share))]


def raw_writer(path: Path, request: str) -> Callable[[], Any]:
    """Return a function that writes the row that promptry writes, with sqlite3 and the same pragmas."""
    ours = promptry.connect()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous", "foreign_keys", "busy_timeout", "cache_size", "wal_autocheckpoint"):
        (value,) = ours.execute(f"PRAGMA {pragma}").fetchone()
        connection.execute(f"PRAGMA {pragma} = {value}")
    (metadata,) = ours.execute("SELECT metadata FROM invocations ORDER BY id DESC LIMIT 1").fetchone()
    facts, moment = json.loads(metadata), promptry.now_text()

    def write() -> Any:
        row = ("answer", 1, json.dumps(facts), None, None, request, moment)
        return connection.execute(promptry.INSERT_CALL, row).lastrowid

    return write


def measure_calls(folder: Path, blocks: int, block: int) -> tuple[list[float], list[float]]:
    """Return the spans of our calls and of raw inserts, in blocks that alternate.

    Each side has a store of its own with the same rows, for a checkpoint of the log (SQLite makes one each 1,000
    pages, here about one call in 110) is paid by whoever comes by, and p99 would tell who that was.
    """
    promptry.use_store(folder / "ours.db")
    promptry.track("Answer: $question", "answer")

    def ours() -> Any:
        return promptry.track_invocation("answer", FACTS, model="gpt-4.1-mini", provider="openai", usage=USAGE)

    assert ours() is not None and promptry.list_calls()["items"][0]["cost_usd"] > 0
    promptry.close_store()
    shutil.copy(folder / "ours.db", folder / "raw.db")
    raw = raw_writer(folder / "raw.db", promptry.last_request_id() or "")
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(blocks + 4):
        for which in (0, 1) if number % 2 else (1, 0):
            spans = spans_of((ours, raw)[which], block)
            found[which].extend(spans if number >= 4 else [])
    return found


def test_a_call_costs_at_most_twice_a_raw_insert(tmp_path: Path) -> None:
    ours, raw = measure_calls(tmp_path, blocks=200, block=100)
    rows = []
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        mine, floor = percentile(ours, share), percentile(raw, share)
        goal = {"p50": "2.0", "p99": "3.0"}.get(name, "")
        rows.append((f"track_invocation {name}", f"{mine * 1e6:.1f} us", f"{floor * 1e6:.1f} us", mine / floor, goal))
    show(rows)
    assert rows[0][3] <= 2.0
    assert rows[2][3] <= 3.0


def test_known_text_is_tracked_in_about_a_microsecond(store: Path) -> None:
    text, known = "Answer: $question" * 20, {"answer": "Answer: $question" * 20}

    def floor(content: str, name: str) -> str:
        if known.get(name) == content:
            return content
        return ""

    promptry.track(text, "answer")
    ours: list[float] = []
    bare: list[float] = []
    clock, track = time.perf_counter, promptry.track
    for _ in range(100):
        began = clock()
        for _ in range(1000):
            track(text, "answer")
        ours.append((clock() - began) / 1000)
        began = clock()
        for _ in range(1000):
            floor(text, "answer")
        bare.append((clock() - began) / 1000)
    mine, least = statistics.median(ours), statistics.median(bare)
    show([("track of known text", f"{mine * 1e6:.2f} us", f"{least * 1e6:.2f} us", mine / least, "10.0")])
    assert mine / least <= 10.0


def test_import_costs_at_most_a_third_more_than_peewee_and_click(tmp_path: Path) -> None:
    """The ratio is of processor times, and the median of many pairs: the memory of a machine has slow seconds."""
    shutil.copy(ROOT / "promptry.py", tmp_path / "promptry.py")  # nobody edits it, so its byte code stays valid
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "",
    }

    def spans(names: str) -> tuple[float, float]:
        code = (
            "import time; cpu, wall = time.process_time(), time.perf_counter();"
            f" import {names}; print(time.process_time() - cpu, time.perf_counter() - wall)"
        )
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        cpu, wall = map(float, done.stdout.split())
        return cpu, wall

    spans("promptry"), spans("peewee, click")
    pairs = [(spans("promptry"), spans("peewee, click")) for _ in range(81)]
    rows = []
    for which, name, goal in ((0, "import promptry (processor)", "1.3"), (1, "import promptry (wall)", "")):
        ours, floor = (statistics.median(pair[side][which] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(mine[which] / other[which] for mine, other in pairs)
        rows.append((name, f"{ours * 1e3:.1f} ms", f"{floor * 1e3:.1f} ms", ratio, goal))
    show(rows)
    assert rows[0][3] <= 1.3


def test_import_loads_nothing_heavy(run_python: Any) -> None:
    done = run_python("import sys, promptry\nprint('\\n'.join(sorted(sys.modules)))")
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "peewee" in loaded
    assert not loaded & {
        "numpy",
        "scipy",
        "bottle",
        "mcp",
        "rich",
        "pydantic",
        "httpx2",
        "regex",
        "playhouse",
        "asyncio",
    }
