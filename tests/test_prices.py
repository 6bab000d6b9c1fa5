"""PRICES: equal to the library whose rates are stamped in, strict where nobody knows a model, and ours goes first."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import re
import sqlite3
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import promptry

ROOT = Path(__file__).resolve().parent.parent
TIMES = ["2025-01-15T12:00:00.000Z", "2026-10-13T03:00:00.000Z", "2026-11-23T20:00:00.000Z", "2027-02-01T00:15:00.000Z"]
CONTEXTS: list[dict[str, str]] = [{}, {"service_tier": "priority"}, {"service_tier": "flex"}, {"service_tier": "batch"}]
# What genai-prices calls the tokens of our buckets: each bucket counts in every total that holds it.
TOTALS = {
    "input_uncached": ["input_tokens"],
    "cache_read": ["input_tokens", "cache_read_tokens"],
    "cache_write_5m": ["input_tokens", "cache_write_tokens", "cache_write_5m_tokens"],
    "cache_write_1h": ["input_tokens", "cache_write_tokens", "cache_write_1h_tokens"],
    "input_audio": ["input_tokens", "input_audio_tokens"],
    "output_visible": ["output_tokens"],
    "reasoning": ["output_tokens", "output_reasoning_tokens"],
    "output_audio": ["output_tokens", "output_audio_tokens"],
    "web_searches": ["web_searches"],
}
BUCKETS: list[dict[str, int]] = [
    {"input_uncached": 1000, "output_visible": 100},
    {"input_uncached": 7, "cache_read": 1001, "output_visible": 13, "reasoning": 999},
    {"input_uncached": 150_001, "cache_read": 60_000, "output_visible": 5},
    {"input_uncached": 300_000, "cache_write_5m": 33, "cache_write_1h": 44, "output_visible": 1},
    {"input_uncached": 200_000, "output_visible": 2},
    {"input_uncached": 11, "input_audio": 17, "output_visible": 3, "output_audio": 19, "web_searches": 2},
]


def price_by_library(buckets: dict[str, int], model: str, provider: str, at: str, context: dict[str, str]) -> Any:
    import genai_prices

    counts: dict[str, int] = {}
    for bucket, name in itertools.chain.from_iterable(((b, name) for name in TOTALS[b]) for b in buckets):
        counts[name] = counts.get(name, 0) + buckets[bucket]
    batch = {"processing": "batch"} if context.get("service_tier") == "batch" else {}
    moment = datetime.datetime.fromisoformat(at)
    with contextlib.suppress(LookupError):
        return genai_prices.calc_price(
            genai_prices.Usage(**counts),
            model,
            provider_id=provider,
            genai_request_timestamp=moment,
            price_context={**context, **batch},
        ).total_price
    return None


def price_by_us(buckets: dict[str, int], model: str, provider: str | None, at: str, context: dict[str, str]) -> Any:
    card = promptry.find_card({"model": model, "provider": provider, **context}, at)
    tokens_in = sum(count for bucket, count in buckets.items() if promptry.usage_side(bucket) == "input")
    found = card and promptry.price_of(tokens_in, buckets, card)
    return found and found.cost_usd


def names_in(rule: Any) -> list[str]:
    """Return the texts that stand in a rule of the library's: each is, or is near, a name of its model."""
    parts = getattr(rule, "or_", None) or getattr(rule, "and_", None)
    if parts:
        return [name for part in parts for name in names_in(part)]
    return [text for kind, text in vars(rule).items() if kind != "regex"]


def known_models() -> list[tuple[str, str]]:
    """Return (provider, name) for every model of the library, under its id and up to three other names."""
    from genai_prices import data

    found = []
    for provider in data.providers:
        for model in provider.models:
            names = dict.fromkeys([model.id, *names_in(model.match)])
            found += [(provider.id, name) for name in itertools.islice(names, 4)]
    return found


@pytest.mark.slow
def test_every_model_costs_what_the_library_says(store: Path) -> None:
    """Each model at times, tiers and buckets that take turns, so that every pair of them comes up over the table."""
    differences, compared, unpriced = [], 0, 0
    rounds = itertools.cycle(itertools.product(BUCKETS, TIMES, CONTEXTS))
    for provider, model in known_models():
        for buckets, at, context in itertools.islice(rounds, 7):
            theirs = price_by_library(buckets, model, provider, at, context)
            ours = price_by_us(buckets, model, provider, at, context)
            compared += 1
            if theirs is None or ours is None:
                unpriced += 1
                if theirs is None:
                    assert ours is None, f"{provider} {model} is unknown to the library"
                    continue
                card = promptry.find_card({"model": model, "provider": provider, **context}, at)
                assert card is not None and not {"input", "output"} <= card.steps[0][1].keys(), (provider, model)
            elif ours != float(theirs):
                differences.append((provider, model, at, context, buckets, ours, theirs))
    print(f"\n{compared} prices compared, {len(differences)} differ, {unpriced} have no rate for what was used")
    assert not differences, differences[:5]
    assert compared > 15_000 and unpriced < compared / 5


