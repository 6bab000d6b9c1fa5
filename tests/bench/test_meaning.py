"""What assert_semantic() costs beside the model that it asks; run with -s to see the table.

The floor is two bare encodes of the same texts by the same model, which is what a pair takes without batches, guards,
cache or record. Both take turns on pairs that no cache has seen, so that a machine that slows down slows both.
"""

from __future__ import annotations

import statistics
import time

import pytest

import promptry
from promptry import assert_embedding_distance, assert_semantic, collect

pytestmark = pytest.mark.bench

GOAL = 1.3
GOAL_MS = 5.0
TABLE = "{:<34}" + "{:>12}" * 4
PAIRS = 200


def pair_of(number: int) -> tuple[str, str]:
    return (
        f"Order {number} of customer {number * 7} is refunded to the card within fourteen days after it came back.",
        f"The money for order {number} goes back to the card of customer {number * 7} in two weeks at most.",
    )


def timed_ms(function: object, *arguments: str) -> float:
    began = time.perf_counter()
    function(*arguments)  # type: ignore[operator]
    return (time.perf_counter() - began) * 1000


def semantic(actual: str, expected: str) -> float:
    return assert_semantic(actual, expected, 0)


def distance(actual: str, expected: str) -> float:
    return assert_embedding_distance(actual, expected, 2)


def test_a_pair_costs_little_beside_its_two_encodes() -> None:
    promptry.embed(["loaded"])
    assert promptry._model is not None
    encode = promptry._model[1]
    columns: dict[str, list[float]] = {"two bare encodes": [], "assert_semantic, new texts": []}
    columns |= {"assert_semantic, expected known": [], "assert_embedding_distance, known": []}
    with collect():
        for number in range(PAIRS):
            actual, expected = pair_of(number)
            columns["two bare encodes"].append(
                timed_ms(lambda one, two: (encode([one]), encode([two])), actual, expected)
            )
            columns["assert_semantic, new texts"].append(timed_ms(semantic, actual, expected))
            columns["assert_semantic, expected known"].append(timed_ms(semantic, f"Well: {actual}", expected))
            columns["assert_embedding_distance, known"].append(timed_ms(distance, actual, expected))
    floor = statistics.median(columns["two bare encodes"])
    print("\n" + TABLE.format("ms a pair", "p50", "p90", "of floor", "goal"))
    for name, times in columns.items():
        p50, p90 = statistics.median(times), statistics.quantiles(times, n=10)[-1]
        goal = f"{GOAL} x" if name.endswith("new texts") else ""
        print(TABLE.format(name, f"{p50:.3f}", f"{p90:.3f}", f"{p50 / floor:.2f}", goal))
    p50 = statistics.median(columns["assert_semantic, new texts"])
    print(f"p50 of a pair is {p50:.2f} ms; the goal on a quiet machine is {GOAL_MS:g} ms")
    assert p50 / floor <= GOAL
