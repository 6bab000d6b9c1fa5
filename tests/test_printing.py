"""PRINTING: tables, words and colours of a terminal."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import promptry


def test_a_table_lines_up_and_puts_numbers_to_the_right() -> None:
    text = promptry.render_table({"a": "name", "b": "n"}, [{"a": "x", "b": 1}, {"a": "longer", "b": 1000}])
    assert text.splitlines() == ["name       n", "------  ----", "x          1", "longer  1000"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "-"),
        (True, "pass"),
        (False, "fail"),
        (0, "0"),
        (0.0, "0.000"),
        (0.5, "0.500"),
        (0.12345, "0.1235"),
        ("two\nlines", "two lines"),
        ({"prod": 2, "dev": 3}, "prod: 2, dev: 3"),
        ({}, "-"),
        ("日本", "日本"),
    ],
)
def test_each_kind_of_value_has_its_text(value: Any, cell: str) -> None:
    lines = click.unstyle(promptry.render_table({"a": "a title that is long"}, [{"a": value}])).splitlines()
    assert lines[2].strip() == cell


def test_a_cost_far_below_a_cent_does_not_read_as_zero() -> None:
    assert not re.search(r"\b0\.000\b", promptry.render_table({"a": "usd"}, [{"a": 0.00000045}]))


def test_a_table_of_nothing_is_its_titles() -> None:
    assert promptry.render_table({"a": "name"}, []).splitlines() == ["name", "----"]


def test_the_lines_of_a_diff_are_coloured_and_their_text_is_kept() -> None:
    painted = promptry.terminal_text(promptry.paint_diff("@@ -1 +1 @@\n-old [red]\n+new\n same\n"))
    assert click.unstyle(painted) == "@@ -1 +1 @@\n-old [red]\n+new\n same\n"
    assert "\x1b[31m-old [red]" in painted and "\x1b[32m+new" in painted


def test_a_page_says_what_it_leaves_out() -> None:
    text = promptry.render_rows({"items": [{"a": 1}], "total": 9, "next": "1"}, {"a": "n"}, "none")
    assert "1 of 9" in text and "--before 1" in text
    assert promptry.render_rows({"items": [], "total": 0, "next": None}, {"a": "n"}, "Nothing yet.") == "Nothing yet."


STEERING = "\x00\x07\x1b[31mPASS\x1b]8;;http://x\x1b\\\r\x7f\x9b\u202e\u2069\ud800"


def test_only_the_doors_print() -> None:
    source = Path(promptry.__file__).read_text(encoding="utf-8")
    begin, end = (source.index(f"# === {name}:") for name in ("PRINTING", "RECORDS"))
    outside = source[:begin] + source[end:]
    assert not re.findall(r"click\.(?:echo|secho|style|unstyle)\(|(?<![\w.])print\(|sys\.stdout\.write\(f", outside)


def test_texts_of_others_steer_no_terminal_and_colours_of_ours_stay(capsys: pytest.CaptureFixture[str]) -> None:
    text = promptry.terminal_text(f"{promptry.coloured('FAIL')} {STEERING}\tb\nc\r\nd")
    assert text.startswith("\x1b[31;1mFAIL\x1b[0m ") and text.endswith("\tb\nc\r\nd")
    assert promptry.legible(text.replace("\x1b[31;1m", "").replace("\x1b[0m", "")).count("\\x1b") == 3
    assert r"\x1b[31mPASS" in text and r"\\" in text and r"\r\x7f\x9b\u202e\u2069\ud800" in text
    promptry.print_error(STEERING)
    promptry.print_text(STEERING)
    said = capsys.readouterr()
    assert said.out == said.err.removeprefix("promptry: ") and "\x1b" not in said.out and "\r" not in said.out


def test_a_colour_that_a_text_forges_is_spelled_out() -> None:
    assert "\x1b" not in promptry.terminal_text("\x1b[32;1mPASS\x1b[0m \x1b[31;12345m")


def test_json_is_json_for_any_reader(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"a": [math.nan, math.inf, 1.5], STEERING: "日本"}
    promptry.print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": [None, None, 1.5], STEERING: "日本"} and "日本" in out
    assert out.encode("utf-8") and promptry.legible(out) == out
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    promptry.print_json(value)
    sys.stdout.flush()
    assert json.loads(raw.getvalue().decode("ascii")) == {"a": [None, None, 1.5], STEERING: "日本"}


def test_a_line_is_no_command_to_the_runner_of_a_job(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    text = "a ::b\n  ::error::c\n::set-output\n##[error]d"
    assert promptry.terminal_text(text) == text
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert promptry.terminal_text(text) == "a ::b\n  \\x3a:error::c\n\\x3a:set-output\n#\\x23[error]d"
    promptry.print_json(["##[error]d"])
    out = capsys.readouterr().out
    assert "##[" not in out and json.loads(out) == ["##[error]d"]


def test_data_for_programs_is_printed_as_it_is_but_not_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    promptry.print_data("a\x1b[31m\n")
    assert capsys.readouterr().out == "a\x1b[31m\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    promptry.print_data("a\x1b[31m\n")
    assert capsys.readouterr().out == "a\\x1b[31m\n"