# --- what is charged


TODAY = "2026-11-23T12:00:00.000Z"
MILLION = {"prompt_tokens": 1_000_000, "completion_tokens": 0}


def set_pricing(folder: Path, text: str) -> None:
    (folder / "promptry.toml").write_text(text, encoding="utf-8")
    promptry.forget_settings()


def rate_of(model: str, provider: str | None = "openai", at: str = TODAY, tokens_in: int = 1, **facts: Any) -> Any:
    """Return what a million tokens of input cost, or None."""
    card = promptry.find_card({"model": model, "provider": provider, **facts}, at)
    found = card and promptry.price_of(tokens_in, {"input_uncached": 1_000_000}, card)
    return found and found.cost_usd


def track(model: str, usage: dict[str, Any], provider: str | None = "openai", **facts: Any) -> dict[str, Any]:
    """Record a call and return what the store says of it."""
    key = promptry.track_invocation("p", facts, model=model, provider=provider, usage=usage)
    metadata: dict[str, Any] = promptry.get_call(str(key))["metadata"]
    return metadata


def models_where(wanted: Callable[[str, Any, list[Any]], bool]) -> list[tuple[str, str, list[Any], list[Any]]]:
    """Return (provider, name, prices, variants) of the models stamped in that are known by that very name."""
    table = json.loads((ROOT / "assets" / "prices.json").read_text(encoding="utf-8"))["providers"]
    found = []
    for provider, entry in table.items():
        for name, rule, prices, variants in entry["models"]:
            if f"={name}" in (rule, *rule) and wanted(provider, prices, variants):
                found.append((provider, name, prices, variants))
    return found


def test_what_promptry_toml_says_goes_first_and_most_of_all_for_the_provider(store: Path, tmp_path: Path) -> None:
    text = """
        [pricing."gpt-4o"]
        input = 7
        output = 8
        [pricing."azure:gpt-4o"]
        input = 9
        output = 9
        [pricing."my-azure-deployment"]
        input = 1
        output = 2
    """
    set_pricing(tmp_path, text)
    assert [rate_of("gpt-4o", provider) for provider in ("openai", "azure", None, "nobody")] == [7, 9, 7, 7]
    assert rate_of("my-azure-deployment", "azure") == 1
    assert rate_of("gpt-4o-mini") == 0.15, "a model that it does not name is not touched"
    assert rate_of("gpt-4o", served_model="gpt-4o-2024-08-06") == 7, "the name that was asked for counts too"
    row = track("gpt-4o", {"prompt_tokens": 100, "completion_tokens": 10})
    assert row["rate_source"] == "promptry.toml" and row["cost_usd"] == pytest.approx((100 * 7 + 10 * 8) / 1e6)
    set_pricing(tmp_path, "")
    assert rate_of("gpt-4o") == 2.5, "rates that are set no longer are forgotten"


def test_own_rates_without_one_for_what_was_used_leave_the_cost_unknown(store: Path, tmp_path: Path) -> None:
    set_pricing(tmp_path, '[pricing."gpt-4o"]\ninput = 7\n')
    assert track("gpt-4o", {"prompt_tokens": 5, "completion_tokens": 0})["cost_usd"] == pytest.approx(35e-6)
    row = track("gpt-4o", {"prompt_tokens": 5, "completion_tokens": 1})
    assert row["cost_source"] == "unpriced" and "cost_usd" not in row


UNKNOWN = [
    ("gpt-99", "openai"),
    ("gpt-99", None),
    ("gpt-4o-2099-01-01", "openai"),
    ("gpt-4o-2099-01-01", None),
    ("claude-sonnet-4-9", "anthropic"),
    ("claude-sonnet-4-9", None),
    ("ft:gpt-4o-mini:x", "openai"),
    ("ft:gpt-4o-mini:x", None),
    ("my-azure-deployment", "azure"),
    ("gpt", "openai"),
    ("gpt-4o-", "openai"),
    ("gpt-4o-min", "openai"),
    ("xgpt-4o", "openai"),
    ("claude", "anthropic"),
    ("gpt-4o", "anthropic"),
    ("gpt-4o", "nobody"),
    (" ", None),
]


@pytest.mark.parametrize(("model", "provider"), UNKNOWN)
def test_a_model_that_nobody_names_has_no_cost(store: Path, raw: Any, model: str, provider: str | None) -> None:
    row = track(model, {"prompt_tokens": 100, "completion_tokens": 10}, provider)
    assert row["cost_source"] == "unpriced" and not {"cost_usd", "rates", "rate_source"} & row.keys()
    (found,) = raw.execute(
        "SELECT json_extract(metadata, '$.cost_usd'), json_extract(metadata, '$.tokens_in') AS i FROM invocations"
    )
    assert found == (None, 100)


