"""COMPARISON: the baseline rule, the verdicts, the flips, what passes, and what the exit code says."""

from __future__ import annotations

import contextlib
import json
import random
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import promptry
from promptry import (
    assert_contains,
    assert_exact,
    case,
    compare_runs,
    promote,
    render_prompt,
    run_suite,
    save_prompt,
    suite,
)

World = dict[str, Any]


@pytest.fixture
def world(store: Path) -> World:
    """What each case of the suite "quiz" will do: pass (if not named), fail, error, a score, or a list in turn."""
    save_prompt("p", "Answer in one word.", tag="prod")
    return {}


def quiz(world: World, n: int = 20, **options: Any) -> None:
    """Register the suite "quiz" of so many cases, c00, c01, ..."""

    @suite("quiz", prompt="p", dataset=[{"id": f"c{number:02}"} for number in range(n)], **options)
    def check(item: dict[str, str]) -> None:
        render_prompt("p", "")
        act(world, item["id"])


def act(world: World, name: str) -> None:
    state = world.get(name, "pass")
    if isinstance(state, list):
        state = state.pop(0) if len(state) > 1 else state[0]
    if state == "error":
        raise RuntimeError("crashed")
    if isinstance(state, float):
        assert_contains("x" * round(state * 100), ["x" * (place + 1) for place in range(100)])
    else:
        assert_exact(state, "pass")


def fail(world: World, count: int, state: Any = "fail") -> None:
    world.clear()
    world.update({f"c{number:02}": state for number in range(count)})


def judged(**options: Any) -> promptry.RunResult:
    return run_suite("quiz", compare="prod", **options)


def code_of(result: promptry.RunResult, **options: Any) -> int:
    return promptry.exit_code_of(result, **options)


# --- the baseline


def test_the_baseline_is_the_newest_run_on_the_tagged_version_and_never_the_previous_run(world: World) -> None:
    quiz(world)
    first = run_suite("quiz")
    save_prompt("p", "Think step by step, then answer in one word.")
    second = run_suite("quiz")
    assert second.prompt_version == 2
    result = judged()
    assert result.comparison is not None and result.comparison["baseline"]["id"] == first.run_id
    promote("p", 2, "prod")
    result = judged()
    assert result.comparison is not None and result.comparison["baseline"]["id"] not in {first.run_id, result.run_id}
    promote("p", 1, "prod")
    newest = run_suite("quiz", env="prod")
    assert judged().comparison["baseline"]["id"] == newest.run_id  # type: ignore[index]


def make_incomplete(world: World, raw: sqlite3.Connection) -> None:
    quiz(world)

    @suite("quiz", prompt="p")
    def check() -> None:
        render_prompt("p", "")
        with case("c00"):
            assert_exact(1, 1)
        raise KeyboardInterrupt

    assert not run_suite("quiz").complete


def make_regressed(world: World, raw: sqlite3.Connection) -> None:
    quiz(world, gate="statistical")
    fail(world, 8)
    assert judged().verdict == "regressed"
    world.clear()


def make_broken(world: World, raw: sqlite3.Connection) -> None:
    quiz(world)
    fail(world, 1)
    result = judged()
    assert result.verdict != "regressed" and not result.passed
    world.clear()


def make_unjudged(world: World, raw: sqlite3.Connection) -> None:
    """A run that was to be judged, and whose process was killed before it was."""
    quiz(world)
    promptry.record_run(promptry.require_suite("quiz"), promptry.Job(compare="prod"))


def make_other_suite(world: World, raw: sqlite3.Connection) -> None:
    suite("other", prompt="p")(lambda: assert_exact(render_prompt("p", ""), "Answer in one word."))
    run_suite("other")


def make_other_version(world: World, raw: sqlite3.Connection) -> None:
    save_prompt("p", "A draft.")
    run_suite("quiz")
    save_prompt("p", "Answer in one word.")


def make_deleted_prompt_column(world: World, raw: sqlite3.Connection) -> None:
    raw.execute("INSERT INTO eval_runs (suite_name, overall_pass) VALUES ('quiz', 1)")


@pytest.mark.parametrize(
    "make",
    [
        make_incomplete,
        make_regressed,
        make_broken,
        make_unjudged,
        make_other_suite,
        make_other_version,
        make_deleted_prompt_column,
    ],
    ids=lambda make: make.__name__.removeprefix("make_").replace("_", " "),
)
def test_a_run_that_proves_nothing_is_no_baseline(
    make: Callable[[World, sqlite3.Connection], None], world: World, raw: sqlite3.Connection
) -> None:
    quiz(world)
    good = run_suite("quiz")
    make(world, raw)
    quiz(world)
    result = judged()
    assert result.comparison is not None
    assert result.comparison["baseline"]["id"] == good.run_id


def test_a_run_that_others_wrote_with_the_plain_columns_is_a_baseline(world: World, raw: sqlite3.Connection) -> None:
    raw.execute(
        "INSERT INTO eval_runs (id, suite_name, prompt_name, prompt_version, overall_pass, overall_score)"
        " VALUES (70, 'quiz', 'p', 1, 1, 1.0)"
    )
    for number in range(20):
        raw.execute(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score)"
            " VALUES (70, ?, 'exact', 1, 1.0)",
            (f"c{number:02}",),
        )
    quiz(world)
    fail(world, 8)
    result = judged()
    assert result.verdict == "regressed" and result.comparison["baseline"]["id"] == "70"  # type: ignore[index]


def test_a_regressed_run_does_not_become_the_next_baseline_however_often_it_is_run(world: World) -> None:
    quiz(world)
    good = run_suite("quiz")
    fail(world, 8)
    for _ in range(3):
        result = judged()
        assert (result.verdict, code_of(result)) == ("regressed", 1)
        assert result.comparison["baseline"]["id"] == good.run_id  # type: ignore[index]


