"""TRAFFIC: how many calls there were, minute by minute or day by day, and of what."""

from __future__ import annotations

import random
import re
import sqlite3
from collections import Counter
from typing import Any

import pytest

import promptry
from promptry import count_calls

NOW = "2026-12-01T00:30:30.000Z"


@pytest.fixture(autouse=True)
def frozen(raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "now_text", lambda: NOW)


def add(
    raw: sqlite3.Connection,
    at: str,
    name: str = "app/a",
    request: str | None = None,
    version: int | None = None,
    **facts: Any,
) -> None:
    raw.execute(
        "INSERT INTO invocations (prompt_name, prompt_version, metadata, request_id, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (name, version, promptry.write_json(facts) if facts else None, request, at),
    )


@pytest.fixture
def calls(raw: sqlite3.Connection) -> None:
    """Ten calls around midnight of a month's end; the values that are counted stand beside each."""
    add(raw, "2026-11-30T23:29:59.999Z", "app/a", cost_usd=8, latency_ms=1)  # before the last hour's first minute
    add(raw, "2026-11-30T23:30:00.000Z", "app/a", "r1", 1, model="m1", cost_usd=0.5, tokens_in=10, latency_ms=100)
    add(
        raw,
        "2026-11-30T23:59:59.999Z",
        "app.b",
        "r2",
        1,
        model="m1",
        cost_usd=0.25,
        tokens_in=5,
        tokens_out=1,
        latency_ms=300,
    )
    add(raw, "2026-12-01T00:00:00.000Z", "app", "r3", 2, model="m2", cost_usd=0.125, latency_ms=200)
    add(raw, "2026-12-01T00:00:30.000Z", "apple", "r4", model="m2", tokens_in=7)
    add(raw, "2026-12-01T00:05:00.000Z", "other/c", "r5", status="error", error="late")
    add(raw, "2026-12-01T00:05:00.000Z", "other/c", "r6", status="error", tokens_in=3, latency_ms="slow")
    add(raw, "2026-12-01T00:05:00.000Z", "other/c", origin="judge", cost_usd=2)
    add(raw, "2026-12-01T00:06:00.000Z", "other/c", status="reserved", cost_usd=50)
    add(raw, "2026-12-03T00:00:00.000Z", "app/a", cost_usd=4)  # a clock that was wrong
    for request, rating in (("r1", 1), ("r2", 0.5), ("r3", 0.4), ("r4", None), ("nobody's", 1)):
        raw.execute("INSERT INTO feedback (request_id, rating, created_at) VALUES (?, ?, ?)", (request, rating, NOW))


def counts(found: dict[str, Any], facet: str) -> dict[Any, int]:
    return {row["value"]: row["calls"] for row in found["facets"][facet]}


def test_the_last_hour_is_told_minute_by_minute_across_a_months_end(calls: None) -> None:
    found = count_calls(hours=1)
    assert (found["since"], found["until"]) == ("2026-11-30T23:30:00.000Z", "2026-12-01T00:31:00.000Z")
    assert found["bucket_s"] == 60 and len(found["series"]) == 61
    bars = {row["at"][11:16]: (row["calls"], row["errors"], row["cost_usd"]) for row in found["series"]}
    assert bars["23:30"] == (1, 0, 0.5) and bars["23:59"] == (1, 0, 0.25)
    assert bars["00:00"] == (2, 0, 0.125) and bars["00:05"] == (3, 2, 2.0)
    assert bars["00:06"] == (0, 0, 0.0), "what is reserved is no call"
    assert sum(row["calls"] for row in found["series"]) == 7 and found["sum"]["calls"] == 8, "one is dated ahead"


def test_sums_never_take_what_is_unknown_for_zero(calls: None) -> None:
    found = count_calls(hours=1, until="2026-12-01T00:31")
    assert found["sum"] == {
        "calls": 7,
        "errors": 2,
        "unpriced": 2,
        "cost_usd": 2.875,
        "tokens_in": 25,
        "tokens_out": 1,
        "p50_ms": 200.0,
        "p95_ms": 300.0,
        "latency_of": 3,
    }
    assert found["rated"] == {"up": 2, "down": 1}
    alone = count_calls(hours=1, prompt="apple")["sum"]
    assert (alone["calls"], alone["cost_usd"], alone["tokens_out"], alone["p50_ms"]) == (1, None, None, None)
    bar = next(row for row in count_calls(hours=1, prompt="apple")["series"] if row["calls"])
    assert bar["cost_usd"] is None


