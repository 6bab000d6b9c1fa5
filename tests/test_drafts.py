"""DRAFTS: calls that people rated become a suite in YAML that loads, runs and judges; nothing that is there is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from agents import connect_agent
from fake_llm import serve_fake

import promptry
from promptry import (
    NotFound,
    WrongUse,
    create_suite,
    load_any,
    read_suites,
    record_feedback,
    run_suite,
    save_prompt,
    track_invocation,
    values_filled_in,
)

GOOD, BAD = "Hello, world! That costs $5.", "No refund: ask $wanted."


@pytest.fixture
def rated(own_registry: None, tmp_path: Path) -> Path:
    """Six calls of a prompt, of which four were rated and one of these kept no text."""
    save_prompt("support/answer", "Answer in one sentence: $question")
    facts: dict[str, Any] = {"prompt_version": 1, "model": "gpt-4.1-mini", "provider": "openai"}
    asked = [
        ("Money back?", GOOD, 1.0),
        ("Where is it?", BAD, 0.0),
        ("It broke: why?", GOOD, 0.75),
        ("Hm", "So.", None),
    ]
    for number, (question, answer, rating) in enumerate(asked):
        sent = f"Answer in one sentence: {question}"
        track_invocation(
            "support/answer", request_id=f"r{number}", input_text=sent, output_text=answer, capture=True, **facts
        )
        if rating is not None:
            record_feedback(f"r{number}", rating)
    track_invocation("support/answer", request_id="bare", **facts)
    record_feedback("bare", 1.0)
    return tmp_path


def test_rated_calls_become_cases_that_fill_in_the_prompt(rated: Path) -> None:
    found = create_suite("support", "support/answer")
    assert found["file"] == str(rated / "evals.yaml") and found["cases"] == 3
    assert found["prompt"] == "support/answer" and found["provider"] == "openai:gpt-4.1-mini"
    assert [row["call"] for row in found["skipped"]] == ["5"] and "no captured text" in found["skipped"][0]["reason"]
    assert "run_suite" in found["next"]
    (told,) = read_suites(rated / "evals.yaml")
    assert [case["id"] for case in told.facts["dataset"]] == ["call-3", "call-2", "call-1"]
    assert [case["question"] for case in told.facts["dataset"]] == ["It broke: why?", "Where is it?", "Money back?"]
    assert not list(rated.glob(".evals*"))


def test_the_suite_runs_and_holds_answers_against_what_people_said(
    rated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_suite("support", "support/answer", provider="openai:gpt-4.1-mini!say:Hello, world! That costs $5.")
    load_any("evals")
    with serve_fake() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        result = run_suite("support")
        assert result.passed and result.counts["pass"] == 3
        sent = [body["messages"][-1]["content"] for _, body in server.requests]
        assert sorted(sent)[0] == "Answer in one sentence: It broke: why?"


def test_an_answer_that_was_rejected_must_not_come_again(rated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_suite("down", "support/answer", rating="down", provider=f"openai:gpt-4.1-mini!say:{BAD}")
    load_any("evals")
    with serve_fake() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        result = run_suite("down")
    assert not result.passed and result.counts["fail"] == 1


def test_a_suite_is_added_after_those_that_are_there_and_changes_no_sign_of_them(rated: Path) -> None:
    old = (
        '# mine\nx-a: &a {not_contains: "sorry"}\nsuites:\n\n  # the first\n  - name: one\n    provider: "exec: cat"\n'
    )
    old += "    prompt: Hi $name\n    cases:\n      - {id: a, variables: {name: b}}\n    assert:\n      - *a\n"
    (rated / "evals.yaml").write_text(old)
    os.chmod(rated / "evals.yaml", 0o640)
    create_suite("support", "support/answer")
    text = (rated / "evals.yaml").read_text()
    assert text.startswith(old) and (rated / "evals.yaml").stat().st_mode & 0o777 == 0o640
    assert [one.name for one in read_suites(rated / "evals.yaml")] == ["one", "support"]
    with pytest.raises(WrongUse, match="has a suite 'support' already"):
        create_suite("support", "support/answer")
    assert (rated / "evals.yaml").read_text() == text


@pytest.mark.parametrize(
    "old",
    [
        "suites: [{name: a, prompt: b, provider: 'exec: cat', assert: [contains: b]}]\n",
        "suites:\n- {name: a, prompt: b, provider: 'exec: cat', assert: [contains: b]}\nx-end: 1\n",
        "suites: no list\n",
        "a: [\n",
    ],
)
def test_a_file_to_which_nothing_can_be_added_is_left_as_it_is(old: str, rated: Path) -> None:
    (rated / "evals.yaml").write_text(old)
    with pytest.raises((WrongUse, promptry.ConfigError)):
        create_suite("support", "support/answer")
    assert (rated / "evals.yaml").read_text() == old
    assert sorted(path.name for path in rated.glob("*evals*")) == ["evals.yaml"]


@pytest.mark.parametrize(
    "file",
    ["../evals.yaml", "/tmp/evals.yaml", "a/../../x.yaml", "evals.py", "none/x.yaml", "", "x\0.yaml", "link/x.yaml"]
    + ["out.yaml", "x" * 300 + ".yaml", "promptry.toml"],
)
def test_no_file_outside_the_folder_of_the_module_is_written(file: str, rated: Path) -> None:
    outside = rated.parent / f"{rated.name}-outside"
    outside.mkdir()
    (rated / "link").symlink_to(outside)
    (rated / "out.yaml").symlink_to(outside / "x.yaml")
    with pytest.raises(WrongUse):
        create_suite("support", "support/answer", file=file)
    assert not any(outside.iterdir()) and not (rated.parent / "evals.yaml").exists()


def test_a_file_of_its_own_beside_a_module_in_a_folder(rated: Path) -> None:
    (rated / "pkg").mkdir()
    (rated / "pkg" / "evals.py").write_text("")
    (rated / "promptry.toml").write_text('[run]\nmodule = "pkg.evals"\n')
    promptry.forget_settings()
    found = create_suite("support", "support/answer", file="rated.yaml")
    assert found["file"] == str(rated / "pkg" / "rated.yaml")
    assert found["next"].endswith(f"promptry run support --module {rated / 'pkg' / 'rated.yaml'}")


@pytest.mark.parametrize("provider", ["exec: rm -rf x", "python:os:system", "exec:cat"])
def test_no_program_can_be_named(provider: str, rated: Path) -> None:
    with pytest.raises(WrongUse, match="runs a program"):
        create_suite("support", "support/answer", provider=provider)
    assert not (rated / "evals.yaml").exists()


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"prompt": "none"}, NotFound, "There is no prompt 'none'"),
    ({"assertion": "rogue_l"}, WrongUse, "rouge_l"),
    ({"rating": "best"}, WrongUse, "up"),
    ({"limit": 0}, WrongUse, "1 to 1000"),
    ({"name": " "}, WrongUse, "not empty"),
    ({"provider": "nobody:x"}, WrongUse, "nobody"),
]


@pytest.mark.parametrize(("given", "kind", "sentence"), WRONG, ids=str)
def test_what_cannot_be_meant_is_refused(
    given: dict[str, Any], kind: type[Exception], sentence: str, rated: Path
) -> None:
    with pytest.raises(kind, match=sentence):
        create_suite(**{"name": "support", "prompt": "support/answer", **given})
    assert not (rated / "evals.yaml").exists()


def test_without_a_rated_call_there_is_no_suite(rated: Path) -> None:
    save_prompt("other", "text")
    with pytest.raises(NotFound, match="No call of 'other' that was rated can be made a case"):
        create_suite("support", "other")


def test_what_was_sent_is_sent_again_where_nobody_can_tell_what_was_filled_in(rated: Path) -> None:
    save_prompt("two", "$a and $b")
    messages = '[{"role": "user", "content": "Something else"}]'
    track_invocation("two", request_id="t", input_text=messages, output_text="Yes.", capture=True, model="m")
    record_feedback("t", 1)
    found = create_suite("two", "two", provider="openai:gpt-4.1-mini")
    assert found["prompt"] is None
    (told,) = read_suites(rated / "evals.yaml")
    assert told.facts["dataset"][0]["input"] == [{"role": "user", "content": "Something else"}]
    with pytest.raises(WrongUse, match="do not name an API"):
        create_suite("two b", "two")


def rate_orders(*texts: str) -> None:
    """Record a rated call of each of some versions of the prompt `orders`, filled in the same way."""
    for number, text in enumerate(texts, 1):
        save_prompt("orders", text)
        sent = promptry.fill_placeholders(text, dict.fromkeys(promptry.placeholders(text), f"what {number}?"))
        track_invocation(
            "orders", prompt_version=number, request_id=f"o{number}", input_text=sent, output_text=GOOD, capture=True
        )
        record_feedback(f"o{number}", 1)


@pytest.mark.parametrize(
    "texts",
    [["Order $id: answer $question"], ["Of $group: $question"], ["$tags"], ["Say ${id}!"]]
    + [["Order $id: $question", "Answer $question"], ["Answer $question", "Order $id: $question"]],
    ids=str,
)
def test_a_placeholder_that_means_something_else_in_a_case_is_not_filled_in(texts: list[str], rated: Path) -> None:
    rate_orders(*texts)
    found = create_suite("orders", "orders", provider="openai:gpt-4.1-mini")
    assert found["prompt"] is None and found["cases"] == len(texts)
    (told,) = read_suites(rated / "evals.yaml")
    items = told.facts["dataset"]
    sent = [promptry.get_call(item["id"].removeprefix("call-"))["input_text"] for item in items]
    assert told.prompt is None and [item["input"] for item in items] == sent
    assert all(item.keys() == {"id", "input", "expected"} for item in items)


def test_the_newest_version_is_what_cases_would_be_filled_into(rated: Path) -> None:
    rate_orders("Answer $question")
    save_prompt("orders", "Order $id: answer $question")
    assert create_suite("orders", "orders", provider="openai:gpt-4.1-mini")["prompt"] is None


@pytest.mark.parametrize("name", ["input", "variables", "assert", "expected", "name", "prompt", "from", "call"])
def test_any_other_placeholder_is_filled_in(name: str, rated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rate_orders(f"Order ${name}: answer $question")
    found = create_suite("orders", "orders", provider="openai:gpt-4.1-mini")
    assert found["prompt"] == "orders"
    load_any("evals")
    with serve_fake() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        run_suite("orders")
        sent = [body["messages"][-1]["content"] for _, body in server.requests]
    assert sent == ["Order what 1?: answer what 1?"]


@pytest.mark.parametrize(
    ("text", "filled", "values"),
    [
        ("A: $q!", "A: why!", {"q": "why"}),
        ("$q", "a\nb", {"q": "a\nb"}),
        ("${q}s and $r", "dogs and cats", {"q": "dog", "r": "cats"}),
        ("$q is $q", "a is a", {"q": "a"}),
        ("$q is $q", "a is b", None),
        ("$$5 for $q", "$5 for it", {"q": "it"}),
        ("$a$b", "xy", None),
        ("A: $q!", "B: why!", None),
        ("A: $q!", "A:", None),
        ("plain", "plain", {}),
        ("plain", "other", None),
        ("$q", "", {"q": ""}),
        ("a$q.a", "aa", None),
    ],
)
def test_what_a_text_was_filled_in_with_is_read_off_it(text: str, filled: str, values: dict[str, str] | None) -> None:
    assert values_filled_in(text, filled) == values


@pytest.mark.slow
def test_an_agent_makes_a_suite_and_is_told_how_to_run_it(rated: Path) -> None:
    with connect_agent("--allow-writes", "--db", rated / "store.db", folder=rated) as agent:
        found = agent.ask("create_suite", name="support", prompt="support/answer")
        assert found["cases"] == 3 and Path(found["file"]).is_file()
        assert [row["suite"] for row in agent.ask("list_suites")["items"]] == ["support"]
        assert "a suite 'support' already" in agent.refusal("create_suite", name="support", prompt="support/answer")
