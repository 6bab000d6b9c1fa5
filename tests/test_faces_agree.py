"""The faces agree: HTTP, MCP and --json give one answer for every read, and the SQL that is shown gives its rows."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from agents import Agent, connect_agent
from served import Served, serve
from test_reads import ASKED, BY_NAME, fill_store, nearly, without_age

import promptry


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a store that was filled by runs and calls, once for all tests here: they only read."""
    path = tmp_path_factory.mktemp("filled") / "store.db"
    promptry.use_store(path)
    fill_store()
    promptry.use_store(None)
    return path


@pytest.fixture
def full(filled: Path, clean_process: Path) -> Iterator[Served]:
    """A dashboard of the filled store, which this process uses too."""
    promptry.use_store(filled)
    with serve(filled) as served:
        yield served
    promptry.use_store(None)


@pytest.fixture(scope="module")
def agent(filled: Path) -> Iterator[Agent]:
    """An agent that asks the filled store, once for all tests here."""
    with connect_agent("--db", filled) as agent:
        yield agent


def address_of(name: str, arguments: dict[str, Any], prefix: str = "") -> str:
    """Return the address that asks a read what its function is asked with these arguments."""
    path, left = prefix or BY_NAME[name].route, dict(arguments)
    for part in re.findall("<([a-z_]+)>", path):
        path = path.replace(f"<{part}>", str(left.pop(part)))
    words = {re.sub("_(id|name)$", "", key): str(value) for key, value in left.items()}
    return f"/api/{path}?{urlencode(words)}".rstrip("?")