@pytest.mark.parametrize("model", ["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "gpt-4o-20240806"])
def test_a_model_is_known_by_its_exact_names(store: Path, model: str) -> None:
    assert rate_of(model) == 2.5


# --- tiers, dates, hours, variants


def test_a_tier_is_a_cliff_just_above_its_border(store: Path) -> None:
    """At the border the whole call costs the lower rate; one token more, and each of its tokens costs the higher."""
    found = models_where(lambda _, prices, __: len(prices) == 1 and isinstance(prices[0][1].get("input"), list))
    assert len(found) > 50
    for provider, name, prices, _ in found:
        base, *tiers = prices[0][1]["input"]
        for border, rate in tiers:
            assert rate_of(name, provider, tokens_in=border) == pytest.approx(base), (provider, name)
            assert rate_of(name, provider, tokens_in=border + 1) == pytest.approx(rate), (provider, name)
            base = rate


def test_the_whole_input_with_what_the_cache_held_chooses_the_tier(store: Path) -> None:
    usage = {"input_tokens": 100_000, "cache_read_input_tokens": 100_000, "output_tokens": 10}
    below = track("claude-sonnet-4-5", usage, "anthropic")
    above = track("claude-sonnet-4-5", {**usage, "input_tokens": 100_001}, "anthropic")
    assert below["cost_usd"] == pytest.approx((100_000 * 3 + 100_000 * 0.3 + 10 * 15) / 1e6)
    assert above["cost_usd"] == pytest.approx((100_001 * 6 + 100_000 * 0.6 + 10 * 22.5) / 1e6)
    assert above["rates"] == {"input_uncached": 6, "cache_read": 0.6, "output_visible": 22.5}


def test_a_price_holds_from_its_day_on(store: Path) -> None:
    assert rate_of("o3", at="2025-06-09T23:59:59.999Z") == 10
    assert rate_of("o3", at="2025-06-10T00:00:00.000Z") == 2
    day = [
        rate_of("claude-opus-4-6", "anthropic", at, 300_000) for at in ("2026-03-12T23:00:00Z", "2026-03-13T00:00:00Z")
    ]
    assert day == [10, 5], "the tier went on that day"


def test_the_hour_decides_where_a_model_has_hours(store: Path) -> None:
    hours = {"00:29": 0.135, "00:30": 0.27, "16:29": 0.27, "16:30": 0.135, "23:59": 0.135, "00:00": 0.135}
    found = {hour: rate_of("deepseek-chat", "deepseek", f"2026-11-23T{hour}:00.000Z") for hour in hours}
    assert found == hours


VARIANTS = [
    ("gpt-5", {}, 1.25),
    ("gpt-5", {"service_tier": "default"}, 1.25),
    ("gpt-5", {"service_tier": "auto"}, 1.25),
    ("gpt-5", {"service_tier": "flex"}, 0.625),
    ("gpt-5", {"service_tier": "priority"}, 2.5),
    ("gpt-5", {"service_tier": "batch"}, 0.625),
    ("gpt-5", {"usage": {"service_tier": "priority"}}, 2.5),
    ("gpt-4o", {"service_tier": "batch"}, 1.25),
]


@pytest.mark.parametrize(("model", "facts", "rate"), VARIANTS)
def test_batch_flex_and_priority_have_rates_of_their_own(store: Path, model: str, facts: Any, rate: float) -> None:
    assert rate_of(model, **facts) == rate


def test_a_variant_costs_what_its_model_does_before_its_day_and_where_it_says_nothing(store: Path) -> None:
    assert rate_of("gpt-5", at="2026-10-11T12:00:00.000Z", service_tier="flex") == 1.25
    card = promptry.find_card({"model": "gpt-5", "provider": "openai", "service_tier": "priority"}, TODAY)
    assert card is not None and card.steps[0][1]["web_searches"] == 10


def test_each_variant_stamped_in_is_charged(store: Path) -> None:
    found = models_where(lambda _, __, variants: any("service_tier" in variant[0] for variant in variants))
    assert len(found) > 10
    for provider, name, _, variants in found:
        for when, day, rates in variants:
            if "service_tier" in when and not isinstance(rates.get("input", []), list) and (day or "") <= TODAY:
                assert rate_of(name, provider, **when) == pytest.approx(rates["input"]), (provider, name, when)


# --- what a row says


USAGES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("openai", "gpt-4o", {"prompt_tokens": 1000, "completion_tokens": 100}, {}),
    (
        "openai",
        "gpt-5",
        {"prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 3}},
        {},
    ),
    (
        "openai",
        "gpt-5",
        {"prompt_tokens": 900, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 512}},
        {},
    ),
    ("openai", "gpt-5", {"prompt_tokens": 900, "completion_tokens": 7}, {"service_tier": "priority"}),
    (
        "anthropic",
        "claude-sonnet-4-5",
        {
            "input_tokens": 5,
            "cache_creation_input_tokens": 300_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 100_000, "ephemeral_1h_input_tokens": 200_000},
            "cache_read_input_tokens": 77,
            "output_tokens": 11,
            "server_tool_use": {"web_search_requests": 3},
        },
        {},
    ),
]