def test_each_facet_counts_what_fits_all_other_filters(calls: None) -> None:
    found = count_calls(hours=1, until="2026-12-01T00:31", module="app", status="ok", origin="app")
    assert found["sum"]["calls"] == 3
    assert counts(found, "module") == {"app": 3, "apple": 1}
    assert counts(found, "prompt") == {"app": 1, "app.b": 1, "app/a": 1}
    assert counts(found, "model") == {"m1": 2, "m2": 1}
    assert counts(found, "status") == {"ok": 3} and counts(found, "origin") == {"app": 3}
    assert counts(found, "priced") == {"priced": 3}
    free = count_calls(hours=1, until="2026-12-01T00:31")
    assert counts(free, "status") == {"ok": 5, "error": 2} and counts(free, "origin") == {"app": 6, "judge": 1}
    assert counts(free, "priced") == {"priced": 5, "unpriced": 2} and counts(free, "model") == {
        None: 3,
        "m1": 2,
        "m2": 2,
    }
    assert counts(count_calls(hours=1, status="error"), "status") == {"ok": 6, "error": 2}


FILTERS: list[tuple[dict[str, Any], int]] = [
    ({}, 9),
    ({"days": 1}, 6),
    ({"days": 2}, 9),
    ({"hours": 1}, 8),
    ({"since": "2026-12-01"}, 6),
    ({"since": "2026-11-30T23:59:30Z"}, 7),
    ({"since": "2026-12-01T01:00:00+01:00"}, 6),
    ({"until": "2026-12-01"}, 3),
    ({"until": "2026-12-01T00:01"}, 5),
    ({"since": "2026-12-01", "until": "2026-11-01"}, 0),
    ({"module": "app"}, 5),
    ({"module": "ap"}, 0),
    ({"prompt": "app"}, 1),
    ({"version": 1}, 2),
    ({"unpriced": True}, 2),
    ({"unpriced": True, "status": "error"}, 1),
    ({"rating": "up"}, 2),
    ({"rating": "down"}, 1),
    ({"rating": "up", "module": "app", "hours": 1}, 2),
    ({"min_cost_usd": 0.25}, 5),
    ({"min_cost_usd": 0}, 6),
    ({"min_cost_usd": 2, "origin": "judge"}, 1),
    ({"model": "m2", "hours": 3}, 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "calls_found"), FILTERS, ids=str)
def test_a_count_and_a_list_of_the_same_filters_agree(asked: dict[str, Any], calls_found: int, calls: None) -> None:
    listed = promptry.list_calls(**asked)
    assert count_calls(**asked)["sum"]["calls"] == listed["total"] == len(listed["items"]) == calls_found


TIMES = ("2026-10-20T08:00:00.000Z", "2026-11-29T10:00:00.000Z", "2026-11-30T23:45:00.000Z", "2026-12-01T00:10:00.000Z")
CALL_COLUMNS = "id, prompt_name, request_id, created_at, status, origin, cost_usd, tokens_in, latency_ms"
RATED_AND: list[tuple[dict[str, Any], str]] = [  # other filters, and since when that is
    ({}, ""),
    ({"days": 30}, "2026-11-02"),
    ({"hours": 1}, "2026-11-30T23:30"),
    ({"until": "2026-12-01", "status": "error"}, ""),
    ({"module": "app", "origin": "app"}, ""),
    ({"unpriced": True}, ""),
    ({"min_cost_usd": 0.25, "days": 2}, "2026-11-30"),
]


