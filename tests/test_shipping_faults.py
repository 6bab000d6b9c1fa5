"""Faults of shipping: hub and source are killed, answers get lost and lie, and in the end both hold the same, once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hubs import false_hub, free_port, pass_on, running_hub, start_hub, sums_of, tell_remote

import promptry

pytestmark = [pytest.mark.fault, pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")]

SOURCE = """
import random, sys, promptry
from promptry import suite, assert_contains, run_suite, save_dataset
promptry.use_store(sys.argv[1])
chance, until = random.Random(int(sys.argv[2])), int(sys.argv[3])
promptry.track("Answer $question", "support/answer")

@suite("qa", prompt="support/answer")
def qa():
    assert_contains("yes and no", "yes")
    assert_contains("no", "yes" if chance.random() < 0.5 else "no")

for number in range(until):
    facts = {"cost_usd": chance.random() / 7, "tokens_in": chance.randrange(900), "tokens_out": 7, "number": number}
    promptry.track_invocation("support/answer", facts, model="m")
    if number % 7 == 0:
        promptry.track(f"Answer $question {chance.randrange(20)}", "support/answer")
    if number % 5 == 0:
        promptry.record_feedback(f"r{chance.randrange(40)}", chance.randrange(5) / 4, source="page")
    if number % 11 == 0:
        promptry.vote("support/answer", f"answer {number}", chance.choice([1, -1]))
    if number % 31 == 0:
        save_dataset("questions", [chance.randrange(9)])
    if number % 60 == 17:
        run_suite("qa")
    if number % 9 == 0:
        with promptry.budget_guard("support/answer", 0.01):
            if number % 2:
                promptry.track_invocation("support/answer", {"cost_usd": 0.02, "tokens_in": 3})
    print(number, flush=True)
"""


def push_all(folder: Path, store: Path) -> None:
    """Ship what is left from this process, as the command does."""
    promptry.use_store(store)
    promptry.forget_settings()
    promptry.push()
    promptry.use_store(None)


def test_two_sources_and_a_hub_killed_at_random_end_with_equal_sums(tmp_path: Path, start_python: Any) -> None:
    """Every process is killed with SIGKILL at moments of a fixed seed; then what is left is shipped."""
    port, chance = free_port(), random.Random(20261130)
    tell_remote(tmp_path, port)
    hub_store, stores = tmp_path / "hub" / "hub.db", [tmp_path / "a.db", tmp_path / "b.db"]
    hub_store.parent.mkdir()
    hub, children = start_hub(hub_store, port), {}
    promptry.use_store(stores[0])
    promptry.set_budget("global", None, "monthly", 10**6)
    promptry.use_store(None)
    seed = 0
    for _ in range(14):
        for store in stores:
            if store not in children or children[store].poll() is not None:
                seed += 1
                children[store] = start_python(SOURCE, store, seed, 4000)
        time.sleep(chance.uniform(0.3, 1.5))
        for store in stores:
            if chance.random() < 0.6:
                children[store].kill()
                children.pop(store).communicate()
        if chance.random() < 0.6:
            hub.kill()
            hub.communicate()
            time.sleep(chance.uniform(0.0, 0.6))
            hub = start_hub(hub_store, port)
    for child in children.values():
        child.kill()
        child.communicate()
    for store in stores:
        push_all(tmp_path, store)
    hub.kill()
    hub.communicate()
    assert_merged(hub_store, stores)


def assert_merged(hub: Path, stores: list[Path]) -> None:
    """Hold a hub to what its sources hold together; what is equal in two of them is there once."""
    here, there = sums_of(hub), [sums_of(store) for store in stores]
    assert here["calls"] == [tuple(sum(part) for part in zip(*(each["calls"][0] for each in there), strict=True))]
    assert here["calls"][0][0] > 300
    assert here["cost"] == pytest.approx(sum(each["cost"] for each in there), abs=1e-9)
    for what in ("runs", "tested", "results", "votes"):
        # Two sources may have a run of the same millisecond, so nothing but the rows themselves tells their order.
        assert sorted(here[what], key=repr) == sorted((row for each in there for row in each[what]), key=repr), what
    for what in ("prompts", "datasets"):
        assert here[what] == sorted({row for each in there for row in each[what]}), what
    counted: dict[Any, int] = {}
    for each in there:
        for name, digest, count in each["asked"]:
            counted[name, digest] = counted.get((name, digest), 0) + count
    assert {(name, digest): count for name, digest, count in here["asked"]} == counted
    assert {row[0] for row in here["feedback"]} == {row[0] for each in there for row in each["feedback"]}


CALLER = """
import sys, time, promptry
promptry.use_store(sys.argv[1])
spans = []
for number in range(400):
    began = time.perf_counter()
    assert promptry.track_invocation("p", {"cost_usd": 0.25, "tokens_in": number}) is not None
    spans.append(time.perf_counter() - began)
    time.sleep(0.002)
