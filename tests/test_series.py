"""SERIES: slope, step, newest and ranks: worked out by hand, equal to scipy's, and a fall's p against all orders."""

from __future__ import annotations

import doctest
import math
import random

import pytest

import promptry


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner()
    for function in (
        promptry.slope_of,
        promptry.newest_z,
        promptry.newest_p,
        promptry.mann_whitney_p,
        promptry.benjamini_hochberg,
        promptry.change_of,
    ):
        for found in finder.find(function, function.__name__, globs=vars(promptry).copy()):
            assert found.examples, function.__name__
            runner.run(found)
    assert runner.summarize().failed == 0


SERIES = [0.9, 0.8, 0.85, 0.9, 0.7, 0.75, 0.75, 0.6]


def test_the_slope_and_its_interval_are_those_worked_out_by_hand() -> None:
    # 1, 2, 2, 4, 6: sum of squares 10, slope 12 / 10, rest 16 - 14.4 = 1.6; t of 3 degrees 3.182446305284263.
    slope, (low, high) = promptry.slope_of([1.0, 2.0, 2.0, 4.0, 6.0])
    half = 3.182446305284263 * math.sqrt(1.6 / 3 / 10)
    assert (slope, low, high) == pytest.approx((1.2, 1.2 - half, 1.2 + half), rel=1e-9)


def test_mann_whitney_is_that_worked_out_by_hand() -> None:
    def below(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    # No tie: U = 0 is one of the 20 ways to choose three ranks; U = 1 is one more.
    assert promptry.mann_whitney_p([1, 2, 3], [4, 5, 6]) == pytest.approx(1 / 20, rel=1e-12)
    assert promptry.mann_whitney_p([1, 2, 4], [3, 5, 6]) == pytest.approx(2 / 20, rel=1e-12)
    # Nine beside nine: U = 0 of 81, mean 40.5, variance 81 * 19 / 12.
    nine = [*range(9)], [*range(9, 18)]
    assert promptry.mann_whitney_p(*nine) == pytest.approx(below(-40 / math.sqrt(128.25)), rel=1e-12)
    # Ranks of 1 1 2 | 1 2 3 are 2 2 4.5 | 2 4.5 6: U = 2.5; ties of 3 and 2 take (24 + 6) / 30 from the 7.
    assert promptry.mann_whitney_p([1, 1, 2], [1, 2, 3]) == pytest.approx(below(-1.5 / math.sqrt(4.5)), rel=1e-12)
    assert promptry.mann_whitney_p([1, 1, 1], [1, 1, 1]) == 1.0
    assert promptry.mann_whitney_p([4, 5, 6], [1, 2, 3]) == pytest.approx(1.0, rel=1e-12)


def test_benjamini_and_hochbergs_adjustment_keeps_order_and_bounds() -> None:
    assert promptry.benjamini_hochberg([]) == []
    assert promptry.benjamini_hochberg([0.2]) == [0.2]
    assert promptry.benjamini_hochberg([0.005, 0.9, 0.02, 0.04]) == pytest.approx([0.02, 0.9, 0.04, 0.16 / 3])


VECTORS = [
    SERIES,
    [0.9, 0.93, 0.88, 0.7, 0.72, 0.69],
    [1.0, 0.95, 1.0, 1.0, 0.9, 0.85, 1.0, 0.8, 0.95, 0.9, 0.75, 0.8, 0.9],
    [0.8 + math.sin(place * place) / 20 - place / 500 for place in range(30)],
    [round(0.8 + math.sin(place * place) / 10, 1) for place in range(31)],
    [1200.0 + 300 * math.cos(3 * place) for place in range(200)],
]


@pytest.mark.parametrize("values", VECTORS, ids=len)
def test_slope_z_and_ranks_equal_scipys_to_nine_places(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = stats.linregress(range(len(values)), values)
    half = stats.t.ppf(0.975, len(values) - 2) * found.stderr
    slope, interval = promptry.slope_of(values)
    assert (slope, *interval) == pytest.approx((found.slope, found.slope - half, found.slope + half), abs=1e-9)
    others = stats.describe(values[:-1])
    assert promptry.newest_z(values) == pytest.approx((values[-1] - others.mean) / others.variance**0.5, abs=1e-9)
    cut = len(values) - len(values) // 2
    for recent, older in ((values[cut:], values[:cut]), (values[:cut], values[cut:]), (values[:2], values[2:])):
        expected = stats.mannwhitneyu(recent, older, alternative="less", method="auto").pvalue
        assert promptry.mann_whitney_p(recent, older) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (2, 5), (5, 2), (8, 8), (8, 15), (15, 8), (9, 9), (15, 15)])