@pytest.fixture(params=[1, 100], ids=["of many", "of few"])
def rated(raw: sqlite3.Connection, request: pytest.FixtureRequest) -> list[sqlite3.Row]:
    """Make calls that share requests, money reserved among them, and give them, the newest first.

    Ratings tie, are comments alone, are of nothing; of more than 5,000 requests. The ids are dense, or so far apart
    that the rated are few of what an index holds.
    """
    dice = random.Random(7)
    raw.execute("BEGIN")
    for number in range(1, 301):
        facts: dict[str, Any] = {"status": dice.choice(("ok", "error", "reserved")), "latency_ms": number}
        facts |= {"origin": dice.choice(("app", "judge")), "cost_usd": number % 9 / 8, "tokens_in": number % 3}
        for key in dice.sample(sorted(facts), 1):
            del facts[key]
        asked_by = None if number % 11 == 0 else f"r{dice.randrange(150)}"
        add(raw, dice.choice(TIMES), dice.choice(("app/a", "app.b", "apple")), asked_by, **facts)
    raw.execute("UPDATE invocations SET id = -id")
    raw.execute("UPDATE invocations SET id = -id * ?", (request.param,))
    grades = (None, 0, 0.25, 0.5, 0.75, 1)
    said = [(f"r{dice.randrange(170)}", dice.choice(grades), dice.choice("abc")) for _ in range(300)]
    said[150:150] = [(f"nobody's {number}", number % 2, "a") for number in range(4_930)]
    raw.executemany(
        "INSERT OR IGNORE INTO feedback (request_id, rating, source, created_at) VALUES (?, ?, ?, ?)",
        [(*row, dice.choice(TIMES)) for row in said],
    )
    raw.execute("COMMIT")
    raw.row_factory = sqlite3.Row
    access = {promptry.call_filters(rating=rating)["access"] for rating in promptry.RATINGS}
    assert access == {"INDEXED BY calls_by_day" if request.param == 1 else "NOT INDEXED"}
    return raw.execute(f"SELECT {CALL_COLUMNS} FROM invocations ORDER BY id DESC").fetchall()


def means_of(raw: sqlite3.Connection, since: str = "") -> dict[str, float]:
    """Return the mean of each request's ratings of some days, in the order in which these were last rated."""
    said: dict[str, list[float]] = {}
    for row in raw.execute("SELECT * FROM feedback WHERE rating IS NOT NULL AND created_at >= ? ORDER BY id", (since,)):
        said[row["request_id"]] = [*said.pop(row["request_id"], []), row["rating"]]
    return {request: sum(ratings) / len(ratings) for request, ratings in said.items()}


def fits(call: sqlite3.Row, mean: float | None, since: str, asked: dict[str, Any]) -> bool:
    facts = {**dict(call), "module": promptry.module_of(call["prompt_name"])}
    is_unpriced = call["cost_usd"] is None and (call["status"] != "error" or bool(call["tokens_in"]))
    return (
        mean is not None
        and asked["rating"] == ("up" if mean >= 0.5 else "down")
        and call["status"] != "reserved"
        and since <= call["created_at"] < asked.get("until", "9")
        and all(facts[key] == asked.get(key, facts[key]) for key in ("status", "origin", "module"))
        and (is_unpriced or "unpriced" not in asked)
        and ("min_cost_usd" not in asked or (call["cost_usd"] or 0) >= asked["min_cost_usd"])
    )


@pytest.mark.slow
@pytest.mark.parametrize("rating", promptry.RATINGS)
@pytest.mark.parametrize(("more", "since"), RATED_AND, ids=str)
def test_calls_rated_so_are_those_that_their_rows_and_ratings_tell(
    raw: sqlite3.Connection, rated: list[sqlite3.Row], more: dict[str, Any], since: str, rating: str
) -> None:
    asked, means = {**more, "rating": rating}, means_of(raw)
    own = [call for call in rated if fits(call, means.get(call["request_id"]), since, asked)]
    items, before = [], None
    while not items or before is not None:
        page = promptry.list_calls(**asked, limit=20, before=before)
        items, before = items + page["items"], page["next"]
        assert page["total"] == len(own) > 0
    assert [(row["id"], row["rating"]) for row in items] == [(str(row["id"]), means[row["request_id"]]) for row in own]
    found = count_calls(**asked)
    costs = [call["cost_usd"] for call in own if call["cost_usd"] is not None]
    spans = sorted(call["latency_ms"] for call in own if call["latency_ms"] is not None)
    assert found["sum"] == found["sum"] | {
        "calls": len(own),
        "errors": sum(call["status"] == "error" for call in own),
        "cost_usd": sum(costs) if costs else None,
        "p50_ms": promptry.percentile_of(spans, 0.5),
        "latency_of": len(spans),
    }
    free = {key: value for key, value in asked.items() if key != "module"}
    others = [call for call in rated if fits(call, means.get(call["request_id"]), since, free)]
    assert counts(found, "module") == Counter(promptry.module_of(call["prompt_name"]) for call in others)
    newest, ids = {call["request_id"]: call["id"] for call in reversed(rated)}, {call["id"] for call in own}
    since_day_before = promptry.text_of(promptry.seconds_of(since[:10]) - 86_400)[:10] if since else ""
    lately = list(means_of(raw, since_day_before).items())[-5_000:]
    told = Counter("up" if mean >= 0.5 else "down" for request, mean in lately if newest.get(request) in ids)
    assert found["rated"] == {"up": told["up"], "down": told["down"]}


