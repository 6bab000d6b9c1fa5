"""STORE: one file, opened once per thread, that is waited for briefly and never half-written."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import sqlite3
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import promptry


def rows_of(path: Path, sql: str = "SELECT count(*) FROM invocations") -> Any:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


# --- how the file is opened


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 1), ("busy_timeout", 250)]
)
def test_a_connection_has_its_pragmas(store: Path, pragma: str, value: Any) -> None:
    assert promptry.connect().execute(f"PRAGMA {pragma}").fetchone()[0] == value


def test_settings_choose_full_synchronous_and_the_wait(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text('[store]\nsynchronous = "full"\nwait_ms = 40\n')
    connection = promptry.connect()
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert connection.execute("PRAGMA busy_timeout").fetchone()[0] == 40


def test_every_thread_has_the_pragmas_and_a_connection_of_its_own(store: Path) -> None:
    found: list[tuple[int, int, int]] = []

    def look() -> None:
        connection = promptry.connect()
        found.append(
            (
                id(connection),
                connection.execute("PRAGMA foreign_keys").fetchone()[0],
                connection.execute("PRAGMA busy_timeout").fetchone()[0],
            )
        )
        time.sleep(0.05)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({connection for connection, _, _ in found}) == 4
    assert {(keys, wait) for _, keys, wait in found} == {(1, 250)}


def test_connections_of_ended_threads_are_closed(store: Path) -> None:
    promptry.connect()
    for _ in range(20):
        thread = threading.Thread(target=promptry.connect)
        thread.start()
        thread.join()
    assert len(promptry._connections) <= 3


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_file_and_its_companions_are_for_their_owner_only(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        promptry.use_store(tmp_path / "deep" / "er" / "store.db")
        promptry.track_invocation("answer")
        files = sorted((tmp_path / "deep" / "er").iterdir())
        assert {file.name for file in files} >= {"store.db", "store.db-wal"}
        assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    finally:
        os.umask(before)


def test_nothing_is_made_before_the_first_use(store: Path) -> None:
    promptry.use_store(store)
    assert not store.exists()


# --- where it is


LOCATIONS = [
    # (--db, PROMPTRY_DB, promptry.toml in the folder above, where the store is)
    ("cli.db", "env.db", '[store]\npath = "toml.db"\n', "work/cli.db"),
    (None, "env.db", '[store]\npath = "toml.db"\n', "work/env.db"),
    (None, None, '[store]\npath = "toml.db"\n', "toml.db"),
    (None, None, "", ".promptry/store.db"),
    (None, None, None, "home/.promptry/store.db"),
    (None, "", "", ".promptry/store.db"),
]


@pytest.mark.parametrize(("option", "variable", "toml", "where"), LOCATIONS)
def test_the_first_that_says_where_the_store_is_wins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str | None,
    variable: str | None,
    toml: str | None,
    where: str,
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    if toml is not None:
        (tmp_path / "promptry.toml").write_text(toml)
    if variable is not None:
        monkeypatch.setenv("PROMPTRY_DB", variable)
    promptry.use_store(option)
    assert promptry.store_path() == tmp_path / where
    promptry.track("Hello", "greeting")
    assert rows_of(tmp_path / where, "SELECT count(*) FROM prompts") == 1


def test_the_nearest_promptry_toml_upward_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "promptry.toml").write_text("")
    (tmp_path / "a" / "promptry.toml").write_text("")
    monkeypatch.chdir(inner)
    assert promptry.store_path() == tmp_path / "a" / ".promptry" / "store.db"


def test_a_user_without_a_home_is_told_to_name_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", find_none)
    with pytest.raises(promptry.StoreError, match="no home folder for the store. --db FILE or PROMPTRY_DB"):
        promptry.store_path()
    assert promptry.track("text", "prompt") == "text"
    monkeypatch.setenv("PROMPTRY_DB", "/tmp/a.db")
    assert str(promptry.store_path()) == "/tmp/a.db"


def test_a_tilde_in_the_path_is_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text('[store]\npath = "~/mine.db"\n')
    assert promptry.store_path() == Path.home() / "mine.db"


def test_the_db_option_of_the_command_line_wins_over_all(tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "promptry.toml").write_text('[store]\npath = "toml.db"\n')
    promptry.use_store(tmp_path / "asked.db")
    promptry.track("Hello", "greeting")
    for words in (["--db", "asked.db", "prompt", "list"], ["prompt", "list", "--db", "asked.db"]):
        done = run_cli(*words, PROMPTRY_DB=str(tmp_path / "env.db"))
        assert done.returncode == 0 and "greeting" in done.stdout, done
    assert not (tmp_path / "env.db").exists() and not (tmp_path / "toml.db").exists()


def test_a_store_chosen_anew_gets_what_is_tracked_anew(tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        promptry.use_store(tmp_path / name)
        promptry.track("Hello", "greeting")
        assert rows_of(tmp_path / name, "SELECT count(*) FROM prompts") == 1


# --- transactions


def test_a_thread_that_outlives_a_change_of_stores_uses_the_new_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        for name in ("one", "two"):
            promptry.use_store(tmp_path / f"{name}.db")
            promptry.save_prompt("here", "text")
            assert pool.submit(promptry.save_prompt, "p", name).result() == 1
            assert pool.submit(promptry.render_prompt, "p", "default").result() == name


def test_a_transaction_that_fails_leaves_nothing_and_no_lock(store: Path) -> None:
    with pytest.raises(ZeroDivisionError), promptry.transact() as connection:
        connection.execute("INSERT INTO invocations (prompt_name) VALUES ('x')")
        raise ZeroDivisionError
    assert not promptry.connect().in_transaction
    assert rows_of(store) == 0
    other = sqlite3.connect(store, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_transactions_nest_into_one(store: Path) -> None:
    with pytest.raises(promptry.WrongUse), promptry.transact():
        promptry.save_prompt("greeting", "Hello")
        promptry.save_prompt("", "Hello")
    assert rows_of(store, "SELECT count(*) FROM prompts") == 0


def test_a_refused_row_is_a_store_error_of_one_sentence(store: Path) -> None:
    with pytest.raises(promptry.StoreError, match=r"never changes"), promptry.transact() as connection:
        connection.execute("INSERT INTO prompts (name, version, content, hash) VALUES ('greeting', 1, 'Hello', 'h')")
        connection.execute("UPDATE prompts SET content = 'other'")


# --- threads, asyncio, fork, spawn


@pytest.fixture
def patient(tmp_path: Path) -> None:
    """Have a call wait for as long as a slow disk may hold up who writes before it: what is tested is not waiting."""
    (tmp_path / "promptry.toml").write_text("[store]\nwait_ms = 5000\n")
    assert promptry.settings().wait_ms == 5000


@pytest.mark.usefixtures("patient")
def test_threads_write_at_once_and_no_row_is_lost(store: Path) -> None:
    ids: list[int | None] = []

    def work() -> None:
        ids.extend(promptry.track_invocation("answer", {"n": n}) for n in range(200))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in ids and len(set(ids)) == 1600
    assert rows_of(store) == 1600


@pytest.mark.usefixtures("patient")
def test_asyncio_to_thread_writes_every_row(store: Path) -> None:
    async def work() -> list[int | None]:
        calls = (asyncio.to_thread(promptry.track_invocation, "answer", {"n": n}) for n in range(200))
        return list(await asyncio.gather(*calls))

    ids = asyncio.run(work())
    assert None not in ids and len(set(ids)) == 200 and rows_of(store) == 200


FORKED = """
import os, sqlite3, sys, threading, promptry
promptry.use_store(sys.argv[1])
assert promptry.track_invocation("parent", {"cost_usd": 0.1})
promptry.track("Hello", "greeting")
of_parent = promptry.connect()
stop, pids = threading.Event(), []
def write():
    while not stop.is_set():
        assert promptry.track_invocation("thread")
