"""BUDGETS: caps that are asked before a call, settled after it, and hold under many processes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import BudgetExceeded, budget_guard, budget_status, set_budget, track_invocation


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that sets the clock to a UTC time."""

    def move(text: str) -> None:
        monkeypatch.setattr(promptry, "now_text", lambda: text)

    return move


def spend(name: str, usd: float | None, **facts: Any) -> int | None:
    return track_invocation(name, {**({} if usd is None else {"cost_usd": usd}), **facts})


def only() -> promptry.BudgetStatus:
    (status,) = budget_status()
    return status


# --- setting


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("banana", "x", "daily", 1), "The scope is 'banana'; it takes global, module or prompt"),
        (("modul", "x", "daily", 1), "Did you mean 'module'"),
        (("global", None, "yearly", 1), "The period is 'yearly'; it takes daily or monthly"),
        (("global", None, "month", 1), "Did you mean 'monthly'"),
        (("global", "x", "daily", 1), "A global budget has no target; 'x'"),
        (("module", None, "daily", 1), "target of a module budget is None"),
        (("prompt", " ", "daily", 1), "target of a prompt budget is ' '"),
        (
            ("module", "support/answer", "daily", 1),
            "'support/answer' is no module. The module of such a prompt is 'support'",
        ),
        (("global", None, "daily", 0), "The limit is 0; it takes US dollars, more than 0"),
        (("global", None, "daily", -1), "The limit is -1"),
        (("global", None, "daily", float("nan")), "The limit is nan"),
        (("global", None, "daily", float("inf")), "The limit is inf"),
        (("global", None, "daily", True), "The limit is True"),
        (("global", None, "daily", "5"), "The limit is '5'"),
    ],
)
def test_nonsense_is_refused(store: Path, arguments: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words.replace(".", r"\.")):
        set_budget(*arguments)
    assert budget_status() == []


def test_a_budget_set_again_has_the_new_limit(store: Path) -> None:
    first = set_budget("module", "support", "daily", 1)
    assert set_budget("module", "support", "daily", 2.5) == first
    set_budget("module", "support", "monthly", 7)
    assert [(row.period, row.limit_usd) for row in budget_status()] == [("monthly", 7.0), ("daily", 2.5)]
    promptry.remove_budget("module", "support", "daily")
    assert only().period == "monthly"
    with pytest.raises(promptry.NotFound, match="no daily module support budget"):
        promptry.remove_budget("module", "support", "daily")


# --- status


def test_a_budget_sums_what_it_covers_of_every_origin(store: Path) -> None:
    for scope, target in (("global", None), ("module", "support"), ("prompt", "support/answer")):
        set_budget(scope, target, "monthly", 10)
    for name, usd in (("support/answer", 1), ("support.classify", 2), ("support", 4), ("supporter/x", 8)):
        spend(name, usd)
    for number, origin in enumerate(("eval", "judge", "playground")):
        spend("support/answer", 0.1 * (number + 1), origin=origin)
    spend("support/answer", None)
    spend("support/answer", None, status="error")
    found = {status.scope: status for status in budget_status()}
    assert found["global"].spent_usd == pytest.approx(15.6) and found["module"].spent_usd == pytest.approx(7.6)
    assert found["prompt"].spent_usd == pytest.approx(1.6) and found["prompt"].share == pytest.approx(0.16)
    assert [found[scope].breached for scope in ("global", "module", "prompt")] == [True, False, False]
    assert found["prompt"].unpriced == 1, "the call without a cost is told; the failed one that used nothing is not"


