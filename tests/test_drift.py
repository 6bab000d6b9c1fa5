"""DRIFT: the rule's false alarms and power by seeded simulation, the change point, and what the command says."""

from __future__ import annotations

import datetime
import json
import math
import random
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

import promptry
from promptry import DriftReport, check_drift

Series = Callable[[random.Random, int], list[float]]


def add_runs(raw: sqlite3.Connection, scores: list[float | None], name: str = "qa", **columns: str) -> None:
    """Add runs with these scores; a column is given by name, the same for all of them."""
    names = ", ".join(["suite_name", "overall_score", *columns])
    marks = ", ".join("?" * (2 + len(columns)))
    rows = [(name, score, *columns.values()) for score in scores]
    raw.executemany(f"INSERT INTO eval_runs ({names}) VALUES ({marks})", rows)


# --- the rates, by simulation: a few hundred series each time, thousands with -m simulation


def correlated(draw: random.Random, n: int, rho: float) -> list[float]:
    values = [draw.gauss(0, 1)]
    while len(values) < n:
        values.append(rho * values[-1] + math.sqrt(1 - rho * rho) * draw.gauss(0, 1))
    return values


def normal(draw: random.Random, n: int) -> list[float]:
    return [0.8 + draw.gauss(0, 0.04) for _ in range(n)]


def tied(draw: random.Random, n: int, chance: float = 0.9) -> list[float]:
    return [sum(draw.random() < chance for _ in range(20)) / 20 for _ in range(n)]


def nearly_perfect(draw: random.Random, n: int) -> list[float]:
    return tied(draw, n, 0.98)


def skewed(draw: random.Random, n: int) -> list[float]:
    return [1 - min(1.0, draw.expovariate(20)) for _ in range(n)]


def heavy(draw: random.Random, n: int) -> list[float]:
    return [0.0 if draw.random() < 0.04 else 0.9 + draw.gauss(0, 0.02) for _ in range(n)]


def lagged(draw: random.Random, n: int) -> list[float]:
    return [0.8 + 0.04 * value for value in correlated(draw, n, 0.3)]


def lagged_ties(draw: random.Random, n: int) -> list[float]:
    return [round(20 * min(1.0, max(0.0, 0.85 + 0.06 * value))) / 20 for value in correlated(draw, n, 0.3)]


def rising(draw: random.Random, n: int) -> list[float]:
    return [value + 0.005 * (place - n) for place, value in enumerate(normal(draw, n))]


