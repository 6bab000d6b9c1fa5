"""Faults of shipping: hub and source are killed, answers get lost and lie, and in the end both hold the same, once."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hubs import false_hub, free_port, running_hub, start_hub, sums_of, tell_remote

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
    id = promptry.track_invocation("support/answer", {"cost_usd": chance.random() / 7, "tokens_in": chance.randrange(900),
        "tokens_out": 7, "number": number}, model="m")
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
    """Every process is killed with SIGKILL at moments of a fixed seed, then all is left alone and what is left shipped."""
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
        assert here[what] == sorted((row for each in there for row in each[what]), key=sort_key(what)), what
    for what in ("prompts", "datasets"):
        assert here[what] == sorted({row for each in there for row in each[what]}), what
    counted: dict[Any, int] = {}
    for each in there:
        for name, digest, count in each["asked"]:
            counted[name, digest] = counted.get((name, digest), 0) + count
    assert {(name, digest): count for name, digest, count in here["asked"]} == counted
    assert {row[0] for row in here["feedback"]} == {row[0] for each in there for row in each["feedback"]}


def sort_key(what: str) -> Any:
    if what == "results":  # of one run they are in the order of their ids on both sides
        return lambda row: row[:2]
    if what == "votes":
        return lambda row: (row[0], row[2], row[5])
    return lambda row: row[:2]
