"""ARRIVALS: rows of other stores take their place once, with the numbers of this one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hubs import carry, read_wire, shipments, sums_of, take

import promptry


@pytest.fixture
def source(store: Path) -> Path:
    """Give a store that ships, and is the chosen one."""
    return store


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


def rows(store: Path, sql: str, *asked: Any) -> list[Any]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(sql, asked).fetchall()


def by_hand(store: Path, *statements: str) -> None:
    """Write as somebody without promptry does."""
    promptry.use_store(store)
    promptry.connect()
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def save_run(suite: str = "qa", results: int = 3, **manifest: Any) -> int:
    """Save a run with results by hand, and return its id."""
    with promptry.transact() as connection:
        told = {"uid": promptry.make_uid(), "complete": True, **manifest}
        sql = "INSERT INTO eval_runs (suite_name, prompt_name, prompt_version, metadata) VALUES (?, 'p', 1, ?)"
        run = connection.execute(sql, (suite, json.dumps(told))).lastrowid
        one = "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score) VALUES (?, ?, 'exact', 1, 1)"
        connection.executemany(one, [(run, f"case {number}") for number in range(results)])
    return int(run or 0)


def fill(store: Path) -> None:
    """Write something of all that travels."""
    promptry.use_store(store)
    promptry.track("First $x", "p")
    promptry.track("Second $x", "p")
    for number in range(5):
        promptry.track_invocation("p", {"cost_usd": 0.1, "tokens_in": number}, model="m")
    promptry.vote("p", "yes", 1, "good", {"by": "ada"})
    promptry.record_feedback(promptry.last_request_id() or "", 0.5, "meh", "page")
    promptry.save_dataset("qa", [{"id": "a"}, {"id": "b"}])
    save_run()


def test_a_store_arrives_whole_and_a_second_time_nothing_is_new(source: Path, hub: Path) -> None:
    fill(source)
    assert [told["refused_total"] for told in carry(source, hub)] == [0]
    assert sums_of(hub) == sums_of(source)
    assert carry(source, hub) == []
    for body in [read_wire(found) for found in shipments(source)]:
        (told,) = take(hub, body)
        assert told["mark"] == body["cursor"]["id"] and told["taken"] == {} and told["refused"] == []
    assert sums_of(hub) == sums_of(source)


def test_batches_that_come_twice_and_in_another_order_make_the_same(source: Path, hub: Path) -> None:
    fill(source)
    first = [read_wire(found) for found in shipments(source, most=(3, 2**20))]
    promptry.use_store(source)
    promptry.record_feedback("r9", 0.0, "bad", "page")
    promptry.track("First $x", "p")
    promptry.use_store(source)
    promptry.record_feedback("r9", 1.0)
    promptry.record_feedback("r9", 1.0, source="page")
    second = [read_wire(found) for found in shipments(source, most=(3, 2**20))]
    assert len(first) > 3
    for body in [*second, *second, *first[:1], *second]:
        body["after"] = []
        take(hub, body)
    assert sums_of(hub) == sums_of(source)
    promptry.use_store(hub)
    assert promptry.render_prompt("p", "default", variables={"x": 1}) == "First 1"


@pytest.mark.parametrize("metadata", ["NULL", "'[1]'", "'\"x\"'", "'{\"uid\": 7}'", '\'{"uid": ""}\'', "'{\"a\": 1}'"])
def test_rows_of_others_arrive_once_whatever_their_metadata_is(source: Path, hub: Path, metadata: str) -> None:
    """The columns of the seed alone make a row; two that are equal in all are two."""
    call = f"INSERT INTO invocations (prompt_name, created_at, metadata) VALUES ('p', '2026-11-01', {metadata})"
    said = (
        f"INSERT INTO votes (prompt_name, response, score, created_at, metadata) VALUES ('p', 'r', 1, '1', {metadata})"
    )
    by_hand(
        source,
        *[call, call, said, said],
        f"INSERT INTO eval_runs (suite_name, timestamp, metadata) VALUES ('s', '2026', {metadata})",
        "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 't', 'exact', 0)",
        f"INSERT INTO prompts (name, version, content, hash, metadata) VALUES ('p', 7, 'text', 'no sha', {metadata})",
        f"INSERT INTO datasets (name, version, items, metadata) VALUES ('d', 4, '[1]', {metadata})",
        "INSERT INTO feedback (request_id, rating) VALUES ('r', 1)",
    )
    for _ in range(2):
        for body in [read_wire(found) for found in shipments(source)]:
            assert take(hub, body)[0]["refused"] == []
    here = sums_of(hub)
    assert here == sums_of(source) and here["calls"][0][0] == 2 and len(here["votes"]) == 2
    shape = "SELECT origin, status, day FROM v_calls"
    assert rows(hub, shape) == rows(source, shape)
    assert rows(hub, "SELECT complete FROM v_runs") == [(1,)]


def test_a_version_has_the_number_of_its_text_here_wherever_it_is_named(source: Path, hub: Path) -> None:
    promptry.use_store(hub)
    for text in ("Hub one", "Second $x", "Hub two"):
        promptry.save_prompt("p", text)
    promptry.save_dataset("qa", [1])
    promptry.use_store(source)
    promptry.save_prompt("p", "First $x")
    promptry.save_prompt("p", "Second $x")
    promptry.save_dataset("qa", [2])
    digest = promptry.get_dataset("qa")["hash"]
    for version in (1, 2, 9):
        promptry.track_invocation("p", prompt_version=version)
    promptry.track("Second $x", "p")
    promptry.vote("p", "r", 1)
    text = promptry.hash_text("Second $x")
    save_run(prompts={"p": {"version": 2, "hash": text}}, dataset="qa@1", dataset_hash=digest)
    carry(source, hub)
    assert rows(hub, "SELECT version, content FROM prompts ORDER BY id")[3:] == [(4, "First $x")]
    assert rows(hub, "SELECT prompt_version FROM invocations ORDER BY id") == [(4,), (2,), (9,)]
    assert rows(hub, "SELECT prompt_version FROM votes") == [(2,)]
    ((number, manifest),) = rows(hub, "SELECT prompt_version, metadata FROM eval_runs")
    assert number == 4, "the run was saved with the number 1, which is that of the first text there"
    assert json.loads(manifest)["prompts"]["p"] == {"version": 2, "hash": text}
    assert json.loads(manifest)["dataset"] == "qa@2"


def test_a_number_that_no_text_has_is_kept_unless_it_is_that_of_another_text(source: Path, hub: Path) -> None:
    promptry.use_store(hub)
    promptry.save_prompt("p", "One")
    promptry.use_store(source)
    for version in (1, 2):
        promptry.track_invocation("p", prompt_version=version)
    carry(source, hub)
    assert rows(hub, "SELECT prompt_version FROM invocations ORDER BY id") == [(None,), (2,)]


def test_a_baseline_is_named_by_its_number_here(source: Path, hub: Path) -> None:
    promptry.use_store(hub)
    save_run("other")
    promptry.use_store(source)
    first = save_run()
    told = {"baseline": {"id": str(first), "date": "2026", "n": 3}}
    save_run(baseline_id=first, verdict="tied", gate={"comparison": told}, partial={"run": first})
    save_run(baseline_id=77)
    carry(source, hub)
    found = [json.loads(text) for (text,) in rows(hub, "SELECT metadata FROM eval_runs ORDER BY id")]
    assert found[2]["baseline_id"] == 2 and found[2]["partial"]["run"] == 2
    assert found[2]["gate"]["comparison"]["baseline"]["id"] == "2"
    assert found[3]["baseline_id"] is None, "it is not there"
    promptry.use_store(hub)
    assert promptry.get_run("3")["baseline_id"] == "2"


def test_a_run_is_complete_once_all_its_results_are_there(source: Path, hub: Path) -> None:
    save_run(results=5)
    bodies = [read_wire(found) for found in shipments(source, most=(2, 2**20))]
    seen = []
    for body in bodies:
        take(hub, body)
        seen.append(rows(hub, "SELECT complete FROM v_runs") + rows(hub, "SELECT count(*) FROM eval_results"))
    assert seen == [[(0,), (1,)], [(0,), (3,)], [(1,), (5,)]]
    promptry.use_store(hub)
    assert promptry.get_run("1")["complete"] is True
    take(hub, bodies[1])
    assert rows(hub, "SELECT count(*) FROM eval_results") == [(5,)]


def test_a_run_that_was_judged_later_is_judged_here_and_never_back(source: Path, hub: Path) -> None:
    run = save_run()
    before = [read_wire(found) for found in shipments(source)]
    take(hub, *before)
    promptry.use_store(source)
    promptry._write_verdict(run, False, {"verdict": "regressed"}, {"broken": ["case 1"]})
    carry(source, hub)
    found = "SELECT overall_pass, verdict, complete FROM v_runs"
    assert rows(hub, found) == [(0, "regressed", 1)]
    take(hub, *before)
    assert rows(hub, found) == [(0, "regressed", 1)]
    first = [read_wire(found) for found in shipments(source)]
    promptry.use_store(source)
    promptry._write_verdict(run, True, {"verdict": "improved"}, {"broken": []})
    carry(source, hub)
    take(hub, *first)
    assert rows(hub, found) == [(1, "improved", 1)]
    assert rows(hub, "SELECT count(*) FROM eval_results") == [(3,)]


def test_the_newest_feedback_of_a_source_holds_whichever_comes_first(source: Path, hub: Path) -> None:
    promptry.record_feedback("r", 0.0, source="page")
    old = [read_wire(found) for found in shipments(source)]
    promptry.use_store(source)
    promptry.record_feedback("r", 1.0, "now good", source="page")
    new = [read_wire(found) for found in shipments(source)]
    for body in (*new, *old, *new, *old):
        take(hub, {**body, "after": []})
    assert rows(hub, "SELECT rating, comment, source FROM feedback") == [(1.0, "now good", "page")]
    take(hub, {**new[0], "source": "s" * 20, "after": [], "tables": {}})
    promptry.use_store(hub)
    promptry.track_invocation("p", request_id="r")
    assert promptry.list_feedback(prompt="p")["items"][0]["rating"] == 1.0, "it came before its call"


def test_a_call_priced_anew_has_its_new_cost_here_and_never_the_old_one(source: Path, hub: Path) -> None:
    promptry.track_invocation("p", {"tokens_in": 1000, "tokens_out": 10}, model="mine")
    old = [read_wire(found) for found in shipments(source)]
    take(hub, *old)
    assert rows(hub, "SELECT cost_usd FROM v_calls") == [(None,)]
    Path("promptry.toml").write_text('[pricing."mine"]\ninput = 3\noutput = 5\n')
    promptry.forget_settings()
    promptry.use_store(source)
    assert promptry.reprice(apply=True)["changed"] == 1
    carry(source, hub)
    assert rows(hub, "SELECT cost_usd FROM v_calls") == [(0.00305,)]
    take(hub, *old)
    assert rows(hub, "SELECT cost_usd, count(*) FROM v_calls") == [(0.00305, 1)]
    promptry.use_store(hub)
    assert promptry.budget_status() == [] and promptry.get_overview()["spend"]["spent_usd"] == 0.00305


def test_the_costs_of_what_arrived_count_in_the_budgets_here(source: Path, hub: Path) -> None:
    promptry.use_store(hub)
    promptry.set_budget("module", "support", "monthly", 1.0)
    promptry.track_invocation("support/a", {"cost_usd": 0.25})
    assert promptry.budget_status()[0].spent_usd == 0.25
    promptry.use_store(source)
    promptry.track_invocation("support/a", {"cost_usd": 0.5})
    promptry.track_invocation("support/b", {"cost_usd": 0.5, "origin": "judge"})
    carry(source, hub)
    promptry.use_store(hub)
    assert promptry.budget_status()[0].spent_usd == 1.25 and promptry.check_budgets()
    assert [row["origin"] for row in promptry.list_calls(origin="judge")["items"]] == ["judge"]


def test_what_belongs_to_each_store_stays(source: Path, hub: Path) -> None:
    promptry.save_prompt("p", "One", tag="prod")
    promptry.set_budget("global", None, "monthly", 1.0)
    promptry.budget_status()
    with promptry.budget_guard("p", 0.1):
        carry(source, hub)
    assert rows(hub, "SELECT count(*) FROM prompt_tags") == rows(hub, "SELECT count(*) FROM budgets") == [(0,)]
    assert rows(hub, "SELECT count(*) FROM invocations") == [(0,)], "it is reserved"
    assert "promotions" not in rows(hub, "SELECT metadata FROM prompts")[0][0]
    assert all(name.startswith("promptry/taken/") for (name,) in rows(hub, "SELECT name FROM datasets"))


def test_a_hub_ships_on_to_another_and_nothing_comes_back_twice(source: Path, hub: Path, tmp_path: Path) -> None:
    third = tmp_path / "third.db"
    fill(source)
    by_hand(
        source, "INSERT INTO invocations (prompt_name) VALUES ('p')", "INSERT INTO eval_runs (suite_name) VALUES ('s')"
    )
    whole = sums_of(source)
    for here, there in ((source, hub), (hub, third), (source, third), (third, source), (hub, source), (source, hub)):
        carry(here, there)
        assert sums_of(here) == sums_of(there) == whole, (here, there)


def test_what_says_one_thing_to_us_and_another_to_sqlite_is_refused(source: Path, hub: Path) -> None:
    """SQLite reads the first of two keys, and Python the last: it would be a reservation that is in no list."""
    fill(source)
    (found,) = shipments(source)
    body = read_wire(found)
    call = body["tables"]["invocations"]["rows"][0]
    twice = ', "status": "reserved", "lease_until": "9999", "status": "ok"}'
    call[3] = call[3].replace("}", twice, 1)
    (told,) = take(hub, body)
    assert told["refused"] == [
        {
            "table": "invocations",
            "id": "1",
            "reason": "metadata takes text of JSON: an object has the key 'status' twice",
        }
    ]
    assert rows(hub, "SELECT count(*), sum(status = 'reserved') FROM invocations") == [(4, 0)]


@pytest.mark.parametrize("prompts", ['{"a": {"hash": ["x"]}}', '{"a": {"hash": 7}}', '{"a": 7}', "[1]"])
def test_a_manifest_with_anything_in_it_holds_nothing_up(prompts: str, source: Path, hub: Path) -> None:
    manifest = f'{{"uid": "u1", "complete": true, "prompts": {prompts}}}'
    by_hand(source, f"INSERT INTO eval_runs (suite_name, metadata) VALUES ('s', '{manifest}')")
    promptry.track_invocation("p")
    carry(source, hub)
    assert rows(hub, "SELECT count(*) FROM eval_runs") == rows(hub, "SELECT count(*) FROM invocations") == [(1,)]


def test_a_bad_row_is_told_and_the_others_arrive(source: Path, hub: Path) -> None:
    fill(source)
    (found,) = shipments(source)
    body = read_wire(found)
    calls, votes = body["tables"]["invocations"]["rows"], body["tables"]["votes"]["rows"]
    calls[1][1], calls[2][3], calls[3][2] = None, "{", 1.5
    votes.append([9, "p", None, "r", 7, None, None, "2026"])
    body["tables"]["prompts"]["rows"].append([9, "p", 9, "text", "0" * 64, None, "2026"])
    body["tables"]["datasets"]["rows"].append([9, "promptry/spend", 9, "[]", None, "2026"])
    body["tables"]["eval_results"]["rows"].append([0, 99, "t", "exact", 1, 1, None, None])
    body["tables"]["feedback"]["rows"] += [[8, "r8", None, 7.0, None, None, "2026"], [9], "x", [9] * 7]
    (told,) = take(hub, body)
    assert told["mark"] and told["refused_total"] == len(told["refused"]) == 11
    why = {(row["table"], row["id"]): row["reason"] for row in told["refused"]}
    assert why["invocations", "2"] == "prompt_name takes text" and "JSON" in why["invocations", "3"]
    assert why["invocations", "4"] == "prompt_version takes a whole number"
    assert "CHECK" in why["votes", "9"] and "another text" in why["prompts", "9"] and "own" in why["datasets", "9"]
    assert "run 99 is not here" in why["eval_results", "0"] and "rating" in why["feedback", "8"]
    assert rows(hub, "SELECT count(*) FROM invocations") == [(2,)] and len(sums_of(hub)["feedback"]) == 1
    assert sums_of(hub)["prompts"] == sums_of(source)["prompts"]
