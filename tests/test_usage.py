"""USAGE: what a provider says a call used, as disjoint buckets, for every provider's way of saying it."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import promptry

CORPUS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "usage_corpus.json").read_text("utf-8"))
IDS = [entry["id"] for entry in CORPUS]
PROVIDERS = {
    *(
        "openai",
        "azure",
        "anthropic",
        "google",
        "google-vertex",
        "vertex_ai",
        "aws",
        "bedrock",
        "mistral",
        "groq",
        "deepseek",
    ),
    *("xai", "cohere", "openrouter", "litellm", "moonshotai", "perplexity", "ollama"),
}
CENTS = Fraction(1, 10**12)  # how far a stored cost may be from the one worked out by hand


@pytest.fixture
def fresh_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_told_faults", set())


def as_object(value: Any) -> Any:
    """Return JSON values as a tree of plain objects."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(item) for key, item in value.items()})
    return [as_object(item) for item in value] if isinstance(value, list) else value


def as_sdk(entry: dict[str, Any]) -> Any:
    """Return the usage of an entry as the class that the provider's own SDK has for it, or None where it fits none."""
    import anthropic.types
    import openai.types
    import openai.types.create_embedding_response
    import openai.types.responses

    classes: dict[str, Any] = {
        "openai-chat": openai.types.CompletionUsage,
        "openai-responses": openai.types.responses.ResponseUsage,
        "openai-embedding": openai.types.create_embedding_response.Usage,
        "azure-chat": openai.types.CompletionUsage,
        "openrouter": openai.types.CompletionUsage,
        "anthropic-stream": anthropic.types.MessageDeltaUsage,
        "anthropic": anthropic.types.Usage,
    }
    kind = next((kind for kind in classes if entry["id"].startswith(kind)), None)
    with contextlib.suppress(ValueError):
        return kind and classes[kind].model_validate(entry["usage"])
    return None


def worked_out(working: str) -> Fraction:
    """Return the exact value of an expression of numbers, + - * / and brackets."""
    number = r"\d+(?:\.\d+)?(?:e\d+)?"
    assert re.fullmatch(rf"(?:{number}|[ ()+*/-])+", working), working
    return Fraction(eval(re.sub(number, lambda found: f"Fraction('{found[0]}')", working)))


def record(entry: dict[str, Any], usage: Any) -> dict[str, Any]:
    """Track a call with a usage object and return what the store keeps of it."""
    key = promptry.track_invocation(
        "answer", dict(entry["facts"]), usage=usage, model=entry["model"], provider=entry["provider"]
    )
    assert key is not None
    facts: dict[str, Any] = promptry.get_call(str(key))["metadata"]
    return facts


def facts_of(usage: Any, **more: Any) -> dict[str, Any]:
    """Return what the store keeps of a call with a usage object."""
    key = promptry.track_invocation("answer", usage=usage, **more)
    assert key is not None, "the row is lost"
    facts: dict[str, Any] = promptry.get_call(str(key))["metadata"]
    return facts


def test_most_entries_of_openai_and_anthropic_fit_their_own_classes() -> None:
    fitting = [type(made).__name__ for made in map(as_sdk, CORPUS) if made is not None]
    assert len(fitting) >= 60 and set(fitting) >= {"CompletionUsage", "ResponseUsage", "Usage", "MessageDeltaUsage"}


def test_the_corpus_is_wide() -> None:
    assert len(CORPUS) >= 66 and len(set(IDS)) == len(CORPUS)
    assert {entry["provider"] for entry in CORPUS} >= PROVIDERS
    assert {entry["expected"]["cost_usd"] is None for entry in CORPUS} == {True, False}
    used = {bucket for entry in CORPUS for bucket in entry["expected"]["buckets"]}
    missing = set(promptry.usage_table()["rates"]) - used
    assert missing <= {"cache_read_image", "cache_read_video", "output_video", "requests"}


@pytest.mark.parametrize("entry", CORPUS, ids=IDS)
def test_the_cost_of_an_entry_is_what_its_working_says(entry: dict[str, Any]) -> None:
    expected = entry["expected"]
    assert (expected["cost_usd"] is None) == (expected["working"] is None)
    if expected["working"] is not None:
        assert abs(worked_out(expected["working"]) - Fraction(expected["cost_usd"])) <= CENTS
    sides = {"input": 0, "output": 0, "unit": 0}
    for bucket, count in expected["buckets"].items():
        sides[promptry.usage_side(bucket)] += count
    assert (sides["input"], sides["output"]) == (expected["tokens_in"] or 0, expected["tokens_out"] or 0)


