"""WORDING: what sentences are made of."""

from __future__ import annotations

import json
import logging

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
