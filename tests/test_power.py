"""POWER: what a suite is said to see is seen so often, by exact sums and by seeded simulation of the tests."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

import promptry


def binomial(n: int, share: float) -> list[float]:
    return [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize("n", [6, 15, 40])
@pytest.mark.parametrize(("noise", "drop"), [(0.0, 0.1), (0.2, 0.1), (0.4, 0.3), (0.9, 0.05)])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.1])
def test_the_power_of_pass_or_fail_is_the_sum_over_all_outcomes(
    n: int, noise: float, drop: float, tolerance: float
) -> None:
    discordant = max(drop, noise + drop * math.sqrt(max(0.0, 1 - 2 * noise)))
    share, power = (discordant + drop) / (2 * discordant), 0.0
    for total, chance in enumerate(binomial(n, discordant)):
        for worse, part in enumerate(binomial(total, share)):
            found = promptry.mcnemar_p(worse, total - worse) <= 0.04 and (2 * worse - total) / n > tolerance + 1e-12
            power += chance * part * found
    assert promptry.power_of(drop, n, noise, True, 0.04, tolerance) == pytest.approx(power, abs=1e-6)


def test_the_least_that_must_be_worse_is_where_mcnemar_finds_it() -> None:
    for alpha in (0.04, 0.04 / 3, 0.5**5):
        for total in (0, 1, 4, 5, 12, 60, 333):
            least = promptry._critical_worse(total, alpha)
            assert least > total or promptry.mcnemar_p(least, total - least) <= alpha
            assert least == 0 or promptry.mcnemar_p(least - 1, total - least + 1) > alpha


@pytest.mark.parametrize("noise", [0.1, 0.25])
def test_power_by_the_normal_limit_meets_the_exact_power(noise: float) -> None:
    for drop in (0.02, 0.04, 0.06):
        exact, limit = (promptry.power_of(drop, n, noise, True, 0.04, 0.01) for n in (1000, 1001))
        assert exact == pytest.approx(limit, abs=0.012)


def test_power_grows_with_the_drop_and_shrinks_with_the_tolerance() -> None:
    for binary in (True, False):
        powers = [promptry.power_of(drop / 100, 60, 0.15, binary, 0.04) for drop in range(2, 40, 3)]
        assert powers == sorted(powers) and powers[-1] > 0.99
        assert promptry.power_of(0.1, 400, 0.15, binary, 0.04, 0.1) <= 0.55, "half of the runs lie within the tolerance"


def needed_of(drop: float, noise: float, binary: bool, tolerance: float = 0.0) -> int | None:
    return promptry.cases_needed(drop, [promptry.Kind(1.0, 100, noise, binary)], 100, 0.04, tolerance)


def test_a_drop_within_the_tolerance_is_seen_by_no_number_of_cases() -> None:
    for binary in (True, False):
        assert needed_of(0.02, 0.1, binary, 0.02) is None
        assert (needed_of(0.024, 0.1, binary, 0.02) or 0) > (needed_of(0.024, 0.1, binary) or 0)
        least = promptry.smallest_drop(100_000, 0.1, binary, 0.04, 0.02)
        assert least is not None and 0.02 < least < 0.025


def test_nothing_is_seen_below_six_pairs_or_where_all_signs_are_too_few() -> None:
    assert not promptry.sees_drop(1.0, 5, 0.1, True, 0.04) and not promptry.sees_drop(1.0, 5, 0.1, False, 0.04)
    assert promptry.sees_drop(1.0, 6, 0.1, False, 0.04) and not promptry.sees_drop(1.0, 6, 0.1, False, 0.01)
    assert promptry.smallest_drop(5, 0.1, True, 0.04) is None


@pytest.mark.slow
def test_the_cases_needed_see_the_drop_and_one_fewer_does_not() -> None:
    for binary, noise in ((True, 0.2), (False, 0.2), (True, 0.0)):
        needed = needed_of(0.1, noise, binary, 0.02)
        assert needed is not None
        assert all(promptry.sees_drop(0.1, needed + more, noise, binary, 0.04, 0.02) for more in range(3))
        assert not promptry.sees_drop(0.1, needed - 1, noise, binary, 0.04, 0.02)


@pytest.mark.slow
def test_a_mean_of_several_kinds_falls_by_what_each_shows() -> None:
    """However a drop falls on the kinds, one of them falls by what is seen in it."""
    steady, noisy, few = (
        promptry.Kind(0.4, 100, 0.01, True),
        promptry.Kind(0.4, 100, 0.2, True),
        promptry.Kind(0.2, 3, 0.1, True),
    )
    alone = [promptry.smallest_drop(kind.units, kind.noise, True, 0.04 / 3, 0.02) for kind in (steady, noisy)]
    assert promptry.smallest_drop(3, 0.1, True, 0.04 / 3, 0.02) is None
    found = promptry.smallest_mean_drop([steady, noisy, few], 0.04, 0.02)
    assert found == pytest.approx(0.4 * sum(alone) + 0.2, abs=0.001)  # type: ignore[arg-type]
    assert promptry.smallest_mean_drop([few], 0.04) is None and promptry.smallest_mean_drop([], 0.04) is None
    needed = promptry.cases_needed(0.1, [steady, noisy, few], 100, 0.04, 0.02)
    assert needed is not None and needed > 100


def test_noise_is_of_pairs_or_of_the_means_of_groups() -> None:
    assert promptry.noise_of([1.0, -1.0, 0.0, 0.0], True) == pytest.approx(0.5)
    assert promptry.noise_of([], False) == pytest.approx(0.1)
    same = [0.3, 0.3, -0.3, -0.3] * 10
    groups = [f"g{place // 2}" for place in range(40)]
    assert promptry.noise_of(same, False, groups) == pytest.approx(promptry.noise_of([0.3, -0.3] * 10, False))
    assert promptry.noise_of(same, True, groups) == pytest.approx(math.sqrt((20 * 0.09 + 0.01) / 20))


# --- simulation: the tests themselves on drawn pairs


def pass_or_fail(draw: random.Random, n: int, drop: float, noise: float) -> float:
    """Two runs of n cases that pass at one rate before and at a lower one now; the p, or 1 within the tolerance."""
    rate = (1 + math.sqrt(1 - 2 * noise)) / 2  # so that noise is the share that differs without a drop
    worse = better = 0
    for _ in range(n):
        before, now = draw.random() < rate, draw.random() < rate - drop
        worse, better = worse + (before and not now), better + (now and not before)
    return promptry.mcnemar_p(worse, better) if (worse - better) / n > 0.02 else 1.0


def graded(draw: random.Random, n: int, drop: float, noise: float) -> float:
    differences = [draw.gauss(-drop, noise) for _ in range(n)]
    return promptry.sign_flip_p(differences) if sum(differences) / n < -0.02 else 1.0


Make = Callable[[random.Random, int, float, float], float]


def share_seen(make: Make, n: int, drop: float, noise: float, rounds: int) -> float:
    draw = random.Random(n)
    return sum(make(draw, n, drop, noise) <= 0.04 for _ in range(rounds)) / rounds


@pytest.mark.simulation
@pytest.mark.parametrize("n", [12, 30, 100, 300, 1200])
@pytest.mark.parametrize("noise", [0.04, 0.15, 0.3])
def test_the_smallest_drop_of_pass_or_fail_is_seen_in_eighty_of_a_hundred_within_three(n: int, noise: float) -> None:
    drop = promptry.smallest_drop(n, noise, True, 0.04, 0.02)
    if drop is None or drop > (1 + math.sqrt(1 - 2 * noise)) / 2:
        pytest.skip("so few cases see no drop that can be")
    rounds = 6_000 if n <= 300 else 2_500
    seen = share_seen(pass_or_fail, n, drop, noise, rounds)
    print(f"n {n}, noise {noise}: a drop of {drop:.3f} is seen in {seen:.1%}")
    assert abs(seen - 0.80) <= 0.03


@pytest.mark.simulation
@pytest.mark.parametrize("n", [8, 12, 26, 60, 300])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_the_smallest_drop_of_scores_is_seen_in_eighty_of_a_hundred_within_three(n: int, noise: float) -> None:
    drop = promptry.smallest_drop(n, noise, False, 0.04, 0.02) or 0.0
    seen = share_seen(graded, n, drop, noise, 1_500 if n > 26 else 2_500)
    print(f"n {n}, noise {noise}: a drop of {drop:.3f} is seen in {seen:.1%}")
    assert abs(seen - 0.80) <= 0.03


@pytest.mark.parametrize(("make", "binary", "n", "noise"), [(pass_or_fail, True, 100, 0.15), (graded, False, 24, 0.2)])
def test_the_smallest_drop_is_seen_about_as_often_as_is_said(make: Make, binary: bool, n: int, noise: float) -> None:
    drop = promptry.smallest_drop(n, noise, binary, 0.04, 0.02) or 0.0
    assert abs(share_seen(make, n, drop, noise, 1_000 if binary else 250) - 0.80) <= 0.06
