"""Every assertion on awkward input: a check with a score in 0..1, or one sentence; never another error."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import promptry
from promptry import Conversation, Trajectory, case, suite

NAN = float("nan")


class Unshowable:
    """A value whose repr fails."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")


def nested(depth: int, step: Callable[[Any], Any]) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = step(value)
    return value


INPUTS: dict[str, Any] = {
    "empty": "",
    "blank": " \u200b\n",
    "megabyte": "lorem ipsum " * 90_000,
    "one word": "x" * 1_000_000,
    "emoji": "👩‍👩‍👧‍👦👍🏽",
    "combining": "e\u0301\u0323" * 50,
    "right to left": "\u202eשלום עולם\u202c",
    "nul": "a\x00b",
    "surrogate": "\ud800 a",
    "json": '{"a": [1, 2, {"b": null}]}',
    "json without end": "[" * 100_000,
    "deep json": "[" * 5_000 + "]" * 5_000,
    "json with nan": '{"a": NaN}',
    "none": None,
    "int": 5,
    "long int": 10**5000,
    "nan": NAN,
    "infinity": float("inf"),
    "bool": True,
    "list": ["a", 1, None],
    "deep list": nested(3_000, lambda value: [value]),
    "deep dict": nested(3_000, lambda value: {"a": value}),
    "bytes": b"abc\xff",
    "dict": {"a": NAN, 5: "x"},
    "set": {1, 2},
    "object": object(),
    "unshowable": Unshowable(),
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
    "malformed": [{"role": "assistant", "content": 7}],
}


def judge(prompt: str) -> str:
    (nonce,) = re.findall(r"nonce of your answer is (\w+)", prompt)
    claims = [{"claim": "c", "verdict": "supported", "quote": "a"}]
    return json.dumps({"nonce": nonce, "score": 0.5, "claims": claims})


def talk(text: Any) -> Conversation:
    return Conversation().add("user", "hi").add("assistant", text).add("assistant", "other")


def called_with(given: Any) -> Trajectory:
    return Trajectory.from_dicts([{"role": "tool_call", "tool_name": "f", "tool_input": given}] * 2)


def holds_a(text: str) -> float:
    return promptry.assert_contains(text, "a")


