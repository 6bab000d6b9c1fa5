"""A month of a small product, lived through promptry: prompts promoted, suites run and judged, calls recorded.

`python tests/e2e/world.py FOLDER` fills FOLDER/.promptry/store.db by real runs and real calls, under a clock that is
moved; only the model is a fake. The same seed gives the same month, which ends at the present.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import promptry

DAY_S = 86_400.0
DAYS = 30

SUITES = '''"""The suites of a shop's assistant. The model is a fake: how well it does follows from its prompt."""

import random
import zlib

from promptry import assert_contains, assert_json_valid, assert_not_contains, render_prompt, suite, track_invocation

DAY = [0]
MODEL = ["gpt-4.1-mini"]
RATES = {"support-answers": 0.95, "triage-labels": 0.97, "refund-policy": 0.84, "sql-writer": 0.99}
RATES["summary-tone"] = 0.85
WORDS = ["refund", "parcel", "invoice", "warranty", "address", "voucher", "order", "size", "battery", "account"]
FATES = ["late", "lost", "twice", "abroad", "opened", "gift", "broken", "unpaid", "cancelled", "changed", "old", "new"]
POLITE = {"prompt": "support/refund", "gate": "statistical"}


def items(name, count):
    return [
        {"id": f"{WORDS[n % 10]}-{FATES[n // 10]}", "reference": f"{n * 3 + 5} days",
         "question": f"What happens with a {WORDS[n % 10]} like number {n}?"}
        for n in range(count)
    ]


def ask(suite_name, prompt, item, hold):
    """Answer as a model would: a case that is hard stays hard, the rest wavers a little."""
    text = render_prompt(prompt, "Answer $question.", question=item["question"])
    hard = zlib.crc32(f"{suite_name} {item['id']}".encode()) % 1000 / 1000
    noise = random.Random(f"{suite_name} {item['id']} {DAY[0]}").random()
    hold += 0.16 if "Name the day" in text else 0.0
    good = hard < hold and noise > 0.004
    answer = f"You get it within {item['reference']} of the delivery."
    answer = answer if good else "It should usually be fine, quite soon."
    if "warm and helpful" in text and zlib.crc32(item["id"].encode()) % 10 == 1:
        answer = "You can usually send it back within a few weeks, so you should be fine."
    size = len(text) // 4
    track_invocation(
        prompt, model=MODEL[0], provider="openai",
        usage={"prompt_tokens": 900 + size, "completion_tokens": 60 + len(answer) // 4,
               "prompt_tokens_details": {"cached_tokens": 512}},
        metadata={"latency_ms": 420 + 900 * noise}, input_text=text, output_text=answer, capture=True,
    )
    return answer


@suite("support-answers", "What the policy says, and nothing else.", prompt="support/answer", dataset="support-cases")
def support(item):
    answer = ask("support-answers", "support/answer", item, RATES["support-answers"])
    assert_contains(answer, item["reference"])
    assert_not_contains(answer, "as an AI")


@suite("triage-labels", "The right desk.", prompt="triage/label", dataset="triage-cases", gate="statistical")
def triage(item):
    assert_contains(ask("triage-labels", "triage/label", item, RATES["triage-labels"]), item["reference"])


@suite("refund-policy", "Refunds as the policy has them.", dataset=items("r", 64), **POLITE)
def refund(item):
    answer = ask("refund-policy", "support/refund", item, RATES["refund-policy"])
    assert_contains(answer, item["reference"])


@suite("sql-writer", "SQL that holds.", prompt="tools/sql", dataset=items("q", 50), gate="statistical")
def sql(item):
    fall = 0.011 * max(0, DAY[0] - 8)
    assert_contains(ask("sql-writer", "tools/sql", item, RATES["sql-writer"] - fall), item["reference"])


@suite("summary-tone", "A tone that is ours.", prompt="docs/summary", dataset=items("d", 12))
def tone(item):
    assert_contains(ask("summary-tone", "docs/summary", item, RATES["summary-tone"]), item["reference"])


@suite("extract-invoice", "Fields of an invoice as JSON.", prompt="docs/invoice", dataset=items("i", 30))
def invoice(item):
    answer = ask("extract-invoice", "docs/invoice", item, 0.97)
    if DAY[0] == 14:
        raise ConnectionError("the provider answered 503: overloaded")
    assert_json_valid('{"answer": "' + answer + '"}')
    assert_contains(answer, item["reference"])
