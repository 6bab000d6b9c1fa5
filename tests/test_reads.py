"""READS: one function answers every face, in one shape, and the SQL it rests on gives the same rows."""

from __future__ import annotations

import inspect
import json
import math
import re
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import READS, assert_exact, case, promote, render_prompt, run_suite, save_prompt, suite, track_invocation

BY_NAME = {read.name: read for read in READS}


@pytest.fixture
def full(store: Path) -> None:
    """A store with seven prompts, seven runs of two suites and seven calls."""
    fill_store()


def fill_store() -> None:
    """Fill the store that is chosen with seven prompts, seven runs of two suites and seven calls."""
    for number in range(6):
        save_prompt(f"p{number}", f"text {number}", tag="prod, old" if number == 1 else "prod")
    save_prompt("support/answer", "Answer.\nBriefly.", metadata={"by": "ä"})
    save_prompt("support/answer", "Answer.\nAt length.", tag="dev")
    promote("support/answer", 1, "prod")

    @suite("quiz", "Ten questions.", prompt="support/answer")
    def check() -> None:
        render_prompt("support/answer", "")
        for number in range(3):
            with case(f"c{number}"):
                assert_exact(number, number)
                assert_exact(number == 2, fail is True and number == 2)

    @suite("other")
    def other() -> None:
        track_invocation(
            "p1", {"cost_usd": 0.25, "latency_ms": 7}, model="m", input_text="in", output_text="out", capture=True
        )
        assert_exact(1, 1)

    fail = True
    run_suite("quiz")
    fail = False
    for _ in range(3):
        run_suite("quiz", compare="dev")
    for _ in range(3):
        run_suite("other")
    for number in range(2):
        with promptry.trace("agent"), promptry.trace("step"):
            track_invocation("support/answer", {"n": number}, usage={"total": 3}, request_id=f"r{number}")
    named = "UPDATE invocations SET metadata = json_set(metadata, '$.trace_id', 'TRACE') WHERE request_id = 'r1'"
    promptry.connect().execute(named)
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 400}}
    facts = {"latency_ms": 3, "cost_usd": 0.1}
    track_invocation("other/ask", usage=usage, model="gpt-4o", request_id="r2", input_text="ß?", capture=True)
    track_invocation("support/answer", facts, usage=usage, model="gpt-4o-mini", request_id="r2")
    track_invocation("support/answer", usage=usage, model="gpt-99", request_id="r3")
    promptry.record_feedback("r2", 0.25, "meh", "user")
    promptry.record_feedback("later", 1.0)
    promptry.vote("support/answer", "No refund.", -1, "wrong about the refund")
    promptry.vote("support/answer", "A refund? No.", -1)
    promptry.vote("support/answer", "Sure.", 1)
    promptry.set_budget("global", None, "monthly", 5)
    promptry.set_budget("module", "support", "daily", 0.01)
    promptry.set_budget("prompt", "other/ask", "monthly", 1)
    promptry.reserve("other/ask", estimate_usd=0.25)
    promptry.save_dataset("qa", [{"id": 1}])
    promptry.save_dataset("qa", [{"id": 1}, {"id": "ä"}])
    promptry.save_dataset("other", [1])
    promptry.connect().executemany(
        "INSERT INTO eval_runs (suite_name, overall_score, overall_pass) VALUES ('many', ?, ?)",
        [(0.9 - number % 3 / 20 - number // 6 / 3, number < 6) for number in range(8)],
    )
    named = "UPDATE eval_runs SET model_version = iif(id = 6, 'm2', 'm1') WHERE suite_name = 'other'"
    promptry.connect().execute(named)


# Every read, with words for the command line and the same as arguments of the function.
ASKED: list[tuple[str, list[str], dict[str, Any]]] = [
    ("get_overview", [], {}),
    ("list_prompts", [], {}),
    ("list_prompts", ["--limit", "2"], {"limit": 2}),
    ("list_prompts", ["--limit", "2", "--before", "2"], {"limit": 2, "before": "2"}),
    ("get_prompt", ["support/answer"], {"name": "support/answer"}),
    ("get_prompt", ["support/answer", "--version", "1"], {"name": "support/answer", "version": 1}),
    ("get_prompt", ["support/answer", "--tag", "dev"], {"name": "support/answer", "tag": "dev"}),
    ("diff_prompts", ["support/answer", "1", "2"], {"name": "support/answer", "old": 1, "new": 2}),
    ("diff_prompts", ["support/answer", "2", "2"], {"name": "support/answer", "old": 2, "new": 2}),
    ("list_suites", [], {}),
    ("get_suite", ["quiz"], {"name": "quiz"}),
    ("get_suite", ["quiz", "--window", "2", "--limit", "1"], {"name": "quiz", "window": 2, "limit": 1}),
    ("get_suite", ["many"], {"name": "many"}),
    ("get_suite", ["never ran"], {"name": "never ran"}),
    ("list_runs", [], {}),
    ("list_runs", ["--suite", "quiz", "--limit", "2"], {"suite": "quiz", "limit": 2}),
    ("list_runs", ["--suite", "never ran"], {"suite": "never ran"}),
    ("get_run", ["1"], {"id": "1"}),
    ("compare_runs", ["2"], {"run_id": "2"}),
    ("compare_runs", ["3", "1"], {"run_id": "3", "baseline_id": "1"}),
    ("compare_runs", ["3", "dev"], {"run_id": "3", "baseline_id": "dev"}),
    ("compare_models", ["quiz"], {"suite_name": "quiz"}),
    ("compare_models", ["other", "--baseline", "m2"], {"suite_name": "other", "baseline": "m2"}),
    ("compare_models", ["never ran"], {"suite_name": "never ran"}),
    ("check_drift", ["other"], {"suite_name": "other"}),
    ("check_drift", ["many"], {"suite_name": "many"}),
    ("check_drift", ["many", "--window", "7"], {"suite_name": "many", "window": 7}),
    ("check_drift", ["never ran"], {"suite_name": "never ran"}),
    ("check_drift", ["p3", "--of", "cost"], {"suite_name": "p3", "of": "cost"}),
    ("check_drift", ["p3", "--of", "rating", "--window", "7"], {"suite_name": "p3", "of": "rating", "window": 7}),
    ("bisect_suite", ["quiz"], {"suite_name": "quiz"}),
    ("bisect_suite", ["quiz", "--first"], {"suite_name": "quiz", "first": True}),
    ("bisect_suite", ["many"], {"suite_name": "many"}),
    ("bisect_suite", ["quiz", "--case", "c2", "--first"], {"suite_name": "quiz", "case": "c2", "first": True}),
    ("list_calls", [], {}),
    ("list_calls", ["--prompt", "support/answer", "--limit", "3"], {"prompt": "support/answer", "limit": 3}),
    ("list_calls", ["--prompt", "p2"], {"prompt": "p2"}),
    (
        "list_calls",
        ["--model", "gpt-4o", "--status", "ok", "--days", "2"],
        {"model": "gpt-4o", "status": "ok", "days": 2},
    ),
    ("list_calls", ["--version", "1", "--origin", "app"], {"version": 1, "origin": "app"}),
    ("list_calls", ["--request", "r2"], {"request": "r2"}),
    ("list_calls", ["--hours", "2", "--module", "support"], {"hours": 2, "module": "support"}),
    ("list_calls", ["--unpriced", "--rating", "down"], {"unpriced": True, "rating": "down"}),
    ("list_calls", ["--rating", "down", "--min-cost-usd", "0.05"], {"rating": "down", "min_cost_usd": 0.05}),
    (
        "list_calls",
        ["--since", "2026-01-01", "--until", "2099-01-01T10:30"],
        {"since": "2026-01-01", "until": "2099-01-01T10:30"},
    ),
    ("count_calls", [], {}),
    ("count_calls", ["--hours", "1", "--module", "support"], {"hours": 1, "module": "support"}),
    (
        "count_calls",
        ["--days", "30", "--rating", "down", "--status", "ok"],
        {"days": 30, "rating": "down", "status": "ok"},
    ),
    ("get_call", ["1"], {"id": "1"}),
    ("get_call", ["6"], {"id": "6"}),
    ("list_traces", [], {}),
    ("list_traces", ["--limit", "1"], {"limit": 1}),
    ("list_costs", [], {}),
    ("list_costs", ["--by", "module", "--origin", "all"], {"by": "module", "origin": "all"}),
    ("list_costs", ["--by", "version", "--days", "1"], {"by": "version", "days": 1}),
    ("list_costs", ["--by", "day", "--model", "gpt-4o"], {"by": "day", "model": "gpt-4o"}),
    ("list_costs", ["--by", "bucket", "--origin", "all"], {"by": "bucket", "origin": "all"}),
    ("list_costs", ["--daily", "--days", "2"], {"daily": True, "days": 2}),
    ("list_unpriced", [], {}),
    ("list_feedback", [], {}),
    ("list_feedback", ["--prompt", "support/answer"], {"prompt": "support/answer"}),
    ("list_feedback", ["--max-rating", "0.5"], {"max_rating": 0.5}),
    ("list_budgets", [], {}),
    ("list_votes", [], {}),
    ("list_votes", ["--score", "-1", "--prompt", "support/answer"], {"score": -1, "prompt": "support/answer"}),
    ("analyze_votes", ["support/answer"], {"name": "support/answer"}),
    ("list_datasets", [], {}),
    ("get_dataset", ["qa"], {"name": "qa"}),
    ("get_dataset", ["qa", "--version", "1"], {"name": "qa", "version": 1}),
    ("get_trace", ["TRACE"], {"id": "TRACE"}),
]


def without_age(found: Any) -> Any:
    """Take out the numbers that go on while the test runs."""
    if isinstance(found, dict):
        return {
            key: without_age(value) for key, value in found.items() if key not in {"age_s", "forecast_usd", "inputs"}
        }
    return [without_age(value) for value in found] if isinstance(found, (list, tuple)) else found


def answer_of(name: str, arguments: dict[str, Any]) -> Any:
    found = BY_NAME[name].function(**arguments)
    return found.to_dict() if hasattr(found, "to_dict") else found


def test_each_read_is_asked_here() -> None:
    assert {name for name, _, _ in ASKED} == set(BY_NAME)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_json_of_the_command_is_the_answer_of_the_function(
    name: str, words: list[str], arguments: dict[str, Any], full: None, capsys: pytest.CaptureFixture[str]
) -> None:
    code = promptry.run_command([*BY_NAME[name].command.split(), *words, "--json"])
    said = capsys.readouterr()
    assert code in ({0, 1} if name in {"compare_runs", "list_unpriced", "check_drift", "bisect_suite"} else {0}), (
        said.err
    )
    assert without_age(json.loads(said.out)) == without_age(json.loads(json.dumps(answer_of(name, arguments))))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_each_command_has_a_text_for_people(
    name: str, words: list[str], arguments: dict[str, Any], full: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command([*BY_NAME[name].command.split(), *words]) in {0, 1}
    said = capsys.readouterr()
    assert said.out.strip() and said.err == ""
    assert "\x1b" not in said.out, "colour only on a terminal"


LISTS = sorted(name for name in BY_NAME if name.startswith("list_"))
MORE = {"list_costs": {"days", "by", "origin", "sum", "origins", "forecast"}}  # what a list says beside its rows


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_lists_have_one_shape(name: str, full: None) -> None:
    found = answer_of(name, {})
    assert set(found) - MORE.get(name, set()) == {"items", "total", "next"}
    assert found["total"] == len(found["items"]) > 1 and found["next"] is None


@pytest.mark.parametrize("name", LISTS)
def test_empty_lists_have_the_same_shape(name: str, store: Path) -> None:
    found = {key: value for key, value in answer_of(name, {}).items() if key not in MORE.get(name, set())}
    assert found == {"items": [], "total": 0, "next": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in LISTS if "limit" in inspect.signature(BY_NAME[name].function).parameters]
)
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_paging_through_next_gives_each_row_once(name: str, limit: int, full: None) -> None:
    whole = answer_of(name, {})["items"]
    assert len(whole) > 1
    rows: list[Any] = []
    before: str | None = None
    for _ in range(20):
        found = answer_of(name, {"limit": limit, "before": before})
        assert found["total"] == len(whole)
        assert len(found["items"]) <= limit
        rows += found["items"]
        before = found["next"]
        if before is None:
            break
        assert isinstance(before, str)
    assert without_age(rows) == without_age(whole)


@pytest.mark.parametrize("name", LISTS)
def test_each_list_has_a_limit(name: str) -> None:
    assert "limit" in {parameter.name for parameter in BY_NAME[name].parameters}


@pytest.mark.parametrize("name", ["list_runs", "list_calls"])
def test_a_row_that_comes_while_one_pages_is_not_shown_twice(name: str, full: None) -> None:
    first = answer_of(name, {"limit": 4})
    track_invocation("p1")
    run_suite("other")
    second = answer_of(name, {"limit": 4, "before": first["next"]})
    ids = [row["id"] for row in first["items"] + second["items"]]
    assert len(ids) == len(set(ids)) >= 7


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_parameters_of_a_read_are_those_of_its_function(name: str) -> None:
    read = BY_NAME[name]
    assert read.function.__name__ == name
    assert [parameter.name for parameter in read.parameters] == list(inspect.signature(read.function).parameters)
    for parameter in read.parameters:
        assert parameter.sentence.endswith(".")


def bind(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a person would set in sqlite3 for the same question."""
    days = arguments.get("days", 30) if name != "list_calls" else arguments.get("days")
    more = {
        "now": promptry.now_text(),
        "since": promptry.first_day(days) if days else None,
        "run": arguments.get("run_id"),
        **arguments,
    }
    if "before" in arguments:
        more["offset"] = int(arguments["before"])
    if name in {"list_calls", "count_calls"}:
        others = ("request", "search", "limit", "before")
        more |= {"since": None, "until": None, "unpriced": None}
        more |= promptry.call_filters(**{key: value for key, value in arguments.items() if key not in others})
    return more


def say_to_sqlite3(store: Path, sql: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a statement with the sqlite3 program, as somebody at a terminal does, and return its rows."""
    words = [f".parameter set :{key} {literal(value)}" for key, value in given.items() if value is not None]
    text = "\n".join([".parameter init", *words, f"{sql};"])
    done = subprocess.run(["sqlite3", "-json", store], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else []


def literal(value: Any) -> str:
    return str(value) if isinstance(value, (int, float)) else "\"'" + str(value).replace("'", "''") + "'\""


def nearly(value: Any) -> Any:
    return pytest.approx(value, abs=1e-9) if isinstance(value, float) else value


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_the_sql_that_is_printed_gives_the_same_rows_in_the_sqlite3_program(
    name: str,
    words: list[str],
    arguments: dict[str, Any],
    full: None,
    store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer_of(name, arguments)
    capsys.readouterr()
    assert promptry.run_command(["sql", name]) == 0
    printed = [part for part in re.split(r";\n+", capsys.readouterr().out) if part.strip()]
    answers = []
    for sql in printed:
        given = {key: bind(name, arguments).get(key) for key in set(re.findall(r":([a-z_]+)", sql))}
        if name == "get_call" and "request" in given:
            given["request"] = found["request_id"]
        if name == "get_prompt" and "version" in given:
            given["version"] = found["version"]
        if name == "compare_runs" and "baseline" in given:
            given["baseline"] = int(found["baseline"]["id"])
        answers.append(say_to_sqlite3(store, sql, given))
    if name in CHECKS:
        CHECKS[name](answers, found, arguments)
        return
    part = 0
    if name == "list_calls" and arguments.keys() - {"limit", "before"}:
        part = 3 if "request" in arguments else 2
    rows, total = answers[part], answers[{3: 5}.get(part, 1)][0]["total"] if len(answers) > 1 else len(answers[part])
    assert found["total"] == total and len(rows) == len(found["items"])
    for row, item in zip(rows, found["items"], strict=True):
        for key in row.keys() & item.keys() - {"tags", "metadata", "counts", "passed", "complete"}:
            assert str(row[key]) == str(item[key]) or row[key] == nearly(item[key]), key


# What somebody must say for a read to mean anything: its NAME, RUN or ID, and for get_call the request that it found.
NAMED: dict[str, dict[str, Any]] = {
    "get_prompt": {"name": "support/answer"},
    "diff_prompts": {"name": "support/answer", "old": 1, "new": 2},
    "get_suite": {"name": "quiz"},
    "get_run": {"id": "1"},
    "compare_runs": {"run_id": "2"},
    "compare_models": {"suite_name": "other"},
    "check_drift": {"suite_name": "many"},
    "bisect_suite": {"suite_name": "quiz"},
    "get_call": {"id": "6"},
    "get_trace": {"id": "TRACE"},
    "analyze_votes": {"name": "support/answer"},
    "get_dataset": {"name": "qa"},
}
DAYS_AGO = ", ".join(f"('-{days} days')" for days in (1, 28, 29, 30, 31, 400))
LONG_AGO = f"""WITH days (ago) AS (VALUES {DAYS_AGO})
INSERT INTO invocations (prompt_name, metadata, created_at)
SELECT 'support/answer', json_object('model', 'gpt-99', 'tokens_in', 5, 'tokens_out', 1),
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ago) FROM days UNION ALL
SELECT 'support/answer', json_object('model', 'old' || ago, 'tokens_in', 5, 'tokens_out', 1, 'cost_usd', 2),
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ago) FROM days"""
VOTED_LONG_AGO = f"""WITH days (ago) AS (VALUES {DAYS_AGO})
INSERT INTO votes (prompt_name, prompt_version, response, score, message, created_at)
SELECT 'support/answer', 2, 'r', -1, 'm' || ago, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ago) FROM days"""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_printed_sql_without_a_parameter_answers_as_the_command_without_options(
    name: str, full: None, store: Path, raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is set in sqlite3 but what the command cannot do without; there are more rows than a page shows."""
    raw.execute(LONG_AGO)
    raw.execute(VOTED_LONG_AGO)
    raw.executemany("INSERT INTO eval_runs (suite_name, overall_pass) VALUES (?, 1)", [(f"s{n}",) for n in range(60)])
    raw.executemany(
        "INSERT INTO votes (prompt_name, response, score) VALUES ('p', ?, 1)", [(str(n),) for n in range(60)]
    )
    raw.executemany(
        "INSERT INTO budgets (scope, target, period, limit_usd) VALUES ('prompt', ?, 'daily', 5.0)",
        [(f"b{n}",) for n in range(60)],
    )
    found = answer_of(name, NAMED.get(name, {}))
    capsys.readouterr()
    assert promptry.run_command(["sql", name]) == 0
    printed = [part for part in re.split(r";\n+", capsys.readouterr().out) if part.strip()]
    given = {**NAMED.get(name, {}), "run": NAMED.get(name, {}).get("run_id")}
    if name == "get_call":
        given["request"] = found["request_id"]
    answers = [
        say_to_sqlite3(store, sql, {key: given.get(key) for key in given if f":{key}" in sql}) for sql in printed
    ]
    if name in CHECKS:
        CHECKS[name](answers, found, {})
        return
    total = answers[1][0]["total"] if len(answers) > 1 else found["total"]
    assert found["total"] == total and len(answers[0]) == len(found["items"]) > 0
    for row, item in zip(answers[0], found["items"], strict=True):
        for key in row.keys() & item.keys() - {"tags", "metadata", "counts", "passed", "complete"}:
            assert str(row[key]) == str(item[key]) or row[key] == nearly(item[key]), key
    if name == "list_calls":
        assert answers[2] == answers[0], "no filter is all"
    if name == "list_unpriced":
        assert {row["model"]: row["meant"] for row in answers[2]} == {
            row["model"]: row["calls"] if row["tokens_in"] is not None else 0 for row in found["items"]
        }


# Two calls every third day, one of which tells what it cost, took and said.
TRAFFIC = """WITH RECURSIVE days (ago) AS (SELECT 1 UNION ALL SELECT ago + 3 FROM days WHERE ago < 40)
INSERT INTO invocations (prompt_name, metadata, request_id, created_at)
SELECT name, CASE WHEN name = 'told' THEN json_object('cost_usd', ago % 4 / 100.0, 'latency_ms', 900 + ago % 7 * 10,
    'tokens_out', 100 + ago % 5) END, name || ago, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || ago || ' days')
FROM days JOIN (SELECT 'told' AS name UNION SELECT 'mute')"""
SPOKEN = """INSERT INTO feedback (request_id, prompt_name, rating)
SELECT request_id, 'told', id % 4 / 4.0 FROM invocations WHERE prompt_name = 'told'"""


@pytest.mark.parametrize(("window", "days"), [(30, 10), (20, 7), (40, 14)])
@pytest.mark.parametrize("of", ["cost", "latency", "length", "rating"])
def test_the_printed_sql_gives_the_days_that_a_drift_of_calls_rests_on(
    of: str, window: int, days: int, raw: sqlite3.Connection, store: Path
) -> None:
    raw.execute(TRAFFIC)
    raw.execute(SPOKEN)
    sql = promptry.statements("check_drift")[3 if of == "rating" else 2]
    given = {"of": of, "window": window if window != 30 else None}
    rows = [row for row in say_to_sqlite3(store, sql, given) if row["known"]]
    found = promptry.check_drift("told", window, of)
    assert rows == say_to_sqlite3(store, sql, {**given, "suite_name": "told"}) and len(rows) == found.n == days
    means = [row["total"] / row["known"] for row in rows]
    even = promptry.even_days(rows)
    slope, interval = promptry.slope_of(means)
    assert found.slope == nearly(slope) and found.slope_interval == (nearly(interval[0]), nearly(interval[1]))
    assert found.z == nearly(promptry.newest_z(means))
    sides = {"rating": [1], "length": [1, -1]}.get(of, [-1])
    lowest = min(promptry.fall_of([side * value for value in even], shares=True).p for side in sides)
    assert found.p == nearly(min(1.0, len(sides) * lowest))
    assert promptry.check_drift("mute", window, of).left_out == days


def test_the_printed_search_needs_no_more_than_the_text(full: None, store: Path) -> None:
    sql = promptry.statements("list_calls")[4]
    found = [row["id"] for row in promptry.list_calls(search="ß?")["items"]]
    assert [str(row["id"]) for row in say_to_sqlite3(store, sql, {"search": "ß?"})] == found and found


def check_costs(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    rows = [row for row in answers[0] if asked.get("model") in {None, row["model"]}]
    for told, origins in [
        (found["sum"], {asked.get("origin", "app")}),
        *((row, {row["origin"]}) for row in found["origins"]),
    ]:
        own = [row for row in rows if row["origin"] in origins or "all" in origins]
        assert told["calls"] == sum(row["calls"] for row in own) > 0
        assert told["unpriced"] == sum(row["unpriced"] for row in own)
        for key in ("cost_usd", "tokens_in", "cached_tokens", "cache_saved_usd"):
            known = [row[key] for row in own if row[key] is not None]
            assert told[key] == (nearly(math.fsum(known)) if known else None)
    assert math.fsum(row["cost_usd"] or 0 for row in found["items"]) == nearly(found["sum"]["cost_usd"] or 0.0)
    assert {row["prompt_name"] for row in answers[1]} >= {"p1", "support/answer"}
    assert found["forecast"]["spent_usd"] == nearly(answers[2][0]["cost_usd"]) and answers[2][0]["cost_usd"] > 0
    if asked.get("by") == "bucket":
        amounts: dict[str, float] = {}
        for row in answers[3]:
            amounts[row["bucket"]] = amounts.get(row["bucket"], 0) + (row["amount"] or 0)
        for row in found["items"]:
            assert row["tokens"] == amounts.get(row["bucket"]), "no bucket here has another unit"


def check_run(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    assert str(answers[0][0]["id"]) == found["id"]
    assert len(answers[1]) == sum(len(row["checks"]) for row in found["cases"])


def check_suite(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    told = [(str(row["id"]), row["score"], row["model"]) for row in answers[0]][::-1]
    assert told == [(run["id"], run["score"], run["model"]) for run in found["runs"]]
    for run in found["runs"]:
        own = [row["state"] for row in answers[2] if str(row["run"]) == run["id"]]
        assert run["n"] == own.count("pass") + own.count("fail") and run["cases_passed"] == own.count("pass")
        assert sum(row["results"] for row in answers[1] if str(row["run"]) == run["id"]) >= run["n"]
    scores = {(row["assertion_type"], str(row["run"])): row["score"] for row in answers[3]}
    for metric in found["metrics"]:
        for run, score in zip(found["runs"], metric["scores"], strict=True):
            assert score == scores.get((metric["assertion_type"], run["id"]))
    assert len(answers[3]) == sum(score is not None for metric in found["metrics"] for score in metric["scores"])


def check_prompt(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    assert (answers[0][0]["version"], answers[0][0]["content"]) == (found["version"], found["content"])
    assert [row["version"] for row in answers[1]] == [row["version"] for row in found["versions"]]
    tested, called, latencies, rated = ({row["version"]: row for row in answers[part]} for part in (2, 5, 6, 7))
    for row in found["metrics"]:
        own = row["version"]
        assert row["runs"] == (tested[own]["runs"] if own in tested else 0)
        assert row["run"] == (str(tested[own]["run"]) if own in tested and tested[own]["run"] else None)
        assert row["calls"] == (called[own]["calls"] if own in called else 0)
        assert row["p50_ms"] == (latencies[own]["p50_ms"] if own in latencies else None)
        assert row["rating"] == (nearly(rated[own]["rating"]) if own in rated else None)


def check_comparison(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    run = promptry.get_run(found["run"]["id"])
    assert [row["score"] for row in answers[0]] == [check["score"] for row in run["cases"] for check in row["checks"]]
    before = {row["case"]: {"passed": row["passed"], "tries": row["tries"]} for row in answers[1]}
    assert not before or all(row["before"] == before[row["case"]] for row in found["breaks"])


def check_models(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    newest = {row["model"]: str(row["run"]) for row in sorted(answers[0], key=lambda row: row["run"])}
    assert {row["model"]: row["run"]["id"] for row in found["items"]} == newest
    assert answers[1] == [{"latency_ms": None}], "no run is named"
    assert [row["latency_ms"] for row in found["items"]] == [7.0 for _ in newest]


def check_the_drift(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    if "of" in asked:
        rows = answers[3 if asked["of"] == "rating" else 2]
        assert found["n"] == sum(row["known"] > 0 for row in rows)
        assert found["calls"] == sum(row["calls"] for row in answers[2])
        return
    scores = [row["score"] for row in answers[0]][::-1]
    assert found["n"] == len(scores)
    assert found["p"] == (promptry.fall_of(scores).p if len(scores) >= 6 else None)
    assert {row["suite"] for row in answers[1]} >= {"quiz", "other", "many"}


def check_bisection(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    ends = [end["id"] for end in (found["first_bad"], found["last_good"]) if end]
    assert [str(row["id"]) for row in answers[0] if row["id"] is not None] == ends and answers[0][0]["n"] == found["n"]


def check_overview(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    told = [(row["suite"], str(row["run"]), row["score"], row["at"]) for row in answers[0]]
    assert told == [(row["suite"], row["run"], row["score"], row["at"]) for row in found["suites"]] and told
    assert {**found["spend"], "forecast_usd": 0} == {
        **{k: nearly(v) for k, v in answers[1][0].items()},
        "forecast_usd": 0,
    }
    assert found["spend"]["spent_usd"] > 0 and found["spend"]["unpriced"] > 0
    assert answers[2] == found["fallbacks"]
    assert [json.loads(row["history"])[::-1] for row in answers[0]] == [row["history"] for row in found["suites"]]
    today = {**answers[4][0], **answers[5][0], "rated": answers[6][0]}
    assert {**found["today"], "renders_fallback": 0} == {**today, "renders_fallback": 0} and today["calls"] > 0
    for module in found["modules"]:
        own = [row for row in answers[7] if promptry.module_of(row["prompt_name"]) == module["module"]]
        priced, known = sum(row["priced"] for row in own), [row["cost_usd"] for row in own if row["priced"]]
        assert module["calls"] == sum(row["calls"] for row in own)
        assert module["cost_usd"] == (nearly(math.fsum(known)) if priced else None)
        assert module["per_thousand_usd"] == (nearly(1000 * math.fsum(known) / priced) if priced else None)
    assert sum(row["calls"] for row in answers[7]) == sum(module["calls"] for module in found["modules"])
    told = {(row["kind"], row["link_id"]) for row in found["changes"] if row["at"]}
    parts = ((8, "run", "id"), (9, "prompt", "version"), (10, "promotion", "version"), (11, "budget", "id"))
    for part, kind, key in parts:
        assert {str(row[key]) for row in answers[part]} >= {link for of, link in told if of == kind}
    assert told and not answers[3], "no run is named"


def check_counts(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    keys = {"prompt": "prompt_name", "version": "prompt_version", "status": "status"}
    wanted = {column: asked[key] for key, column in keys.items() if key in asked}
    for rows in answers[:2]:
        own = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        own = [row for row in own if "module" not in asked or promptry.module_of(row["prompt_name"]) == asked["module"]]
        assert sum(row["calls"] for row in own) == found["sum"]["calls"] > 0
        assert math.fsum(row["cost_usd"] or 0 for row in own) == nearly(found["sum"]["cost_usd"] or 0.0)
        assert sum(row["unpriced"] for row in own) == found["sum"]["unpriced"]
    values = sorted(row["latency_ms"] for row in answers[3])
    assert found["sum"]["latency_of"] == len(values)
    assert found["sum"]["p95_ms"] == promptry.percentile_of(values, 0.95)
    assert answers[4] == [found["rated"]]


def check_diff(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    assert {row["version"] for row in answers[0]} == {found["old"], found["new"]}


def check_call(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    assert str(answers[0][0]["id"]) == found["id"] and json.loads(answers[0][0]["metadata"]) == found["metadata"]
    assert answers[1] == found["feedback"]


def check_trace(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    calls = {str(row["id"]): row for row in answers[0]}
    spans = {span["call_id"]: span for span in found["spans"] if span["kind"] == "call"}
    assert calls.keys() == spans.keys() and found["calls"] == len(calls) == 1
    assert [calls[key]["cost_usd"] for key in calls] == [spans[key]["cost_usd"] for key in calls]


def check_votes(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    for row, version in zip(answers[0], found["versions"], strict=True):
        assert {key: version[key] for key in row} == row
    messages = [row["message"] for row in answers[1] if row["message"]]
    assert messages == found["versions"][0]["messages"] and 0 < len(messages) <= 5


def check_dataset(answers: list[Any], found: dict[str, Any], asked: dict[str, Any]) -> None:
    assert answers[0][0]["version"] == found["version"] and json.loads(answers[0][0]["items"]) == found["items"]
    assert answers[1] == found["versions"]


CHECKS: dict[str, Any] = {
    "count_calls": check_counts,
    "get_overview": check_overview,
    "list_costs": check_costs,
    "get_suite": check_suite,
    "get_run": check_run,
    "get_prompt": check_prompt,
    "compare_runs": check_comparison,
    "compare_models": check_models,
    "check_drift": check_the_drift,
    "bisect_suite": check_bisection,
    "diff_prompts": check_diff,
    "get_call": check_call,
    "get_trace": check_trace,
    "analyze_votes": check_votes,
    "get_dataset": check_dataset,
}


def test_each_origin_that_can_be_asked_for_stands_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["cost", "--help"]) == 0
    assert "playground, or all." in " ".join(capsys.readouterr().out.split())
    assert promptry.run_command(["calls", "--help"]) == 0
    assert "app, eval, judge, playground." in " ".join(capsys.readouterr().out.split())


def test_an_empty_list_of_runs_says_whether_a_filter_made_it_so(full: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["runs", "--suite", "never ran"]) == 0
    assert capsys.readouterr().out == "No run fits.\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_promptry_sql_prints_the_sql_of_each_read(
    name: str, full: None, raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command(["sql", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith("--"), "the first line says what it answers"
    assert text == promptry.asset(f"sql/{name}.sql").decode()
    assert sqlite3.complete_statement(text)


def test_promptry_sql_without_a_name_lists_all_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["sql"]) == 0
    text = capsys.readouterr().out
    for read in READS:
        assert read.name in text and read.command in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "exit_code", "code", "message"),
    [
        (["prompt", "show", "absent"], 2, "not_found", "no prompt 'absent'"),
        (["prompt", "show", "p1", "--version", "9"], 2, "not_found", "no version 9"),
        (["prompt", "show", "p1", "--tag", "x"], 2, "not_found", "tag 'x'"),
        (["prompt", "show", "p1", "--tag", "prod", "--version", "1"], 2, "wrong_use", "version and a tag"),
        (["prompt", "diff", "p1", "1", "2"], 2, "not_found", "no version 2"),
        (["runs", "99"], 2, "not_found", "no run 99"),
        (["calls", "99"], 2, "not_found", "no call 99"),
        (["calls", "x"], 2, "wrong_use", "call id"),
        (["compare", "99"], 2, "not_found", "no run 99"),
        (["compare", "1", "nowhere"], 2, "not_found", "nowhere"),
        (["calls", "--prompt", "absent"], 2, "not_found", "no prompt 'absent'"),
        (["feedback", "--prompt", "absent"], 2, "not_found", "no prompt 'absent'"),
        (["votes", "--prompt", "absent"], 2, "not_found", "no prompt 'absent'"),
        (["calls", "--status", "nope"], 2, "wrong_use", "status is 'nope'"),
        (["calls", "--origin", "ap"], 2, "wrong_use", "origin is 'ap'"),
        (["votes", "--score", "5"], 2, "wrong_use", "score is 5"),
        (["runs", "--limit", "0"], 2, "wrong_use", "limit"),
        (["calls", "--before", "x"], 2, "wrong_use", "cursor"),
        (["calls", "--before", "99999999999999999999999"], 2, "wrong_use", "cursor"),
        (["prompt", "list", "--before", "99999999999999999999999"], 2, "wrong_use", "cursor"),
        (["runs", "--limit", "x"], 2, "wrong_use", "--limit"),
        (["runs", "1", "--suite", "quiz"], 2, "wrong_use", "--suite"),
        (["prompt", "show"], 2, "wrong_use", "NAME"),
    ],
)
def test_errors_have_one_shape_and_their_exit_code(
    words: list[str], exit_code: int, code: str, message: str, full: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command([*words, "--json"]) == exit_code
    said = capsys.readouterr()
    error = json.loads(said.out)
    assert set(error) == {"error"} and set(error["error"]) == {"code", "message", "hint"}
    assert error["error"]["code"] == code
    assert message in error["error"]["message"]
    assert said.err.startswith("promptry: ") and message in said.err


def test_tags_and_names_with_commas_and_slashes_stay_whole(full: None) -> None:
    rows = {row["name"]: row for row in promptry.list_prompts()["items"]}
    assert rows["p1"]["tags"] == {"prod, old": 1}
    assert rows["support/answer"]["tags"] == {"dev": 2, "prod": 1}
    assert promptry.get_prompt("p1")["tags"] == ["prod, old"]


def test_a_row_with_metadata_of_others_is_read_like_ours(full: None, raw: sqlite3.Connection) -> None:
    raw.execute("INSERT INTO eval_runs (suite_name, overall_pass, metadata) VALUES ('x', 1, '[1, 2]')")
    raw.execute("INSERT INTO eval_runs (suite_name, overall_pass, metadata) VALUES ('x', 1, '\"text\"')")
    raw.execute(
        "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details)"
        " VALUES (9, 'a', 'exact', 1, 1, '[3]')"
    )
    raw.execute('INSERT INTO invocations (prompt_name, metadata) VALUES (\'p1\', \'{"cost_usd": "dear", "model": 7}\')')
    raw.execute("INSERT INTO prompts (name, version, content, hash, metadata) VALUES ('raw', 1, 't', 'h', '[1]')")
    assert promptry.list_runs(suite="x")["total"] == 2
    assert [promptry.get_run(key)["passed"] for key in ("8", "9")] == [True, True]
    call = promptry.list_calls()["items"][0]
    assert call["cost_usd"] is None and call["model"] is None
    assert promptry.get_prompt("raw")["version"] == 1
    assert save_prompt("raw", "another text") == 2
    assert promptry.list_suites()["total"] == 4