@pytest.mark.slow
@pytest.mark.parametrize("entry", CORPUS, ids=IDS)
def test_a_call_is_counted_and_priced_by_its_providers_rule(
    store: Path, entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given as a dict, as an object and as the SDK's own class, it is the same call."""
    monkeypatch.setattr(promptry, "now_text", lambda: entry["at"])
    expected = entry["expected"]
    given = [entry["usage"], as_object(entry["usage"]), as_sdk(entry), json.loads(json.dumps(entry["usage"]))]
    for usage in filter(None, given):
        facts = record(entry, usage)
        assert facts.get("buckets", {}) == expected["buckets"]
        assert (facts.get("tokens_in"), facts.get("tokens_out")) == (expected["tokens_in"], expected["tokens_out"])
        if expected["cost_usd"] is None:
            assert "cost_usd" not in facts and facts["cost_source"] == "unpriced"
        else:
            assert abs(Fraction(facts["cost_usd"]) - Fraction(expected["cost_usd"])) <= CENTS, facts["rates"]
            assert facts["cost_source"] == expected.get("cost_source", "computed")
        assert type(usage) not in {dict, SimpleNamespace} or facts["usage"] == entry["usage"]
        if "cost" in entry["usage"]:
            assert facts["provider_cost_usd"] == entry["usage"]["cost"]


@pytest.mark.parametrize("usage", [{"output_tokens": 89}, {"completion_tokens": 89}, {"candidatesTokenCount": 89}])
def test_output_alone_has_no_cost_and_no_input(store: Path, usage: dict[str, int]) -> None:
    """The last event of Anthropic's stream tells the output; what went in is unknown then, and not zero."""
    facts = facts_of(usage, model="claude-sonnet-4-5")
    assert (facts.get("tokens_in"), facts["tokens_out"], facts["cost_source"]) == (None, 89, "unpriced")
    assert "usage_faults" not in facts and "cost_usd" not in facts


@pytest.mark.parametrize("provider", ["google", "Google", "gemini", "vertex_ai", "google-vertex", None])
def test_thoughts_that_only_googles_total_holds_are_reasoning(store: Path, provider: str | None) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 259}
    assert facts_of(usage, model="gemini-2.5-flash", provider=provider)["reasoning_tokens"] == 220
    assert facts_of(usage, model="gemini-2.5-flash", provider="openai")["usage_faults"] == ["total_tokens"]


def test_an_unpriced_cost_is_null_in_the_store(store: Path) -> None:
    promptry.track_invocation("answer", usage={"prompt_tokens": 1, "completion_tokens": 1}, model="gpt-99")
    assert promptry.list_calls()["items"][0]["cost_usd"] is None


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


def test_a_field_that_says_zero_does_not_hide_another_that_says_more() -> None:
    usage = {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 40}
    assert promptry.read_usage(usage).buckets == {"input_uncached": 60, "cache_read": 40}


def test_tokens_written_to_the_cache_count_once_under_whatever_names() -> None:
    """LiteLLM tells Anthropic's writes at the top and in the details, and its details are also OpenAI's."""
    told = {"cache_creation_tokens": 40, "cache_write_tokens": 40}
    usage = {**GOOD, "prompt_tokens_details": told, "cache_creation_input_tokens": 40}
    assert promptry.read_usage(usage).buckets == {"cache_write": 40, "input_uncached": 60, "output_visible": 50}
    split = {"cache_creation_token_details": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10}}
    found = promptry.read_usage({**usage, "prompt_tokens_details": {**told, **split}})
    assert promptry.token_totals(found.buckets) == {"cache_write_tokens": 40} and found.buckets["cache_write_1h"] == 10


@pytest.mark.parametrize("asked", ["auto", None])
def test_a_tier_that_the_provider_was_to_choose_is_the_one_it_tells(store: Path, asked: str | None) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 0, "service_tier": "batch"}
    assert facts_of(usage, metadata={"service_tier": asked}, model="claude-haiku-4-5")["cost_usd"] == 0.0005
    facts = facts_of(CHAT, metadata={"service_tier": asked})
    assert (facts["service_tier"], facts["rates"]["input_uncached"]) == ("flex", 0.625)


