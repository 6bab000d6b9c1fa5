"""USAGE: what a provider says a call used, as disjoint buckets."""

from __future__ import annotations

import promptry


def test_cached_and_reasoning_tokens_are_counted_once() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    found = promptry.read_usage(usage, "openai")
    assert found.buckets == {"input_uncached": 60, "cache_read": 40, "output_visible": 30, "reasoning": 20}
    assert (found.tokens_in, found.tokens_out, found.faults) == (100, 50, [])
