"""QUERIES: SQL of somebody's own reads, and can neither write, reach another file, nor run for ever."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from served import Served

import promptry
from promptry import WrongUse, ask_sql, run_sql, save_prompt


@pytest.fixture
def filled(store: Path) -> Path:
    save_prompt("p", "Text.", metadata={"a": 1})
    save_prompt("p", "Other text.")
    promptry.track_invocation("p", {"cost_usd": 0.5}, model="m")
    return store


def test_rows_come_back_as_they_are_stored(filled: Path) -> None:
    found = run_sql(filled, "SELECT name, version, id * 1.5 AS half, NULL AS none, x'00ff' AS raw FROM prompts", 10)
    assert found["columns"] == ["name", "version", "half", "none", "raw"]
    assert found["rows"] == [["p", 1, 1.5, None, "x'00ff'"], ["p", 2, 3.0, None, "x'00ff'"]]
    assert found["truncated"] is False and 0 < found["elapsed_ms"] < 5000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM v_calls",
        "SELECT * FROM v_runs",
        "SELECT * FROM v_costs",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) SELECT sum(x) FROM n",
        "SELECT json_extract(metadata, '$.model'), model FROM invocations",
        "SELECT value FROM invocations, json_each(metadata)",
        "VALUES (1), (2)",
        "EXPLAIN QUERY PLAN SELECT * FROM prompts",
        "-- a comment\nSELECT 1 -- another\n;  ",
        "SELECT name FROM sqlite_master",
        "SELECT upper(name) || printf('%d', 1), row_number() OVER () FROM prompts GROUP BY name HAVING count(*) > 0",
    ],
)
def test_what_reads_is_answered(sql: str, filled: Path) -> None:
    assert "refused" not in run_sql(filled, sql, 10)


ATTACKS = [
    "DELETE FROM prompts",
    "INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 1)",
    "UPDATE prompts SET content = ''",
    "REPLACE INTO prompts (id) VALUES (1)",
    "WITH a AS (SELECT 1) DELETE FROM prompts",
    "INSERT INTO prompts (name) VALUES ('x') RETURNING id",
    "DROP TABLE prompts",
    "CREATE TABLE evil (a)",
    "CREATE TEMP TABLE evil (a)",
    "CREATE TEMP VIEW evil AS SELECT 1",
    "CREATE TRIGGER evil AFTER INSERT ON prompts BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE evil USING fts5(a)",
    "ALTER TABLE prompts RENAME TO evil",
    "ATTACH DATABASE 'evil.db' AS evil",
    "ATTACH DATABASE ':memory:' AS evil",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO 'evil.db'",
    "REINDEX",
    "ANALYZE",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA writable_schema = ON",
    "PRAGMA user_version = 7",
    "PRAGMA table_info(prompts)",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM pragma_table_info('prompts')",
    "SELECT load_extension('evil.so')",
    "SELECT writefile('evil.txt', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT edit('x', 'sh')",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT a",
    "SELECT 1; DELETE FROM prompts",
    "SELECT 1; SELECT 2",
    "",
    "   -- nothing\n",
    "SELECT * FROM no_such_table",
    "SELECT ?",
    "SELECT :a",
    "SELEC 1",
    "SELECT 'a\x00b' \x00; DELETE FROM prompts",
    "EXPLAIN DELETE FROM prompts",
]


@pytest.mark.slow
@pytest.mark.parametrize("sql", ATTACKS)
def test_what_is_no_single_read_is_refused_and_changes_nothing(sql: str, filled: Path, tmp_path: Path) -> None:
    before = {table: promptry.fetch(f"SELECT * FROM {table}") for table in ("prompts", "votes", "invocations")}
    found = run_sql(filled, sql, 10)
    assert set(found) == {"refused", "hint"} and found["refused"].endswith((".", "?"))
    assert {table: promptry.fetch(f"SELECT * FROM {table}") for table in before} == before
    assert sorted(path.name for path in tmp_path.iterdir() if "evil" in path.name) == []
    assert promptry.fetch("PRAGMA journal_mode")[0]["journal_mode"] == "wal"


def test_the_file_is_not_touched_by_what_is_refused(filled: Path) -> None:
    promptry.close_store()
    digest = hashlib.sha256(filled.read_bytes()).hexdigest()
    for sql in ATTACKS:
        run_sql(filled, sql, 10)
    assert hashlib.sha256(filled.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(("limit", "count", "is_cut"), [(1, 1, True), (2, 2, False), (3, 2, False)])
def test_rows_are_cut_at_the_limit_and_that_is_said(limit: int, count: int, is_cut: bool, filled: Path) -> None:
    found = run_sql(filled, "SELECT * FROM prompts", limit)
    assert (len(found["rows"]), found["truncated"]) == (count, is_cut)


def test_answers_are_bounded_in_bytes(filled: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT hex(zeroblob(100000)) FROM n"
    found = run_sql(filled, endless, 10_000)
    assert found["truncated"] and sum(len(row[0]) for row in found["rows"]) <= 8_000_000


def test_a_query_without_end_is_ended(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "QUERY_S", 0.2)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    start = time.monotonic()
    assert run_sql(filled, endless, 10)["refused"] == "The query took longer than 0.2 seconds."
    assert time.monotonic() - start < 2


# A function over two long texts: SQLite looks at no clock meanwhile.
HANGING = "SELECT instr(replace(hex(zeroblob(8000000)), '00', 'a'), replace(hex(zeroblob(4000000)), '00', 'a') || 'b')"


@pytest.mark.slow
def test_a_function_without_end_is_ended_too_and_others_are_answered_meanwhile(filled: Path, dashboard: Served) -> None:
    promptry.save_prompt("p", "Text.")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(dashboard.post("/api/query", {"sql": HANGING})))
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    assert dashboard.get("/api/prompts").status == 200 and time.monotonic() - start < 1
    busy = dashboard.post("/api/query", {"sql": "SELECT 1"})
    assert busy.status == 503 and busy.error["message"] == "Another query is being answered."
    thread.join(20)
    assert answers[0].status == 400 and answers[0].error["message"] == "The query took longer than 5 seconds."
    assert dashboard.post("/api/query", {"sql": "SELECT 1"}).json["rows"] == [[1]], "another process answers now"


@pytest.mark.slow
def test_memory_is_bounded(filled: Path, dashboard: Served) -> None:
    for sql in (
        "SELECT zeroblob(900000000)",
        "SELECT length(printf('%.*c', 900000000, 'x'))",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT group_concat(hex(zeroblob(1000))) FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100) "
        "SELECT json_group_array(hex(zeroblob(9000000))) FROM n",
    ):
        answer = dashboard.post("/api/query", {"sql": sql})
        assert answer.status in {200, 400} and len(answer.body) < 500, answer.body[:500]
    assert dashboard.post("/api/query", {"sql": "SELECT 1"}).json["rows"] == [[1]]


def test_the_process_that_answers_is_one_and_ends_with_the_server(filled: Path) -> None:
    assert ask_sql("SELECT 1 AS one")["rows"] == [[1]]
    process = promptry._answerer["process"]
    assert ask_sql("SELECT 2 AS two")["columns"] == ["two"] and promptry._answerer["process"] is process
    assert process.pid != os.getpid()
    promptry.end_queries()
    assert not promptry._answerer and ask_sql("SELECT 3 AS three")["rows"] == [[3]]
    promptry.end_queries()


def test_a_process_that_was_killed_is_started_again(filled: Path) -> None:
    ask_sql("SELECT 1")
    promptry._answerer["process"].kill()
    promptry._answerer["process"].join()
    assert ask_sql("SELECT 1")["rows"] == [[1]]
    promptry.end_queries()


@pytest.mark.parametrize(
    ("sql", "limit", "message"),
    [
        ("SELECT 1", 0, "The limit is 0; it takes 1 to 10000."),
        ("SELECT 1", 10_001, "The limit is 10001; it takes 1 to 10000."),
        ("SELECT 1" + " " * 100_000, 1, "The SQL has 100,008 signs; 100,000 are taken."),
    ],
)
def test_what_is_out_of_bounds_is_refused(sql: str, limit: int, message: str, store: Path) -> None:
    with pytest.raises(WrongUse) as error:
        ask_sql(sql, limit)
    assert error.value.message == message


def test_a_query_is_answered_where_there_is_no_store_yet(dashboard: Served) -> None:
    assert dashboard.post("/api/query", {"sql": "SELECT count(*) AS n FROM v_calls"}).json["rows"] == [[0]]


def test_a_query_sees_what_is_written_now(dashboard: Served) -> None:
    for number in range(3):
        promptry.save_prompt("p", f"Text {number}.")
        answer = dashboard.post("/api/query", {"sql": "SELECT max(version) FROM prompts"})
        assert answer.json["rows"] == [[number + 1]]


def test_many_small_values_are_bounded_too(filled: Path) -> None:
    sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT " + ", ".join(["NULL"] * 100)
    found = run_sql(filled, f"{sql} FROM n LIMIT 10000", 10_000)
    assert found["truncated"] and 1000 < len(found["rows"]) < 5000


@pytest.mark.slow
def test_who_asks_while_many_do_is_told_so_and_holds_no_thread(filled: Path, dashboard: Served) -> None:
    bomb = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(dashboard.post("/api/query", {"sql": bomb}).status)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    assert dashboard.get("/api/health").status == 200 and time.monotonic() - start < 1.5
    for thread in threads:
        thread.join(30)
    assert set(statuses) <= {400, 503} and statuses.count(503) >= 36
    assert dashboard.post("/api/query", {"sql": "SELECT 1"}).json["rows"] == [[1]]
