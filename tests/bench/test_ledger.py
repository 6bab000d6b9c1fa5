"""Benchmarks of the ledger with a million calls: a month's cost, budgets, and what a guarded call costs.

The floor is the same aggregate over a copy of the same rows with real columns and a covering index, in blocks that
alternate with ours. The calls lie in the last thirty days; here the clock stands on a 31st, so that these are a month,
on whatever day this is run.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_hot_path import FACTS, USAGE, percentile, show, spans_of

import promptry

pytestmark = pytest.mark.bench

CALLS = 1_000_000
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :calls)
INSERT INTO invocations (prompt_name, prompt_version, metadata, request_id, created_at)
SELECT 'module' || (i % 10) || '/prompt' || (i % 50), 1 + i % 3,
    json_object('model', 'gpt-4.1' || substr('-mini-nano', 1, 5 * (i % 3)), 'provider', 'openai',
        'tokens_in', 1000 + i % 500, 'tokens_out', i % 300, 'cached_tokens', i % 400,
        'buckets', json_object('input_uncached', 600, 'cache_read', 400, 'output_visible', 100),
        'cost_usd', 0.0001 * (i % 97) + 1e-7, 'cost_source', 'computed', 'cache_saved_usd', 0.00001 * (i % 50),
        'rates', json_object('input_uncached', 0.4, 'cache_read', 0.1, 'output_visible', 1.6),
        'rate_source', 'genai-prices', 'latency_ms', i % 2000 + 0.5, 'uid', printf('%024x', i),
        'usage', json_object('prompt_tokens', 1000 + i % 500, 'completion_tokens', i % 300)),
    'r' || i, strftime('%Y-%m-%dT%H:%M:%fZ', :start + (:now - :start) * i / :calls, 'unixepoch')
FROM n
"""
RUNS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
INSERT INTO eval_runs (suite_name, prompt_name, prompt_version, overall_pass, overall_score, metadata)
SELECT 'suite' || (i % 20), 'module1/prompt1', 1 + i % 3, 1, 0.9 + 0.001 * (i * 7919 % 83), :manifest FROM n
"""
SEED = "prompt_name, prompt_version, metadata, request_id"
DAY_MORE = f"""INSERT INTO invocations ({SEED}, created_at) SELECT {SEED}, :now FROM invocations
    LIMIT {CALLS // 31}"""
COLUMNS = """day, prompt_name, prompt_version, model, origin, status, cost_usd, tokens_in, tokens_out, cached_tokens,
    cache_saved_usd"""


def manifest_of_a_run() -> str:
    """Return the manifest of a run of forty cases that was compared with a baseline."""

    @promptry.suite("one", prompt="module1/prompt1", dataset=list(range(40)))
    def check(item: int) -> None:
        promptry.render_prompt("module1/prompt1", "")
        promptry.assert_exact(item % 7 > 0, True)

    promptry.save_prompt("module1/prompt1", "text", tag="prod")
    keys = [promptry.run_suite("one", compare="prod").run_id for _ in range(2)]
    return promptry.write_json(promptry.get_run(keys[-1])["manifest"])


@pytest.fixture(scope="module")
def shift() -> Iterator[float]:
    """Set the clock of this process to the noon of a 31st, and give the seconds by which it is moved."""
    with pytest.MonkeyPatch.context() as patch:
        real = time.time
        moved = (promptry.seconds_of("2026-10-31T12:00:00Z") or 0.0) - real()
        patch.setattr(time, "time", lambda: real() + moved)
        yield moved


@contextlib.contextmanager
def using_ledger(folder: Path) -> Iterator[Path]:
    """Make a store whose million calls lie in the last thirty days, and a copy of them with real columns."""
    path = folder / "store.db"
    promptry.use_store(path)
    promptry.connect()
    now = promptry.seconds_of(promptry.now_text()) or 0.0
    with sqlite3.connect(path, isolation_level=None) as raw:
        raw.execute("PRAGMA synchronous = OFF")
        raw.execute(FILL, {"calls": CALLS, "start": now - 30 * 86_400, "now": now})
        raw.execute(RUNS, {"manifest": manifest_of_a_run()})
        raw.execute(f"ATTACH '{path.with_name('copy.db')}' AS copy")
        raw.execute("PRAGMA copy.synchronous = OFF")
        raw.execute(f"CREATE TABLE copy.calls AS SELECT id, {COLUMNS} FROM invocations")
        raw.execute(f"CREATE INDEX copy.covering ON calls ({COLUMNS})")
    raw.close()
    yield path
    promptry.use_store(None)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, shift: float) -> Iterator[Path]:
    with using_ledger(tmp_path_factory.mktemp("ledger")) as path:
        yield path


