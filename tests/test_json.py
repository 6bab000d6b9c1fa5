"""The JSON that programs read: README says which keys each answer has, and each answer has just those."""

from __future__ import annotations

import re
from typing import Any

import pytest
from test_readme import README
from test_reads import ASKED, BY_NAME, answer_of, full  # noqa: F401

import promptry

# Keys whose value is made by the caller, or named by data: what is in them is nobody's promise.
OPEN = {"metadata", "tags", "prompts", "parameters", "confirm", "expected", "actual", "spans"}

MAYBE = {
    "cause",
    "cause.prompt",
    "cause.model",
    "cause.dataset",
    "cause.commit",
    "cause.embedder",
    "fallbacks",
    "remote",
    "unpaired.checks",
}  # null unless it changed, empty unless there are any


def read_shapes() -> dict[str, list[tuple[str, list[str]]]]:
    """Read the block of README: per answer its lines, each a path of keys and the keys that are there."""
    (block,) = re.findall(r"^```text\n(answer +keys\n.*?)^```$", README, re.MULTILINE | re.DOTALL)
    found: dict[str, list[tuple[str, list[str]]]] = {}
    name = ""
    for line in block.split("\n")[1:]:
        if not line.strip():
            continue
        if line.startswith(" " * 4):  # goes on with the keys of the line above
            found[name][-1][1].extend(line.split())
        elif line.startswith("  "):
            path, _, keys = line.strip().partition("  ")
            found[name].append((path, keys.split()))
        else:
            name, _, keys = line.partition("  ")
            found[name] = [("", keys.split())]
    return found


SHAPES = read_shapes()
# What must be asked for so that no answer is empty where it could be full.
BEST = {
    "list_runs": {"suite": "quiz"},
    "compare_runs": {"run_id": "2"},
    "compare_models": {"suite_name": "other"},
    "check_drift": {"suite_name": "many"},
    "bisect_suite": {"suite_name": "quiz", "first": True},
    "get_call": {"id": "6"},
    "get_run": {"id": "2"},
    "get_suite": {"name": "quiz"},
}


def at(answer: Any, path: str) -> list[Any]:
    """Return what stands at a path of keys, each item of a list on the way."""
    found = [answer]
    for key in filter(None, path.split(".")):
        found = [item[key] for item in found if item is not None]
        found = [item for value in found for item in (value if isinstance(value, (list, tuple)) else [value])]
    return [item for item in found if item is not None]


def check_keys(name: str, answer: Any) -> None:
    told = dict(SHAPES[name])
    for path, keys in told.items():
        if keys[:1] == ["as"]:
            continue
        found = at(answer, path)
        assert found or path in MAYBE, (name, path)
        for item in found:
            if item:  # what others wrote may have none of it
                assert set(item) == set(keys), (name, path)
    nested = {path.rpartition(".")[2] for path in told}
    for path, keys in told.items():
        open_too = {"items"} if name == "get_dataset" else set()
        for key in set(keys) - OPEN - nested - open_too:
            for item in at(answer, path):
                value = item.get(key) if isinstance(item, dict) else None
                inner = value[0] if isinstance(value, (list, tuple)) and value else value
                assert not isinstance(inner, dict), f"{name}: what {key} holds is not told"


def best_arguments(name: str) -> dict[str, Any]:
    return BEST.get(name) or next(arguments for asked, _, arguments in ASKED if asked == name)


def test_each_read_is_told() -> None:
    assert SHAPES.keys() == {
        *BY_NAME,
        "run --format json",
        "monitor --json",
        "push --json",
    }  # see test_monitor, test_courier


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_each_answer_has_the_keys_that_the_readme_tells(name: str, full: None) -> None:  # noqa: F811
    answer = answer_of(name, best_arguments(name))
    if "items" in answer and name.startswith("list_"):
        assert {"items", "total", "next"} <= answer.keys() and answer["items"]
    check_keys(name, answer)


def test_what_run_prints_has_the_keys_that_the_readme_tells(full: None) -> None:  # noqa: F811
    promptry.save_prompt("support/answer", "Another one.")
    result = promptry.run_suite("quiz", compare="dev", repeats=2, model_version="m").to_dict()
    assert result["pass_k"] and result["comparison"]["cause"]["prompt"] and result["comparison"]["cause"]["model"]
    check_keys("run --format json", {"items": [result], "total": 1, "next": None})
    check_keys("compare_runs", result["comparison"])