def test_without_a_baseline_it_is_said_loudly_and_the_run_stands_on_its_own(world: World) -> None:
    quiz(world)
    result = judged()
    assert result.comparison is None and result.verdict is None
    assert "NO BASELINE" in " ".join(result.notes) and "prod" in " ".join(result.notes)
    assert "NO BASELINE" in promptry.render_result(result)
    assert "NO BASELINE" in json.dumps(result.to_dict())
    assert code_of(result) == 0 and code_of(result, require_baseline=True) == 3
    promptry.EvalRun.delete().execute()
    fail(world, 1)
    assert code_of(judged()) == 1, "without a baseline every case has to pass"


def test_the_first_judged_run_is_the_baseline_of_the_second(world: World) -> None:
    quiz(world)
    first = judged()
    assert judged().comparison["baseline"]["id"] == first.run_id  # type: ignore[index]


def test_a_suite_without_one_prompt_cannot_be_compared_and_is_told_how(store: Path) -> None:
    save_prompt("a", "x", tag="prod")
    save_prompt("b", "y")

    @suite("quiz")
    def check() -> None:
        render_prompt("a", "")
        render_prompt("b", "")
        assert_exact(1, 1)

    with pytest.raises(promptry.WrongUse, match="prompt="):
        judged()


# --- the verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "failed_before", "failed_now", "verdict"),
    [
        (20, 0, 5, "regressed"),  # p = 1/32
        (20, 0, 4, "not enough data"),  # p = 1/16
        (20, 5, 0, "improved"),
        (20, 0, 0, "not enough data"),
        (100, 0, 0, "tied"),
        (100, 1, 2, "tied"),
        (400, 0, 6, "tied"),  # p = 1/64, but a drop of 0.015 is within the tolerance
        (200, 0, 6, "regressed"),
        (6, 0, 6, "regressed"),
        (5, 0, 5, "not enough data"),
        (5, 5, 0, "not enough data"),
        (1, 0, 1, "not enough data"),
    ],
)
def test_the_verdict_by_cases(n: int, failed_before: int, failed_now: int, verdict: str, world: World) -> None:
    quiz(world, n, gate="statistical")
    fail(world, failed_before)
    run_suite("quiz")
    fail(world, failed_now)
    result = judged()
    assert result.comparison is not None
    assert result.verdict == result.comparison["verdict"] == verdict
    assert result.comparison["n"] == n
    assert result.comparison["delta"] == pytest.approx((failed_before - failed_now) / n)
    assert code_of(result) == int(verdict == "regressed")
    assert promptry.get_run(result.run_id)["verdict"] == verdict


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [(0.9, 0.6, "regressed"), (0.6, 0.9, "improved"), (0.9, 0.89, "tied"), (0.9, 0.9, "tied")],
)
def test_the_verdict_by_scores(before: float, now: float, verdict: str, world: World) -> None:
    quiz(world, 40, gate="statistical")
    fail(world, 40, before)
    run_suite("quiz")
    fail(world, 40, now)
    result = judged()
    assert result.verdict == verdict
    assert result.comparison is not None and result.comparison["delta"] == pytest.approx(now - before)


def test_the_unit_is_the_case_and_not_its_checks_or_repeats(world: World) -> None:
    """Five cases that fail in each of three repeats are five pairs, not fifteen."""
    quiz(world, 5)
    run_suite("quiz", repeats=3)
    fail(world, 5)
    result = judged(repeats=3)
    assert result.comparison is not None and result.comparison["n"] == 5
    assert result.comparison["p"] == 1 / 32 and not any(row["hard"] for row in result.comparison["breaks"])
    assert result.verdict == "not enough data"


def test_cases_are_paired_by_id_and_what_has_no_partner_is_listed(world: World) -> None:
    quiz(world, 10)
    run_suite("quiz")
    quiz(world, 12)
    world["c03"] = "error"
    found = judged().comparison
    assert found is not None
    assert found["n"] == 9
    assert found["unpaired"] == {"new": ["c10", "c11"], "missing": [], "errors": ["c03"], "failing": [], "checks": []}


def test_a_baseline_is_a_good_run_where_there_is_one(world: World) -> None:
    """A run in which all ended in errors, or that failed and was held against nothing, is none while another is."""
    quiz(world, 8)
    good = run_suite("quiz")
    fail(world, 8, "error")
    broken = judged()
    assert promptry.exit_code_of(broken) == 3 and broken.comparison["baseline"]["id"] == good.run_id  # type: ignore[index]
    fail(world, 1)
    assert not run_suite("quiz").passed
    again = judged()
    assert again.comparison is not None and again.comparison["baseline"]["id"] == good.run_id
    assert again.comparison["known"] == [] and promptry.exit_code_of(again) == 1


def test_a_suite_that_always_failed_somewhere_has_a_baseline_and_known_failures(world: World) -> None:
    quiz(world, 8)
    fail(world, 2)
    first = run_suite("quiz")
    second = judged()
    assert not first.passed and second.passed
    assert second.comparison is not None and second.comparison["known"] == ["c00", "c01"]
    fail(world, 3)
    third = judged()
    assert third.comparison is not None and third.comparison["baseline"]["id"] == second.run_id
    assert not third.passed and promptry.flips_in(third.comparison["flips"], "broken") == ["c02"]


def test_a_suite_judged_as_a_whole_takes_its_newest_run_though_cases_fail(world: World) -> None:
    """To choose the lucky runs would make every other look worse."""
    quiz(world, 20, gate="statistical")
    run_suite("quiz")
    fail(world, 1)
    unlucky = run_suite("quiz")
    assert judged().comparison["baseline"]["id"] == unlucky.run_id  # type: ignore[index]


def test_a_case_that_was_flaky_in_the_baseline_held_there(world: World) -> None:
    quiz(world, 8)
    run_suite("quiz")
    world["c01"] = ["fail", "pass"]
    flaky = judged()
    assert flaky.passed and promptry.flips_in(flaky.comparison["flips"], "flaky") == ["c01"]  # type: ignore[index]
    world["c01"] = "fail"
    found = judged()
    assert found.comparison is not None and found.comparison["baseline"]["id"] == flaky.run_id
    assert promptry.flips_in(found.comparison["flips"], "broken") == ["c01"] and found.comparison["known"] == []
    assert promptry.exit_code_of(found) == 1


