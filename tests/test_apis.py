"""APIS: what each API is asked, whole and as a stream, and where the message of its answer stands."""

from __future__ import annotations

from typing import Any

import pytest

import promptry

SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
]
ASKED = {
    # kind: (path, path of the stream, what the body has beside the messages, what the stream adds to it)
    "openai": ("/chat/completions", None, {"model": "m"}, {"stream": True, "stream_options": {"include_usage": True}}),
    "anthropic": ("/v1/messages", None, {"model": "m", "max_tokens": 4096}, {"stream": True}),
    "gemini": ("/models/m:generateContent", "/models/m:streamGenerateContent?alt=sse", {}, {}),
    "ollama": ("/api/chat", None, {"model": "m", "stream": False}, {"stream": True}),
}
MESSAGES = {
    "openai": {"messages": SAID},
    "anthropic": {"system": "Be brief.\n\nBe kind.", "messages": SAID[2:]},
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be brief.\n\nBe kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Yes?"}]}],
    },
    "ollama": {"messages": [SAID[0], {"role": "system", "content": "Be kind."}, *SAID[2:]]},
}


@pytest.mark.parametrize("kind", ASKED)
def test_each_api_is_asked_in_its_own_words_whole_and_as_a_stream(kind: str) -> None:
    path, stream_path, more, adds = ASKED[kind]
    request = promptry.APIS[kind].request("m", SAID, {})
    assert request == (path, {**MESSAGES[kind], **more})
    assert promptry.APIS[kind].stream(*request) == (stream_path or path, {**MESSAGES[kind], **more, **adds})


@pytest.mark.parametrize("model", ["../../upload", "models/../x", "./x"])
def test_no_name_of_a_model_leads_to_another_place(model: str) -> None:
    with pytest.raises(promptry.WrongUse, match="leads elsewhere"):
        promptry.APIS["gemini"].request(model, [{"role": "user", "content": "Hi"}], {})


@pytest.mark.parametrize(
    ("kind", "wanted", "body"),
    [
        ("openai", {"tools": [1], "top_p": 0.5}, {"tools": [1], "top_p": 0.5}),
        ("anthropic", {"stop_sequences": "END", "max_tokens": 9}, {"stop_sequences": ["END"], "max_tokens": 9}),
        ("gemini", {"stopSequences": "END", "tools": [1]},
         {"generationConfig": {"stopSequences": ["END"]}, "tools": [1]}),
        ("ollama", {"num_predict": 9, "format": "json"}, {"options": {"num_predict": 9}, "format": "json"}),
    ],
)  # fmt: skip
def test_parameters_stand_where_each_api_has_them(kind: str, wanted: dict[str, Any], body: dict[str, Any]) -> None:
    found = promptry.APIS[kind].request("m", [{"role": "user", "content": "Hi"}], wanted)[1]
    assert {key: found[key] for key in body} == body


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hi", "Hi"),
        ([{"type": "text", "text": "a"}, "b"], "ab"),
        ([], ""),
        ([{"type": "image", "url": "u"}], None),
        (3, None),
    ],
)
def test_the_text_of_a_content(content: Any, text: str | None) -> None:
    if text is None:
        with pytest.raises(promptry.WrongUse, match="this provider takes text"):
            promptry.content_text(content)
    else:
        assert promptry.content_text(content) == text


@pytest.mark.parametrize(
    ("kind", "found", "message"),
    [
        ("openai", {"choices": [{"message": {"role": "assistant", "content": "A"}}]}, "A"),
        ("anthropic", {"content": [{"type": "text", "text": "A"}]}, [{"type": "text", "text": "A"}]),
        ("gemini", {"candidates": [{"content": {"role": "model", "parts": [{"text": "A"}]}}]}, [{"text": "A"}]),
        ("ollama", {"message": {"role": "assistant", "content": "A"}}, "A"),
        ("openai", {"choices": []}, None),
        ("openai", {"choices": [{"message": {"role": "assistant"}}]}, None),
        ("anthropic", {"content": "A"}, None),
        ("gemini", {"candidates": [{"content": {"parts": "A"}}]}, None),
        ("ollama", {}, None),
    ],
)
def test_a_message_is_found_or_missed(kind: str, found: dict[str, Any], message: Any) -> None:
    if message is None:
        with pytest.raises((AttributeError, IndexError, KeyError, TypeError)):
            promptry.APIS[kind].message(found)
    else:
        told = promptry.APIS[kind].message(found)
        assert message in (told.get("content"), told.get("parts"))