@pytest.fixture(autouse=True)
def in_ledger(ledger: Path, clean_process: Path) -> None:
    promptry.use_store(ledger)


def floor_of(ledger: Path, name: str) -> Callable[[], Any]:
    """Return the statement of a read, run over the copy."""
    sql = promptry.statements(name)[0].replace("invocations INDEXED BY calls_by_day", "calls INDEXED BY covering")
    copy = sqlite3.connect(ledger.with_name("copy.db"))
    since = promptry.first_day(31)
    return lambda: copy.execute(sql, {"since": since}).fetchall()


def medians(*works: Callable[[], Any], rounds: int = 7) -> list[float]:
    """Return the median seconds of some works that take turns."""
    spans: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for place, work in enumerate(works):
            spans[place] += spans_of(work, 1)
    return [statistics.median(found) for found in spans]


def test_a_months_cost_is_at_most_twice_the_aggregate_over_real_columns(ledger: Path) -> None:
    floor, rows = floor_of(ledger, "list_costs"), []
    assert promptry.list_costs(31)["sum"]["calls"] == CALLS == sum(row[5] for row in floor())
    for by in ("prompt", "module", "model"):
        mine, least = medians(lambda by=by: promptry.list_costs(31, by=by), floor)
        rows.append((f"month's cost by {by}", f"{mine * 1e3:.0f} ms", f"{least * 1e3:.0f} ms", mine / least, "2.0"))
    show(rows)
    assert all(row[3] <= 2.0 for row in rows)


def test_the_drift_of_all_calls_is_near_the_cost_aggregate(ledger: Path) -> None:
    """The floor sums a column; a trend counts all and what is known, and sums values and squares."""
    floor, rows = floor_of(ledger, "list_costs"), []
    for of in ("cost", "latency", "length", "rating"):
        every, one, least = medians(
            lambda of=of: promptry.check_drifts(of=of),
            lambda of=of: promptry.check_drift("module3/prompt3", of=of),
            floor,
            rounds=5,
        )
        rows.append(
            (f"drift of all calls, {of}", f"{every * 1e3:.0f} ms", f"{least * 1e3:.0f} ms", every / least, "2.5")
        )
        rows.append((f"drift of one prompt, {of}", f"{one * 1e3:.1f} ms", f"{least * 1e3:.0f} ms", one / least, "0.5"))
    show(rows)
    assert all(row[3] <= float(row[4]) for row in rows)


STATUS = """
import sys, time, promptry
real, shift = time.time, float(sys.argv[2])
time.time = lambda: real() + shift
promptry.use_store(sys.argv[1])
promptry.connect()
began = time.perf_counter()
found = promptry.budget_status()
print(time.perf_counter() - began, found[0].spent_usd)
"""


def look_of_another_process(ledger: Path, shift: float) -> tuple[float, float]:
    """Return the seconds of the first look in a new process, and what it saw as spent."""
    words = [sys.executable, "-c", STATUS, str(ledger), str(shift)]
    folder = Path(promptry.__file__).parent
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    span, spent = done.stdout.split()
    return float(span), float(spent)


