"""Benchmark of the pytest plugin: what an item costs beside a plain test, and that it costs no more among many others.

The floor is pytest itself: the same number of parametrised tests without the plugin. Both are CPU seconds of a session
in a process of its own, less those of a session of ten.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import promptry

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = "{:<30}{:>16}{:>16}{:>10}"
FEW, MANY = 1_000, 10_000

SUITE = """
import os
from promptry import assert_exact, render_prompt, suite

@suite("big", prompt="p", dataset=[{"id": f"c{number}"} for number in range(int(os.environ["COUNT"]))])
def big(item):
    render_prompt("p", "")
    assert_exact(1, 1)
"""
PLAIN = """
import os
import pytest

@pytest.mark.parametrize("number", range(int(os.environ["COUNT"])))
def test_plain(number):
    assert number >= 0
"""


def cpu_seconds(folder: Path, name: str, count: int) -> float:
    """Return the CPU seconds of a pytest session of so many items."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, name]
    words += ["-p", "promptry", "--promptry-compare", "prod"] if name == "test_suite.py" else ["-p", "no:promptry"]
    told = {"COUNT": str(count), "PROMPTRY_DB": str(folder / f"{count}.db"), "PYTHONPATH": str(ROOT)}
    before = os.times()
    done = subprocess.run(words, cwd=folder, env={**os.environ, **told}, capture_output=True, text=True, timeout=600)
    after = os.times()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return after.children_user + after.children_system - before.children_user - before.children_system


def seconds_of(folder: Path, name: str, count: int) -> float:
    return min(cpu_seconds(folder, name, count) for _ in range(2))


def test_an_item_costs_the_same_among_ten_times_as_many(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_plain.py").write_text(PLAIN)
    for count in (10, FEW, MANY):  # each has a baseline of as many cases, so that what held is looked up too
        promptry.use_store(tmp_path / f"{count}.db")
        promptry.save_prompt("p", "text", tag="prod")
        promptry.close_store()
        cpu_seconds(tmp_path, "test_suite.py", count)
    each: dict[str, dict[int, float]] = {}
    for name in ("test_plain.py", "test_suite.py"):
        start = seconds_of(tmp_path, name, 10)
        each[name] = {count: (seconds_of(tmp_path, name, count) - start) / (count - 10) for count in (FEW, MANY)}
    print("\n" + TABLE.format("CPU us an item", f"of {FEW:,}", f"of {MANY:,}", "ratio"))
    for name, found in each.items():
        few, many = found[FEW], found[MANY]
        print(TABLE.format(name, f"{few * 1e6:,.0f}", f"{many * 1e6:,.0f}", f"{many / few:.2f}"))
    assert each["test_suite.py"][MANY] <= 1.5 * each["test_suite.py"][FEW]
