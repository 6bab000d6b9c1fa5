"""STATISTICS: the tests against exact enumeration, the intervals and the power against seeded simulation."""

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
    for function in (promptry.mcnemar_p, promptry.sign_flip_p, promptry.holm, promptry.student_tail):
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


def enumerated_p(differences: list[float]) -> float:
    """The oracle: every choice of signs, none left out."""
    seen = math.fsum(differences) + 1e-12
    ways = list(itertools.product((-1, 1), repeat=len(differences)))
    return sum(
        math.fsum(sign * abs(value) for sign, value in zip(way, differences, strict=True)) <= seen for way in ways
    ) / len(ways)


@pytest.mark.parametrize(
    "differences",
    [
        [],
        [0.0],
        [-0.5],
        [0.5],
        [-0.5, -0.2, -0.1],
        [-0.5, 0.2, -0.1, 0.0, 0.0],
        [-0.1] * 6,
        [-0.1, 0.1, -0.1, 0.3, -0.3, 0.2, -0.7],
        [-0.25, -0.25, 0.25, 0.5, -1.0, -0.125, 0.0625, -0.3, -0.9],
    ],
)
def test_sign_flips_equal_the_enumeration_of_all_signs(differences: list[float]) -> None:
    assert promptry.sign_flip_p(differences) == pytest.approx(enumerated_p(differences))


def test_sign_flips_that_are_drawn_come_near_the_enumeration() -> None:
    draw = random.Random(5)
    for size in (13, 15):
        differences = [round(draw.gauss(-0.1, 0.3), 2) or 0.01 for _ in range(size)]
        p = enumerated_p(differences)
        assert promptry.sign_flip_p(differences) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 9_999) + 2e-4)


def test_sign_flips_of_equal_sizes_equal_mcnemar_whatever_the_method() -> None:
    for worse, better in ((8, 4), (20, 8), (230, 200)):
        differences = [-0.5] * worse + [0.5] * better
        assert promptry.sign_flip_p(differences) == pytest.approx(promptry.mcnemar_p(worse, better), abs=0.025)


def test_sign_flips_never_answer_zero_and_answer_the_same_twice() -> None:
    differences = [-0.5] * 40
    assert 0 < promptry.sign_flip_p(differences) <= 1e-4
    mixed = [-0.3, 0.2] * 20 + [-0.1] * 5
    assert promptry.sign_flip_p(mixed) == promptry.sign_flip_p(mixed)


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


@pytest.mark.parametrize(("n", "quantile"), [(6, 2.570582), (10, 2.262157), (31, 2.042272), (1001, 1.962339)])
def test_the_interval_of_scores_is_students(n: int, quantile: float) -> None:
    differences = [0.1 * (place % 2 * 2 - 1) + 0.001 * place / n for place in range(n)]
    middle = sum(differences) / n
    deviation = math.sqrt(sum((value - middle) ** 2 for value in differences) / (n - 1))
    low, high = promptry.paired_interval(differences, binary=False) or (0, 0)
    assert (high - low) / 2 == pytest.approx(quantile * deviation / math.sqrt(n), rel=0.004)
    assert (high + low) / 2 == pytest.approx(middle)


def test_there_is_no_interval_below_six_pairs() -> None:
    assert promptry.paired_interval([-1.0] * 5, binary=True) is None
    assert promptry.paired_interval([-0.1] * 5, binary=False) is None


def test_intervals_stay_between_minus_one_and_one() -> None:
    for differences in ([-1.0] * 6, [1.0] * 6, [0.9, -0.9] * 3):
        low, high = promptry.paired_interval(differences, all(abs(value) == 1 for value in differences)) or (9, 9)
        assert -1.0 <= low <= high <= 1.0


def test_the_interval_of_a_change_that_was_the_same_everywhere_is_not_a_point() -> None:
    low, high = promptry.paired_interval([-0.25] * 6, binary=False) or (0, 0)
    assert low < -0.25 < high, "six pairs do not make a difference known to the last digit"


@pytest.mark.parametrize("n", [8, 20, 60, 200])
@pytest.mark.parametrize(("up", "down"), [(0.05, 0.05), (0.1, 0.3), (0.0, 0.15)])
def test_the_interval_of_pass_or_fail_covers_the_truth(n: int, up: float, down: float) -> None:
    draw = random.Random(n)
    rounds, held = 1_000, 0
    for _ in range(rounds):
        values = [draw.random() for _ in range(n)]
        differences = [1.0 if value < up else -1.0 if value < up + down else 0.0 for value in values]
        low, high = promptry.paired_interval(differences, binary=True) or (0, 0)
        held += low <= up - down <= high
    assert held / rounds >= 0.93


