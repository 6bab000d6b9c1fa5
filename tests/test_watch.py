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


def test_a_change_is_named_when_all_is_quiet(monkeypatch: Any) -> None:
    looks: list[dict[str, Any]] = [{"": 1}, {"": 1, "a": 1}, {"": 1, "a": 2}, {"": 1, "a": 2}]
    monkeypatch.setattr(promptry, "_look_around", lambda: looks.pop(0))
    monkeypatch.setattr(promptry, "_LOOK_S", 0)
    assert promptry._wait_for_change({"": 1}) == ["a"] and looks == []
    looks[:] = [{"": 2, "a": 1, "b": 1, "c": 1}] * 2
    assert promptry._wait_for_change({"": 1}) == ["a prompt in the store", "a", "b", "1 more"]
