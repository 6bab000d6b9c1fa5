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
    for function in (promptry.mcnemar_p, promptry.holm, promptry.student_tail):
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


def test_students_quantiles_equal_scipys_to_nine_places() -> None:
    stats = pytest.importorskip("scipy.stats")
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
    values = [0.81, 0.82, 0.8, 0.79, 0.83, 0.6, 0.61, 0.6]
    assert promptry.spread(values) == pytest.approx(stats.tstd(values), abs=1e-12)
