"""WATCH: what is saved runs the suites again, what they write does not, and a fault waits for its mending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")

EVALS = """
from pathlib import Path
from promptry import assert_contains, render_prompt, suite

@suite("quiz", prompt="p")
def check():
    assert_contains(render_prompt("p", "hello") + Path("answer.txt").read_text(), "hello")
"""


class Watch:
    """A running `promptry watch` and what it has said."""

    def __init__(self, folder: Path, store: Path, *words: str) -> None:
        self.file = (folder / ".said").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, promptry.__file__, "watch", "--db", str(store), *words],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            stdout=self.file,
            stderr=subprocess.STDOUT,
        )
        self.place = 0

    def wait_for(self, text: str, times: int = 1) -> str:
        """Return what has been said since the last call, up to the next wait for a change, once it holds a text."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            said = Path(self.file.name).read_text()[self.place :]
            if text in said and said.rstrip().endswith("Ctrl-C ends."):
                self.place += len(said)
                return said
            assert self.process.poll() is None, said
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in {Path(self.file.name).read_text()[self.place :]!r}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "evals.py").write_text(EVALS)
    (folder / "answer.txt").write_text("")
    return folder


@pytest.fixture
def watching(project: Path, store: Path) -> Iterator[Watch]:
    watch = Watch(project, store)
    yield watch
    if watch.process.poll() is None:
        watch.process.kill()
        watch.process.wait()
    watch.file.close()


@pytest.mark.slow
def test_what_is_saved_runs_the_suites_again(watching: Watch, project: Path, store: Path) -> None:
    assert "PASS  quiz  run 1" in watching.wait_for("PASS")
    (project / "answer.txt").write_text("x")
    assert "answer.txt:" in watching.wait_for("PASS  quiz  run 2")
    promptry.use_store(store)
    promptry.save_prompt("p", "good bye")
    assert "a prompt in the store:" in watching.wait_for("FAIL  quiz  run 3")
    (project / "evals.py").write_text("import nothing_like_this")
    assert "does not import" in watching.wait_for("evals.py:")
    (project / "evals.py").write_text(EVALS)
    (project / "answer.txt").write_text("hello")
    watching.wait_for("PASS  quiz  run 4")
    time.sleep(1.5)
    assert promptry.list_runs()["total"] == 4, "nothing was saved, nothing ran"
    watching.process.send_signal(signal.SIGINT)
    assert watching.process.wait(30) == 0
    assert (
        "Traceback" not in Path(watching.file.name).read_text().partition("nothing_like_this")[2].partition("PASS")[2]
    )