if sys.argv[2] == "writing":
    threading.Thread(target=write, daemon=True).start()
for number in range(int(sys.argv[3])):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ids = [promptry.track_invocation("child", {"number": number}) for _ in range(5)]
            promptry.track(f"child {number}", "of the child")
            assert promptry.connect() is not of_parent, "a connection must not cross a fork"
            promptry.close_store()
            ids.append(promptry.track_invocation("child"))
            code = 0 if None not in ids else 2
        finally:
            os._exit(code)
    pids.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
stop.set()
assert codes == [0] * len(pids), codes
assert promptry.track_invocation("parent")
promptry.close_store()
connection = sqlite3.connect(sys.argv[1])
def one(sql):
    return connection.execute(sql).fetchone()[0]
assert one("SELECT count(*) FROM invocations WHERE prompt_name = 'child'") == 6 * len(pids)
assert one("SELECT count(*) FROM invocations WHERE prompt_name = 'parent'") == 2
assert one("SELECT count(*) FROM prompts WHERE name = 'of the child'") == len(pids)
assert one("SELECT count(DISTINCT json_extract(metadata, '$.uid')) = count(*) FROM invocations") == 1
assert one("PRAGMA integrity_check") == "ok"
"""


@pytest.mark.usefixtures("patient")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("threads", "children"), [("idle", 4), ("writing", 12)])
def test_a_forked_child_writes_and_the_parent_goes_on(
    store: Path, run_python: Any, threads: str, children: int
) -> None:
    run_python(FORKED, store, threads, children)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_store_the_rows_its_parent_keeps(store: Path, run_python: Any) -> None:
    done = run_python(
        """
        import os, sqlite3, sys, promptry
        promptry.use_store(sys.argv[1])
        promptry.connect()
        other = sqlite3.connect(sys.argv[1], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert promptry.track_invocation("kept") is None
        other.execute("ROLLBACK"); other.close()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if promptry.track_invocation("child") else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        """,
        store,
    )
    assert done.returncode == 0
    assert rows_of(store, "SELECT group_concat(prompt_name) FROM (SELECT * FROM invocations ORDER BY prompt_name)") == (
        "child,kept"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_worker_of_multiprocessing_writes(store: Path, run_python: Any, method: str) -> None:
    run_python(
        """
        import multiprocessing, sys
        import promptry

        def work(number):
            promptry.use_store(sys.argv[1])
            promptry.track("Hello", "greeting")
            return [promptry.track_invocation("answer", {"n": n}) for n in range(10)]

        if __name__ == "__main__":
            promptry.use_store(sys.argv[1])
            promptry.track_invocation("answer")
            with multiprocessing.get_context(sys.argv[2]).Pool(3) as pool:
                ids = [id for part in pool.map(work, range(6)) for id in part]
            assert None not in ids and len(set(ids)) == 60, ids
            assert promptry.track_invocation("answer")
        """,
        store,
        method,
    )
    assert rows_of(store) == 62


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_worker_of_multiprocessing_stores_what_it_kept_when_it_ends(
    store: Path, start_python: Any, locked: Any, method: str
) -> None:
    with locked():
        child = start_python(
            """
            import multiprocessing, sys
            import promptry

            def work(path):
                promptry.use_store(path)
                assert promptry.track_invocation("kept") is None
                print("kept", flush=True)

            if __name__ == "__main__":
                worker = multiprocessing.get_context(sys.argv[2]).Process(target=work, args=(sys.argv[1],))
                worker.start()
                worker.join()
                sys.exit(worker.exitcode)
            """,
            store,
            method,
        )
        assert child.stdout.readline() == "kept\n", child.communicate()[1]
    assert child.wait(20) == 0
    assert rows_of(store) == 1


# --- a locked store


def test_a_locked_store_is_waited_for_about_wait_ms_and_the_row_comes_later(store: Path, locked: Any) -> None:
    with locked():
        began = time.monotonic()
        assert promptry.track_invocation("answer", {"n": 1}) is None
        first = time.monotonic() - began
        began = time.monotonic()
        assert promptry.track_invocation("answer", {"n": 2}) is None
        second = time.monotonic() - began
    assert 0.2 < first < 0.6
    assert second < 0.25
    last = promptry.track_invocation("answer", {"n": 3})
    kept = [promptry.get_call(row["id"])["metadata"]["n"] for row in promptry.list_calls()["items"]]
    assert last is not None and sorted(kept) == [1, 2, 3]


def test_a_lock_that_goes_away_in_time_costs_only_the_wait(store: Path, locked: Any) -> None:
    with locked() as other:
        timer = threading.Timer(0.1, lambda: None)
        timer.start()
        found: list[int | None] = []
        writer = threading.Thread(target=lambda: found.append(promptry.track_invocation("answer")))
        writer.start()
        timer.join()
        other.execute("ROLLBACK")
        writer.join()
    assert found[0] is not None


@pytest.mark.parametrize("wait_ms", [0, 50])
def test_wait_ms_is_the_bound(tmp_path: Path, wait_ms: int, locked: Any) -> None:
    (tmp_path / "promptry.toml").write_text(f"[store]\nwait_ms = {wait_ms}\n")
    with locked():
        began = time.monotonic()
        assert promptry.track_invocation("answer") is None
        assert time.monotonic() - began < wait_ms / 1000 + 0.15


def test_threads_that_meet_a_locked_store_do_not_queue_up_their_waits(store: Path, locked: Any) -> None:
    spans: list[float] = []

    def call() -> None:
        began = time.monotonic()
        assert promptry.track_invocation("answer") is None
        spans.append(time.monotonic() - began)

    with locked():
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(spans) == 8 and max(spans) < 0.8
    assert promptry.track_invocation("answer") is not None
    assert rows_of(store) == 9


@pytest.mark.slow
def test_rows_kept_in_memory_are_stored_at_exit(store: Path, run_python: Any) -> None:
    run_python(
        """
        import sqlite3, sys, threading, promptry
        promptry.use_store(sys.argv[1])
        promptry.connect()
        other = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        assert [promptry.track_invocation("kept") for _ in range(3)] == [None] * 3
        threading.Timer(0.5, lambda: other.execute("ROLLBACK")).start()
        """,
        store,
    )
    assert rows_of(store) == 3


@pytest.mark.slow
def test_exit_waits_for_a_locked_store_only_two_seconds(store: Path, run_python: Any, locked: Any) -> None:
    code = """
    import sys, promptry
    promptry.use_store(sys.argv[1])
    assert promptry.track_invocation("kept") is None
    """
    with locked():
        began = time.monotonic()
        done = run_python(code, store)
        assert time.monotonic() - began < 5.0
    assert "1 call could not be stored" in done.stderr


@pytest.mark.parametrize("write", ["track", "render_prompt", "seed_prompt"])
def test_no_sdk_call_waits_longer_than_about_wait_ms(store: Path, locked: Any, write: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "track": lambda: promptry.track("Hello", "greeting"),
        "render_prompt": lambda: promptry.render_prompt("greeting", "Hello"),
        "seed_prompt": lambda: promptry.seed_prompt("greeting", "Hello"),
    }
    with locked():
        began = time.monotonic()
        calls[write]()
        assert time.monotonic() - began < 0.8


@pytest.mark.slow
def test_a_locked_store_tells_the_command_line_in_one_sentence(store: Path, locked: Any, run_cli: Any) -> None:
    promptry.save_prompt("greeting", "Hello")
    with locked():
        done = run_cli("--db", store, "prompt", "promote", "greeting", "1", "prod")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1 and "is locked by another process" in done.stderr
    assert promptry.find_prompt("greeting", tag="prod") is None


def test_reading_goes_on_while_another_writes(store: Path, locked: Any) -> None:
    promptry.save_prompt("greeting", "Hello")
    with locked():
        assert promptry.list_prompts()["total"] == 1
        assert promptry.render_prompt("greeting", "default") == "Hello"


# --- stores that cannot be used


@contextlib.contextmanager
def corrupt_file(folder: Path) -> Iterator[Path]:
    path = folder / "corrupt.db"
    path.write_bytes(b"this was never a database\n" * 400)
    yield path


@contextlib.contextmanager
def damaged_file(folder: Path) -> Iterator[Path]:
    """Give a store whose pages behind the first are noise."""
    path = folder / "damaged.db"
    promptry.use_store(path)
    for number in range(200):
        promptry.track_invocation("answer", {"n": number, "text": "x" * 200})
    promptry.use_store(None)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(hashlib.sha512(b"noise").digest() * ((size - 4096) // 64))
    yield path


@contextlib.contextmanager
def below_a_file(folder: Path) -> Iterator[Path]:
    (folder / "plain").write_text("a regular file")
    yield folder / "plain" / "sub" / "store.db"


@contextlib.contextmanager
def unwritable_folder(folder: Path) -> Iterator[Path]:
    yield Path("/proc/promptry/store.db")


@contextlib.contextmanager
def a_folder(folder: Path) -> Iterator[Path]:
    path = folder / "folder.db"
    path.mkdir()
    yield path


@contextlib.contextmanager
def foreign_file(folder: Path) -> Iterator[Path]:
    path = folder / "foreign.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (id INTEGER)")
    other.commit()
    other.close()
    yield path


@contextlib.contextmanager
def newer_file(folder: Path) -> Iterator[Path]:
    path = folder / "newer.db"
    promptry.use_store(path)
    promptry.connect().execute("INSERT INTO schema_version (version, description) VALUES (999, 'later')")
    promptry.use_store(None)
    yield path


BROKEN = [corrupt_file, damaged_file, below_a_file, unwritable_folder, a_folder, foreign_file, newer_file]
broken_stores = pytest.mark.parametrize("broken", BROKEN, ids=lambda make: make.__name__)


@broken_stores
def test_the_sdk_carries_on_with_a_store_that_cannot_be_used(
    tmp_path: Path, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with broken(tmp_path) as path, warnings.catch_warnings(), caplog.at_level(logging.ERROR, "promptry"):
        warnings.simplefilter("error")
        promptry.use_store(path)
        began = time.monotonic()
        assert promptry.track("Hello $name", "greeting") == "Hello $name"
        assert promptry.track_invocation("greeting", {"cost_usd": 0.1}, usage={"a": 1}, capture=True) is None
        assert promptry.render_prompt("greeting", "Hello $name", variables={"name": "Ada"}) == "Hello Ada"
        promptry.seed_prompt("greeting", "Hello")
        assert promptry.last_request_id()
        assert time.monotonic() - began < 3.0
        assert promptry.count_untold_fallbacks() >= 1
        assert caplog.records and all(record.name == "promptry" for record in caplog.records)


@broken_stores
@pytest.mark.parametrize(
    "words", [["calls"], ["prompt", "list"], ["prompt", "promote", "greeting", "1", "prod"], ["runs", "--json"]]
)
def test_the_command_line_says_what_is_wrong_in_one_sentence_and_exits_3(
    tmp_path: Path, broken: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with broken(tmp_path) as path:
        before = path.read_bytes() if path.is_file() else None
        is_absent = broken is unwritable_folder and "promote" not in words  # what only reads would not make it
        assert promptry.run_command([*words, "--db", str(path)]) == (2 if is_absent else 3)
        said = capsys.readouterr()
        text = said.out + said.err
        assert str(path) in text and "Traceback" not in text
        assert len(said.err.splitlines()) == 1
        if "--json" in words:
            assert json.loads(said.out)["error"]["code"] == ("not_found" if is_absent else "store")
        else:
            assert not said.out
        promptry.use_store(None)
        assert (path.read_bytes() if path.is_file() else None) == before


def test_the_same_holds_in_a_process_of_its_own(tmp_path: Path, run_cli: Any, run_python: Any) -> None:
    with corrupt_file(tmp_path) as path:
        done = run_cli("calls", "--db", path)
        assert done.returncode == 3 and len(done.stderr.splitlines()) == 1, done
        done = run_python(
            """
            import sys, promptry
            promptry.use_store(sys.argv[1])
            assert promptry.track("a", "b") == "a" and promptry.track_invocation("b") is None
            """,
            path,
        )
        assert "Traceback" not in done.stderr


def test_a_store_that_becomes_usable_gets_the_rows_kept_in_memory(tmp_path: Path) -> None:
    blocker = tmp_path / "plain"
    blocker.write_text("a regular file")
    promptry.use_store(blocker / "store.db")
    assert [promptry.track_invocation("answer") for _ in range(3)] == [None] * 3
    blocker.unlink()
    assert promptry.track_invocation("answer") is not None
    assert rows_of(blocker / "store.db") == 4


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give the folder of a file system of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mount is refused here: {done.stderr.decode().strip()}")
    yield folder
    promptry.use_store(None)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill a file system to the last byte."""
    file = folder / "filler"
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as out:
        while True:
            out.write(b"x" * 4096)
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as out:
        while True:
            out.write(b"x")
    return file


def test_on_a_full_disk_the_sdk_carries_on_and_nothing_is_half_written(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "store.db"
    promptry.use_store(path)
    stored = [promptry.track_invocation("before", {"n": n}) for n in range(20)]
    filler = fill(small_disk)
    text = "x" * 40_000
    kept = [promptry.track_invocation("during", {"n": n}, output_text=text, capture=True) for n in range(20)]
    assert None not in stored and None in kept
    assert promptry.track("y" * 60_000, "long") == "y" * 60_000
    assert promptry.render_prompt("long", "the default") == "the default"
    with pytest.raises(promptry.StoreError, match=rf"^The disk of {re.escape(str(path))} is full\."):
        promptry.save_prompt("long", "z" * 100_000, tag="prod")
    assert rows_of(path, "SELECT count(*) FROM prompts") == rows_of(path, "SELECT count(*) FROM prompt_tags") == 0
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert promptry.track_invocation("after") is not None
    assert rows_of(path) == 41
    assert promptry.save_prompt("long", "z" * 100_000, tag="prod") == 1
    assert rows_of(path, "PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize("words", [["prompt", "promote", "greeting", "1", "prod"]])
def test_a_full_disk_is_one_sentence_and_exit_3_from_the_command_line(
    small_disk: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_disk / "store.db"
    promptry.use_store(path)
    promptry.save_prompt("greeting", "Hello " * 1000)
    promptry.use_store(None)
    filler = fill(small_disk)
    assert promptry.run_command([*words, "--db", str(path)]) == 3
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1 and "full" in said.err, said
    promptry.use_store(None)
    filler.unlink()
    assert rows_of(path, "SELECT count(*) FROM prompt_tags") == 0
    assert rows_of(path, "PRAGMA integrity_check") == "ok"


def test_a_store_that_cannot_be_made_on_a_full_disk_leaves_no_half_schema(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filler = fill(small_disk)
    path = small_disk / "store.db"
    for _ in range(2):
        assert promptry.run_command(["vote", "p", "Yes.", "--up", "--db", str(path)]) == 3
        said = capsys.readouterr()
        assert len(said.err.splitlines()) == 1 and "is full" in said.err, said
    assert promptry.track_invocation("kept") is None
    filler.unlink()
    assert promptry.track_invocation("after") is not None
    assert rows_of(path) == 2 and rows_of(path, "PRAGMA integrity_check") == "ok"


def test_reading_goes_on_when_the_disk_is_full(small_disk: Path) -> None:
    promptry.use_store(small_disk / "store.db")
    promptry.save_prompt("greeting", "Hello")
    fill(small_disk)
    assert promptry.render_prompt("greeting", "default") == "Hello"
    assert promptry.list_prompts()["total"] == 1


def test_importing_promptry_opens_nothing(tmp_path: Path, run_python: Any) -> None:
    done = run_python(
        "import promptry, sys\nprint(promptry.db.deferred, 'multiprocessing' in sys.modules)\n",
        PROMPTRY_DB=str(tmp_path / "untouched.db"),
    )
    assert done.stdout.split() == ["True", "False"] and not (tmp_path / "untouched.db").exists()


# --- a file that goes away


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be deleted")
@pytest.mark.parametrize("how", ["deleted", "replaced by an empty one", "replaced by a backup", "with its log"])
def test_a_store_that_is_deleted_or_replaced_is_opened_anew(store: Path, tmp_path: Path, clock: Any, how: str) -> None:
    promptry.save_prompt("p", "stored", tag="prod")
    promptry.backup(tmp_path / "backup.db")
    promptry.save_prompt("p", "later", tag="prod")
    assert promptry.render_prompt("p", "default", env="prod", ttl=0) == "later"
    store.unlink()
    if how == "with its log":
        Path(f"{store}-wal").unlink()
        Path(f"{store}-shm").unlink()
    if how == "replaced by an empty one":
        store.touch()
    if how == "replaced by a backup":
        Path(f"{store}-wal").unlink()
        (tmp_path / "backup.db").rename(store)
    clock(0.2)
    wanted = "stored" if how == "replaced by a backup" else "default"
    assert promptry.render_prompt("p", "default", env="prod", ttl=0) == wanted
    id = promptry.track_invocation("p")
    with sqlite3.connect(store) as other:
        assert other.execute("SELECT count(*) FROM invocations WHERE id = ?", (id,)).fetchone() == (1,)
    assert promptry.track("again", "q") == "again" and promptry.get_prompt("q")["version"] == 1


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be moved")
@pytest.mark.parametrize("log", ["stays", "goes"])
def test_a_file_that_is_moved_away_and_back_is_whole(store: Path, clock: Any, run_python: Any, log: str) -> None:
    away = store.with_name("away.db")
    for number in range(30):
        promptry.save_prompt("p", f"text {number}")
    store.rename(away)
    clock(0.2)
    assert promptry.render_prompt("p", "default", ttl=0) == "default"
    assert rows_of(away, "SELECT count(*) FROM prompts") == 30, "its log is brought into it"
    for end in ("", "-wal", "-shm") if log == "goes" else ("",):
        Path(f"{store}{end}").unlink(missing_ok=True)
    away.rename(store)
    clock(0.2)
    assert promptry.render_prompt("p", "default", ttl=0) == "text 29"
    id = promptry.track_invocation("p")
    done = run_python(
        f"import promptry\nprint(promptry.get_call('{id}')['id'], promptry.track_invocation('p'))",
        PROMPTRY_DB=str(store),
    )
    assert done.stdout.split() == [str(id), str((id or 0) + 1)]
    assert promptry.list_calls()["total"] == 2
    promptry.close_store()
    assert rows_of(store, "PRAGMA integrity_check") == "ok"
    assert rows_of(store, "SELECT count(*) FROM prompts") == 30


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be moved")
def test_a_file_that_is_back_is_opened_when_every_thread_has_left_it(store: Path, clock: Any) -> None:
    promptry.save_prompt("p", "text")
    go, seen = threading.Barrier(2, timeout=10), []

    def work() -> None:
        seen.append(promptry.get_prompt("p")["version"])
        go.wait()
        go.wait()
        seen.append(promptry.track_invocation("p"))
        go.wait()

    thread = threading.Thread(target=work)
    thread.start()
    go.wait()
    away = store.with_name("away.db")
    store.rename(away)
    clock(0.2)
    assert promptry.render_prompt("p", "default", ttl=0) == "default"
    for end in ("", "-wal", "-shm"):
        Path(f"{store}{end}").unlink(missing_ok=True)
    away.rename(store)
    clock(0.2)
    assert promptry.track_invocation("p") is None, "kept: the other thread has the file open from before"
    go.wait()
    go.wait()
    thread.join()
    assert seen == [1, 2] and promptry.track_invocation("p") == 3
    promptry.close_store()
    assert rows_of(store, "PRAGMA integrity_check") == "ok"
    assert rows_of(store) == 3


def test_a_file_that_cannot_be_seen_for_a_moment_is_not_left(
    store: Path, monkeypatch: pytest.MonkeyPatch, clock: Any, caplog: Any
) -> None:
    promptry.track_invocation("p")
    clock(0.2)

    def denied(path: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", denied)
        assert promptry.track_invocation("p") == 2
    clock(0.2)
    assert promptry.track_invocation("p") == 3
    assert caplog.text == "" and Path(f"{store}-wal").exists()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be deleted")
def test_every_thread_leaves_a_deleted_file(store: Path, clock: Any) -> None:
    promptry.track_invocation("p")
    go, ids = threading.Barrier(5, timeout=10), []

    def work() -> None:
        promptry.track_invocation("p")
        go.wait()
        go.wait()
        ids.append(promptry.track_invocation("p"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.wait()
    store.unlink()
    clock(0.2)
    go.wait()
    for thread in threads:
        thread.join()
    with sqlite3.connect(store) as other:
        assert other.execute("SELECT count(*) FROM invocations").fetchone() == (4,)
    assert sorted(ids) == [1, 2, 3, 4]
