"""CARE: doctor says what is wrong with a store; a fault exits 1, a hint never."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

import promptry


def states() -> dict[str, str]:
    return {found["name"]: found["state"] for found in promptry.diagnose()}


def detail(name: str) -> str:
    return next(found["detail"] for found in promptry.diagnose() if found["name"] == name)


def test_a_sound_store_has_no_fault_and_says_what_it_holds(store: Path) -> None:
    promptry.track("A", "p")
    promptry.track_invocation("p", {"cost_usd": 0.1})
    assert set(states().values()) == {"ok"}
    assert str(store) in detail("store") and detail("rows") == "1 prompt version, 1 call, 0 runs"
    assert sqlite3.sqlite_version in detail("integrity")
    assert promptry.run_command(["doctor"]) == 0


def test_a_store_that_does_not_exist_yet_is_a_hint_and_is_not_made(store: Path) -> None:
    assert states()["store"] == "hint" and str(store) in detail("store")
    assert promptry.run_command(["doctor", "--db", str(store)]) == 0
    assert not store.exists()


def test_looking_changes_nothing(store: Path, raw: sqlite3.Connection) -> None:
    promptry.track("A", "p")
    before = list(raw.iterdump())
    promptry.diagnose()
    assert list(raw.iterdump()) == before


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize(("mode", "state"), [(0o600, "ok"), (0o644, "fault"), (0o640, "fault"), (0o602, "fault")])
def test_a_mode_too_open_is_a_fault(store: Path, mode: int, state: str) -> None:
    promptry.track("A", "p")
    store.chmod(mode)
    found = [found for found in promptry.diagnose() if found["name"] == "mode"]
    assert bool(found) is (state == "fault")
    assert promptry.run_command(["doctor"]) == (1 if state == "fault" else 0)


def test_another_store_is_named(store: Path) -> None:
    promptry.track("A", "p")
    other = Path.home() / ".promptry" / "store.db"
    other.parent.mkdir()
    other.write_bytes(b"")
    assert str(other) in detail("other store") and states()["other store"] == "hint"
    assert promptry.run_command(["doctor"]) == 0


def test_the_store_of_the_project_and_that_of_the_environment_are_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, variable, home = places = [tmp_path / name for name in ("own.db", "env.db", "home/.promptry/store.db")]
    (tmp_path / "promptry.toml").write_text('[store]\npath = "own.db"\n')
    promptry.forget_settings()
    for place in places:
        promptry.use_store(place)
        promptry.track("A", "p")
    monkeypatch.setenv("PROMPTRY_DB", str(variable))
    (tmp_path / "link.db").symlink_to(own)

    def others(path: Path | None) -> list[str]:
        promptry.use_store(path)
        return [found["detail"].split()[0] for found in promptry.diagnose() if found["name"] == "other store"]

    assert others(tmp_path / "absent.db") == [str(variable), str(own), str(home)]
    assert others(None) == [str(own), str(home)]
    assert others(own) == others(tmp_path / "link.db") == [str(variable), str(home)], "one file under two names"


def test_a_folder_as_the_store_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["doctor", "--db", str(tmp_path), "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["items"]}
    assert (rows["store"]["state"], rows["store"]["detail"]) == ("fault", f"{tmp_path} is a folder")
    assert [name for name, row in rows.items() if row["state"] == "fault"] == ["store"] and "mode" not in rows


def test_a_broken_promptry_toml_is_a_fault_and_the_rest_is_still_looked_at(tmp_path: Path, store: Path) -> None:
    promptry.track("A", "p")
    (tmp_path / "promptry.toml").write_text("[stor]\n")
    promptry.forget_settings()
    assert states()["settings"] == "fault" and "Did you mean 'store'?" in detail("settings")
    assert states()["integrity"] == "ok" and states()["rows"] == "ok"


def test_damaged_pages_are_a_fault(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(300):
        promptry.track_invocation("p", {"text": "x" * 300, "n": number})
    promptry.use_store(None)
    size = store.stat().st_size
    with store.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 4))
    assert promptry.run_command(["doctor", "--db", str(store)]) == 1
    said = capsys.readouterr()
    assert "fault" in said.out and "integrity" in said.out and "Traceback" not in said.err


@pytest.mark.parametrize("content", [b"no database at all\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_a_fault(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "corrupt.db"
    path.write_bytes(content)
    path.chmod(0o600)
    assert promptry.run_command(["doctor", "--db", str(path)]) == 1
    said = capsys.readouterr()
    assert "fault" in said.out and "Traceback" not in said.err
    promptry.use_store(None)
    assert path.read_bytes() == content


def test_a_store_whose_folder_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a regular file")
    assert promptry.run_command(["doctor", "--db", str(tmp_path / "plain" / "store.db")]) == 1


def test_lost_rows_are_a_fault_that_every_later_process_sees(store: Path, run_cli: Any) -> None:
    promptry.track_invocation("p", {"lost_rows": 7})
    promptry.use_store(None)
    done = run_cli("doctor", "--db", store)
    assert done.returncode == 1 and "7 calls were lost" in done.stdout


def test_rows_lost_at_several_times_are_summed(store: Path) -> None:
    for lost in (7, 5):
        promptry.track_invocation("p", {"lost_rows": lost})
    assert "12 calls were lost" in detail("rows")


def test_prompts_served_from_the_code_are_a_hint(store: Path) -> None:
    promptry.track("A", "p")
    promptry._untold["p"] = 2
    assert states()["fallbacks"] == "hint" and "2" in detail("fallbacks")
    assert promptry.run_command(["doctor"]) == 0


def test_doctor_has_the_shape_of_every_list(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promptry.track("A", "p")
    assert promptry.run_command(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"items", "total", "next"} and found["total"] == len(found["items"]) >= 4
    assert all(set(row) == {"name", "state", "detail"} for row in found["items"])


def test_a_locked_store_does_not_keep_doctor_waiting(store: Path, locked: Any) -> None:
    promptry.track("A", "p")
    with locked():
        began = time.monotonic()
        assert states()["integrity"] == "ok"
        assert time.monotonic() - began < 2.0


# --- backup


def test_a_backup_is_whole_private_and_one_file(store: Path, tmp_path: Path) -> None:
    promptry.track("text", "p", tag="prod")
    for number in range(50):
        promptry.track_invocation("p", {"n": number})
    found = promptry.backup(tmp_path / "copy.db")
    assert found["rows"]["invocations"] == 50 and found["rows"]["prompts"] == 1
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"]
    assert os.name != "posix" or (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "copy.db") as copy, sqlite3.connect(store) as source:
        assert list(copy.iterdump()) == list(source.iterdump())
    promptry.use_store(tmp_path / "copy.db")
    assert promptry.get_prompt("p", tag="prod")["version"] == 1


def test_a_backup_never_replaces_a_file_and_leaves_none_behind_where_it_fails(store: Path, tmp_path: Path) -> None:
    promptry.track("text", "p")
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(promptry.WrongUse, match="is there already"):
        promptry.backup(tmp_path / "there.db")
    assert (tmp_path / "there.db").read_text() == "mine"
    with pytest.raises(promptry.WrongUse, match="has no folder"):
        promptry.backup(tmp_path / "absent" / "copy.db")
    with promptry.transact() as connection:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO prompt_tags (prompt_id, tag) VALUES (1, 'x')")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("UPDATE prompt_tags SET prompt_id = 99")
    connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(promptry.StoreError, match="damaged"):
        promptry.backup(tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy.db*"))


def test_there_is_no_backup_of_a_store_that_is_not_there(store: Path, tmp_path: Path) -> None:
    with pytest.raises(promptry.StoreError, match="nothing to back up"):
        promptry.backup(tmp_path / "copy.db")
    assert not store.exists()


WRITER = """
import sys
import promptry
promptry.use_store(sys.argv[1])
print("writes", flush=True)
number = 0
while True:
    promptry.track_invocation("p", {"n": number})
    number += 1
