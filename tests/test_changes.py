"""CHANGES: the mark moves with every commit of any process, and with nothing else."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import change_mark, end_watch, save_prompt, watch_changes


@pytest.fixture
def changes(store: Path) -> Iterator[promptry.Changes]:
    promptry.connect()
    watched = watch_changes(store)
    yield watched
    end_watch(watched)


def test_the_mark_stays_while_nothing_is_written(changes: promptry.Changes) -> None:
    for _ in range(3):
        promptry.get_overview()  # it keeps sums for the next time, once
    first = change_mark(changes)
    promptry.list_prompts()
    promptry.get_overview()
    assert change_mark(changes) == change_mark(changes) == first


def test_every_kind_of_write_moves_it(changes: promptry.Changes) -> None:
    writes = [
        lambda: save_prompt("p", "Text."),
        lambda: promptry.promote("p", 1, "prod"),
        lambda: promptry.remove_tag("p", "prod"),
        lambda: promptry.track_invocation("p"),
        lambda: promptry.record_feedback("r", 1.0),
        lambda: promptry.vote("p", "r", 1),
        lambda: promptry.set_budget("global", None, "daily", 1),
        lambda: promptry.remove_budget("global", None, "daily"),
        lambda: promptry.save_dataset("d", [1]),
    ]
    seen = [change_mark(changes)]
    for write in writes:
        write()
        seen.append(change_mark(changes))
    assert len(set(seen)) == len(writes) + 1


def test_writes_of_other_threads_processes_and_programs_move_it(
    changes: promptry.Changes, store: Path, run_python: Any
) -> None:
    seen = [change_mark(changes)]
    thread = threading.Thread(target=lambda: save_prompt("p", "From a thread."))
    thread.start()
    thread.join()
    seen.append(change_mark(changes))
    run_python("import promptry; promptry.save_prompt('p', 'From a process.')", PROMPTRY_DB=str(store))
    seen.append(change_mark(changes))
    with sqlite3.connect(store) as other:
        other.execute("UPDATE prompts SET metadata = '{}'")
    other.close()
    seen.append(change_mark(changes))
    assert len(set(seen)) == 4


def test_a_write_that_is_taken_back_does_not_move_it(changes: promptry.Changes) -> None:
    first = change_mark(changes)
    with pytest.raises(ZeroDivisionError), promptry.transact() as connection:
        connection.execute("INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 1)")
        raise ZeroDivisionError
    assert change_mark(changes) == first


def test_a_file_that_comes_goes_and_is_replaced_moves_it(tmp_path: Path, store: Path) -> None:
    watched = watch_changes(store)
    seen = [change_mark(watched)]
    assert change_mark(watched) == seen[0] and not store.exists()
    save_prompt("p", "Text.")
    seen.append(change_mark(watched))
    promptry.close_store()
    other = tmp_path / "other.db"
    store.rename(other)
    seen.append(change_mark(watched))
    other.rename(store)
    seen.append(change_mark(watched))
    assert len(set(seen)) == 4
    end_watch(watched)


def test_marks_of_two_servers_are_never_the_same(changes: promptry.Changes, store: Path) -> None:
    other = watch_changes(store)
    assert change_mark(changes) != change_mark(other)
    end_watch(other)


def test_a_damaged_file_is_said_and_looked_at_again(store: Path) -> None:
    watched = watch_changes(store)
    store.write_bytes(b"no database " * 500)
    for _ in range(2):
        with pytest.raises(promptry.StoreError, match="is no SQLite file"):
            change_mark(watched)
    store.unlink()
    save_prompt("p", "Text.")
    assert change_mark(watched)
    end_watch(watched)


def test_asking_is_cheap_and_holds_nobody_up(changes: promptry.Changes) -> None:
    """Against the cheapest read of the same file, in the same minute; a writer goes on meanwhile."""
    save_prompt("p", "Text.")
    change_mark(changes)

    def seconds(work: Any) -> float:
        start = time.perf_counter()
        for _ in range(300):
            work()
        return time.perf_counter() - start

    reader = promptry.connect()
    floor = min(seconds(lambda: reader.execute("SELECT 1 FROM prompts").fetchone()) for _ in range(5))
    assert min(seconds(lambda: change_mark(changes)) for _ in range(5)) < 10 * floor
    with promptry.transact() as connection:
        connection.execute("INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 1)")
        before = change_mark(changes)
    assert change_mark(changes) != before


def test_many_threads_may_ask_at_once(changes: promptry.Changes) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(change_mark(changes))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 30 and len(set(found)) == 1
