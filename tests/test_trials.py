"""TRIALS: a version or a draft is filled in and tried on models; what it cost stands in the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from fake_llm import FakeServer, serve_fake

import promptry

KEY = "sk-test-0123456789abcdefSECRET"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, store: Any) -> Iterator[FakeServer]:
    for name in [name for name in os.environ if name.lower().endswith(("_proxy", "_api_key"))]:
        monkeypatch.delenv(name)
    with serve_fake() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield server


@pytest.mark.parametrize(
    ("asked", "text", "version", "missing"),
    [
        ({"name": "mail/hello"}, "Dear $name, $more", 2, ["name", "more"]),
        ({"name": "mail/hello", "version": 1, "variables": {"name": "Ada"}}, "Hello Ada", 1, []),
        ({"name": "mail/hello", "content": "Hello $name"}, "Hello $name", 1, ["name"]),
        ({"name": "mail/hello", "content": "Hi ${the-name}", "variables": {"the-name": "A"}}, "Hi A", None, []),
        ({"content": '$$5 for {"a": $n}', "variables": {"n": 3}}, '$5 for {"a": 3}', None, []),
    ],
)
def test_a_draft_is_filled_in(asked: Any, text: str, version: int | None, missing: list[str], store: Any) -> None:
    promptry.save_prompt("mail/hello", "Hello $name")
    promptry.save_prompt("mail/hello", "Dear $name, $more")
    found = promptry.render_draft(**asked)
    assert (found["text"], found["version"], found["missing"]) == (text, version, missing)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "There is nothing to fill in"),
        ({"name": "x", "version": 1, "content": "a"}, "both say"),
        ({"name": "x"}, "There is no prompt 'x'"),
        ({"name": " ", "content": "a"}, "The name is ' '"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(asked: Any, words: str, store: Any) -> None:
    with pytest.raises(promptry.PromptryError, match=words):
        promptry.render_draft(**asked)


def test_a_trial_is_heard_and_stands_in_the_ledger(server: FakeServer, raw: Any) -> None:
    promptry.save_prompt("mail/hello", "Hello $name")
    heard: list[str] = []
    found = promptry.try_prompt(
        "openai:gpt-4.1-mini", heard.append, name="mail/hello", variables={"name": "Ada"}, system="Be brief.",
        parameters={"temperature": 0},
    )  # fmt: skip
    assert heard == ["Hello", ", ", "world", "!"] and found["text"] == "Hello, world!"
    call = found["call"]
    assert (call["prompt_name"], call["prompt_version"], call["output_text"]) == ("mail/hello", 1, "Hello, world!")
    assert json.loads(call["input_text"])[-1] == {"role": "user", "content": "Hello Ada"}
    assert call["metadata"]["origin"] == "playground" and call["metadata"]["cost_usd"] == pytest.approx(0.00066)
    assert promptry.list_costs(origin="app")["sum"]["calls"] == 0
    assert promptry.list_costs(origin="playground")["sum"]["calls"] == 1
    assert server.requests[0][1]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert promptry.add_to_dataset("answers", call=call["id"])["item"]["expected"] == "Hello, world!"


def test_a_draft_that_is_no_version_has_none_in_its_row(server: FakeServer, store: Any) -> None:
    promptry.track("Hello $name", "mail/hello")
    found = promptry.try_prompt("openai:gpt-4.1-mini", print, name="mail/hello", content="Other text")
    assert found["call"]["prompt_version"] is None and found["call"]["prompt_name"] == "mail/hello"


@pytest.mark.parametrize(
    ("model", "content", "words"),
    [
        ("openai:gpt-4.1-mini", "$a", "The text is empty"),
        ("exec: rm -rf", "text", "is no model of an API"),
        ("python:os:system", "text", "is no model of an API"),
        ("anthropic:claude-sonnet-4-5", "text", "ANTHROPIC_API_KEY is not set"),
        ("gpt-4.1", "text", "names no provider"),
    ],
)
def test_what_cannot_be_tried_is_refused(model: str, content: str, words: str, server: FakeServer, raw: Any) -> None:
    with pytest.raises(promptry.PromptryError, match=words):
        promptry.try_prompt(model, print, content=content, variables={"a": " "})
    assert not server.requests and not raw.execute("SELECT * FROM invocations").fetchall()


def test_models_are_told_with_their_keys_and_rates(server: FakeServer, store: Any) -> None:
    promptry.track_invocation("a", model="gpt-4.1-mini", provider="openai", usage={"prompt_tokens": 1})
    promptry.track_invocation("a", model="my-own", provider="openai")
    found = promptry.list_models()
    rows = {row["model"]: row for row in found["items"]}
    assert found["total"] == len(rows) == len(found["items"]) > 20
    assert {row["model"] for row in found["items"][:2]} == {"openai:gpt-4.1-mini", "openai:my-own"}
    assert rows["openai:gpt-4.1-mini"] | {"last_at": ""} == {
        "model": "openai:gpt-4.1-mini", "provider": "openai", "ready": True, "needs": ["OPENAI_API_KEY"], "calls": 1,
        "last_at": "", "input": 0.4, "output": 1.6,
    }  # fmt: skip
    assert rows["anthropic:claude-sonnet-4-5"]["ready"] is False and rows["openai:my-own"]["input"] is None
    assert KEY not in json.dumps(found)
