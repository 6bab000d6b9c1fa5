"""PROGRESS: what its line says, and that it is drawn on a terminal alone, after a second."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import promptry

ROOT = Path(promptry.__file__).resolve().parent

LINES = [
    ({}, 10, 5.0, 0.0, "qa [------------------------] 0/10, 0:05"),
    ({"pass": 5}, 10, 5.0, 0.0, "qa [############------------] 5/10, 0:05 left"),
    ({"pass": 3, "fail": 1, "error": 1}, 10, 60.0, 0.5, "5/10, 1 failed, 1 in error, $0.5000, 1:00 left"),
    ({"pass": 10}, 10, 5.0, 0.0, "qa [########################] 10/10, 0:00 left"),
    ({"pass": 12}, 10, 5.0, 0.0, "[########################] 12/10"),
    ({"pass": 1234}, 0, 3725.0, 0.0, "qa 1,234, 1:02:05"),
]


@pytest.mark.parametrize(("states", "total", "elapsed", "usd", "said"), LINES)
def test_the_line_says_how_far_a_run_is(
    states: dict[str, int], total: int, elapsed: float, usd: float, said: str
) -> None:
    progress = promptry.make_progress("qa", total, shown=True)
    for state, count in states.items():
        for _ in range(count):
            promptry.note_progress(progress, state)
    assert said in promptry.progress_line(progress, elapsed, usd)


class Terminal:
    """A stderr that says whether it is a terminal, and keeps what is written."""

    def __init__(self, is_terminal: bool) -> None:
        self.is_terminal, self.text = is_terminal, ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        raise OSError


@pytest.mark.parametrize(
    ("is_terminal", "shown", "seconds", "drawn"),
    [(True, True, 2, True), (True, True, 0.5, False), (False, True, 2, False), (True, False, 2, False)],
)
def test_it_is_drawn_on_a_terminal_after_a_second_where_it_is_asked_for(
    is_terminal: bool, shown: bool, seconds: float, drawn: bool, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = promptry.make_progress("qa", 4, shown)
    promptry.note_progress(progress, "pass")
    clock(seconds)
    promptry.draw_progress(progress)
    assert ("1/4" in terminal.text) is drawn
    promptry.end_progress(progress)
    assert terminal.text.endswith("\r\x1b[K") is drawn, "and is taken away again"


def test_the_cost_is_not_asked_for_at_each_step(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal(True))
    asked: list[int] = []
    progress = promptry.make_progress("qa", 4, True, lambda: asked.append(1) or 0.25)
    for _ in range(10):
        clock(0.5)
        promptry.draw_progress(progress)
    assert 3 <= len(asked) <= 5
    assert "$0.2500" in sys.stderr.text  # type: ignore[attr-defined]


EVALS = """
import time
from promptry import assert_exact, suite

@suite("slow", dataset=[{"id": str(number)} for number in range(16)])
def check(item):
    time.sleep(0.1)
    assert_exact(item["id"] == "3", False)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no terminals of our own here")
@pytest.mark.parametrize("words", [[], ["--python", sys.executable], ["--json"]], ids=["here", "in a child", "json"])
def test_a_run_in_a_terminal_shows_its_progress(words: list[str], store: Path, tmp_path: Path) -> None:
    import pty
    import subprocess

    (tmp_path / "evals.py").write_text(EVALS)
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--db", str(store), *words],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    out, _ = run.communicate(timeout=30)
    os.close(ours)
    assert run.returncode == 1
    if words == ["--json"]:
        assert b"/16" not in shown, "a report for a program, and no talk"
        return
    assert b"slow [" in shown and b"/16, 1 failed" in shown and b"left" in shown
    assert shown.rstrip().endswith(b"\x1b[K") and b"/16" not in out


@pytest.mark.slow
def test_a_program_that_asks_is_told_by_lines_of_json(tmp_path: Path, store: Path) -> None:
    import json
    import subprocess

    (tmp_path / "evals.py").write_text(EVALS)
    done = subprocess.run(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--json", "--db", str(store)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROMPTRY_PROGRESS": "json"},
        check=False,
    )
    assert done.returncode == 1
    told = [json.loads(line)["progress"] for line in done.stderr.splitlines() if line.startswith("{")]
    slow = [row for row in told if row["suite"] == "slow"]
    assert slow[0] == {"suite": "slow", "done": 0, "total": 16, "states": {}}
    assert slow[-1] == {"suite": "slow", "done": 16, "total": 16, "states": {"pass": 15, "fail": 1}}
    assert [row["done"] for row in slow] == sorted(row["done"] for row in slow)
    assert json.loads(done.stdout)["total"] == 1, "stdout has the answer alone"


def test_progress_that_nobody_reads_any_more_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTRY_PROGRESS", "json")
    progress = promptry.make_progress("a", 2, False)

    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    promptry.end_progress(progress)
