"""MIGRATIONS: an empty file becomes today's schema exactly once, and no other file is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry


def prints_of(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a folder; an empty log and its index, which readers leave, are no change."""
    files = [path for path in folder.iterdir() if not path.name.endswith("-shm")]
    files = [path for path in files if path.stat().st_size or not path.name.endswith("-wal")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def schema_of(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    finally:
        connection.close()


def test_an_empty_file_gets_todays_schema(store: Path) -> None:
    store.touch()
    promptry.connect()
    promptry.close_store()
    connection = sqlite3.connect(store)
    rows = connection.execute("SELECT version, description, applied_at FROM schema_version").fetchall()
    connection.close()
    assert [(version, description) for version, description, _ in rows] == [
        (version, description) for version, description, _ in promptry.MIGRATIONS
    ]
    assert all(len(moment) == 24 and moment.endswith("Z") for *_, moment in rows)


def test_migrations_are_numbered_from_one_without_holes() -> None:
    assert [version for version, *_ in promptry.MIGRATIONS] == list(range(1, len(promptry.MIGRATIONS) + 1))
    assert all(description for _, description, _ in promptry.MIGRATIONS)


def test_a_second_opening_applies_nothing(store: Path) -> None:
    promptry.connect()
    promptry.close_store()
    before = schema_of(store)
    connection = sqlite3.connect(store, isolation_level=None)
    assert promptry.migrate(connection, str(store)) == 0
    connection.close()
    promptry.connect()
    promptry.close_store()
    assert schema_of(store) == before


def test_a_first_opening_applies_every_step_once(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    assert promptry.migrate(connection, "new.db") == len(promptry.MIGRATIONS)
    assert promptry.migrate(connection, "new.db") == 0
    connection.close()


def test_a_store_is_migrated_from_each_step_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are added as the product grows; until then an invented one shows that a step alone is applied."""
    real = promptry.MIGRATIONS
    more = (*real, (len(real) + 1, "a later step", ("CREATE VIEW later AS SELECT 1 AS one",)))
    for done in range(1, len(more)):
        path = tmp_path / f"{done}.db"
        connection = sqlite3.connect(path, isolation_level=None)
        monkeypatch.setattr(promptry, "MIGRATIONS", more[:done])
        assert promptry.migrate(connection, str(path)) == done
        connection.execute("INSERT INTO invocations (prompt_name) VALUES ('kept')")
        monkeypatch.setattr(promptry, "MIGRATIONS", more)
        assert promptry.migrate(connection, str(path)) == len(more) - done
        assert connection.execute("SELECT one, prompt_name FROM later, invocations").fetchall() == [(1, "kept")]
        connection.close()


@pytest.mark.parametrize("broken", [0, 3, -1])
def test_an_interrupted_migration_leaves_nothing(store: Path, monkeypatch: pytest.MonkeyPatch, broken: int) -> None:
    version, description, statements = promptry.MIGRATIONS[0]
    bad = list(statements)
    bad[broken:broken] = ["CREATE TABLE broken ("]
    monkeypatch.setattr(promptry, "MIGRATIONS", ((version, description, tuple(bad)),))
    with pytest.raises(promptry.StoreError), promptry.transact():
        raise AssertionError("the store must not open")
    assert schema_of(store) == []
    monkeypatch.undo()
    promptry.use_store(store)
    assert promptry.save_prompt("greeting", "Hello") == 1


def test_an_interrupted_later_step_leaves_the_earlier_ones(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promptry.save_prompt("greeting", "Hello")
    promptry.close_store()
    before = schema_of(store)
    late = ("CREATE VIEW later AS SELECT 1 AS one", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(promptry, "MIGRATIONS", (*promptry.MIGRATIONS, (len(promptry.MIGRATIONS) + 1, "breaks", late)))
    with pytest.raises(promptry.StoreError, match="no such table"):
        promptry.list_prompts()
    assert schema_of(store) == before


# --- files that are not ours to touch


def newer(path: Path) -> str:
    promptry.use_store(path)
    promptry.track("Hello", "greeting")
    promptry.connect().execute("INSERT INTO schema_version (version, description) VALUES (999, 'later')")
    promptry.use_store(None)
    return "newer promptry"


def newer_without_our_log(path: Path) -> str:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, description TEXT, applied_at TEXT)")
    connection.execute("INSERT INTO schema_version VALUES (999, 'later', 'then')")
    connection.commit()
    connection.close()
    return "newer promptry"


def foreign(path: Path) -> str:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.commit()
    connection.close()
    return "another program"


def foreign_with_versions(path: Path) -> str:
    """Make a file of another program that happens to number its schema in a table of the same name."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE schema_version (version INTEGER)")
    connection.execute("INSERT INTO schema_version VALUES (1)")
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.commit()
    connection.close()
    return "another program"


def foreign_with_no_version_yet(path: Path) -> str:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE schema_version (number INTEGER)")
    connection.commit()
    connection.close()
    return "another program"


def foreign_view(path: Path) -> str:
    connection = sqlite3.connect(path)
    connection.execute("CREATE VIEW something AS SELECT 1 AS one")
    connection.commit()
    connection.close()
    return "another program"


UNTOUCHABLE = [newer, newer_without_our_log, foreign, foreign_with_versions, foreign_with_no_version_yet, foreign_view]


@pytest.mark.parametrize("make", UNTOUCHABLE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", [["prompt", "list"], ["prompt", "promote", "greeting", "1", "prod"], ["doctor"]])
def test_a_file_that_is_not_ours_is_refused_in_one_sentence_and_left_untouched(
    tmp_path: Path, make: Callable[[Path], str], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    said = make(folder / "store.db")
    os.chmod(folder / "store.db", 0o600)
    before = prints_of(folder)
    assert set(before) == {"store.db"}
    code = promptry.run_command([*command, "--db", str(folder / "store.db")])
    promptry.use_store(None)
    out = capsys.readouterr()
    assert prints_of(folder) == before
    if command == ["doctor"]:
        assert code in {1, 3} and said in out.out + out.err
    else:
        assert code == 3 and said in out.err and len(out.err.splitlines()) == 1


@pytest.mark.parametrize("make", UNTOUCHABLE, ids=lambda make: make.__name__)
def test_the_sdk_leaves_a_file_that_is_not_ours_untouched(tmp_path: Path, make: Callable[[Path], str]) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    make(folder / "store.db")
    before = prints_of(folder)
    promptry.use_store(folder / "store.db")
    promptry.track("Hello", "greeting")
    assert promptry.track_invocation("greeting") is None
    promptry.seed_prompt("other", "Hello")
    assert promptry.render_prompt("greeting", "default") == "default"
    promptry.use_store(None)
    promptry.forget_kept_rows()
    assert prints_of(folder) == before


def test_a_newer_store_whose_writer_was_killed_keeps_all_that_was_in_its_log(tmp_path: Path) -> None:
    """SQLite itself may move the log into the file when the last reader leaves: the content counts here."""
    source, folder = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    folder.mkdir()
    promptry.use_store(source / "store.db")
    connection = promptry.connect()
    connection.execute("INSERT INTO schema_version (version, description) VALUES (999, 'later')")
    before = list(connection.iterdump())
    for name in ("store.db", "store.db-wal"):
        shutil.copy(source / name, folder / name)
    promptry.use_store(folder / "store.db")
    with pytest.raises(promptry.StoreError, match="newer promptry"):
        promptry.list_prompts()
    promptry.use_store(None)
    connection = sqlite3.connect(folder / "store.db")
    assert list(connection.iterdump()) == before
    connection.close()


def test_a_sentence_about_a_newer_file_says_both_numbers(store: Path) -> None:
    newer(store)
    promptry.use_store(store)
    with pytest.raises(promptry.StoreError) as caught:
        promptry.list_prompts()
    assert f"schema 999; this one knows {promptry.MIGRATIONS[-1][0]}" in str(caught.value)
    assert "Update promptry" in caught.value.hint


# --- many processes at once

OPENERS = """
import os, sys, time, promptry
number = sys.argv[1]
real, applied = promptry.migrate, []
def counted(connection, path):
    applied.append(real(connection, path))
    return applied[-1]
promptry.migrate = counted
for line in sys.stdin:
    path, moment = line.split("|")
    promptry.use_store(path)
    promptry.forget_templates()
    applied.clear()
    while time.time() < float(moment):
        pass
    try:
        id = promptry.track_invocation("answer", {"number": int(number)})
        text = promptry.track("by " + number, "greeting " + path)
        print(id, sum(applied), flush=True)
    except BaseException as error:
        print(repr(error), flush=True)
"""
ROUNDS = 40


@pytest.mark.slow
def test_of_four_processes_that_open_a_new_file_exactly_one_migrates_and_all_write(
    tmp_path: Path, start_python: Any
) -> None:
    """The processes stay, and each round is a new file that all open at the same moment, to the clock's tick."""
    children = [start_python(OPENERS, number) for number in range(4)]
    for round in range(ROUNDS):
        path = tmp_path / f"{round}.db"
        moment = time.time() + (1.0 if round == 0 else 0.02)
        for child in children:
            child.stdin.write(f"{path}|{moment}\n")
            child.stdin.flush()
        said = [child.stdout.readline().split() for child in children]
        assert all(len(words) == 2 and words[0] != "None" for words in said), (round, said)
        assert sorted(int(applied) for _, applied in said) == [0, 0, 0, len(promptry.MIGRATIONS)], (round, said)
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT count(*) FROM invocations").fetchone() == (4,)
        assert connection.execute("SELECT group_concat(version) FROM prompts ORDER BY 1").fetchone() == ("1,2,3,4",)
        assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (len(promptry.MIGRATIONS),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


@pytest.mark.slow
def test_four_fresh_processes_open_a_new_file_at_once_and_all_write(tmp_path: Path, start_python: Any) -> None:
    code = """
    import sys, promptry
    promptry.use_store(sys.argv[1])
    sys.exit(0 if promptry.track_invocation("answer") else 1)
    """
    for round in range(4):
        path = tmp_path / f"{round}.db"
        children = [start_python(code, path) for _ in range(4)]
        assert [child.wait(30) for child in children] == [0] * 4, [child.stderr.read() for child in children]
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT count(*) FROM invocations").fetchone() == (4,)
        connection.close()
