"""EXCERPTS: an answer that is too long keeps its shape, says what was cut, and its parts can be read one by one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from promptry import WrongUse, excerpt_of, size_of, strict_json

LONG: dict[str, Any] = {
    "id": "7",
    "text": "x" * 30_000,
    "cases": [
        {"case": f"c{number}", "reason": "r" * 300, "checks": [{"n": number, "facts": {"a.b": "é" * 900}}] * 3}
        for number in range(500)
    ],
    "names": {f"k{number}": number for number in range(300)},
    "none": None,
}


def test_an_answer_that_fits_is_left_alone() -> None:
    found = {"id": "1", "cases": [1, 2]}
    assert excerpt_of(found, 1000) is found


def test_an_excerpt_fits_keeps_the_shape_and_says_what_was_cut() -> None:
    short = excerpt_of(LONG, 16_000)
    assert size_of(short) <= 16_000
    assert list(short) == [*LONG, "cut"]
    cut = {row["at"]: row for row in short["cut"]}
    assert cut["cases"] == {"at": "cases", "shown": len(short["cases"]), "of": 500, "unit": "entries"}
    assert cut["text"]["of"] == 30_000 and short["text"] == "x" * cut["text"]["shown"] + "…"
    assert cut["cases.*.checks.*.facts.a.b"]["of"] == 900
    assert cut["names"]["of"] == 300
    for row, whole in zip(short["cases"], LONG["cases"], strict=False):
        assert row["case"] == whole["case"] and row.keys() == whole.keys()


@pytest.mark.parametrize("room", [300, 1000, 4000, 16_000, 100_000])
def test_paging_through_a_part_gives_each_entry_once(room: int) -> None:
    rows: list[Any] = []
    while True:
        page = excerpt_of(LONG, room, "cases", len(rows))
        told = page["cut"][0]
        assert told["at"] == "cases" and told["after"] == len(rows) and told["shown"] == len(page["cases"]) > 0
        rows += page["cases"]
        if len(rows) == told["of"]:
            break
    assert [row["case"] for row in rows] == [row["case"] for row in LONG["cases"]]


@pytest.mark.parametrize(("part", "whole"), [("text", "x" * 30_000), ("cases.77.checks.1.facts.a.b", "é" * 900)])
def test_paging_through_a_text_gives_each_sign_once(part: str, whole: str) -> None:
    text = ""
    while len(text) < len(whole):
        page: Any = excerpt_of(LONG, 4000, part, len(text))
        assert size_of(page) < 8000
        for key in ("cases", 0, "checks", 0, "facts", "a.b") if "cases" in part else ("text",):
            page = page[key]
        assert page
        text += page
    assert text == whole


def test_a_part_inside_a_list_is_shown_in_its_entry() -> None:
    page = excerpt_of(LONG, 4000, "cases.77.checks", 1)
    assert [row["case"] for row in page["cases"]] == ["c77"]
    assert len(page["cases"][0]["checks"]) == 2


@pytest.mark.parametrize(
    ("part", "after"),
    [("cases.500.reason", 0), ("id", 5), ("cases.1.checks.0.n", 0), ("names", 0), ("none", 0), ("...", 0), ("x", 0)]
    + [("cases", -1), ("cases", 501), ("cases.x", 0), ("cases.٣", 0), ("cases.*.reason", 0)],
)
def test_a_part_that_is_none_is_refused(part: str, after: int) -> None:
    with pytest.raises(WrongUse) as error:
        excerpt_of(LONG, 4000, part, after)
    assert error.value.hint


def test_what_no_strict_reader_takes_is_replaced() -> None:
    found = {"half": "a\ud800b", "nan": math.nan, "slash": "\\ud800", "pair": "😀", "\udfff": 1}
    assert strict_json(found) == {"half": "a\ufffdb", "nan": None, "slash": "\\ud800", "pair": "😀", "\ufffd": 1}
    json.dumps(strict_json(found), ensure_ascii=False).encode()
