"""BREAKS: Fisher's test against enumeration and scipy, the family of cases, the history, and seeded false alarms."""

from __future__ import annotations

import doctest
import itertools
import math
import random
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, compare_runs, render_prompt, run_suite, save_prompt, suite

Tries = dict[str, tuple[int, int, int, int]]


def test_the_example_of_fishers_test_is_true() -> None:
    runner = doctest.DocTestRunner()
    for found in doctest.DocTestFinder(recurse=False).find(promptry.fisher_p, "fisher_p", globs=vars(promptry).copy()):
        assert found.examples
        runner.run(found)
    assert runner.summarize().failed == 0


def test_fishers_test_is_the_share_of_all_ways_to_deal_the_passes() -> None:
    for before, now in ((3, 2), (2, 4), (5, 1), (0, 3), (3, 0)):
        for passed in range(before + now + 1):
            deals = [
                sum(way[before:]) for way in set(itertools.permutations([1] * passed + [0] * (before + now - passed)))
            ]
            for passed_now in range(max(0, passed - before), min(now, passed) + 1):
                share = sum(deal <= passed_now for deal in deals) / len(deals)
                assert promptry.fisher_p(passed - passed_now, before, passed_now, now) == pytest.approx(share)


@pytest.mark.slow
def test_fishers_test_equals_scipy_to_nine_places() -> None:
    from scipy import stats

    for before, tries_before, now, tries_now in (
        (20, 20, 0, 5),
        (9, 12, 3, 8),
        (1, 1, 0, 1),
        (300, 320, 40, 50),
        (7, 9, 5, 5),
    ):
        table = [[now, tries_now - now], [before, tries_before - before]]
        expected = stats.fisher_exact(table, alternative="less").pvalue
        assert promptry.fisher_p(before, tries_before, now, tries_now) == pytest.approx(expected, abs=1e-9)


def hard_of(tries: Tries) -> list[str]:
    return [row["case"] for row in promptry.find_breaks(tries) if row["hard"]]


def steady(n: int, before: int = 20, now: int = 5) -> Tries:
    return {f"c{number}": (before, before, now, now) for number in range(n)}


@pytest.mark.parametrize("n", [1, 200, 10_000])
def test_one_hard_break_among_many_cases_is_found(n: int) -> None:
    assert hard_of({**steady(n - 1), "x": (20, 20, 0, 5)}) == ["x"]


@pytest.mark.parametrize("flaky", [0.5, 0.8, 0.95])
def test_a_hard_break_is_found_beside_two_hundred_flaky_cases(flaky: float) -> None:
    draw = random.Random(1)

    def passes(tries: int) -> int:
        return sum(draw.random() < flaky for _ in range(tries))

    tries = {f"c{number}": (passes(20), 20, passes(5), 5) for number in range(199)}
    assert hard_of({**tries, "x": (20, 20, 0, 5)}) == ["x"]


@pytest.mark.parametrize(
    ("counts", "hard"),
    [
        ((1, 1, 0, 1), False),  # one try each says nothing
        ((1, 1, 0, 98), False),
        ((1, 1, 0, 99), True),  # 1 / 100
        ((5, 5, 0, 5), True),  # 1 / 252
        ((4, 4, 0, 4), False),  # 1 / 70
        ((99, 99, 0, 1), True),
        ((98, 98, 0, 1), False),
        ((0, 20, 0, 5), False),  # it never passed
        ((20, 20, 5, 5), False),
        ((0, 20, 5, 5), False),  # it got better
        ((0, 0, 0, 5), False),  # it never ran before
        ((20, 20, 0, 0), False),
    ],
)
def test_a_case_alone_is_broken_hard_by_its_own_tries(counts: tuple[int, int, int, int], hard: bool) -> None:
    assert hard_of({"x": counts}) == (["x"] if hard else [])


def test_only_cases_that_could_tell_share_the_alpha() -> None:
    """Ten breaks of 5 tries each are ten tests of 1 / 252; a thousand cases of one try each are no test at all."""
    few: Tries = {f"f{number}": (1, 1, number % 2, 1) for number in range(1000)}
    assert hard_of({**few, "x": (5, 5, 0, 5)}) == ["x"]
    assert hard_of({f"x{number}": (5, 5, 0, 5) for number in range(10)}) == []
    rows = promptry.find_breaks({f"x{number}": (20, 20, 0, 5) for number in range(10)})
    assert [row["p"] for row in rows] == pytest.approx([10 / math.comb(25, 5)] * 10)


def test_what_fails_is_told_with_the_tries_that_would_decide() -> None:
    rows = {row["case"]: row for row in promptry.find_breaks({**steady(5), "a": (12, 12, 1, 2), "b": (0, 3, 0, 1)})}
    assert set(rows) == {"a", "b"}, "cases that hold are not listed"
    assert rows["a"]["before"] == {"passed": 12, "tries": 12} and rows["a"]["now"] == {"passed": 1, "tries": 2}
    needed = rows["a"]["decides"]
    assert hard_of({**steady(5), "a": (12, 12, 0, needed)}) == ["a"]
    assert hard_of({**steady(5), "a": (12, 12, 0, needed - 1)}) == []
    assert rows["b"]["decides"] is None, "what never passed cannot break"


