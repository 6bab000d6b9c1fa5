"""Benchmarks of shipping: how many calls a second reach a hub on loopback, and what a caller notices of a hub.

The floor of the first is what cannot be spared: the same rows written as JSON and read again, inserted with sqlite3
into our table, and the same bytes posted to a server that only reads them. That of the second is the same caller
without a remote, in blocks that alternate.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hubs import false_hub, free_port, running_hub, shipments, tell_remote
from served import child_environment
from test_hot_path import FACTS, USAGE, show

import promptry

pytestmark = pytest.mark.bench

CALLS = 20_000
ROUNDS = 3


def fill(store: Path) -> None:
    """Write calls as an application does, at once."""
    promptry.use_store(store)
    promptry.track("Answer: $question", "answer")
    promptry.track_invocation("answer", FACTS, model="gpt-4.1-mini", provider="openai", usage=USAGE)
    connection = promptry.connect()
    ((text,),) = connection.execute("SELECT metadata FROM invocations").fetchall()
    facts = json.loads(text)
    rows = []
    for _ in range(CALLS - 1):
        uid = promptry.make_uid()
        rows.append(("answer", 1, json.dumps({**facts, "uid": uid}), None, None, uid, promptry.now_text()))
    with promptry.transact() as connection:
        connection.executemany(promptry.INSERT_CALL, rows)


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    """Serve from a process of its own what reads a request and answers two bytes."""
    code = """
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


def floor_s(source: Path, folder: Path, wires: list[bytes], port: int) -> float:
    """Return the seconds to insert the rows of a store into a fresh one by way of JSON, and to post the bytes."""
    with contextlib.closing(sqlite3.connect(source)) as connection:
        columns = "prompt_name, prompt_version, metadata, input_text, output_text, request_id, created_at"
        rows = connection.execute(f"SELECT {columns} FROM invocations ORDER BY id").fetchall()
    target = folder / f"floor{time.monotonic_ns()}.db"
    promptry.use_store(target)
    promptry.connect()
    promptry.close_store()
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        began = time.perf_counter()
        for place in range(0, len(rows), promptry.SHIPPED_ROWS):
            connection.execute("BEGIN IMMEDIATE")
            some = json.loads(json.dumps(rows[place : place + promptry.SHIPPED_ROWS]))
            for row in some:
                json.loads(row[2])  # what is in a call is looked at
            connection.executemany(promptry.INSERT_CALL, some)
            connection.execute("COMMIT")
        for wire in wires:
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(asked):
                asked.request("POST", "/", wire)
                asked.getresponse().read()
        return time.perf_counter() - began


def shipped_s(source: Path, hub: Path) -> float:
    """Return the seconds that it takes to ship a store to a new hub in a process of its own."""
    port = free_port()
    tell_remote(source.parent, port)
    promptry.forget_settings()
    with running_hub(hub, port):
        http.client.HTTPConnection("127.0.0.1", port).request("GET", "/api/health")
        promptry.use_store(source)
        promptry.connect()
        began = time.perf_counter()
        found = promptry.push(everything=True)
        span = time.perf_counter() - began
    assert found["taken"]["invocations"] == CALLS
    return span


def test_calls_are_shipped_at_a_small_multiple_of_inserting_and_posting_them(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    fill(source)
    found = list(shipments(source))
    wires, plain = [one.wire for one in found], sum(one.rows["invocations"] for one in found)
    assert plain == CALLS
    pairs = []
    with echo_server() as port:
        for number in range(ROUNDS):
            ours = shipped_s(source, tmp_path / f"hub{number}.db")
            pairs.append((ours, floor_s(source, tmp_path, wires, port)))
    mine, floor = (min(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    show([(f"{CALLS:,} calls shipped", f"{mine * 1e3:.0f} ms", f"{floor * 1e3:.0f} ms", ratio, "4.0")])
    rates = ", ".join(f"{CALLS / pair[0]:,.0f}" for pair in pairs)
    print(f"calls a second: {rates} (goal: 5,000); {sum(map(len, wires)) / CALLS:.0f} bytes a call on the wire")
    assert ratio <= 4.0


CALLER = """
import json, random, statistics, sys, time, promptry
facts, usage = eval(sys.stdin.readline()), eval(sys.stdin.readline())
promptry.track("Answer: $question", "answer")
track, clock = promptry.track_invocation, time.perf_counter
courier, spans = promptry._courier, ([], [])
assert courier is not None
time.sleep(2.0)
began = time.process_time(), time.thread_time()
for which in random.Random(7).choices((0, 1), k=40_000):  # no order that a file's pages might keep time with
    promptry._courier = None if which else courier  # without one a commit rings no bell
    at = clock()
    track("answer", facts, model="gpt-4.1-mini", provider="openai", usage=usage)
    spans[which].append(clock() - at)
here = time.thread_time() - began[1]
beside = time.process_time() - began[0] - here
assert not courier.ended.is_set() and courier.bell.is_set()
print(json.dumps([*map(statistics.median, spans), beside / here]))
"""


def ask_caller(folder: Path, port: int) -> tuple[float, float, float]:
    """Return the seconds of a call that rings for a courier and of one that does not, and the courier's share beside.

    Both take turns in one process, call by call: it may be twice as slow a second later, or than another all its life.
    """
    folder.mkdir(parents=True)
    tell_remote(folder, port)
    done = subprocess.run(
        [sys.executable, "-c", CALLER],
        env=child_environment(PROMPTRY_DB=str(folder / "store.db")),
        cwd=folder,
        input=f"{FACTS!r}\n{USAGE!r}\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    mine, floor, share = json.loads(done.stdout)
    return mine, floor, share


@contextlib.contextmanager
def silent_hub() -> Iterator[int]:
    gone = threading.Event()
    answer: Callable[[Any, dict[str, Any]], None] = lambda hub, body: gone.wait(60) and None  # noqa: E731
    with false_hub(answer) as (port, _):
        yield port
        gone.set()


def test_a_caller_notices_nothing_of_a_hub_that_is_down_or_slow(tmp_path: Path) -> None:
    """Neither on its way, nor by what the courier's thread takes of the processor meanwhile."""
    rows = []
    with silent_hub() as slow:
        for what, port in (("hub down", free_port()), ("hub slow", slow)):
            found = [ask_caller(tmp_path / what / str(number), port) for number in range(3)]
            mine, floor, share = map(statistics.median, zip(*found, strict=True))
            told = f"{mine * 1e6:.1f} us", f"{floor * 1e6:.1f} us"
            rows.append((f"track_invocation, {what}", *told, mine / floor, "1.05"))
            rows.append((f"with what goes on beside, {what}", *told, mine / floor + share, "1.05"))
    show(rows)
    assert all(row[3] <= 1.05 for row in rows)
