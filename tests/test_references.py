"""REFERENCES: prompts, runs and calls are read by address, whatever is in a name; texts lead an agent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, connect_agent
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference
from test_reads import fill_store

import promptry
from promptry import OPENINGS, NotFound, WrongUse, opening_text, read_address, save_prompt

NAMES = ["support/answer", "a@b", "ä ö%2F", "x?y#z", "..", "a/b@2"]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    path = tmp_path_factory.mktemp("filled") / "store.db"
    promptry.use_store(path)
    fill_store()
    for name in NAMES:
        save_prompt(name, f"This is {name}.", tag="live")
    promptry.use_store(None)
    with connect_agent("--db", path) as agent:
        yield agent


def read(agent: Agent, address: str) -> Any:
    (found,) = agent.wait(agent.session.read_resource, address).contents
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_read_by_the_address_that_is_listed(name: str, agent: Agent) -> None:
    listed = {row.name: row for row in agent.wait(agent.session.list_resources).resources}
    version = 3 if name == "support/answer" else 1
    address = str(listed[f"{name}@{version}"].uri)
    found = read(agent, address)
    assert found.text == f"This is {name}." and found.mime_type == "text/plain"
    for word in ("latest", "live"):
        assert read(agent, address.rpartition("@")[0] + "@" + word).text == found.text


def test_a_name_with_a_slash_is_read_as_it_is_too(agent: Agent) -> None:
    assert read(agent, "prompt://support/answer@1").text == "Answer.\nBriefly."


def test_a_run_and_a_call_are_what_their_tools_show(agent: Agent) -> None:
    for scheme in ("run", "call"):
        found = read(agent, f"{scheme}://1")
        assert found.mime_type == "application/json"
        assert json.loads(found.text) == agent.ask(f"get_{scheme}", id="1")


def test_the_newest_runs_are_listed(agent: Agent) -> None:
    found = [str(row.uri) for row in agent.wait(agent.session.list_resources).resources]
    assert found.index("run://15") < found.index("run://1")


def test_templates_say_what_can_be_read(agent: Agent) -> None:
    found = agent.wait(agent.session.list_resource_templates).resource_templates
    assert [row.uri_template for row in found] == ["prompt://{name}@{version}", "run://{id}", "call://{id}"]
    assert all(row.description and row.mime_type for row in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "address",
    ["run://99", "run://x", "call://", "prompt://none@1", "prompt://support/answer@9", "prompt://support/answer@none"]
    + ["prompt://support", "file:///etc/passwd", "prompt://support/answer@٣", "http://x/", "run://1/../2"],
)
def test_what_is_not_there_is_refused_in_a_sentence(address: str, agent: Agent) -> None:
    with pytest.raises(MCPError) as error:
        read(agent, address)
    assert error.value.code == -32602 and re.match(r"['A-Z].*\.", error.value.error.message)
    assert agent.ask("get_run", id="1")


@pytest.mark.parametrize(
    ("template", "word", "begun", "known", "values"),
    [
        ("prompt://{name}@{version}", "name", "SUPP", {}, ["support/answer"]),
        ("prompt://{name}@{version}", "version", "", {"name": "a@b"}, ["latest", "1", "live"]),
        ("prompt://{name}@{version}", "version", "", {"name": "nobody"}, []),
        ("run://{id}", "id", "1", {}, ["15", "14", "13", "12", "11", "10", "1"]),
        ("call://{id}", "id", "3", {}, ["3"]),
        ("call://{id}", "nothing", "", {}, []),
    ],
)
def test_words_of_addresses_are_completed(
    template: str, word: str, begun: str, known: dict[str, str], values: list[str], agent: Agent
) -> None:
    reference = ResourceTemplateReference(type="ref/resource", uri=template)
    asked = {"name": word, "value": begun}
    assert agent.wait(agent.session.complete, reference, asked, known).completion.values == values


def test_words_of_texts_are_completed(agent: Agent) -> None:
    reference = PromptReference(type="ref/prompt", name="diagnose_regression")
    asked = {"name": "suite", "value": "q"}
    assert agent.wait(agent.session.complete, reference, asked).completion.values == ["quiz"]


def test_a_text_leads_by_tools_and_arguments_that_there_are(agent: Agent) -> None:
    told = {row.name: row for row in agent.wait(agent.session.list_prompts).prompts}
    assert set(told) == set(OPENINGS)
    tools = agent.tools
    for name, row in told.items():
        words = {argument.name: "30" for argument in row.arguments}
        found = agent.wait(agent.session.get_prompt, name, words)
        text = found.messages[0].content.text
        assert "$" not in text and row.title and row.description
        named = set(re.findall(r"\b(?:list|get|compare|check|bisect|diff)_[a-z_]+", text))
        assert len(named) >= 4 and named <= set(tools)
        for tool, arguments in re.findall(r"\b([a-z]+_[a-z_]+) \(([^)]*)\)", text):
            for part in arguments.split(","):
                assert part.split()[0] in tools[tool].input_schema["properties"], (name, tool, part)


@pytest.mark.parametrize(
    ("name", "words", "kind", "sentence"),
    [
        ("diagnose_regresion", {}, NotFound, "Did you mean 'diagnose_regression'?"),
        ("diagnose_regression", {}, WrongUse, "suite is missing. The suite that got worse."),
    ],
)
def test_a_text_that_cannot_be_meant_is_refused(
    name: str, words: dict[str, str], kind: type[Exception], sentence: str, agent: Agent
) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        opening_text(name, words)
    with pytest.raises(MCPError, match=re.escape(sentence)):
        agent.wait(agent.session.get_prompt, name, words)


def test_looking_makes_no_store(tmp_path: Path) -> None:
    assert promptry.list_addresses() == [] and promptry.complete_word("name", "", {}) == []
    with pytest.raises(NotFound):
        read_address("prompt://p@1")
    assert not list(tmp_path.glob("**/*.db"))
