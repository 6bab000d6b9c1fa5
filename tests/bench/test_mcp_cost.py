"""Benchmark of MCP: how soon a new server answers `initialize`, and each read tool over a million calls.

The floor of the start is a process that only imports the SDK, with the same imports, in the same run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import connect_agent
from served import ROOT
from test_dashboard_cost import RATED
from test_hot_path import show
from test_ledger import in_ledger, using_ledger
from test_mcp import HELLO

__all__ = ["in_ledger"]

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with using_ledger(tmp_path_factory.mktemp("ledger")) as path:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute(RATED)
        yield path


SDK = "import anyio, mcp_types; from mcp.server.lowlevel import Server; from mcp.server.stdio import stdio_server"
START = "import promptry; promptry.main()"  # as the installed command does
ROUNDS = 15


def seconds_of_start(words: list[str], environment: dict[str, str], line: str) -> float:
    """Return the seconds from the spawn of a process to the first line that it prints."""
    began = time.perf_counter()
    child = subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdin and child.stdout
    child.stdin.write(line.encode())
    child.stdin.flush()
    answer = child.stdout.readline()
    span = time.perf_counter() - began
    assert answer.strip()
    child.communicate()
    return span


def test_initialize_is_answered_hardly_later_than_the_sdk_is_imported(tmp_path: Path) -> None:
    for name in ("promptry.py", "assets"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "",
        "PROMPTRY_DB": str(tmp_path / "store.db"),
    }
    ours = [sys.executable, "-c", START, "mcp"]
    floor = [sys.executable, "-c", f"{SDK}; print('ready', flush=True)"]
    line = json.dumps(HELLO) + "\n"
    pairs = []
    for number in range(ROUNDS + 1):
        pair = seconds_of_start(ours, environment, line), seconds_of_start(floor, environment, line)
        pairs += [pair] if number else []  # the first writes the byte code
    mine, least = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(mine / other for mine, other in pairs)
    show([("spawn to initialize", f"{mine * 1e3:.0f} ms", f"{least * 1e3:.0f} ms", ratio, "1.3")])
    assert ratio <= 1.3


ASKED: list[tuple[str, dict[str, object]]] = [
    ("get_overview", {}),
    ("list_prompts", {}),
    ("get_prompt", {"name": "module1/prompt1"}),
    ("list_suites", {}),
    ("get_suite", {"name": "suite1"}),
    ("list_runs", {}),
    ("get_run", {"id": "1"}),
    ("compare_runs", {"run_id": "2", "baseline_id": "1"}),
    ("compare_models", {"suite_name": "suite1"}),
    ("check_drift", {"suite_name": "suite1"}),
    ("check_drift", {"suite_name": "module1/prompt1", "of": "cost"}),
    ("bisect_suite", {"suite_name": "suite1"}),
    ("list_calls", {}),
    ("list_calls", {"model": "gpt-4.1", "days": 7}),
    ("list_calls", {"rating": "down"}),
    ("list_calls", {"search": "no such text"}),
    ("count_calls", {}),
    ("count_calls", {"module": "module1", "days": 30}),
    ("count_calls", {"rating": "down"}),
    ("get_call", {"id": "777"}),
    ("list_traces", {}),
    ("list_costs", {}),
    ("list_costs", {"by": "day", "days": 90}),
    ("list_costs", {"by": "bucket", "days": 7}),
    ("list_unpriced", {}),
    ("list_budgets", {}),
    ("list_feedback", {}),
    ("list_votes", {}),
    ("list_datasets", {}),
]


def seconds_to_sum(ledger: Path) -> float:
    """Wait until a server has summed what it keeps, as it does beside its answers when it first sees a store."""
    began = time.monotonic()
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        while not connection.execute("SELECT 1 FROM datasets WHERE name = 'promptry/buckets'").fetchone():
            assert time.monotonic() - began < 120
            time.sleep(0.1)
    return time.monotonic() - began


def test_each_tool_answers_over_a_million_calls(ledger: Path) -> None:
    rows = []
    with connect_agent("--db", ledger) as agent:
        assert agent.tools
        print(f"\nall that is kept was summed {seconds_to_sum(ledger):.0f} s after the first start over this store")
        for name, arguments in ASKED:
            spans = []
            for _ in range(2):
                began = time.perf_counter()
                result = agent.call(name, **arguments)
                spans.append(f"{(time.perf_counter() - began) * 1e3:.0f} ms")
            size = len(result.content[0].text.encode())
            assert size <= (8_000 if name.startswith("list_") else 16_000), (name, size)
            asked = f"{name} {' '.join(map(str, arguments.values()))}"[:40]
            rows.append((asked, *spans, "refused" if result.is_error else f"{size:,} bytes"))
    print("\n{:<42}{:>10}{:>10}{:>14}   (goal: about 300 ms)".format("tool", "first", "again", "size"))
    for row in rows:
        print("{:<42}{:>10}{:>10}{:>14}".format(*row))
