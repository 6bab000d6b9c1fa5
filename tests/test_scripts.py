"""SCRIPTS: a read's statements can be pasted into sqlite3, whatever its parameters hold."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import save_prompt, script_of, scripts_of

AWKWARD = [
    "plain",
    "it's",
    'say "x"',
    "a\\b\\n",
    "two\nlines\ttab",
    "$HOME `ls` ; .quit",
    "ä 😀 \u2028",
    "'; DROP TABLE prompts; --",
    " spaces ",
    "",
    "-1",
    "NULL",
    "x" * 5000,
    "\x1b[31m\x7f",
    ".parameter clear",
]


@pytest.mark.parametrize(
    "value", [*AWKWARD, 0, -7, 2**62, 0.1, 1e-9, -2.5e300, True], ids=lambda value: repr(value)[:30]
)
def test_a_parameter_arrives_as_it_is(value: Any, tmp_path: Path) -> None:
    script = script_of("SELECT :value AS value, typeof(:value) AS kind, :other AS other", {"value": value})
    done = subprocess.run(
        ["sqlite3", "-json", tmp_path / "s.db"], input=script, capture_output=True, text=True, check=False
    )
    assert done.stderr == "" and done.returncode == 0
    (row,) = json.loads(done.stdout)
    assert row["value"] == value and row["other"] is None
    assert row["kind"] == {str: "text", int: "integer", bool: "integer", float: "real"}[type(value)]


def test_what_one_script_sets_is_gone_in_the_next(tmp_path: Path) -> None:
    scripts = script_of("SELECT :a AS a", {"a": 1}) + script_of("SELECT :a AS a", {})
    done = subprocess.run(["sqlite3", "-json", tmp_path / "s.db"], input=scripts, capture_output=True, text=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[{"a": 1}], [{"a": None}]]


def test_a_read_tells_its_statements_once_each_with_what_was_given(store: Path) -> None:
    save_prompt("p", "Text.")
    found, told = scripts_of(lambda: [promptry.list_prompts(limit=3), promptry.list_prompts(limit=3)][0])
    assert found["total"] == 1 and len(told) == 2
    assert told[0]["parameters"] == {"limit": 3, "offset": 0} and told[1]["parameters"] == {}
    assert all(statement["sql"].endswith(";") and "Text." not in statement["script"] for statement in told)


def test_notes_are_taken_within_the_block_only(store: Path) -> None:
    with promptry.noted_queries() as outer:
        promptry.list_prompts()
        with promptry.noted_queries() as inner:
            promptry.list_datasets()
    promptry.list_votes()
    assert len(outer) == len(inner) == 2
    assert "FROM prompts" in outer[0][0] and "FROM datasets" in inner[0][0]