def test_budget_status_is_a_fifth_of_a_months_cost(ledger: Path, shift: float) -> None:
    began = time.perf_counter()
    promptry.set_budget("global", None, "monthly", 1e6)
    counted = time.perf_counter() - began
    for scope, target in (("module", "module3"), ("prompt", "module3/prompt3")):
        promptry.set_budget(scope, target, "monthly", 1e6)

    def status() -> Any:
        promptry.track_invocation("module3/prompt3", {"cost_usd": 0.5})
        return promptry.budget_status()

    aggregate, warm = medians(floor_of(ledger, "list_costs"), status)  # list_costs itself reads kept sums
    first = statistics.median(look_of_another_process(ledger, shift)[0] for _ in range(5))
    spent = status()[0].spent_usd
    (row,) = promptry.fetch("SELECT sum(cost_usd) AS usd FROM invocations WHERE prompt_name = 'module3/prompt3'")
    assert spent == pytest.approx(row["usd"], abs=1e-9) == look_of_another_process(ledger, shift)[1]
    unseen = []
    for _ in range(3):
        with promptry.transact() as connection:  # as many as a day of such a month has
            connection.execute(DAY_MORE, {"now": promptry.now_text()})
        unseen.append(look_of_another_process(ledger, shift)[0])
    with promptry.transact() as connection:
        connection.execute("DELETE FROM invocations WHERE id > ?", (CALLS,))
    rows = [
        (f"budget status, {name}", f"{span * 1e3:.2f} ms", f"{aggregate * 1e3:.0f} ms", span / aggregate, goal)
        for name, span, goal in (
            ("after each call", warm, "0.2"),
            ("first of a process", first, "0.2"),
            ("after a day's calls", statistics.median(unseen), "0.2"),
            ("setting a budget", counted, ""),
        )
    ]
    show(rows)
    assert all(ratio < 0.2 for _, _, _, ratio, goal in rows if goal)


def test_a_guarded_call_costs_a_transaction_more(ledger: Path) -> None:
    promptry.set_budget("global", None, "monthly", 1e6)

    def bare() -> Any:
        return promptry.track_invocation("module3/prompt3", FACTS, model="gpt-4.1-mini", usage=USAGE)

    def guarded(**about: Any) -> Any:
        with promptry.budget_guard("module3/prompt3", **about):
            return bare()

    estimates: dict[str, dict[str, Any]] = {
        "its estimate given": {"estimate_usd": 0.01},
        "estimated at rates": {"model": "gpt-4.1-mini", "provider": "openai", "input_chars": 4000, "max_tokens": 500},
        "estimated by recent costs": {},
    }
    guarded()
    found: dict[str, list[float]] = {name: [] for name in ("", *estimates)}
    for _ in range(20):
        for name, spans in found.items():
            spans += spans_of((lambda about=estimates[name]: guarded(**about)) if name else bare, 50)
    least = percentile(found.pop(""), 0.5)
    medians_us = {name: percentile(spans, 0.5) for name, spans in found.items()}
    show(
        [
            (f"guarded, {name}", f"{mine * 1e6:.0f} us", f"{least * 1e6:.0f} us", mine / least, "6")
            for name, mine in medians_us.items()
        ]
    )
    assert all(mine / least <= 6 for mine in medians_us.values())


READS: list[tuple[str, Callable[[], Any]]] = [
    ("calls", promptry.list_calls),
    ("calls of a prompt", lambda: promptry.list_calls(prompt="module3/prompt3")),
    ("calls of a model, 7 days", lambda: promptry.list_calls(model="gpt-4.1", days=7)),
    ("calls of a request", lambda: promptry.list_calls(request="r777")),
    ("calls with a text", lambda: promptry.list_calls(search="no such text")),
    ("models without a rate", promptry.list_unpriced),
    ("prompts", promptry.list_prompts),
    ("traces", promptry.list_traces),
    ("how everything stands", promptry.get_overview),
    ("runs", promptry.list_runs),
    ("suites", promptry.list_suites),
]


def test_each_read_answers_at_once(ledger: Path) -> None:
    """Printed beside the aggregate of the month; absolute times are for people."""
    floor = floor_of(ledger, "list_costs")
    (aggregate,) = medians(floor, rounds=3)
    rows = []
    for name, read in READS:
        began = time.perf_counter()
        read()
        span = time.perf_counter() - began
        rows.append((name, f"{span * 1e3:.1f} ms", f"{aggregate * 1e3:.0f} ms", span / aggregate, "4"))
    show(rows)
    assert all(row[3] <= 4 for row in rows)