@pytest.mark.parametrize("odd", [["flex"], {"tier": "flex"}, 7, True, ""])
def test_an_odd_tier_loses_no_call(store: Path, odd: Any) -> None:
    for usage in (GOOD, CHAT, {"input_tokens": 1, "output_tokens": 1, "service_tier": odd}):
        assert facts_of(usage, metadata={"service_tier": odd, "response_id": odd}, model="gpt-5")["tokens_in"] > 0


# --------------------------------------------------------------------------------------
# Nonsense: the row is kept, the fault is named, the cost is unknown
# --------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 50}
NONSENSE = [
    # (the field at fault, the usage object)
    ("prompt_tokens", {**GOOD, "prompt_tokens": -1}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": "100"}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": True}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": float("nan")}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": float("inf")}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": 1.5}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": 10**12}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": 10**400}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": [100]}),
    ("prompt_tokens", {**GOOD, "prompt_tokens": {"text": 100}}),
    ("completion_tokens", {**GOOD, "completion_tokens": -50}),
    ("total_tokens", {**GOOD, "total_tokens": 151}),
    ("total_tokens", {**GOOD, "total_tokens": "150"}),
    ("prompt_tokens_details.cached_tokens", {**GOOD, "prompt_tokens_details": {"cached_tokens": 101}}),
    ("prompt_tokens_details.cached_tokens", {**GOOD, "prompt_tokens_details": {"cached_tokens": -1}}),
    ("prompt_tokens_details.cached_tokens", {**GOOD, "prompt_tokens_details": [40]}),
    ("prompt_tokens_details.cached_tokens", {**GOOD, "prompt_tokens_details": "many"}),
    ("prompt_tokens_details.cached_tokens", {**GOOD, "prompt_tokens_details": {"cached_tokens": {"x": 1}}}),
    ("prompt_cache_hit_tokens", {**GOOD, "prompt_cache_hit_tokens": 101}),
    ("completion_tokens_details.reasoning_tokens", {**GOOD, "completion_tokens_details": {"reasoning_tokens": 51}}),
    ("input_tokens_details.cached_tokens", {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 2}}),
    ("cache_read_input_tokens", {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": "9"}),
    (
        "cache_creation.ephemeral_1h_input_tokens",
        {
            "input_tokens": 5,
            "output_tokens": 1,
            "cache_creation_input_tokens": 9,
            "cache_creation": {"ephemeral_1h_input_tokens": 10},
        },
    ),
    ("cachedContentTokenCount", {"promptTokenCount": 1, "candidatesTokenCount": 1, "cachedContentTokenCount": 2}),
    ("thoughtsTokenCount", {"promptTokenCount": 1, "thoughtsTokenCount": -2}),
    ("billed_units.input_tokens", {"billed_units": 7}),
    ("prompt_tokens_details.cached_tokens", {**GOOD, "prompt_tokens_details": 40}),
    (
        "promptTokensDetails.[modality=AUDIO].tokenCount",
        {"promptTokenCount": 9, "candidatesTokenCount": 1, "promptTokensDetails": {"tokenCount": 3}},
    ),
    ("prompt_tokens", {**GOOD, "prompt_tokens": 1e300}),
    ("input_tokens", {"input_tokens": -1, "output_tokens": 1}),
    ("cache_creation_input_tokens", {"input_tokens": 5, "output_tokens": 1, "cache_creation_input_tokens": -9}),
    ("cacheReadInputTokens", {"inputTokens": 5, "outputTokens": 1, "cacheReadInputTokens": True}),
    ("thoughts_token_count", {"prompt_token_count": 1, "thoughts_token_count": [2]}),
    ("usage", {"pages_processed": 7}),
    ("usage", {}),
    ("usage", []),
    ("usage", "100 tokens"),
    ("usage", 100),
    ("usage", True),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "usage"), NONSENSE)
