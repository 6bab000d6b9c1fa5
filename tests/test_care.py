"""CARE: doctor says what is wrong with a store; a fault exits 1, a hint never."""

from __future__ import annotations

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
    assert str(store) in detail("store") and detail("rows") == "1 prompt versions, 1 calls, 0 runs"
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