@pytest.mark.parametrize("rating", promptry.RATINGS)
def test_the_sql_that_is_noted_gives_the_calls_rated_so_by_itself(
    raw: sqlite3.Connection, rated: list[sqlite3.Row], rating: str
) -> None:
    def answers_of(notes: list[dict[str, Any]]) -> list[Any]:
        unset = [dict.fromkeys(re.findall(r":([a-z_]+)", note["sql"])) for note in notes]
        return [
            raw.execute(note["sql"], own | note["parameters"]).fetchall()
            for note, own in zip(notes, unset, strict=True)
        ]

    found, notes = promptry.scripts_of(lambda: count_calls(rating=rating))
    _, groups, lately = answers_of(notes)
    assert sum(row["calls"] for row in groups) == found["sum"]["calls"] > 0
    assert [dict(row) for row in lately] == [found["rated"]]
    listed, notes = promptry.scripts_of(lambda: promptry.list_calls(rating=rating))
    rows, totals = answers_of(notes)
    assert [{**row, "id": str(row["id"])} for row in rows][:50] == listed["items"]
    assert totals[0]["total"] == listed["total"] == found["sum"]["calls"]


@pytest.mark.parametrize("name", ["list_calls", "count_calls"])
def test_each_statement_that_asks_for_a_rating_takes_the_ids_that_were_found(
    name: str, raw: sqlite3.Connection
) -> None:
    for sql in promptry.statements(name):
        assert (":rating" in sql) == bool(promptry._IS_RATED.search(sql))
        assert ":rating" not in promptry._IS_RATED.sub("", sql)


def test_the_filters_page_like_any_list(calls: None) -> None:
    first = promptry.list_calls(min_cost_usd=0.1, limit=4)
    second = promptry.list_calls(min_cost_usd=0.1, limit=4, before=first["next"])
    assert [row["id"] for row in first["items"] + second["items"]] == ["10", "8", "4", "3", "2", "1"]
    assert first["total"] == 6 and second["next"] is None


@pytest.mark.parametrize(
    ("asked", "hours", "bucket_s", "bars"),
    [
        ({"hours": 2}, 2, 60, 121),
        ({"hours": 6}, 6, 300, 73),
        ({"hours": 24}, 24, 1800, 49),
        ({"days": 30}, 0, 86_400, 30),
    ]
    + [({"hours": 200}, 200, 86_400, 10), ({"days": 3000}, 0, 8 * 86_400, 375), ({"days": 1}, 0, 60, 31)],
)
def test_bars_are_few_whatever_is_asked(
    raw: sqlite3.Connection, asked: Any, hours: int, bucket_s: int, bars: int
) -> None:
    add(raw, "2026-12-01T00:30:29.000Z", cost_usd=1)
    found = count_calls(**asked)
    assert (found["bucket_s"], len(found["series"])) == (bucket_s, bars)
    assert found["series"][-1]["calls"] == 1 and sum(row["calls"] for row in found["series"]) == 1
    starts = [promptry.seconds_of(row["at"]) for row in found["series"]]
    assert {new - old for old, new in zip(starts, starts[1:], strict=False)} == {bucket_s}


def test_without_a_beginning_it_begins_with_the_first_call(raw: sqlite3.Connection) -> None:
    empty = count_calls()
    assert empty["sum"]["calls"] == 0 and empty["since"] == empty["until"] and empty["series"] == []
    assert empty["facets"] == {facet: [] for facet in promptry.FACETS} and empty["rated"] == {"up": 0, "down": 0}
    add(raw, "2026-10-02T10:00:00.000Z")
    add(raw, "2026-11-30T10:00:00.000Z")
    found = count_calls()
    assert found["since"] == "2026-10-02T00:00:00.000Z" and found["bucket_s"] == 86_400
    assert [row["at"][:10] for row in found["series"] if row["calls"]] == ["2026-10-02", "2026-11-30"]


