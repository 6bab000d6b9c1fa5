"""STATISTICS: the tests against exact enumeration and scipy, the distributions against printed tables."""

from __future__ import annotations

import doctest
import itertools
import math
import random
import time

import pytest

import promptry


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner()
    exemplary = [promptry.mcnemar_p, promptry.holm, promptry.student_tail, promptry.slope_of]
    exemplary += [promptry.newest_z, promptry.benjamini_hochberg, promptry.change_of]
    for function in exemplary:
        for found in finder.find(function, function.__name__, globs=vars(promptry).copy()):
            assert found.examples, function.__name__
            runner.run(found)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize(
    ("worse", "better", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 0.5),
        (0, 1, 1.0),
        (4, 0, 0.0625),
        (5, 0, 0.03125),
        (10, 2, 79 / 4096),
        (9, 1, 11 / 1024),
        (30, 10, 0.0011107169),
    ],
)
def test_mcnemar_gives_the_known_values(worse: int, better: int, p: float) -> None:
    assert promptry.mcnemar_p(worse, better) == pytest.approx(p, rel=1e-6)


def test_mcnemar_equals_the_count_of_all_ways_to_fall() -> None:
    for total in range(9):
        falls = [sum(way) for way in itertools.product((0, 1), repeat=total)]
        for worse in range(total + 1):
            share = sum(fall >= worse for fall in falls) / len(falls)
            assert promptry.mcnemar_p(worse, total - worse) == pytest.approx(share)


def test_mcnemar_of_ten_thousand_cases_neither_overflows_nor_takes_long() -> None:
    assert promptry.mcnemar_p(10_000, 0) < 1e-300
    assert promptry.mcnemar_p(0, 10_000) == pytest.approx(1.0)
    assert promptry.mcnemar_p(5_100, 4_900) == pytest.approx(0.5 * math.erfc(1.99 / math.sqrt(2)), rel=0.01)


@pytest.mark.bench
def test_mcnemar_of_ten_thousand_cases_costs_a_few_thousand_additions() -> None:
    def took(worse: int, better: int) -> float:
        began = time.perf_counter()
        promptry.mcnemar_p(worse, better)
        return time.perf_counter() - began

    def floor() -> float:
        """The same sum by Python's log-gamma."""
        began = time.perf_counter()
        sum(
            math.exp(math.lgamma(10_001) - math.lgamma(k + 1) - math.lgamma(10_001 - k) - 6931.47)
            for k in range(10_001)
        )
        return time.perf_counter() - began

    ratio = took(0, 10_000) / min(floor() for _ in range(3))
    print(f"mcnemar_p(0, 10000): {ratio:.0f} x the floor")
    assert ratio < 50


def test_holm_equals_closed_testing_by_bonferroni() -> None:
    draw = random.Random(2)
    for count in range(1, 7):
        values = [round(draw.random() ** 3, 4) for _ in range(count)]
        subsets = [subset for size in range(1, count + 1) for subset in itertools.combinations(range(count), size)]
        closed = [
            max(min(1.0, len(subset) * min(values[place] for place in subset)) for subset in subsets if own in subset)
            for own in range(count)
        ]
        assert promptry.holm(values) == pytest.approx(closed)


def test_holm_of_nothing_is_nothing() -> None:
    assert promptry.holm([]) == []


@pytest.mark.parametrize("tries", range(1, 8))
def test_pass_k_is_the_mean_over_all_choices_of_k_tries(tries: int) -> None:
    for passed in range(tries + 1):
        outcomes = [True] * passed + [False] * (tries - passed)
        for k in range(1, tries + 1):
            chosen = list(itertools.combinations(outcomes, k))
            assert promptry.pass_all(passed, tries, k) == pytest.approx(sum(map(all, chosen)) / len(chosen), abs=1e-12)
            assert promptry.pass_any(passed, tries, k) == pytest.approx(sum(map(any, chosen)) / len(chosen), abs=1e-12)


# --- a series: the numbers are worked out by hand or stand in printed tables, and equal scipy's where that is installed

SERIES = [0.9, 0.8, 0.85, 0.9, 0.7, 0.75, 0.75, 0.6]


@pytest.mark.parametrize(
    ("freedom", "t"),
    [
        (1, 12.706204736432095),
        (2, 4.302652729911275),
        (4, 2.7764451051977987),
        (5, 2.5705818366147395),
        (10, 2.2281388519649385),
        (28, 2.048407141795244),
        (100, 1.983971518449634),
    ],
)
def test_students_quantiles_are_those_of_the_tables(freedom: int, t: float) -> None:
    assert promptry.t_quantile(freedom) == pytest.approx(t, rel=1e-9)
    assert promptry.student_tail(-t, freedom) == pytest.approx(0.025, abs=1e-9)
    assert promptry.student_tail(t, freedom) == pytest.approx(0.975, abs=1e-9)


