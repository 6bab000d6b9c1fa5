"""ANSWERS: plain JSON in, one set of names out; the SDK's own objects are in test_capture."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_llm import ARGUMENTS, GEMINI_USAGE, MESSAGE_USAGE, OLLAMA_USAGE, WORDS, answer_of, events_of

import promptry

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
TOOL_CALL = {"name": "weather", "arguments": "".join(ARGUMENTS)}


def body_of(events: list[tuple[str | None, Any]]) -> bytes:
    lines = [f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n" for _, data in events]
    return "".join(lines).encode()


@pytest.mark.parametrize("tools", [[], ["weather"]], ids=["text", "tool"])
@pytest.mark.parametrize("api", PATHS)
def test_whole_and_streamed_answers_say_the_same(api: str, tools: list[str]) -> None:
    asked = {"model": "m", "tools": tools, "stream_options": {"include_usage": True}}
    whole, streamed = promptry.Answer(api, True), promptry.Answer(api, True)
    promptry.note_body(whole, json.dumps(answer_of(PATHS[api], asked)).encode())
    promptry.note_body(streamed, body_of(events_of(PATHS[api], asked)))
    assert promptry.answer_facts(streamed) == promptry.answer_facts(whole)
    assert promptry.answer_text(streamed) == promptry.answer_text(whole)
    assert promptry.answer_facts(whole).get("tool_calls") == (tools or None)


OTHERS = [
    # (api, path, usage, what the answer calls itself, why it ended)
    ("generate", "/v1beta/models/m:generateContent", GEMINI_USAGE, {"response_id": "gem-1"}, "STOP"),
    ("turn", "/api/chat", OLLAMA_USAGE, {}, "stop"),
]


@pytest.mark.parametrize("tools", [[], ["weather"]], ids=["text", "tool"])
@pytest.mark.parametrize(("api", "path", "usage", "head", "reason"), OTHERS)
def test_answers_of_gemini_and_ollama_say_the_same(
    api: str, path: str, usage: dict[str, Any], head: dict[str, str], reason: str, tools: list[str]
) -> None:
    seen = promptry.Answer(api, True)
    promptry.note_answer(seen, answer_of(path, {"model": "m", "tools": tools}))
    facts = promptry.answer_facts(seen)
    assert facts.pop("tool_calls", []) == tools
    assert facts == {**head, "served_model": "m", "usage": usage, "finish_reasons": [reason]}
    assert promptry.answer_text(seen) == "Hello, world!", "a thought is no text"
    assert [json.loads(tool["arguments"]) for tool in seen.tools.values()] == [{"city": "Bonn"}] * len(tools)


def test_a_prompt_that_was_blocked_is_a_fault() -> None:
    seen = promptry.Answer("generate", True)
    promptry.note_answer(seen, answer_of("/v1beta/models/m!blocked:generateContent", {}))
    assert seen.fault == "the prompt was blocked: SAFETY" and promptry.answer_facts(seen)["usage"] == GEMINI_USAGE


@pytest.mark.parametrize(
    ("choice", "fault"),
    [
        ({"error": {"code": 502, "message": "lost"}, "message": {"content": ""}}, "502: lost"),
        ({"delta": {"content": ""}, "finish_reason": "error"}, "it ended in an error"),
        ({"message": {"content": "Hi"}, "finish_reason": "stop", "error": None}, ""),
    ],
)
def test_a_choice_that_a_router_lost_is_a_fault(choice: dict[str, Any], fault: str) -> None:
    seen = promptry.Answer("chat", False)
    promptry.note_answer(seen, {"choices": [choice]})
    assert seen.fault == fault


@pytest.mark.parametrize("api", ["generate", "turn"])
@pytest.mark.parametrize("whole", [{}, {"candidates": None, "message": None}, {"candidates": [{}], "message": {}}])
def test_an_answer_that_says_nothing_is_nothing(api: str, whole: dict[str, Any]) -> None:
    seen = promptry.Answer(api, True)
    promptry.note_answer(seen, whole)
    assert promptry.answer_text(seen) is None and not seen.fault and "usage" not in promptry.answer_facts(seen)


def test_a_message_cut_before_its_end_has_no_usage() -> None:
    seen = promptry.Answer("messages", False)
    for name, event in events_of(PATHS["messages"], {"model": "m"}):
        if name == "message_delta":
            break
        promptry.note_event(seen, event)
    assert "usage" not in promptry.answer_facts(seen) and promptry.answer_facts(seen)["response_id"] == "msg_1"
    promptry.note_event(seen, event)
    assert promptry.answer_facts(seen)["usage"] == {**MESSAGE_USAGE, "output_tokens": 150}


def test_tool_calls_are_the_text_where_there_is_none() -> None:
    seen = promptry.Answer("chat", True)
    promptry.note_answer(seen, answer_of(PATHS["chat"], {"model": "m", "tools": ["weather"]}))
    assert json.loads(promptry.answer_text(seen) or "") == [TOOL_CALL]


def test_a_whole_answer_is_looked_at_once() -> None:
    seen = promptry.Answer("chat", True)
    for _ in range(2):
        promptry.note_answer(seen, answer_of(PATHS["chat"], {"model": "m"}))
    assert promptry.answer_text(seen) == "".join(WORDS)


@pytest.mark.parametrize("odd", [None, "text", 3, [], {}, {"choices": None}, {"usage": []}, {"choices": [None]}])
@pytest.mark.parametrize("api", [*PATHS, "completions", "embeddings"])
def test_odd_answers_say_nothing(api: str, odd: Any) -> None:
    seen = promptry.Answer(api, True)
    promptry.note_answer(seen, odd)
    assert "usage" not in promptry.answer_facts(seen) and promptry.answer_text(seen) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, None),
        ({"prompt": "Say"}, "Say"),
        ({"messages": [{"role": "user"}]}, '[{"role": "user"}]'),
        ({"system": "Be kind", "messages": []}, '[{"role": "system", "content": "Be kind"}]'),
        ({"messages": (part for part in "abc")}, None),
    ],
)
def test_a_request_is_text(body: dict[str, Any], text: str | None) -> None:
    assert promptry.request_text(body) == text


def test_a_request_tells_what_was_given_only() -> None:
    body = {"model": "m", "temperature": 0.0, "seed": None, "top_p": object(), "messages": [], "user": "a"}
    assert promptry.request_facts(body) == {"model": "m", "parameters": {"temperature": 0.0}}
    assert promptry.request_facts({"model": object()}) == {}
