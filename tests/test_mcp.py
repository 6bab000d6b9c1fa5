"""MCP: a real process of `promptry mcp` is spoken to by the SDK's own client, by bytes, and by the MCP Inspector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import SOURCE, Agent, connect_agent
from served import ROOT, child_environment
from test_reads import fill_store

import promptry

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "store.db"
    promptry.use_store(path)
    fill_store()
    promptry.use_store(None)
    return path


@pytest.fixture(scope="module")
def agent(filled: Path) -> Iterator[Agent]:
    """An agent that may only read, for all tests here that only read."""
    with connect_agent("--db", filled) as agent:
        yield agent


def speak(
    lines: list[Any], *words: Any, cwd: Path, timeout: float = 60, **env: str
) -> subprocess.CompletedProcess[str]:
    """Give lines to a server, close its stdin, and return what it said."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return subprocess.run(
        [*SOURCE, "mcp", *map(str, words)],
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
        env=child_environment(**env),
    )


def test_the_server_says_who_it_is_and_how_to_begin(agent: Agent) -> None:
    assert agent.began.server_info.name == "promptry" and agent.began.server_info.version == promptry.__version__
    text = agent.began.instructions
    assert len(text) < 2000
    named = {word.strip(".,:;()`") for word in text.split()} & {read.name for read in promptry.READS}
    assert {"get_overview", "list_runs", "compare_runs", "bisect_suite", "get_run", "list_costs"} <= named


def test_tools_are_typed_and_hinted_as_reads(agent: Agent) -> None:
    tools = agent.tools
    assert list(tools) == [read.name for read in promptry.READS]
    for tool in tools.values():
        hints = tool.annotations
        assert hints.read_only_hint and hints.idempotent_hint
        assert not hints.destructive_hint and not hints.open_world_hint
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
        assert all(field["description"] for field in tool.input_schema["properties"].values())


def test_an_error_is_told_as_such_and_the_server_lives_on(agent: Agent) -> None:
    assert agent.refusal("get_run", id="99") == "There is no run 99. promptry runs lists them."
    assert agent.refusal("get_rum").startswith("There is no tool 'get_rum'. Did you mean 'get_run'?")
    assert agent.ask("get_run", id="1")["suite"] == "quiz"


def test_stdout_holds_the_protocol_and_nothing_else(filled: Path, tmp_path: Path) -> None:
    calls: list[Any] = [HELLO, READY]
    for number, name in enumerate(("list_runs", "list_suites", "no_such_tool"), 1):
        params = {"name": name, "arguments": {}}
        calls.append({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    with subprocess.Popen(
        [*SOURCE, "mcp", "--db", str(filled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        cwd=tmp_path,
        text=True,
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        found = {}
        for call in calls:
            child.stdin.write(json.dumps(call) + "\n")
            child.stdin.flush()
            if "id" in call:
                answer = json.loads(child.stdout.readline())
                found[answer["id"]] = answer["result"]
        child.stdin.close()
        assert child.stdout.read() == ""
        assert child.wait(20) == 0
        assert child.stderr.read() == ""
    assert set(found) == {0, 1, 2, 3}
    assert found[3]["isError"] and not found[1].get("isError")


def test_without_the_sdk_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    import click
    import peewee

    for module, name in ((click, "click"), (peewee, "peewee.py")):
        path = Path(module.__file__)
        os.symlink(path.parent if name == "click" else path, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "promptry.py"), "mcp"],
        env=child_environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("promptry: promptry mcp needs the package mcp 2, and this Python has none.")
    assert "-m pip install 'mcp>=2.3,<3'" in done.stderr