def said_by(name: str, words: list[str], capsys: pytest.CaptureFixture[str], codes: set[int]) -> tuple[Any, str]:
    """Return the JSON that a read's command prints for programs, and what it says to people."""
    capsys.readouterr()
    assert promptry.run_command([*BY_NAME[name].command.split(), *words, "--json"]) in codes
    said = capsys.readouterr()
    return json.loads(said.out), said.err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_http_answers_what_the_command_prints_as_json(
    name: str,
    words: list[str],
    arguments: dict[str, Any],
    full: Served,
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed, _ = said_by(name, words, capsys, {0, 1})
    answer = full.get(address_of(name, arguments))
    assert answer.status == 200
    assert without_age(answer.json) == without_age(printed)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_mcp_answers_what_the_command_prints_as_json(
    name: str,
    words: list[str],
    arguments: dict[str, Any],
    agent: Agent,
    filled: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    promptry.use_store(filled)
    printed, _ = said_by(name, words, capsys, {0, 1})
    found = agent.ask(name, **arguments)
    assert "cut" not in found
    assert without_age(found) == without_age(printed)


@pytest.mark.slow
def test_every_read_is_a_tool_and_takes_what_http_takes(agent: Agent, full: Served) -> None:
    assert set(agent.tools) == set(BY_NAME)
    paths = full.get("/api/openapi.json").json["paths"]
    for name, tool in agent.tools.items():
        told = paths["/api/" + re.sub("<([a-z_]+)>", r"{\1}", BY_NAME[name].route)]["get"]["parameters"]
        taken = {re.sub("_(id|name)$", "", key) for key in tool.input_schema["properties"]} - {"part", "after"}
        assert taken == {parameter["name"] for parameter in told}
        needed = {re.sub("_(id|name)$", "", key) for key in tool.input_schema.get("required", [])}
        assert needed == {parameter["name"] for parameter in told if parameter["required"]}


WRONG = [
    ("get_run", ["99"], {"id": "99"}),
    ("get_run", ["x"], {"id": "x"}),
    ("get_prompt", ["none"], {"name": "none"}),
    ("get_prompt", ["support/answer", "--version", "9"], {"name": "support/answer", "version": 9}),
    ("list_runs", ["--limit", "0"], {"limit": 0}),
    ("list_calls", ["--days", "-5"], {"days": -5}),
    ("list_costs", ["--by", "moduel"], {"by": "moduel"}),
    ("compare_runs", ["1", "99"], {"run_id": "1", "baseline_id": "99"}),
    ("get_dataset", ["none"], {"name": "none"}),
    ("list_calls", ["--before", "zzz"], {"before": "zzz"}),
]


@pytest.mark.parametrize(("name", "words", "arguments"), WRONG, ids=lambda part: str(part)[:40])
def test_http_refuses_with_the_words_of_the_command(
    name: str,
    words: list[str],
    arguments: dict[str, Any],
    full: Served,
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed, _ = said_by(name, words, capsys, {2})
    answer = full.get(address_of(name, arguments))
    assert answer.json == printed
    assert answer.status in {400, 404}


@pytest.mark.parametrize(("name", "words", "arguments"), WRONG, ids=lambda part: str(part)[:40])
def test_mcp_refuses_with_the_words_of_the_command(
    name: str,
    words: list[str],
    arguments: dict[str, Any],
    agent: Agent,
    filled: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    promptry.use_store(filled)
    printed, told = said_by(name, words, capsys, {2})
    result = agent.call(name, **arguments)
    assert result.is_error
    assert {"error": result.meta["promptry/error"]} == printed
    assert f"promptry: {result.content[0].text}" == told.strip()


def paste(store: Path, script: str) -> list[dict[str, Any]]:
    """Give a script to the sqlite3 program as it is, and return the rows that it prints."""
    done = subprocess.run(["sqlite3", "-json", store], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_each_script_that_is_shown_gives_the_rows_of_the_answer_in_the_sqlite3_program(
    name: str, words: list[str], arguments: dict[str, Any], full: Served, filled: Path
) -> None:
    told = full.get(address_of(name, arguments, f"sql/{name}"))
    assert told.status == 200 and told.json["read"] == name
    found = full.get(address_of(name, arguments)).json
    answers = [paste(filled, statement["script"]) for statement in told.json["statements"]]
    assert answers
    with sqlite3.connect(filled) as reader:
        reader.row_factory = sqlite3.Row
        for statement, rows in zip(told.json["statements"], answers, strict=True):
            named = dict.fromkeys(re.findall(":([a-z_]+)", statement["sql"])) | statement["parameters"]
            assert [{**row} for row in reader.execute(statement["sql"], named)] == [
                {key: nearly(value) for key, value in row.items()} for row in rows
            ]
    if name.startswith("list_") and name not in {"list_costs", "list_suites"}:
        check_items(answers, found)
    elif name.startswith("get_"):
        own = [row for rows in answers for row in rows if set(row) <= set(found) | {"metadata", "items", "rowid"}]
        assert all(same(row[key], found[key]) for row in own[:1] for key in row.keys() & found.keys() - UNLIKE)


UNLIKE = {"tags", "metadata", "counts", "passed", "complete", "version", "items", "promotions"}


def same(stored: Any, told: Any) -> bool:
    return stored == told or str(stored) == str(told) or told == nearly(stored)


def check_items(answers: list[list[dict[str, Any]]], found: dict[str, Any]) -> None:
    """The rows of the first statement with as many are the items, but for one more that tells of another page."""
    count = len(found["items"])
    rows = next(rows[:count] for rows in answers if len(rows) in {count, count + 1})
    for row, item in zip(rows, found["items"], strict=True):
        for key in row.keys() & item.keys() - UNLIKE:
            assert same(row[key], item[key]), key
    totals = [row["total"] for rows in answers for row in rows if set(row) == {"total"}]
    assert not totals or found["total"] == totals[-1]


def test_a_search_shows_the_statements_of_its_first_steps(full: Served, filled: Path) -> None:
    found = full.get("/api/calls?search=%C3%9F%3F").json
    statements = full.get("/api/sql/list_calls?search=%C3%9F%3F").json["statements"]
    rows = [row["id"] for statement in statements for row in paste(filled, statement["script"])]
    assert rows and [str(key) for key in rows] == [row["id"] for row in found["items"]]


def test_the_keys_that_are_computed_are_in_the_answers(full: Served) -> None:
    for name, _, arguments in ASKED:
        answer = full.get(address_of(name, arguments)).json
        for row in full.get(address_of(name, arguments, f"sql/{name}")).json["computed"]:
            value = answer
            for key in row["key"].split("."):
                value = value[0] if isinstance(value, list) and value else value
                if isinstance(value, list) or value is None:
                    break
                assert key in value, (name, row["key"])
                value = value[key]
