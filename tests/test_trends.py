"""TRENDS: which production calls make a day, what they tell, and what served them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

import promptry
from promptry import list_trends


def day(ago: int) -> str:
    return promptry.first_day(ago + 1)


def add_call(raw: sqlite3.Connection, ago: int, name: str = "p", version: int | None = None, **facts: Any) -> None:
    """Add a call of a day so long ago; request goes to its column."""
    request = facts.pop("request", None)
    columns = "prompt_name, prompt_version, metadata, request_id, created_at"
    row = (name, version, json.dumps(facts), request, f"{day(ago)}T12:00:00.000Z")
    raw.execute(f"INSERT INTO invocations ({columns}) VALUES (?, ?, ?, ?, ?)", row)


def rate(
    raw: sqlite3.Connection, request: str, rating: float, ago: int = 0, source: str = "", name: Any = None
) -> None:
    raw.execute(
        "INSERT INTO feedback (request_id, prompt_name, rating, source, created_at) VALUES (?, ?, ?, ?, ?)",
        (request, name, rating, source, f"{day(ago)}T13:00:00.000Z"),
    )


def told(of: str, window: int = 30, prompt: str | None = None) -> dict[str, list[tuple[Any, ...]]]:
    keys = ("day", "calls", "known", "total", "squares")
    return {
        name: [tuple(row[key] for key in keys) for row in rows]
        for name, rows in list_trends(of, window, prompt).items()
    }


def test_a_day_has_the_production_calls_that_ended_well_and_those_that_tell(raw: sqlite3.Connection) -> None:
    add_call(raw, 2, cost_usd=0.5, latency_ms=100, tokens_out=7)
    add_call(raw, 2, cost_usd=0.25, latency_ms=300)
    add_call(raw, 2, latency_ms="slow", cost_usd=None)
    for facts in ({"status": "error"}, {"status": "reserved"}, {"origin": "eval"}, {"origin": "judge"}):
        add_call(raw, 2, cost_usd=9.0, latency_ms=9, tokens_out=9, **facts)
    raw.execute("INSERT INTO invocations (prompt_name, created_at) VALUES ('bare', ?)", (f"{day(1)}T00:00:00.000Z",))
    assert told("cost") == {"p": [(day(2), 3, 2, 0.75, 0.3125)], "bare": [(day(1), 1, 0, None, None)]}
    assert told("latency", prompt="p") == {"p": [(day(2), 3, 2, 400.0, 100_000.0)]}
    assert told("length", prompt="p") == {"p": [(day(2), 3, 1, 7, 49)]}
    assert told("rating", prompt="p") == {"p": [(day(2), 3, 0, None, None)]}


def test_the_window_ends_with_yesterday_and_days_without_calls_are_no_days(raw: sqlite3.Connection) -> None:
    for ago in (0, 1, 4, 7, 8, 40):
        add_call(raw, ago, cost_usd=1.0)
    raw.execute("INSERT INTO invocations (prompt_name, created_at) VALUES ('p', '2999-01-01T00:00:00.000Z')")
    assert [row[0] for row in told("cost", 7)["p"]] == [day(7), day(4), day(1)]
    assert [row[0] for row in told("cost", 1)["p"]] == [day(1)]
    assert len(told("cost", 1000)["p"]) == 5


def test_one_prompt_is_not_taken_for_another_of_a_name_like_it(raw: sqlite3.Connection) -> None:
    for name in ("a", "a/b", "ab", "A", "é"):
        add_call(raw, 1, name, cost_usd=1.0)
    for name in ("a", "a/b", "A", "é"):
        assert list(told("cost", prompt=name)) == [name]
    assert list(told("cost")) == sorted(["a", "a/b", "ab", "A", "é"])


def test_an_unknown_prompt_is_refused_and_a_known_one_may_have_no_call(raw: sqlite3.Connection) -> None:
    promptry.save_prompt("quiet", "text")
    assert list_trends("cost", 30, "quiet") == {}
    with pytest.raises(promptry.NotFound, match="quite"):
        list_trends("cost", 30, "quite")


def test_a_rated_request_counts_once_on_the_day_of_its_call(raw: sqlite3.Connection) -> None:
    add_call(raw, 3, request="r1")
    add_call(raw, 3, request="r2")
    add_call(raw, 2, request="r3")
    rate(raw, "r1", 1.0, ago=1, source="user")
    rate(raw, "r1", 0.5, ago=1, source="editor")
    rate(raw, "r3", 0.25, ago=3)  # it came before the call did
    rate(raw, "lost", 0.0, ago=2, name="p")
    assert told("rating") == {"p": [(day(3), 2, 1, 0.75, 0.5625), (day(2), 1, 1, 0.25, 0.0625)]}


def test_ratings_of_what_is_no_production_call_or_of_today_are_no_part(raw: sqlite3.Connection) -> None:
    add_call(raw, 0, request="today")
    add_call(raw, 2, request="eval", origin="eval")
    add_call(raw, 2, request="error", status="error")
    add_call(raw, 40, request="old")
    for request in ("today", "eval", "error", "old"):
        rate(raw, request, 0.0)
    assert told("rating") == {}


def test_a_comment_without_a_rating_is_no_rating(raw: sqlite3.Connection) -> None:
    add_call(raw, 2, request="r")
    raw.execute("INSERT INTO feedback (request_id, comment) VALUES ('r', 'meh')")
    assert told("rating") == {"p": [(day(2), 1, 0, None, None)]}


def test_a_rating_that_names_another_prompt_counts_there(raw: sqlite3.Connection) -> None:
    add_call(raw, 2, "chain", request="r")
    rate(raw, "r", 0.5, ago=2, name="answer")
    assert told("rating") == {"answer": [(day(2), 1, 1, 0.5, 0.25)], "chain": [(day(2), 1, 0, None, None)]}
    assert told("rating", prompt="answer") == {"answer": [(day(2), 1, 1, 0.5, 0.25)]}


def test_what_served_is_what_most_calls_of_a_day_say(raw: sqlite3.Connection) -> None:
    for ago, version, served in (
        (3, 1, "m-1"),
        (3, 1, None),
        (3, 2, "m-1"),
        (2, 2, "m-2"),
        (2, 2, "m-2"),
        (2, 1, "m-1"),
    ):
        add_call(raw, ago, version=version, model="m", served_model=served)
    add_call(raw, 2, version=7, model="other", origin="eval")
    assert promptry.served_between("p", day(3), day(2)) == {
        "prompt": {"before": "p@1", "now": "p@2"},
        "model": {"before": "m-1", "now": "m-2"},
        "dataset": None,
        "commit": None,
        "embedder": None,
    }
    assert not any(promptry.served_between("p", day(2), day(2)).values())
    assert promptry.served_between("p", day(9), day(2))["prompt"] == {"before": None, "now": "p@2"}