def test_folders_of_packages_and_hidden_ones_are_not_watched(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("a.py", "b.bin", ".git/c.py", "node_modules/d.json", "__pycache__/e.py", "env/lib/f.py", "sub/g.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(promptry, "prompt_state", lambda: None)
    assert set(promptry._look_around()) == {"", "a.py", os.path.join("sub", "g.txt")}


def test_a_change_is_told_when_all_is_quiet(monkeypatch: Any) -> None:
    looks: list[dict[str, Any]] = [{"": 1}, {"": 1, "a": 1}, {"": 1, "a": 2}, {"": 1, "a": 2}]
    monkeypatch.setattr(promptry, "_look_around", lambda: looks.pop(0))
    monkeypatch.setattr(promptry, "_LOOK_S", 0)
    assert promptry._wait_for_change({"": 1}) == ["a"] and looks == []
    looks[:] = [{"": 2, "a": 1, "b": 1, "c": 1, "d": 1}] * 2
    assert promptry._names_text(promptry._wait_for_change({"": 1})) == "a prompt in the store, a, b, 2 more"


def test_a_file_that_goes_and_comes_back_within_a_moment_is_no_change(monkeypatch: Any) -> None:
    looks: list[dict[str, Any]] = [{"": 1}, {"": 1, "a": 1}, {"": 1, "a": 1}, {"": 1, "a": 2}, {"": 1, "a": 2}]
    monkeypatch.setattr(promptry, "_look_around", lambda: looks.pop(0))
    monkeypatch.setattr(promptry, "_LOOK_S", 0)
    assert promptry._wait_for_change({"": 1, "a": 1}) == ["a"] and looks == []


def test_what_a_run_writes_is_not_taken_for_an_edit_and_an_edit_while_it_runs_is_one() -> None:
    edited, streaks = promptry._edits(["", "cache.json"], None)
    assert edited == [], "a first run saves prompts and files of its own"
    edited, streaks = promptry._edits(["cache.json", "prompt.txt"], streaks)
    assert edited == ["prompt.txt"]
    edited, streaks = promptry._edits(["cache.json"], streaks)
    assert edited == []
    edited, streaks = promptry._edits(["cache.json", "prompt.txt"], streaks)
    assert edited == ["prompt.txt"]


def test_code_that_is_edited_in_run_after_run_is_seen_and_code_that_runs_write_ends() -> None:
    found, streaks = [], None
    for _ in range(5):
        edited, streaks = promptry._edits(["evals.py"], streaks)
        found.append(edited)
    assert found == [["evals.py"]] * 3 + [[]] * 2


def test_the_settings_above_the_folder_are_watched_too(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "promptry.toml").write_text("")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    monkeypatch.setattr(promptry, "prompt_state", lambda: None)
    assert set(promptry._look_around()) == {"", os.path.join("..", "promptry.toml")}


def save_by_renaming(path: Path, text: str) -> None:
    """Save as most editors do: beside the file, then over it."""
    other = path.with_name(f"{path.name}~")
    other.write_text(text)
    other.replace(path)


@pytest.mark.slow
def test_odd_saves_and_broken_files_are_lived_through(project: Path, store: Path) -> None:
    (project / "promptry.toml").write_text("")
    watch = Watch(project, store)
    try:
        watch.wait_for("PASS  quiz  run 1")
        save_by_renaming(project / "answer.txt", "renamed")
        assert "answer.txt:" in watch.wait_for("PASS  quiz  run 2")
        (project / "evals.py").write_text("def broken(:\n")
        assert "SyntaxError" in watch.wait_for("evals.py:")
        (project / "evals.py").unlink()
        watch.wait_for("There is no module 'evals'")
        (project / "evals.py").write_text(EVALS)
        (project / "answer.txt").write_text("several")
        assert "answer.txt, evals.py:" in watch.wait_for("PASS  quiz  run 3")
        (project / "promptry.toml").write_text("[run]\nmodul = 'other'\n")
        assert "Did you mean 'module'?" in watch.wait_for("promptry.toml:")
        (project / "other.py").write_text(EVALS.replace("quiz", "other"))
        (project / "promptry.toml").write_text("[run]\nmodule = 'other'\n")
        watch.wait_for("PASS  other  run 4")
        same = (project / "other.py").stat()
        text = EVALS.replace("quiz", "othes")  # as long, and saved in the same second
        (project / "other.py").write_text(text)
        os.utime(project / "other.py", ns=(same.st_atime_ns, same.st_mtime_ns + 1))
        watch.wait_for("PASS  othes  run 5")
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(30) == 0
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
            watch.process.wait()
        watch.file.close()


@pytest.mark.slow
def test_what_is_saved_while_suites_run_runs_them_again_and_ctrl_c_in_a_run_saves_and_ends(
    project: Path, store: Path
) -> None:
    slow = "import pathlib, time\npathlib.Path('going').write_text('')\ntime.sleep(WAIT)\n" + EVALS
    (project / "evals.py").write_text(slow.replace("WAIT", "1.5"))
    watch = Watch(project, store)
    try:
        until = time.monotonic() + 60
        while not (project / "going").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        (project / "evals.py").write_text(EVALS)
        assert "evals.py:" in watch.wait_for("PASS  quiz  run 2")
        body = (
            "    with case('a'):\n        assert_contains('a', 'a')\n    open('in', 'w').close()\n    time.sleep(60)\n"
        )
        head = "import time\n" + EVALS.replace("suite\n", "suite, case\n").partition("    assert_contains")[0]
        (project / "evals.py").write_text(head + body)
        while not (project / "in").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(30) == 0
        promptry.use_store(store)
        newest = promptry.list_runs()["items"][0]
        assert not newest["complete"] and newest["counts"]["pass"] == 1
        assert "Traceback" not in Path(watch.file.name).read_text()
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
            watch.process.wait()
        watch.file.close()