'''

POLICY = """You are the support agent of $shop.
Answer in at most $max_sentences sentences, in the
language of the customer.

Use only the policy below. If the policy does not
cover the question, say so and offer a hand over.

<policy>
$policy
</policy>

Quote the exact number of days when a limit applies.
Never promise a refund before the order is checked.

Question: $question
"""
EDITED = (
    POLICY.replace(
        "Use only the policy below. If the policy does not\ncover the question, say so and offer a hand over.",
        "Use the policy below as guidance. Be warm and helpful.",
    ).replace("Quote the exact number of days when a limit applies.", "End with a question that keeps the talk going.")
)  # fmt: skip

TEXTS = {
    "support/answer": [
        POLICY.replace("at most $max_sentences", "few"),
        POLICY.replace("\nNever", "\nStay calm.\nNever"),
        POLICY,
    ],
    "support/refund": ["Decide on a refund for $question.\n", "Decide on a refund for $question. Name your rule.\n"],
    "triage/label": ['Label this message: $question\nAnswer {"desk": ...}.\n'],
    "tools/sql": ["Write SQL for: $question\n", "Write one SQLite SELECT for: $question\n"],
    "docs/summary": ["Summarise in three sentences: $question\n"],
    "docs/invoice": ["Give the fields of this invoice as JSON: $question\n"],
}

MODELS = {
    "support/answer": ("claude-sonnet-4-5", "anthropic"),
    "support/refund": ("claude-sonnet-4-5", "anthropic"),
    "triage/label": ("gpt-4.1-mini", "openai"),
    "tools/sql": ("gpt-4.1", "openai"),
    "docs/summary": ("gemini-2.5-flash", "google"),
    "docs/invoice": ("ft:gpt-4.1-mini:acme:triage", "openai"),
}
SHARES = {"triage/label": 46, "support/answer": 30, "docs/summary": 9, "tools/sql": 8, "support/refund": 5}
SHARES["docs/invoice"] = 2
ASKED = "My headphones from order 4417 don't fit. Can I still send them back? Mail me at ada@example.com."
ANSWERED = "You can return the headphones within 30 days of delivery. Order 4417 arrived 41 days ago."
COMMENTS = ["Did not offer any other way out.", "That is not our policy.", "Too long.", "Wrong order."]


class World(NamedTuple):
    """Where it is, the ids of its newest runs by suite, and when it ends in seconds since 1970."""

    folder: Path
    store: Path
    runs: dict[str, int]
    ends_at: float


@contextmanager
def moved_clock() -> Iterator[list[float]]:
    """Have promptry read the time from a list of one, which each reading moves on by two milliseconds."""
    at, real = [0.0], promptry.now_text

    def now() -> str:
        at[0] += 0.002
        return promptry.text_of(at[0])

    promptry.now_text = now
    try:
        yield at
    finally:
        promptry.now_text = real


def fill(folder: Path, days: int = DAYS, calls_a_day: int = 60, ends_at: float | None = None) -> World:
    """Live through some days in a folder; the store, promptry.toml, evals.py and a git history are there afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evals.py").write_text(SUITES, encoding="utf-8")
    (folder / "promptry.toml").write_text('[run]\nmodule = "evals"\n', encoding="utf-8")
    _git(folder, "init", "-q")
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        with moved_clock() as at:
            return _live(folder, at, days, calls_a_day, time.time() if ends_at is None else ends_at)
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        sys.modules.pop("evals", None)


def _live(folder: Path, at: list[float], days: int, calls_a_day: int, ends_at: float) -> World:
    import evals  # the module that was just written

    store = folder / ".promptry" / "store.db"
    promptry.use_store(store)
    chance, runs = random.Random(7), dict[str, int]()
    at[0] = ends_at - days * DAY_S
    _open_shop()
    for day in range(days):
        at[0] = ends_at - (days - day) * DAY_S + 3600
        evals.DAY[0] = day
        evals.MODEL[0] = "gpt-4.1-mini" if day < 11 else "gpt-4.1"
        _edit(day, days)
        if day % 9 == 0:
            (folder / "CHANGES").write_text(f"day {day}\n", encoding="utf-8")
            _git(folder, "add", "-A")
            _git(folder, "commit", "-qm", f"day {day}")
        for name in evals.RATES | {"extract-invoice": 0}:
            at[0] += 240
            runs[name] = promptry.run_suite(name, module="evals", compare="prod").run_id
        _serve(at, chance, ends_at - (days - day) * DAY_S, calls_a_day, DAY_S)
    _serve(at, chance, ends_at - 3500, calls_a_day * 3, 3480)
    _speak(chance)
    promptry.use_store(None)
    return World(folder, store, runs, ends_at)


def _open_shop() -> None:
    """Track the first versions, tag them, set budgets, save a dataset."""
    for name, texts in TEXTS.items():
        promptry.track(texts[0], name, tag="prod", metadata={"team": name.partition("/")[0]})
    promptry.set_budget("global", None, "monthly", 60.0)
    promptry.set_budget("module", "support", "daily", 1.0)
    promptry.set_budget("module", "triage", "monthly", 4.5)
    import evals

    promptry.save_dataset("support-cases", evals.items("s", 108))
    promptry.save_dataset("triage-cases", evals.items("t", 120))
    promptry.save_dataset("greetings", [{"id": "hi", "input": "Hello", "expected": "Hello, how can I help?"}])


def _edit(day: int, days: int) -> None:
    """Edit and promote as the month goes; the last edit is one that nobody should promote."""
    for name, texts in TEXTS.items():
        for number, text in enumerate(texts[1:], 1):
            if day == 6 * number + len(name) % 3:
                promptry.save_prompt(name, text)
            if day == 6 * number + len(name) % 3 + 1:
                promptry.promote(name, number + 1, "prod")
    if day == 12:
        promptry.promote("support/answer", 2, "staging")
    if day == 15:
        import evals

        promptry.save_dataset("support-cases", evals.items("s", 110))
    if day == days - 4:
        promptry.save_prompt("support/answer", EDITED)
    if day == days - 2:
        promptry.save_prompt("support/refund", "Decide on a refund for $question. Name the rule. Name the day.\n")


def _serve(at: list[float], chance: random.Random, start: float, count: int, length_s: float) -> None:
    """Record production calls over a stretch of time."""
    moments = sorted(start + chance.random() * length_s for _ in range(count))
    for moment in moments:
        at[0] = moment
        (name,) = chance.choices(list(SHARES), list(SHARES.values()))
        if chance.random() < 0.06:
            with promptry.trace("answer a ticket"):
                _call("triage/label", chance)
                at[0] += 0.7
                with promptry.trace("look it up"):
                    _call("tools/sql", chance)
                    at[0] += 0.9
                _call("support/answer", chance)
        else:
            _call(name, chance)


def _call(name: str, chance: random.Random) -> None:
    model, provider = MODELS[name]
    fails, slow = chance.random() < 0.012, chance.lognormvariate(0, 0.35)
    facts: dict[str, Any] = {"latency_ms": round(1600 * slow, 1), "ttft_ms": round(540 * slow, 1)}
    if fails:
        facts = {"latency_ms": 30_000.0, "status": "error", "error": "APITimeoutError: Request timed out."}
    tokens_in, tokens_out = chance.randint(600, 5200), chance.randint(20, 420)
    cached = tokens_in * 7 // 10 if provider == "anthropic" else 0
    usage: dict[str, Any] = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    if provider == "anthropic":
        usage = {"input_tokens": tokens_in - cached, "cache_read_input_tokens": cached, "output_tokens": tokens_out}
        usage["cache_creation_input_tokens"] = chance.choice([0, 0, 1024])
    if provider == "google":
        usage = {"promptTokenCount": tokens_in, "candidatesTokenCount": tokens_out, "thoughtsTokenCount": 64}
    request = f"req_{chance.getrandbits(48):012x}"
    tagged = promptry.find_prompt(name, tag="prod")
    promptry.track_invocation(
        name,
        facts,
        prompt_version=tagged.version if tagged else None,
        model=model,
        provider=provider,
        usage=None if fails else usage,
        request_id=request,
        capture=True,
        input_text=ASKED,
        output_text=None if fails else ANSWERED,
    )
    if chance.random() < 0.09:
        bad = chance.random() < 0.2
        comment = chance.choice(COMMENTS) if bad else None
        promptry.record_feedback(request, 0.2 if bad else chance.choice([0.8, 1.0]), comment, "app")


def _speak(chance: random.Random) -> None:
    """Vote, and carry what was seen in production over into a dataset."""
    for number in range(24):
        good = number % 4 != 0
        answer = "You can return it within 30 days." if good else "It is usually fine, quite soon."
        promptry.vote("support/answer", answer, 1 if good else -1, None if good else chance.choice(COMMENTS))
    newest = promptry.list_calls(prompt="support/answer", origin="app", limit=3)["items"]
    for call in newest:
        promptry.add_to_dataset("from-production", call=call["id"])


def _git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=shop", "-c", "user.email=shop@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    began = time.monotonic()
    world = fill(Path(sys.argv[1]).resolve())
    print(f"{world.store}: {world.store.stat().st_size:,} bytes in {time.monotonic() - began:.1f} s")
