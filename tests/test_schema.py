"""TABLES: the models say what the migrated file holds, and the file refuses what can never be meant."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from playhouse.reflection import Introspector
from playhouse.schema_diff import diff_models

import promptry

# The stored columns of design.md 2: name -> (kind, NOT NULL).
COLUMNS: dict[str, dict[str, tuple[str, bool]]] = {
    "prompts": {
        "id": ("INTEGER", False),
        "name": ("TEXT", True),
        "version": ("INTEGER", True),
        "content": ("TEXT", True),
        "hash": ("TEXT", True),
        "metadata": ("TEXT", False),
        "created_at": ("TEXT", True),
    },
    "prompt_tags": {"id": ("INTEGER", False), "prompt_id": ("INTEGER", True), "tag": ("TEXT", True)},
    "eval_runs": {
        "id": ("INTEGER", False),
        "suite_name": ("TEXT", True),
        "prompt_name": ("TEXT", False),
        "prompt_version": ("INTEGER", False),
        "model_version": ("TEXT", False),
        "timestamp": ("TEXT", True),
        "overall_pass": ("INTEGER", True),
        "overall_score": ("REAL", False),
        "metadata": ("TEXT", False),
    },
    "eval_results": {
        "id": ("INTEGER", False),
        "run_id": ("INTEGER", True),
        "test_name": ("TEXT", True),
        "assertion_type": ("TEXT", True),
        "passed": ("INTEGER", False),
        "score": ("REAL", False),
        "details": ("TEXT", False),
        "latency_ms": ("REAL", False),
    },
    "votes": {
        "id": ("INTEGER", False),
        "prompt_name": ("TEXT", True),
        "prompt_version": ("INTEGER", False),
        "response": ("TEXT", True),
        "score": ("INTEGER", True),
        "message": ("TEXT", False),
        "metadata": ("TEXT", False),
        "created_at": ("TEXT", True),
    },
    "datasets": {
        "id": ("INTEGER", False),
        "name": ("TEXT", True),
        "version": ("INTEGER", True),
        "items": ("TEXT", True),
        "metadata": ("TEXT", False),
        "created_at": ("TEXT", True),
    },
    "invocations": {
        "id": ("INTEGER", False),
        "prompt_name": ("TEXT", True),
        "prompt_version": ("INTEGER", False),
        "metadata": ("TEXT", False),
        "input_text": ("TEXT", False),
        "output_text": ("TEXT", False),
        "request_id": ("TEXT", False),
        "created_at": ("TEXT", True),
    },
    "feedback": {
        "id": ("INTEGER", False),
        "request_id": ("TEXT", True),
        "prompt_name": ("TEXT", False),
        "rating": ("REAL", False),
        "comment": ("TEXT", False),
        "source": ("TEXT", False),
        "created_at": ("TEXT", True),
    },
    "budgets": {
        "id": ("INTEGER", False),
        "scope": ("TEXT", True),
        "target": ("TEXT", False),
        "period": ("TEXT", True),
        "limit_usd": ("REAL", True),
        "created_at": ("TEXT", True),
    },
    "schema_version": {
        "version": ("INTEGER", False),
        "description": ("TEXT", True),
        "applied_at": ("TEXT", True),
    },
}
VIRTUAL = {
    "day": "TEXT",
    "minute": "INTEGER",
    "model": "TEXT",
    "origin": "TEXT",
    "status": "TEXT",
    "trace_id": "TEXT",
    "run_uid": "TEXT",
    "tokens_in": "INTEGER",
    "tokens_out": "INTEGER",
    "cached_tokens": "INTEGER",
    "cost_usd": "REAL",
    "cache_saved_usd": "REAL",
    "latency_ms": "REAL",
}


def test_there_are_nine_tables_and_the_schema_version_and_no_other(raw: sqlite3.Connection) -> None:
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"sqlite_sequence", "sqlite_stat1"} == set(COLUMNS) and len(COLUMNS) == 10


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_exactly_the_stored_columns_of_the_design(raw: sqlite3.Connection, table: str) -> None:
    rows = raw.execute(f"PRAGMA table_xinfo({table})").fetchall()
    stored = {name: (kind, bool(not_null)) for _, name, kind, not_null, _, _, hidden in rows if not hidden}
    assert stored == COLUMNS[table] and list(stored) == list(COLUMNS[table])
    virtual = {name: kind for _, name, kind, _, _, _, hidden in rows if hidden}
    assert virtual == (VIRTUAL if table == "invocations" else {})
    assert {hidden for *_, hidden in rows} <= {0, 2}, "2 is VIRTUAL; 3 would be STORED"


@pytest.mark.parametrize("model", promptry.MODELS, ids=lambda model: model.__name__)
def test_a_model_says_what_the_migrated_file_holds(raw: sqlite3.Connection, model: Any) -> None:
    meta = model._meta
    kinds = {"AUTO": "INTEGER", "INT": "INTEGER", "TEXT": "TEXT", "FLOAT": "REAL"}
    said = {
        field.column_name: (kinds[field.field_type], not field.null and not field.primary_key)
        for field in meta.sorted_fields
    }
    assert said == COLUMNS[meta.table_name]


def test_the_models_name_all_tables_and_all_columns_but_the_virtual_ones(store: Any) -> None:
    promptry.connect()
    found = diff_models(promptry.db, list(promptry.MODELS))
    assert found.create_tables == [] and found.add_columns == [], str(found)
    assert {(table, name) for table, name in found.drop_columns} <= {("invocations", name) for name in VIRTUAL}


@pytest.mark.parametrize("model", promptry.MODELS, ids=lambda model: model.__name__)
def test_what_a_model_calls_unique_is_unique_in_the_file(raw: sqlite3.Connection, model: Any) -> None:
    table = model._meta.table_name
    said = {
        tuple(model._meta.fields[name].column_name for name in names) for names, unique in model._meta.indexes if unique
    }
    held = set()
    for _, name, unique, origin, _ in raw.execute(f"PRAGMA index_list({table})").fetchall():
        columns = tuple(column for _, _, column in raw.execute(f"PRAGMA index_info({name})"))
        if unique and origin != "pk" and None not in columns:
            held.add(columns)
    assert said == held


def test_the_foreign_keys_of_the_models_are_those_of_the_file(store: Any) -> None:
    promptry.connect()
    read = Introspector.from_database(promptry.db).introspect()
    found = {
        (key.table, key.column, key.dest_table, key.dest_column) for keys in read.foreign_keys.values() for key in keys
    }
    assert found == {("prompt_tags", "prompt_id", "prompts", "id"), ("eval_results", "run_id", "eval_runs", "id")}


def test_every_row_that_a_model_writes_is_accepted(store: Any) -> None:
    promptry.connect()
    prompt = promptry.Prompt.create(name="p", version=1, content="c", hash="h", created_at="2026-01-01T00:00:00.000Z")
    promptry.PromptTag.create(prompt=prompt, tag="prod")
    run = promptry.EvalRun.create(suite_name="s", timestamp="2026-01-01T00:00:00.000Z", overall_pass=1)
    promptry.EvalResult.create(run=run, test_name="t", assertion_type="exact", passed=1, score=1.0)
    assert promptry.PromptTag.get().prompt.content == "c" and promptry.EvalResult.get().run.suite_name == "s"


# --- what the schema refuses, told to raw sqlite3


GROUND = (
    "INSERT INTO prompts (id, name, version, content, hash) VALUES (1, 'p', 1, 'one', 'h1'), (2, 'p', 2, 'two', 'h2'),"
    " (3, 'q', 1, 'one', 'h1')",
    "INSERT INTO prompt_tags (id, prompt_id, tag) VALUES (1, 1, 'prod')",
    "INSERT INTO eval_runs (id, suite_name) VALUES (1, 's')",
    "INSERT INTO datasets (name, version, items) VALUES ('d', 1, '[]')",
    "INSERT INTO feedback (request_id, rating, source) VALUES ('r', 1, NULL), ('r', 1, 'user')",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('global', NULL, 'daily', 1)",
)
REFUSED = [
    "INSERT INTO prompts (name, version, content, hash) VALUES ('p', 1, 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('p', 9, 'x', 'h1')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('', 1, 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', 0, 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', NULL, 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', 'two', 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', 1.5, 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES (NULL, 1, 'x', 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', 1, NULL, 'hx')",
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', 1, 'x', NULL)",
    "INSERT INTO prompts (name, version, content, hash, metadata) VALUES ('n', 1, 'x', 'hx', 'no json')",
    "INSERT OR REPLACE INTO prompts (name, version, content, hash) VALUES ('q', 1, 'rewritten', 'hx')",
    "INSERT OR REPLACE INTO prompts (id, name, version, content, hash) VALUES (3, 'q', 5, 'rewritten', 'hx')",
    "UPDATE prompts SET content = 'x' WHERE id = 1",
    "UPDATE prompts SET hash = 'x' WHERE id = 1",
    "UPDATE prompts SET version = 9 WHERE id = 1",
    "UPDATE prompts SET name = 'x' WHERE id = 1",
    "UPDATE prompts SET created_at = 'x' WHERE id = 1",
    "UPDATE prompts SET id = 77 WHERE id = 3",
    "UPDATE prompts SET metadata = 'no json' WHERE id = 1",
    "DELETE FROM prompts WHERE id = 2",
    "DELETE FROM prompts WHERE id = 1",
    "INSERT INTO prompt_tags (prompt_id, tag) VALUES (99, 'prod')",
    "INSERT INTO prompt_tags (prompt_id, tag) VALUES (1, '')",
    "INSERT INTO prompt_tags (prompt_id, tag) VALUES (1, NULL)",
    "INSERT INTO eval_runs (suite_name) VALUES ('')",
    "INSERT INTO eval_runs (suite_name) VALUES (NULL)",
    "INSERT INTO eval_runs (suite_name, overall_pass) VALUES ('s', 2)",
    "INSERT INTO eval_runs (suite_name, overall_pass) VALUES ('s', NULL)",
    "INSERT INTO eval_runs (suite_name, overall_score) VALUES ('s', 1.1)",
    "INSERT INTO eval_runs (suite_name, overall_score) VALUES ('s', -0.1)",
    "INSERT INTO eval_runs (suite_name, overall_score) VALUES ('s', 'good')",
    "INSERT INTO eval_runs (suite_name, metadata) VALUES ('s', '{')",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (99, 't', 'exact', 1)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (NULL, 't', 'exact', 1)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, NULL, 'exact', 1)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 't', '', 1)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 't', 'exact', 2)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 't', 'exact', NULL)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score) VALUES (1, 't', 'exact', 1, 1.5)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, score) VALUES (1, 't', 'error', 0.5)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, details) VALUES (1, 't', 'exact', 1, 'x')",
    "INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 0)",
    "INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 2)",
    "INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', NULL)",
    "INSERT INTO votes (prompt_name, response, score) VALUES ('p', NULL, 1)",
    "INSERT INTO votes (prompt_name, response, score) VALUES (NULL, 'r', 1)",
    "INSERT INTO votes (prompt_name, response, score, metadata) VALUES ('p', 'r', 1, 'x')",
    "INSERT INTO datasets (name, version, items) VALUES ('d', 1, '[]')",
    "INSERT INTO datasets (name, version, items) VALUES ('', 1, '[]')",
    "INSERT INTO datasets (name, version, items) VALUES ('e', 0, '[]')",
    "INSERT INTO datasets (name, version, items) VALUES ('e', 'two', '[]')",
    "INSERT INTO datasets (name, version, items) VALUES ('e', 1, '[')",
    "INSERT INTO datasets (name, version, items) VALUES ('e', 1, NULL)",
    "INSERT INTO invocations (prompt_name) VALUES (NULL)",
    "INSERT INTO invocations (prompt_name, metadata) VALUES ('p', '{')",
    "INSERT INTO invocations (prompt_name, model) VALUES ('p', 'm')",
    "INSERT INTO feedback (request_id, rating) VALUES ('r', 0.5)",
    "INSERT INTO feedback (request_id, rating, source) VALUES ('r', 0.5, '')",
    "INSERT INTO feedback (request_id, rating, source) VALUES ('r', 0.5, 'user')",
    "INSERT INTO feedback (request_id, rating) VALUES ('x', 99)",
    "INSERT INTO feedback (request_id, rating) VALUES ('x', -0.01)",
    "INSERT INTO feedback (request_id, rating) VALUES ('x', 'good')",
    "INSERT INTO feedback (request_id, rating) VALUES (NULL, 1)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('global', NULL, 'daily', 2)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('global', 'x', 'daily', 1)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('module', NULL, 'daily', 1)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('banana', 'x', 'daily', 1)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('module', 'x', 'yearly', 1)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('module', 'x', 'daily', 0)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('module', 'x', 'daily', -1)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('module', 'x', 'daily', NULL)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('module', 'x', 'daily', 'much')",
]
ACCEPTED = [
    "INSERT INTO prompts (name, version, content, hash) VALUES ('n', 1, '', 'hx')",
    "UPDATE prompts SET metadata = '{\"promptry\": {}}' WHERE id = 1",
    "UPDATE prompts SET metadata = NULL WHERE id = 1",
    "INSERT INTO prompt_tags (prompt_id, tag) VALUES (1, 'staging')",
    "DELETE FROM prompt_tags",
    "INSERT INTO eval_runs (suite_name, overall_pass, overall_score) VALUES ('s', 0, 0.5)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score) VALUES (1, 't', 'exact', 0, 0.0)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 't', 'exact', 1)",
    "INSERT INTO eval_results (run_id, test_name, assertion_type, details) VALUES (1, 't', 'error', '{}')",
    "INSERT INTO eval_results (run_id, test_name, assertion_type) VALUES (1, 't', 'skipped')",
    "INSERT INTO votes (prompt_name, response, score) VALUES ('unknown', '', -1)",
    "INSERT INTO datasets (name, version, items) VALUES ('d', 2, '[1]')",
    "INSERT INTO feedback (request_id) VALUES ('before its call')",
    "INSERT INTO feedback (request_id, rating, source) VALUES ('r', 0, 'judge')",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('prompt', 'a/b', 'monthly', 0.01)",
    "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('global', NULL, 'monthly', 1)",
]


def prepare(raw: sqlite3.Connection) -> sqlite3.Connection:
    for statement in GROUND:
        raw.execute(statement)
    return raw


@pytest.mark.slow
@pytest.mark.parametrize("statement", REFUSED)
def test_the_schema_refuses_what_can_never_be_meant(raw: sqlite3.Connection, statement: str) -> None:
    prepare(raw)
    before = list(raw.iterdump())
    with pytest.raises(sqlite3.Error, match="constraint failed|never|malformed JSON|generated column|already"):
        raw.execute(statement)
    assert list(raw.iterdump()) == before


@pytest.mark.parametrize("statement", ACCEPTED)
def test_the_schema_accepts_what_can_be_meant(raw: sqlite3.Connection, statement: str) -> None:
    assert prepare(raw).execute(statement).rowcount >= 1


TAGGED = [
    # (statements, where each tag stands afterwards)
    (["INSERT INTO prompt_tags (prompt_id, tag) VALUES (2, 'prod')"], {("p", "prod"): 2}),
    (["INSERT INTO prompt_tags (prompt_id, tag) VALUES (1, 'prod')"], {("p", "prod"): 1}),
    (["UPDATE prompt_tags SET prompt_id = 2"], {("p", "prod"): 2}),
    (["INSERT INTO prompt_tags (prompt_id, tag) VALUES (3, 'prod')"], {("p", "prod"): 1, ("q", "prod"): 1}),
    (
        ["INSERT INTO prompt_tags (prompt_id, tag) VALUES (2, 'dev')", "UPDATE prompt_tags SET tag = 'prod'"],
        {("p", "prod"): 2},
    ),
    (
        ["INSERT INTO prompt_tags (prompt_id, tag) VALUES (2, 'a,b'), (1, 'a')"],
        {("p", "prod"): 1, ("p", "a,b"): 2, ("p", "a"): 1},
    ),
]


@pytest.mark.parametrize(("statements", "stands"), TAGGED)
def test_a_tag_stands_on_one_version_of_a_prompt(
    raw: sqlite3.Connection, statements: list[str], stands: dict[tuple[str, str], int]
) -> None:
    prepare(raw)
    for statement in statements:
        raw.execute(statement)
    rows = raw.execute("SELECT name, tag, version FROM prompt_tags JOIN prompts ON prompts.id = prompt_id").fetchall()
    assert {(name, tag): version for name, tag, version in rows} == stands and len(rows) == len(stands)


def test_the_results_of_a_deleted_run_go_with_it(raw: sqlite3.Connection) -> None:
    prepare(raw).execute(
        "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 't', 'exact', 1)"
    )
    raw.execute("DELETE FROM eval_runs")
    assert raw.execute("SELECT count(*) FROM eval_results").fetchone() == (0,)


# --- rows that others insert with the seed's columns


def test_rows_with_the_seeds_columns_only_are_counted_everywhere(raw: sqlite3.Connection) -> None:
    day = "2026-01-05T10:00:00.000Z"
    raw.execute("INSERT INTO prompts (name, version, content, hash, created_at) VALUES ('p', 1, 'one', 'h', ?)", (day,))
    raw.execute("INSERT INTO invocations (prompt_name, prompt_version, created_at) VALUES ('p', 1, ?)", (day,))
    raw.execute(
        "INSERT INTO eval_runs (suite_name, prompt_name, prompt_version, timestamp, overall_pass, overall_score)"
        " VALUES ('s', 'p', 1, ?, 1, 0.9)",
        (day,),
    )
    raw.execute(
        "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score) VALUES (1, 't', 'x', 1, 0.9)"
    )
    (prompt,) = promptry.list_prompts()["items"]
    assert (prompt["name"], prompt["latest"], prompt["calls"], prompt["runs"]) == ("p", 1, 1, 1)
    assert promptry.find_prompt("p").content == "one"  # type: ignore[union-attr]
    assert promptry.list_calls()["total"] == 1 and promptry.list_runs()["total"] == 1
    assert promptry.get_run("1")
    assert promptry.track("one", "p") == "one" and promptry.track("two", "p") == "two"
    assert raw.execute("SELECT max(version) FROM prompts").fetchone() in {(2,), (3,)}
    row = raw.execute("SELECT day, origin, status, model, cost_usd FROM invocations").fetchone()
    assert row == ("2026-01-05", "app", "ok", None, None)


def test_times_that_others_leave_out_are_utc_with_milliseconds(raw: sqlite3.Connection) -> None:
    raw.execute("INSERT INTO invocations (prompt_name) VALUES ('p')")
    (text,) = raw.execute("SELECT created_at FROM invocations").fetchone()
    assert len(text) == 24 and text.endswith("Z") and -5 < (promptry.age_s(text) or 99) < 5


ODD_METADATA: list[Any] = [
    None,
    {},
    [],
    [1, {"model": "m"}],
    "text",
    5,
    {"model": 5, "origin": ["x"], "status": {"a": 1}, "trace_id": True, "run_uid": 1.5},
    {"tokens_in": "abc", "tokens_out": [1], "cost_usd": {"usd": 1}, "latency_ms": True},
    {"tokens_in": None, "cost_usd": None, "model": None, "origin": None},
    {"tokens_in": -5, "cost_usd": -0.5},
    {"lost_rows": "many"},
    {"parameters": "text"},
]


@pytest.mark.parametrize("metadata", ODD_METADATA, ids=json.dumps)
def test_a_value_of_the_wrong_type_never_refuses_the_row_and_reads_as_null(
    raw: sqlite3.Connection, metadata: Any
) -> None:
    text = None if metadata is None else json.dumps(metadata)
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('p', ?)", (text,))
    row = raw.execute(
        "SELECT model, origin, status, trace_id, run_uid, tokens_in, tokens_out, cost_usd, latency_ms FROM invocations"
    ).fetchone()
    numbers = (-5, None, -0.5, None) if metadata == {"tokens_in": -5, "cost_usd": -0.5} else (None,) * 4
    assert row == (None, "app", "ok", None, None, *numbers)
    assert promptry.list_calls()["total"] == len(promptry.list_calls()["items"]) == 1
    assert promptry.get_call("1")["metadata"] is not None
    assert all(found["state"] != "fault" for found in promptry.diagnose())


@pytest.mark.parametrize(
    ("metadata", "column", "value"),
    [
        ({"tokens_in": 3}, "tokens_in", 3),
        ({"tokens_in": 3.0}, "tokens_in", 3),
        ({"cost_usd": 1}, "cost_usd", 1.0),
        ({"cost_usd": 3.3e-07}, "cost_usd", 3.3e-07),
        ({"model": "gpt,4"}, "model", "gpt,4"),
        ({"model": ""}, "model", ""),
        ({"origin": "eval"}, "origin", "eval"),
        ({"status": "reserved"}, "status", "reserved"),
    ],
)
def test_a_hot_key_reads_as_it_was_written(raw: sqlite3.Connection, metadata: Any, column: str, value: Any) -> None:
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('p', ?)", (json.dumps(metadata),))
    assert raw.execute(f"SELECT {column} FROM invocations").fetchone() == (value,)


ODD_OF_PROMPTS = [
    "[1]",
    '"x"',
    "5",
    "null",
    '{"promptry": 5}',
    '{"promptry": {"current_at": 5, "tracked_at": [1]}}',
    '{"promptry": {"current_at": "yesterday"}}',
    '{"promptry": {"tracked_at": "yesterday"}}',
    '{"promptry": {"promotions": "none"}}',
]


@pytest.mark.parametrize("metadata", ODD_OF_PROMPTS)
def test_odd_metadata_of_a_prompt_never_stops_those_who_work_with_it(raw: sqlite3.Connection, metadata: str) -> None:
    raw.execute(
        "INSERT INTO prompts (name, version, content, hash, metadata) VALUES ('p', 1, 'x', 'h', ?)", (metadata,)
    )
    promptry.track("new", "p")
    found = promptry.find_prompt("p")
    assert found is not None and (found.version, found.content) == (2, "new")
    promptry.promote("p", 2, "prod")
    promptry.promote("p", 1, "prod")
    assert promptry.get_prompt("p", tag="prod")["version"] == 1
    assert promptry.list_prompts()["total"] == 1


@pytest.mark.parametrize("metadata", ["[1]", '"x"', '{"promptry": 5}', '{"promptry": {"hash": 5}}'])
def test_odd_metadata_of_a_dataset_never_stops_those_who_work_with_it(raw: sqlite3.Connection, metadata: str) -> None:
    raw.execute("INSERT INTO datasets (name, version, items, metadata) VALUES ('d', 1, '[1]', ?)", (metadata,))
    assert promptry.load_dataset("d") == [1]
    assert promptry.save_dataset("d", [2]) == 2