def test_the_tries_that_would_decide_suffice_beside_all_that_fail() -> None:
    failing: Tries = {f"x{number}": (12, 12, 0, 1) for number in range(29)}
    (needed,) = {row["decides"] for row in promptry.find_breaks({**steady(66), **failing})}
    assert needed is not None
    assert len(hard_of({**steady(66), **{name: (12, 12, 0, needed) for name in failing}})) == 29
    assert hard_of({**steady(66), **{name: (12, 12, 0, needed - 1) for name in failing}}) == []
    lines = promptry.break_lines(promptry.find_breaks(failing))
    told = f"passed 12 of 12 before, 0 of 1 now; {needed} failing tries each would decide"
    assert lines == [f"x0, x1, x10, x11, x12 and 24 more: {told}"]


def test_ten_thousand_cases_that_could_all_tell_are_told_apart_at_once() -> None:
    tries: Tries = {f"c{number}": (90, 100, 45, 50) for number in range(9_999)}
    assert hard_of({**tries, "x": (100, 100, 10, 50)}) == ["x"]


def test_no_case_is_no_break() -> None:
    assert promptry.find_breaks({}) == []


# --- the history of a case


@pytest.fixture
def world(store: Path) -> dict[str, Any]:
    save_prompt("p", "one", tag="prod")
    return {}


def quiz(world: dict[str, Any], n: int = 8, **options: Any) -> None:
    """Register a suite whose cases hold unless the world says otherwise."""
    items = [{"id": f"c{number}", "v": options.pop("value", 0)} for number in range(n)]

    @suite("quiz", prompt="p", dataset=items, gate="statistical", **options)
    def check(item: Any) -> None:
        render_prompt("p", "")
        state = world.get(item["id"], "pass")
        if isinstance(state, list):
            state = state.pop(0) if len(state) > 1 else state[0]
        if state == "error":
            raise RuntimeError("no answer")
        assert_exact(state, "pass")


def tries_of(found: promptry.Comparison, case: str = "c0") -> tuple[Any, Any]:
    row = next(row for row in found.breaks if row["case"] == case)
    return row["before"], row["now"]


def test_earlier_runs_of_the_baselines_version_are_its_tries(world: dict[str, Any]) -> None:
    quiz(world)
    for _ in range(3):
        run_suite("quiz", repeats=4)
    world["c0"] = "fail"
    result = run_suite("quiz", compare="prod", repeats=5)
    found = result.comparison
    assert found is not None and result.verdict == "regressed" and not result.passed
    assert found["breaks"] == [
        {
            "case": "c0",
            "before": {"passed": 12, "tries": 12},
            "now": {"passed": 0, "tries": 5},
            "p": pytest.approx(1 / math.comb(17, 5)),
            "hard": True,
            "decides": 3,
        }
    ]
    assert "c0 is broken hard" in found["reason"] and "12 of 12 before, 0 of 5 now" in found["reason"]
    assert found["p"] > 0.04, "the mean of eight cases does not tell it"
    table = promptry.render_result(result)
    assert "c0: passed 12 of 12 before, 0 of 5 now" in table and "broken hard" in table


def run_again(world: dict[str, Any]) -> None:
    run_suite("quiz")


def run_another_version(world: dict[str, Any]) -> None:
    save_prompt("p", "two")
    run_suite("quiz")
    save_prompt("p", "one")


def run_another_model(world: dict[str, Any]) -> None:
    run_suite("quiz", model_version="other")


def run_other_data(world: dict[str, Any]) -> None:
    quiz(world, value=7)
    run_suite("quiz")
    quiz(world)


def run_interrupted(world: dict[str, Any]) -> None:
    run = run_suite("quiz")
    sql = "UPDATE eval_runs SET metadata = json_set(metadata, '$.complete', json('false')) WHERE id = ?"
    promptry.connect().execute(sql, (int(run.run_id),))


def run_that_failed(world: dict[str, Any]) -> None:
    world["c0"] = "fail"
    run_suite("quiz", compare="prod")
    world.clear()


def run_in_error(world: dict[str, Any]) -> None:
    world["c0"] = "error"
    run_suite("quiz")
    world.clear()


