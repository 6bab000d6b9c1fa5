"""STATES: what a run comes to, what changed since that was told, and that a restart knows what was."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from test_drift import add_runs

import promptry
from promptry import Standing, StoreError, WrongUse


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("30s", 30), ("15m", 900), ("1h", 3600), ("1d", 86_400), ("365d", 31_536_000)]
)
def test_an_interval_is_a_number_and_its_unit(text: str, seconds: int) -> None:
    assert promptry.interval_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "h", "0s", "01h", "1.5h", "-1h", "1 h", "1w", "366d", "9999999h", "1h\n", "١h"]
)
def test_what_is_no_interval_is_one_sentence(text: str) -> None:
    with pytest.raises(WrongUse, match="30s, 15m, 1h or 1d"):
        promptry.interval_s(text)


@pytest.mark.parametrize(
    ("beat", "elapsed_s", "coming", "missed"),
    [
        (0, 0.0, 1, 0),
        (0, 59.9, 1, 0),
        (0, 60.1, 2, 1),
        (3, 181.0, 4, 0),
        (3, 3600.0, 61, 57),  # the machine slept: no burst of what it missed
        (5, 10.0, 6, 0),  # a beat that has been is never one to come
    ],
)
def test_beats_that_were_missed_are_left_out(beat: int, elapsed_s: float, coming: int, missed: int) -> None:
    assert promptry.next_beat(beat, 60.0, elapsed_s) == (coming, missed)


@pytest.mark.parametrize(
    ("code", "verdict", "is_saved", "state"),
    [
        (0, None, True, "ok"),
        (0, "improved", True, "ok"),
        (0, "not enough data", True, "ok"),
        (1, "regressed", True, "regressed"),
        (1, "tied", True, "failing"),
        (1, None, True, "failing"),
        (3, None, True, "error"),
        (3, "tied", True, "error"),
        (2, None, False, "error"),
        (-9, None, False, "error"),
        (None, None, False, "error"),
        (0, None, False, "error"),
    ],
)
def test_a_state_is_what_the_run_came_to(code: int | None, verdict: str | None, is_saved: bool, state: str) -> None:
    assert promptry.state_of(code, verdict, is_saved) == state


OK = Standing()
SPENT = {"the daily budget of all calls": "$5.02 of $5.00"}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (OK, OK, []),
        (OK, Standing("failing"), ["ok -> failing"]),
        (Standing("failing"), Standing("failing"), []),
        (Standing("error"), OK, ["error -> ok"]),
        (OK, Standing(drift="the scores fell"), ["drift begins: the scores fell"]),
        (Standing(drift="the scores fell"), Standing(drift="the newest lies far below"), []),
        (Standing(drift="the scores fell"), OK, ["drift ends"]),
        (OK, Standing(spent=SPENT), ["the daily budget of all calls is spent: $5.02 of $5.00"]),
        (Standing(spent=SPENT), Standing(spent={**SPENT, "b": ""}), ["b is spent: "]),
        (Standing(spent=SPENT), OK, ["the daily budget of all calls is spent no more"]),
        (Standing(spent={"a": ""}), Standing("error", "x", {"b": "$1"}), ["ok -> error", "drift begins: x"]),
    ],
)
def test_what_changed_is_told_and_nothing_else(before: Standing, now: Standing, told: list[str]) -> None:
    turns = promptry.list_turns("qa", before, now)
    assert [row["text"] for row in turns][: len(told)] == told and bool(turns) == bool(told)
    assert all(row["before"] != row["now"] for row in turns)


def test_one_budget_goes_while_another_comes() -> None:
    turns = promptry.list_turns("qa", Standing(spent={"a": ""}), Standing(spent={"b": "$1 of $1"}))
    assert [(row["name"], row["before"], row["now"]) for row in turns] == [
        ("a", "spent", "within"),
        ("b", "within", "spent"),
    ]


def test_what_is_not_known_now_is_as_it_was() -> None:
    before = Standing("failing", "the scores fell", SPENT)
    assert promptry.known_standing(before, Standing("error", None, None)) == before._replace(state="error")
    assert promptry.known_standing(before, Standing("ok", "", {})) == OK


def test_drift_and_spent_budgets_are_read_from_the_store(raw: sqlite3.Connection) -> None:
    assert promptry.check_standing("qa", "ok") == OK
    add_runs(raw, [1.0] * 15 + [0.2] * 15)
    promptry.set_budget("global", None, "daily", 1.0)
    promptry.set_budget("module", "support", "monthly", 100.0)
    promptry.track_invocation("support/answer", {"cost_usd": 1.5})
    found = promptry.check_standing("qa", "failing")
    assert found.state == "failing" and found.drift and found.drift == promptry.check_drift("qa").reason
    assert found.spent == {"the daily budget of all calls": "$1.50 of $1.00"}
    promptry.set_budget("module", "support", "monthly", 1.0)
    assert "the monthly budget of module support" in (promptry.check_standing("qa", "ok").spent or {})


def test_a_store_that_cannot_be_read_says_nothing(store: Path) -> None:
    store.write_bytes(b"no database, but long enough to be looked at as one" * 50)
    assert promptry.check_standing("qa", "error") == Standing("error", None, None)
    with pytest.raises(StoreError):
        promptry.find_told("qa")


def test_what_was_told_is_noted_in_the_newest_run_and_found_again(raw: sqlite3.Connection) -> None:
    add_runs(raw, [1.0, 0.5])
    add_runs(raw, [1.0], name="other")
    assert promptry.find_told("qa") == OK
    told = Standing("regressed", "the scores fell", SPENT)
    promptry.save_told("qa", told)
    assert promptry.find_told("qa") == told._replace(spent=dict.fromkeys(SPENT, ""))
    assert promptry.list_turns("qa", promptry.find_told("qa"), told) == []
    assert promptry.find_told("other") == OK
    add_runs(raw, [1.0])
    assert promptry.find_told("qa").state == "regressed", "what ran in between, by hand, was told by nobody"
    promptry.save_told("qa", OK)
    assert promptry.find_told("qa") == OK
    kept = [
        json.loads(row[0])["monitor"]["state"]
        for row in raw.execute("SELECT metadata FROM eval_runs WHERE metadata IS NOT NULL")
    ]
    assert kept == ["regressed", "ok"]


def test_a_note_keeps_what_the_run_says_of_itself(raw: sqlite3.Connection) -> None:
    add_runs(raw, [1.0], metadata='{"verdict": "tied", "gate": {"mode": "strict"}}')
    promptry.save_told("qa", Standing("ok"))
    (text,) = raw.execute("SELECT metadata FROM eval_runs").fetchone()
    assert json.loads(text)["verdict"] == "tied" and json.loads(text)["gate"] == {"mode": "strict"}
    assert promptry.list_runs("qa")["items"][0]["verdict"] == "tied"


def test_where_no_run_is_there_is_nowhere_to_note(raw: sqlite3.Connection) -> None:
    promptry.save_told("qa", Standing("error"))
    assert promptry.find_told("qa") == OK


def test_no_store_is_made_to_look_for_a_note(store: Path) -> None:
    assert promptry.find_told("qa") == OK and not store.exists()


@pytest.mark.parametrize(
    "note", [3, "x", [], {"state": 1, "drift": 2, "spent": "a"}, {"state": "odd"}, {"spent": [1, None]}]
)
def test_a_note_of_others_is_none(raw: sqlite3.Connection, note: Any) -> None:
    add_runs(raw, [1.0], metadata=json.dumps({"monitor": note}))
    found = promptry.find_told("qa")
    assert (found.state, found.drift) == ("ok", "")
