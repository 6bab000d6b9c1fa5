"""FEEDBACK: ratings join the call they speak of, also when they come first; votes are told by version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import record_feedback, vote


def test_a_rating_joins_its_call(store: Path) -> None:
    id = promptry.track_invocation("support/answer", model="m", prompt_version=3, request_id="r1")
    record_feedback("r1", 0.5, "meh", "ada")
    (row,) = promptry.list_feedback()["items"]
    assert row["call_id"] == str(id) and row["prompt_name"] == "support/answer" and row["model"] == "m"
    assert (row["prompt_version"], row["rating"], row["comment"], row["source"]) == (3, 0.5, "meh", "ada")


def test_a_rating_that_comes_before_its_call_joins_later(store: Path) -> None:
    record_feedback("early", 1)
    assert promptry.list_feedback()["items"][0]["call_id"] is None
    with pytest.raises(promptry.NotFound, match="There is no prompt 'p'"):
        promptry.list_feedback(prompt="p")
    id = promptry.track_invocation("p", request_id="early")
    (row,) = promptry.list_feedback(prompt="p")["items"]
    assert row["call_id"] == str(id) and row["prompt_name"] == "p" and promptry.list_feedback(prompt="p")["total"] == 1
    assert promptry.get_call(str(id))["feedback"][0]["rating"] == 1.0


def test_a_source_has_one_rating_of_a_request_and_a_new_one_replaces_it(store: Path) -> None:
    first = record_feedback("r", 0.0, "bad")
    assert record_feedback("r", 1.0) == first
    (row,) = promptry.list_feedback()["items"]
    assert (row["rating"], row["comment"]) == (1.0, "bad"), "a rating without a comment leaves the comment"
    record_feedback("r", 0.25, source="judge")
    assert sorted(row["rating"] for row in promptry.list_feedback()["items"]) == [0.25, 1.0]


def test_a_rating_counts_once_for_a_request_of_several_calls(store: Path) -> None:
    for _ in range(3):
        promptry.track_invocation("p", request_id="r")
    record_feedback("r", 1.0)
    assert promptry.list_feedback()["total"] == len(promptry.list_feedback()["items"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("r", 99), "The rating is 99; it takes a number from 0"),
        (("r", -0.1), "The rating is -0.1"),
        (("r", True), "The rating is True"),
        (("r", "1"), "The rating is '1'"),
        (("r", float("nan")), "The rating is nan"),
        (("r",), "there is neither"),
        (("", 1), "request_id is ''"),
        ((None, 1), "request_id is None"),
        ((5, 1), "request_id is 5"),
        (("r" * 201, 1), "201 characters; it takes 200"),
        (("r", 1, ""), "comment is ''"),
        (("r", 1, "x" * 10_001), "10001 characters; it takes 10000"),
        (("r", 1, None, "s" * 201), "201 characters"),
        (("r", 1, None, ""), "source is ''"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_written(store: Path, arguments: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words) as caught:
        record_feedback(*arguments)
    assert isinstance(caught.value, ValueError) and promptry.list_feedback()["total"] == 0


def test_low_ratings_are_found_before_the_page_is_cut(store: Path) -> None:
    for number in range(30):
        record_feedback(f"r{number}", number / 29)
    found = promptry.list_feedback(max_rating=0.2, limit=4)
    assert found["total"] == 6 and len(found["items"]) == 4 and found["next"] is not None
    more = promptry.list_feedback(max_rating=0.2, limit=4, before=found["next"])
    assert len(more["items"]) == 2 and more["next"] is None


def test_a_vote_counts_for_the_version_that_was_served_last(store: Path) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two")
    vote("p", "an answer", 1)
    promptry.render_prompt("p", "", env="prod")
    vote("p", "an answer", -1, "why", {"user": "ada"})
    vote("unknown", "an answer", 1)
    last, down, latest = promptry.list_votes()["items"]
    assert (latest["prompt_version"], down["prompt_version"], last["prompt_version"]) == (2, 1, None)
    assert down["message"] == "why" and down["metadata"]["user"] == "ada"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("p", "x", 0), "score of a vote is 0"),
        (("p", "x", 2), "score of a vote is 2"),
        (("p", "x", True), "score of a vote is True"),
        (("p", "x", 1.0), "score of a vote is 1.0"),
        (("p", "x", "up"), "score of a vote is 'up'"),
        (("", "x", 1), "name is ''"),
        (("p", None, 1), "response of a vote is NoneType"),
        (("p", "x", 1, 5), "message of a vote is int"),
        (("p", "x", 1, None, [1]), "metadata of a vote is list"),
    ],
)
def test_a_vote_that_is_none_is_refused(store: Path, arguments: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words):
        vote(*arguments)
    assert promptry.list_votes()["total"] == 0


def test_down_votes_are_told_by_version_with_what_they_have_in_common(store: Path, raw: sqlite3.Connection) -> None:
    promptry.save_prompt("p", "one")
    for text in ("Refund denied, sorry.", "Sorry, the refund is late.", "No idea"):
        vote("p", text, -1, "wrong refund" if "efund" in text else None)
    vote("p", "Refund granted.", 1)
    promptry.save_prompt("p", "two")
    vote("p", "Fine.", 1)
    raw.execute("UPDATE votes SET created_at = '2020-01-01T00:00:00.000Z' WHERE response = 'No idea'")
    two, one = promptry.analyze_votes("p")["versions"]
    assert (two["version"], two["votes"], two["down"], two["down_share"]) == (2, 1, 0, 0.0)
    assert (one["votes"], one["up"], one["down"]) == (3, 1, 2) and one["down_share"] == pytest.approx(2 / 3)
    words = {word["word"]: word["down_votes"] for word in one["words"]}
    assert words == {"refund": 2, "sorry": 2, "wrong": 2}
    assert one["messages"] == ["wrong refund", "wrong refund"] and two["words"] == []
    assert promptry.analyze_votes("nobody")["versions"] == []


def test_a_locked_store_is_a_clear_error_and_nothing_is_half_written(
    store: Path, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    promptry.connect()
    monkeypatch.setattr(promptry, "PATIENCE_S", 0.05)
    with locked(), pytest.raises(promptry.StoreError, match="locked"), promptry.transact(0.05):
        record_feedback("r", 1)
    assert promptry.list_feedback()["total"] == 0


def test_half_characters_are_stored_as_question_marks(store: Path) -> None:
    promptry.save_prompt("a?", "one")
    promptry.track_invocation("a\ud800", request_id="r\ud800")
    record_feedback("r\ud800", 1.0, "fine\udcff", "a\ud800")
    vote("a\ud800", "Yes\ud800", 1, "why\udcff", {"by": "\ud800"})
    (told,) = promptry.list_feedback()["items"]
    assert (told["request_id"], told["comment"], told["source"], told["call_id"]) == ("r?", "fine?", "a?", "1")
    (up,) = promptry.list_votes()["items"]
    assert (up["prompt_name"], up["prompt_version"], up["response"], up["message"]) == ("a?", 1, "Yes?", "why?")


@pytest.mark.parametrize("score", [5, 0, True, "1", 1.0])
def test_votes_of_a_score_that_is_none_are_refused(store: Path, score: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes 1, -1"):
        promptry.list_votes(score=score)


def test_a_prompt_that_nothing_names_has_no_list_of_ratings_or_votes(store: Path) -> None:
    promptry.save_prompt("support/answer", "text")
    vote("other", "x", 1)
    record_feedback("r", 1.0)
    for find in (promptry.list_feedback, promptry.list_votes):
        with pytest.raises(promptry.NotFound, match="no prompt 'support/anwser'. Did you mean 'support/answer'"):
            find(prompt="support/anwser")
        assert find(prompt="support/answer") == {"items": [], "total": 0, "next": None}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["feedback"], "No feedback yet"),
        (["feedback", "--max-rating", "0.1"], "No feedback fits."),
        (["votes", "--limit", "3"], "No vote yet"),
        (["votes", "--score", "-1"], "No vote fits."),
        (["votes", "--before", "1"], "No vote fits."),
    ],
)
def test_an_empty_list_says_whether_filters_made_it_so(
    store: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    promptry.connect()
    assert promptry.run_command(words) == 0
    assert capsys.readouterr().out.startswith(text)