def test_students_quantile_of_two_degrees_is_its_closed_form() -> None:
    assert promptry.t_quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)


def test_students_quantile_goes_on_where_newton_is_no_longer_needed() -> None:
    assert promptry.t_quantile(199) > promptry.t_quantile(200) > promptry.t_quantile(201) > 1.9599
    assert promptry.student_tail(-promptry.t_quantile(200), 200) == pytest.approx(0.025, abs=1e-10)


def test_the_slope_and_its_interval_are_those_worked_out_by_hand() -> None:
    # 1, 2, 2, 4, 6: sum of squares 10, slope 12 / 10, rest 16 - 14.4 = 1.6; t of 3 degrees 3.182446305284263.
    slope, (low, high) = promptry.slope_of([1.0, 2.0, 2.0, 4.0, 6.0])
    half = 3.182446305284263 * math.sqrt(1.6 / 3 / 10)
    assert (slope, low, high) == pytest.approx((1.2, 1.2 - half, 1.2 + half), rel=1e-9)


def test_mann_whitney_is_that_worked_out_by_hand() -> None:
    def below(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    # No tie: U = 0 of 9, mean 4.5, variance 9 * 7 / 12.
    assert promptry.mann_whitney_p([1, 2, 3], [4, 5, 6]) == pytest.approx(below(-4 / math.sqrt(5.25)), rel=1e-12)
    # Ranks of 1 1 2 | 1 2 3 are 2 2 4.5 | 2 4.5 6: U = 2.5; ties of 3 and 2 take (24 + 6) / 30 from the 7.
    assert promptry.mann_whitney_p([1, 1, 2], [1, 2, 3]) == pytest.approx(below(-1.5 / math.sqrt(4.5)), rel=1e-12)
    assert promptry.mann_whitney_p([1, 1, 1], [1, 1, 1]) == 1.0
    assert promptry.mann_whitney_p([4, 5, 6], [1, 2, 3]) == pytest.approx(below(5 / math.sqrt(5.25)), rel=1e-12)


def test_benjamini_and_hochbergs_adjustment_keeps_order_and_bounds() -> None:
    assert promptry.benjamini_hochberg([]) == []
    assert promptry.benjamini_hochberg([0.2]) == [0.2]
    assert promptry.benjamini_hochberg([0.005, 0.9, 0.02, 0.04]) == pytest.approx([0.02, 0.9, 0.04, 0.16 / 3])


def test_the_series_equals_scipy_to_nine_places() -> None:
    from scipy import stats

    found = stats.linregress(range(len(SERIES)), SERIES)
    half = stats.t.ppf(0.975, len(SERIES) - 2) * found.stderr
    slope, interval = promptry.slope_of(SERIES)
    assert (slope, *interval) == pytest.approx((found.slope, found.slope - half, found.slope + half), abs=1e-9)
    expected = stats.mannwhitneyu(SERIES[4:], SERIES[:4], alternative="less", method="asymptotic").pvalue
    assert promptry.mann_whitney_p(SERIES[4:], SERIES[:4]) == pytest.approx(expected, abs=1e-9)
    p_values = [0.01, 0.2, 0.03, 0.03]
    adjusted = stats.false_discovery_control(p_values)
    assert promptry.benjamini_hochberg(p_values) == pytest.approx(list(adjusted), abs=1e-9)
    for freedom in (1, 2, 5, 28, 150, 200, 1000):
        assert promptry.t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-9)


def test_the_tests_and_distributions_equal_scipy_to_nine_places() -> None:
    from scipy import stats

    for worse, better in ((0, 0), (1, 0), (3, 9), (17, 4), (230, 200), (600, 520), (5_100, 4_900)):
        total = worse + better
        expected = stats.binomtest(worse, total, alternative="greater").pvalue if total else 1.0
        assert promptry.mcnemar_p(worse, better) == pytest.approx(expected, abs=1e-9)
    for z in (-8.0, -1.75, 0.0, 0.3, 4.0):
        assert promptry.normal_tail(z) == pytest.approx(stats.norm.cdf(z), abs=1e-12)
    for t, freedom in ((-2.5, 1), (-1.7, 2), (0.4, 7), (3.1, 40), (-2.0, 333)):
        assert promptry.student_tail(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-9)
    assert promptry.spread(SERIES) == pytest.approx(stats.tstd(SERIES), abs=1e-12)


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
