"""PRINTING: tables, words and colours of a terminal."""

from __future__ import annotations

import re
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
    painted = promptry.paint_diff("@@ -1 +1 @@\n-old [red]\n+new\n same\n")
    assert click.unstyle(painted) == "@@ -1 +1 @@\n-old [red]\n+new\n same\n"
    assert "\x1b[31m-old [red]" in painted and "\x1b[32m+new" in painted


def test_a_page_says_what_it_leaves_out() -> None:
    text = promptry.render_rows({"items": [{"a": 1}], "total": 9, "next": "1"}, {"a": "n"}, "none")
    assert "1 of 9" in text and "--before 1" in text
    assert promptry.render_rows({"items": [], "total": 0, "next": None}, {"a": "n"}, "Nothing yet.") == "Nothing yet."
