"""BUCKETS: what each kind of token cost, from what each call used and its own rates."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}


def buckets(**asked: Any) -> dict[str, tuple[Any, ...]]:
    found = promptry.list_costs(by="bucket", **asked)["items"]
    return {row["bucket"]: (row["calls"], row["tokens"], row["units"], row["cost_usd"]) for row in found}


def call(name: str = "app/a", model: str = "gpt-4o", **facts: Any) -> None:
    promptry.track_invocation(name, facts, model=model, provider="openai", usage=USAGE)


def test_buckets_of_calls_add_up_to_what_they_cost(store: Path) -> None:
    """gpt-4o: 2.5 in, 1.25 cached, 10 out per million tokens."""
    for _ in range(3):
        call()
    found = buckets()
    assert found == {
        "input_uncached": (3, 1800, None, pytest.approx(0.0045, abs=1e-15)),
        "output_visible": (3, 210, None, pytest.approx(0.0021, abs=1e-15)),
        "cache_read": (3, 1200, None, pytest.approx(0.0015, abs=1e-15)),
        "reasoning": (3, 90, None, pytest.approx(0.0009, abs=1e-15)),
    }
    assert list(found) == ["input_uncached", "output_visible", "cache_read", "reasoning"], "the dearest first"
    whole = promptry.list_costs(by="bucket")
    assert sum(row["cost_usd"] for row in whole["items"]) == pytest.approx(whole["sum"]["cost_usd"], abs=1e-12)


def test_calls_at_several_rates_are_each_worked_out_at_their_own(store: Path) -> None:
    for model in ("gpt-4o", "gpt-4o-mini", "gpt-4.1"):
        call(model=model)
    spent = promptry.list_costs()["sum"]["cost_usd"]
    assert sum(row[3] for row in buckets().values()) == pytest.approx(spent, abs=1e-12)
    assert buckets(model="gpt-4o-mini")["output_visible"][3] == pytest.approx(70 * 0.6 / 1e6, abs=1e-15)


def test_what_no_rate_explains_is_told_apart(store: Path, raw: sqlite3.Connection) -> None:
    call(cost_usd=5.0)
    call()
    call(model="nobody-knows")
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('x', '{\"cost_usd\": 0.5}')")
    raw.execute("INSERT INTO invocations (prompt_name) VALUES ('x')")
    found = buckets()
    assert found["unexplained"] == (2, None, None, 5.5) and list(found)[-1] == "unexplained"
    assert found["input_uncached"] == (3, 1800, None, pytest.approx(0.0015)), (
        "all that was used, and what is known of it"
    )
    assert sum(row[3] for row in found.values()) == pytest.approx(promptry.list_costs()["sum"]["cost_usd"], abs=1e-9)


def test_a_bucket_of_calls_without_a_rate_has_no_cost(store: Path) -> None:
    call(model="nobody-knows")
    assert {row[3] for row in buckets().values()} == {None} and "unexplained" not in buckets()


def test_searches_and_requests_are_charged_by_the_thousand(store: Path, raw: sqlite3.Connection) -> None:
    facts = {"cost_source": "computed", "cost_usd": 0.0305, "buckets": {"input_uncached": 100, "web_searches": 2}}
    facts |= {"rates": {"input_uncached": 5, "web_searches": 10, "requests": 10}}
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('x', ?)", (json.dumps(facts),))
    assert buckets() == {
        "web_searches": (1, None, 2, 0.02),
        "requests": (1, None, 1, 0.01),
        "input_uncached": (1, 100, None, 0.0005),
    }


def test_a_cost_that_its_buckets_do_not_explain_leaves_a_rest(store: Path, raw: sqlite3.Connection) -> None:
    facts = {
        "cost_source": "computed",
        "cost_usd": 3.0,
        "buckets": {"input_uncached": 10**6},
        "rates": {"input_uncached": 1},
    }
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('x', ?)", (json.dumps(facts),))
    assert buckets() == {"input_uncached": (1, 10**6, None, 1.0), "unexplained": (0, None, None, 2.0)}


@pytest.mark.parametrize(
    "facts",
    [
        {"buckets": "many", "rates": "dear"},
        {"buckets": [1, 2], "rates": [3]},
        {"buckets": {"input_uncached": "ten", "": None}, "rates": {"input_uncached": "one"}},
        {"buckets": 7, "rates": None, "cost_source": {}},
    ],
)
def test_facts_of_others_break_nothing(store: Path, raw: sqlite3.Connection, facts: dict[str, Any]) -> None:
    text = json.dumps({"cost_usd": 0.25, "cost_source": "computed", **facts})
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('x', ?)", (text,))
    assert sum(row[3] or 0 for row in buckets().values()) == 0.25


def test_filters_hold_for_buckets_too(store: Path, raw: sqlite3.Connection) -> None:
    call("app/a")
    call("app/b")
    call("app/a", origin="eval")
    call("app/a", status="reserved")
    raw.execute("UPDATE invocations SET created_at = '2020-01-01T00:00:00.000Z' WHERE prompt_name = 'app/b'")
    assert buckets()["input_uncached"][0] == 1 and buckets(origin="all")["input_uncached"][0] == 2
    assert buckets(prompt="app/b") == {} and buckets(prompt="app/b", days=36_000)["reasoning"][:2] == (1, 30)


def test_buckets_page_like_any_list(store: Path) -> None:
    call()
    first = promptry.list_costs(by="bucket", limit=3)
    second = promptry.list_costs(by="bucket", limit=3, before=first["next"])
    assert [len(found["items"]) for found in (first, second)] == [3, 1] and first["total"] == 4


def test_the_command_lays_buckets_out(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call()
    assert promptry.run_command(["cost", "--by", "bucket"]) == 0
    said = capsys.readouterr().out
    assert "bucket" in said and "cache_read" in said and "all calls this month: $0.0" in said