def test_what_the_baseline_cannot_judge_must_pass_on_its_own(world: World) -> None:
    quiz(world, 8)
    world["c03"] = "error"
    run_suite("quiz")  # the only run there is
    quiz(world, 9)
    world.update(c03="fail", c08="fail")
    found = judged()
    assert found.comparison is not None and found.comparison["unpaired"]["failing"] == ["c03", "c08"]
    assert found.reasons == ("2 cases fail that the baseline cannot judge",) and promptry.exit_code_of(found) == 1
    assert "new and failing 2: c03, c08" in promptry.render_result(found)
    world.update(c03=["fail", "pass"], c08="pass")
    assert judged().passed, "it passes when it is tried again"


def test_new_failures_do_not_become_known_while_a_good_run_is_there(world: World) -> None:
    quiz(world, 8)
    good = run_suite("quiz")
    world.update({f"new{n}": "fail" for n in range(8)})

    @suite("quiz", prompt="p", dataset=[{"id": f"new{n}"} for n in range(8)])
    def renamed(item: dict[str, str]) -> None:
        render_prompt("p", "")
        act(world, item["id"])

    for _ in range(2):
        found = judged()
        assert found.comparison is not None and found.comparison["baseline"]["id"] == good.run_id
        assert promptry.exit_code_of(found) == 1 and len(found.comparison["unpaired"]["missing"]) == 8
    world.clear()
    assert judged().passed, "renamed cases that pass are no fault"


def test_a_suite_judged_as_a_whole_needs_something_to_compare(world: World) -> None:
    quiz(world, 8, gate="statistical")
    run_suite("quiz")

    @suite("quiz", prompt="p", dataset=[{"id": f"new{n}"} for n in range(8)], gate="statistical")
    def renamed(item: dict[str, str]) -> None:
        render_prompt("p", "")
        assert_exact(1, 2)

    found = judged()
    assert found.reasons == ("nothing could be compared: the baseline scored none of these cases",)
    assert promptry.exit_code_of(found) == 3


def test_a_break_is_not_confirmed_by_an_outage(world: World) -> None:
    quiz(world, 8)
    run_suite("quiz")
    world["c01"] = ["fail", "error", "error"]
    found = judged()
    assert found.comparison is not None
    assert promptry.flips_in(found.comparison["flips"], "unconfirmed") == ["c01"]
    assert "each further try ended in an error" in found.reasons[0] and promptry.exit_code_of(found) == 3
    world.update(c01=["fail", "error", "error"], c02="fail")
    assert promptry.exit_code_of(judged()) == 1, "a break beside it is one"
    world.clear()
    world["c01"] = ["fail", "fail", "error"]
    assert promptry.exit_code_of(judged()) == 1, "it failed again"


def test_one_type_that_drops_is_seen_beside_others_that_hold(world: World) -> None:
    now = {"text": "good"}

    @suite("quiz", prompt="p", dataset=[{"id": f"c{number}"} for number in range(12)], gate="statistical")
    def check(item: Any) -> None:
        render_prompt("p", "")
        for _ in range(5):
            assert_exact(1, 1)
        assert_contains(now["text"], ["good"])

    run_suite("quiz")
    now["text"] = "bad"
    found = judged().comparison
    assert found is not None and found["verdict"] == "regressed"
    worst = found["deltas"][0]
    assert (worst["assertion_type"], worst["n"], worst["baseline"], worst["current"], worst["delta"]) == (
        "contains",
        12,
        1.0,
        0.0,
        -1.0,
    )
    assert [row["delta"] for row in found["deltas"] if row["assertion_type"] == "exact"] == [0.0]


# --- false alarms of all rules together, on two runs and a history in which nothing changed

Draw = Callable[[random.Random, float], float]


def flat(draw: random.Random, rate: float) -> float:
    return rate


def mixed(draw: random.Random, rate: float) -> float:
    """Some cases always hold, some seldom; the mean is the rate."""
    return draw.betavariate(rate / 2, (1 - rate) / 2)


class Null(NamedTuple):
    """A suite in which nothing changes: n cases, their rates, tries now and in the baseline, earlier runs, a kind."""

    n: int
    rate: float
    rates: Draw = flat
    now: int = 1
    before: int = 1
    runs: int = 0
    kind: str = "exact"
    group: int = 0


