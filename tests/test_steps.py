"""STEPS: the values of an assertion in a file are checked where they stand, by the signature of its function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptry


def steps_in(folder: Path, text: str) -> tuple[list[promptry.Step], list[str]]:
    """Return the assertions that a list tells, and the faults found."""
    (folder / "steps.yaml").write_text(text, encoding="utf-8")
    reading, root = promptry.read_document(folder / "steps.yaml", "steps.yaml")
    return promptry.read_steps(reading, root), list(reading.faults.values())


NUMBERS = [
    (name, key)
    for name, found in promptry.known_assertions().items()
    for key, kinds in found.kinds.items()
    if "number" in kinds
]


@pytest.mark.parametrize(("name", "key"), NUMBERS)
@pytest.mark.parametrize("value", [-0.1, 2.5])
def test_every_decimal_of_an_assertion_has_bounds(tmp_path: Path, name: str, key: str, value: float) -> None:
    given: dict[str, Any] = dict.fromkeys(promptry.known_assertions()[name].required, "x")
    steps, faults = steps_in(tmp_path, promptry.write_yaml([{name: {**given, key: value}}]))
    greatest = 2 if key == "max_distance" else 1
    assert not steps and faults == [f"{name}: {key} is {value}; it takes a number from 0 to {greatest}."]


def test_a_right_assertion_stays_beside_a_wrong_one(tmp_path: Path) -> None:
    steps, faults = steps_in(tmp_path, "- contains: a\n- nope: b\n- semantic: {expected: a, threshold: $least}\n")
    assert [step.assertion.name for step in steps] == ["contains", "semantic"] and len(faults) == 1
    assert steps[1].values["threshold"] == "$least"


@pytest.mark.parametrize("name", ["contains-any", "not-icontains", "is-json", "rouge-n", "trajectory:tool-used"])
def test_a_word_of_promptfoo_is_named_so_and_no_other_is_meant(tmp_path: Path, name: str) -> None:
    _, faults = steps_in(tmp_path, f"- {name}: a\n")
    assert faults == [f"'{name}' is no assertion. It is promptfoo's; promptry import promptfoo says what it is here."]
