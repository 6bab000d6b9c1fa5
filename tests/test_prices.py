"""PRICES: equal to the library whose rates are stamped in, strict where nobody knows a model, and ours goes first."""

from __future__ import annotations

import contextlib
import datetime
import itertools
from pathlib import Path
from typing import Any

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
            elif ours != theirs:
                differences.append((provider, model, at, context, buckets, ours, theirs))
    print(f"\n{compared} prices compared, {len(differences)} differ, {unpriced} have no rate for what was used")
    assert not differences, differences[:5]
    assert compared > 15_000 and unpriced < compared / 5