def test_ranks_without_ties_equal_scipys_exactly_up_to_eight_and_by_its_limit_beyond(n: int, m: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = sorted(range(n + m), key=lambda place: math.sin(7 * place))
    for shift in range(0, n + m, 2):
        recent, older = [value - shift + 0.5 for value in values[:n]], [float(value) for value in values[n:]]
        method = "exact" if min(n, m) <= 8 else "asymptotic"
        expected = stats.mannwhitneyu(recent, older, alternative="less", method=method).pvalue
        assert promptry.mann_whitney_p(recent, older) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("p_values", [[0.01, 0.2, 0.03, 0.03], [0.5], [0.04] * 5, [0.001, 0.9, 0.02, 1.0, 0.04, 0.0]])
def test_benjamini_and_hochbergs_adjustment_equals_scipys(p_values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    adjusted = list(stats.false_discovery_control(p_values))
    assert promptry.benjamini_hochberg(p_values) == pytest.approx(adjusted, abs=1e-9)


def test_the_p_of_the_newest_is_that_worked_out_by_hand() -> None:
    # Below 1.0 lie 0, 0.1, 0.3 and 25 times 0.08, in all 2.4; the gap is 0.6, the exponent 2 + 25: 1.25 ** -27 / 4.
    assert promptry.newest_p([0.9, 1.0, 0.7, 0.1]) == pytest.approx(0.8**27 / 4, rel=1e-12)
    assert promptry.newest_p([0.9, 1.0, 0.7, 0.1], 0.3) == pytest.approx((7.9 / 8.5) ** 27 / 4, rel=1e-12)
    for newest in (0.7, 0.8, 1.0):
        assert promptry.newest_p([0.9, 1.0, 0.7, newest]) == 1.0, "another was as low"


@pytest.mark.parametrize(
    "values", [[*values, min(values) - fall] for values in VECTORS for fall in (0.05, 0.4)], ids=len
)
def test_the_p_of_the_newest_is_scipys_lomax_tail_once_in_n_and_f_without_what_is_usual(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    *others, newest = values
    below, gap, n = sum(max(others) - value for value in others), min(others) - newest, len(values)
    expected = stats.lomax.sf(gap, c=n - 2 + 25, scale=below + 25 * 0.08) / n
    assert promptry.newest_p(values) == pytest.approx(expected, rel=1e-9)
    freedom = n - 2 + 25
    assert promptry.newest_p(values, 1e-15) * n == pytest.approx(
        stats.f.sf(gap / (below / freedom), 2, 2 * freedom), rel=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 12, 21, 60])
@pytest.mark.parametrize("suites", [1, 10, 50])
def test_the_newest_of_a_few_or_many_independent_scores_is_seldom_found(n: int, suites: int) -> None:
    draw, rounds, least = random.Random(n), 4000, 0.05 / suites
    for tail in (0.05, 0.1):  # skewed: the others lie below 1 as the gap does, so that the p is that of an exponential
        series = ([1 - min(1.0, draw.expovariate(1 / tail)) for _ in range(n)] for _ in range(rounds))
        found = sum(3 * promptry.newest_p(values) <= least for values in series) / rounds
        assert found <= least / 2 + 2 * math.sqrt(least / 2 / rounds), (tail, found)


def test_means_of_groups_of_one_size_are_only_centred() -> None:
    sums, squares = [20.0, 30.0, 25.0, 45.0], [50.0, 120.0, 70.0, 300.0]
    middle = sum(sums) / 40
    assert promptry.even_means([10] * 4, sums, squares) == pytest.approx(
        [(total / 10 - middle) / middle for total in sums], abs=1e-12
    )


def test_a_mean_of_few_values_is_drawn_in_where_values_swing_and_kept_where_only_groups_do() -> None:
    # Values 0 and 2, so 1 in the middle: one value alone lies far out; as seldom as others, once it is made even.
    swinging = promptry.even_means([100, 100, 100, 1], [100.0, 104.0, 96.0, 2.0], [200.0, 208.0, 192.0, 4.0])
    assert abs(swinging[3]) < 3 * abs(swinging[1])
    steady = promptry.even_means([100, 100, 1], [100.0, 200.0, 2.0], [100.0, 400.0, 4.0])
    assert steady[2] == pytest.approx(steady[1], abs=1e-9), "within a day all calls are the same"


@pytest.mark.parametrize(
    ("counts", "sums", "squares"), [([1] * 6, [0.0] * 6, [0.0] * 6), ([3, 1, 2], [6.0, 2.0, 4.0], [12.0, 4.0, 8.0])]
)
def test_constant_means_have_no_fall(counts: list[int], sums: list[float], squares: list[float]) -> None:
    assert promptry.even_means(counts, sums, squares) == [0.0] * len(counts)
    assert promptry.fall_of(promptry.even_means(counts, sums, squares)).p == 1.0


def test_even_means_do_not_depend_on_the_unit() -> None:
    counts, sums, squares = [5, 50, 7, 20], [6.0, 48.0, 9.0, 30.0], [9.0, 60.0, 16.0, 60.0]
    found = promptry.even_means(counts, sums, squares)
    scaled = promptry.even_means(counts, [value / 1e6 for value in sums], [value / 1e12 for value in squares])
    assert scaled == pytest.approx(found, rel=1e-9)


def test_the_p_of_a_fall_is_the_share_of_all_orders_that_reach_it() -> None:
    values = [0.9, 0.93, 0.88, 0.7, 0.72, 0.69]
    # Of 720 orders those reach the step of three that put the same three last: 3! * 3!; no line or other step does.
    assert promptry.fall_of(values).p == pytest.approx(36 / 720, abs=0.012)
    assert promptry.fall_of(values[::-1]).p > 0.5


def test_a_fall_does_not_depend_on_the_scale_or_on_what_was_asked_before() -> None:
    values = [0.9 - place % 4 / 50 - (place > 20) / 30 for place in range(30)]
    first = promptry.fall_of(values)
    assert promptry.fall_of([value / 7 for value in values]).p == pytest.approx(first.p, abs=1e-3)
    promptry.fall_of(SERIES)
    assert promptry.fall_of(values) == first
