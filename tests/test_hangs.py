"""HANGS: a case that holds the whole interpreter ends its process; the run is saved, and names it."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, case, run_suite, suite

HUNG = """
import ctypes
from promptry import assert_exact, case, suite

def hang():
    ctypes.PyDLL(None).sleep(60)

@suite("first")
def first():
    assert_exact(1, 1)

@suite("items", dataset=[{"id": name} for name in ("a", "b", "c")], timeout_s=0.5)
def items(item):
    assert_exact(1, 1)
    if item["id"] == "b":
        hang()

@suite("tasks", dataset=[{"id": name} for name in ("a", "b", "c")], timeout_s=0.5)
async def tasks(item):
    items(item)

@suite("blocks", timeout_s=0.5)
def blocks():
    for name in ("a", "b", "c"):
        with case(name):
            items({"id": name})
"""


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="it needs a function of C that keeps the interpreter")
@pytest.mark.parametrize("name", ["items", "tasks", "blocks"])
def test_a_run_ends_where_a_case_holds_the_interpreter(name: str, store: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "evals.py").write_text(HUNG)
    began = time.monotonic()
    done = run_cli("run", "first", name, "first", "--json", "--db", store)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert time.monotonic() - began < 30
    first, hung = json.loads(done.stdout)["items"]
    assert first["passed"] and not hung["complete"], "what ran before is kept, and nothing runs after it"
    assert [(row["case"], row["state"]) for row in hung["cases"]] == [("a", "pass"), ("b", "error")]
    (row,) = promptry.get_run(hung["run_id"])["cases"][1]["checks"]
    assert "the case took longer than its 0.5 s, for the interpreter was held" in row["details"]["reason"]
    assert row["details"]["at"].endswith("evals.py:6")
    assert "while these cases went on: b" in hung["reasons"][0]
    assert promptry.list_spools() == []


@pytest.mark.slow
def test_a_run_with_a_limit_that_does_not_hang_is_a_run_like_any_other(
    store: Path, tmp_path: Path, run_cli: Any
) -> None:
    text = "from promptry import assert_exact, suite\n\n@suite('s', dataset=[{'id': 'a'}], timeout_s=60)\n"
    (tmp_path / "evals.py").write_text(text + "def check(item):\n    print('said')\n    assert_exact(1, 1)\n")
    done = run_cli("run", "--json", "--db", store)
    assert done.returncode == 0 and done.stderr == "said\n"
    (result,) = json.loads(done.stdout)["items"]
    assert result["complete"] and result["passed"]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which this process notes what may hang."""
    monkeypatch.setattr(promptry, "_hang_notes", [])
    folder = tmp_path / "hangs"
    folder.mkdir()
    promptry.watch_hangs(str(folder))
    return folder


def test_what_has_ended_is_no_longer_noted_as_going_on(watched: Path, store: Path) -> None:
    @suite("s", timeout_s=60)
    def check() -> None:
        with case("a"), case("b"):
            assert_exact(1, 1)
        raise RuntimeError("crashed")

    run_suite("s")
    going: dict[Any, str] = {}
    names = []
    for number, order, name, *_ in map(json.loads, (watched / "notes").read_bytes().splitlines()):
        if name is None:
            going.pop((number, order), None)
        else:
            going[number, order] = name
            names.append(name)
    assert names == ["s", "a", "a/b"] and not going


def test_a_run_is_saved_from_what_its_child_noted(watched: Path, store: Path) -> None:
    header = {"uid": "u", "pid": 99, "suite": "s", "repeats": 1}
    spool = promptry.open_spool(header)
    promptry.write_outcome(spool, promptry.CaseOutcome("a", 0, "pass", 1.0, [promptry.Check("exact", True, 1.0, {})]))
    promptry.end_spool(spool, keep=True)
    assert promptry.save_hung(watched, 99) is None, "it ended for another reason"
    here = threading.get_ident()
    notes = [[0, 2**31, "s", 0, here, 1.5], [0, 1, "a", 0, here, 1.5], [0, 1, None, 0, here, 1.5]]
    notes += [[0, 2, "b", 0, here, 1.5], [0, 3, "b/c", 0, here, 1.5]]
    (watched / "notes").write_text("".join(json.dumps(note) + "\n" for note in notes))
    stack = f'Thread 0x{here:016x} (most recent call first):\n  File "{os.__file__}", line 7 in f\n'
    (watched / "trace").write_text(f'Timeout (0:00:04)!\n{stack}  File "/x/evals.py", line 9 in check\n')
    assert promptry.save_hung(watched, 98) is None, "it was another process"
    key = promptry.save_hung(watched, 99)
    run = promptry.get_run(str(key))
    assert [(row["case"], row["state"]) for row in run["cases"]] == [("a", "pass"), ("b/c", "error")]
    details = run["cases"][1]["checks"][0]["details"]
    assert details["at"] == "/x/evals.py:9" and "longer than its 1.5 s" in details["reason"]
    assert not run["complete"] and not run["passed"]