@pytest.mark.parametrize(("provider", "model", "usage", "facts"), USAGES)
def test_a_row_explains_its_cost(store: Path, provider: str, model: str, usage: Any, facts: Any) -> None:
    row = track(model, usage, provider, **facts)
    sizes = promptry.unit_sizes()
    parts = [count * row["rates"][bucket] / sizes.get(bucket, 1e6) for bucket, count in row["buckets"].items()]
    assert row["cost_source"] == "computed" and row["buckets"].keys() == row["rates"].keys()
    assert row["cost_usd"] == pytest.approx(sum(parts), rel=1e-12) and row["cost_usd"] > 0
    assert row["rate_source"].startswith("genai-prices ") and row["rate_source"].endswith(f" {provider}/{model}")


# --- imported tables


LITELLM: dict[str, Any] = {
    "sample_spec": {
        "litellm_provider": "one of https://docs.litellm.ai",
        "input_cost_per_token": 0.0,
        "max_tokens": "x",
    },
    "gpt-99": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_tokens": 1000,
        "supports_vision": True,
        "search_context_cost_per_query": {"search_context_size_low": 0.03},
        "input_cost_per_token": 1e-06,
        "input_cost_per_token_flex": 5e-07,
        "input_cost_per_token_priority": 2e-06,
        "input_cost_per_token_batches": 2.5e-07,
        "output_cost_per_token": 2e-06,
        "output_cost_per_token_batches": 1e-06,
        "cache_read_input_token_cost": 1e-07,
    },
    "anthropic/claude-99": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 3e-06,
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "output_cost_per_token": 1.5e-05,
        "output_cost_per_token_above_200k_tokens": 2.25e-05,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
        "cache_read_input_token_cost": 3e-07,
    },
    "gemini/gemini-99": {
        "litellm_provider": "gemini",
        "input_cost_per_token": 1e-06,
        "input_cost_per_token_above_128k_tokens": 2e-06,
        "input_cost_per_token_above_512k_tokens": 4e-06,
        "output_cost_per_token": 2e-06,
    },
    "dall-e-99": {"litellm_provider": "openai", "input_cost_per_pixel": 1e-08, "output_cost_per_pixel": 0.0},
    "free": {"litellm_provider": "ours", "input_cost_per_token": 0, "output_cost_per_token": 0},
}
GENAI: list[dict[str, Any]] = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": r"https://api\\.openai\\.com",
        "pricing_urls": ["https://platform.openai.com/docs/pricing"],
        "model_match": {"or": [{"starts_with": "gpt-"}, {"regex": "^o[134]"}]},
        "provider_match": {"contains": "openai"},
        "extractors": [{"root": "usage", "mappings": []}],
        "models": [
            {
                "id": "gpt-99",
                "name": "gpt 99",
                "match": {
                    "or": [{"equals": "gpt-99"}, {"and": [{"starts_with": "gpt-99-"}, {"ends_with": "-Latest"}]}]
                },
                "context_window": 128000,
                "prices": [
                    {"prices": {"input_mtok": 4, "output_mtok": 8}},
                    {
                        "constraint": {"start_date": "2026-06-01"},
                        "prices": {
                            "input_mtok": {"base": 1.5, "tiers": [{"start": 1000, "price": 3}]},
                            "cache_read_mtok": 0.1,
                            "output_mtok": 6,
                            "requests_kcount": 5,
                        },
                    },
                ],
                "price_variants": [
                    {
                        "when": {"service_tier": "flex"},
                        "constraint": {"start_time": "22:00:00Z", "end_time": "04:00:00Z"},
                        "prices": {"input_mtok": 0.5},
                    }
                ],
            }
        ],
    }
]


def import_raw(raw: Any, source: str = "test") -> int:
    """Save a price table as `promptry prices import` does, but let no process know."""
    table = promptry.compact_prices(json.loads(json.dumps(raw), parse_float=Decimal), source)
    return promptry.write_dataset(promptry.IMPORTED, [promptry.plain_json(table)])


@pytest.fixture
def litellm(store: Path) -> None:
    import_raw(LITELLM)
    promptry.forget_imported_prices()


