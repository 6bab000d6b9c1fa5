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


@pytest.mark.slow
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


MAPS: dict[str, Any] = {
    "metadata": {f"key {number}": f"{number}" for number in range(200)},
    "rows": [{"facts": {}}, {"facts": {f"a.{number}": {"text": "é" * number} for number in range(300)}}],
    "long": {"": "x" * 20_000, "y": {"z": "y" * 20_000}, **{f"k{number}": number for number in range(100)}},
}


@pytest.mark.parametrize("room", [300, 2000, 16_000])
@pytest.mark.parametrize(("part", "way"), [("metadata", ["metadata"]), ("rows.1.facts", ["rows", 1, "facts"])])
def test_paging_through_a_map_gives_each_key_once(part: str, way: list[Any], room: int) -> None:
    whole: Any = MAPS
    for key in way:
        whole = whole[key]
    found: dict[str, Any] = {}
    while len(found) < len(whole):
        page: Any = excerpt_of(MAPS, room, part, len(found))
        told = page["cut"][0]
        for key in way:
            page = page[0 if key == 1 else key]
        assert told == {"at": part, "after": len(found), "shown": len(page), "of": len(whole), "unit": "keys"}
        assert page and not page.keys() & found.keys()
        found |= page
    assert list(found) == list(whole)
    if room == 16_000:
        assert found == whole


def test_each_part_that_a_cut_names_can_be_read_on() -> None:
    short = excerpt_of({"metadata": MAPS["metadata"], "long": MAPS["long"]}, 2000)
    assert {row["unit"] for row in short["cut"]} == {"keys", "characters"}
    for row in short["cut"]:
        told = excerpt_of(MAPS, 16_000, row["at"])["cut"][0]
        assert (told["at"], told["of"], told["unit"]) == (row["at"], row["of"], row["unit"])


def test_a_long_value_of_a_map_is_cut_by_its_own_key() -> None:
    page = excerpt_of(MAPS, 4000, "long")
    cut = {row["at"]: row for row in page["cut"]}
    assert cut["long."]["of"] == cut["long.y.z"]["of"] == 20_000
    assert len(page["long"]) == cut["long"]["shown"] < cut["long"]["of"] == 102
    assert excerpt_of(MAPS, 4000, "long.", 19_990)["long"][""] == "x" * 10


def test_a_part_inside_a_list_is_shown_in_its_entry() -> None:
    page = excerpt_of(LONG, 4000, "cases.77.checks", 1)
    assert [row["case"] for row in page["cases"]] == ["c77"]
    assert len(page["cases"][0]["checks"]) == 2


@pytest.mark.parametrize(
    ("part", "after"),
    [("cases.500.reason", 0), ("id", 5), ("cases.1.checks.0.n", 0), ("names", 301), ("none", 0), ("...", 0), ("x", 0)]
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
