"""SHIPMENTS: what a hub lacks is read in the order of ids, and a hub that lies is not believed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hubs import carry, read_wire, shipments, sums_of, take

import promptry


def calls_in(bodies: list[dict[str, Any]]) -> list[int]:
    """Return the ids of the calls in what is sent."""
    return [row[0] for body in bodies for row in body["tables"].get("invocations", {"rows": []})["rows"]]


def bodies_of(store: Path, marks: list[Any] | None = None, **bounds: Any) -> list[dict[str, Any]]:
    return [read_wire(found) for found in shipments(store, marks, **bounds)]


def track_calls(store: Path, count: int, **facts: Any) -> None:
    promptry.use_store(store)
    for _ in range(count):
        promptry.track_invocation("p", {"cost_usd": 0.5, **facts})


@pytest.mark.parametrize(("most", "sizes"), [((4, 2**20), [4, 4, 2]), ((100, 400), None), ((100, 1), [1] * 10)])
def test_shipments_are_bounded_in_rows_and_bytes(store: Path, most: tuple[int, int], sizes: list[int] | None) -> None:
    track_calls(store, 10)
    bodies = bodies_of(store, most=most)
    assert calls_in(bodies) == list(range(1, 11))
    found = [len(body["tables"]["invocations"]["rows"]) for body in bodies]
    assert found == sizes if sizes else 1 < max(found) < 10


def test_what_others_refer_to_is_sent_before_them(store: Path) -> None:
    promptry.use_store(store)
    for number in range(5):
        promptry.track(f"text {number}", "p")
        promptry.track_invocation("p")
    bodies = bodies_of(store, most=(3, 2**20))
    tables = [[*body["tables"]] for body in bodies]
    assert tables == [["prompts"], ["prompts", "invocations"], ["invocations"], ["invocations"]][: len(tables)]
    assert bodies[-1]["versions"] == [["p", 5, promptry.hash_text("text 4")]]


def test_a_mark_leads_on_from_where_the_hub_has_got(store: Path) -> None:
    track_calls(store, 5)
    first = bodies_of(store)
    track_calls(store, 3)
    later = bodies_of(store, [first[-1]["cursor"]])
    assert calls_in(later) == [6, 7, 8] and later[0]["after"] == [first[-1]["cursor"]["id"]]
    assert bodies_of(store, [later[-1]["cursor"], first[-1]["cursor"]]) == []


@pytest.mark.parametrize(
    "lie",
    [
        {"invocations": [999, "0" * 16]},
        {"invocations": [5, "0" * 16]},
        {"invocations": [0, "0" * 16]},
        {"invocations": [-1, ""]},
        {"invocations": [2**70, ""]},
        {"invocations": ["5", "x"]},
        {"invocations": 5},
        {},
        None,
    ],
)
def test_a_mark_that_our_rows_do_not_confirm_is_not_believed(store: Path, lie: Any) -> None:
    track_calls(store, 5)
    assert calls_in(bodies_of(store, [{"id": "x", "places": lie, "open": []}])) == [1, 2, 3, 4, 5]
    (honest,) = bodies_of(store)
    track_calls(store, 1)
    assert calls_in(bodies_of(store, [{"id": "x", "places": lie}, honest["cursor"]])) == [6]


@pytest.mark.parametrize(
    "marks", [None, 1, "marks", {"a": 1}, [1, "x", None, [], {}, {"id": 1}, {"id": "a", "places": 7}]]
)
def test_marks_that_are_none_begin_at_the_beginning(store: Path, marks: Any) -> None:
    track_calls(store, 2)
    with promptry.reading(store) as reader:
        assert promptry.find_road(reader, marks) == promptry.Road((), dict.fromkeys(promptry.TRAVELLING, (0, "")), ())


def test_two_copies_of_a_store_that_both_go_on_lose_nothing_and_send_little_twice(tmp_path: Path) -> None:
    """A cache is restored on two machines; each ships under the one name that the store had."""
    hub, stores = tmp_path / "hub.db", [tmp_path / "a.db", tmp_path / "b.db"]
    track_calls(stores[0], 50)
    carry(stores[0], hub, most=(10, 2**20))
    promptry.close_store()
    shutil.copy(stores[0], stores[1])
    answers = []
    for round in range(4):
        for store in stores:
            track_calls(store, 3 + round)
            promptry.use_store(store)
            promptry.track(f"text {store} {round}", "p")
            promptry.save_dataset("d", [str(store), round])
            answers += carry(store, hub)
    assert len({json.dumps(read_source(store)) for store in stores}) == 1
    here, there = sums_of(hub), [sums_of(store) for store in stores]
    assert here["calls"][0][0] == sum(each["calls"][0][0] for each in there) - 50 == 50 + 2 * (3 + 4 + 5 + 6)
    assert here["prompts"] == sorted({row for each in there for row in each["prompts"]}) and len(here["prompts"]) == 8
    assert here["datasets"] == sorted({row for each in there for row in each["datasets"]})
    assert all(told["mark"] for told in answers)


def read_source(store: Path) -> Any:
    with promptry.reading(store) as reader:
        return promptry.find_source(reader)


def test_a_reservation_travels_once_it_is_settled_however_late(store: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    promptry.use_store(store)
    promptry.set_budget("global", None, "monthly", 100.0)
    held = [promptry.reserve("p", estimate_usd=0.1) for _ in range(3)]
    track_calls(store, 2)
    carry(store, hub)
    assert sums_of(hub)["calls"][0][0] == 2
    promptry.use_store(store)
    promptry.record_call("p", {"cost_usd": 0.25}, settles=held[1])
    promptry.release(held[0])
    track_calls(store, 1)
    assert [list(told["taken"].values()) for told in carry(store, hub)] == [[2]]
    assert sums_of(hub) == sums_of(store) and sums_of(hub)["cost"] == 1.75
    promptry.use_store(store)
    promptry.record_call("p", {"cost_usd": 0.25}, settles=held[2])
    carry(store, hub)
    assert sums_of(hub) == sums_of(store) and sums_of(hub)["calls"][0][0] == 5


def test_with_very_many_reservations_calls_wait_for_them_and_none_is_passed_over(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "_MOST_OPEN", 2)
    hub = tmp_path / "hub.db"
    promptry.use_store(store)
    promptry.set_budget("global", None, "monthly", 100.0)
    held = []
    for _ in range(4):
        held.append(promptry.reserve("p", estimate_usd=0.1))
        track_calls(store, 1)
    carry(store, hub)
    assert sums_of(hub)["calls"][0][0] == 2, "beyond the second there are too many to remember"
    promptry.use_store(store)
    for one in reversed(held):
        promptry.record_call("p", {"cost_usd": 0.25}, settles=one)
        carry(store, hub)
        promptry.use_store(store)
    assert sums_of(hub) == sums_of(store) and sums_of(hub)["calls"][0][0] == 8


def test_what_changes_after_it_was_sent_is_noted_and_sent_again_once(store: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    promptry.use_store(store)
    promptry.record_feedback("r", 0.0)
    promptry.save_prompt("p", "One")
    promptry.save_prompt("p", "Two")
    assert noted_in(store) == [], "nothing is noted in a store that never shipped"
    carry(store, hub)
    promptry.use_store(store)
    promptry.record_feedback("r", 1.0)
    promptry.save_prompt("p", "One")
    promptry.record_feedback("new", 0.5)
    promptry.record_feedback("new", 0.25)
    assert noted_in(store) == [
        ("promptry/changed/feedback", 1),
        ("promptry/changed/feedback", 2),
        ("promptry/changed/prompts", 1),
    ]
    (told,) = carry(store, hub)
    assert told["taken"] == {"feedback": 2, "prompts": 1} and noted_in(store) == []
    assert sums_of(hub) == sums_of(store)
    promptry.use_store(hub)
    assert promptry.find_prompt("p").content == "One"


def noted_in(store: Path) -> list[Any]:
    with closing(sqlite3.connect(store)) as connection:
        sql = "SELECT name, version FROM datasets WHERE name LIKE 'promptry/changed/%' ORDER BY 1, 2"
        return connection.execute(sql).fetchall()


def test_a_change_made_while_one_is_on_its_way_is_not_forgotten(store: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    promptry.use_store(store)
    promptry.record_feedback("r", 0.0)
    carry(store, hub)
    promptry.use_store(store)
    promptry.record_feedback("r", 0.5)
    with promptry.reading(store) as reader:
        road = promptry.find_road(reader, take(hub, {"source": read_source(store), "format": 1})[0]["marks"])
        on_its_way = promptry.next_shipment(reader, read_source(store), road)
    promptry.use_store(store)
    promptry.record_feedback("r", 1.0)
    assert on_its_way is not None
    take(hub, read_wire(on_its_way))
    promptry.use_store(store)
    promptry.forget_noted(on_its_way.noted)
    assert len(noted_in(store)) == 1
    carry(store, hub)
    assert sums_of(hub)["feedback"] == [("r", 1.0, None, None)]


def test_a_row_that_no_json_can_say_stays_and_is_told(store: Path, tmp_path: Path) -> None:
    track_calls(store, 3)
    with promptry.transact() as connection:
        connection.execute("UPDATE invocations SET output_text = x'ff00' WHERE id = 2")
    (found,) = shipments(store)
    assert found.unfit == [{"table": "invocations", "id": "2", "reason": "holds what JSON cannot say"}]
    assert calls_in([read_wire(found)]) == [1, 3] and found.road.places["invocations"][0] == 3


@pytest.mark.parametrize("reason", ["too large", "holds what JSON cannot say"])
def test_of_a_result_that_cannot_travel_a_stub_does_so_that_its_run_is_whole(
    store: Path, tmp_path: Path, reason: str
) -> None:
    hub, stays = tmp_path / "hub.db", 2
    promptry.use_store(store)
    with promptry.transact() as connection:
        connection.execute("INSERT INTO eval_runs (suite_name, metadata) VALUES ('qa', '{\"complete\": true}')")
        columns = "run_id, test_name, assertion_type, passed, score, details"
        sql = f"INSERT INTO eval_results ({columns}) VALUES (1, ?, 'exact', ?, ?, ?)"
        for number in range(4):
            told = json.dumps({"repeat": number, "reason": "wrong", "actual": "a text"})
            connection.execute(sql, (f"case {number}", int(number != 1), 0.5, told))
        if reason != "too large":
            connection.execute("UPDATE eval_results SET latency_ms = x'00' WHERE id = 2")
    skipped = {("eval_results", stays)} if reason == "too large" else set()
    found = [*shipments(store, skipped=skipped)]
    assert [row for each in found for row in each.unfit] == [{"table": "eval_results", "id": "2", "reason": reason}]
    (told,) = take(hub, *map(read_wire, found))
    assert told["refused"] == []
    promptry.use_store(hub)
    assert promptry.fetch("SELECT complete FROM v_runs") == [{"complete": 1}]
    rows = promptry.fetch("SELECT test_name, passed, score, details, latency_ms FROM eval_results ORDER BY id")
    assert [(row["test_name"], row["passed"]) for row in rows] == [
        ("case 0", 1),
        ("case 1", 0),
        ("case 2", 1),
        ("case 3", 1),
    ]
    assert json.loads(rows[1]["details"]) == {
        "repeat": 1,
        "reason": f"It stays in the store that the run is of: {reason}.",
    }


def test_a_store_that_was_put_back_to_an_older_state_ships_every_version_that_came_since(tmp_path: Path) -> None:
    """Also those below a row that is there again: an application tracks its prompts in the same order at each start."""
    hub, store, backup = tmp_path / "hub.db", tmp_path / "a.db", tmp_path / "b.db"
    promptry.use_store(store)
    promptry.track("First", "a")
    carry(store, hub)
    promptry.use_store(store)
    promptry.backup(backup)
    for text in ("Second", "Third"):
        promptry.use_store(store)
        promptry.track(text, "a")
        promptry.track("Other", "b")
        promptry.track_invocation("a")
        carry(store, hub)
        if text == "Second":
            promptry.close_store()
            for name in ("a.db-wal", "a.db-shm"):
                (tmp_path / name).unlink(missing_ok=True)
            shutil.copy(backup, store)
    promptry.use_store(hub)
    versions = promptry.fetch("SELECT name, content, version FROM prompts ORDER BY name, version")
    assert [row["content"] for row in versions] == ["First", "Second", "Third", "Other"]
    calls = promptry.fetch("SELECT prompt_version AS version FROM invocations ORDER BY id")
    assert [row["version"] for row in calls] == [2, 3]


def test_rows_taken_out_here_stay_there_and_what_comes_later_arrives(store: Path, tmp_path: Path) -> None:
    """Also if the last row that the hub has is among them, and its id is used again."""
    hub = tmp_path / "hub.db"
    track_calls(store, 5)
    carry(store, hub)
    promptry.use_store(store)
    with promptry.transact() as connection:
        connection.execute("DELETE FROM invocations WHERE id > 3")
    track_calls(store, 2)
    carry(store, hub)
    assert sums_of(hub)["calls"][0][0] == 7


def test_a_hub_that_is_put_back_to_an_older_state_gets_what_it_lacks(store: Path, tmp_path: Path) -> None:
    hub, kept = tmp_path / "hub.db", tmp_path / "kept.db"
    track_calls(store, 5)
    carry(store, hub)
    promptry.use_store(hub)
    promptry.backup(kept)
    track_calls(store, 5)
    carry(store, hub)
    ((later,),) = [[body] for body in bodies_of(store)][:1] or [[None]]
    promptry.close_store()
    for end in ("", "-wal", "-shm"):
        Path(f"{hub}{end}").unlink(missing_ok=True)
    shutil.copy(kept, hub)
    (told,) = take(hub, {**later, "after": ["lost"]})
    assert told["mark"] is None and len(told["marks"]) == 1, "it says how far it has got, and takes nothing"
    carry(store, hub)
    assert sums_of(hub) == sums_of(store) and sums_of(hub)["calls"][0][0] == 10


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ('url = "http://h:1"', "http://h:1/api/ingest"),
        ('url = "https://h/p/"', "https://h/p/api/ingest"),
        ('url = "http://h/api/ingest"', "http://h/api/ingest"),
    ],
)
def test_the_address_may_be_that_of_the_dashboard(tmp_path: Path, settings: str, url: str) -> None:
    Path("promptry.toml").write_text(f"[remote]\n{settings}\n")
    found = promptry.find_remote()
    assert found is not None and found.url == url and "Authorization" not in found.headers


def test_the_token_is_that_of_the_variable_and_of_none_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert promptry.find_remote() is None
    Path("promptry.toml").write_text('[remote]\nurl = "http://h"\ntoken_env = "HUB_TOKEN"\n')
    promptry.forget_settings()
    with pytest.raises(promptry.ConfigError, match="token_env names HUB_TOKEN, and no such variable is set"):
        promptry.find_remote()
    monkeypatch.setenv("HUB_TOKEN", " secret \n")
    found = promptry.find_remote()
    assert found is not None and found.headers["Authorization"] == "Bearer secret"