"""


def test_a_backup_while_others_write_is_a_moment_of_the_store(store: Path, tmp_path: Path, start_python: Any) -> None:
    promptry.track("text", "p")
    child = start_python(WRITER, store)
    assert child.stdout.readline() == "writes\n"
    for number in range(5):
        time.sleep(0.05)
        promptry.backup(tmp_path / f"copy{number}.db")
    child.kill()
    child.wait()
    counts = []
    for number in range(5):
        with sqlite3.connect(tmp_path / f"copy{number}.db") as copy:
            rows = [row for (row,) in copy.execute("SELECT json_extract(metadata, '$.n') FROM invocations ORDER BY id")]
        assert rows == list(range(len(rows))), "no hole and no later row before an earlier one"
        counts.append(len(rows))
    assert counts == sorted(counts) and counts[-1] > 0


@pytest.mark.slow
def test_the_file_alone_is_whole_once_nobody_needs_the_log(store: Path, tmp_path: Path) -> None:
    promptry.save_prompt("p", "text")
    log = Path(f"{store}-wal")
    assert log.stat().st_size > 0
    reader = sqlite3.connect(store, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM prompts").fetchone()
    promptry.save_prompt("p", "another text")
    assert not promptry.settle_store() and log.stat().st_size > 0
    reader.close()
    assert promptry.settle_store() and log.stat().st_size == 0
    copy = tmp_path / "copy.db"
    copy.write_bytes(store.read_bytes())
    with contextlib.closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as alone:
        assert alone.execute("SELECT count(*) FROM prompts").fetchone() == (2,)


# --- retention

OLD = "2020-01-01T00:00:00.000Z"


def age(raw: sqlite3.Connection, table: str, where: str = "1") -> None:
    column = "timestamp" if table == "eval_runs" else "created_at"
    raw.execute(f"UPDATE {table} SET {column} = '{OLD}' WHERE {where}")


def rows_of(found: dict[str, Any]) -> dict[str, int]:
    return {row["what"]: row["rows"] for row in found["items"]}


def test_retention_says_what_would_go_and_takes_that_out(store: Path, raw: sqlite3.Connection) -> None:
    for number in range(6):
        promptry.track_invocation("p", request_id=f"r{number}", input_text="in", output_text="out", capture=True)
        promptry.record_feedback(f"r{number}", 1.0)
    promptry.vote("p", "x", 1)
    age(raw, "invocations", "id <= 4")
    age(raw, "feedback", "id <= 3")
    age(raw, "votes")
    asked = {"calls_days": 365}
    dry = promptry.retention(**asked)
    assert rows_of(dry) == {"calls": 4, "feedback": 3, "texts": 0, "runs": 0, "reservations": 0}
    assert not dry["applied"] and promptry.list_calls()["total"] == 6
    done = promptry.retention(**asked, apply=True)
    assert rows_of(done) == rows_of(dry) and done["applied"]
    assert [row["id"] for row in promptry.list_calls()["items"]] == ["6", "5"]
    assert promptry.list_feedback()["total"] == 3 and promptry.list_votes()["total"] == 1
    assert rows_of(promptry.retention(**asked, apply=True))["calls"] == 0


def test_old_texts_go_and_their_calls_stay(store: Path, raw: sqlite3.Connection) -> None:
    for _ in range(3):
        promptry.track_invocation("p", {"cost_usd": 1}, input_text="in", output_text="out", capture=True)
    age(raw, "invocations", "id < 3")
    assert rows_of(promptry.retention(texts_days=10, apply=True))["texts"] == 2
    texts = [promptry.get_call(id)["output_text"] for id in "123"]
    assert texts == [None, None, "out"] and promptry.list_costs(days=36_000)["sum"]["cost_usd"] == 3


def test_runs_go_with_their_results_but_what_could_be_a_baseline_stays(store: Path, raw: sqlite3.Connection) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    runs = [
        (1, 1, "{}"),  # an older good run of version 1
        (2, 1, '{"verdict": "tied"}'),  # the newest good one: the baseline
        (3, 1, '{"verdict": "regressed"}'),
        (4, 1, '{"complete": false}'),
        (5, 2, "{}"),
    ]
    for id, version, metadata in runs:
        raw.execute(
            "INSERT INTO eval_runs (id, suite_name, prompt_name, prompt_version, metadata) VALUES (?, 's', 'p', ?, ?)",
            (id, version, metadata),
        )
        raw.execute(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (?, 'a', 'x', 1)", (id,)
        )
    baseline = promptry.find_baseline("s", "prod", None)
    age(raw, "eval_runs")
    assert rows_of(promptry.retention(runs_days=30, apply=True))["runs"] == 3
    assert [row["id"] for row in promptry.list_runs()["items"]] == ["5", "2"]
    assert promptry.find_baseline("s", "prod", None) == baseline == 2
    assert raw.execute("SELECT count(*) FROM eval_results").fetchone() == (2,)


def test_lapsed_reservations_go_and_open_ones_stay(store: Path) -> None:
    promptry.set_budget("global", None, "daily", 100)
    promptry.reserve("p", estimate_usd=1)
    promptry.connect().execute(
        """INSERT INTO invocations (prompt_name, metadata) VALUES
        ('p', '{"status": "reserved", "lease_until": "2020-01-01T00:00:00.000Z"}')"""
    )
    assert rows_of(promptry.retention(apply=True))["reservations"] == 1
    assert promptry.budget_status()[0].reserved_usd == 1


def test_the_budget_of_the_month_forgets_what_retention_took_out(store: Path, raw: sqlite3.Connection) -> None:
    promptry.set_budget("global", None, "monthly", 100)
    promptry.track_invocation("p", {"cost_usd": 1})
    assert promptry.budget_status()[0].spent_usd == 1
    raw.execute("UPDATE invocations SET created_at = ?", (OLD,))
    promptry.retention(calls_days=1, apply=True)
    assert promptry.budget_status()[0].spent_usd == 0


def test_the_room_is_given_back_to_the_disk(store: Path, tmp_path: Path, raw: sqlite3.Connection) -> None:
    """After retention the file is within 1.3 times of a fresh file with the same rows."""
    raw.execute(
        """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO invocations
        (prompt_name, created_at, input_text) SELECT 'p', iif(i % 10, '2020-01-01T00:00:00.000Z', '2099-01-01'),
        hex(randomblob(200)) FROM n"""
    )
    done = promptry.retention(calls_days=30, apply=True)
    size = store.stat().st_size
    raw.execute(f"VACUUM INTO '{tmp_path / 'fresh.db'}'")
    assert done["bytes_after"] < done["bytes_before"] / 5
    assert size <= 1.3 * (tmp_path / "fresh.db").stat().st_size and promptry.list_calls()["total"] == 2000
    wal = Path(f"{store}-wal")
    assert not wal.exists() or wal.stat().st_size == 0


def test_a_reader_that_keeps_the_room_is_told_of(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(promptry, "PATIENCE_S", 0.05)
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
    raw.execute(
        f"{rows} INSERT INTO invocations (prompt_name, created_at, input_text) SELECT 'p', ?, hex(randomblob(200))"
        " FROM n",
        (OLD,),
    )
    raw.execute("BEGIN")
    assert raw.execute("SELECT count(*) FROM invocations").fetchone() == (2000,)
    assert promptry.retention(calls_days=30)["held"] is False
    assert promptry.run_command(["retention", "--calls-days", "30", "--apply"]) == 0
    assert "Another process still reads the old state: the room comes back when it ends." in capsys.readouterr().out
    assert promptry.retention(calls_days=30, apply=True)["held"] is True
    raw.execute("COMMIT")
    done = promptry.retention(calls_days=30, apply=True)
    assert done["held"] is False and done["bytes_after"] < done["bytes_before"]


@pytest.mark.parametrize("days", [0, -1, True, 1.5])
def test_days_that_are_none_are_refused(store: Path, days: Any) -> None:
    for what in ("calls_days", "texts_days", "runs_days"):
        with pytest.raises(promptry.WrongUse, match="The days are"):
            promptry.retention(**{what: days}, apply=True)


# --- what doctor says of the ledgers


def test_fallbacks_of_other_processes_are_told(store: Path, locked: Any) -> None:
    with locked() as other:
        other.execute("COMMIT")
    promptry.connect()
    promptry._fall_back("p", ValueError("no"))
    promptry._fall_back("p", ValueError("no"))
    assert detail("fallbacks") == "2 times the text in the code was served because the store failed"
    promptry.track_invocation("p", {"cost_usd": 0})
    promptry.forget_templates()
    said = "times the text in the code was served because the store failed, of"
    assert states()["fallbacks"] == "hint" and detail("fallbacks") == f"2 {said} 1 prompt: p"
    promptry._fall_back("q", ValueError("no"))
    promptry.track_invocation("p", {"cost_usd": 0})
    assert detail("fallbacks") == f"3 {said} 2 prompts: p, q"


def test_models_without_a_rate_are_a_hint(store: Path) -> None:
    promptry.track_invocation("p", {"tokens_in": 1, "tokens_out": 1}, model="gpt-99")
    assert states()["prices"] == "hint" and "gpt-99" in detail("prices")
    assert promptry.run_command(["doctor"]) == 0


def test_a_log_that_cannot_shrink_is_a_hint(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promptry.track("text", "p")
    monkeypatch.setattr(promptry, "LARGE_WAL_BYTES", 10)
    assert states()["size"] == "hint" and "keeps the log from shrinking" in detail("size")
    assert promptry.__version__ in detail("version")
