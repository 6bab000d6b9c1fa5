"""TRAJECTORIES: the steps of an agent are read from messages of any provider, counted, compared and asserted."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from typing import Any

import anthropic.types
import openai.types.chat
import pytest

import promptry
from promptry import (
    Trajectory,
    TrajectoryStep,
    analyze_trajectory,
    assert_final_answer_present,
    assert_no_redundant_tool_calls,
    assert_tool_called,
    assert_tool_input_matches,
    assert_trajectory_max_steps,
    collect,
    diff_trajectories,
    format_trajectory_diff,
)

INPUT = {"query": "Köln", "limit": 5}
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": json.dumps(INPUT)}}
OPENAI = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "on the Rhine"},
    {"role": "assistant", "content": "On the Rhine."},
]
OPENAI_OBJECTS = [
    *OPENAI[:2],
    openai.types.chat.ChatCompletionMessage.model_validate(OPENAI[2]),
    OPENAI[3],
    openai.types.chat.ChatCompletionMessage.model_validate(OPENAI[4]),
]
ITEMS = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "Where is it?"}]},
    {"type": "reasoning", "id": "r", "summary": []},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
    {"type": "function_call", "id": "f", "call_id": "c1", "name": "search", "arguments": json.dumps(INPUT)},
    {"type": "function_call_output", "call_id": "c1", "output": "on the Rhine"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "On the Rhine."}]},
]
BLOCKS = [
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "c1", "name": "search", "input": INPUT},
]
ANTHROPIC = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": BLOCKS},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "on the Rhine"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "On the "}, {"type": "text", "text": "Rhine."}]},
]
USAGE = {"input_tokens": 1, "output_tokens": 1}
MESSAGE = {"id": "m", "type": "message", "model": "c", "stop_reason": "tool_use", "stop_sequence": None, "usage": USAGE}
ANTHROPIC_OBJECTS = [
    ANTHROPIC[0],
    anthropic.types.Message.model_validate({**MESSAGE, "role": "assistant", "content": BLOCKS}),
    *ANTHROPIC[2:],
]
DICTS: list[dict[str, Any]] = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "I look.", "tokens_in": 10, "tokens_out": 3, "duration_ms": 20.5},
    {"role": "tool_call", "name": "search", "input": INPUT, "id": "c1"},
    {"role": "tool_result", "tool_name": "search", "output": "on the Rhine", "content": "on the Rhine", "id": "c1"},
    {"role": "assistant", "content": "On the Rhine.", "tokens_in": 5, "tokens_out": 4},
]
SOURCES: dict[str, Trajectory] = {
    "openai": Trajectory.from_openai(OPENAI),
    "openai objects": Trajectory.from_openai(OPENAI_OBJECTS),
    "openai items": Trajectory.from_openai(ITEMS),
    "anthropic": Trajectory.from_anthropic(ANTHROPIC),
    "anthropic objects": Trajectory.from_anthropic(ANTHROPIC_OBJECTS),
    "dicts": Trajectory.from_dicts(DICTS),
}


def tool(name: str, given: Any = None) -> dict[str, Any]:
    return {"role": "tool_call", "tool_name": name, "tool_input": given}


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    asserting = (assert_trajectory_max_steps, assert_no_redundant_tool_calls, assert_tool_input_matches)
    for function in (*asserting, assert_final_answer_present):
        for found in finder.find(function, function.__name__, globs=vars(promptry).copy()):
            assert found.examples, function.__name__
            runner.run(found)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("trajectory", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_steps(trajectory: Trajectory) -> None:
    found = [(step.index, step.role, step.content, step.tool_name, step.tool_input) for step in trajectory.steps]
    assert found == [
        (0, "user", "Where is it?", None, None),
        (1, "assistant", "I look.", None, None),
        (2, "tool_call", None, "search", INPUT),
        (3, "tool_result", "on the Rhine", "search", None),
        (4, "assistant", "On the Rhine.", None, None),
    ]
    assert trajectory.steps[3].tool_output == "on the Rhine"
    assert trajectory.steps[2].metadata == trajectory.steps[3].metadata
    assert list(trajectory.steps[2].metadata.values()) == ["c1"]
    assert (trajectory.final_answer, trajectory.task, trajectory.step_count) == ("On the Rhine.", None, 5)
    assert trajectory.tool_name_sequence() == ["search"]
    assert trajectory.tool_calls == [{"name": "search", "args": [], "kwargs": INPUT}]


@pytest.mark.parametrize("make", [Trajectory.from_dicts, Trajectory.from_openai, Trajectory.from_anthropic])
def test_nothing_makes_an_empty_trajectory_and_what_is_given_stands(make: Callable[..., Trajectory]) -> None:
    assert make([]) == Trajectory([])
    assert make([], task="t", final_answer="a") == Trajectory([], "t", "a")
    assert make([{"role": "assistant", "content": "x"}], final_answer="y").final_answer == "y"
    assert make([{"role": "assistant", "content": " "}]).final_answer is None
    assert make([{"role": "user", "content": "x"}]).final_answer is None


def test_a_step_has_metadata_of_its_own() -> None:
    one, other = TrajectoryStep(0, "user"), TrajectoryStep(index=1, role="assistant", content="hi", metadata={"a": 1})
    one.metadata["b"] = 2
    assert TrajectoryStep(0, "user").metadata == {} and other.metadata == {"a": 1}
    assert list(one.to_dict()) == list(TrajectoryStep._fields) and one.tokens_in == 0


def test_what_is_no_field_of_a_step_is_kept_as_metadata() -> None:
    (step,) = Trajectory.from_dicts([{**tool("a", {"q": 1}), "name": "b", "model": "m", "metadata": {"x": 1}}]).steps
    assert (step.tool_name, step.tool_input, step.metadata) == ("a", {"q": 1}, {"name": "b", "model": "m", "x": 1})


def test_a_trajectory_is_a_trace_too() -> None:
    assert assert_tool_called(SOURCES["openai"], "search", kwargs={"limit": 5}) == 1.0
    assert assert_tool_called(SOURCES["dicts"].steps, "search") == 1.0
    assert assert_tool_called(SOURCES["dicts"].tool_calls, "search", kwargs=INPUT) == 1.0
    calls = [tool("a", [1, 2]), tool("b", "text"), tool("c")]
    again = promptry.tool_calls_of(Trajectory.from_dicts(calls).tool_calls)
    assert [(call.name, call.value, call.args) for call in again] == [
        ("a", [1, 2], (1, 2)),
        ("b", ["text"], ("text",)),
        ("c", {}, ()),
    ]


def test_the_totals_are_of_what_the_steps_say() -> None:
    found = SOURCES["dicts"]
    assert (found.total_tokens_in, found.total_tokens_out, found.total_duration_ms) == (15, 7, 20.5)
    assert SOURCES["openai"].total_tokens_in == 0
    assert assert_tool_input_matches(traj=found, tool_name="search", matcher={"limit": 5}) == 1.0
    assert assert_trajectory_max_steps(traj=found, max_steps=5) == 1.0


def test_the_analysis_counts_steps_roles_and_tools() -> None:
    asked = [tool("a", {"q": 1}), tool("a", {"q": 1}), tool("b"), tool("a", {"q": 1})]
    assert analyze_trajectory(Trajectory.from_dicts([*DICTS, *asked])) == {
        "step_count": 9,
        "role_counts": {"user": 1, "assistant": 2, "tool_call": 5, "tool_result": 1},
        "tool_counts": {"search": 1, "a": 3, "b": 1},
        "tool_call_total": 5,
        "unique_tools": 3,
        "total_tokens_in": 15,
        "total_tokens_out": 7,
        "total_duration_ms": 20.5,
        "consecutive_duplicate_calls": [(5, 6, "a")],
        "has_final_answer": False,
    }
    assert analyze_trajectory(Trajectory([]))["tool_counts"] == {}
    json.dumps([found.to_dict() for found in SOURCES.values()])


# names before and after, added, removed, reordered
DIFFS: list[tuple[str, str, str, str, bool]] = [
    ("", "", "", "", False),
    ("abc", "abc", "", "", False),
    ("abc", "acb", "", "", True),
    ("abc", "ab", "", "c", False),
    ("ab", "aab", "a", "", False),
    ("aab", "ab", "", "a", False),
    ("aab", "baa", "", "", True),
    ("abc", "xcyb", "xy", "a", True),
    ("", "aa", "aa", "", False),
]


@pytest.mark.parametrize(("before", "after", "added", "removed", "reordered"), DIFFS)
def test_a_diff_names_the_tools_added_removed_and_reordered(
    before: str, after: str, added: str, removed: str, reordered: bool
) -> None:
    old, new = (Trajectory.from_dicts([tool(name) for name in names]) for names in (before, after))
    found = diff_trajectories(old, new)
    assert ("".join(found.added_tool_calls), "".join(found.removed_tool_calls), found.reordered) == (
        added,
        removed,
        reordered,
    )
    assert (found.step_count_delta, found.answer_changed) == (len(after) - len(before), False)
    json.dumps(found.to_dict())


def test_a_diff_as_text_has_a_line_for_each_change() -> None:
    old = Trajectory.from_dicts([tool("search"), tool("read"), {"role": "assistant", "content": "A"}])
    new = Trajectory.from_dicts(
        [
            {**tool("read"), "tokens_in": 1_200, "duration_ms": 30.4},
            tool("search"),
            tool("search"),
            {"role": "assistant", "content": "B", "tokens_out": 5},
        ]
    )
    assert format_trajectory_diff(diff_trajectories(old, new)).split("\n") == [
        "+ search (1)",
        "order: search, read -> read, search, search",
        "steps: +1",
        "tokens in: +1,200",
        "tokens out: +5",
        "duration: +30 ms",
        "the final answer differs",
    ]
    assert format_trajectory_diff(diff_trajectories(new, old)).startswith("- search (1)\n")
    assert (
        format_trajectory_diff(diff_trajectories(old, old)) == "the same tools in the same order, and the same figures"
    )


def named(*steps: dict[str, Any], answer: Any = None) -> Trajectory:
    return Trajectory.from_dicts(steps, final_answer=answer)


def asks_little(given: dict[str, Any]) -> bool:
    return bool(given["limit"] < 3)


def must_ask_little(given: dict[str, Any]) -> bool:
    promptry.assert_exact(given["limit"], 5)
    return True


ANSWERED = {"role": "tool_result", "tool_name": "a", "tool_output": "none"}
SAID, THANKED = TrajectoryStep(0, "assistant", "I look."), TrajectoryStep(1, "user", "Thanks.")
CALLED = TrajectoryStep(1, "tool_call", tool_name="search")
LONG = Trajectory.from_dicts([tool("a", {"number": number}) for number in range(20_000)])

# assertion, kind, trajectory, the other arguments, passed
TABLE: list[tuple[Callable[..., float], str, Trajectory, tuple[Any, ...], bool]] = [
    (assert_trajectory_max_steps, "trajectory_max_steps", SOURCES["openai"], (5,), True),
    (assert_trajectory_max_steps, "trajectory_max_steps", SOURCES["openai"], (4,), False),
    (assert_trajectory_max_steps, "trajectory_max_steps", Trajectory([]), (0,), True),
    (assert_trajectory_max_steps, "trajectory_max_steps", LONG, (19_999,), False),
    (assert_no_redundant_tool_calls, "trajectory_no_redundant_calls", Trajectory([]), (), True),
    (assert_no_redundant_tool_calls, "trajectory_no_redundant_calls", LONG, (), True),
    (assert_no_redundant_tool_calls, "trajectory_no_redundant_calls", named(tool("a"), tool("a")), (), False),
    (assert_no_redundant_tool_calls, "trajectory_no_redundant_calls", named(tool("a"), tool("b"), tool("a")), (), True),
    (assert_no_redundant_tool_calls, "trajectory_no_redundant_calls", named(tool("a", 1), tool("a", 2)), (), True),
    (assert_no_redundant_tool_calls, "trajectory_no_redundant_calls", named(tool("a"), ANSWERED, tool("a")), (), False),
    (
        assert_no_redundant_tool_calls,
        "trajectory_no_redundant_calls",
        named(tool("a"), {"role": "user", "content": "again"}, tool("a")),
        (),
        True,
    ),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", {"limit": 5}), True),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", {}), True),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", {"limit": 6}), False),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", {"page": None}), False),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("read", {}), False),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", r'"query": "Köln"'), True),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", "Bonn"), False),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", asks_little), False),
    (assert_tool_input_matches, "tool_input_matches", SOURCES["openai"], ("search", must_ask_little), True),
    (assert_tool_input_matches, "tool_input_matches", named(tool("a", {"limit": 4})), ("a", must_ask_little), False),
    (
        assert_tool_input_matches,
        "tool_input_matches",
        named(tool("a", {"q": 1}), tool("a", {"q": 2})),
        ("a", "2"),
        True,
    ),
    (assert_tool_input_matches, "tool_input_matches", named(tool("a", "text")), ("a", {"q": 1}), False),
    (assert_tool_input_matches, "tool_input_matches", named(tool("a", None)), ("a", "null"), True),
    (assert_tool_input_matches, "tool_input_matches", LONG, ("a", {"number": -1}), False),
    (assert_final_answer_present, "trajectory_final_answer", SOURCES["anthropic"], (), True),
    (assert_final_answer_present, "trajectory_final_answer", Trajectory([]), (), False),
    (assert_final_answer_present, "trajectory_final_answer", named(answer=" \n"), (), False),
    (assert_final_answer_present, "trajectory_final_answer", Trajectory([SAID]), (), True),
    (assert_final_answer_present, "trajectory_final_answer", Trajectory([SAID, THANKED]), (), True),
    (assert_final_answer_present, "trajectory_final_answer", Trajectory([SAID, CALLED]), (), False),
    (assert_final_answer_present, "trajectory_final_answer", named(answer={"total": 0}), (), True),
    (assert_final_answer_present, "trajectory_final_answer", named(answer="日本"), (), True),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[1]} {row[2].step_count} {row[4]}")
def test_each_assertion_scores_records_and_raises(row: tuple[Any, ...]) -> None:
    function, kind, trajectory, arguments, passed = row
    with collect() as checks:
        if passed:
            assert function(trajectory, *arguments) == 1.0
        else:
            with pytest.raises(promptry.CheckFailed) as caught:
                function(trajectory, *arguments)
            assert len(str(caught.value)) < 500
    (check,) = checks
    assert check[:3] == (kind, passed, float(passed))
    assert set(check.details) >= {"expected", "actual", "reason"}
    assert len(promptry.write_json(check.details)) < 100_000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Trajectory.from_dicts("abc"), "steps are 'abc'"),  # type: ignore[arg-type]
        (lambda: Trajectory.from_dicts(None), "steps are None"),  # type: ignore[arg-type]
        (lambda: Trajectory.from_dicts([5]), r"steps\[0\] is 5"),  # type: ignore[list-item]
        (lambda: Trajectory.from_dicts([{"content": "a"}]), r"steps\[0\] has the role None"),
        (lambda: Trajectory.from_dicts([{"type": "tool"}]), "it takes user, assistant, tool_call, tool_result"),
        (lambda: Trajectory.from_dicts([{"role": "tool_call"}]), r"steps\[0\] is a tool call without"),
        (lambda: Trajectory.from_dicts([{"role": "user", "content": 5}]), "has the content 5"),
        (lambda: Trajectory.from_dicts([{"role": "user", "metadata": 5}]), "has the metadata 5"),
        (lambda: Trajectory.from_dicts([{"role": "user", "tokens_in": "5"}]), "has tokens_in '5'"),
        (lambda: Trajectory.from_dicts([{"role": "user", "duration_ms": float("nan")}]), "has duration_ms nan"),
        (lambda: Trajectory.from_openai("abc"), "messages is 'abc'"),
        (lambda: Trajectory.from_openai([{"role": "user", "content": 5}]), r"messages\[0\]\.content is 5"),
        (lambda: Trajectory.from_openai([{"role": "bot", "content": "a"}]), r"messages\[0\] has the role 'bot'"),
        (lambda: Trajectory.from_anthropic([{"role": "user"}, {}]), r"messages\[1\] is {}"),
        (lambda: analyze_trajectory([]), "The trajectory is"),  # type: ignore[arg-type]
        (lambda: diff_trajectories(Trajectory([]), None), "The trajectory is None"),  # type: ignore[arg-type]
        (lambda: assert_trajectory_max_steps([], 1), "from_openai"),  # type: ignore[arg-type]
        (lambda: assert_trajectory_max_steps(Trajectory([]), -1), "max_steps is -1"),
        (lambda: assert_trajectory_max_steps(Trajectory([]), 1.5), "max_steps is 1.5"),  # type: ignore[arg-type]
        (lambda: assert_no_redundant_tool_calls(OPENAI), "The trajectory is"),  # type: ignore[arg-type]
        (lambda: assert_tool_input_matches(SOURCES["dicts"], "", {}), "tool name is empty"),
        (lambda: assert_tool_input_matches(SOURCES["dicts"], "search", 5), "matcher is 5"),
        (lambda: assert_tool_input_matches(SOURCES["dicts"], "search", "("), "no regular expression"),
        (lambda: assert_tool_input_matches(Trajectory([]), "search", "("), "no regular expression"),
        (lambda: assert_tool_input_matches(Trajectory([]), "search", ""), "pattern is empty"),
        (lambda: assert_final_answer_present(None), "The trajectory is None"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_a_wrong_use_and_no_failed_check(call: Callable[[], Any], words: str) -> None:
    with collect() as checks, pytest.raises(promptry.WrongUse, match=words):
        call()
    assert checks == []


def test_an_async_matcher_is_refused_and_not_taken_for_a_yes() -> None:
    async def matches(given: Any) -> bool:
        return False

    with pytest.raises(promptry.WrongUse, match="is async"):
        assert_tool_input_matches(SOURCES["dicts"], "search", matches)


@pytest.mark.parametrize("text", ['{"a":', "[1]", '{"a": NaN}', "a=1"])
@pytest.mark.parametrize("matcher", [{"a": 1}, {}, "a|1", lambda given: given["a"]], ids=["dict", "none", "re", "call"])
def test_an_input_that_is_no_json_object_matches_nothing(text: str, matcher: Any) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "search", "arguments": text}
    trajectory = Trajectory.from_openai([call])
    assert trajectory.steps[0].tool_input == text and trajectory.steps[0].metadata["tool_call_id"] == "c1"
    with collect() as checks, pytest.raises(promptry.CheckFailed, match="arguments of 'search' are no JSON object"):
        assert_tool_input_matches(trajectory, "search", matcher)
    assert checks[0].details["actual"] == [text]


def test_what_a_matcher_raises_otherwise_is_an_error_and_no_failed_check() -> None:
    with collect() as checks, pytest.raises(KeyError):
        assert_tool_input_matches(SOURCES["dicts"], "search", lambda given: given["page"] > 1)
    assert checks == []
