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
    pairs = promptry.pair_runs(promptry.get_run("1")["cases"], promptry.get_run("2")["cases"]).cases
    noise = promptry.noise_of(pairs.differences, pairs.binary)
    facts = noise, pairs.binary, promptry.ALPHA, 0.02
    assert not pairs.binary
    assert promptry.sees_drop(plan.smallest_drop, 20, *facts)
    assert not promptry.sees_drop(plan.smallest_drop - 0.001, 20, *facts)
    assert promptry.sees_drop(0.10, plan.cases_needed, *facts)
    assert not promptry.sees_drop(0.10, plan.cases_needed - 1, *facts)
    assert plan.repeats_needed == -(-plan.cases_needed // 20)
    assert plan.needed_usd == pytest.approx(0.01 * plan.cases_needed)
    assert plan_suite("quiz", 0.05).cases_needed == pytest.approx(4 * plan.cases_needed, rel=0.05)
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


def test_runs_of_one_model_go_before_newer_ones_of_another(prompt: None) -> None:
    quiz({f"c{number:02}": [1.0] * 4 for number in range(20)})
    for model in ("a", "b", "a"):
        promptry.run_suite("quiz", model_version=model)
    plan = plan_suite("quiz")
    assert (plan.runs, plan.steady) == (["3", "1"], True)
    promptry.run_suite("quiz", model_version="c")
    assert (plan_suite("quiz").runs, plan_suite("quiz").steady) == (["3", "1"], True), "the newest has no other like it"


def test_runs_of_different_models_say_so(prompt: None) -> None:
    quiz({f"c{number:02}": [1.0] * 4 for number in range(20)})
    for model in ("a", "b"):
        promptry.run_suite("quiz", model_version=model)
    assert not plan_suite("quiz").steady
    assert "different versions or models" in promptry.render_plan(plan_suite("quiz").to_dict())


@pytest.mark.parametrize("drop", [0, -0.1, 1.5, float("nan")])
def test_a_drop_that_is_no_share_is_refused(store: Path, drop: float) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes a share of the score"):
        plan_suite("quiz", drop)


def test_a_drop_within_the_tolerance_takes_no_number_of_cases(prompt: None) -> None:
    quiz({f"c{number:02}": [1.0] * 2 for number in range(20)})
    for _ in range(2):
        promptry.run_suite("quiz")
    plan = plan_suite("quiz", 0.02)
    assert (plan.cases_needed, plan.repeats_needed, plan.needed_usd) == (None, None, None)
    assert "within the tolerance" in promptry.render_plan(plan.to_dict())


def test_groups_are_what_a_plan_counts(prompt: None) -> None:
    draw = random.Random(7)
    luck = [[draw.random() for _ in range(12)] for _ in range(2)]
    now: list[list[float]] = [luck[0]]

    @suite("quiz", prompt="p", dataset=[{"id": f"c{number:02}", "group": number // 4} for number in range(48)])
    def check(item: Any) -> None:
        render_prompt("p", "")
        promptry.record_check("graded", now[0][item["group"]], True, "", "", "")

    promptry.run_suite("quiz")
    now[0] = luck[1]
    promptry.run_suite("quiz")
    plan = plan_suite("quiz")
    assert (plan.n, plan.groups) == (48, 12) and "48 cases in 12 groups" in promptry.render_plan(plan.to_dict())
    differences = [new - old for old, new in zip(luck[0], luck[1], strict=True)]
    alone = promptry.smallest_drop(12, promptry.noise_of(differences, False), False, promptry.ALPHA, 0.02)
    assert plan.smallest_drop == alone, "four cases with one fate are one case"
    assert plan.cases_needed is not None and plan.cases_needed % 4 == 0


def test_the_cost_that_is_planned_is_the_cost_that_comes(prompt: None) -> None:
    """Twice the repeats of a suite cost what the plan says, to a tenth, in the ledger."""
    draw = random.Random(2)
    quiz({f"c{number:02}": [draw.random() for _ in range(200)] for number in range(20)})
    for _ in range(2):
        promptry.run_suite("quiz")
    plan = plan_suite("quiz", 0.15)
    assert plan.repeats_needed is not None and plan.repeats_needed > 1 and plan.needed_usd is not None
    result = promptry.run_suite("quiz", repeats=plan.repeats_needed)
    spent = promptry.list_costs(origin="eval")["sum"]["cost_usd"] - 2 * (plan.run_usd or 0)
    assert result.cost_usd == pytest.approx(spent)
    assert 0 <= result.cost_usd / plan.needed_usd - 1 <= 1 / (plan.repeats_needed - 1), "repeats are whole"


def test_one_run_tells_its_cases_and_the_margin_of_its_suite(prompt: None) -> None:
    @suite("quiz", prompt="p", margin=0.2, repeats=3, dataset=[{"id": f"c{number}"} for number in range(5)])
    def check(item: Any) -> None:
        render_prompt("p", "")
        assert_exact(1, 1)

    assert (plan_suite("quiz").n, plan_suite("quiz").drop, plan_suite("quiz").runs) == (0, 0.10, [])
    promptry.run_suite("quiz")
    plan = plan_suite("quiz")
    assert (plan.n, plan.repeats, plan.drop, plan.runs, plan.smallest_drop) == (5, 3, 0.2, ["1"], None)