def drawn_run(draw: random.Random, rates: list[float], tries: int, null: Null) -> list[dict[str, Any]]:
    """Draw the cases of a run; cases of one group share their luck."""
    shared = [[draw.random() for _ in range(tries)] for _ in rates]
    rows = []
    for number, rate in enumerate(rates):
        luck = shared[number // null.group] if null.group else [draw.random() for _ in range(tries)]
        for repeat in range(tries):
            checks = [{"assertion_type": "exact", "score": float(luck[repeat] < rate)}]
            if null.kind == "both":
                checks.append({"assertion_type": "graded", "score": 1.0 if draw.random() < rate else draw.random()})
            state = "pass" if checks[0]["score"] else "fail"
            mean = sum(check["score"] for check in checks) / len(checks)
            rows.append({"case": f"c{number}", "repeat": repeat, "state": state, "score": mean, "checks": checks})
            rows[-1]["group"] = f"g{number // null.group}" if null.group else None
    return rows


def verdict_of(draw: random.Random, null: Null) -> str:
    """Judge a drawn run by both rules, as compare_runs does with what it has read."""
    rates = [null.rates(draw, null.rate) for _ in range(null.n)]
    before, now = drawn_run(draw, rates, null.before, null), drawn_run(draw, rates, null.now, null)
    history = [drawn_run(draw, rates, null.before, null) for _ in range(null.runs)]
    old = promptry.case_tries([row for cases in [before, *history] for row in cases])
    new = promptry.case_tries(now)
    breaks = promptry.find_breaks({name: (*old[name], *new[name]) for name in old if name in new})
    paired = promptry.pair_runs(before, now)
    deltas = promptry.paired_deltas(paired.kinds)
    return promptry._verdict(paired, deltas, breaks, {"margin": 1.0})[0]  # whether it is tied is not asked here


def alarms(null: Null, rounds: int) -> Counter[str]:
    draw = random.Random(repr(null[:2]))
    return Counter(verdict_of(draw, null) for _ in range(rounds))


def null_text(null: Null) -> str:
    return " ".join(getattr(part, "__name__", str(part)) for part in null)


NULLS = [
    *(Null(n, rate) for n in (5, 6, 10, 20, 50) for rate in (0.05, 0.3, 0.5, 0.8, 0.95, 0.98)),
    *(Null(n, rate) for n in (200, 500) for rate in (0.05, 0.5, 0.9, 0.98)),
    *(Null(n, rate, mixed, tries, tries) for n in (6, 20, 60) for rate in (0.5, 0.9, 0.98) for tries in (3, 5)),
    *(Null(n, rate, flat, 5, 1) for n in (10, 50, 100) for rate in (0.5, 0.9, 0.98)),
    *(Null(n, rate, flat, 1, 5) for n in (10, 50, 100) for rate in (0.5, 0.9, 0.98)),
    *(
        Null(n, rate, rates, 5, 5, 4)
        for n in (6, 30, 100)
        for rate in (0.05, 0.5, 0.9, 0.98)
        for rates in (flat, mixed)
    ),
    *(Null(n, rate, mixed, 1, 1, 30) for n in (20, 100) for rate in (0.5, 0.9, 0.98)),
    *(Null(n, rate, mixed, 2, 2, 2, "both") for n in (6, 20, 60) for rate in (0.3, 0.8, 0.95)),
    *(Null(n, rate, flat, 1, 1, 0, "exact", 4) for n in (24, 80, 200) for rate in (0.5, 0.9, 0.98)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "null",
    [
        Null(12, 0.8),
        Null(50, 0.5),
        Null(30, 0.98, flat, 5, 1),
        Null(10, 0.9, mixed, 3, 3, 2),
        Null(8, 0.7, flat, 2, 2, 0, "both"),
        Null(40, 0.5, flat, 1, 1, 0, "exact", 4),
    ],
    ids=null_text,
)
def test_false_alarms_are_few(null: Null) -> None:
    rounds = 300
    found = alarms(null, rounds)
    for verdict, alpha in (("regressed", 0.05), ("improved", 0.04)):
        assert found[verdict] / rounds <= alpha + 3 * (alpha * (1 - alpha) / rounds) ** 0.5


@pytest.mark.simulation
@pytest.mark.parametrize("null", NULLS, ids=null_text)
def test_false_alarms_of_all_rules_together_are_at_most_five_in_a_hundred(null: Null) -> None:
    cost = null.n * (null.now + null.before * (null.runs + 1)) * (2 if null.kind == "both" else 1)
    rounds = max(300, min(2_000, 400_000 // cost))
    found = alarms(null, rounds)
    print(f"{null_text(null)}: {rounds} rounds, {dict(found)}")
    assert null.n >= 6 or found["improved"] == 0
    for verdict, alpha in (("regressed", 0.05), ("improved", 0.04)):
        assert found[verdict] / rounds <= alpha + 2.5 * (alpha * (1 - alpha) / rounds) ** 0.5


@pytest.mark.simulation
@pytest.mark.parametrize(
    "null", [Null(50, 0.8), Null(100, 0.5), Null(50, 0.8, mixed, 3, 3), Null(100, 0.9, flat, 3, 3)], ids=null_text
)
def test_a_baseline_that_is_the_last_good_run_does_not_raise_false_alarms(null: Null) -> None:
    """Runs of one version in a row, each judged against the last that did not regress, all before it as history."""
    draw, found, chains = random.Random(null.n), Counter[str](), 40
    for _ in range(chains):
        rates = [null.rates(draw, null.rate) for _ in range(null.n)]
        history = [drawn_run(draw, rates, null.before, null)]
        baseline = history[0]
        for _ in range(30):
            now = drawn_run(draw, rates, null.now, null)
            old, new = promptry.case_tries([row for cases in history for row in cases]), promptry.case_tries(now)
            breaks = promptry.find_breaks({name: (*old[name], *new[name]) for name in old})
            paired = promptry.pair_runs(baseline, now)
            deltas = promptry.paired_deltas(paired.kinds)
            verdict, _ = promptry._verdict(paired, deltas, breaks, {"margin": 1.0})
            found[verdict] += 1
            history.append(now)
            baseline = baseline if verdict == "regressed" else now
    print(f"{null_text(null)}: {dict(found)}")
    assert found["regressed"] / (30 * chains) <= 0.05 + 2.5 * (0.05 * 0.95 / (30 * chains)) ** 0.5


@pytest.mark.simulation
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("rates", [flat, mixed])
def test_a_hard_break_in_one_of_two_hundred_cases_is_found_always(rate: float, rates: Draw) -> None:
    """The others do what they do at their rates, in 20 tries before and 5 now."""
    draw = random.Random(repr(rate))
    for _ in range(60):
        others = [rates(draw, rate) for _ in range(199)]
        tries = {
            f"c{number}": (
                sum(draw.random() < own for _ in range(20)),
                20,
                sum(draw.random() < own for _ in range(5)),
                5,
            )
            for number, own in enumerate(others)
        }
        found = promptry.find_breaks({**tries, "x": (20, 20, 0, 5)})
        assert "x" in [row["case"] for row in found if row["hard"]]
        verdict, reason = promptry._verdict(promptry.pair_runs([], []), [], found, {})
        assert verdict == "regressed" and "broken hard" in reason


def kinds_run(draw: random.Random, n: int, rates: dict[str, float]) -> list[dict[str, Any]]:
    """A run of n cases, each with one check of each kind that passes at its rate."""
    rows = []
    for number in range(n):
        checks = [{"assertion_type": kind, "score": float(draw.random() < rate)} for kind, rate in rates.items()]
        state = "pass" if all(check["score"] for check in checks) else "fail"
        rows.append({"case": f"c{number}", "repeat": 0, "state": state, "group": None, "checks": checks})
    return rows


@pytest.mark.simulation
@pytest.mark.parametrize("spread", ["one kind", "every kind"])
@pytest.mark.parametrize("rates", [(0.9, 1.0, 1.0, 1.0), (0.8, 1.0), (0.9, 0.9, 0.95)])
def test_a_planned_drop_of_several_kinds_is_found_however_it_falls(rates: tuple[float, ...], spread: str) -> None:
    """At the smallest drop that two runs of one version promise, at least 77 of 100 later runs are regressed."""
    draw, names, found, rounds, n = random.Random(repr((rates, spread))), "abcd", 0, 400, 100
    steady = dict(zip(names, rates, strict=False))
    for _ in range(rounds):
        baseline = kinds_run(draw, n, steady)
        plan = promptry.power_kinds(promptry.pair_runs(kinds_run(draw, n, steady), baseline))
        drop = promptry.smallest_mean_drop(plan, promptry.ALPHA, 0.02) or 1.0
        falls = dict.fromkeys(steady, drop) if spread == "every kind" else {"a": min(rates[0], drop * len(rates))}
        now = kinds_run(draw, n, {kind: rate - falls.get(kind, 0.0) for kind, rate in steady.items()})
        paired = promptry.pair_runs(baseline, now)
        verdict, _ = promptry._verdict(paired, promptry.paired_deltas(paired.kinds), [], {})
        found += verdict == "regressed"
    print(f"{rates} {spread}: {found / rounds:.3f} found")
    assert found / rounds >= 0.77


# --- flips and passing


def test_flips_say_what_broke_what_is_flaky_and_what_was_fixed(world: World) -> None:
    quiz(world)
    fail(world, 2)  # c00 and c01 fail in the baseline
    run_suite("quiz")
    world.clear()
    world.update({"c01": "fail", "c02": "fail", "c03": ["fail", "pass"], "c04": ["fail", "fail", "pass"]})
    result = judged()
    assert result.comparison is not None
    assert [(flip["case"], flip["state"], flip["before"], flip["now"]) for flip in result.comparison["flips"]] == [
        ("c02", "broken", "pass", "fail"),
        ("c03", "flaky", "pass", "fail"),
        ("c04", "flaky", "pass", "fail"),
        ("c00", "fixed", "fail", "pass"),
    ]
    assert all(
        set(flip) == {"case", "assertion_type", "ordinal", "before", "now", "state"}
        for flip in result.comparison["flips"]
    )
    assert result.comparison["known"] == ["c01"]
    assert code_of(result) == 1


@pytest.mark.parametrize(("confirm", "tries"), [(0, 1), (1, 2), (2, 3), (4, 5)])
def test_a_break_is_confirmed_by_as_many_further_tries_as_asked(confirm: int, tries: int, world: World) -> None:
    calls: list[str] = []

    @suite("quiz", prompt="p", dataset=[{"id": "a"}, {"id": "b"}], confirm=confirm)
    def check(item: dict[str, str]) -> None:
        render_prompt("p", "")
        calls.append(item["id"])
        assert_exact(world.get(item["id"], 1), 1)

    run_suite("quiz")
    calls.clear()
    world["a"] = 0
    assert code_of(judged()) == 1
    assert (calls.count("a"), calls.count("b")) == (tries, 1)


def test_a_flaky_case_is_listed_and_not_fatal(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    world["c05"] = ["fail", "pass"]
    result = judged()
    assert result.passed and code_of(result) == 0
    assert [flip["state"] for flip in result.comparison["flips"]] == ["flaky"]  # type: ignore[index]
    assert "flaky" in promptry.render_result(result)


def test_further_tries_do_not_touch_what_is_stored(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    world["c05"] = ["fail", "pass"]
    result = judged()
    assert result.counts["cases"] == result.counts["checks"] == 20 and result.counts["fail"] == 1
    assert result.score == pytest.approx(0.95)


def test_cases_that_failed_in_the_baseline_too_are_known_and_not_fatal(world: World) -> None:
    quiz(world)
    fail(world, 3)
    run_suite("quiz")
    result = judged()
    assert result.passed and code_of(result) == 0
    assert result.comparison["known"] == ["c00", "c01", "c02"]  # type: ignore[index]
    assert "known failures" in promptry.render_result(result)


def test_one_broken_case_fails_the_run_whatever_the_verdict(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    fail(world, 1)
    result = judged()
    assert result.verdict == "not enough data" and code_of(result) == 1
    assert any("broken" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("options", "run_options"),
    [({"gate": "statistical"}, {}), ({"min_pass_rate": 0.5}, {}), ({}, {"min_score": 0.5}), ({}, {"repeats": 2})],
)
def test_under_the_statistical_gate_one_broken_case_is_listed_and_not_fatal(
    options: dict[str, Any], run_options: dict[str, Any], world: World
) -> None:
    quiz(world, **options)
    run_suite("quiz", **run_options)
    fail(world, 1)
    result = judged(**run_options)
    assert result.passed and code_of(result) == 0, result.reasons
    assert [(flip["case"], flip["state"]) for flip in result.comparison["flips"]] == [("c00", "broken")]  # type: ignore[index]


@pytest.mark.parametrize(("rate", "failed", "code"), [(0.9, 2, 0), (0.9, 3, 1), (1.0, 1, 1), (0.0, 20, 0)])
def test_a_pass_rate_asked_for_decides_without_a_baseline(rate: float, failed: int, code: int, world: World) -> None:
    quiz(world, min_pass_rate=rate)
    fail(world, failed)
    assert code_of(run_suite("quiz")) == code


@pytest.mark.parametrize(("least", "failed", "code"), [(0.9, 2, 0), (0.9, 3, 1), (0.0, 20, 0)])
def test_a_score_asked_for_decides_without_a_baseline(least: float, failed: int, code: int, world: World) -> None:
    quiz(world)
    fail(world, failed)
    assert code_of(run_suite("quiz", min_score=least)) == code


def test_absolute_demands_hold_beside_a_baseline_too(world: World) -> None:
    quiz(world, min_pass_rate=0.95)
    fail(world, 3)
    run_suite("quiz")
    result = judged()
    assert result.verdict != "regressed" and code_of(result) == 1
    assert any("95" in reason for reason in result.reasons)


def test_errors_are_no_scores_and_the_run_could_not_decide(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    world["c00"] = "error"
    result = judged()
    assert result.score == 1.0 and result.counts["scored"] == 19
    assert not result.passed and code_of(result) == 3


def test_a_regression_beside_an_error_is_a_regression(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    fail(world, 8)
    world["c19"] = "error"
    result = judged()
    assert result.verdict == "regressed" and code_of(result) == 1


def test_a_case_of_thirty_checks_of_which_the_first_fails_is_a_flip(world: World) -> None:
    words = [f"w{number}" for number in range(30)]

    @suite("quiz", prompt="p")
    def check() -> None:
        render_prompt("p", "")
        for word in words:
            with contextlib.suppress(AssertionError):
                assert_contains(" ".join(world.get("text", words)), word)

    run_suite("quiz")
    world["text"] = words[1:10] + words[11:]
    result = judged()
    assert [
        (flip["case"], flip["assertion_type"], flip["ordinal"], flip["state"]) for flip in result.comparison["flips"]
    ] == [  # type: ignore[index]
        ("quiz", "contains", 0, "broken")
    ] or result.comparison["flips"][0]["ordinal"] == 0  # type: ignore[index]
    assert code_of(result) == 1


def test_repeats_make_a_case_mixed_and_mixed_is_flaky(world: World) -> None:
    quiz(world, 8)
    run_suite("quiz", repeats=3)
    world["c01"] = ["fail", "pass", "fail"]
    world["c02"] = "fail"
    found = judged(repeats=3).comparison
    assert found is not None
    assert {(flip["case"], flip["state"]) for flip in found["flips"]} == {("c01", "flaky"), ("c02", "broken")}


def test_a_case_that_is_mixed_in_both_runs_is_no_flip(world: World) -> None:
    quiz(world, 8)
    world["c01"] = ["fail", "pass", "pass", "fail", "pass", "pass"]
    run_suite("quiz", repeats=3)
    found = judged(repeats=3).comparison
    assert found is not None and found["flips"] == []


# --- the cause


def test_the_cause_is_the_prompt_and_its_diff_is_shown(world: World) -> None:
    quiz(world)
    run_suite("quiz", model_version="m-1")
    save_prompt("p", "You are helpful.\nAnswer in one word.")
    fail(world, 8)
    result = judged(model_version="m-1")
    cause = result.comparison["cause"]  # type: ignore[index]
    assert set(cause) == {"prompt", "model", "dataset", "commit", "embedder", "prompt_diff"}
    assert cause["prompt"] == {"before": "p@1", "now": "p@2"}
    assert cause["model"] is None and cause["commit"] is None
    assert "+You are helpful." in cause["prompt_diff"]
    text = promptry.render_result(result)
    assert "+You are helpful." in re.sub("\x1b\\[[0-9;]*m", "", text) and "p@1 -> p@2" in text


def test_the_cause_is_the_model(world: World) -> None:
    quiz(world)
    run_suite("quiz", model_version="m-1")
    cause = judged(model_version="m-2").comparison["cause"]  # type: ignore[index]
    assert (
        cause["model"] == {"before": "m-1", "now": "m-2"} and cause["prompt"] is None and cause["prompt_diff"] is None
    )


def test_the_cause_is_the_dataset(world: World) -> None:
    for extra in (0, 1):
        promptry.save_dataset("qa", [{"id": f"c{number:02}"} for number in range(8 + extra)])

        @suite("quiz", prompt="p", dataset="qa")
        def check(item: Any) -> None:
            render_prompt("p", "")
            assert_exact(1, 1)

        result = judged()
    assert result.comparison["cause"]["dataset"] == {"before": "qa@1", "now": "qa@2"}  # type: ignore[index]


def test_a_dataset_in_the_code_that_changed_under_the_same_ids_is_a_cause(world: World) -> None:
    for question in ("old", "new"):

        @suite("quiz", prompt="p", dataset=[{"id": f"c{number}", "q": question} for number in range(8)])
        def check(item: Any) -> None:
            render_prompt("p", "")
            assert_exact(1, 1)

        result = judged()
    assert result.comparison["cause"] is not None  # type: ignore[index]


def test_when_nothing_that_is_recorded_changed_it_says_so(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    result = judged()
    assert result.comparison["cause"] is None  # type: ignore[index]
    assert "nothing we record changed" in promptry.render_result(result)


# --- the shape


def test_a_comparison_has_the_keys_that_others_rely_on(world: World) -> None:
    quiz(world)
    baseline = run_suite("quiz")
    fail(world, 8)
    run = judged()
    found = compare_runs(run.run_id, baseline.run_id)
    keys = {"verdict", "delta", "interval", "p", "n", "flips", "deltas", "cause", "run", "baseline"}
    assert set(found._fields) >= keys and set(found.to_dict()) >= keys
    assert set(found.to_dict()) == keys | {"passed", "known", "unpaired", "groups", "breaks", "reason", "doubts"}
    assert set(found.run) == set(found.baseline) == {"id", "date", "n", "age_s"}
    assert set(found.deltas[0]) >= {"assertion_type", "n", "baseline", "current", "delta", "interval", "p"}
    assert run.comparison is not None
    ageing = {"run", "baseline"}
    first, second = (json.loads(json.dumps(answer)) for answer in (run.comparison, found.to_dict()))
    assert {key: first[key] for key in first.keys() - ageing} == {key: second[key] for key in second.keys() - ageing}
    keys = {"run_id", "suite", "passed", "score", "counts", "cases", "cost_usd"}
    assert set(run.to_dict()) >= keys
    json.dumps(run.to_dict())


def test_each_output_names_the_baseline_with_its_date_n_and_age(world: World) -> None:
    quiz(world)
    baseline = run_suite("quiz")
    result = judged()
    text = promptry.render_result(result)
    assert f"run {baseline.run_id}" in text
    assert baseline.date[:10] in text
    assert re.search(r"\d+ seconds old", text)
    assert "20 pairs" in text


@pytest.mark.parametrize("baseline", [None, "prod", "1", 1])
def test_a_baseline_is_named_by_id_by_tag_or_not_at_all(baseline: Any, world: World) -> None:
    quiz(world)
    run_suite("quiz")
    run = judged()
    assert compare_runs(run.run_id, baseline).baseline["id"] == "1"


@pytest.mark.parametrize(
    ("run", "baseline", "error", "words"),
    [
        ("99", None, promptry.NotFound, "no run 99"),
        ("1", "99", promptry.NotFound, "no run 99"),
        ("x", None, promptry.WrongUse, "run id"),
        ("-1", None, promptry.WrongUse, "run id"),
        ("1", "no-such-tag", promptry.NotFound, "no-such-tag"),
        ("1", "2", promptry.WrongUse, "one suite"),
        ("1", None, promptry.NotFound, "There is no other"),
        ("1", "", promptry.PromptryError, "."),
    ],
)
def test_what_cannot_be_compared_is_said(
    run: str, baseline: Any, error: type[Exception], words: str, world: World
) -> None:
    quiz(world)
    run_suite("quiz")
    suite("other", prompt="p")(lambda: assert_exact(1, 1))
    run_suite("other")
    with pytest.raises(error, match=words):
        compare_runs(run, baseline)


def test_the_judged_run_stands_first(world: World) -> None:
    quiz(world)
    good = run_suite("quiz")
    fail(world, 8)
    bad = run_suite("quiz")
    assert compare_runs(bad.run_id, good.run_id).verdict == "regressed"
    better = compare_runs(good.run_id, bad.run_id)
    assert better.verdict == "improved" and better.p == better.deltas[0]["p_better"] < 0.04 < better.deltas[0]["p"]


# --- exit codes

EVALS = """
import json, pathlib
from promptry import *
WORLD = json.loads(pathlib.Path("world.json").read_text())

@suite("quiz", prompt="p", dataset=[{"id": f"c{n:02}"} for n in range(20)])
def check(item):
    render_prompt("p", "")
    state = WORLD.get(item["id"], "pass")
    if state == "error":
        raise RuntimeError("crashed")
    assert_exact(state, "pass")
"""
ALL_IN_ERROR = {f"c{number:02}": "error" for number in range(20)}
EIGHT = {f"c{number:02}": "fail" for number in range(8)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("states", "words", "code"),
    [
        ({}, [], 0),
        ({}, ["--compare", "prod"], 0),
        ({}, ["--compare", "prod", "--require-baseline"], 0),
        ({"c00": "fail"}, [], 1),
        (EIGHT, ["--compare", "prod"], 1),
        ({"c00": "fail"}, ["--compare", "prod"], 1),
        ({"c00": "fail"}, ["--compare", "prod", "--min-score", "0.5"], 0),
        (EIGHT, ["--compare", "staging"], 1),
        ({}, ["--min-score", "1.0"], 0),
        ({"c00": "fail"}, ["--min-score", "0.99"], 1),
        ({}, ["--compare", "nowhere"], 2),
        ({}, ["--prompt-version", "7"], 2),
        ({}, ["--env", "nowhere"], 2),
        ({}, ["other"], 2),
        ({}, ["--min-score", "7"], 2),
        ({}, ["--repeats", "0"], 2),
        ({}, ["--no-such-option"], 2),
        ({"c00": "error"}, [], 3),
        ({"c00": "error"}, ["--compare", "prod"], 3),
        ({"c00": "error", "c01": "fail"}, [], 1),
        (ALL_IN_ERROR, ["--min-score", "0.5"], 3),
        (ALL_IN_ERROR, ["--compare", "prod"], 3),
        ({"c00": "error", **EIGHT}, ["--compare", "prod"], 1),
        ({}, ["--compare", "staging", "--require-baseline"], 3),
        ({"c00": "fail"}, ["--compare", "staging", "--require-baseline"], 1),
        ({}, ["--compare", "prod", "--require-power"], 3),
        ({"c00": "fail"}, ["--compare", "prod", "--require-power"], 1),
        ({}, ["--require-power"], 2),
        ({}, ["--require-baseline"], 2),
    ],
)
def test_the_exit_codes(
    states: dict[str, str], words: list[str], code: int, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    sys.modules.pop("evals", None)
    (tmp_path / "evals.py").write_text(EVALS)
    (tmp_path / "world.json").write_text("{}")
    assert promptry.run_command(["run", "--module", "evals"]) == 0
    save_prompt("p", "Staged.", tag="staging")
    save_prompt("p", "Answer in one word.")
    (tmp_path / "world.json").write_text(json.dumps(states))
    assert promptry.run_command(["run", *words]) == code


def test_the_worst_of_several_suites_decides_and_1_wins_over_3(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    sys.modules.pop("evals", None)
    (tmp_path / "evals.py").write_text(
        "from promptry import *\n"
        "@suite('good')\ndef a(): assert_exact(1, 1)\n"
        "@suite('bad')\ndef b(): assert_exact(1, 2)\n"
        "@suite('crash')\ndef c(): raise RuntimeError('x')\n"
    )
    assert promptry.run_command(["run"]) == 1
    assert promptry.run_command(["run", "good", "crash"]) == 3
    assert promptry.run_command(["run", "good"]) == 0
    assert promptry.list_runs()["total"] == 6


def test_compare_exits_1_for_a_run_that_got_worse_and_0_for_one_that_did_not(world: World) -> None:
    quiz(world)
    run_suite("quiz")
    fail(world, 8)
    run_suite("quiz")
    assert promptry.run_command(["compare", "2", "1"]) == 1
    assert promptry.run_command(["compare", "1", "2"]) == 0


# --- groups, and what the verdict says of itself


def grouped_quiz(world: World, n: int, size: int) -> None:
    """Register a suite of n cases, so many of them in each group."""
    items = [{"id": f"c{number:02}", "group": number // size} for number in range(n)]

    @suite("quiz", prompt="p", dataset=items, gate="statistical")
    def check(item: dict[str, Any]) -> None:
        render_prompt("p", "")
        act(world, item["id"])


@pytest.mark.parametrize(
    ("n", "size", "failed", "verdict", "groups"),
    [
        (24, 1, 6, "regressed", 24),
        (24, 4, 8, "not enough data", 6),  # two groups that fall are no eight cases that fall
        (24, 4, 24, "regressed", 6),
        (25, 5, 25, "not enough data", 5),
        (40, 2, 12, "regressed", 20),
    ],
)
def test_cases_of_a_group_are_one_witness(
    n: int, size: int, failed: int, verdict: str, groups: int, world: World, raw: sqlite3.Connection
) -> None:
    grouped_quiz(world, n, size)
    run_suite("quiz")
    fail(world, failed)
    result = judged()
    found = result.comparison
    assert found is not None and (result.verdict, found["n"], found["groups"]) == (verdict, n, groups)
    assert found["deltas"][0]["groups"] == groups and (found["interval"] is None) == (groups < 6)
    said = f"{n} pairs in {groups} groups"
    assert said in promptry.render_result(result)
    report = promptry.load_report(result, 0)
    for text in (promptry.render_markdown([report]), promptry.render_html([report])):
        assert f"{n} in {groups} groups" in text and f"{n} cases in {groups} groups" in text
    assert f'name="groups" value="{groups}"' in promptry.render_junit([report])
    sql = "SELECT count(DISTINCT json_extract(details, '$.group')) FROM eval_results WHERE run_id = ?"
    assert raw.execute(sql, (result.run_id,)).fetchone() == (groups,)


def test_a_block_names_its_group_and_one_within_it_may_name_another(store: Path) -> None:
    @suite("blocks")
    def check() -> None:
        for document in (1, 2):
            with case(f"d{document}", group=document):
                with case("a"):
                    assert_exact(1, 1)
                with case("b", group="own"):
                    assert_exact(1, 1)
        with case("alone"):
            assert_exact(1, 1)

    rows = promptry.get_run(run_suite("blocks").run_id)["cases"]
    assert {row["case"]: row["group"] for row in rows} == {
        "d1/a": "1",
        "d1/b": "own",
        "d2/a": "2",
        "d2/b": "own",
        "alone": None,
    }


@pytest.mark.parametrize("group", [["a"], {"x": 1}, True, 1.5, "g" * 201])
def test_a_group_that_is_no_text_is_refused_before_a_case_runs(group: Any, store: Path) -> None:
    ran: list[int] = []
    suite("quiz", dataset=[{"id": "a", "group": "x"}, {"id": "b", "group": group}])(lambda item: ran.append(1))
    with pytest.raises(promptry.WrongUse, match="The group of 'b' is"):
        run_suite("quiz")
    assert not ran
    suite("quiz", dataset=[{"id": "a", "group": None}, {"id": "b", "group": ""}])(lambda item: assert_exact(1, 1))
    assert {row["group"] for row in run_suite("quiz").cases} == {None}


def test_errors_in_a_group_keep_its_name(world: World) -> None:
    grouped_quiz(world, 12, 2)
    world["c03"] = "error"
    rows = promptry.get_run(run_suite("quiz").run_id)["cases"]
    assert [row["group"] for row in rows if row["state"] == "error"] == ["1"]


@pytest.mark.parametrize(
    ("n", "before", "now", "words"),
    [
        (20, 0, 8, "exact changed by -0.400 over 20 pairs (p 0.0039 of 0.04)"),
        (20, 8, 0, "exact changed by +0.400 over 20 pairs"),
        (5, 0, 5, "5 pairs are too few: the least is 6"),
        (100, 0, 0, "a drop of 0.1 would have been seen in 80 of 100 runs"),
        (20, 0, 0, "20 pairs as unsteady as these show a drop of 0."),
        (60, 0, 5, "the interval to both at 5 %, so it may hold zero"),
    ],
)
def test_the_verdict_says_what_it_rests_on(n: int, before: int, now: int, words: str, world: World) -> None:
    quiz(world, n, gate="statistical")
    fail(world, before)
    run_suite("quiz")
    fail(world, now)
    found = judged().comparison
    assert found is not None
    assert words in found["reason"] and found["reason"] in promptry.render_comparison(found)


def test_the_interval_and_the_verdict_say_the_same_or_the_difference_is_explained(world: World) -> None:
    for worse, better in [(worse, better) for worse in range(12) for better in range(4)]:
        before = [{"case": f"c{n}", "repeat": 0, "state": "pass", "score": float(n >= better)} for n in range(60)]
        now = [{**row, "score": float(n < better or n >= better + worse)} for n, row in enumerate(before)]
        for rows in (before, now):
            for row in rows:
                row |= {"group": None, "checks": [{"assertion_type": "exact", "score": row["score"]}]}
        paired = promptry.pair_runs(before, now)
        deltas = promptry.paired_deltas(paired.kinds)
        verdict, reason = promptry._verdict(paired, deltas, [], {})
        low, high = promptry.paired_interval(paired.cases.differences, paired.cases.binary) or (0, 0)
        assert verdict != "regressed" or high < 0 or "may hold zero" in reason
        assert verdict != "improved" or low > 0 or "may hold zero" in reason
        assert low <= sum(paired.cases.differences) / 60 <= high


def test_scores_of_two_embedders_are_not_compared(world: World) -> None:
    def told(vector: list[float], name: str) -> Any:
        promptry.set_embedder(lambda texts: [vector if text == "now" else [1.0, 0.0] for text in texts], name=name)

        @suite("meaning", prompt="p")
        def check() -> None:
            render_prompt("p", "")
            for number in range(8):
                with case(f"c{number}"):
                    promptry.assert_exact(1, 1)
                    promptry.assert_semantic("now", "then", threshold=0.1)

        return run_suite("meaning").run_id

    promptry.save_prompt("p", "one", tag="prod")
    try:
        first, second, third = told([1.0, 0.0], "a"), told([0.6, 0.8], "b"), told([0.5, 0.8], "b")
    finally:
        promptry.set_embedder(None)
    found = promptry.compare_runs(second, first)
    assert [row["assertion_type"] for row in found.deltas] == ["exact"] and found.delta == 0.0 and found.n == 8
    assert found.reason.endswith("what a and b scored is on two scales, and left out")
    assert found.cause is not None and found.cause["embedder"] == {"before": "a", "now": "b"}
    same = promptry.compare_runs(third, second)
    assert {row["assertion_type"] for row in same.deltas} == {"exact", "semantic"} and "scales" not in same.reason
    assert same.delta is not None and same.delta < 0