@pytest.mark.parametrize(
    ("between", "before"),
    [
        (run_again, (2, 2)),
        (run_another_version, (1, 1)),
        (run_another_model, (1, 1)),
        (run_other_data, (1, 1)),
        (run_interrupted, (1, 1)),
        (run_that_failed, (1, 2)),  # leaving it out would make the case look better than it was
        (run_in_error, (1, 1)),  # an error is no try
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_what_counts_as_an_earlier_try(between: Any, before: tuple[int, int], world: dict[str, Any]) -> None:
    quiz(world)
    first = run_suite("quiz")
    between(world)
    world["c0"] = "fail"
    found = compare_runs(run_suite("quiz").run_id, first.run_id)
    assert tries_of(found) == ({"passed": before[0], "tries": before[1]}, {"passed": 0, "tries": 1})


def test_a_comparison_answers_the_same_when_more_runs_have_come(world: dict[str, Any]) -> None:
    quiz(world)
    run_suite("quiz")
    world["c0"] = "fail"
    run = run_suite("quiz")
    first = compare_runs(run.run_id, "1").breaks
    world.clear()
    for _ in range(3):
        run_suite("quiz")
    assert compare_runs(run.run_id, "1").breaks == first


def test_runs_without_a_prompt_version_stand_for_themselves(store: Path, raw: sqlite3.Connection) -> None:
    for run in (1, 2, 3):
        raw.execute("INSERT INTO eval_runs (id, suite_name, overall_pass) VALUES (?, 'plain', 1)", (run,))
        rows = [(run, f"c{number}", int(run < 3 or number > 0)) for number in range(7)]
        raw.executemany(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score)"
            " VALUES (?, ?, 'exact', ?3, ?3)",
            rows,
        )
    raw.commit()
    assert tries_of(compare_runs("3", "2")) == ({"passed": 1, "tries": 1}, {"passed": 0, "tries": 1})


def test_a_hard_break_counts_in_a_suite_too_small_for_pairs(world: dict[str, Any]) -> None:
    quiz(world, 2)
    run_suite("quiz", repeats=20)
    world["c0"] = "fail"
    result = run_suite("quiz", compare="prod", repeats=5)
    assert (result.verdict, result.passed) == ("regressed", False)


def test_a_case_that_is_broken_hard_but_passes_once_is_no_flake_in_junit(world: dict[str, Any]) -> None:
    quiz(world)
    for _ in range(3):
        run_suite("quiz", repeats=10)
    world["c0"] = ["pass", "fail"]
    result = run_suite("quiz", compare="prod", repeats=8)
    found = result.comparison
    assert found is not None and found["breaks"][0]["hard"] and found["flips"][0]["state"] == "broken"
    assert promptry.compare_runs(result.run_id).flips == found["flips"]
    report = promptry.load_report(result, 1)
    junit = promptry.render_junit([report])
    assert 'failures="7"' in junit and "flaky, it also passes" not in junit and 'name="hard_breaks" value="1"' in junit
    pages = [promptry.render_markdown([report]), re.sub("<style.*?</style>", "", promptry.render_html([report]))]
    for text in (promptry.render_result(result), *pages):
        assert "roken hard" in text and "30 of 30 before" in text and "laky" not in text
    assert not any(row["flaky"] for row in result.flakes)
    assert not any(row["flaky"] for row in promptry.get_run(result.run_id)["flakes"])
    assert promptry.get_overview()["suites"][0]["flaky"] == {"known": [], "measured": []}


# --- false alarms of this rule alone; those of all rules together are in test_comparison


@pytest.mark.simulation
@pytest.mark.parametrize(("n", "before", "now"), [(5, 20, 5), (50, 20, 5), (200, 5, 5), (200, 100, 1), (40, 3, 10)])
def test_false_hard_breaks_are_no_more_than_one_in_a_hundred(n: int, before: int, now: int) -> None:
    draw, rounds = random.Random(n + before), 1_000 if n > 100 else 3_000
    for rates in ([0.5], [0.9], [0.98], [0.05, 0.5, 0.95, 1.0]):
        alarms = 0
        for _ in range(rounds):
            tries = {}
            for number in range(n):
                rate = rates[number % len(rates)]
                passed = [sum(draw.random() < rate for _ in range(count)) for count in (before, now)]
                tries[f"c{number}"] = (passed[0], before, passed[1], now)
            alarms += any(row["hard"] for row in promptry.find_breaks(tries))
        assert alarms / rounds <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / rounds), rates


def test_what_a_rerun_takes_over_is_no_further_evidence(store: Path) -> None:
    failing: set[str] = set()

    @suite("again", prompt="p", dataset=[{"id": f"c{number}"} for number in range(4)])
    def check(item: dict[str, Any]) -> None:
        render_prompt("p", "")
        assert_exact(item["id"] not in failing, True)

    save_prompt("p", "one", tag="prod")
    failing.add("c0")
    first = run_suite("again").run_id
    for _ in range(12):
        run_suite("again", rerun="failed")
    failing.add("c3")
    found = compare_runs(run_suite("again").run_id, first)
    (row,) = [row for row in found.breaks if row["case"] == "c3"]
    assert row["before"] == {"passed": 1, "tries": 1} and not row["hard"]
