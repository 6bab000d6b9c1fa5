"""PLAN: the drop that a suite is said to see is seen so often, and the cases that it is said to take suffice."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, plan_suite, render_prompt, suite


def quiz(scores: dict[str, list[float]], n: int = 20) -> None:
    """Register a suite whose cases take their score from a list, one a run."""

    @suite("quiz", prompt="p", dataset=[{"id": f"c{number:02}"} for number in range(n)])
    def check(item: Any) -> None:
        render_prompt("p", "")
        promptry.track_invocation("p", {"cost_usd": 0.01})
        score = scores[item["id"]].pop(0)
        promptry.record_check("graded", score, True, "", "", "")


@pytest.fixture
def prompt(store: Path) -> None:
    promptry.save_prompt("p", "text", tag="prod")


def test_two_runs_of_one_version_tell_what_a_suite_can_see(prompt: None) -> None:
    draw = random.Random(4)
    quiz({f"c{number:02}": [draw.random() for _ in range(2)] for number in range(20)})
    for _ in range(2):
        promptry.run_suite("quiz")
    plan = plan_suite("quiz")
    assert (plan.n, plan.repeats, plan.drop, plan.runs, plan.steady) == (20, 1, 0.10, ["2", "1"], True)
    assert plan.run_usd == pytest.approx(0.2)
    assert plan.smallest_drop is not None and plan.cases_needed is not None
    differences, binary = promptry.case_differences(promptry.get_run("1")["cases"], promptry.get_run("2")["cases"])
    assert not binary
    assert promptry.can_see(plan.smallest_drop, differences, binary, promptry.ALPHA)
    assert not promptry.can_see(plan.smallest_drop - 0.001, differences, binary, promptry.ALPHA)
    noise = promptry.noise_of(differences, binary)
    assert promptry.sees_drop(0.10, plan.cases_needed, noise, binary, promptry.ALPHA)
    assert not promptry.sees_drop(0.10, plan.cases_needed - 1, noise, binary, promptry.ALPHA)
    assert plan.repeats_needed == -(-plan.cases_needed // 20)
    assert plan.needed_usd == pytest.approx(0.01 * plan.cases_needed)
    assert plan_suite("quiz", 0.05).cases_needed == pytest.approx(4 * plan.cases_needed, rel=0.02)
    assert json.loads(json.dumps(plan.to_dict()))["n"] == 20


def test_a_steady_suite_needs_few_cases(prompt: None) -> None:
    @suite("quiz", prompt="p", dataset=[{"id": f"c{number:02}"} for number in range(100)])
    def check(item: Any) -> None:
        render_prompt("p", "")
        assert_exact(1, 1)

    for _ in range(2):
        promptry.run_suite("quiz")
    plan = plan_suite("quiz")
    assert plan.smallest_drop is not None and plan.smallest_drop < 0.1 and (plan.cases_needed or 0) <= 100


@pytest.mark.parametrize("runs", [0, 1])
def test_fewer_than_two_runs_tell_nothing_yet(prompt: None, runs: int) -> None:
    quiz({f"c{number:02}": [1.0] for number in range(20)})
    for _ in range(runs):
        promptry.run_suite("quiz")
    plan = plan_suite("quiz")
    assert (plan.smallest_drop, plan.cases_needed, len(plan.runs)) == (None, None, runs)
    assert "how unsteady it is; run it twice" in promptry.render_plan(plan.to_dict())


def test_runs_of_one_version_go_before_newer_ones_of_another(prompt: None) -> None:
    quiz({f"c{number:02}": [1.0] * 4 for number in range(20)})
    promptry.run_suite("quiz")
    promptry.save_prompt("p", "other")
    promptry.run_suite("quiz")
    assert (plan_suite("quiz").runs, plan_suite("quiz").steady) == (["2", "1"], False)
    promptry.save_prompt("p", "text")
    promptry.run_suite("quiz")
    assert (plan_suite("quiz").runs, plan_suite("quiz").steady) == (["3", "1"], True)


@pytest.mark.parametrize("drop", [0, -0.1, 1.5, float("nan")])
def test_a_drop_that_is_no_share_is_refused(store: Path, drop: float) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes a share of the score"):
        plan_suite("quiz", drop)


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("n", "noise", "rounds", "low", "high"), [(20, 0.15, 150, 0.70, 0.90), (450, 0.25, 4000, 0.77, 0.83)]
)
def test_the_smallest_drop_of_scores_is_seen_in_about_eighty_of_a_hundred(
    n: int, noise: float, rounds: int, low: float, high: float
) -> None:
    drop, draw = promptry.smallest_drop(n, noise, False, 0.04) or 0.0, random.Random(n)
    runs = ([draw.gauss(-drop, noise) for _ in range(n)] for _ in range(rounds))
    share = sum(promptry.sign_flip_p(differences) <= 0.04 for differences in runs) / rounds
    print(f"n {n}, noise {noise}: a drop of {drop:.3f} is seen in {share:.1%}")
    assert low <= share <= high


@pytest.mark.simulation
@pytest.mark.parametrize(("n", "noise"), [(30, 0.1), (100, 0.2), (400, 0.3)])
def test_the_smallest_drop_of_pass_or_fail_is_seen_in_about_eighty_of_a_hundred(n: int, noise: float) -> None:
    drop, draw, seen = promptry.smallest_drop(n, noise, True, 0.04) or 0.0, random.Random(n), 0
    share, rounds = max(drop, noise), 4000
    for _ in range(rounds):
        changed = sum(draw.random() < share for _ in range(n))
        worse = sum(draw.random() < (share + drop) / (2 * share) for _ in range(changed))
        seen += promptry.mcnemar_p(worse, changed - worse) <= 0.04
    print(f"n {n}, noise {noise}: a drop of {drop:.3f} is seen in {seen / rounds:.1%}")
    assert 0.77 <= seen / rounds <= 0.86