def risen(draw: random.Random, n: int) -> list[float]:
    return [value - 0.1 * (place < 2 * n // 3) for place, value in enumerate(normal(draw, n))]


def fallen(draw: random.Random, n: int) -> list[float]:
    return [value - 0.1 * (place >= 2 * n // 3) for place, value in enumerate(normal(draw, n))]


def declining(draw: random.Random, n: int) -> list[float]:
    return [value - 0.005 * place for place, value in enumerate(normal(draw, n))]


def last_at_zero(draw: random.Random, n: int) -> list[float]:
    return [*normal(draw, n - 1), 0.0]


def last_tied_at_zero(draw: random.Random, n: int) -> list[float]:
    return [*tied(draw, n - 1), 0.0]


def alarm_rate(series: Series, rounds: int, seed: int, n: int = 30) -> float:
    draw = random.Random(seed)
    return sum(promptry.fall_of(series(draw, n)).p <= promptry.DRIFT_ALPHA for _ in range(rounds)) / rounds


SOUND = [(normal, 0.05), (tied, 0.05), (nearly_perfect, 0.05), (skewed, 0.05), (heavy, 0.05)]
SOUND += [(lagged, 0.08), (lagged_ties, 0.08), (rising, 0.02), (risen, 0.02)]
FALLING = [(fallen, 0.95), (declining, 0.90), (last_at_zero, 1.0), (last_tied_at_zero, 1.0)]


def standard_error(share: float, rounds: int) -> float:
    """Return what a rate swings by chance in so many rounds; each limit is met to two of these."""
    return math.sqrt(share * (1 - share) / rounds)


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.slow
@pytest.mark.parametrize(("series", "most"), SOUND, ids=name_of)
def test_what_does_not_fall_is_seldom_found(series: Series, most: float) -> None:
    rounds = 150
    found = alarm_rate(series, rounds, seed=1)
    print(f"\n{series.__name__}: {found:.3f} of {rounds} found, at most {most}")
    assert found <= most + 2 * standard_error(most, rounds)


@pytest.mark.slow
@pytest.mark.parametrize(("series", "least"), FALLING, ids=name_of)
def test_what_falls_is_found(series: Series, least: float) -> None:
    rounds = 40
    found = alarm_rate(series, rounds, seed=2)
    print(f"\n{series.__name__}: {found:.3f} of {rounds} found, at least {least}")
    assert found >= least


@pytest.mark.simulation
@pytest.mark.parametrize(("series", "most"), SOUND, ids=name_of)
def test_false_alarms_are_no_more_than_stated(series: Series, most: float) -> None:
    rounds = 4000
    found = alarm_rate(series, rounds, seed=3)
    print(f"\n{series.__name__}: {found:.4f} (+- {standard_error(most, rounds):.4f}) of {rounds}, at most {most}")
    assert found <= most + 2 * standard_error(most, rounds)


@pytest.mark.simulation
@pytest.mark.parametrize("n", [6, 8, 12, 20, 60])
def test_false_alarms_of_other_windows_are_no_more_than_stated(n: int) -> None:
    for series in (normal, tied, skewed):
        found = alarm_rate(series, 1000, seed=4, n=n)
        print(f"\n{series.__name__}, {n} runs: {found:.4f} of 1000 found")
        assert found <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.simulation
@pytest.mark.parametrize(("series", "least"), FALLING, ids=name_of)
def test_power_is_at_least_as_stated(series: Series, least: float) -> None:
    rounds = 2000
    found = alarm_rate(series, rounds, seed=5)
    print(f"\n{series.__name__}: {found:.4f} (+- {standard_error(least, rounds):.4f}) of {rounds}, at least {least}")
    assert found >= least - 2 * standard_error(least, rounds)


def test_the_change_point_is_within_two_runs_of_the_fall() -> None:
    draw = random.Random(6)
    rounds = 1000
    near = sum(abs((promptry.change_of(fallen(draw, 30)) or 0) - 20) <= 2 for _ in range(rounds))
    print(f"\n{near / rounds:.3f} of {rounds} within two runs, at least 0.8")
    assert near / rounds >= 0.8


@pytest.mark.parametrize("n", [*range(6, 31), 45, 60, 200])
def test_a_last_run_at_zero_is_found_in_every_window(n: int) -> None:
    assert promptry.fall_of(last_at_zero(random.Random(n), n)).p <= 0.05
    assert promptry.fall_of([*[1.0] * (n - 1), 0.0]).p <= 0.05


# --- several suites at once: what one of them must show is found, what none of them shows is not

SUITES = (1, 2, 10, 50)


def perfect(draw: random.Random, n: int) -> list[float]:
    return [1.0] * n


def nearly_always(draw: random.Random, n: int) -> list[float]:
    return tied(draw, n, 0.995)


def often_zero(draw: random.Random, n: int) -> list[float]:
    """Scores of one pass/fail case that fails one time in four, and at least once before: another is no news."""
    values = [float(draw.random() < 0.75) for _ in range(n)]
    values[draw.randrange(n - 1)] = 0.0
    return values


def found_among(values: list[float], suites: int) -> bool:
    """Return whether a suite drifts when so many are asked, of which the others are steady."""
    return promptry.benjamini_hochberg([promptry.fall_of(values).p, *[0.5] * (suites - 1)])[0] <= promptry.DRIFT_ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 7, 10, 20, 21, 22, 30, 60, 200])
@pytest.mark.parametrize("series", [perfect, nearly_always, normal], ids=name_of)
def test_a_last_run_at_zero_is_found_among_many_suites_in_every_window(series: Series, n: int) -> None:
    draw = random.Random(n)
    for _ in range(3):
        values = [*series(draw, n - 1), 0.0]
        assert all(found_among(values, suites) for suites in SUITES), values


def test_a_last_run_at_zero_is_no_less_sure_with_one_run_more() -> None:
    p_values = [promptry.fall_of([*[0.9, 0.92, 0.95] * 3, *[0.9] * (n - 10), 0.0]).p for n in range(15, 40)]
    assert all(after <= before * 1.05 for before, after in zip(p_values, p_values[1:], strict=False))


def test_another_zero_of_a_suite_that_often_has_one_is_not_found() -> None:
    for n in (6, 12, 21, 30, 60):
        for zeros in (1 + n // 15, n // 4):
            places = {number * n // (zeros + 1) for number in range(1, zeros + 1)}
            values = [0.0 if place in places else 0.9 + place % 3 / 50 for place in range(n - 1)]
            assert promptry.newest_p([*values, 0.0]) == 1.0
            assert promptry.fall_of([*values, 0.0]).p > promptry.DRIFT_ALPHA, (n, zeros)


@pytest.mark.simulation
@pytest.mark.parametrize("n", [6, 10, 20, 21, 30, 60])
@pytest.mark.parametrize("series", [perfect, nearly_always, normal, tied], ids=name_of)
def test_a_last_run_at_zero_is_found_among_any_number_of_suites(series: Series, n: int) -> None:
    draw, rounds = random.Random(21), 300
    p_values = [promptry.fall_of([*series(draw, n - 1), 0.0]).p for _ in range(rounds)]
    for suites in SUITES:
        found = sum(p * suites <= promptry.DRIFT_ALPHA for p in p_values) / rounds
        print(f"\n{series.__name__}, {n} runs, {suites} suites: {found:.4f} of {rounds} found")
        assert found >= (0.97 if series is tied and suites == 50 else 1.0)


@pytest.mark.simulation
@pytest.mark.parametrize("n", [6, 12, 21, 30, 60])
@pytest.mark.parametrize("series", [normal, tied, nearly_perfect, skewed, perfect, often_zero], ids=name_of)
def test_of_suites_that_do_not_fall_seldom_any_is_found(series: Series, n: int) -> None:
    draw = random.Random(22)
    p_values = [promptry.fall_of(series(draw, n)).p for _ in range(3000)]
    for suites in SUITES:
        families = [p_values[place : place + suites] for place in range(0, 3000, suites)]
        found = sum(min(promptry.benjamini_hochberg(own)) <= promptry.DRIFT_ALPHA for own in families) / len(families)
        print(f"\n{series.__name__}, {n} runs, {suites} suites: in {found:.4f} of {len(families)} any found")
        assert found <= 0.05 + 2 * standard_error(0.05, len(families))


@pytest.mark.simulation
def test_the_correlation_is_that_of_the_noise_and_not_of_the_fall() -> None:
    draw = random.Random(7)
    means = {}
    for series in (normal, fallen, declining, lagged):
        found = [promptry.fall_of(series(draw, 30)).correlation for _ in range(60)]
        means[series.__name__] = sum(found) / len(found)
    assert all(abs(means[name]) < 0.15 for name in ("normal", "fallen", "declining")), means
    assert 0.15 < means["lagged"] < 0.4, means


@pytest.mark.simulation
def test_the_change_point_of_thousands_is_within_two_runs_in_four_of_five() -> None:
    draw = random.Random(8)
    rounds = 4000
    near = sum(abs((promptry.change_of(fallen(draw, 30), falls_only=True) or 0) - 20) <= 2 for _ in range(rounds))
    print(f"\n{near / rounds:.4f} of {rounds} within two runs, at least 0.8")
    assert near / rounds >= 0.8 - 2 * math.sqrt(0.8 * 0.2 / rounds)


# --- the same of production calls: days of log-normal latencies, of more and fewer calls, with a rhythm of the week

Days = Callable[[random.Random, int], tuple[list[int], list[float], list[float]]]


def days_of(draw: random.Random, sizes: list[int], levels: list[float], spread: float = 1.0) -> Any:
    """Return counts, sums and sums of squares of days of log-normal values; a spread of 1 is that of slow services."""
    days = [
        [level * draw.lognormvariate(0, spread) for _ in range(size)] for size, level in zip(sizes, levels, strict=True)
    ]
    squares = [math.fsum(value * value for value in day) for day in days]
    return sizes, list(map(math.fsum, days)), squares


def steady_days(draw: random.Random, n: int) -> Any:
    return days_of(draw, [20] * n, [1.0] * n)


def few_calls(draw: random.Random, n: int) -> Any:
    return days_of(draw, [draw.choice((1, 2, 3, 5, 8)) for _ in range(n)], [1.0] * n)


def growing_traffic(draw: random.Random, n: int) -> Any:
    return days_of(draw, [2 + 40 * place // n for place in range(n)], [1.0] * n)


def shrinking_traffic(draw: random.Random, n: int) -> Any:
    return days_of(draw, [2 + 40 * (n - place) // n for place in range(n)], [1.0] * n)


def days_that_differ(draw: random.Random, n: int) -> Any:
    return days_of(draw, [2 + 40 * place // n for place in range(n)], [draw.lognormvariate(0, 0.3) for _ in range(n)])


def thin_newest_day(draw: random.Random, n: int) -> Any:
    return days_of(draw, [40] * (n - 1) + [3], [1.0] * n)


def weekly(
    draw: random.Random, n: int, level: float, last: int | None = None, spread: float = 1.0, calls: int = 30
) -> Any:
    """Weekends have a third of the calls, each so much dearer; last: the weekday of the newest day, 6 a Sunday.

    What comes back ends with that weekday.
    """
    last = draw.randrange(7) if last is None else last
    free = [(last - (n - 1 - place)) % 7 >= 5 for place in range(n)]
    sizes, levels = [calls // 3 if off else calls for off in free], [level if off else 1.0 for off in free]
    return *days_of(draw, sizes, levels, spread), last


def slow_weekends(draw: random.Random, n: int) -> Any:
    return weekly(draw, n, 1.3)


def dear_weekends(draw: random.Random, n: int) -> Any:
    return weekly(draw, n, 1.5, spread=0.3)


def cheap_weekends(draw: random.Random, n: int) -> Any:
    return weekly(draw, n, 0.6, spread=0.3)


def seen_on_sunday(draw: random.Random, n: int) -> Any:
    """The worst day to ask: the two dear days stand last, and so many calls leave them little noise."""
    return weekly(draw, n, 1.5, last=6, calls=150)


def steep_on_sunday(draw: random.Random, n: int) -> Any:
    return weekly(draw, n, 3.0, last=6, spread=0.3)


def cheap_until_monday(draw: random.Random, n: int) -> Any:
    return weekly(draw, n, 0.5, last=0, spread=0.3)


def ratings(draw: random.Random, n: int) -> Any:
    days = [[draw.choice((0.0, 0.5, 1.0, 1.0)) for _ in range(draw.choice((1, 2, 4)))] for _ in range(n)]
    return list(map(len, days)), list(map(sum, days)), [sum(value * value for value in day) for day in days]


def cheaper(draw: random.Random, n: int) -> Any:
    return days_of(draw, [30] * n, [1.0 if place < 2 * n // 3 else 0.6 for place in range(n)])


def dearer(draw: random.Random, n: int) -> Any:
    """A step of 30 %: with 200 calls a day about 2.5 times what a day's mean swings."""
    return days_of(draw, [200] * n, [1.0 if place < 2 * n // 3 else 1.3 for place in range(n)])


def dearer_with_weekends(draw: random.Random, n: int) -> Any:
    return risen_by_a_third(weekly(draw, n, 1.1, spread=0.3), n)


def dearer_with_dear_weekends(draw: random.Random, n: int) -> Any:
    return risen_by_a_third(weekly(draw, n, 1.5, calls=200), n)


def risen_by_a_third(week: Any, n: int) -> Any:
    counts, sums, squares, last = week
    levels = [1.0 if place < 2 * n // 3 else 1.3 for place in range(n)]
    return (
        counts,
        [total * level for total, level in zip(sums, levels, strict=True)],
        [square * level**2 for square, level in zip(squares, levels, strict=True)],
        last,
    )


def calls_alarm_rate(days: Days, of: str, rounds: int, seed: int, n: int = 30) -> float:
    """Return how often such days are said to drift, by the rule as check_drift applies it."""
    draw, found = random.Random(seed), 0
    for number in range(rounds):
        counts, sums, squares, *last = days(draw, n)
        rows = rows_of(counts, sums, squares, last[0] if last else number % 7)
        means = [row["total"] / row["known"] for row in rows]
        report, _ = promptry._tested(DriftReport(None, n, False, "", of=of), means, promptry.even_days(rows))
        found += report.drifting
    return found / rounds


def rows_of(counts: list[int], sums: list[float], squares: list[float], last: int) -> list[dict[str, Any]]:
    """Return the rows of days of which the newest is such a weekday, 0 a Monday."""
    newest = datetime.date(2024, 3, 4) + datetime.timedelta(days=last)
    days = [str(newest - datetime.timedelta(days=ago)) for ago in range(len(counts) - 1, -1, -1)]
    return [
        {"calls": count, "known": count, "total": total, "squares": square, "day": day}
        for count, total, square, day in zip(counts, sums, squares, days, strict=True)
    ]


SOUND_DAYS = [
    *[(days, of, 0.05) for days in (steady_days, few_calls) for of in ("latency", "length")],
    *[(days, "cost", 0.05) for days in (growing_traffic, shrinking_traffic, days_that_differ, thin_newest_day)],
    *[(growing_traffic, "length", 0.05), (ratings, "rating", 0.05), (cheaper, "cost", 0.02)],
    *[(slow_weekends, "latency", 0.05), (slow_weekends, "length", 0.05)],
    *[(dear_weekends, "cost", 0.05), (cheap_weekends, "cost", 0.05), (seen_on_sunday, "cost", 0.05)],
    *[(steep_on_sunday, of, 0.05) for of in ("cost", "length")],
    (cheap_until_monday, "latency", 0.05),
]
WORSE_DAYS = [(dearer, "cost", 0.95), (dearer, "length", 0.90), (cheaper, "length", 0.80)]
WORSE_DAYS += [(dearer_with_weekends, "cost", 0.95), (dearer_with_dear_weekends, "cost", 0.95)]


@pytest.mark.slow
@pytest.mark.parametrize(("days", "of", "most"), SOUND_DAYS, ids=name_of)
def test_days_that_get_no_worse_are_seldom_found(days: Days, of: str, most: float) -> None:
    rounds = 25
    found = calls_alarm_rate(days, of, rounds, seed=11)
    assert found <= most + 3 * standard_error(most, rounds)


def test_weekends_are_held_against_weekends_where_two_whole_weeks_are_there() -> None:
    for last in range(7):
        for n in range(6, 31):
            rows = rows_of([4] * n, [4.0] * n, [4.0] * n, last)
            free = [datetime.date.fromisoformat(row["day"]).weekday() >= 5 for row in rows]
            for off, row in zip(free, rows, strict=True):
                row.update({"total": 12.0, "squares": 36.0} if off else {})
            enough = sum(free) >= 4 and n - sum(free) >= 10
            even = promptry.even_days(rows)
            assert (max(map(abs, even)) < 1e-12) == (enough or not any(free) or all(free)), (last, n)


def test_days_of_no_cost_at_weekends_are_one_kind() -> None:
    rows = rows_of([4] * 28, [4.0] * 28, [4.0] * 28, 6)
    for row in rows:
        if datetime.date.fromisoformat(row["day"]).weekday() >= 5:
            row.update(total=0.0, squares=0.0)
    keys = ("known", "total", "squares")
    assert promptry.even_days(rows) == promptry.even_means(*([row[key] for row in rows] for key in keys))


@pytest.mark.parametrize(("days", "of", "least"), WORSE_DAYS, ids=name_of)
def test_days_that_get_worse_are_found(days: Days, of: str, least: float) -> None:
    rounds = 5
    assert calls_alarm_rate(days, of, rounds, seed=12) >= least - 3 * standard_error(least, rounds)


@pytest.mark.simulation
@pytest.mark.parametrize(("days", "of", "most"), SOUND_DAYS, ids=name_of)
def test_false_alarms_of_days_are_no_more_than_stated(days: Days, of: str, most: float) -> None:
    rounds = 2000
    found = calls_alarm_rate(days, of, rounds, seed=13)
    print(f"\n{days.__name__}, {of}: {found:.4f} of {rounds} found, at most {most}")
    assert found <= most + 2 * standard_error(most, rounds)


@pytest.mark.simulation
@pytest.mark.parametrize(("days", "of", "least"), WORSE_DAYS, ids=name_of)
def test_power_over_days_is_at_least_as_stated(days: Days, of: str, least: float) -> None:
    rounds = 1000
    found = calls_alarm_rate(days, of, rounds, seed=14)
    print(f"\n{days.__name__}, {of}: {found:.4f} of {rounds} found, at least {least}")
    assert found >= least - 2 * standard_error(least, rounds)


# --- the report


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_few_runs_are_not_enough_data(n: int, raw: sqlite3.Connection) -> None:
    add_runs(raw, [1.0 - place / 10 for place in range(n)])
    assert check_drift("qa") == DriftReport("qa", n, False, "not enough data")


def test_an_unknown_suite_has_no_run(raw: sqlite3.Connection) -> None:
    assert check_drift("never ran") == DriftReport("never ran", 0, False, "not enough data")


def test_equal_scores_neither_drift_nor_change(raw: sqlite3.Connection) -> None:
    add_runs(raw, [0.7] * 12)
    found = check_drift("qa")
    assert (found.drifting, found.slope, found.z, found.p, found.shift_p) == (False, 0.0, 0.0, 1.0, 1.0)
    assert found.change_point is None and found.reason == "no fall beyond chance"


@pytest.mark.parametrize(
    ("scores", "drifting", "reason", "run"),
    [
        ([0.9, 0.92] * 10 + [0.7, 0.72] * 5, True, "the scores fell and stay down", "21"),
        ([0.9 - place / 100 + place % 2 / 500 for place in range(30)], True, "decline from run to run", "16"),
        ([0.9, 0.92] * 15 + [0.0], True, "the newest run lies far below the others", "31"),
        ([1.0] * 9 + [0.5], True, "the newest run lies far below the others", "10"),
        ([1.0] * 9 + [0.95], False, "no fall beyond chance", "10"),
        ([0.7, 0.72] * 5 + [0.9, 0.92] * 5, False, "no fall beyond chance", "11"),
        ([0.9, 0.8, 0.85] * 5, False, "no fall beyond chance", None),
    ],
)
def test_the_reason_says_how_it_falls_and_the_change_point_where(
    scores: list[float], drifting: bool, reason: str, run: str | None, raw: sqlite3.Connection
) -> None:
    add_runs(raw, scores)  # type: ignore[arg-type]
    found = check_drift("qa", window=40)
    assert (found.n, found.drifting) == (len(scores), drifting)
    assert reason in found.reason
    assert found.change_point is not None
    assert run is None or found.change_point["run"] == run
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_likeliest_change_of_a_suite_that_drifts_is_a_fall(raw: sqlite3.Connection) -> None:
    add_runs(raw, [0.1, 0.12, *[0.9, 0.92] * 10, *[0.7, 0.72] * 4])
    found = check_drift("qa")
    point = found.change_point
    assert point is not None and found.drifting == (point["after"] < point["before"])


def test_only_the_last_complete_runs_with_a_score_are_looked_at(raw: sqlite3.Connection) -> None:
    add_runs(raw, [1.0] * 10)
    add_runs(raw, [None] * 5)
    add_runs(raw, [0.0] * 5, metadata='{"complete": false}')
    add_runs(raw, [0.0] * 5, name="other")
    add_runs(raw, [0.5] * 10)
    assert check_drift("qa").n == 20 and check_drift("qa").drifting
    assert check_drift("qa", window=10).n == 10 and not check_drift("qa", window=10).drifting


def test_the_change_point_says_what_changed_there(raw: sqlite3.Connection) -> None:
    manifest = '{"git_commit": "aaaa", "dataset": "qa@1", "prompts": {"p": {"version": 1}}}'
    add_runs(raw, [0.9, 0.91] * 5, model_version="m1", metadata=manifest)
    add_runs(raw, [0.5, 0.51] * 5, model_version="m2", metadata=manifest.replace("aaaa", "bbbb").replace(": 1", ": 2"))
    found = check_drift("qa").change_point
    assert found is not None
    assert (found["run"], round(found["before"], 3), round(found["after"], 3)) == ("11", 0.905, 0.505)
    assert found["changed"] == {
        "prompt": {"before": "p@1", "now": "p@2"},
        "model": {"before": "m1", "now": "m2"},
        "dataset": None,
        "commit": {"before": "aaaa", "now": "bbbb"},
        "embedder": None,
    }


def test_manifests_of_others_do_not_keep_a_suite_from_being_looked_at(raw: sqlite3.Connection) -> None:
    odd = ['{"prompts": ["p"], "git_commit": 7}', '{"prompts": {"p": 3}, "dataset": [1], "dataset_hash": 5}', "[1]"]
    for place, score in enumerate([0.9, 0.91] * 6 + [0.5, 0.51] * 6):
        add_runs(raw, [score], metadata=[*odd, '{"dataset_hash": 5}', '"x"'][place % 5])
    found = check_drift("qa")
    assert found.drifting and found.change_point is not None
    json.dumps(found.to_dict())
    raw.execute("UPDATE eval_runs SET overall_pass = 0 WHERE id > 12")
    broken = promptry.bisect_suite("qa").first_bad
    assert broken is not None and broken["id"] == "13"


@pytest.mark.parametrize("window", [0, -1, 1001, "30", 2.5, True, None])
def test_a_window_that_is_no_number_of_runs_is_refused(window: object, raw: sqlite3.Connection) -> None:
    with pytest.raises(promptry.WrongUse, match="window"):
        check_drift("qa", window=window)  # type: ignore[arg-type]


# --- several suites, and the command


@pytest.mark.slow
def test_of_many_suites_one_that_chance_explains_does_not_drift(raw: sqlite3.Connection) -> None:
    single = [0.9, 0.92] * 14 + [0.8]
    add_runs(raw, single, "chance")  # type: ignore[arg-type]
    add_runs(raw, [0.9, 0.92] * 10 + [0.5, 0.52] * 5, "down")
    assert check_drift("chance").drifting
    for number in range(20):
        add_runs(raw, [0.9, 0.92, 0.91, 0.9] * 4, f"steady{number}")
    add_runs(raw, [0.9], "few")
    found = {report.suite: report for report in promptry.check_drifts()}
    assert len(found) == 23 and found["down"].drifting
    assert not found["chance"].drifting and "among 22 suites" in found["chance"].reason
    assert found["few"].reason == "not enough data"
    add_runs(raw, [0.9, 0.92] * 14 + [0.0], "broke")
    found = {report.suite: report for report in promptry.check_drifts()}
    assert found["broke"].drifting and found["broke"].reason == "the newest run lies far below the others"
    assert [report.suite for report in promptry.check_drifts(["down", "few", "down"])] == ["down", "few"]


def test_the_command_says_the_verdict_first_and_exits_1(
    raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(raw, [0.9, 0.92] * 10 + [0.5, 0.52] * 5, "down")
    add_runs(raw, [0.9, 0.92, 0.91, 0.9] * 4, "steady")
    assert promptry.run_command(["drift", "down"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("drifting  down: the scores fell and stay down (30 runs, p < 0.001)\n")
    assert "0.910 -> 0.510 from run 21 of" in text and "nothing we record changed" in text
    assert promptry.run_command(["drift", "steady"]) == 0
    assert capsys.readouterr().out.startswith("steady  steady: no fall beyond chance (16 runs, p ")
    assert promptry.run_command(["drift", "never ran"]) == 0
    assert capsys.readouterr().out == "never ran: not enough data, 0 of at least 6 runs.\n"
    assert promptry.run_command(["drift", "--window", "10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["suite"] for row in found["items"]] == ["down", "steady"] and found["total"] == 2
    assert promptry.run_command(["drift", "down", "steady"]) == 1
    assert promptry.run_command(["drift", "--window", "0"]) == 2


def test_p_among_all_stands_beside_p_where_several_are_asked(raw: sqlite3.Connection) -> None:
    add_runs(raw, [0.9, 0.92] * 10 + [0.5, 0.52] * 5, "down")
    assert promptry.check_drifts(["down"])[0].p_among is None, "one suite is one question"
    add_runs(raw, [0.9, 0.92, 0.91, 0.9] * 4, "steady")
    add_runs(raw, [0.9], "few")
    down, few, steady = promptry.check_drifts()
    assert few.p_among is None and down.p is not None and steady.p is not None
    assert [down.p_among, steady.p_among] == promptry.benjamini_hochberg([down.p, steady.p])


# --- scores of another embedder


def test_scores_that_another_embedder_made_are_left_out(
    raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(raw, [0.9, 0.92] * 5, metadata='{"embedder": "small 1"}')
    add_runs(raw, [0.7, 0.72] * 4, metadata='{"embedder": "large 2"}')
    found = check_drift("qa")
    assert (found.n, found.left_out, found.embedder, found.drifting) == (8, 10, "large 2", False)
    assert check_drift("qa", window=8).left_out == 0
    assert promptry.run_command(["drift", "qa"]) == 0
    assert "10 of the last runs left out: scored with another embedder than large 2\n" in capsys.readouterr().out
    add_runs(raw, [0.9])
    found = check_drift("qa")
    assert (found.n, found.left_out, found.embedder, found.reason) == (1, 18, None, "not enough data")
    assert promptry.run_command(["drift", "qa"]) == 0
    assert "18 of the last runs left out: scored with another embedder than none\n" in capsys.readouterr().out


def test_runs_of_the_newest_embedder_count_on_both_sides_of_others(raw: sqlite3.Connection) -> None:
    for embedder, score in ((1, 0.9), (2, 0.2), (1, 0.91), (2, 0.1), (1, 0.92), (1, 0.9), (1, 0.91), (1, 0.92)):
        add_runs(raw, [score], metadata=json.dumps({"embedder": {"name": "e", "version": embedder}}))
    found = check_drift("qa")
    assert (found.n, found.left_out, found.drifting) == (6, 2, False)


# --- production calls


def add_calls(raw: sqlite3.Connection, days: list[list[dict[str, object] | None]], name: str = "answer") -> None:
    """Add calls: the last list is yesterday's; a call is its metadata, with `version` and `request` for its columns."""
    columns = "prompt_name, prompt_version, metadata, request_id, created_at"
    for ago, calls in zip(range(len(days), 0, -1), days, strict=True):
        for facts in calls:
            told = dict(facts or {})
            version, request = told.pop("version", None), told.pop("request", None)
            row = (name, version, json.dumps(told), request, f"{promptry.first_day(ago + 1)}T12:00:00.000Z")
            raw.execute(f"INSERT INTO invocations ({columns}) VALUES (?, ?, ?, ?, ?)", row)


def calls_of(key: str, means: list[float], **more: object) -> list[list[dict[str, object] | None]]:
    """Four calls a day that swing around a mean by a tenth."""
    return [[{key: mean * (1 + swing / 10), **more} for swing in (-1, 0, 0, 1)] for mean in means]


UP = [1.0, 1.02, 0.99, 1.01, 1.0] * 4 + [1.5, 1.48, 1.52, 1.5, 1.51, 1.5]
DOWN = [2.5 - mean for mean in UP]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "key", "unit", "means", "reason"),
    [
        ("cost", "cost_usd", 0.004, UP, "the cost rose and stays up"),
        ("cost", "cost_usd", 0.004, DOWN, None),
        ("latency", "latency_ms", 900, UP, "the latency rose and stays up"),
        ("latency", "latency_ms", 900, [1 + place / 20 for place in range(20)], "the latency rises from day to day"),
        ("latency", "latency_ms", 900, [1.0, 1.1] * 4 + [9.0], "the newest day lies far above the others"),
        ("latency", "latency_ms", 900, DOWN, None),
        ("length", "tokens_out", 2000, UP, "the length rose and stays up"),
        ("length", "tokens_out", 2000, DOWN, "the length fell and stays down"),
        ("length", "tokens_out", 2000, [1.0, 1.1] * 4 + [0.1], "the newest day lies far below the others"),
        ("length", "tokens_out", 2000, [1.0, 1.1, 0.9] * 5, None),
    ],
)
def test_calls_get_worse_by_rising_and_length_both_ways(
    of: str, key: str, unit: float, means: list[float], reason: str | None, raw: sqlite3.Connection
) -> None:
    days = calls_of(key, [unit * mean for mean in means])
    if of == "length":
        days = [[{key: round(float(str((call or {})[key])))} for call in calls] for calls in days]
    add_calls(raw, days)
    found = check_drift("answer", of=of)
    assert (found.n, found.calls, found.left_out) == (len(means), 4 * len(means), 0)
    assert (found.suite, found.prompt, found.of) == (None, "answer", of)
    assert (found.reason if found.drifting else None) == reason, found
    assert found.slope is not None and (found.slope > 0) == (means[-1] > means[0])
    json.dumps(found.to_dict(), allow_nan=False)
    if means in (UP, DOWN):
        point = found.change_point
        assert point is not None and point["run"] is None and point["date"] == promptry.first_day(7)
        assert (point["before"], point["after"]) == pytest.approx(
            [unit * sum(part) / len(part) for part in (means[:20], means[20:])], rel=1e-3
        )


def test_ratings_get_worse_by_falling(raw: sqlite3.Connection) -> None:
    add_calls(raw, [[{"request": f"{place} {number}"} for number in range(3)] for place in range(20)])
    for place in range(20):
        for number in range(2):
            rating = (0.9 if place < 12 else 0.4) + number / 10 - place % 2 / 50
            promptry.record_feedback(f"{place} {number}", rating)
    found = check_drift("answer", of="rating")
    assert found.drifting and found.reason == "the rating fell and stays down"
    assert (found.n, found.calls, found.left_out) == (20, 60, 20), "a call without a rating is no bad one"
    assert found.change_point is not None and found.change_point["date"] == promptry.first_day(9)
    assert found.change_point["before"] == pytest.approx(0.94) and found.change_point["after"] == pytest.approx(0.44)


def test_calls_that_do_not_tell_are_counted_beside_and_days_of_such_alone_are_none(raw: sqlite3.Connection) -> None:
    days = calls_of("cost_usd", [0.002] * 8)
    days[2], days[3] = [None, None], [*days[3], None]
    add_calls(raw, days)
    found = check_drift("answer", of="cost")
    assert (found.n, found.calls, found.left_out, found.drifting) == (7, 31, 3, False)
    assert found.p == 1.0 and found.change_point is None and found.slope == pytest.approx(0.0, abs=1e-15)
    unknown = check_drift("answer", of="latency")
    assert (unknown.n, unknown.calls, unknown.left_out, unknown.reason) == (0, 31, 31, "not enough data")


def test_the_change_of_calls_comes_with_what_served_them(raw: sqlite3.Connection) -> None:
    days = calls_of("cost_usd", UP[:20], version=1, model="m", served_model="m-2025")
    days += calls_of("cost_usd", UP[20:], version=2, model="m", served_model="m-2026")
    add_calls(raw, days)
    found = check_drift("answer", of="cost").change_point
    assert found is not None and found["changed"] == {
        "prompt": {"before": "answer@1", "now": "answer@2"},
        "model": {"before": "m-2025", "now": "m-2026"},
        "dataset": None,
        "commit": None,
        "embedder": None,
    }


def test_calls_of_an_unknown_prompt_or_measure_are_refused(raw: sqlite3.Connection) -> None:
    with pytest.raises(promptry.NotFound, match="answr"):
        check_drift("answr", of="cost")
    with pytest.raises(promptry.WrongUse, match="latency"):
        check_drift("answer", of="latncy")
    with pytest.raises(promptry.WrongUse, match="0 days"):
        check_drift("answer", window=0, of="cost")


def test_the_command_says_how_calls_got_worse(raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["drift", "--of", "cost"]) == 0
    assert capsys.readouterr().out == "No prompt had calls before today.\n"
    days = calls_of("cost_usd", [0.004 * mean for mean in UP[:20]], version=1)
    add_calls(raw, [*days, *calls_of("cost_usd", [0.004 * mean for mean in UP[20:]], version=2)])
    add_calls(raw, [[None]], "fresh")
    assert promptry.run_command(["drift", "answer", "--of", "cost"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("drifting  cost of answer: the cost rose and stays up (26 days, p < 0.001)\n  slope +")
    assert " USD a day (95 % interval +" in text and "newest day z +" in text
    assert (
        f"0.004016 -> 0.006007 USD from {promptry.first_day(7)}\nprobable cause:\n  prompt: answer@1 -> answer@2\n"
        in text
    )
    assert promptry.run_command(["drift", "--of", "cost"]) == 1
    text = capsys.readouterr().out
    assert "cost of fresh: not enough data, 0 of at least 6 days.\n  1 of 1 call without cost\n" in text
    assert promptry.run_command(["drift", "answer", "--of", "latency"]) == 0
    assert promptry.run_command(["drift", "answr", "--of", "cost"]) == 2
    assert "answer" in capsys.readouterr().err
    assert promptry.run_command(["drift", "--of", "costs"]) == 2
    capsys.readouterr()
    assert promptry.run_command(["drift", "--of", "cost", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(row["prompt"], row["of"], row["drifting"]) for row in found["items"]] == [
        ("answer", "cost", True),
        ("fresh", "cost", False),
    ]


def test_the_command_without_a_run_says_what_to_do(raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["drift"]) == 0
    assert "promptry init" in capsys.readouterr().out