def test_nonsense_is_kept_named_and_has_no_cost(
    store: Path, path: str, usage: Any, caplog: pytest.LogCaptureFixture, fresh_faults: None
) -> None:
    with caplog.at_level(logging.WARNING, "promptry"):
        first, again = facts_of(usage, model="gpt-4o"), facts_of(usage, model="gpt-4o")
    assert path in first["usage_faults"] and "buckets" not in first
    assert len(set(first["usage_faults"])) == len(first["usage_faults"]) == len(caplog.records)
    assert "cost_usd" not in first and first["cost_source"] == "unpriced"
    assert first.keys() == again.keys() and "usage" in first
    said = [entry.getMessage() for entry in caplog.records if f"reports a {path} " in entry.getMessage()]
    assert len(said) == 1 and "gpt-4o" in said[0] and "said once" in said[0]


def test_one_fault_spoils_no_other_call(store: Path) -> None:
    assert "usage_faults" in facts_of({**GOOD, "prompt_tokens": -1}, model="gpt-4o")
    assert facts_of(GOOD, model="gpt-4o")["cost_source"] == "computed"


def test_a_cost_that_is_no_number_loses_no_call(store: Path) -> None:
    from decimal import Decimal

    for cost in (Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), float("nan"), 10**400, -1, "1", True, None, []):
        facts = facts_of({**GOOD, "cost": cost}, model="gpt-99")
        assert facts["cost_source"] == "unpriced" and "cost_usd" not in facts


def test_a_usage_that_fights_back_loses_no_call(store: Path) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Circle:
        def __init__(self) -> None:
            self.usage = self

    for usage in (Broken(), Circle(), object(), lambda: None, {"usage": Broken()}, {"usage": Circle()}, GOOD.keys()):
        assert facts_of(usage, model="gpt-4o")["cost_source"] == "unpriced"


# --------------------------------------------------------------------------------------
# Properties
# --------------------------------------------------------------------------------------

FIELDS = sorted(
    {
        key
        for shape in promptry.usage_table()["shapes"]
        for text in [*shape["input"], *shape["output"], *(term for part in shape["parts"].values() for term in part)]
        for path in text.lstrip("+-").split("|")
        for key in re.split(r"[.\[]", path)[:2]
        if "=" not in key
    }
    | {"total_tokens", "cost", "usage", "usage_metadata", "model", "id", "service_tier"}
)
COUNTS = st.one_of(st.integers(0, 50), st.integers(0, 10**7), st.none())
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=5)), inner)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(FIELDS), st.one_of(COUNTS, st.dictionaries(st.sampled_from(FIELDS), COUNTS))))
@settings(max_examples=400, deadline=None)
def test_buckets_are_never_negative_and_sum_to_the_totals(usage: dict[str, Any]) -> None:
    for provider in ("openai", "google"):
        found = promptry.read_usage(usage, provider)
        if found.faults:
            assert found.buckets == {}
            continue
        sides = {"input": 0, "output": 0, "unit": 0}
        for bucket, count in found.buckets.items():
            assert count > 0
            sides[promptry.usage_side(bucket)] += count
        assert (sides["input"], sides["output"]) == (found.tokens_in or 0, found.tokens_out)


@pytest.mark.parametrize("parts", [{}, {"completion_tokens_details": {"audio_tokens": 1}}])
def test_a_total_of_googles_that_is_less_than_its_parts_is_a_fault_and_hides_no_thoughts(parts: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 1, **parts}
    found = promptry.read_usage(usage, "google")
    assert (found.buckets, found.faults) == ({}, ["total_tokens"])


