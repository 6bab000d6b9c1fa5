"""Benchmark of the dashboard over a million calls: the first answer of a new server to each question of a page.

The floor is the aggregate of a month over real columns, as of the reads themselves; absolute times are for people.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import ROOT, child_environment
from test_hot_path import show
from test_ledger import floor_of, in_ledger, medians, using_ledger

__all__ = ["in_ledger"]

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with using_ledger(tmp_path_factory.mktemp("ledger")) as path:
        yield path


PATHS = (
    "/",
    "/api/overview",
    "/api/suites",
    "/api/suite?name=suite1",
    "/api/runs",
    "/api/run/1",
    "/api/compare?run=2&baseline=1",
    "/api/drift?suite=suite1",
    "/api/bisect?suite=suite1",
    "/api/prompts",
    "/api/prompt?name=module1/prompt1",
    "/api/calls",
    "/api/calls?model=gpt-4.1&days=7",
    "/api/calls?search=no+such+text",
    "/api/call/777",
    "/api/traces",
    "/api/cost",
    "/api/cost?by=day&days=90",
    "/api/coverage",
    "/api/budgets",
    "/api/feedback",
    "/api/votes",
    "/api/datasets",
)


@pytest.fixture
def server(ledger: Path) -> Iterator[tuple[int, int]]:
    """A dashboard in a process of its own: its port and its id."""
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), "dashboard", "--no-open", "--port", "0", "--db", str(ledger)],
        env=child_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    found = re.search(r":(\d+)/", child.stderr.readline())
    assert found
    yield int(found[1]), child.pid
    child.terminate()
    child.communicate()


def seconds_of_first(port: int, path: str) -> float:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        assert reply.status in {200, 404}, (path, reply.status)
    return time.perf_counter() - began


def test_each_question_of_a_page_is_answered_at_once(server: tuple[int, int], ledger: Path) -> None:
    (aggregate,) = medians(floor_of(ledger, "list_costs"), rounds=3)
    rows = []
    for path in PATHS:
        span = seconds_of_first(server[0], path)
        rows.append((path, f"{span * 1e3:.1f} ms", f"{aggregate * 1e3:.0f} ms", span / aggregate, "4"))
    show(rows)
    status = Path(f"/proc/{server[1]}/status")
    if status.exists():
        memory = int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1000
        print(f"memory of the server, at most: {memory:.0f} MB (goal: 200)")
        assert memory < 200
    assert all(row[3] <= 4 for row in rows)
