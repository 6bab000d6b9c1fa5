"""TALLIES: what a run counts as its outcomes come, whatever their order, in a memory that does not grow with them."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest

import promptry
from promptry import CaseOutcome, count_outcome, counts_of, make_tally, score_of

WHOLE = promptry.LAST_ORDER


def outcome(case: str, score: float | None = 1.0, *, repeat: int = 0, state: str = "", order: int = WHOLE) -> Any:
    state = state or ("error" if score is None else "pass" if score == 1.0 else "fail")
    return CaseOutcome(case, repeat, state, score, [promptry.Check("exact", True, score, {})], order)


def tally_of(outcomes: Iterable[Any], **how: Any) -> promptry.Tally:
    tally = make_tally(**how)
    for found in outcomes:
        count_outcome(tally, found)
    return tally


def test_cases_states_checks_and_scores_are_counted() -> None:
    tally = tally_of([outcome("a"), outcome("b", 0.5), outcome("c", None), outcome("d", None, state="skipped")])
    assert counts_of(tally) == {
        **{"cases": 4, "pass": 1, "fail": 1, "error": 1, "skipped": 1},
        **{"checks": 4, "scored": 2},
    }
    assert score_of(tally) == 0.75
    assert score_of(make_tally()) is None and counts_of(make_tally())["cases"] == 0


def test_the_score_is_the_mean_over_the_cases_of_their_means() -> None:
    rows = [outcome("a", 1.0), outcome("a", 0.0, repeat=1), outcome("b", 1.0), outcome("b", None, repeat=1)]
    tally = tally_of(rows, repeats=2)
    assert score_of(tally) == 0.75, "of b only one repeat gave a score"
    assert counts_of(tally) | {"cases": 2, "scored": 2, "checks": 4} == counts_of(tally)


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_order_in_which_cases_end_changes_no_number(repeats: int) -> None:
    chance = random.Random(7)
    rows = [
        outcome(f"c{number}", chance.choice([None, chance.random(), 0.1]), repeat=repeat)
        for repeat in range(repeats)
        for number in range(200)
    ]
    means: dict[str, list[float]] = {}
    for row in rows:
        if row.score is not None:
            means.setdefault(row.case, []).append(row.score)
    found = set()
    for _ in range(5):
        tally = tally_of(rows, repeats=repeats)
        found.add((score_of(tally), tuple(counts_of(tally).items())))
        chance.shuffle(rows)
    ((score, counts),) = found
    assert score == pytest.approx(math.fsum(sum(m) / len(m) for m in means.values()) / len(means), abs=1e-15)
    assert dict(counts)["scored"] == len(means) and dict(counts)["cases"] == 200


def test_a_name_that_is_there_already_gets_a_number() -> None:
    tally = make_tally()
    names = ["x", "x", "y", "x", "x#2", "x"]
    found = [count_outcome(tally, outcome(name, order=place)).case for place, name in enumerate(names)]
    assert found == ["x", "x#2", "y", "x#3", "x#2#2", "x#4"], "and no name that another case has"
    assert count_outcome(tally, outcome("x", repeat=1, order=9)).case == "x", "another repeat has its own"
    assert count_outcome(tally, outcome("x")).case == "x#5", "the whole suite's case may be named like a block"
    assert counts_of(tally)["cases"] == 7


def test_names_are_those_that_can_be_stored() -> None:
    tally = make_tally()
    found = [count_outcome(tally, outcome(name, order=place)).case for place, name in enumerate(["a\ud800", "a\ud801"])]
    assert found == ["a?", "a?#2"]


def test_known_flaky_cases_are_counted_beside_and_their_scores_nowhere() -> None:
    for repeats in (1, 2):
        rows = [outcome("a"), outcome("b", 0.0), outcome("b/c", 0.0, order=1)]
        tally = tally_of(rows, apart={"b", "b/c", "gone"}, repeats=repeats)
        counts = counts_of(tally)
        assert (counts["cases"], counts["scored"], counts["flaky"]) == (3, 1, 2)
        assert (counts["flaky_pass"], counts["flaky_fail"], score_of(tally)) == (0, 2, 1.0)
        assert promptry.decided_counts(counts) == {"pass": 1, "fail": 0, "error": 0, "skipped": 0}
        assert promptry.coverage_of(counts) == 1.0 and tally.flaky_cases == {"b", "b/c"}
    assert "flaky" not in counts_of(tally_of([outcome("a")], apart={"gone"}))


def test_a_temporary_folder_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = tally_of([outcome("a", order=1)])
    assert tally.table is not None
    tally.table.close()
    with pytest.raises(promptry.StoreError, match="cannot be counted"):
        count_outcome(tally, outcome("b", order=2))


@pytest.mark.parametrize("order", [WHOLE, 1])
def test_memory_does_not_grow_with_the_cases(order: int) -> None:
    """Cases that run alone, and those that may meet their names again, in tables of SQLite."""
    tally = tally_of(outcome(f"c{number}", order=order) for number in range(1000))
    tracemalloc.start()
    try:
        for number in range(1000, 6000):
            count_outcome(tally, outcome(f"c{number}", order=order))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 20_000, "less than four bytes a case"
    assert counts_of(tally)["cases"] == 6000
