"""Faults: a killed process loses nothing it acknowledged, and many writers at once lose nothing at all."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = pytest.mark.fault

WRITER = """
import os, sys, promptry
promptry.use_store(sys.argv[1])
while True:
    id = promptry.track_invocation("answer", {"cost_usd": 0.5, "text": "x" * 300})
    assert id is not None
    os.write(1, b"call %d.\\n" % id)
    if id % 50 == 0:
        promptry.track(f"version {id}", "greeting", tag="prod")
        os.write(1, b"prompt %d.\\n" % id)
"""


def one(path: Path, sql: str) -> Any:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def column(path: Path, sql: str) -> set[Any]:
    connection = sqlite3.connect(path)
    try:
        return {value for (value,) in connection.execute(sql)}
    finally:
        connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_writer_killed_200_times_loses_no_row_that_it_acknowledged(store: Path, start_python: Any) -> None:
    """Each round starts a child, lets it write for a random moment, kills it with SIGKILL, and looks at the file.

    The children are forked by one parent that has promptry imported: a start of Python costs more than a round. Both
    write to one pipe, each line in one write, which the system never mixes.
    """
    forker = start_python(
        """
        import os, sys, promptry
        code = sys.stdin.readline().encode().decode("unicode_escape")
        for line in sys.stdin:
            pid = os.fork()
            if pid == 0:
                try:
                    exec(code, {"__name__": "child"})
                finally:
                    os._exit(3)
            os.write(1, b"child %d.\\n" % pid)
            os.write(1, b"ended %d.\\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
        store,
    )
    forker.stdin.write(WRITER.encode("unicode_escape").decode() + "\n")
    moments = random.Random(20260727)
    acknowledged: set[int] = set()
    prompts: set[str] = set()
    for round in range(200):
        forker.stdin.write("go\n")
        forker.stdin.flush()
        calls, versions = live_until_killed(forker, moments.uniform(0.0, 0.06))
        acknowledged |= calls
        prompts |= {f"version {number}" for number in versions}
        if round % 10 == 9:
            assert acknowledged <= column(store, "SELECT id FROM invocations"), round
            assert prompts <= column(store, "SELECT content FROM prompts"), round
            assert one(store, "PRAGMA integrity_check") == "ok", round
    assert len(acknowledged) > 400 and len(prompts) > 5
    assert one(store, "SELECT count(*) FROM invocations") - len(acknowledged) <= 200
    assert one(store, "SELECT count(*) FROM prompt_tags") == 1


def live_until_killed(forker: Any, span_s: float) -> tuple[set[int], set[int]]:
    """Read what the forker's child acknowledges, kill it at the first line after a span, and return what it said."""
    said: dict[str, list[int]] = {"call": [], "prompt": [], "child": [], "ended": []}
    began, killed = time.monotonic(), False
    while not said["ended"]:
        line = forker.stdout.readline()
        found = re.fullmatch(r"(call|prompt|child|ended) (-?\d+)\.\n", line)
        if found is None:
            forker.kill()
            raise AssertionError(f"{line!r} {forker.communicate()[1]}")
        said[found[1]].append(int(found[2]))
        if said["child"] and not killed and time.monotonic() - began > span_s:
            os.kill(said["child"][0], signal.SIGKILL)
            killed = True
    assert killed and said["ended"] == [-signal.SIGKILL]
    return set(said["call"]), set(said["prompt"])


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_kill_in_the_middle_of_the_first_opening_leaves_a_store_that_opens(tmp_path: Path, start_python: Any) -> None:
    moments = random.Random(7)
    code = """
    import sys, promptry
    promptry.use_store(sys.argv[1])
    print("go", flush=True)
    promptry.connect()
    print("open", flush=True)
    sys.stdin.read()
    """
    for round in range(15):
        path = tmp_path / f"{round}.db"
        child = start_python(code, path)
        child.stdout.readline()
        time.sleep(moments.uniform(0, 0.02))
        child.kill()
        child.wait()
        promptry.use_store(path)
        assert promptry.track_invocation("answer") == 1
        assert one(path, "PRAGMA integrity_check") == "ok"
        assert one(path, "SELECT count(*) FROM schema_version") == len(promptry.MIGRATIONS)


CROWD = """
import asyncio, multiprocessing, os, sys, threading, time
import promptry

def write(count):
    ids = [promptry.track_invocation("answer", {"cost_usd": 0.5, "n": n}) for n in range(count)]
    promptry.flush_kept_rows(20)
    return ids

def work(count):
    promptry.use_store(sys.argv[1]) if multiprocessing.parent_process() else None
    return len(write(count))

def in_threads(count):
    done = []
    threads = [threading.Thread(target=lambda: done.append(len(write(count // 4)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)

def in_tasks(count):
    async def all_of_them():
        track, facts = promptry.track_invocation, {"cost_usd": 0.5}
        calls = (asyncio.to_thread(track, "answer", {**facts, "n": n}) for n in range(count))
        return await asyncio.gather(*calls)
    ids = asyncio.run(all_of_them())
    promptry.flush_kept_rows(20)
    return len(ids)

def forked(count, processes, job):
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if job(count) == count else 2
            finally:
                os._exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [0] * processes, codes

if __name__ == "__main__":
    how, count, processes = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    promptry.use_store(sys.argv[1])
    if how == "new processes":
        write(count)
    elif how == "spawn":
        promptry.connect()
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            assert sum(pool.map(work, [count] * processes, chunksize=1)) == count * processes
    else:
        promptry.connect()
        forked(count, processes, {"fork": lambda n: len(write(n)), "threads": in_threads, "asyncio": in_tasks}[how])
"""

# The full 4 x 5,000 where each call costs what a server pays. asyncio.to_thread costs a hand-over to a thread per call,
# and threads of one process share one lock: fewer rows say the same there.
CROWDS = [
    ("new processes", 5_000, 4),
    ("fork", 5_000, 4),
    ("spawn", 5_000, 4),
    ("threads", 2_000, 4),
    ("asyncio", 1_000, 4),
]


@pytest.mark.parametrize(("how", "count", "processes"), CROWDS, ids=[how for how, _, _ in CROWDS])
def test_many_writers_at_once_store_every_row_and_none_raises(
    store: Path, start_python: Any, how: str, count: int, processes: int
) -> None:
    if how in {"fork", "threads", "asyncio"} and sys.platform == "win32":
        pytest.skip("no fork here")
    began = time.monotonic()
    starts = processes if how == "new processes" else 1
    children = [start_python(CROWD, store, how, count, processes) for _ in range(starts)]
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said
        assert "Traceback" not in said and "lost" not in said, said
    assert one(store, "SELECT count(*) FROM invocations") == count * processes
    assert one(store, "SELECT count(DISTINCT json_extract(metadata, '$.uid')) FROM invocations") == count * processes
    assert one(store, "SELECT sum(cost_usd) FROM invocations") == 0.5 * count * processes
    assert one(store, "PRAGMA integrity_check") == "ok"
    print(f"{how}: {count * processes} rows of {processes} processes in {time.monotonic() - began:.1f} s")