@given(p=st.integers(0, 10**6), c=st.integers(0, 10**6), cached=st.integers(0, 10**6), reasoning=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_the_same_call_said_by_four_providers_is_the_same(p: int, c: int, cached: int, reasoning: int) -> None:
    cached, reasoning = min(p, cached), min(c, reasoning)
    said = [
        {
            "prompt_tokens": p,
            "completion_tokens": c,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        },
        {
            "input_tokens": p,
            "output_tokens": c,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": reasoning},
        },
        {
            "input_tokens": p - cached,
            "output_tokens": c,
            "cache_read_input_tokens": cached,
            "output_tokens_details": {"thinking_tokens": reasoning},
        },
        {
            "promptTokenCount": p,
            "candidatesTokenCount": c - reasoning,
            "cachedContentTokenCount": cached,
            "thoughtsTokenCount": reasoning,
        },
    ]
    first, *others = [promptry.read_usage(usage) for usage in said]
    assert (first.tokens_in, first.tokens_out, first.faults) == (p, c, [])
    assert all(other == first for other in others)


@pytest.mark.slow
@given(JSON)
@settings(max_examples=400, deadline=None)
def test_random_json_never_raises(value: Any) -> None:
    found, plain, told = promptry.read_response(value, "google")
    assert all(count > 0 for count in found.buckets.values())
    assert isinstance(told, dict) and (found.faults or isinstance(plain, dict))


@given(JSON)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_json_loses_no_call(store: Path, value: Any) -> None:
    for usage in (value, as_object(value)):
        assert promptry.track_invocation("answer", usage=usage, model="gpt-4o") is not None


# --------------------------------------------------------------------------------------
# Whole responses
# --------------------------------------------------------------------------------------

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-2025-08-07",
    "service_tier": "flex",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "secret text", "refusal": None},
        }
    ],
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 200},
    },
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "secret text"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 100, "cache_read_input_tokens": 900, "output_tokens": 10},
}
CONTENT = {
    "candidates": [{"content": {"parts": [{"text": "secret text"}]}}],
    "modelVersion": "gemini-2.5-pro",
    "responseId": "r1",
    "usageMetadata": {"promptTokenCount": 324, "candidatesTokenCount": 1364, "thoughtsTokenCount": 495},
}
SNAKE = {
    "candidates": [],
    "model_version": "gemini-2.5-pro",
    "response_id": "r1",
    "usage_metadata": {"prompt_token_count": 324, "candidates_token_count": 1364, "thoughts_token_count": 495},
}
LOCAL = {
    "model": "llama3.1:8b",
    "created_at": "2026-11-24T12:00:00Z",
    "message": {"role": "assistant", "content": "secret text"},
    "done": True,
    "total_duration": 5,
    "prompt_eval_count": 26,
    "eval_count": 298,
}
WHOLE = {
    # name: (the response, model, response_id, tokens_in, tokens_out, cost_usd)
    "openai": (CHAT, "gpt-5-2025-08-07", "chatcmpl-1", 1000, 100, "800*0.625/1e6 + 200*0.0625/1e6 + 100*5/1e6"),
    "anthropic": (MESSAGE, "claude-sonnet-4-5-20250929", "msg_1", 1000, 10, "100*3/1e6 + 900*0.3/1e6 + 10*15/1e6"),
    "gemini": (CONTENT, "gemini-2.5-pro", "r1", 324, 1859, "324*1.25/1e6 + 1859*10/1e6"),
    "gemini-sdk": (SNAKE, "gemini-2.5-pro", "r1", 324, 1859, "324*1.25/1e6 + 1859*10/1e6"),
    "ollama": (LOCAL, "llama3.1:8b", None, 26, 298, None),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("form", [dict, as_object])
def test_of_a_whole_response_its_usage_counts_and_its_text_is_not_kept(
    store: Path, name: str, form: Callable[[Any], Any]
) -> None:
    response, model, response_id, tokens_in, tokens_out, working = WHOLE[name]
    facts = facts_of(form(response))
    assert (facts["model"], facts.get("response_id")) == (model, response_id)
    assert (facts["tokens_in"], facts["tokens_out"]) == (tokens_in, tokens_out)
    assert "secret text" not in json.dumps(facts) and "served_model" not in facts
    if working is None:
        assert "cost_usd" not in facts
    else:
        assert abs(Fraction(facts["cost_usd"]) - worked_out(working)) <= CENTS


def test_the_usage_that_is_kept_is_the_inner_one(store: Path) -> None:
    assert facts_of(CHAT)["usage"] == CHAT["usage"]
    assert facts_of(CONTENT)["usage"] == CONTENT["usageMetadata"]
    assert facts_of(LOCAL)["usage"] == {"prompt_eval_count": 26, "eval_count": 298, "total_duration": 5}


def test_the_sdks_own_responses_are_opened(store: Path) -> None:
    import anthropic.types
    import openai.types.chat

    facts = facts_of(openai.types.chat.ChatCompletion.model_validate(CHAT))
    assert (facts["model"], facts["tokens_in"], facts["service_tier"]) == ("gpt-5-2025-08-07", 1000, "flex")
    facts = facts_of(anthropic.types.Message.model_validate(MESSAGE))
    assert (facts["model"], facts["tokens_in"], facts["response_id"]) == ("claude-sonnet-4-5-20250929", 1000, "msg_1")
    assert "secret text" not in json.dumps(facts)


def test_a_dict_made_from_an_sdk_object_is_read_to_the_bottom(store: Path) -> None:
    import openai.types.chat

    response = openai.types.chat.ChatCompletion.model_validate(CHAT)
    assert response.usage is not None
    for usage in (dict(response.usage), dict(response), {"usage": response.usage}, vars(as_object(CHAT["usage"]))):
        facts = facts_of(usage, model="gpt-5")
        assert (facts["cached_tokens"], facts["cost_source"]) == (200, "computed")
        assert facts["usage"]["prompt_tokens_details"]["cached_tokens"] == 200


def test_what_the_caller_says_stands_and_what_was_served_is_beside_it(store: Path) -> None:
    facts = facts_of(CHAT, model="gpt-5", response_id="mine")
    assert (facts["model"], facts["served_model"], facts["response_id"]) == ("gpt-5", "gpt-5-2025-08-07", "mine")
    assert "served_model" not in facts_of(CHAT, model="gpt-5-2025-08-07")
    promptry.track_invocation("answer", {"service_tier": "priority", "served_model": "gpt-4o"}, usage=CHAT, model="m")
    facts = promptry.get_call(promptry.list_calls()["items"][0]["id"])["metadata"]
    assert (facts["service_tier"], facts["served_model"]) == ("priority", "gpt-4o")


def test_a_deployment_is_priced_by_the_model_that_its_response_names(store: Path) -> None:
    facts = facts_of({**CHAT, "service_tier": None}, model="my-deployment", provider="azure")
    assert facts["served_model"] == "gpt-5-2025-08-07"
    assert abs(Fraction(facts["cost_usd"]) - worked_out("800*1.25/1e6 + 200*0.125/1e6 + 100*10/1e6")) <= CENTS


def test_the_id_of_a_response_is_the_calls_request_id(store: Path) -> None:
    promptry.track_invocation("answer", usage=CHAT)
    assert promptry.last_request_id() == "chatcmpl-1" == promptry.list_calls()["items"][0]["request_id"]
    promptry.track_invocation("answer", usage=CHAT, request_id="mine")
    assert promptry.last_request_id() == "mine"


def test_what_litellm_worked_out_is_kept_beside_and_prices_what_we_cannot(store: Path) -> None:
    response = as_object({**CHAT, "service_tier": None})
    response._hidden_params = {"response_cost": 0.0123, "custom_llm_provider": "openai"}
    facts = facts_of(response)
    assert (facts["provider_cost_usd"], facts["cost_source"]) == (0.0123, "computed")
    response.model = "house/model"
    facts = facts_of(response)
    assert (facts["cost_usd"], facts["cost_source"], facts["rate_source"]) == (0.0123, "given", "provider")
    for cost in (None, "much", -1, float("nan")):
        response._hidden_params = {"response_cost": cost}
        assert "provider_cost_usd" not in facts_of(response)


def test_a_response_without_usage_is_unknown_and_not_free(store: Path) -> None:
    for response in ({**CHAT, "usage": None}, as_object({**CHAT, "usage": None})):
        facts = facts_of(response, model="gpt-5")
        assert facts["usage_faults"] == ["usage"] and facts["cost_source"] == "unpriced"
        assert facts["response_id"] == "chatcmpl-1" and "secret text" not in json.dumps(facts)


def test_a_response_that_has_no_place_for_usage_leaves_no_text(store: Path) -> None:
    chat = {key: value for key, value in CHAT.items() if key != "usage"}
    content = {key: value for key, value in CONTENT.items() if key != "usageMetadata"}
    for response in (chat, content, as_object(chat), as_object(content)):
        facts = facts_of(response)
        assert facts["cost_source"] == "unpriced" and facts["response_id"] in {"chatcmpl-1", "r1"}
        assert "secret text" not in json.dumps(facts)


def test_a_response_of_litellms_kind_is_opened(store: Path) -> None:
    """LiteLLM adds the usage to its model as a further field, and what it worked out as a private one."""
    import pydantic

    class Details(pydantic.BaseModel):
        cached_tokens: int | None = None
        text_tokens: int | None = None

    class LiteUsage(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        prompt_tokens: int
        completion_tokens: int
        total_tokens: int
        prompt_tokens_details: Details | None = None

    class ModelResponse(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        id: str
        model: str
        choices: list[Any]
        _hidden_params: dict[str, Any] = pydantic.PrivateAttr(default_factory=dict)

    usage = LiteUsage(
        prompt_tokens=1000,
        completion_tokens=50,
        total_tokens=1050,
        prompt_tokens_details=Details(cached_tokens=400),
        cache_read_input_tokens=400,  # type: ignore[call-arg]
    )
    response = ModelResponse(id="chatcmpl-9", model="gpt-4o", choices=CHAT["choices"], usage=usage)  # type: ignore[call-arg]
    response._hidden_params["response_cost"] = 0.0025
    facts = facts_of(response, model="openai/gpt-4o", provider="litellm")
    assert (facts["response_id"], facts["served_model"], facts["cached_tokens"]) == ("chatcmpl-9", "gpt-4o", 400)
    assert (facts["cost_usd"], facts["cost_source"], facts["provider_cost_usd"]) == (0.0025, "computed", 0.0025)
    assert facts["usage"]["prompt_tokens_details"] == {"cached_tokens": 400, "text_tokens": None}
    assert "secret text" not in json.dumps(facts)


# --- what a call's own metadata says beside its usage

ODD_VALUES: list[Any] = [None, "many", "", -4, 1.5, 10**30, True, [1], {"a": 1}, b"x", math.nan, Decimal("1.5"), (1,)]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
@pytest.mark.parametrize("name", ["tokens_in", "tokens_out"])
def test_a_count_that_cannot_be_meant_loses_no_call_and_makes_no_cost(store: Path, name: str, odd: Any) -> None:
    other = {"tokens_in": "tokens_out", "tokens_out": "tokens_in"}[name]
    facts = facts_of(None, metadata={name: odd, other: 4}, model="gpt-4.1", provider="openai")
    assert facts["cost_source"] == "unpriced" and "cost_usd" not in facts and facts[other] == 4
    assert (name in facts and facts[name] is None) if odd is None else name in facts["invalid"]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
def test_usage_that_tells_the_output_alone_takes_the_input_that_the_call_says(store: Path, odd: Any) -> None:
    usage = {"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
    told = {"model": "gpt-4.1", "provider": "openai"}
    facts = facts_of(usage, metadata={"tokens_in": odd}, **told)
    assert facts["cost_source"] == "unpriced" and facts["tokens_out"] == 5
    assert "tokens_in" in facts.get("invalid", {}) or odd is None
    whole = facts_of({**usage, "prompt_tokens": 7}, **told)
    facts = facts_of(usage, metadata={"tokens_in": 7}, **told)
    assert facts["cost_source"] == "computed"
    for key in ("cost_usd", "tokens_in", "tokens_out", "reasoning_tokens", "rates"):
        assert facts[key] == whole[key], key
    assert sorted(facts["buckets"].items()) == sorted(whole["buckets"].items())


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
@pytest.mark.parametrize("name", ["invalid", "buckets", "provider_cost_usd", "cost_usd", "usage_faults", "rates"])
def test_no_word_of_the_callers_own_metadata_loses_a_call(store: Path, name: str, odd: Any) -> None:
    for metadata in ({"tokens_in": "many"}, {"cost_usd": "dear"}, {}, {"tokens_in": 0, "tokens_out": 0}):
        for usage in (None, {"prompt_eval_count": 0}, {"prompt_tokens": 3, "completion_tokens": 4}):
            facts = facts_of(usage, metadata={**metadata, name: odd}, model="claude-sonnet-4", provider="anthropic")
            cost = facts.get("cost_usd")
            assert cost is None or (type(cost) in (int, float) and cost >= 0)
    promptry.reprice(apply=True)
    assert promptry.list_costs(by="bucket") and promptry.reprice()["applied"] is False


def test_a_cost_that_its_caller_says_stays_whatever_he_calls_its_source(store: Path) -> None:
    key = promptry.track_invocation(
        "answer", {"cost_usd": 5, "cost_source": "the bill", "tokens_in": 1, "tokens_out": 1}, model="gpt-4.1"
    )
    promptry.reprice(apply=True)
    assert promptry.get_call(str(key))["metadata"]["cost_usd"] == 5
