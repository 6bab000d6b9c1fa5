"""DEMO: the main job on real input: what the first command of the README does."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry

NEEDED = {f"starters/demo/{name}" for name in ("promptry.toml", "evals.py", "prompt.txt", "edited.txt")}
HAS_DEMO = set(promptry.asset_names("starters/demo")) >= NEEDED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_DEMO, reason="assets/starters/demo is not there"),
]

Say = Callable[..., "subprocess.CompletedProcess[str]"]


def played(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_demo_catches_the_edit_shows_why_and_is_green_again(tmp_path: Path, run_cli: Say) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    text = played(run_cli("demo", timeout=300, PROMPTRY_DB=str(elsewhere)))
    order = [
        "tagged prod",
        "$ promptry run qa --compare prod",
        "FAIL",
        "regressed: run",
        "probable cause",
        "+",
        "[exit code 1]",
        "roll back",
        "PASS",
        "[exit code 0]",
        "What next",
    ]
    place = 0
    for words in order:
        assert words in text[place:], f"{words!r} is missing after {text[:place][-300:]!r}"
        place = text.index(words, place) + len(words)
    assert text.count("[exit code 1]") == 1
    assert not elsewhere.exists() and not (tmp_path / "home" / ".promptry").exists()
    assert "\x1b" not in text, "no colour where there is no terminal"

    store = tmp_path / "promptry-demo" / ".promptry" / "store.db"
    connection = sqlite3.connect(store)
    runs = connection.execute(
        "SELECT overall_pass, overall_score, prompt_version FROM eval_runs ORDER BY id"
    ).fetchall()
    (calls,) = connection.execute("SELECT count(*) FROM invocations").fetchone()
    cases = connection.execute("SELECT count(DISTINCT test_name) FROM eval_results").fetchone()[0]
    connection.close()
    assert len(runs) >= 13 and cases >= 60 and calls >= cases
    assert 0.60 <= runs[0][1] <= 0.95, "the base quality of the pipeline"
    (bad,) = [run for run in runs if run[2] == 2]
    assert bad[0] == 0 and bad[1] < runs[0][1] - 0.05
    assert [run[2] for run in runs][-1] == 1


def test_the_demo_runs_a_second_time_and_after_one_that_was_stopped_at_its_edit(tmp_path: Path, run_cli: Say) -> None:
    played(run_cli("demo", "again", timeout=300))
    prompt = tmp_path / "again" / "prompt.txt"
    good = prompt.read_bytes()
    prompt.write_bytes(promptry.asset("starters/demo/edited.txt"))
    text = played(run_cli("demo", "again", timeout=300))
    assert "regressed: run" in text and "green again" in text
    assert prompt.read_bytes() == good


def test_an_empty_folder_is_welcome_and_what_the_demo_leaves_is_a_project_that_runs(
    tmp_path: Path, run_cli: Say
) -> None:
    (tmp_path / "mine").mkdir()
    played(run_cli("demo", "mine", timeout=300))
    folder = tmp_path / "mine"
    done = subprocess.run(
        [__import__("sys").executable, promptry.__file__, "run", "--compare", "prod"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PROMPTRY_DB"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing we record changed" in done.stdout


@pytest.mark.parametrize("make", ["a folder with files", "a file", "another project"])
def test_a_place_that_is_taken_is_refused_and_left_as_it_is(make: str, tmp_path: Path, run_cli: Say) -> None:
    target = tmp_path / "taken"
    if make == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / ("promptry.toml" if make == "another project" else "notes.txt")).write_text("# mine\n")
    done = run_cli("demo", "taken")
    assert done.returncode == 2 and done.stdout == ""
    assert str(target) in done.stderr and "Traceback" not in done.stderr
    found = target.read_text() if target.is_file() else [path.read_text() for path in target.iterdir()]
    assert found in ("mine", ["# mine\n"])


def test_a_place_that_cannot_be_made_is_one_sentence(tmp_path: Path, run_cli: Say) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("demo", "file/inside")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_live_without_a_key_is_refused_before_anything_is_written(
    tmp_path: Path, run_cli: Say, monkeypatch: Any
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    done = run_cli("demo", "--live")
    assert done.returncode == 2 and "OPENAI_API_KEY" in done.stderr
    assert not (tmp_path / "promptry-demo").exists()