BORDERS = [
    # (period, time of the call, time of the look, whether it counts, since, until)
    ("daily", "2026-03-01T00:00:00.000Z", "2026-03-01T23:59:59.999Z", True, "2026-03-01", "2026-03-02"),
    ("daily", "2026-02-28T23:59:59.999Z", "2026-03-01T00:00:00.000Z", False, "2026-03-01", "2026-03-02"),
    ("daily", "2024-02-29T12:00:00.000Z", "2024-02-29T13:00:00.000Z", True, "2024-02-29", "2024-03-01"),
    ("daily", "2026-12-31T12:00:00.000Z", "2026-12-31T23:00:00.000Z", True, "2026-12-31", "2027-01-01"),
    ("monthly", "2026-12-01T00:00:00.000Z", "2026-12-31T23:59:59.999Z", True, "2026-12-01", "2027-01-01"),
    ("monthly", "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z", False, "2027-01-01", "2027-02-01"),
    ("monthly", "2026-02-28T23:59:59.999Z", "2026-03-01T00:00:00.000Z", False, "2026-03-01", "2026-04-01"),
    ("monthly", "2024-02-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z", True, "2024-02-01", "2024-03-01"),
    ("monthly", "2026-11-30T23:59:59.999Z", "2026-11-30T23:59:59.999Z", True, "2026-11-01", "2026-12-01"),
]


@pytest.mark.parametrize(("period", "then", "now", "counts", "since", "until"), BORDERS)
@pytest.mark.parametrize("looked_before", [False, True])
def test_periods_are_days_and_months_of_utc(
    store: Path, at: Any, period: str, then: str, now: str, counts: bool, since: str, until: str, looked_before: bool
) -> None:
    at(then)
    set_budget("global", None, period, 10)
    if looked_before:
        budget_status()
    spend("p", 3)
    if looked_before:
        assert only().spent_usd == 3
    at(now)
    status = only()
    assert (status.spent_usd, status.since, status.until) == (3 if counts else 0, since, until)


def test_the_forecast_is_the_spend_over_the_elapsed_share(store: Path, at: Any) -> None:
    set_budget("global", None, "monthly", 10)
    set_budget("global", None, "daily", 10)
    at("2026-11-01T00:05:00.000Z")
    spend("p", 2)
    assert [status.forecast_usd for status in budget_status()] == [None, None], "too early to say"
    at("2026-11-01T06:00:00.000Z")
    assert [status.forecast_usd for status in budget_status()] == [pytest.approx(8), None]
    at("2026-11-16T00:00:00.000Z")
    assert [status.forecast_usd for status in budget_status()] == [None, pytest.approx(4)]
    at("2026-11-16T12:00:00.000Z")
    assert budget_status()[0].forecast_usd == 0.0


def test_status_agrees_with_its_sql_at_every_step(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 10)
    set_budget("module", "a", "daily", 10)
    set_budget("prompt", "a/b", "monthly", 10)
    steps: list[Callable[[], Any]] = [
        lambda: spend("a/b", 0.1),
        lambda: promptry.reserve("a/b", estimate_usd=0.25),
        lambda: spend("c", 0.2),
        lambda: promptry.release(2),
        lambda: spend("a.c", 0.4),
        lambda: promptry.record_call("a/b", {"cost_usd": 0.3}, settles=promptry.reserve("a/b", estimate_usd=1)),
        lambda: spend("a/b", None),
        lambda: raw.execute("INSERT INTO invocations (prompt_name) VALUES ('a/b')"),
    ]
    for step in steps:
        step()
        sql = promptry.statements("list_budgets")[0]
        raw.row_factory = sqlite3.Row
        rows = [dict(row) for row in raw.execute(sql, {"now": promptry.now_text(), "limit": 9, "offset": 0})]
        for row, status in zip(rows, budget_status(), strict=True):
            for key in ("spent_usd", "reserved_usd"):
                assert getattr(status, key) == pytest.approx(row[key], abs=1e-9)
            for key in ("scope", "target", "period", "limit_usd", "since", "until", "unpriced"):
                assert getattr(status, key) == row[key]