@pytest.mark.parametrize("at", ["yesterday", "", "2026", "2026-13-45T99:99", "\u0663\u0661", "2026-12-01"])
def test_times_that_others_wrote_are_counted_where_they_can_be(raw: sqlite3.Connection, at: str) -> None:
    add(raw, "2026-12-01T00:10:00.000Z")
    add(raw, at)
    found = count_calls()
    assert found["sum"]["calls"] == promptry.list_calls()["total"] == 2
    assert 1 <= sum(row["calls"] for row in found["series"]) <= 2


def test_facts_of_the_wrong_type_are_unknown(raw: sqlite3.Connection) -> None:
    add(raw, NOW, model=7, cost_usd="dear", tokens_in=[], latency_ms=True, status=1, origin={})
    found = count_calls(hours=1)
    assert (found["sum"]["cost_usd"], found["sum"]["tokens_in"], found["sum"]["p50_ms"]) == (None, None, None)
    assert counts(found, "model") == {None: 1} and counts(found, "status") == {"ok": 1}
    assert found["sum"]["unpriced"] == 1


def test_of_very_many_calls_some_tell_the_latency_and_of_few_of_them_all(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 101):
        add(raw, NOW, "a" if number % 10 else "rare", latency_ms=number)
    monkeypatch.setattr(promptry, "LATENCIES_READ", 10)
    monkeypatch.setattr(promptry, "_ENOUGH", 5)
    whole, rare = count_calls(hours=1)["sum"], count_calls(hours=1, prompt="rare")["sum"]
    assert (whole["latency_of"], whole["p50_ms"], whole["p95_ms"]) == (9, 55.0, 99.0), "of 11, 22 ... 99"
    assert (rare["latency_of"], rare["p50_ms"], rare["p95_ms"]) == (10, 50.0, 100.0), "of 10, 20 ... 100"


def test_no_rhythm_of_calls_falls_in_with_the_step() -> None:
    assert [promptry.step_of(calls) for calls in (0, 1, 20_000, 20_001, 70_000, 10**6, 10**9)] == [
        1,
        1,
        1,
        2,
        5,
        53,
        50021,
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hours": 1, "days": 1}, "Days, hours and a time each say since when"),
        ({"hours": 1, "since": "2026-01-01"}, "Days, hours and a time each say since when"),
        ({"hours": 0}, "The hours are 0; they take 1 to 876000"),
        ({"hours": "2"}, "The hours are '2'"),
        ({"hours": True}, "The hours are True"),
        ({"since": "yesterday"}, "The since is 'yesterday'; it takes a UTC time such as 2026-11-30T13:32"),
        ({"until": ""}, "The until is ''"),
        ({"since": 5}, "The since is 5"),
        ({"rating": "good"}, "The rating is 'good'; it takes up, down"),
        ({"min_cost_usd": -1}, "The least cost is -1; it takes US dollars, 0 or more"),
        ({"min_cost_usd": float("nan")}, "The least cost is nan"),
        ({"min_cost_usd": True}, "The least cost is True"),
        ({"status": "eror"}, "The status is 'eror'"),
        ({"origin": "ap"}, "The origin is 'ap'"),
        ({"days": 0}, "The days are 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_both(raw: sqlite3.Connection, asked: Any, message: str) -> None:
    for function in (promptry.list_calls, count_calls):
        with pytest.raises(promptry.WrongUse, match=message):
            function(**asked)


def test_the_command_counts_and_refuses_what_says_nothing_of_a_count(
    calls: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command(["calls", "--count", "--hours", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "8 calls from 2026-11-30T23:30 to 2026-12-01T00:31 UTC: $6.875 and 2 unpriced calls, 2 errors\n"
    )
    assert "latency: half within 200 ms, 95 of 100 within 300 ms, of 3 calls that told it\n" in said
    assert "rated: 2 up, 1 down\n" in said and "module:  app 4, other 3, apple 1\n" in said
    for words, what in ((["--limit", "3"], "--limit"), (["--search", "x"], "--search"), (["1"], "An ID")):
        assert promptry.run_command(["calls", "--count", *words]) == 2
        assert f"{what} says nothing about a count of calls." in capsys.readouterr().err
    assert promptry.run_command(["calls", "--count", "--format", "csv"]) == 2
    assert "--format csv says nothing about a count of calls." in capsys.readouterr().err
    assert promptry.run_command(["calls", "--count", "--module", "nothing"]) == 0
    assert "0 calls" in capsys.readouterr().out
