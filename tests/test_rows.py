"""ROWS: any value becomes JSON that SQLite accepts, stored statements read their index only, lists go by pages."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry

# --- JSON


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1}, '{"a": 1}'),
        ({"a": float("nan")}, '{"a": null}'),
        ({"a": [float("inf"), 1.5]}, '{"a": [null, 1.5]}'),
        ({1: (2, 3)}, '{"1": [2, 3]}'),
        ({(1, 2): {3}}, '{"(1, 2)": [3]}'),
        ({"a": b"x"}, '{"a": "b\'x\'"}'),
        ({"a": "\ud800"}, '{"a": "\\ud800"}'),
    ],
)
def test_any_value_becomes_json_that_sqlite_accepts(value: Any, text: str) -> None:
    written = promptry.write_json(value)
    assert written == text
    assert sqlite3.connect(":memory:").execute("SELECT json_valid(?)", (written,)).fetchone()[0] == 1


def test_a_value_that_holds_itself_many_times_is_written_at_once(run_python: Any) -> None:
    run_python(
        """
        import promptry
        parent = {"name": "parent"}
        parent["children"] = [{"parent": parent, "number": number} for number in range(20)]
        text = promptry.write_json(parent)
        assert len(text) < 5_000_000, len(text)
        """,
        timeout=20,
    )


def test_a_number_too_long_to_print_is_written_all_the_same() -> None:
    written = promptry.write_json({"n": 10**5000, "kept": 1})
    assert promptry.read_json(written)["kept"] == 1


@pytest.mark.parametrize("text", [None, "", "{", "\x00"])
def test_a_json_column_that_holds_no_json_is_an_empty_dict(text: Any) -> None:
    assert promptry.read_json(text) == {}


# --- aggregates are answered from one index


AGGREGATES = {
    "calls": "SELECT count(*) FROM {t} WHERE status <> 'reserved'",
    "by day": "SELECT day, count(*), sum(cost_usd) FROM {t} GROUP BY day",
    "by prompt": "SELECT prompt_name, count(*), sum(cost_usd), sum(tokens_in), sum(tokens_out) FROM {t}"
    " WHERE origin = 'app' AND status <> 'reserved' GROUP BY prompt_name",
    "finest grain": "SELECT day, prompt_name, prompt_version, model, count(*), count(cost_usd), sum(cost_usd),"
    " sum(tokens_in), sum(tokens_out) FROM {t} WHERE day BETWEEN '2026-01-01' AND '2026-01-31' AND origin = 'app'"
    " AND status <> 'reserved' GROUP BY day, prompt_name, prompt_version, model",
    "one prompt": "SELECT model, sum(cost_usd) FROM {t} WHERE prompt_name = 'a' GROUP BY model",
}


def index_only(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> list[str]:
    """Return what is read from the table by a scan of calls_by_day; a look-up of its own of a row is no part of it."""
    (index,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'calls_by_day'").fetchone()
    steps = connection.execute(f"EXPLAIN {sql}", parameters).fetchall()
    scans = {p1 for _, code, p1, p2, *_ in steps if code == "OpenRead" and p2 == index}
    assert scans, "the index is read"
    behind = {p3 for _, code, p1, _, p3, *_ in steps if code == "DeferredSeek" and p1 in scans}
    reading = {"Column", "Rowid", "SeekRowid", "NotExists"}
    return [f"{address} {code} reads the table" for address, code, p1, *_ in steps if code in reading and p1 in behind]


@pytest.mark.parametrize("name", AGGREGATES)
def test_an_aggregate_over_the_day_index_reads_only_that_index(raw: sqlite3.Connection, name: str) -> None:
    sql = AGGREGATES[name].format(t="invocations INDEXED BY calls_by_day")
    assert index_only(raw, sql) == []


def test_the_explain_check_sees_a_read_of_the_table(raw: sqlite3.Connection) -> None:
    sql = "SELECT day, count(trace_id) FROM invocations INDEXED BY calls_by_day GROUP BY day"
    assert index_only(raw, sql)


def test_every_aggregate_in_the_assets_names_its_index_and_reads_only_that(raw: sqlite3.Connection) -> None:
    seen = 0
    for name in promptry.asset_names("sql"):
        for sql in promptry.statements(Path(name).stem):
            if "INDEXED BY calls_by_day" in sql:
                seen += 1
                names = set(re.findall(r":([a-z_]+)", sql))
                assert index_only(raw, sql, dict.fromkeys(names)) == [], f"{name}\n{sql}"
    assert seen


def test_every_stored_statement_is_accepted_by_sqlite(raw: sqlite3.Connection) -> None:
    for name in promptry.asset_names("sql"):
        for sql in promptry.statements(Path(name).stem):
            names = set(re.findall(r":([a-z_]+)", sql))
            raw.execute(f"EXPLAIN {sql}", dict.fromkeys(names)).fetchall()


def test_the_sums_of_the_month_read_only_the_index(raw: sqlite3.Connection) -> None:
    asked = {"since": "2026-01-01", "after": 0, "until": 9, "step": 1}
    for parts in (promptry._PARTS, promptry._TOTAL_PARTS):
        assert index_only(raw, parts.by_day, asked) == []


# --- pages


@pytest.mark.parametrize("limit", [0, -1, 1001, "5", 2.0, True, None])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(promptry.WrongUse, match=re.escape(f"The limit is {limit!r}; it takes 1 to 1000.")):
        promptry.read_limit(limit)


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "", "9" * 19])
def test_a_cursor_that_is_none_of_ours_is_refused(cursor: str) -> None:
    with pytest.raises(promptry.WrongUse, match="is none of ours. Use the `next` of the page before, as it is."):
        promptry.read_offset(cursor)


def test_pages_follow_one_another_to_the_end() -> None:
    rows, seen, cursor = [{"id": number} for number in range(7)], [], None
    while True:
        start = promptry.read_offset(cursor)
        found = promptry.page(rows[start : start + 3], len(rows), 3, cursor)
        seen.append([row["id"] for row in found["items"]])
        assert found["total"] == 7
        if (cursor := found["next"]) is None:
            break
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]
