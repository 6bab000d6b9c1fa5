"""COSTS: sums that never hide what is unknown, a list of models without a rate, and history at today's rates."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import list_costs, list_unpriced, reprice, track_invocation

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
# gpt-4o: 2.5 in, 1.25 cached, 10 out per million
COST = (600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6
SAVED = 400 * 1.25 / 1e6


def call(name: str, model: str | None = "gpt-4o", *, usage: Any = USAGE, **facts: Any) -> int | None:
    return track_invocation(name, facts, model=model, provider="openai", usage=usage)


@pytest.fixture
def spent(store: Path) -> None:
    promptry.track("x" * 400, "support/answer")
    call("support/answer")
    call("support/answer")
    promptry.track("y" * 40_000, "support/answer")
    call("support/answer")
    call("support.classify", "gpt-99")
    call("other")
    call("other", None, usage=None)
    call("other", usage=None, status="error")
    call("support/answer", origin="eval")
    call("judge", "gpt-99", origin="judge")


def rows(**asked: Any) -> dict[Any, dict[str, Any]]:
    by = asked.get("by", "prompt")
    keys = ("prompt", "version") if by == "version" else (by,)
    found = list_costs(**asked)
    return {tuple(row[key] for key in keys) if len(keys) > 1 else row[by]: row for row in found["items"]}


def test_costs_are_summed_by_what_is_asked_with_the_unpriced_calls_beside(spent: None) -> None:
    by_prompt = rows()
    assert {name: (row["calls"], row["unpriced"], row["errors"]) for name, row in by_prompt.items()} == {
        "support/answer": (3, 0, 0),
        "other": (3, 1, 1),
        "support.classify": (1, 1, 0),
    }
    assert by_prompt["support/answer"]["cost_usd"] == pytest.approx(3 * COST, abs=1e-12)
    assert by_prompt["support.classify"]["cost_usd"] is None, "unknown is not zero"
    by_module = rows(by="module")
    assert by_module["support"]["cost_usd"] == pytest.approx(3 * COST) and by_module["support"]["unpriced"] == 1
    assert set(rows(by="version")) == {
        ("support/answer", 1),
        ("support/answer", 2),
        ("support.classify", None),
        ("other", None),
    }
    assert set(rows(by="model")) == {"gpt-4o", "gpt-99", None}
    assert list(rows(by="day")) == [promptry.now_text()[:10]]
    assert set(rows(by="origin", origin="all")) == {"app", "eval", "judge"}


def test_origins_are_told_apart_and_only_the_app_counts_unless_asked(spent: None) -> None:
    found = list_costs()
    assert found["sum"]["calls"] == 7 and list_costs(origin="all")["sum"]["calls"] == 9
    assert {row["origin"]: row["calls"] for row in found["origins"]} == {"app": 7, "eval": 1, "judge": 1}
    assert {row["origin"]: row["unpriced"] for row in found["origins"]} == {"app": 2, "eval": 0, "judge": 1}
    assert list_costs(origin="judge")["sum"]["cost_usd"] is None


def test_the_cached_share_and_what_caching_saved(spent: None) -> None:
    row = rows()["support/answer"]
    assert row["cached_share"] == pytest.approx(0.4) and row["cached_tokens"] == 1200
    assert row["cache_saved_usd"] == pytest.approx(3 * SAVED, abs=1e-12)


def details(cached: int | None) -> dict[str, Any]:
    said = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": 1000, "completion_tokens": 1, **said}


@pytest.mark.parametrize(
    ("said", "share", "shown"),
    [
        ([None, None], None, "-"),
        ([0, 0], 0.0, "0.0%"),
        ([400, None], 0.4, "40.0%"),
        ([400, 0, None], 0.2, "20.0%"),
        ([1000], 1.0, "100.0%"),
    ],
)
def test_the_cached_share_is_of_the_calls_that_say_it(
    store: Path, said: Any, share: float | None, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for cached in said:
        call("p", usage=details(cached))
    found = list_costs()
    assert found["items"][0]["cached_share"] == found["sum"]["cached_share"] == share
    known = [cached for cached in said if cached is not None]
    assert found["sum"]["cached_tokens"] == (sum(known) if known else None)
    assert promptry.run_command(["cost"]) == 0
    _, _, titles, _, row, *_ = capsys.readouterr().out.splitlines()
    assert row.split()[titles.split().index("cached")] == shown
    assert promptry.run_command(["cost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sum"]["cached_share"] == share


@pytest.mark.parametrize(
    ("usage", "facts", "cached"),
    [
        ({"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 0}, {}, 0),
        ({"input_tokens": 9, "output_tokens": 1}, {}, None),
        (None, {"tokens_in": 9, "tokens_out": 1, "cached_tokens": 0}, 0),
        (None, {"tokens_in": 9, "tokens_out": 1}, None),
    ],
)
def test_a_call_keeps_that_nothing_came_from_a_cache(store: Path, usage: Any, facts: Any, cached: int | None) -> None:
    call("p", usage=usage, **facts)
    assert promptry.fetch("SELECT cached_tokens FROM invocations") == [{"cached_tokens": cached}]


def test_input_is_parted_into_the_template_and_what_was_filled_in(spent: None) -> None:
    versions = rows(by="version")
    first, second = versions["support/answer", 1], versions["support/answer", 2]
    assert (first["template_tokens"], first["payload_tokens"]) == (200, 1800)
    assert (second["template_tokens"], second["payload_tokens"]) == (1000, 0), "never more than there was"
    assert versions["other", None]["template_tokens"] is None


def test_only_the_days_asked_for_count(spent: None, raw: sqlite3.Connection) -> None:
    raw.execute("UPDATE invocations SET created_at = '2020-01-01T00:00:00.000Z' WHERE id = 1")
    assert rows()["support/answer"]["calls"] == 2 and rows(days=36_000)["support/answer"]["calls"] == 3
    assert rows(prompt="other", model="gpt-4o")["other"]["calls"] == 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"by": "modul"}, "Did you mean 'module'"),
        ({"origin": "ap"}, "The origin is 'ap'; it takes app, eval, judge, playground, all"),
        ({"days": 0}, "days are 0"),
        ({"days": -5}, "days are -5"),
        ({"limit": 0}, "limit"),
    ],
)
def test_what_cannot_be_asked_is_refused(store: Path, asked: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words):
        list_costs(**asked)


def test_nothing_spent_is_no_error(store: Path) -> None:
    found = list_costs()
    assert found["items"] == found["origins"] == [] and found["sum"]["calls"] == 0 and found["sum"]["cost_usd"] is None


# --- coverage


def test_every_model_with_calls_and_no_cost_is_listed_with_its_reason(spent: None, raw: sqlite3.Connection) -> None:
    call("other", "gpt-4o", usage={"prompt_tokens": -1, "completion_tokens": 1})
    call("other", "gpt-4o-mini")
    raw.execute("UPDATE invocations SET metadata = json_remove(metadata, '$.cost_usd') WHERE model = 'gpt-4o-mini'")
    found = {row["model"]: row for row in list_unpriced()["items"]}
    assert {model: row["calls"] for model, row in found.items()} == {
        "gpt-99": 2,
        "gpt-4o-mini": 1,
        "gpt-4o": 1,
        None: 1,
    }
    assert 'set [pricing."gpt-99"]' in found["gpt-99"]["reason"] and found["gpt-99"]["provider"] == "openai"
    assert "reprice" in found["gpt-4o-mini"]["reason"]
    assert "no tokens" in found["gpt-4o"]["reason"] and "name no model" in found[None]["reason"]
    assert promptry.run_command(["prices", "check"]) == 1


LACKS = [
    ("gpt-99", "openai", 'no rate: set [pricing."gpt-99"] in promptry.toml'),
    ("gpt-99", None, 'no rate: say provider= with the call, or set [pricing."gpt-99"] in promptry.toml'),
    (
        "llama-3.1-8b-instant",
        None,
        "no rate without a provider, but with groq: say provider= with the call, or"
        ' set [pricing."llama-3.1-8b-instant"] in promptry.toml',
    ),
    (
        "llama-3.1-8b-instant",
        "my-proxy",
        "no rate with my-proxy, but with groq: say provider= with the call, or"
        ' set [pricing."llama-3.1-8b-instant"] in promptry.toml',
    ),
]


@pytest.mark.parametrize(("model", "provider", "reason"), LACKS)
def test_a_provider_is_asked_for_where_one_would_help_or_none_is_said(
    store: Path, model: str, provider: str | None, reason: str
) -> None:
    track_invocation("p", model=model, provider=provider, usage=USAGE)
    assert [row["reason"] for row in list_unpriced()["items"]] == [reason]


def test_many_providers_are_not_all_named(store: Path, tmp_path: Path) -> None:
    row = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
    table = {f"p{number}/gpt-99": {**row, "litellm_provider": f"p{number}"} for number in range(5)}
    (tmp_path / "lite.json").write_text(json.dumps(table))
    promptry.import_prices(tmp_path / "lite.json")
    track_invocation("p", model="gpt-99", provider="nobody", usage=USAGE)
    (found,) = list_unpriced()["items"]
    assert found["reason"].startswith(
        "no rate with nobody, but with p0, p1, p2 and others: say provider= with the call"
    )


FAULTY = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4000}}
NO_TOKENS = "the calls say no tokens that can be meant"
RATE_TODAY = "there is a rate today: promptry prices reprice"


@pytest.mark.parametrize(
    ("usages", "reason"),
    [
        ([FAULTY], NO_TOKENS),
        ([FAULTY, {"prompt_tokens": -1, "completion_tokens": 1}], NO_TOKENS),
        ([USAGE, FAULTY], f"{RATE_TODAY}; other {NO_TOKENS[4:]}"),
        ([FAULTY, USAGE], f"{RATE_TODAY}; other {NO_TOKENS[4:]}"),
        ([USAGE, USAGE], RATE_TODAY),
    ],
)
def test_repricing_is_advised_only_where_it_can_help(store: Path, tmp_path: Path, usages: Any, reason: str) -> None:
    """The first in the list is what can be acted on."""
    for usage in usages:
        call("p", "gpt-99", usage=usage)
    set_rate(tmp_path, input=10, output=20)
    assert [row["reason"] for row in list_unpriced()["items"]] == [reason]
    reprice(apply=True)
    left = [NO_TOKENS] if FAULTY in usages else []
    assert [row["reason"] for row in list_unpriced()["items"]] == left


def test_a_ledger_without_gaps_passes_the_check(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("p")
    assert promptry.run_command(["prices", "check"]) == 0
    assert capsys.readouterr().out == "Every call has a cost.\n"


# --- history


def set_rate(folder: Path, **rates: float) -> None:
    lines = "\n".join(f"{key} = {rate}" for key, rate in rates.items())
    (folder / "promptry.toml").write_text(f'[store]\npath = "store.db"\n[pricing."gpt-99"]\n{lines}\n')
    promptry.forget_settings()


def test_history_is_repriced_difference_first_and_once(spent: None, store: Path, tmp_path: Path) -> None:
    set_rate(tmp_path, input=10, output=20)
    dry = reprice()
    (row,) = [row for row in dry["items"] if row["changed"]]
    assert (row["model"], row["calls"], row["before_usd"], row["unpriced_before"], row["unpriced_after"]) == (
        "gpt-99",
        2,
        None,
        2,
        0,
    )
    cost = (1000 * 10 + 100 * 20) / 1e6
    assert row["after_usd"] == pytest.approx(2 * cost) and not dry["applied"]
    assert reprice() == dry, "looking writes nothing"
    done = reprice(apply=True)
    assert (done["changed"], done["items"]) == (2, dry["items"])
    again = reprice(apply=True)
    assert again["changed"] == 0, "doing it again changes nothing"
    metadata = promptry.get_call("4")["metadata"]
    assert metadata["cost_usd"] == pytest.approx(cost) and metadata["rate_source"] == "promptry.toml"
    assert metadata["rates"]["input_uncached"] == 10 and metadata["repriced"]["cost_usd"] is None


def test_the_first_cost_stays_findable(store: Path, tmp_path: Path) -> None:
    set_rate(tmp_path, input=10, output=20)
    call("p", "gpt-99")
    first = promptry.get_call("1")["metadata"]["cost_usd"]
    for rate in (20, 30):
        set_rate(tmp_path, input=rate, output=20)
        assert reprice(apply=True)["changed"] == 1
    metadata = promptry.get_call("1")["metadata"]
    assert metadata["repriced"]["cost_usd"] == first != metadata["cost_usd"]


def test_costs_that_the_caller_gave_stay(store: Path, raw: sqlite3.Connection) -> None:
    call("p", cost_usd=7.0)
    raw.execute(
        """INSERT INTO invocations (prompt_name, metadata) VALUES ('p', '{"model": "gpt-4o", "cost_usd": 9}')"""
    )
    raw.execute("""INSERT INTO invocations (prompt_name, metadata) VALUES ('p', '[1]'), ('p', NULL), ('p', '5')""")
    before = list(raw.iterdump())
    assert reprice(apply=True)["changed"] == 0
    assert list(raw.iterdump()) == before


def test_a_cost_whose_rate_is_known_no_more_stays(
    store: Path, tmp_path: Path, raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    set_rate(tmp_path, input=10, output=20)
    call("p", "gpt-99")
    call("p", "gpt-99", usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5})
    call("p", "gpt-98")
    cost = promptry.get_call("1")["metadata"]["cost_usd"]
    (tmp_path / "promptry.toml").write_text('[store]\npath = "store.db"\n')
    promptry.forget_settings()
    before = list(raw.iterdump())
    for apply in (False, True, True):
        found = reprice(apply=apply)
        row, other = found["items"]
        assert (row["model"], row["calls"], row["changed"], row["kept"], row["unpriced_after"]) == (
            "gpt-99",
            2,
            0,
            2,
            0,
        )
        assert row["after_usd"] == row["before_usd"] == pytest.approx(cost + 30e-6)
        assert (other["kept"], other["unpriced_after"], found["changed"], found["kept"]) == (0, 1, 0, 2)
        assert list(raw.iterdump()) == before, "cost, rates and their source are what they were"
    assert promptry.run_command(["prices", "reprice", "--apply"]) == 0
    said = capsys.readouterr().out
    assert "kept, no rate now" in said and said.endswith("No call changes.\n")


def test_a_cost_of_tokens_that_cannot_be_meant_does_not_stay(store: Path, raw: sqlite3.Connection) -> None:
    facts = {"model": "gpt-4o", "provider": "openai", "usage": FAULTY, "cost_usd": 1.5, "cost_source": "computed"}
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('p', ?)", (json.dumps(facts),))
    found = reprice(apply=True)
    assert (found["changed"], found["kept"]) == (1, 0)
    assert promptry.get_call("1")["metadata"]["cost_source"] == "unpriced"


def test_the_counts_that_a_caller_told_are_repriced_as_they_were_priced(store: Path) -> None:
    call("p", usage=None, tokens_in=1000, tokens_out=100, cached_tokens=400)
    assert promptry.get_call("1")["metadata"]["cost_usd"] == pytest.approx(COST)
    assert reprice(apply=True)["changed"] == 0


def test_rates_of_the_calls_own_day_count(store: Path, raw: sqlite3.Connection) -> None:
    """A call keeps the price of its day, so a price that fell later changes nothing."""
    call("p")
    raw.execute("UPDATE invocations SET created_at = '2025-06-01T00:00:00.000Z'")
    facts = {"model": "gpt-4o", "provider": "openai", "usage": USAGE}
    promptry.note_money(facts, "2025-06-01T00:00:00.000Z")
    reprice(apply=True)
    assert promptry.get_call("1")["metadata"]["cost_usd"] == facts["cost_usd"]


def test_many_calls_are_repriced_in_parts(store: Path, raw: sqlite3.Connection, tmp_path: Path) -> None:
    raw.execute(
        """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1700) INSERT INTO invocations
        (prompt_name, metadata) SELECT 'p', json_object('model', 'gpt-99', 'tokens_in', i, 'tokens_out', 1) FROM n"""
    )
    set_rate(tmp_path, input=1, output=1)
    found = reprice(apply=True)
    assert found["changed"] == 1700
    assert found["items"][0]["after_usd"] == pytest.approx(math.fsum((i + 1) / 1e6 for i in range(1, 1701)))
    assert reprice()["changed"] == 0


# --- imported tables


def test_an_imported_table_goes_before_the_one_stamped_in(store: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "litellm.json"
    row = {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
    file.write_text(json.dumps({"sample_spec": {}, "gpt-99": row, "gpt-4o": row}))
    call("p", "gpt-99")
    assert promptry.run_command(["prices", "import", str(file)]) == 0
    today = promptry.now_text()[:10]
    first = f"The prices of 2 models from litellm.json of {today} go before those that promptry carries."
    assert capsys.readouterr().out == f"{first}\n"
    call("p", "gpt-99")
    call("p")
    costs = [promptry.get_call(id)["metadata"].get("cost_usd") for id in "123"]
    assert costs == [None, pytest.approx(0.0012), pytest.approx(0.0012)]
    assert "litellm.json" in promptry.get_call("2")["metadata"]["rate_source"]
    assert promptry.list_datasets()["total"] == 0, "what is promptry's own is no dataset of yours"
    assert promptry.run_command(["prices", "reprice", "--apply"]) == 0
    assert promptry.get_call("1")["metadata"]["cost_usd"] == pytest.approx(0.0012)


def test_a_table_imported_again_after_another_is_in_force_again(store: Path, tmp_path: Path) -> None:
    def rate(usd: float) -> Any:
        file = tmp_path / f"{usd}.json"
        row = {"litellm_provider": "openai", "input_cost_per_token": usd, "output_cost_per_token": 1}
        file.write_text(json.dumps({"gpt-99": row}))
        promptry.import_prices(file)
        id = track_invocation("p", {"tokens_in": 1, "tokens_out": 0}, model="gpt-99", provider="openai")
        return promptry.get_call(str(id))["metadata"].get("cost_usd")

    assert [rate(usd) for usd in (0.25, 0.5, 0.25, 0.25, 0.5)] == [0.25, 0.5, 0.25, 0.25, 0.5]


def test_an_import_says_what_it_replaces(store: Path, tmp_path: Path, capsys: Any, raw: sqlite3.Connection) -> None:
    def take(name: str, *models: str) -> str:
        row = {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
        (tmp_path / name).write_text(json.dumps(dict.fromkeys(models, row)))
        assert promptry.run_command(["prices", "import", str(tmp_path / name)]) == 0
        return str(capsys.readouterr().out.partition("promptry carries.")[2])

    today = promptry.now_text()[:10]
    assert take("lite.json", "a", "b") == "\n"
    assert take("lite.json", "a", "b") == "\n", "the same table again replaces nothing"
    assert take("one.json", "c") == f" They replace 2 models of lite.json of {today}.\n"
    assert promptry.list_prices("a", "openai")["items"][0]["source"].startswith("genai-prices"), "a is gone"
    assert take("lite.json", "a", "b") == f" They replace 1 model of one.json of {today}.\n"
    assert promptry.import_prices(tmp_path / "one.json")["replaced"] == {
        "source": f"lite.json of {today}",
        "models": 2,
    }


def test_the_help_says_that_one_import_replaces_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["prices", "import", "--help"]) == 0
    assert "One import replaces the one before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"), [("{", "no price table"), ("[]", "no price table"), ('{"a": 1}', "no price table")]
)
def test_a_file_that_is_no_table_is_refused(store: Path, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(promptry.WrongUse, match=words):
        promptry.import_prices(file)
    with pytest.raises(promptry.WrongUse, match="absent.json"):
        promptry.import_prices(tmp_path / "absent.json")


def moved(raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, now: str) -> None:
    """Stop the clock at a UTC time, and write calls around it."""
    monkeypatch.setattr(promptry, "now_text", lambda: now)
    for name, day, cost in (
        ("a", "2026-11-28", 1.0),
        ("a", "2026-11-30", 2.0),
        ("a", "2026-12-01", 0.25),
        ("b", "2026-12-01", None),
        ("b", "2026-11-29", 0.5),
        ("a", "2026-12-31", 64.0),
        ("a", "2027-01-01", 128.0),
    ):
        facts = None if cost is None else json.dumps({"cost_usd": cost})
        raw.execute(
            "INSERT INTO invocations (prompt_name, metadata, created_at) VALUES (?, ?, ?)",
            (name, facts, f"{day}T00:00:00.000Z"),
        )


def test_what_each_cost_on_each_day_is_told_with_its_gaps(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved(raw, monkeypatch, "2026-12-01T12:00:00.000Z")
    found = list_costs(days=4, daily=True)
    assert found["dates"] == ["2026-11-28", "2026-11-29", "2026-11-30", "2026-12-01"]
    assert {row["prompt"]: row["days"] for row in found["items"]} == {
        "a": [1.0, 0.0, 2.0, 0.25],
        "b": [0.0, 0.5, 0.0, None],
    }, "no call costs nothing; what a call cost may be unknown"
    (version,) = list_costs(days=1, daily=True, by="version", prompt="a")["items"]
    assert version["days"] == [0.25] and "dates" not in list_costs(days=4)
    assert promptry.run_command(["cost", "--daily", "--days", "4"]) == 0
    assert "11-28" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [{"days": 401}, {"by": "bucket"}])
def test_too_many_days_and_buckets_are_not_told_by_day(store: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(promptry.WrongUse, match="are not told day by day"):
        list_costs(daily=True, **asked)


@pytest.mark.parametrize("days", [1, 2, 60])
def test_the_forecast_is_of_all_calls_of_the_month_whatever_is_asked(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """By noon of 4 December 3.5 of 31 days are gone: 64.25 USD are 64.25 / 3.5 * 31 in the end."""
    moved(raw, monkeypatch, "2026-12-04T12:00:00.000Z")
    found = list_costs(days=days, prompt="b", origin="judge")["forecast"]
    assert (found["spent_usd"], found["since"], found["until"]) == (64.25, "2026-12-01", "2027-01-01")
    assert found["forecast_usd"] == pytest.approx(64.25 / 3.5 * 31)
    assert found["function"] == "forecast_of"
    assert promptry.forecast_of(**found["inputs"]) == found["forecast_usd"]


def test_in_the_first_hours_of_a_month_there_is_no_forecast(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(raw, monkeypatch, "2026-12-01T07:00:00.000Z")
    assert list_costs()["forecast"]["forecast_usd"] is None
