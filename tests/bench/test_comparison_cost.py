"""Benchmark of a comparison: two saved runs of 10,000 cases, against scipy doing the same tests on arrays at hand."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = pytest.mark.bench

CASES = 10_000
HISTORY = 5


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a baseline with earlier runs of its version and a judged run: a check of pass or fail and a score a case."""
    path = tmp_path_factory.mktemp("comparison") / "store.db"
    promptry.use_store(path)
    promptry.save_prompt("p", "text")
    promptry.save_prompt("p", "other")
    draw = random.Random(1)
    connection = promptry.connect()
    rates = [draw.betavariate(4.5, 0.5) for _ in range(CASES)]
    for run in range(1, HISTORY + 2):
        facts = (run, "quiz", "p", 1 if run <= HISTORY else 2, 1)
        connection.execute(
            "INSERT INTO eval_runs (id, suite_name, prompt_name, prompt_version, overall_pass) VALUES (?, ?, ?, ?, ?)",
            facts,
        )
        rows = []
        for number, rate in enumerate(rates):
            held, details = float(draw.random() < rate), '{"expected": "a", "actual": "b", "repeat": 0}'
            rows.append((run, f"c{number:05}", "exact", int(held), held, details))
            rows.append((run, f"c{number:05}", "graded", 1, round(draw.betavariate(4, 2), 3), details))
        connection.executemany(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
    return path


def scipys_tests(runs: list[dict[str, Any]]) -> Callable[[], None]:
    """Return what does the same tests with scipy alone, on arrays that are ready.

    The scores' permutations are drawn 9,999 times, as scipy does by default: it has no exact way for so many.
    """
    import numpy
    from scipy import stats

    before, now = ([[check["score"] for check in row["checks"]] for row in run["cases"]] for run in runs)
    differences = numpy.array(now) - numpy.array(before)
    counts = promptry.case_tries(runs[1]["cases"])
    tries = promptry.query("compare_runs", 1, run=int(runs[1]["id"]), baseline=int(runs[0]["id"]))
    tables = [
        [[counts[row["case"]][0], counts[row["case"]][1] - counts[row["case"]][0]],
         [row["passed"], row["tries"] - row["passed"]]]
        for row in tries
    ]  # fmt: skip

    def work() -> None:
        worse, better = int((differences[:, 0] < 0).sum()), int((differences[:, 0] > 0).sum())
        stats.binomtest(worse, worse + better, alternative="greater")
        stats.permutation_test(
            (differences[:, 1],),
            lambda values, axis: numpy.sum(values, axis=axis),
            permutation_type="samples",
            alternative="less",
            vectorized=True,
            batch=100,
        )
        for table in tables:
            stats.fisher_exact(table, alternative="less")

    return work


def test_a_comparison_of_ten_thousand_cases_costs_no_more_than_twice_scipys_tests(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promptry.use_store(filled)
    runs = [promptry.get_run(str(run)) for run in (HISTORY, HISTORY + 1)]
    theirs_s = seconds_of(scipys_tests(runs))
    found: list[promptry.Comparison] = []
    ours_s = min(
        seconds_of(lambda: found.append(promptry.compare_runs(runs[1]["id"], runs[0]["id"]))) for _ in range(3)
    )
    loaded_s = min(seconds_of(lambda: promptry.compare_loaded(runs[1], runs[0])) for _ in range(3))
    with capsys.disabled():
        print(f"\ncomparison of {CASES:,} cases, 2 checks each, {HISTORY - 1} earlier runs: verdict {found[0].verdict}")
        print(f"  from the store {ours_s:.2f} s, once read {loaded_s:.2f} s; scipy's tests alone {theirs_s:.2f} s")
        print(f"  ratio {ours_s / theirs_s:.2f} (goal: at most 2)")
    assert found[0].n == CASES
    assert ours_s / theirs_s <= 2