NAMES = [
    ("gpt-99", "openai", 1),
    ("openai/gpt-99", "openai", None),
    ("openai/gpt-99", "litellm", 1),
    ("GPT-99", "openai", 1),
    ("gpt-99", None, 1),
    ("gpt-99-mini", "openai", None),
    ("claude-99", "anthropic", 3),
    ("anthropic/claude-99", "anthropic", 3),
    ("claude-99", None, 3),
    ("gemini-99", "google", 1),
    ("gemini/gemini-99", "google", 1),
    ("free", "ours", 0),
    ("sample_spec", "openai", None),
    ("dall-e-99", "openai", None),
    ("gpt-4o", "openai", 2.5),
]


@pytest.mark.parametrize(("model", "provider", "rate"), NAMES)
def test_an_imported_name_is_known_with_and_without_its_provider(
    litellm: None, model: str, provider: str | None, rate: float | None
) -> None:
    assert rate_of(model, provider) == rate


def test_what_a_cache_saves_is_exact_though_only_the_rate_that_was_not_used_has_the_digits() -> None:
    rates = {"input": Decimal("0.125"), "cache_read": Decimal("0.1")}
    found = promptry.price_of(1, {"cache_read": 1_000_000}, promptry.RateCard("test", ((-1, rates),), {}))
    assert found is not None and (found.cost_usd, found.saved_usd) == (0.1, 0.025)


def test_an_imported_table_has_tiers_and_cache_rates(litellm: None) -> None:
    rates = [rate_of("gemini-99", "google", tokens_in=count) for count in (128_000, 128_001, 512_000, 512_001)]
    assert rates == [1, 2, 2, 4]
    card = promptry.find_card({"model": "claude-99", "provider": "anthropic"}, TODAY)
    assert card is not None
    buckets = {"cache_write_5m": 1, "cache_write_1h": 1, "cache_read": 1, "output_visible": 1}
    found = [promptry.price_of(count, buckets, card) for count in (200_000, 200_001)]
    assert [price and price.rates for price in found] == [
        {"cache_write_5m": 3.75, "cache_write_1h": 6, "cache_read": 0.3, "output_visible": 15},
        {"cache_write_5m": 3.75, "cache_write_1h": 12, "cache_read": 0.3, "output_visible": 22.5},
    ]


def test_an_imported_table_has_the_rates_of_batch_flex_and_priority(litellm: None) -> None:
    tiers = (None, "flex", "priority", "batch")
    assert [rate_of("gpt-99", service_tier=tier) for tier in tiers] == [1, 0.5, 2, 0.25]


def test_a_call_says_which_imported_table_it_was_charged_by(litellm: None) -> None:
    row = track("gpt-99", {"prompt_tokens": 10, "completion_tokens": 5})
    assert row["cost_usd"] == pytest.approx(20e-6) and row["rate_source"] == "test openai/gpt-99"


@pytest.mark.parametrize("raw", [GENAI, {"providers": GENAI}])
def test_the_table_of_genai_prices_can_be_imported_as_it_is(store: Path, raw: Any) -> None:
    import_raw(raw)
    promptry.forget_imported_prices()
    old, border = (
        rate_of("gpt-99", at="2026-05-31T23:00:00.000Z"),
        [rate_of("gpt-99", tokens_in=n) for n in (1000, 1001)],
    )
    assert (old, border) == (4, [1.505, 3.005]), "and five dollars per thousand requests"
    assert rate_of("gpt-99-x-latest") == 1.505 and rate_of("gpt-99-x") is None
    assert rate_of("gpt-99", None) == 1.505 and rate_of("gpt-99", "my-openai-proxy") == 1.505
    row = track("gpt-99", {"prompt_tokens": 10, "completion_tokens": 5})
    assert row["cost_usd"] == pytest.approx((10 * 1.5 + 5 * 6) / 1e6 + 0.005)


@pytest.mark.parametrize("first", ["12:00", "23:00"])
def test_the_hour_decides_for_a_variant_too(store: Path, first: str) -> None:
    """What was found at one hour is not kept for the day."""
    import_raw(GENAI)
    promptry.forget_imported_prices()
    wanted = {"12:00": 1.505, "21:59": 1.505, "22:00": 0.505, "23:00": 0.505, "03:59": 0.505, "04:00": 1.505}
    for hour in (first, *wanted):
        assert rate_of("gpt-99", at=f"2026-11-23T{hour}:00.000Z", service_tier="flex") == wanted[hour], hour


