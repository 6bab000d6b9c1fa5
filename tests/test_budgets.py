"""BUDGETS: caps that are asked before a call, settled after it, and hold under many processes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import random
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from fake_llm import serve_fake

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
        (("global", None, "daily", None), "The limit is None"),
        (("global", None, "daily", 10**400), "The limit is 1000"),
        ((["global"], None, "daily", 1), "The scope is ['global']"),
        (("global", None, None, 1), "The period is None"),
        (("Prompt", "x", "daily", 1), "Did you mean 'prompt'"),
        (("prompt", 5, "daily", 1), "target of a prompt budget is 5"),
        (("prompt", "half \ud800", "daily", 1), "half a character"),
        (("module", "support.", "daily", 1), "'support.' is no module"),
    ],
)
def test_nonsense_is_refused(store: Path, arguments: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=re.escape(words)):
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
    held: list[Any] = []
    steps: list[Callable[[], Any]] = [
        lambda: spend("a/b", 0.1),
        lambda: held.append(promptry.reserve("a/b", estimate_usd=0.25)),
        lambda: spend("c", 0.2),
        lambda: promptry.release(held.pop()),
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
    id: Any = promptry.reserve("p", estimate_usd=2)
    at("2026-11-01T12:09:59.000Z")
    assert only().reserved_usd == 2
    with pytest.raises(BudgetExceeded):
        promptry.reserve("p", estimate_usd=0)
    at("2026-11-01T12:10:00.001Z")
    assert only().reserved_usd == 0
    other = promptry.reserve("p", estimate_usd=0.5)
    assert promptry.record_call("p", {"cost_usd": 0.25}, settles=id) == id.id
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


# --- guards in all places that code runs


def test_a_guard_stands_around_a_coroutine_until_its_end(store: Path) -> None:
    set_budget("global", None, "daily", 1)

    @budget_guard("p", 0.6)
    async def ask(usd: float) -> int | None:
        await asyncio.sleep(0.01)
        assert only().reserved_usd == pytest.approx(0.6)
        return spend("p", usd)

    async def both() -> list[Any]:
        return await asyncio.gather(ask(0.25), ask(0.25), return_exceptions=True)

    assert asyncio.run(ask(0.5)) is not None and asyncio.iscoroutinefunction(ask)
    assert (only().spent_usd, only().reserved_usd) == (0.5, 0)
    set_budget("global", None, "daily", 1.1)
    refused = [found for found in asyncio.run(both()) if isinstance(found, BudgetExceeded)]
    assert len(refused) == 1, "the second sees what the first has reserved and not yet spent"
    assert (only().spent_usd, only().reserved_usd) == (0.75, 0)


def test_a_guard_goes_with_the_tasks_of_its_block(store: Path) -> None:
    set_budget("global", None, "daily", 100)

    async def work(number: int) -> None:
        with budget_guard("p", 1.0) as id:
            await asyncio.sleep(0.001 * (number % 3))
            assert await asyncio.to_thread(spend, "p", 0.01) == id

    async def crowd() -> None:
        await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(crowd())
    assert only().spent_usd == pytest.approx(0.2) and only().reserved_usd == 0


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_guard_around_a_generator_is_refused(kind: str) -> None:
    def plain() -> Any:
        yield 1

    async def later() -> Any:
        yield 1

    with pytest.raises(promptry.WrongUse, match="cannot stand around a generator"):
        budget_guard("p")(plain if kind == "generator" else later)


def test_guards_within_guards_settle_their_own(store: Path) -> None:
    set_budget("global", None, "daily", 100)
    with budget_guard("a", 1) as outer, budget_guard("b", 2) as inner, budget_guard("a", 4) as again:
        assert len({outer, inner, again}) == 3 and only().reserved_usd == 7
        assert spend("b", 0.5) == inner and spend("a", 0.25) == again and spend("a", 0.125) == outer
        assert only().reserved_usd == 0 and spend("a", 0.0625) not in {outer, inner, again}
    assert only().spent_usd == 0.9375 and promptry.list_calls()["total"] == 4
    assert promptry._reservations.get() == (), "a context that lives long remembers no block that is over"


def test_one_guard_stands_around_one_block_at_a_time(store: Path) -> None:
    set_budget("global", None, "daily", 100)
    guard = budget_guard("p", 1)
    for _ in range(2):
        with guard:
            assert only().reserved_usd == 1
            with pytest.raises(promptry.WrongUse, match="around another block"), guard:
                pass
    assert only().reserved_usd == 0
    with pytest.raises(ZeroDivisionError), guard:
        _ = 1 / 0
    assert only().reserved_usd == 0


def test_long_lapsed_reservations_leave_the_file_and_their_late_calls_are_stored(
    store: Path, raw: sqlite3.Connection, at: Any
) -> None:
    set_budget("global", None, "daily", 100)
    at("2026-11-01T12:00:00.000Z")
    ids = [promptry.reserve("p", estimate_usd=1) for _ in range(5)]

    def reserve_some(time: str) -> int:
        at(f"2026-11-01T{time}.000Z")
        some: list[Any] = [promptry.reserve("p", estimate_usd=1) for _ in range(20)]
        for id in some:
            promptry.release(id)
        found = raw.execute("SELECT count(*) FROM invocations").fetchone()
        return int(found[0])

    assert reserve_some("13:00:00") == 5, "lapsed, but not for an hour"
    assert reserve_some("13:10:01") == 0
    for id in ids:
        assert promptry.record_call("p", {"cost_usd": 0.5}, settles=id)
    assert (only().spent_usd, promptry.list_calls()["total"]) == (2.5, 5)


def test_a_block_that_ends_in_another_context_gives_back_all_the_same(store: Path) -> None:
    set_budget("global", None, "daily", 100)
    guard = budget_guard("p", 1)
    contextvars.copy_context().run(guard.__enter__)
    assert only().reserved_usd == 1
    contextvars.copy_context().run(guard.__exit__, None, None, None)
    assert only().reserved_usd == 0


def test_a_generator_holds_its_guard_while_it_runs(store: Path) -> None:
    set_budget("global", None, "daily", 100)

    def stream() -> Any:
        with budget_guard("p", 1):
            yield 1
            spend("p", 0.5)
            yield 2

    parts = stream()
    assert next(parts) == 1 and only().reserved_usd == 1
    assert next(parts) == 2 and (only().spent_usd, only().reserved_usd) == (0.5, 0)
    parts.close()
    dropped = stream()
    next(dropped)
    dropped.close()
    assert (only().spent_usd, only().reserved_usd) == (0.5, 0)


@pytest.mark.parametrize("name", ["half \ud800", "p" * 10_000, "ä/ö", "a.b/c", "/", "x\x00y"])
def test_any_name_that_a_call_may_have_can_be_guarded(store: Path, name: str) -> None:
    set_budget("global", None, "daily", 100)
    with budget_guard(name, 1) as id:
        assert id is not None and spend(name, 0.5) == id
    with budget_guard(name):
        assert only().reserved_usd == 0.5
    assert (only().spent_usd, only().reserved_usd) == (0.5, 0)


@pytest.mark.parametrize("name", ["", " ", None, 5])
def test_a_name_that_no_call_may_have_cannot_be_guarded(store: Path, name: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="The name is"), budget_guard(name, 1):
        pass


@pytest.mark.parametrize("about", [{"input_chars": "x"}, {"max_tokens": 1.5}, {"input_chars": True}])
def test_counts_of_an_estimate_are_whole_numbers(store: Path, about: Any) -> None:
    set_budget("global", None, "daily", 100)
    with pytest.raises(promptry.WrongUse, match="takes a whole number"), budget_guard("p", model="gpt-4o", **about):
        pass


@pytest.mark.parametrize("enforce", [False, True])
def test_an_instrumented_client_settles_the_guard_around_it(store: Path, enforce: bool) -> None:
    set_budget("global", None, "daily", 1)
    with serve_fake() as server:
        raw_client = openai.OpenAI(api_key="key", base_url=f"{server.url}/v1")
        client = promptry.instrument(raw_client, "p", enforce=enforce)

        def ask() -> Any:
            return client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hi"}])

        with budget_guard("p", 1.0) as id:
            ask()
            assert only().reserved_usd == 0 and only().spent_usd > 0
            assert [row["id"] for row in promptry.list_calls()["items"]] == [str(id)]
            ask()
        spend("p", 1)
        sent = len(server.requests)
        with pytest.raises(BudgetExceeded), budget_guard("p"):
            ask()
        assert len(server.requests) == sent == 2
        with pytest.raises(BudgetExceeded) if enforce else contextlib.nullcontext():
            ask()
        assert len(server.requests) == (2 if enforce else 3) and only().reserved_usd == 0


# --- what the memory of sums must survive


def test_every_budget_holds_also_beyond_a_thousand(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "daily", 1)
    raw.execute(
        "INSERT INTO budgets (scope, target, period, limit_usd) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
        " FROM n WHERE i < 1500) SELECT 'prompt', 'p' || i, 'daily', 5.0 FROM n"
    )
    spend("x", 1)
    with pytest.raises(BudgetExceeded, match="all calls"), budget_guard("p7", 0):
        pass
    assert promptry.list_budgets(limit=5)["total"] == 1501 and [row.scope for row in promptry.check_budgets()] == [
        "global"
    ]


def test_a_budget_of_another_module_or_prompt_refuses_nobody(store: Path) -> None:
    for scope, target in (("module", "support"), ("prompt", "support/answer"), ("prompt", "support")):
        set_budget(scope, target, "daily", 0.5)
    for name in ("support/answer", "support"):
        spend(name, 1)
    for name in ("support/other", "support.answer", "support", "support/answer"):
        with pytest.raises(BudgetExceeded), budget_guard(name, 0):
            pass
    for name in ("supporter", "sup", "other/support", "Support"):
        with budget_guard(name, 0) as id:
            assert id is None, name


def test_the_sums_agree_with_the_ledger_after_a_thousand_random_steps(store: Path, raw: sqlite3.Connection) -> None:
    draw = random.Random(20261124)
    for scope, target in (("global", None), ("module", "a"), ("prompt", "a/1"), ("prompt", "b")):
        for period in ("daily", "monthly"):
            set_budget(scope, target, period, 1e6)
    open_ids: list[tuple[str, Any]] = []
    names = ["a/1", "a.2", "a", "b", "b/a/1"]
    for number in range(1000):
        name, step = draw.choice(names), draw.random()
        if step < 0.4:
            spend(name, None if step < 0.05 else draw.random())
        elif step < 0.6:
            open_ids.append((name, promptry.reserve(name, estimate_usd=draw.random())))
        elif open_ids:
            name, id = open_ids.pop(draw.randrange(len(open_ids)))
            promptry.record_call(name, {"cost_usd": 1.5}, settles=id) if step < 0.8 else promptry.release(id)
        if number % 7 == 0:
            found = {(row.scope, row.target, row.period): row for row in budget_status()}
            rows = raw.execute("SELECT prompt_name, status, cost_usd FROM invocations").fetchall()
            for (scope, target, _), row in found.items():
                mine = [
                    (status, usd)
                    for name, status, usd in rows
                    if scope == "global" or target == (name if scope == "prompt" else promptry.module_of(name))
                ]
                held = sum(usd for status, usd in mine if status == "reserved")
                spent = [usd for status, usd in mine if status != "reserved"]
                assert row.spent_usd == pytest.approx(sum(filter(None, spent)), abs=1e-9), number
                assert row.reserved_usd == pytest.approx(held, abs=1e-9) and row.unpriced == spent.count(None)


def test_another_store_has_sums_of_its_own(store: Path, tmp_path: Path) -> None:
    for usd, path in ((1, store), (2, tmp_path / "other.db"), (4, store)):
        promptry.use_store(path)
        set_budget("global", None, "monthly", 10)
        spend("p", usd)
        with budget_guard("p", 0):
            assert only().spent_usd == {1: 1, 2: 2, 4: 5}[usd]


def test_rows_of_others_that_make_no_sense_break_no_guard(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 10)
    set_budget("module", "p", "daily", 10)
    for name, at, metadata in (
        (b"blob", promptry.now_text(), None),
        ("p", b"blob", '{"cost_usd": 1}'),
        ("p", "soon", '{"cost_usd": "x"}'),
        ("p", "9999", '{"cost_usd": 5}'),
        (7, promptry.now_text(), '{"status": "reserved"}'),
        ("p", promptry.now_text(), '{"status": "reserved", "lease_until": 5, "cost_usd": 50}'),
        ("p", promptry.now_text(), '{"status": "reserved", "lease_until": "9999", "cost_usd": null}'),
    ):
        raw.execute(
            "INSERT INTO invocations (prompt_name, created_at, metadata) VALUES (?, ?, ?)", (name, at, metadata)
        )
        for _ in range(2):
            with budget_guard("p", 0.5) as id:
                assert id is not None and promptry.check_budgets() == []
            raw.execute("DELETE FROM datasets")


def test_the_month_is_counted_outside_the_lock_that_writers_wait_for(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget("global", None, "monthly", 10)
    counted, count = [], promptry._count_month

    def watched(*args: Any) -> Any:
        others = threading.Thread(target=lambda: counted.append(spend("other", 0.25)))
        others.start()
        others.join(5)
        return count(*args)

    monkeypatch.setattr(promptry, "_count_month", watched)
    raw.execute("DELETE FROM datasets")
    with budget_guard("p", 1):
        assert counted == [1]
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 0.5}' WHERE status <> 'reserved'")
    with budget_guard("p", 1):
        assert len(counted) == 2
    assert only().spent_usd == 0.75 and len(counted) == 2


def test_reserved_money_is_no_call_anywhere(store: Path) -> None:
    set_budget("global", None, "daily", 10)
    promptry.save_prompt("p", "text")
    spend("p", 1)
    with budget_guard("p", 5), promptry.trace("way"):
        assert promptry.list_prompts()["items"][0]["calls"] == 1
        assert promptry.list_calls()["total"] == 1 and len(promptry.list_calls(prompt="p")["items"]) == 1
        assert sum(row["calls"] for row in promptry.list_costs()["items"]) == 1
        assert promptry.list_traces()["total"] == 0


# --- a store that cannot be used, in more ways


def test_a_locked_store_lets_a_call_pass_with_one_line_and_refuses_if_told(
    store: Path, tmp_path: Path, locked: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "_PATIENCE_S", 0.05)
    set_budget("global", None, "daily", 1)
    ran = []
    with locked(), budget_guard("p", 0.5) as id:
        ran.append(id)
    assert ran == [None] and caplog.text.count("passes its budgets unseen") == 1 and len(caplog.records) == 1
    (tmp_path / "promptry.toml").write_text('[budget]\nif_unreadable = "refuse"\n')
    promptry.forget_settings()
    with locked(), pytest.raises(BudgetExceeded, match="cannot be read: .* is locked"), budget_guard("p", 0.5):
        ran.append(2)
    assert ran == [None]
    with budget_guard("p", 0.5) as id:
        assert id is not None


def test_a_reservation_that_cannot_be_given_back_lapses(
    store: Path, locked: Any, monkeypatch: pytest.MonkeyPatch, at: Any
) -> None:
    monkeypatch.setattr(promptry, "_PATIENCE_S", 0.05)
    set_budget("global", None, "daily", 1)
    at("2026-11-01T12:00:00.000Z")
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked())
        with contextlib.suppress(ZeroDivisionError):
            stack.close()
            with budget_guard("p", 0.5):
                stack.enter_context(locked())
                _ = 1 / 0
    assert only().reserved_usd == 0.5
    at("2026-11-01T12:10:00.001Z")
    assert only().reserved_usd == 0


def test_a_folder_that_is_not_there_lets_a_call_pass(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "file").write_text("")
    promptry.use_store(tmp_path / "file" / "store.db")
    with budget_guard("p", 1.0) as id:
        assert id is None
    assert caplog.text.count("passes its budgets unseen") == 1


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("('global', NULL, 'daily', 9e999)", "limit_usd"),
        ("('prompt', '', 'daily', 1)", "target"),
        ("('module', ' ', 'daily', 1)", "target"),
        ("('module', 'a/b', 'daily', 1)", "target"),
        ("('module', 'a.b', 'daily', 1)", "target"),
    ],
)
def test_the_schema_refuses_what_set_budget_refuses(raw: sqlite3.Connection, statement: str, words: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=words):
        raw.execute(f"INSERT INTO budgets (scope, target, period, limit_usd) VALUES {statement}")


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


BUSY = """
import os, sys, threading
import promptry
from promptry import budget_guard, track_invocation
promptry.use_store(sys.argv[1])
def work():
    while True:
        with budget_guard("p", 0.5):
            id = track_invocation("p", {"cost_usd": 0.001})
            os.write(1, b"%d\\n" % id)