def test_changed_history_is_counted_anew(store: Path) -> None:
    set_budget("global", None, "monthly", 10)
    spend("p", 1)
    assert only().spent_usd == 1
    with promptry.transact() as connection:
        connection.execute("UPDATE invocations SET metadata = json_set(metadata, '$.cost_usd', 2)")
        promptry.bump_ledger_epoch(connection)
    assert only().spent_usd == 2


# --- reservations


def test_a_call_settles_its_reservation_to_the_true_cost(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("prompt", "p", "daily", 1)
    with budget_guard("p", 0.5) as id:
        assert (only().spent_usd, only().reserved_usd) == (0, 0.5)
        assert promptry.list_calls()["total"] == 0 and promptry.list_calls(prompt="p")["items"] == []
        assert spend("p", 0.125) == id
        assert (only().spent_usd, only().reserved_usd) == (0.125, 0)
        assert spend("p", 0.25) != id, "a second call is a row of its own"
    assert only().spent_usd == 0.375 and promptry.list_calls()["total"] == 2
    assert raw.execute("SELECT count(*) FROM invocations").fetchone() == (2,)


def test_what_is_not_used_is_given_back(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "daily", 1)
    with pytest.raises(ZeroDivisionError), budget_guard("p", 0.5):
        _ = 1 / 0
    with budget_guard("p", 0.5):
        spend("another", 0.1)
    assert (only().spent_usd, only().reserved_usd) == (0.1, 0)
    assert raw.execute("SELECT count(*) FROM invocations").fetchone() == (1,)


def test_a_row_that_takes_the_id_of_a_returned_reservation_is_counted(store: Path) -> None:
    set_budget("global", None, "daily", 10)
    spend("p", 1)
    with budget_guard("p", 0.5) as id:
        assert only().reserved_usd == 0.5
    assert only().reserved_usd == 0
    assert spend("p", 2) == id and only().spent_usd == 3
    with budget_guard("p", 0.5) as id:
        assert only().reserved_usd == 0.5
    assert spend("p", 4) == id, "taken before the next look"
    assert only().spent_usd == 7


def test_a_call_is_refused_before_anything_is_spent(store: Path) -> None:
    set_budget("module", "support", "daily", 1)
    spend("support/answer", 1.0)
    ran = []
    refusal = pytest.raises(BudgetExceeded, match=r"daily budget of module 'support' is \$1: \$1 are spent")
    with refusal as caught, budget_guard("support/answer", 0.1):
        ran.append(1)
    assert not ran and caught.value.exit_code == 3 and "promptry budget set raises it" in caught.value.hint
    with budget_guard("other", 0.1) as id:
        assert id is None, "no budget covers it, so nothing is written"


def test_reservations_refuse_too_and_nobody_is_refused_below_the_cap(store: Path) -> None:
    set_budget("global", None, "daily", 1)
    refusal = pytest.raises(BudgetExceeded, match="reserved")
    with budget_guard("p", 0.6), budget_guard("p", 0.39), budget_guard("p", 5.0), refusal, budget_guard("p", 0.0):
        pass
    with budget_guard("p", 0.1):
        pass


def test_a_reservation_lapses_at_the_end_of_its_lease_and_a_late_call_still_settles_it(store: Path, at: Any) -> None:
    set_budget("global", None, "daily", 1)
    at("2026-11-01T12:00:00.000Z")
    id = promptry.reserve("p", estimate_usd=2)
    at("2026-11-01T12:09:59.000Z")
    assert only().reserved_usd == 2
    with pytest.raises(BudgetExceeded):
        promptry.reserve("p", estimate_usd=0)
    at("2026-11-01T12:10:00.001Z")
    assert only().reserved_usd == 0
    other = promptry.reserve("p", estimate_usd=0.5)
    assert promptry.record_call("p", {"cost_usd": 0.25}, settles=id) == id
    assert (only().spent_usd, only().reserved_usd) == (0.25, 0.5) and other != id


ESTIMATES: list[tuple[dict[str, Any], float]] = [
    ({"estimate_usd": 0.5, "model": "gpt-4o", "input_chars": 4000, "max_tokens": 1000}, 0.5),
    ({"model": "gpt-4o", "provider": "openai", "input_chars": 4000, "max_tokens": 1000}, 1000 * 2.5e-6 + 1000 * 10e-6),
    ({"model": "gpt-4o", "provider": "openai", "input_chars": 4000}, 0.95),
    ({"model": "gpt-99", "input_chars": 4000, "max_tokens": 1000}, 0.95),
    ({}, 0.95),
]


@pytest.mark.parametrize(("about", "usd"), ESTIMATES)
def test_a_reservation_is_the_best_estimate_there_is(store: Path, about: Any, usd: float) -> None:
    set_budget("global", None, "monthly", 1000)
    for number in range(1, 101):
        spend("p", number / 100)
    promptry.reserve("p", **about)
    assert only().reserved_usd == pytest.approx(usd)


@pytest.mark.parametrize("estimate", [-1, float("nan"), float("inf"), True, "much"])
def test_an_estimate_that_is_none_is_refused(store: Path, estimate: Any) -> None:
    set_budget("global", None, "daily", 1)
    with pytest.raises(promptry.WrongUse, match="estimate"), budget_guard("p", estimate):
        pass


def test_a_guard_is_a_decorator_too(store: Path) -> None:
    set_budget("global", None, "daily", 0.3)

    @budget_guard("p", 0.1)
    def ask() -> None:
        spend("p", 0.2)

    ask()
    ask()
    with pytest.raises(BudgetExceeded):
        ask()
    assert only().spent_usd == pytest.approx(0.4)


def test_threads_and_tasks_settle_their_own(store: Path) -> None:
    set_budget("global", None, "daily", 100)

    def work(number: int) -> None:
        with budget_guard("p", 1.0):
            spend("p", 0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert only().spent_usd == pytest.approx(0.2) and only().reserved_usd == 0
    assert promptry.list_calls()["total"] == 20


def test_a_call_that_waits_in_memory_settles_when_it_is_stored(store: Path, locked: Any) -> None:
    set_budget("global", None, "daily", 100)
    with budget_guard("p", 1.0) as id, locked():
        assert spend("p", 0.25) is None
    assert promptry.flush_kept_rows() == 0
    assert (only().spent_usd, only().reserved_usd) == (0.25, 0) and promptry.list_calls()["items"][0]["id"] == str(id)
    assert promptry.list_calls()["total"] == 1


def test_a_row_that_cannot_be_stored_as_it_is_settles_mended(store: Path) -> None:
    set_budget("global", None, "daily", 100)
    with budget_guard("p", 1.0) as id:
        assert track_invocation("p", {"cost_usd": 1}, input_text="half \ud800", capture=True) == id
    assert promptry.get_call(str(id))["input_text"] == "half ?"


# --- a store that cannot be used


@pytest.mark.parametrize("choice", ["allow", "refuse"])
def test_a_store_that_cannot_be_read_allows_or_refuses_as_set(tmp_path: Path, choice: str, caplog: Any) -> None:
    (tmp_path / "promptry.toml").write_text(f'[budget]\nif_unreadable = "{choice}"\n')
    promptry.forget_settings()
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 100)
    promptry.use_store(broken)
    refusal: Any = (
        pytest.raises(BudgetExceeded, match="cannot be read") if choice == "refuse" else contextlib.nullcontext()
    )
    with refusal, budget_guard("p", 1.0) as id:
        assert id is None
    assert ("passes its budgets unseen" in caplog.text) is (choice == "allow")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("enforce = 1", "true or false"),
        ("lease_s = 0", "1 to 86400"),
        ('if_unreadable = "maybe"', "allow or refuse"),
        ("lease = 5", "Did you mean 'lease_s'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "promptry.toml").write_text(f"[budget]\n{text}\n")
    with pytest.raises(promptry.ConfigError, match=words):
        promptry.load_settings()


# --- many processes

GUARDED = """
import sys, threading, random
import promptry
from promptry import budget_guard, BudgetExceeded, track_invocation

promptry.use_store(sys.argv[1])
refused = 0
def work(seed):
    global refused
    draw = random.Random(seed)
    for _ in range(15):
        try:
            with budget_guard("p", 0.01):
                track_invocation("p", {"cost_usd": 0.01 + draw.choice([-0.002, 0.002])})
        except BudgetExceeded as error:
            refused += 1
threads = [threading.Thread(target=work, args=(int(sys.argv[2]) * 100 + n,)) for n in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(refused)
"""


@pytest.mark.fault
def test_four_processes_of_sixteen_threads_hold_one_cap(
    store: Path, start_python: Any, raw: sqlite3.Connection
) -> None:
    """960 calls of about one cent against a cap of three dollars."""
    set_budget("global", None, "daily", 3.0)
    children = [start_python(GUARDED, store, number) for number in range(4)]
    refused = [child.communicate(timeout=120) for child in children]
    assert all(child.returncode == 0 for child in children), refused
    costs = [cost for (cost,) in raw.execute("SELECT cost_usd FROM invocations ORDER BY id")]
    total = sum(costs)
    assert raw.execute("SELECT count(*) FROM invocations WHERE status = 'reserved'").fetchone() == (0,)
    errors = 64 * 0.002  # of the estimates in flight, at most
    assert total >= 3.0 - errors, "nobody is refused while spend and reservations are below the cap"
    assert total <= 3.0 + 0.01 + errors, "at most the last call admitted, and the errors"
    assert len(costs) + sum(int(out) for out, _ in refused) == 960


KILLED = """
import os, sys
import promptry
promptry.use_store(sys.argv[1])
with promptry.budget_guard("p", 5.0):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.mark.fault
def test_a_killed_process_leaves_no_reservation_for_longer_than_its_lease(
    store: Path, tmp_path: Path, start_python: Any
) -> None:
    (tmp_path / "promptry.toml").write_text("[budget]\nlease_s = 1\n")
    set_budget("global", None, "daily", 5.0)
    child = start_python(KILLED, store)
    assert child.stdout.readline() == "in\n"
    assert only().reserved_usd == 5.0
    child.kill()
    child.wait()
    with pytest.raises(BudgetExceeded):
        promptry.reserve("p", estimate_usd=1)
    until = promptry.monotonic_s() + 10
    while only().reserved_usd and promptry.monotonic_s() < until:
        threading.Event().wait(0.05)
    assert promptry.reserve("p", estimate_usd=1) is not None
    assert promptry.list_calls()["total"] == 0


# --- the command line


def test_the_command_line_sets_lists_checks_and_removes(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*words: str) -> tuple[int, str]:
        code = promptry.run_command(["budget", *words])
        return code, capsys.readouterr().out

    assert say("list") == (0, "No budget yet: promptry budget set global --limit 50 sets one.\n")
    assert say("set", "module", "support", "--limit", "2", "--period", "daily")[0] == 0
    assert say("set", "global", "--limit", "50") == (0, "The monthly budget of all calls is $50.\n")
    assert say("check") == (0, "No budget is spent.\n")
    spend("support/x", 2.5)
    code, text = say("check", "--json")
    assert code == 1 and [row["target"] for row in json.loads(text)["items"]] == ["support"]
    code, text = say("list")
    assert "125.0%" in text and "breached" in text and "support" in text
    assert say("remove", "module", "support", "--period", "daily")[0] == 0
    assert say("check")[0] == 0
    assert say("remove", "module", "support")[0] == 2
    assert say("set", "banana", "--limit", "1")[0] == 2
    assert say("set", "global", "--limit", "-1")[0] == 2
