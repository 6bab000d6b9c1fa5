"""DRIFT: the rule's false alarms and power by seeded simulation, the change point, and what the command says."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from collections.abc import Callable

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


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("series", "most"), SOUND, ids=name_of)
def test_what_does_not_fall_is_seldom_found(series: Series, most: float) -> None:
    rounds = 150
    found = alarm_rate(series, rounds, seed=1)
    print(f"\n{series.__name__}: {found:.3f} of {rounds} found, at most {most}")
    assert found <= most + 2 * math.sqrt(most * (1 - most) / rounds)


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
    print(f"\n{series.__name__}: {found:.4f} of {rounds} found, at most {most}")
    assert found <= most


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
    rounds = 1000
    found = alarm_rate(series, rounds, seed=5)
    print(f"\n{series.__name__}: {found:.4f} of {rounds} found, at least {least}")
    assert found >= least


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


@pytest.mark.simulation
def test_the_correlation_is_that_of_the_noise_and_not_of_the_fall() -> None:
    draw = random.Random(7)
    means = {}
    for series in (normal, fallen, declining, lagged):
        found = [promptry.fall_of(series(draw, 30)).correlation for _ in range(60)]
        means[series.__name__] = sum(found) / len(found)
    assert all(abs(means[name]) < 0.15 for name in ("normal", "fallen", "declining")), means
    assert 0.15 < means["lagged"] < 0.4, means


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


def test_of_many_suites_one_that_chance_explains_does_not_drift(raw: sqlite3.Connection) -> None:
    single = [0.9, 0.92] * 14 + [0.0]
    add_runs(raw, single, "chance")  # type: ignore[arg-type]
    add_runs(raw, [0.9, 0.92] * 10 + [0.5, 0.52] * 5, "down")
    assert check_drift("chance").drifting
    for number in range(20):
        add_runs(raw, [0.9, 0.92, 0.91, 0.9] * 4, f"steady{number}")
    add_runs(raw, [0.9], "few")
    found = {report.suite: report for report in promptry.check_drifts()}
    assert len(found) == 23 and found["down"].drifting
    assert not found["chance"].drifting and "among 23 suites" in found["chance"].reason
    assert found["few"].reason == "not enough data"
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


def test_the_command_without_a_run_says_what_to_do(raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["drift"]) == 0
    assert "promptry init" in capsys.readouterr().out