def test_a_running_process_takes_an_imported_table_up_after_a_minute(
    store: Path, clock: Callable[[float], None]
) -> None:
    assert rate_of("gpt-99") is None and rate_of("gpt-4o") == 2.5
    row = {"litellm_provider": "openai", "input_cost_per_token": 1e-06}
    import_raw({"gpt-99": row, "gpt-4o": row})
    assert rate_of("gpt-99") is None and rate_of("gpt-4o") == 2.5
    clock(61)
    assert rate_of("gpt-99") == 1 and rate_of("gpt-4o") == 1
    import_raw({"gpt-99": {**row, "input_cost_per_token": 2e-06}})
    clock(61)
    assert rate_of("gpt-99") == 2 and rate_of("gpt-4o") == 2.5, "the newest table alone counts"


def test_a_table_that_is_gone_counts_no_more(
    store: Path, raw: sqlite3.Connection, clock: Callable[[float], None]
) -> None:
    import_raw({"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1e-06}})
    clock(61)
    assert rate_of("gpt-4o") == 1
    raw.execute("DELETE FROM datasets")
    clock(61)
    assert rate_of("gpt-4o") == 2.5


MODEL = GENAI[0]["models"][0]
GARBAGE: list[Any] = [
    *([], {}, None, 5, "x", [1], [[]], {"a": 1}, {"a": {"litellm_provider": "openai"}}),
    {"a": {"litellm_provider": 5, "input_cost_per_token": 1}},
    {"a": {"litellm_provider": "openai", "input_cost_per_token": None}},
    {"sample_spec": {"litellm_provider": "openai", "input_cost_per_token": 1}},
    {"providers": []},
    {"providers": [{"models": []}]},
    {"providers": [{"id": "openai", "models": []}]},
    {"providers": [{"id": "openai", "models": 5}]},
    {"providers": [{"id": ["openai"], "models": [MODEL]}]},
    *(
        {"providers": [{"id": "openai", "models": [{**MODEL, **wrong}]}]}
        for wrong in (
            {"match": {"sounds_like": "gpt"}},
            {"match": {"regex": "("}},
            {"match": {"and": [{"equals": "x"}, {"regex": "("}]}},
            {"match": {"equals": 5}},
            {"match": "gpt-99"},
            {"prices": []},
            {"prices": None},
            {"prices": {"input_mtok": {"base": 1}}},
            {"prices": {"input_mtok": {"base": 1, "tiers": [{"start": "x", "price": 1}]}}},
            {"prices": [{"constraint": {"moon": "full"}, "prices": {"input_mtok": 1}}]},
            {"price_variants": [{"prices": {"input_mtok": 1}}]},
        )
    ),
    {"providers": [{"id": "x", "models": [{**MODEL, "price_variants": [{"when": 5, "prices": {"input_mtok": 1}}]}]}]},
]


@pytest.mark.parametrize("raw", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_price_table_is_refused_in_one_sentence(store: Path, tmp_path: Path, raw: Any) -> None:
    with pytest.raises(promptry.WrongUse) as refusal:
        promptry.compact_prices(raw, "prices.json")
    assert str(refusal.value).startswith("prices.json is no price table. Give LiteLLM's ")
    assert "\n" not in str(refusal.value)
    (tmp_path / "prices.json").write_text(json.dumps(raw))
    with pytest.raises(promptry.WrongUse, match="no price table"):
        promptry.import_prices(tmp_path / "prices.json")
    assert rate_of("gpt-4o") == 2.5


NO_RATES = [-1e-6, -5, 1e300, 1_000_001, float("nan"), float("inf"), -float("inf"), "free", "1", True, False, [1], {}]
PER_TOKEN, PER_UNIT = "takes US dollars per token, 0 to 1:", "takes US dollars, 0 to 1000000:"


def with_rate(rate: Any) -> dict[str, tuple[Any, str]]:
    """Return price tables with one rate that is none, each with the key under which it stands."""
    paid = {"litellm_provider": "openai", "input_cost_per_token": 1e-06}
    keys = ["input_cost_per_token", "output_cost_per_token", "cache_creation_input_token_cost_above_1hr"]
    keys += ["input_cost_per_token_above_200k_tokens", "input_cost_per_token_flex"]
    keys += ["output_cost_per_audio_token_above_128k_tokens_priority"]
    found: dict[str, tuple[Any, str]] = {
        key: ({"gpt-4o": paid, "gpt-99": {**paid, key: rate}}, f"{key} of gpt-99") for key in keys
    }
    variants = [{"when": {"service_tier": "flex"}, "prices": {"output_mtok": rate}}]
    told: dict[str, tuple[str, Any]] = {
        "a rate": ("input_mtok", {"prices": {"input_mtok": rate}}),
        "a tier": ("input_mtok", {"prices": {"input_mtok": {"base": 1, "tiers": [{"start": 9, "price": rate}]}}}),
        "a base": ("input_mtok", {"prices": {"input_mtok": {"base": rate, "tiers": []}}}),
        "a price per thousand": ("requests_kcount", {"prices": {"requests_kcount": rate}}),
        "a price of a day": ("output_mtok", {"prices": [{"prices": {"input_mtok": 1, "output_mtok": rate}}]}),
        "a variant": ("output_mtok", {"price_variants": variants}),
    }
    for name, (key, wrong) in told.items():
        if not isinstance(rate, dict) or name in {"a tier", "a base"}:  # a dict is a price with tiers
            found[name] = ([{"id": "openai", "models": [MODEL, {**MODEL, **wrong}]}], f"{key} of gpt-99")
    return found


@pytest.mark.parametrize("rate", NO_RATES, ids=repr)
def test_a_rate_that_cannot_be_meant_keeps_a_whole_table_out(
    store: Path, tmp_path: Path, rate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limits are those of [pricing] in promptry.toml."""
    file = tmp_path / "prices.json"
    for name, (raw, place) in with_rate(rate).items():
        file.write_text(json.dumps(raw))
        assert promptry.run_command(["prices", "import", str(file)]) == 2, name
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1 and f": {place} is " in said.err, name
        assert said.err.endswith(f"it {PER_TOKEN if 'cost' in name else PER_UNIT} nothing is imported.\n"), name
    assert promptry.fetch("SELECT * FROM datasets") == [] and rate_of("gpt-4o") == 2.5


def test_the_value_of_a_wrong_rate_is_said_as_the_file_has_it(store: Path, tmp_path: Path) -> None:
    for rate, shown in {
        "-1e-6": "-0.000001",
        "1e300": "1E+300",
        "NaN": "nan",
        '"free"': "'free'",
        "true": "True",
    }.items():
        file = tmp_path / "lite.json"
        file.write_text(f'{{"gpt-99": {{"litellm_provider": "openai", "input_cost_per_token": {rate}}}}}')
        with pytest.raises(
            promptry.WrongUse, match=re.escape(f": input_cost_per_token of gpt-99 is {shown}; it takes")
        ):
            promptry.import_prices(file)


def test_the_least_and_the_greatest_rate_are_taken(store: Path) -> None:
    import_raw({"a": {"litellm_provider": "o", "input_cost_per_token": 1, "output_cost_per_token": 0}})
    promptry.forget_imported_prices()
    assert rate_of("a", "o") == promptry.MAX_RATE_USD


# Ids of LiteLLM's own table that no rule of genai-prices knows the provider of, each with its provider and rate.
IDS = {
    "bedrock/eu.claude-x": ("bedrock", 1),
    "anthropic.claude-y-v1:0": ("bedrock", 2),
    "together_ai/llama-x": ("together_ai", 3),
    "xai/gx": ("xai", 4),
    "text-embedding-zz": ("openai", 5),
    "my-local": ("custom", 6),
    "azure/text-embedding-zz": ("azure", 7),
    "gemini/gemini-x": ("gemini", 8),
    "gemini-x": ("vertex_ai-language-models", 9),
    "claude-z": ("anthropic", 10),
    "vertex_ai/Llama-X": ("vertex_ai-llama_models", 11),
}


@pytest.fixture
def exact(store: Path) -> None:
    rows = {
        name: {"litellm_provider": provider, "input_cost_per_token": rate / 1e6}
        for name, (provider, rate) in IDS.items()
    }
    import_raw(rows)
    promptry.forget_imported_prices()


@pytest.mark.slow
@pytest.mark.parametrize("provider", [None, "litellm", "LiteLLM"])
@pytest.mark.parametrize("model", IDS)
def test_each_id_of_litellms_own_table_is_priced_by_its_row(exact: None, model: str, provider: str | None) -> None:
    row = track(model, {"prompt_tokens": 1_000_000, "completion_tokens": 0}, provider)
    assert row.get("cost_usd") == IDS[model][1] and row["rate_source"].endswith(f"/{model}")
    assert rate_of(model.upper(), provider) == IDS[model][1]


STRICT = [
    ("eu.claude-x", None, None),
    ("eu.claude-x", "bedrock", 1),
    ("amazon/eu.claude-x", None, 1),
    ("x-ai/gx", None, 4),
    ("x-ai/gx", "litellm", 4),
    ("gx", None, None),
    ("gx", "xai", 4),
    ("xai/g", None, None),
    ("xai/gx-mini", "litellm", None),
    ("nobody/gx", "litellm", None),
    ("llama-x", None, None),
    ("together-ai/llama-x", None, 3),
    ("text-embedding", None, None),
    ("text-embedding-zz-2", None, None),
    ("text-embedding-zz", "azure", 7),
    ("my-local", "openai", None),
    ("my-local-2", None, None),
    ("custom/my-local", None, 6),
    ("anthropic/claude-z", None, 10),
    ("xai/", None, None),
    ("/gx", None, None),
]


@pytest.mark.parametrize(("model", "provider", "rate"), STRICT)
def test_nothing_but_an_exact_id_or_a_known_provider_prefix_names_an_imported_model(
    exact: None, model: str, provider: str | None, rate: float | None
) -> None:
    assert rate_of(model, provider) == rate


def test_an_id_that_two_providers_of_an_imported_table_have_names_neither(store: Path) -> None:
    def make(provider: str, model: str, rate: float) -> Any:
        return {
            "id": provider,
            "models": [{**MODEL, "id": model, "match": {"equals": model}, "prices": {"input_mtok": rate}}],
        }

    import_raw([make("one", "twice", 1), make("two", "twice", 2), make("three", "once", 3)])
    promptry.forget_imported_prices()
    assert (rate_of("twice", None), rate_of("once", None), rate_of("twice", "two")) == (None, 3, 2)


def test_the_rules_of_an_imported_table_of_genai_prices_go_before_an_id(store: Path) -> None:
    """A hub lists the models of others under their names: without a provider the maker's rate counts, as in ours."""
    hub = {
        "id": "hub",
        "models": [
            {**MODEL, "match": {"equals": "gpt-99-x-latest"}, "id": "gpt-99-x-latest", "prices": {"input_mtok": 9}}
        ],
    }
    import_raw([hub, GENAI[0]])
    promptry.forget_imported_prices()
    assert rate_of("gpt-99-x-latest", None) == 1.505 and rate_of("gpt-99-x-latest", "hub") == 9


def test_an_id_of_the_stamped_table_names_no_model_of_its_own(store: Path) -> None:
    """Without an imported table a name is what genai-prices makes of it."""
    assert rate_of("llama-3.1-8b-instant", "groq") and rate_of("llama-3.1-8b-instant", None) is None


# --- the list


def test_prices_are_listed_in_pages_that_make_up_the_whole(store: Path) -> None:
    whole, before = [], None
    while True:
        page = promptry.list_prices(provider="openai", limit=40, before=before)
        whole += page["items"]
        before = page["next"]
        assert page["total"] >= len(whole) and (before is None or len(page["items"]) == 40)
        if before is None:
            break
    assert len(whole) == page["total"] > 40
    assert whole == promptry.list_prices(provider="openai", limit=1000)["items"]
    for wrong in ({"limit": 0}, {"limit": 1001}, {"before": "x"}):
        with pytest.raises(promptry.WrongUse):
            promptry.list_prices(**wrong)


def test_prices_are_found_by_any_part_of_an_id_and_by_provider(store: Path) -> None:
    found = promptry.list_prices("sonnet-4-5", "anthropic")
    (row,) = found["items"]
    assert (row["provider"], row["model"], found["total"]) == ("anthropic", "claude-sonnet-4-5", 1)
    assert row["rates"]["input"] == 3 and row["source"].startswith("genai-prices ")
    assert [(tier["above"], tier["rates"]["input"]) for tier in row["tiers"]] == [(200_000, 6)]
    assert {row["provider"] for row in promptry.list_prices("gpt-4o", limit=1000)["items"]} >= {"openai"}
    assert promptry.list_prices("GPT-4O", limit=1000) == promptry.list_prices("gpt-4o", limit=1000)
    assert promptry.list_prices("gpt-99") == {"items": [], "total": 0, "next": None}
    assert promptry.list_prices(provider="nobody")["total"] == 0


def test_own_prices_are_listed_first_and_imported_ones_next(litellm: None, tmp_path: Path) -> None:
    set_pricing(tmp_path, '[pricing."GPT-99"]\ninput = 7\noutput = 8\n')
    rows = promptry.list_prices("gpt-99")["items"]
    assert [(row["provider"], row["source"], row["rates"]["input"]) for row in rows] == [
        (None, "promptry.toml", 7),
        ("openai", "test", 1),
    ]
    first = promptry.list_prices(limit=2)["items"]
    assert [row["source"] for row in first] == ["promptry.toml", "test"]
    assert json.loads(json.dumps(rows)) == rows, "plain JSON"


# --- the stamped table


@pytest.mark.slow
def test_the_stamped_table_is_what_build_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    import build

    monkeypatch.setattr(build, "set_up", lambda **_: sys.executable)
    assert build.prices_text() == (ROOT / "assets" / "prices.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1/", "openai"),
        ("https://api.anthropic.com", "anthropic"),
        ("https://me.openai.azure.com/openai/deployments/x", "azure"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://llm.example.com/v1", None),
        ("http://localhost:8000/v1", None),
        ("", None),
    ],
)
def test_a_provider_is_found_by_its_address(url: str, provider: str | None) -> None:
    assert promptry.find_provider_by_url(url) == provider
