"""Benchmark of the pytest plugin: what an item costs beside a plain test, and that it costs no more among many others.

The floor is pytest itself: the same number of parametrised tests without the plugin. Its own items cost more among many
too, by as much as 1.7 where the processor's caches are shared, so what counts is how much more the plugin's cost grows.
All are CPU seconds of a session in a process of its own, less those of a session of ten. They are taken in turn, for a
machine has slow minutes: sessions of few items several times a round, and the median of the rounds' ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import promptry

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]  # minutes where others share the processors

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = "{:<30}{:>16}{:>16}{:>10}"
FEW, MANY, ROUNDS, SHORT = 1_000, 10_000, 3, 3
NAMES = ("test_plain.py", "test_suite.py")
MOST_GROWTH = 1.3

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
    env = {**os.environ, **told}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # each session would compile the plugin anew, which takes longer than FEW
    before = os.times()
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    after = os.times()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return after.children_user + after.children_system - before.children_user - before.children_system


def costs_of(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the CPU seconds of an item among few and among many, of a plain test and of a suite."""
    short = [{name: [cpu_seconds(folder, name, count) for count in (10, FEW)] for name in NAMES} for _ in range(SHORT)]
    found = {}
    for name in NAMES:
        start = statistics.median(row[name][0] for row in short)
        few = statistics.median(few - start for start, few in (row[name] for row in short)) / (FEW - 10)
        found[name] = (few, (cpu_seconds(folder, name, MANY) - start) / (MANY - 10))
    return found


def test_an_item_costs_the_same_among_ten_times_as_many(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_plain.py").write_text(PLAIN)
    for count in (10, FEW, MANY):  # each has a baseline of as many cases, so that what held is looked up too
        promptry.use_store(tmp_path / f"{count}.db")
        promptry.save_prompt("p", "text", tag="prod")
        promptry.close_store()
        cpu_seconds(tmp_path, "test_suite.py", count)
    rounds = [costs_of(tmp_path) for _ in range(ROUNDS)]
    print("\n" + TABLE.format("CPU us an item", f"of {FEW:,}", f"of {MANY:,}", "ratio"))
    for name in NAMES:
        few, many = (statistics.median(found[name][place] for found in rounds) for place in (0, 1))
        print(TABLE.format(name, f"{few * 1e6:,.0f}", f"{many * 1e6:,.0f}", f"{many / few:.2f}"))
    plain, ours = ([many / few for few, many in (found[name] for found in rounds)] for name in NAMES)
    growth = statistics.median(mine / least for mine, least in zip(ours, plain, strict=True))
    print(TABLE.format("grows beside pytest itself", "", "", f"{growth:.2f}") + f"  (at most {MOST_GROWTH})")
    assert growth <= MOST_GROWTH