F = [{"name": "f", "args": {"a": 1}}]
# assertion: each way in which an awkward value may come to it
CALLS: dict[str, list[Callable[[Any], float]]] = {
    "exact": [
        lambda value: promptry.assert_exact(value, "a"),
        lambda value: promptry.assert_exact("a", value, case_sensitive=False),
    ],
    "contains": [
        lambda value: promptry.assert_contains(value, "a"),
        lambda value: promptry.assert_contains("a", value),
    ],
    "not_contains": [
        lambda value: promptry.assert_not_contains(value, "a"),
        lambda value: promptry.assert_not_contains("a", value),
    ],
    "matches": [
        lambda value: promptry.assert_matches(value, "a+", fullmatch=False),
        lambda value: promptry.assert_matches("a", value),
    ],
    "json_valid": [promptry.assert_json_valid],
    "levenshtein": [
        lambda value: promptry.assert_levenshtein(value, "abc", min_ratio=0.5),
        lambda value: promptry.assert_levenshtein("abc", value, max_distance=2),
        lambda value: promptry.assert_levenshtein("a", "b", max_distance=value),
        lambda value: promptry.assert_levenshtein("a", "b", min_ratio=value),
    ],
    "rouge_l": [
        lambda value: promptry.assert_rouge_l(value, "a b", 0.5),
        lambda value: promptry.assert_rouge_l("a b", value, 0.5),
        lambda value: promptry.assert_rouge_l("a b", "a", value),
    ],
    "llm": [
        lambda value: promptry.assert_llm(value, "good", judge=judge),
        lambda value: promptry.assert_llm("good", value, judge=judge),
        lambda value: promptry.assert_llm("good", "good", value, judge=judge),
        lambda value: promptry.assert_llm("good", "good", judge=lambda prompt: value),
        lambda value: promptry.assert_llm("good", "good", judge=judge if value is None else value),
    ],
    "grounded": [
        lambda value: promptry.assert_grounded(value, "a b", judge=judge),
        lambda value: promptry.assert_grounded("a b", value, judge=judge),
        lambda value: promptry.assert_grounded("a b", "a b", judge=lambda prompt: value),
    ],
    "semantic": [
        lambda value: promptry.assert_semantic(value, "a b"),
        lambda value: promptry.assert_semantic("a", value),
        lambda value: promptry.assert_semantic("a", "a", value),
    ],
    "embedding_distance": [
        lambda value: promptry.assert_embedding_distance(value, "a", 0.5),
        lambda value: promptry.assert_embedding_distance("a", "a", value),
    ],
    "schema": [
        lambda value: promptry.assert_schema(value, {"type": "string"}),
        lambda value: promptry.assert_schema('"a"', value),
        lambda value: promptry.assert_schema(value, list[int]),
    ],
    "tool_called": [
        lambda value: promptry.assert_tool_called(value, "f"),
        lambda value: promptry.assert_tool_called([], value),
        lambda value: promptry.assert_tool_called(F, "f", value),
        lambda value: promptry.assert_tool_called(F, "f", None, value),
        lambda value: promptry.assert_tool_called([{"name": "f", "args": value}], "f", None, {"a": 1}),
        lambda value: promptry.assert_tool_called([{"name": "f", "arguments": value}], "f", None, {"a": 1}),
    ],
    "tool_sequence": [
        lambda value: promptry.assert_tool_sequence(value, ["f"]),
        lambda value: promptry.assert_tool_sequence(F, value),
    ],
    "no_tool_called": [
        lambda value: promptry.assert_no_tool_called(value, "f"),
        lambda value: promptry.assert_no_tool_called(F, value),
    ],
    "trajectory_max_steps": [
        lambda value: promptry.assert_trajectory_max_steps(value, 5),
        lambda value: promptry.assert_trajectory_max_steps(called_with({}), value),
    ],
    "no_redundant_tool_calls": [
        promptry.assert_no_redundant_tool_calls,
        lambda value: promptry.assert_no_redundant_tool_calls(called_with(value)),
    ],
    "tool_input_matches": [
        lambda value: promptry.assert_tool_input_matches(value, "f", {"a": 1}),
        lambda value: promptry.assert_tool_input_matches(called_with(value), "f", {"a": 1}),
        lambda value: promptry.assert_tool_input_matches(called_with(value), "f", "a"),
        lambda value: promptry.assert_tool_input_matches(called_with({"a": 1}), "f", value),
        lambda value: promptry.assert_tool_input_matches(called_with({"a": 1}), "f", lambda given: value),
    ],
    "final_answer_present": [
        promptry.assert_final_answer_present,
        lambda value: promptry.assert_final_answer_present(Trajectory([], final_answer=value)),
        lambda value: promptry.assert_final_answer_present(Trajectory.from_openai(value)),
    ],
    "conversation_length": [
        lambda value: promptry.assert_conversation_length(value, max_turns=5),
        lambda value: promptry.assert_conversation_length(talk("a"), max_turns=value),
        lambda value: promptry.assert_conversation_length(Conversation.from_openai(value), max_turns=5),
    ],
    "all_assistant_turns": [
        lambda value: promptry.assert_all_assistant_turns(value, holds_a),
        lambda value: promptry.assert_all_assistant_turns(talk("a"), value),
        lambda value: promptry.assert_all_assistant_turns(talk("a"), lambda text: value),
        lambda value: promptry.assert_all_assistant_turns(talk(value), holds_a),
    ],
    "any_assistant_turn": [
        lambda value: promptry.assert_any_assistant_turn(talk("a"), value),
        lambda value: promptry.assert_any_assistant_turn(talk(value), holds_a),
    ],
    "conversation_coherent": [
        promptry.assert_conversation_coherent,
        lambda value: promptry.assert_conversation_coherent(talk(value)),
        lambda value: promptry.assert_conversation_coherent(talk("a"), value),
    ],
    "no_repetition": [
        lambda value: promptry.assert_no_repetition(talk(value)),
        lambda value: promptry.assert_no_repetition(talk("a"), value),
    ],
}


@pytest.fixture(autouse=True)
def embedder() -> Iterator[None]:
    promptry.set_embedder(lambda texts: [[1.0, float(len(text) % 7)] for text in texts], "lengths")
    yield
    promptry.set_embedder(None)


def test_the_table_holds_every_assertion() -> None:
    assert set(CALLS) == {name[7:] for name in promptry.__all__ if name.startswith("assert_")}


@pytest.mark.slow
def test_awkward_input_gives_one_row_that_says_what_came_of_it(raw: sqlite3.Connection) -> None:
    @suite("awkward")
    def ask_all() -> None:
        for name, calls in CALLS.items():
            for number, call in enumerate(calls):
                for what, value in INPUTS.items():
                    with case(f"{name}/{number}/{what}"):
                        call(value)

    promptry.run_suite("awkward")
    rows = raw.execute("SELECT test_name, assertion_type, passed, score, details FROM eval_results").fetchall()
    assert len(rows) == len({row[0] for row in rows}) == sum(map(len, CALLS.values())) * len(INPUTS)
    faults = {name: text[:300] for name, kind, *facts, text in rows if not _is_told(kind, *facts, text)}
    shown_by_pydantic = faults.pop("schema/1/unshowable")
    assert "ZeroDivisionError: no repr" in shown_by_pydantic and faults == {}


def _is_told(kind: str, passed: int | None, score: float | None, text: str) -> bool:
    """Tell whether a row is a check with its details, or the error of one sentence."""
    details = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    reason = details["reason"]
    if kind == "error":
        told = re.match(r"(WrongUse|NotFound|ProviderError): .", reason)
        return score is None and passed is None and bool(told) and "\n" not in reason and len(reason) < 700
    is_number = score is not None and 0 <= score <= 1 and passed in (0, 1)
    return is_number and {"expected", "actual"} <= details.keys() and 0 < len(reason) < 11_000 and len(text) < 80_000
