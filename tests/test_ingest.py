"""INGEST: what is shipped is checked, taken in one transaction, and marked."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hubs import read_wire, shipments, sums_of, take
from served import Served, serve

import promptry

SOURCE = "0123456789abcdef"
PACKED = {"Content_Encoding": "gzip"}


@pytest.fixture
def body(tmp_path: Path, store: Path) -> dict[str, Any]:
    """Give what another store sends; this one is chosen."""
    other = tmp_path / "other.db"
    promptry.use_store(other)
    promptry.track("Text", "p")
    for _ in range(3):
        promptry.track_invocation("p", {"cost_usd": 0.5}, model="m")
    (found,) = shipments(other)
    promptry.use_store(store)
    return read_wire(found)


def test_rows_are_posted_plain_or_packed_and_their_source_is_told_how_far_it_has_got(
    body: dict[str, Any], dashboard: Served
) -> None:
    asked = {"source": body["source"], "format": 1}
    nothing = {"source": body["source"], "mark": None, "marks": [], "taken": {}, "refused": [], "refused_total": 0}
    assert dashboard.post("/api/ingest", asked).json == nothing
    reply = dashboard.post("/api/ingest", body).json
    assert reply == {**nothing, "mark": body["cursor"]["id"], "taken": {"prompts": 1, "invocations": 3}}
    told = dashboard.post("/api/ingest", asked).json["marks"]
    assert [mark["id"] for mark in told] == [body["cursor"]["id"]] and told[0]["places"] == body["cursor"]["places"]
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    again = dashboard.ask("POST", "/api/ingest", gzip.compress(json.dumps(body).encode()), headers)
    assert again.status == 200 and again.json["taken"] == {}
    assert dashboard.get("/api/calls").json["total"] == 3


def test_only_what_is_shipped_may_be_packed_and_only_so_much(
    body: dict[str, Any], dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(json.dumps(body).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert dashboard.ask("POST", "/api/votes", packed, headers).status == 415
    assert dashboard.ask("POST", "/api/ingest", packed, {**headers, "Content-Encoding": "br"}).status == 415
    assert dashboard.ask("POST", "/api/ingest", b"no gzip", headers).status == 415
    assert dashboard.ask("POST", "/api/ingest", packed[:50], headers).status == 400, "it ends in the middle"
    monkeypatch.setattr(promptry, "MOST_UNPACKED_BYTES", 100)
    refused = dashboard.ask("POST", "/api/ingest", packed, headers)
    assert refused.status == 413 and refused.error["message"] == "The body has more than 100 bytes."
    assert dashboard.get("/api/calls").json["total"] == 0


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "Rows are sent in format 2 of schema 1; this promptry takes format 1 of schemas up to 1."),
    ({"schema": 99}, "Rows are sent in format 1 of schema 99; this promptry takes format 1 of schemas up to 1."),
    ({"source": "../etc"}, "The source is '../etc'; it takes 16 to 64 digits and small letters."),
    ({"source": ""}, "The source is ''; it takes"),
    ({"cursor": {"places": {}}}, "The cursor is none."),
    ({"cursor": {"id": "a", "more": "x" * 300_000}}, "The cursor is none."),
    ({"after": [1]}, "The field after takes the ids of marks."),
    ({"tables": {"budgets": {"columns": [], "rows": []}}}, "Rows of 'budgets' are sent, and such rows do not travel."),
    ({"tables": {"votes": {"columns": ["id"], "rows": []}}}, "votes takes columns, which are id, prompt_name,"),
    ({"tables": {"votes": []}}, "votes takes columns"),
    ({"tables": {"votes": {"columns": [*promptry.TRAVELLING["votes"]], "rows": 7}}}, "votes takes columns"),
    (
        {"tables": {"votes": {"columns": [*promptry.TRAVELLING["votes"]], "rows": [[]] * 20_001}}},
        "There are more than 20,000 rows.",
    ),
    ({"versions": [["p", "1", "h"]]}, "The field versions holds ['p', '1', 'h'], which tells of none."),
    ({"runs": [[1, 2, "s", "t", 0]]}, "The field runs holds [1, 2, 's', 't', 0], which tells of none."),
    ({"runs": [5]}, "The field runs holds 5"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "words"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_no_promptry_sends_is_refused_in_one_sentence_and_nothing_is_written(
    body: dict[str, Any], dashboard: Served, change: dict[str, Any], words: str
) -> None:
    reply = dashboard.post("/api/ingest", {**body, **change})
    assert reply.status == 400 and reply.error["message"].startswith(words), reply.error
    assert dashboard.get("/api/calls").json["total"] == dashboard.get("/api/prompts").json["total"] == 0


@pytest.mark.parametrize("table", ["prompts", "invocations"])
def test_text_that_no_store_can_hold_is_one_sentence_and_nothing_is_written(
    table: str, body: dict[str, Any], store: Path
) -> None:
    body["tables"][table]["rows"][0][1] = "\ud800"
    with pytest.raises(promptry.WrongUse, match=f"Rows of {table} hold text that no store can hold"):
        take(store, body)
    assert sums_of(store)["calls"][0][0] == 0


def test_a_store_does_not_take_in_what_it_sends_itself(body: dict[str, Any], store: Path) -> None:
    promptry.begin_source()
    promptry.track_invocation("p")
    (own,) = shipments(store)
    with pytest.raises(promptry.WrongUse, match="The store that takes these rows is the one that sends them"):
        promptry.ingest(promptry.Cargo(**read_wire(own)))
    assert sums_of(store)["calls"][0][0] == 1


def test_the_token_of_ingest_lets_rows_in_and_nothing_else(
    body: dict[str, Any], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTRY_TOKEN", "whole")
    monkeypatch.setenv("PROMPTRY_INGEST_TOKEN", "part")
    with serve(store) as served:
        assert served.post("/api/ingest", body).status == 401
        assert served.post("/api/ingest", body, Authorization="Bearer part").json["taken"]["invocations"] == 3
        assert served.get("/api/calls", Authorization="Bearer part").status == 403
        assert served.get("/api/calls", Authorization="Bearer whole").json["total"] == 3


def test_rows_and_the_mark_are_written_together_or_not_at_all(
    body: dict[str, Any], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> Any:
        raise promptry.StoreError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setitem(promptry._TAKERS, "invocations", fail)
        with pytest.raises(promptry.StoreError):
            promptry.ingest(promptry.Cargo(**body))
    assert sums_of(store)["prompts"] == [] and take(store, {"source": body["source"], "format": 1})[0]["marks"] == []
    assert take(store, body)[0]["taken"] == {"prompts": 1, "invocations": 3}


@pytest.mark.slow
def test_of_many_marks_the_latest_stay_and_ever_fewer_older_ones(store: Path) -> None:
    columns = [*promptry.TRAVELLING["votes"]]
    for number in range(1, 301):
        cursor = {"id": f"mark {number}", "places": {}}
        cargo = {"source": SOURCE, "format": 1, "cursor": cursor, "tables": {"votes": {"columns": columns, "rows": []}}}
        assert take(store, cargo)[0]["mark"] == f"mark {number}"
    (told,) = take(store, {"source": SOURCE, "format": 1})
    numbers = [int(mark["id"].split()[1]) for mark in told["marks"]]
    assert numbers[:5] == [300, 299, 298, 297, 296] and len(numbers) < 25
    assert numbers == sorted(numbers, reverse=True) and numbers[-1] <= 150
    ages = [300 - number for number in numbers[1:]]
    assert all(later <= 2 * earlier + 8 for earlier, later in zip(ages, ages[1:], strict=False))


def test_what_each_source_has_sent_is_in_no_list(body: dict[str, Any], store: Path) -> None:
    take(store, body)
    assert promptry.list_datasets()["total"] == 0
    with closing(sqlite3.connect(store)) as connection:
        ((name, own),) = connection.execute("SELECT name, metadata FROM datasets").fetchall()
    assert name == f"promptry/taken/{body['source']}" and json.loads(own)["promptry"]["rows"] == 4


def test_who_goes_on_from_an_older_mark_is_told_that_another_has_got_farther(body: dict[str, Any], store: Path) -> None:
    take(store, body)
    first = body["cursor"]["id"]
    for name in ("second", "third"):
        (told,) = take(store, {**body, "after": [first], "cursor": {**body["cursor"], "id": name}})
    assert [mark["id"] for mark in told["marks"]] == ["second"] and told["mark"] == "third"
    (told,) = take(store, {**body, "after": [], "cursor": {**body["cursor"], "id": "all once more"}})
    assert told["marks"] == [], "who begins at the beginning means all of it"


def test_numbers_that_no_store_can_hold_end_no_batch(body: dict[str, Any], store: Path) -> None:
    """JSON can say them; a version of that number is none, and what must be a number is refused by itself."""
    body["tables"]["invocations"]["rows"][1][2] = 2**70
    votes = [[id, "p", None, "r", score, None, None, "2026"] for id, score in ((1, 2**70), (2, 1))]
    body["tables"]["votes"] = {"columns": [*promptry.TRAVELLING["votes"]], "rows": votes}
    body["runs"], body["versions"] = [[2**70, None, "s", "2026", 2**70]], [["p", 2**70, "h"]]
    (told,) = take(store, body)
    assert told["taken"] == {"prompts": 1, "votes": 1, "invocations": 3}, told
    assert [row["table"] for row in told["refused"]] == ["votes"]
    assert sums_of(store)["calls"][0][0] == 3
