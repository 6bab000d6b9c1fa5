"""Benchmark of drift over 30 runs, against what scipy alone takes for the same numbers.

The floor is scipy's regression, ranks and permutation test of the same statistic with as many orders, in one process in
which it is loaded; loading it is printed beside.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_hot_path import percentile, show, spans_of

import promptry

pytestmark = pytest.mark.bench

ORDERS = 1_980


def scipys(values: list[float]) -> Any:
    """Ask scipy for slope, interval, ranks, and the share of random orders that fall as deep."""
    import numpy as np
    from scipy import stats

    n = len(values)
    line = np.array(promptry._contrasts(n)[0])
    steps = np.array(promptry._contrasts(n)[1])

    def deepest(series: Any, axis: int = -1) -> Any:
        moved = np.moveaxis(np.asarray(series), axis, -1)
        centred = moved - moved.mean(axis=-1, keepdims=True)
        total = (centred**2).sum(axis=-1)
        heights = np.concatenate([(centred @ line)[..., None], centred.cumsum(axis=-1)[..., :-1] * steps], axis=-1)
        return (heights * np.sqrt((n - 2) / (total[..., None] - heights**2))).max(axis=-1)

    regression = stats.linregress(range(n), values)
    half = stats.t.ppf(0.975, n - 2) * regression.stderr
    ranks = stats.mannwhitneyu(values[n // 2 :], values[: n // 2], alternative="less")
    p = stats.permutation_test(
        (values,), deepest, permutation_type="pairings", n_resamples=ORDERS, alternative="greater",
        vectorized=True, rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    return regression.slope, half, ranks.pvalue, p


def test_drift_of_thirty_runs_is_at_most_twice_scipy_alone(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    promptry.use_store(tmp_path / "store.db")
    draw = random.Random(1)
    rows = []
    for name, drop in (("steady", 0.0), ("falling", 0.1)):
        scores = [0.8 + draw.gauss(0, 0.04) - drop * (place >= 20) for place in range(30)]
        insert = "INSERT INTO eval_runs (suite_name, overall_score) VALUES (?, ?)"
        promptry.connect().executemany(insert, [(name, score) for score in scores])
        found, (slope, _, ranks, p) = promptry.check_drift(name), scipys(scores)
        assert found.slope == pytest.approx(slope) and found.shift_p == pytest.approx(ranks)
        assert found.p is not None and (found.p <= 0.05) == (p <= 0.05)
        mine: list[float] = []
        least: list[float] = []
        for _ in range(15):
            mine += spans_of(lambda name=name: promptry.check_drift(name), 1)
            least += spans_of(lambda scores=scores: scipys(scores), 1)
        spans = percentile(mine, 0.5), percentile(least, 0.5)
        rows.append(
            (f"drift of 30 runs, {name}", *(f"{span * 1e3:.1f} ms" for span in spans), spans[0] / spans[1], "2.0")
        )
    loading = spans_of(lambda: subprocess.run([sys.executable, "-c", "import scipy.stats"], check=True), 3)
    show([*rows, ("(loading scipy.stats)", f"{percentile(loading, 0.5) * 1e3:.0f} ms", "", 0.0, "")])
    assert all(row[3] <= 2.0 for row in rows)