for _ in range(16):
    threading.Thread(target=work).start()
"""


@pytest.mark.fault
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_processes_killed_amid_their_calls_lose_none_and_hold_nothing_for_long(
    store: Path, tmp_path: Path, start_python: Any, raw: sqlite3.Connection
) -> None:
    (tmp_path / "promptry.toml").write_text("[budget]\nlease_s = 1\n")
    set_budget("global", None, "daily", 1e6)
    told: set[int] = set()
    for round in range(5):
        children = [start_python(BUSY, store) for _ in range(2)]
        for child in children:
            told.add(int(child.stdout.readline()))
        threading.Event().wait(0.05 * round)
        for child in children:
            child.kill()
        for child in children:
            told |= {int(line) for line in child.communicate()[0].splitlines() if line.strip()}
        assert only().reserved_usd <= 0.5 * 32 * (round + 1)
    threading.Event().wait(1.1)
    costs = dict(raw.execute("SELECT id, cost_usd FROM invocations WHERE status <> 'reserved'").fetchall())
    assert told <= costs.keys() and len(told) > 20
    status = only()
    assert status.reserved_usd == 0 and status.spent_usd == pytest.approx(sum(costs.values()))
    assert promptry.list_calls()["total"] == len(costs) and raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- the command line


def test_the_command_line_sets_lists_checks_and_removes(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*words: str) -> tuple[int, str]:
        code = promptry.run_command(["budget", *words])
        return code, capsys.readouterr().out

    promptry.connect()
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


# --- reservations of others


def test_released_ids_that_are_used_again_are_counted(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 50)
    few: list[Any] = [promptry.reserve("p", estimate_usd=0.01) for _ in range(8)]
    top: Any = promptry.reserve("p", estimate_usd=0.01)
    for held in few:
        promptry.release(held)
    other: Any = promptry.reserve("p", estimate_usd=0.01)
    promptry.release(other)
    promptry.release(top)
    with contextlib.suppress(BudgetExceeded):
        while True:
            with budget_guard("p", 0.01):
                spend("p", 10)
    assert raw.execute("SELECT sum(cost_usd) FROM invocations").fetchone() == (50,)
    assert only().spent_usd == 50


def test_an_outage_and_the_recovery_after_it_count_each_call(store: Path, raw: sqlite3.Connection) -> None:
    set_budget("global", None, "monthly", 1e6)

    def fail() -> None:
        for _ in range(6):
            with contextlib.suppress(ConnectionError), budget_guard("p", 0.01):
                raise ConnectionError

    for _ in range(3):
        threads = [threading.Thread(target=fail) for _ in range(14)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(20):
            with budget_guard("p", 0.01):
                spend("p", 1)
        (usd,) = raw.execute("SELECT sum(cost_usd) FROM invocations").fetchone()
        assert (only().spent_usd, only().reserved_usd) == (usd, 0)


def test_a_reservation_whose_id_is_anothers_by_now_is_left_alone(store: Path) -> None:
    set_budget("global", None, "monthly", 100)
    mine: Any = promptry.reserve("p", estimate_usd=5)
    promptry.release(mine)
    theirs: Any = promptry.reserve("p", estimate_usd=50)
    assert theirs.id == mine.id
    promptry.release(mine)
    assert only().reserved_usd == 50
    assert promptry.record_call("p", {"cost_usd": 0.25}, settles=mine) != mine.id
    assert (only().reserved_usd, only().spent_usd) == (50, 0.25)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_settles_and_gives_back_nothing_of_its_parents(store: Path) -> None:
    set_budget("global", None, "monthly", 100)
    with budget_guard("p", 5) as id:
        child = os.fork()
        if not child:
            try:
                spend("p", 0.25)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert (only().reserved_usd, only().spent_usd) == (5, 0.25)
        assert spend("p", 1) == id


@pytest.mark.slow
def test_a_locked_store_keeps_no_guard_for_long_one_by_one(store: Path, raw: sqlite3.Connection, locked: Any) -> None:
    set_budget("global", None, "monthly", 1e6)
    spend("p", 1)
    raw.execute("UPDATE invocations SET metadata = '{\"cost_usd\": 2}'")
    spans: list[float] = []

    def guarded() -> None:
        began = time.perf_counter()
        with budget_guard("p", 1):
            pass
        spans.append(time.perf_counter() - began)

    with locked():
        threads = [threading.Thread(target=guarded) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(spans) == 4 and max(spans) < 8, "it was 28 s: each waited for the one before"


def test_finished_guards_of_other_contexts_leave_nothing_behind(store: Path) -> None:
    set_budget("global", None, "monthly", 1e6)
    for _ in range(50):
        guard = budget_guard("p", 0.01)
        guard.__enter__()
        contextvars.copy_context().run(guard.__exit__, None, None, None)
    assert len(promptry._reservations.get()) <= 1