promptry.record_feedback("r", 0.5)
print(sorted(spans)[380])
"""


def say_json(value: Any) -> Any:
    return lambda hub, body: hub.say(200, json.dumps(value).encode())


def drip(hub: Any, body: dict[str, Any]) -> None:
    """Answer a byte every tenth of a second, for a minute."""
    hub.send_response(200)
    hub.send_header("Content-Length", "600")
    hub.end_headers()
    for _ in range(600):
        hub.wfile.write(b" ")
        time.sleep(0.1)


def lie(hub: Any, body: dict[str, Any]) -> None:
    """Say that all is there, far beyond what there is, and take nothing."""
    places = dict.fromkeys(promptry.TRAVELLING, [10**6, "0" * 16])
    marks = [{"id": "lie", "places": places, "open": []}]
    taken = {"source": body["source"], "taken": {}, "refused": [], "refused_total": 0}
    hub.say(200, json.dumps({**taken, "mark": "another", "marks": marks}).encode())


NONSENSE: dict[str, Any] = {
    "html": lambda hub, body: hub.say(200, b"<html>Welcome</html>", Content_Type="text/html"),
    "an empty object": say_json({}),
    "a list": say_json([1]),
    "wrong types": say_json({"mark": 1, "marks": "x", "taken": [], "refused": {}}),
    "a log-in page": lambda hub, body: hub.say(302, b"", Location="http://127.0.0.1:9/login"),
    "500": lambda hub, body: hub.say(500, b"broken"),
    "413": lambda hub, body: hub.say(413, b"too large"),
    "401": lambda hub, body: hub.say(401, b'{"error": {"code": "unauthorized", "message": "No.", "hint": ""}}'),
    "404": lambda hub, body: hub.say(404, b'{"error": {"code": "not_found", "message": "No.", "hint": ""}}'),
    "bytes": lambda hub, body: hub.say(200, b"\xff\x00" * 50),
    "a length that is a lie": lambda hub, body: hub.say(200, b"{}", Content_Length="5000"),
    "nothing": lambda hub, body: None,
    "drip": drip,
    "lies": lie,
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_hub_that_answers_nonsense_costs_nothing_and_loses_nothing(
    tmp_path: Path, kind: str, run_python: Any
) -> None:
    store, hub, port = tmp_path / "store.db", tmp_path / "hub.db", free_port()
    tell_remote(tmp_path, port)
    with false_hub(NONSENSE[kind], port) as (_, seen):
        began = time.monotonic()
        done = run_python(CALLER, store)
        span = time.monotonic() - began
    assert 0 < len(seen) < 30, "it was asked, and not again and again"
    assert float(done.stdout) < 0.02 and span < 10, "most calls take less than a millisecond"
    assert "Traceback" not in done.stderr
    assert sums_of(store)["calls"] == [(400, 79800, None)]
    with running_hub(hub, port):
        push_all(tmp_path, store)
    assert sums_of(hub) == sums_of(store)


def test_answers_that_are_lost_make_no_row_come_twice(tmp_path: Path, start_python: Any) -> None:
    """Between source and hub stands what passes all on, and every second time swallows the answer."""
    store, hub, port, behind = tmp_path / "store.db", tmp_path / "hub.db", free_port(), free_port()
    tell_remote(tmp_path, port)
    count, lost = [0], [0]

    def loses(body: dict[str, Any]) -> bool:
        count[0] += "tables" in body
        lost[0] += "tables" in body and count[0] % 2
        return "tables" in body and bool(count[0] % 2)

    with running_hub(hub, behind), false_hub(pass_on(behind, loses), port):
        for seed in range(4):
            child = start_python(SOURCE, store, seed, 60)
            child.communicate(timeout=100)
            assert child.returncode == 0
            for _ in range(3):
                with contextlib.suppress(promptry.ProviderError):
                    push_all(tmp_path, store)
                    break
    assert lost[0] >= 2
    assert sums_of(hub) == sums_of(store) and sums_of(hub)["calls"][0][0] > 240


def test_a_source_killed_before_it_has_forgotten_what_it_sent_sends_it_again_once(
    tmp_path: Path, start_python: Any
) -> None:
    """The notes of changed rows are forgotten after the answer; a process killed between the two leaves them."""
    store, hub, port = tmp_path / "store.db", tmp_path / "hub.db", free_port()
    tell_remote(tmp_path, port)
    code = """
    import os, sys, promptry
    promptry.use_store(sys.argv[1])
    promptry.forget_noted = lambda noted: os.kill(os.getpid(), 9) if noted else None
    promptry.record_feedback("r", float(sys.argv[2]), source="page")
    promptry.push()
    """
    with running_hub(hub, port):
        for rating in ("0", "0.5", "1"):
            child = start_python(code, store, rating)
            child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        assert sums_of(hub)["feedback"] == [("r", 1.0, None, "page")]
        push_all(tmp_path, store)
    assert sums_of(hub) == sums_of(store)