@pytest.mark.parametrize("n", [6, 12, 40])
def test_the_interval_of_scores_covers_the_truth(n: int) -> None:
    draw = random.Random(n)
    rounds, held = 1_000, 0
    for _ in range(rounds):
        low, high = promptry.paired_interval([draw.gauss(-0.05, 0.3) for _ in range(n)], binary=False) or (0, 0)
        held += low <= -0.05 <= high
    assert 0.93 <= held / rounds <= 0.975


def binomial(n: int, share: float) -> list[float]:
    return [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]


def test_pass_or_fail_can_see_a_drop_exactly_where_its_power_reaches_80_percent() -> None:
    """With nothing discordant seen, a drop of 0.1 means that one case in ten falls and none rises."""

    def power(n: int) -> float:
        return sum(chance for fallen, chance in enumerate(binomial(n, 0.1)) if 0.5**fallen <= 0.04)

    smallest = next(n for n in range(6, 200) if power(n) >= 0.8)
    seen = [promptry.can_see(0.1, [0.0] * n, True, 0.04) for n in (smallest - 1, smallest)]
    assert seen == [False, True], f"the power reaches 80 % at {smallest} pairs"


@pytest.mark.parametrize(("discordant", "drop"), [(0.2, 0.1), (0.3, 0.2)])
def test_the_drop_that_pass_or_fail_can_see_is_seen_in_simulation(discordant: float, drop: float) -> None:
    def powered(n: int) -> bool:
        count = round(discordant * (n + 2)) - 1
        return promptry.can_see(
            drop, [1.0, -1.0] * (count // 2) + [1.0] * (count % 2) + [0.0] * (n - count), True, 0.04
        )

    n = next(n for n in range(20, 400, 10) if powered(n))
    draw = random.Random(1)
    rounds, hits = 1_000, 0
    for _ in range(rounds):
        values = [draw.random() for _ in range(n)]
        worse = sum(value < (discordant + drop) / 2 for value in values)
        better = sum((discordant + drop) / 2 <= value < discordant for value in values)
        hits += promptry.mcnemar_p(worse, better) <= 0.04
    assert 0.74 <= hits / rounds <= 0.92


@pytest.mark.parametrize("n", [299, 301])
def test_power_by_the_normal_limit_meets_the_exact_power(n: int) -> None:
    """The exact power of 300 such pairs is 0.60 for a drop of 0.04 and 0.93 for one of 0.06."""
    differences = [0.0] * (n - 30) + [1.0, -1.0] * 15
    assert [promptry.can_see(drop, differences, True, 0.04) for drop in (0.04, 0.06)] == [False, True]


@pytest.mark.simulation
def test_the_drop_that_scores_can_see_is_seen_in_simulation() -> None:
    draw = random.Random(4)

    def sample(n: int, middle: float) -> list[float]:
        return [draw.gauss(middle, 0.2) for _ in range(n)]

    spread = [0.2, -0.2]
    n = next(n for n in range(6, 200, 2) if promptry.can_see(0.1, spread * (n // 2), False, 0.04))
    assert 24 <= n <= 34
    rounds = 150
    hits = sum(promptry.sign_flip_p(sample(n, -0.1)) <= 0.04 for _ in range(rounds))
    assert hits / rounds >= 0.70
    few = sum(promptry.sign_flip_p(sample(10, -0.1)) <= 0.04 for _ in range(rounds))
    assert few / rounds < 0.70
    assert not promptry.can_see(0.1, spread * 5, False, 0.04)


def test_nothing_is_seen_below_six_pairs() -> None:
    assert not promptry.can_see(1.0, [0.0] * 5, True, 0.04)
    assert not promptry.can_see(1.0, [0.1] * 5, False, 0.04)


@pytest.mark.simulation
@pytest.mark.parametrize("n", [6, 10, 30])
def test_false_alarms_of_the_paired_tests_are_no_more_than_alpha(n: int) -> None:
    draw = random.Random(n)
    rounds = 400 if n <= 12 else 100
    binary = scores = 0
    for _ in range(rounds):
        values = [draw.choice((-1, -1, 0, 0, 0, 1, 1)) for _ in range(n)]
        binary += promptry.mcnemar_p(values.count(-1), values.count(1)) <= 0.04
        scores += promptry.sign_flip_p([draw.gauss(0, 0.2) for _ in range(n)]) <= 0.04
    limit = 0.04 + 3 * math.sqrt(0.04 * 0.96 / rounds)
    assert binary / rounds <= limit
    assert scores / rounds <= limit


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
