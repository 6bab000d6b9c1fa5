"""TOOLS: one walk reads the traces of all providers, as dicts and as their own classes; the malformed is refused."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptry
from promptry import assert_no_tool_called, assert_tool_called, assert_tool_sequence, collect

SEARCH = {"query": "Köln", "limit": 5}
ARGUMENTS = json.dumps(SEARCH)

OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": ARGUMENTS}}
OPENAI_MESSAGE = {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}
OPENAI_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "three found"}
OPENAI_RESPONSE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5",
    "choices": [{"index": 0, "finish_reason": "tool_calls", "logprobs": None, "message": OPENAI_MESSAGE}],
}
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "search", "arguments": ARGUMENTS}
ITEM_RESULT = {"type": "function_call_output", "call_id": "c1", "output": "three found"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
ITEM_MESSAGE = {
    "type": "message",
    "id": "m1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Found.", "annotations": []}],
}
BLOCK = {"type": "tool_use", "id": "c1", "name": "search", "input": SEARCH}
BLOCK_RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "three found"}]}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
ANTHROPIC_MESSAGE = {"role": "assistant", "content": [THINKING, {"type": "text", "text": "I look."}, BLOCK]}
ANTHROPIC_RESPONSE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude",
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
    **ANTHROPIC_MESSAGE,
}

# Every way to say that search was called once with SEARCH.
TRACES: dict[str, Any] = {
    "native step": [{"name": "search", "args": SEARCH}],
    "native step with kwargs": [{"name": "search", "kwargs": SEARCH}],
    "native step with arguments": [{"name": "search", "arguments": SEARCH}],
    "native step with input": [{"tool": "search", "input": SEARCH}],
    "native step in a tuple": ({"name": "search", "args": SEARCH},),
    "native step by itself": {"name": "search", "args": SEARCH, "output": [{"title": "a"}]},
    "langchain tool call": [{"name": "search", "args": SEARCH, "id": "c1", "type": "tool_call"}],
    "object of plain attributes": [SimpleNamespace(name="search", args=SEARCH)],
    "openai call": [OPENAI_CALL],
    "openai message": [{"role": "user", "content": "?", "name": "ada"}, OPENAI_MESSAGE, OPENAI_RESULT],
    "openai message of old": [{"role": "assistant", "function_call": {"name": "search", "arguments": ARGUMENTS}}],
    "openai message and call as objects": [
        openai.types.chat.ChatCompletionMessage.model_validate(OPENAI_MESSAGE),
    ],
    "openai call as object": [openai.types.chat.ChatCompletionMessageFunctionToolCall.model_validate(OPENAI_CALL)],
    "openai calls as objects in a dict": [
        {
            "role": "assistant",
            "tool_calls": [openai.types.chat.ChatCompletionMessageFunctionToolCall.model_validate(OPENAI_CALL)],
        }
    ],
    "openai response": OPENAI_RESPONSE,
    "openai response as object": openai.types.chat.ChatCompletion.model_validate(OPENAI_RESPONSE),
    "openai items": [REASONING, ITEM, ITEM_RESULT, ITEM_MESSAGE],
    "openai item as object": [openai.types.responses.ResponseFunctionToolCall.model_validate(ITEM)],
    "openai Responses answer": {"object": "response", "output": [REASONING, ITEM], "tools": [{"name": "other"}]},
    "openai Responses answer as object": openai.types.responses.Response.model_validate(
        {
            "id": "resp_1",
            "created_at": 1,
            "model": "gpt-5",
            "object": "response",
            "output": [REASONING, ITEM, ITEM_MESSAGE],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [{"type": "function", "name": "other", "parameters": {}, "strict": True}],
        }
    ),
    "anthropic block": [BLOCK],
    "anthropic block as object": [anthropic.types.ToolUseBlock.model_validate(BLOCK)],
    "anthropic message": [ANTHROPIC_MESSAGE, {"role": "user", "content": [BLOCK_RESULT]}],
    "anthropic message with objects": [
        {"role": "assistant", "content": anthropic.types.Message.model_validate(ANTHROPIC_RESPONSE).content}
    ],
    "anthropic response as object": anthropic.types.Message.model_validate(ANTHROPIC_RESPONSE),
    "request": {"messages": [OPENAI_MESSAGE], "tools": [{"type": "function", "function": {"name": "other"}}]},
}


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for function in (assert_tool_called, assert_tool_sequence, assert_no_tool_called):
        for found in finder.find(function, function.__name__, globs=vars(promptry).copy()):
            assert found.examples, function.__name__
            runner.run(found)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
def test_every_form_of_a_trace_gives_the_same_call(trace: Any) -> None:
    (call,) = promptry.tool_calls_of(trace)
    assert promptry.show_call(call) == {"name": "search", "input": SEARCH}
    assert assert_tool_called(trace, "search", kwargs={"query": "Köln"}) == 1.0
    assert assert_tool_sequence(trace, ["search"]) == 1.0
    assert assert_no_tool_called(trace, "other") == 1.0


# A call, and what is read of it.
CALLS: list[tuple[Any, Any]] = [
    ({"name": "now"}, {"name": "now", "input": {}}),
    ({"name": "now", "args": None, "kwargs": None}, {"name": "now", "input": {}}),
    ({"name": "add", "args": [1, 2]}, {"name": "add", "input": [1, 2]}),
    ({"name": "add", "args": (1,), "kwargs": {"b": 2}}, {"name": "add", "input": {"b": 2}, "args": [1]}),
    ({"name": "say", "args": "hello"}, {"name": "say", "input": "hello"}),
    ({"type": "function", "function": {"name": "now", "arguments": ""}}, {"name": "now", "input": {}}),
    ({"type": "function", "function": {"name": "f", "arguments": "null"}}, {"name": "f", "input": {}}),
    ({"type": "function", "function": {"name": "f", "arguments": "[1]"}}, {"name": "f", "input": "[1]"}),
    ({"type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}, {"name": "sql", "input": "SELECT 1"}),
    ({"type": "custom_tool_call", "name": "sql", "input": "SELECT 1"}, {"name": "sql", "input": "SELECT 1"}),
    ({"type": "server_tool_use", "name": "web_search", "input": {}}, {"name": "web_search", "input": {}}),
    ({"type": "web_search_call", "id": "w", "action": {"query": "a"}}, {"name": "web_search", "input": {"query": "a"}}),
    ({"type": "mcp_call", "name": "roll", "arguments": '{"d": 6}'}, {"name": "roll", "input": {"d": 6}}),
    ({"type": "action", "name": "go", "args": {"to": "日本"}}, {"name": "go", "input": {"to": "日本"}}),
]


@pytest.mark.parametrize(
    ("item", "shown"), CALLS, ids=lambda value: str(value)[:40].encode("ascii", "replace").decode()
)
def test_each_shape_of_arguments_is_read(item: Any, shown: Any) -> None:
    assert [promptry.show_call(call) for call in promptry.tool_calls_of([item])] == [shown]


@pytest.mark.parametrize(
    "trace",
    [
        [],
        (),
        range(0),
        [{"role": "user", "content": "search", "name": "search"}],
        [{"role": "assistant", "content": None}],
        [{"role": "assistant", "content": [], "tool_calls": []}],
        [OPENAI_RESULT, ITEM_RESULT, BLOCK_RESULT, REASONING, THINKING],
        [{"type": "mcp_approval_request", "name": "search", "arguments": "{}"}],
        [{"type": "something_new", "data": 1}],
    ],
    ids=str,
)
def test_what_is_no_call_gives_none(trace: Any) -> None:
    assert promptry.tool_calls_of(trace) == []


def test_parts_come_in_order_with_texts_joined_and_results_named() -> None:
    said = {"role": "user", "content": [{"type": "text", "text": "Where "}, {"type": "text", "text": "is it?"}]}
    for messages in (
        [said, ANTHROPIC_MESSAGE, {"role": "user", "content": [BLOCK_RESULT]}],
        [said, {**OPENAI_MESSAGE, "content": "I look."}, OPENAI_RESULT],
        [said, {"role": "assistant", "content": "I look."}, ITEM, ITEM_RESULT],
    ):
        found = [(part.role, part.kind, part.name, part.value) for part in promptry.parts_of(messages)]
        assert found == [
            ("user", "text", None, "Where is it?"),
            ("assistant", "text", None, "I look."),
            ("assistant", "call", "search", SEARCH),
            ("tool", "result", "search", "three found"),
        ]


ENDLESS: dict[str, Any] = {"role": "assistant"}
ENDLESS["content"] = [ENDLESS]

# A malformed trace, and what its message says.
MALFORMED: list[tuple[Any, str]] = [
    (None, "trace is None"),
    ("search", "trace is 'search'"),
    (b"search", "trace is b'search'"),
    (7, "trace is 7"),
    (["search"], r"trace\[0\] is 'search'"),
    ([None], r"trace\[0\] is None"),
    ([{}], r"trace\[0\] is {}"),
    ({}, r"trace\[0\] is {}"),
    ([{"query": "a"}], r"trace\[0\] is {'query'"),
    ([{"name": "a"}, {"name": ""}], r"trace\[1\] is a tool call without a name"),
    ([{"name": 5}], r"trace\[0\] is a tool call without a name"),
    ([{"type": 5}], r"trace\[0\] is {'type': 5}"),
    ([{"role": ["user"], "content": "a"}], r"trace\[0\] is"),
    ([{"role": "user", "content": 5}], r"trace\[0\]\.content is 5"),
    ([{"role": "user", "content": ["a", 5]}], r"trace\[0\]\.content\[1\] is 5"),
    ([{"type": "text", "text": 5}], r"text of trace\[0\] is int"),
    ([{"role": "assistant", "tool_calls": ["search"]}], r"trace\[0\]\.tool_calls\[0\] is 'search'"),
    ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], r"trace\[0\]\.tool_calls\[0\] is"),
    ([{"role": "assistant", "tool_calls": [{"type": "function"}]}], r"trace\[0\]\.tool_calls\[0\] is"),
    ([{"role": "assistant", "tool_calls": [OPENAI_RESULT]}], r"trace\[0\]\.tool_calls\[0\] is"),
    ([{"type": "function", "function": {"arguments": "{}"}}], r"trace\[0\]\.function is"),
    ([{"type": "function_call", "arguments": "{}"}], r"trace\[0\] is a tool call without a name"),
    ([{"type": "tool_use", "input": {}}], r"trace\[0\] is a tool call without a name"),
    ([{"name": "f", "kwargs": [1]}], r"kwargs of 'f' in trace\[0\] are \[1\]"),
    ([ENDLESS], r"trace\[0\]\.content\[0\]\.content"),
]


@pytest.mark.parametrize(("trace", "words"), MALFORMED, ids=[words for _, words in MALFORMED])
@pytest.mark.parametrize(
    "call",
    [
        lambda trace: assert_tool_called(trace, "search"),
        lambda trace: assert_tool_sequence(trace, ["search"]),
        lambda trace: assert_no_tool_called(trace, "search"),
    ],
    ids=["called", "sequence", "none called"],
)
def test_a_malformed_trace_is_a_wrong_use_that_names_the_place(
    call: Callable[[Any], float], trace: Any, words: str
) -> None:
    with collect() as checks, pytest.raises(promptry.WrongUse, match=words) as caught:
        call(trace)
    assert checks == [] and len(str(caught.value)) < 1_000


KEYS = ["type", "role", "name", "tool", "args", "arguments", "input", "kwargs", "content", "text", "output", "id"]
KEYS += ["tool_calls", "function", "function_call", "choices", "message", "tools", "steps", "tool_call_id", "call_id"]
WORDS = [
    "function",
    "function_call",
    "tool_use",
    "tool_result",
    "text",
    "message",
    "assistant",
    "user",
    "tool",
    "{}",
    "",
]
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(WORDS), st.text(max_size=5))
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(anything)
def test_whatever_a_trace_is_it_is_read_or_refused(trace: Any) -> None:
    for read in (promptry.parts_of, promptry.Trajectory.from_openai, promptry.Conversation.from_anthropic):
        try:
            found = read(trace)
        except promptry.WrongUse as error:
            assert len(str(error)) < 1_000
        else:
            json.loads(promptry.write_json(found))


def test_a_trace_nested_without_end_is_refused() -> None:
    deep: Any = "end"
    for _ in range(100_000):
        deep = {"role": "user", "content": [deep]}
    with pytest.raises(promptry.WrongUse, match="nested too deep to show"):
        promptry.tool_calls_of([deep])


STEPS = [{"name": "search", "args": ["a", 2], "kwargs": {"deep": True}}, {"name": "read"}, {"name": "answer"}]
LONG = [{"name": f"tool {number % 7}", "args": {"number": number}} for number in range(20_000)]

# assertion, what it is given after the trace, trace, score, passed
TABLE: list[tuple[Callable[..., float], tuple[Any, ...], Any, float, bool]] = [
    (assert_tool_called, ("search",), STEPS, 1.0, True),
    (assert_tool_called, ("Search",), STEPS, 0.0, False),
    (assert_tool_called, ("search",), [], 0.0, False),
    (assert_tool_called, ("search", []), STEPS, 1.0, True),
    (assert_tool_called, ("search", ["a"]), STEPS, 1.0, True),
    (assert_tool_called, ("search", ("a", 2), {"deep": True}), STEPS, 1.0, True),
    (assert_tool_called, ("search", ["a", 2, 3]), STEPS, 0.0, False),
    (assert_tool_called, ("search", [2]), STEPS, 0.0, False),
    (assert_tool_called, ("search", None, {"deep": False}), STEPS, 0.0, False),
    (assert_tool_called, ("search", None, {"deep": None}), STEPS, 0.0, False),
    (assert_tool_called, ("search", None, {"wide": None}), STEPS, 0.0, False),
    (assert_tool_called, ("search", None, {"limit": 5}), [OPENAI_MESSAGE], 1.0, True),
    (assert_tool_called, ("tool 6", None, {"number": 19_997}), LONG, 0.0, False),
    (assert_tool_called, ("tool 6", None, {"number": 6}), LONG, 1.0, True),
    (assert_tool_sequence, (["search", "read", "answer"],), STEPS, 1.0, True),
    (assert_tool_sequence, (("search", "answer"),), STEPS, 1.0, True),
    (assert_tool_sequence, (["answer", "search"],), STEPS, 0.5, False),
    (assert_tool_sequence, (["plan", "search", "read", "answer"],), STEPS, 0.75, False),
    (assert_tool_sequence, (["read", "read"],), STEPS, 0.5, False),
    (assert_tool_sequence, (["search"],), [], 0.0, False),
    (assert_tool_sequence, ([f"tool {number % 7}" for number in range(9, 19_000)],), LONG, 1.0, True),
    (assert_no_tool_called, ("delete",), STEPS, 1.0, True),
    (assert_no_tool_called, ("delete",), [], 1.0, True),
    (assert_no_tool_called, ("read",), STEPS, 0.0, False),
    (assert_no_tool_called, ("tool 6",), LONG, 0.0, False),
]


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0].__name__}{row[1]} of {len(row[2])}"[:70])
def test_each_assertion_scores_records_and_raises(row: tuple[Any, ...]) -> None:
    function, arguments, trace, score, passed = row
    with collect() as checks:
        if passed:
            assert function(trace, *arguments) == score
        else:
            with pytest.raises(promptry.CheckFailed) as caught:
                function(trace, *arguments)
            assert len(str(caught.value)) < 500
    (check,) = checks
    assert check[:3] == (function.__name__.removeprefix("assert_"), passed, score)
    assert set(check.details) == {"expected", "actual", "reason"}
    assert len(promptry.write_json(check.details)) < 100_000


BAD_ARGUMENTS = ['{"a":', "[1]", '"x"', "5", '{"a": NaN}', '{"a": 1}{"a": 1}', "[" * 100_000, "a=1"]


@pytest.mark.parametrize("text", BAD_ARGUMENTS, ids=lambda text: text[:12])
def test_arguments_that_are_no_json_object_fail_what_is_asserted_of_them(text: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": text}}
    trace = [{"role": "assistant", "tool_calls": [call]}]
    with collect() as checks:
        assert assert_tool_called(trace, "f") == assert_tool_sequence(trace, ["f"]) == 1.0
        assert assert_no_tool_called(trace, "g") == 1.0
        for wanted in ({"args": [1]}, {"args": [text]}, {"kwargs": {"a": 1}}):
            with pytest.raises(promptry.CheckFailed, match="; the arguments of 'f' are no JSON object") as caught:
                assert_tool_called(trace, "f", **wanted)
            assert len(str(caught.value)) < 500
    assert [check.score for check in checks] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert promptry.show_call(promptry.tool_calls_of(trace)[0]) == {"name": "f", "input": text}


def test_a_failure_says_what_was_called_instead() -> None:
    with pytest.raises(AssertionError, match=r"'find' was not called; called were \['search', 'read', 'answer'\]"):
        assert_tool_called(STEPS, "find")
    with pytest.raises(AssertionError, match=r"'search' was called, but with .*'query': 'Köln'"):
        assert_tool_called([BLOCK], "search", kwargs={"query": "Bonn"})
    with pytest.raises(AssertionError, match="no tool was"):
        assert_tool_called([], "find")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assert_tool_called([], 5), "tool name is int"),  # type: ignore[arg-type]
        (lambda: assert_tool_called([], ""), "tool name is empty"),
        (lambda: assert_tool_called(STEPS, "search", "a"), "args are 'a'"),
        (lambda: assert_tool_called(STEPS, "search", {"a": 1}), "args are {'a': 1}"),  # type: ignore[arg-type]
        (lambda: assert_tool_called(STEPS, "search", None, ["a"]), "kwargs"),  # type: ignore[arg-type]
        (lambda: assert_tool_sequence(STEPS, []), "expected sequence is empty"),
        (lambda: assert_tool_sequence(STEPS, "search"), "expected sequence is 'search'"),
        (lambda: assert_tool_sequence(STEPS, None), "expected sequence is None"),  # type: ignore[arg-type]
        (lambda: assert_tool_sequence(STEPS, ["search", 5]), "tool name is int"),  # type: ignore[list-item]
        (lambda: assert_no_tool_called([], None), "tool name is NoneType"),  # type: ignore[arg-type]
        (lambda: assert_no_tool_called([], ""), "tool name is empty"),
    ],
)
def test_a_wrong_argument_is_a_wrong_use_and_no_failed_check(call: Callable[[], float], words: str) -> None:
    with collect() as checks, pytest.raises(promptry.WrongUse, match=words):
        call()
    assert checks == []
