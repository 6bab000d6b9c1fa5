"""WORDING: what sentences are made of."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

import promptry

STEERING = "\x00\x07\x1b[31m\x7f\x9b\u202e\u2066\ud800\ufffe"


def test_signs_that_are_no_text_are_spelled_out_and_the_rest_stays() -> None:
    kept = "a\tb\nc\rd 日本 é \U0001f600 \u200f"
    assert promptry.legible(kept) == kept
    assert promptry.legible(STEERING) == r"\x00\x07\x1b[31m\x7f\x9b\u202e\u2066\ud800\ufffe"


def test_json_keeps_its_value_where_signs_are_spelled_out() -> None:
    text = promptry.legible_json(json.dumps({STEERING: [STEERING]}, ensure_ascii=False))
    assert json.loads(text) == {STEERING: [STEERING]} and promptry.legible(text) == text


def test_what_is_logged_and_said_from_below_steers_no_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("promptry").error("a name: %s", "\x1b[2J")
    assert caplog.messages == [r"a name: \x1b[2J"]
    promptry.say("\x1b[2J")
    assert capsys.readouterr().err == "\\x1b[2J\n"


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ((0, "case"), "0 cases"),
        ((1, "case"), "1 case"),
        ((1234, "case"), "1,234 cases"),
        ((1, "try", "tries"), "1 try"),
        ((2, "call was", "calls were"), "2 calls were"),
    ],
)
def test_a_count_has_its_noun(told: tuple[int, str], text: str) -> None:
    assert promptry.counted(*told) == text


# Counts that are always many where they are said.
ALWAYS_MANY = {
    "arguments",
    "kinds of",
    "bytes",
    "characters",
    "signs",
    "faults",
    "runs until",
    "prompts and",
    "turns; at",
}


def test_no_short_way_lets_an_odd_sign_through() -> None:
    """Plain texts are told apart before the pattern is asked: sign by sign both say the same."""
    signs = [chr(number) for number in range(0x3000)]
    odd = [sign for sign in signs if re.search(promptry._ODD, sign)]
    assert [sign for sign in signs if promptry.legible(f"a{sign}\n") != f"a{sign}\n"] == odd
    assert {"\x00", "\x0b", "\x1c", "\x7f", "\x85", "\u202e"} <= set(odd) and not {"\t", "\n", "\r"} & set(odd)


def test_no_sentence_counts_with_a_fixed_plural() -> None:
    source = Path(promptry.__file__).read_text(encoding="utf-8")
    found = re.findall(r"\{len\([^{}]*\} ([a-z]+s\b[^\s\"'}]*(?: [a-z]+)?)", source)
    assert [words for words in found if not any(words.startswith(known) for known in ALWAYS_MANY)] == []
