"""CALLS: the ledger read back: filters, pages, search within a bound, and everything as lines."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry


@pytest.fixture
def ledger(store: Path) -> None:
    """Forty calls of two prompts, three models and two origins, every fourth in error."""
    for number in range(40):
        facts = {"origin": "eval" if number % 5 == 0 else "app", "status": "error" if number % 4 == 0 else "ok"}
        promptry.track_invocation(
            "a/one" if number % 2 else "b/two",
            {**facts, "note": f"needle-{number}"},
            model=f"m{number % 3}",
            prompt_version=1 + number % 2,
            request_id=f"r{number // 2}",
            input_text=f"Question {number} of Straße",
            output_text="Answer 7" if number == 7 else "Answer",
            capture=True,
        )


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"prompt": "a/one"}, lambda n: n % 2 == 1),
    ({"model": "m2"}, lambda n: n % 3 == 2),
    ({"status": "error"}, lambda n: n % 4 == 0),
    ({"origin": "eval", "status": "ok"}, lambda n: n % 5 == 0 and n % 4),
    ({"prompt": "b/two", "version": 1, "model": "m0", "days": 1}, lambda n: n % 2 == 0 and n % 3 == 0),
    ({"request": "r3"}, lambda n: n in {6, 7}),
    ({"model": "absent"}, lambda n: False),
]


@pytest.mark.parametrize(("asked", "fits"), FILTERS, ids=lambda part: str(part)[:40] if isinstance(part, dict) else "")
@pytest.mark.parametrize("limit", [3, 50])
def test_filters_give_those_that_fit_newest_first_in_pages(ledger: None, asked: Any, fits: Any, limit: int) -> None:
    wanted = [str(number + 1) for number in range(39, -1, -1) if fits(number)]
    found, before = [], None
    while True:
        answer = promptry.list_calls(**asked, limit=limit, before=before)
        assert answer["total"] == len(wanted)
        found += [row["id"] for row in answer["items"]]
        before = answer["next"]
        if before is None:
            break
    assert found == wanted


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("needle-13", ["14"]),
        ("ANSWER 7", ["8"]),
        ("question 20 of", ["21"]),
        ("b/two", 20),
        ("absent", []),
        ("%", []),
    ],
)
def test_a_search_looks_into_texts_names_and_facts(ledger: None, text: str, ids: Any) -> None:
    found = promptry.list_calls(search=text)
    assert found["total"] is None and found["next"] is None
    assert len(found["items"]) == ids if isinstance(ids, int) else [row["id"] for row in found["items"]] == ids


@pytest.mark.parametrize(("asked", "fits"), [case for case in FILTERS if "request" not in case[0]])
def test_a_search_keeps_to_the_other_filters(ledger: None, asked: Any, fits: Any) -> None:
    wanted = [str(number + 1) for number in range(39, -1, -1) if fits(number)]
    assert [row["id"] for row in promptry.list_calls(search="needle", **asked)["items"]] == wanted
    assert promptry.list_calls(search="absent", **asked)["items"] == []


def test_each_call_is_listed_with_the_rating_of_its_request(ledger: None) -> None:
    promptry.record_feedback("r3", 1.0, source="app")
    promptry.record_feedback("r3", 0.5, source="team")
    promptry.record_feedback("r4", None, "a comment alone")
    for asked in ({}, {"search": "needle"}, {"origin": "app"}):
        rated = {row["request_id"]: row["rating"] for row in promptry.list_calls(**asked)["items"]}
        assert (rated["r3"], rated["r4"], rated["r5"]) == (0.75, None, None)
    assert [row["rating"] for row in promptry.list_calls(request="r3")["items"]] == [0.75, 0.75]


def test_a_search_stops_after_its_time_and_goes_on_where_it_stopped(
    ledger: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(1000))
    monkeypatch.setattr(promptry, "monotonic_s", lambda: next(moments) * 0.2)
    monkeypatch.setattr(promptry, "SEARCHED_AT_ONCE", 10)
    first = promptry.list_calls(search="needle-3")
    assert first["next"] is not None and len(first["items"]) < 11
    rows, before = list(first["items"]), first["next"]
    while before is not None:
        answer = promptry.list_calls(search="needle-3", before=before)
        rows, before = rows + answer["items"], answer["next"]
    assert [row["id"] for row in rows] == [str(number + 1) for number in (39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 3)]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_search_in_pages_gives_each_row_once(ledger: None, limit: int) -> None:
    rows, before = [], None
    for _ in range(60):
        answer = promptry.list_calls(search="Straße", limit=limit, before=before)
        assert len(answer["items"]) <= limit
        rows, before = rows + [row["id"] for row in answer["items"]], answer["next"]
        if before is None:
            break
    assert rows == [str(number) for number in range(40, 0, -1)]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"search": ""}, "empty text"),
        ({"request": "x", "model": "m"}, "does not go together"),
        ({"request": "x", "search": "y"}, "does not go together"),
        ({"days": 0}, "The days are 0"),
        ({"days": -5}, "The days are -5"),
        ({"days": True}, "The days are True"),
        ({"limit": 1001}, "The limit is 1001"),
        ({"status": "nope"}, "The status is 'nope'; it takes ok, error"),
        ({"status": "eror"}, "Did you mean 'error'"),
        ({"status": "reserved"}, "The status is 'reserved'"),
        ({"origin": "ap"}, "The origin is 'ap'; it takes app, eval, judge, playground. Did you mean 'app'"),
        ({"origin": "all"}, "The origin is 'all'"),
        ({"origin": ["app"]}, "The origin is"),
    ],
)
def test_what_cannot_be_asked_is_refused(store: Path, asked: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words):
        promptry.list_calls(**asked)


@pytest.mark.parametrize(("name", "words"), [("a/oen", "Did you mean 'a/one'"), ("zzz", "No version, call, vote")])
def test_a_prompt_that_nothing_names_is_not_found(ledger: None, name: str, words: str) -> None:
    with pytest.raises(promptry.NotFound, match=f"There is no prompt '{name}'. {words}"):
        promptry.list_calls(prompt=name, status="ok")
    with pytest.raises(promptry.NotFound):
        list(promptry.export_calls(prompt=name))


def test_a_prompt_that_anything_names_is_known(ledger: None) -> None:
    promptry.save_prompt("saved", "text")
    promptry.vote("voted", "x", 1)
    with promptry.transact() as connection:
        connection.execute("INSERT INTO feedback (request_id, prompt_name, rating) VALUES ('r', 'rated', 1)")
    for name in ("saved", "voted", "rated"):
        assert promptry.list_calls(prompt=name)["total"] == 0
    assert promptry.list_calls(prompt="a/one", model="absent")["total"] == 0


def test_whether_a_prompt_is_known_and_which_is_nearest_are_asked_of_indexes(store: Path) -> None:
    connection = promptry.connect()
    for sql, given in ((promptry._IS_NAMED, {"name": "p"}), (promptry._ALL_NAMES, {})):
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", given):
            if step.startswith(("SCAN", "SEARCH")) and "called" not in step and "CONSTANT" not in step:
                assert "USING COVERING INDEX" in step, step
        plan = " ".join(step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", given))
        assert "SCAN invocations" not in plan


def test_a_list_of_calls_that_do_not_fit_is_not_said_to_be_empty(
    ledger: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--model", "absent"], ["--search", "absent"], ["--request", "absent"], ["--before", "1"]):
        assert promptry.run_command(["calls", *words]) == 0
        assert capsys.readouterr().out == "No call fits.\n", words
    assert promptry.run_command(["calls", "--status", "eror"]) == 2
    assert "Did you mean 'error'?" in capsys.readouterr().err
    assert promptry.run_command(["calls", "--model", "absent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": [], "total": 0, "next": None}


def test_a_page_of_a_search_says_that_there_may_be_more(ledger: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["calls", "--search", "needle", "--limit", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "there may be more; the next page: --before 40"


def test_money_reserved_is_no_call(ledger: None, raw: sqlite3.Connection) -> None:
    raw.execute(
        """INSERT INTO invocations (prompt_name, request_id, metadata) VALUES
        ('a/one', 'r3', '{"status": "reserved", "cost_usd": 5, "model": "m1"}')"""
    )
    assert promptry.list_calls()["total"] == 40 and len(promptry.list_calls()["items"]) == 40
    assert (
        promptry.list_calls(prompt="a/one")["total"] == 20 and len(promptry.list_calls(prompt="a/one")["items"]) == 20
    )
    assert promptry.list_calls(request="r3")["total"] == 2 and promptry.list_calls(search="reserved")["items"] == []
    with pytest.raises(promptry.NotFound):
        promptry.get_call("41")


def test_a_call_shows_what_was_said_of_it(ledger: None) -> None:
    promptry.record_feedback("r3", 1.0, "good", "ada")
    assert [row["comment"] for row in promptry.get_call("8")["feedback"]] == ["good"]
    assert promptry.get_call("1")["feedback"] == []


def test_all_calls_come_out_as_csv_and_as_lines_of_json(ledger: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["calls", "--format", "csv", "--prompt", "a/one"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 20 and rows[0]["id"] == "40" and rows[-1]["input_text"] == "Question 1 of Straße"
    assert promptry.run_command(["calls", "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == [str(number) for number in range(40, 0, -1)]
    assert lines[0]["metadata"]["note"] == "needle-39" and lines[0]["output_text"] == "Answer"
    assert promptry.run_command(["calls", "--format", "jsonl", "--limit", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert promptry.run_command(["calls", "--format", "csv", "--model", "none"]) == 0
    assert capsys.readouterr().out == ""
    assert promptry.run_command(["calls", "1", "--format", "csv"]) == 2


def test_an_export_of_more_than_a_page_gives_each_call_once(store: Path, raw: sqlite3.Connection) -> None:
    raw.execute(
        """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
        INSERT INTO invocations (prompt_name, metadata) SELECT 'p', json_object('n', i) FROM n"""
    )
    ids = [row["id"] for row in promptry.export_calls()]
    assert ids == [str(number) for number in range(2500, 0, -1)]
    assert len(list(promptry.export_calls(limit=1001))) == 1001


def test_no_spreadsheet_computes_what_a_csv_holds(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "plain", " =1"]
    for text in told:
        promptry.track_invocation("=p", {"cost_usd": 1.0}, input_text=text, capture=True)
    assert promptry.run_command(["calls", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row["input_text"] for row in rows][::-1] == [f"'{text}" for text in told[:6]] + told[6:]
    assert {(row["prompt_name"], row["cost_usd"]) for row in rows} == {("'=p", "1.0")}
    assert promptry.run_command(["calls", "--format", "jsonl"]) == 0
    assert [json.loads(line)["input_text"] for line in capsys.readouterr().out.splitlines()][::-1] == told
