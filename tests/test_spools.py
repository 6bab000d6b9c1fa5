"""SPOOLS: what a killed run has done is kept in a private file, offered by the next run, and never lost unasked."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import promptry

ROOT = Path(promptry.__file__).resolve().parent

SLOW_SUITE = """
import pathlib, time
from promptry import assert_exact, case, render_prompt, suite, track, track_invocation

@suite("slow", prompt="p")
def check():
    render_prompt("p", track("text", "p"))
    for number in range(1000):
        with case(f"n{number}"):
            track_invocation("p", {"cost_usd": 0.25}, model="m")
            assert_exact(number == 2, False)
        if number == 4:
            pathlib.Path("ready").write_text("")
            time.sleep(60)
"""


@pytest.fixture
def project(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a slow suite, a store and a temporary folder of its own."""
    (tmp_path / "spools").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spools"))
    monkeypatch.setenv("PROMPTRY_DB", str(tmp_path / "kept.db"))
    monkeypatch.setattr("tempfile.tempdir", None)
    promptry.use_store(None)
    (tmp_path / "evals.py").write_text(SLOW_SUITE)
    yield tmp_path
    promptry.close_store()


def promptry_run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "promptry.py"), "run", *words], capture_output=True, text=True, timeout=60
    )


def start_run(project: Path) -> subprocess.Popen[str]:
    """Start the slow suite and wait until five of its cases have run."""
    (project / "ready").unlink(missing_ok=True)
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while not (project / "ready").exists():
        assert run.poll() is None and time.monotonic() < until, run.communicate()
        time.sleep(0.02)
    return run


def kill_run(project: Path) -> None:
    run = start_run(project)
    run.send_signal(signal.SIGKILL)
    run.communicate()


def make_quick(project: Path) -> None:
    (project / "evals.py").write_text(
        "from promptry import assert_exact, suite\n@suite('quick')\ndef check(): assert_exact(1, 1)\n"
    )


@pytest.mark.fault
def test_a_killed_run_is_offered_by_the_next_and_saved_as_incomplete_when_asked(project: Path) -> None:
    kill_run(project)
    assert promptry.list_runs()["total"] == 0
    make_quick(project)
    offered = promptry_run()
    assert offered.returncode == 0
    assert "--recover" in offered.stderr and "--discard" in offered.stderr

    recovered = promptry_run("--recover")
    assert recovered.returncode == 0, recovered.stderr
    newest = promptry.list_runs(suite="slow")["items"][0]
    assert newest["complete"] is False and newest["passed"] is False
    found = promptry.get_run(newest["id"])
    assert [row["case"] for row in found["cases"]] == ["n0", "n1", "n2", "n3", "n4"]
    assert [row["state"] for row in found["cases"]] == ["pass", "pass", "fail", "pass", "pass"]
    assert found["prompt_name"] == "p" and found["prompt_version"] == 1 and found["model"] == "m"
    assert found["cost_usd"] == pytest.approx(1.25)
    assert found["counts"]["cases"] == 5

    assert "--recover" not in promptry_run().stderr, "what was saved is not offered again"
    promptry_run("--recover")
    assert promptry.list_runs(suite="slow")["total"] == 1


@pytest.mark.fault
def test_a_killed_run_is_dropped_when_asked(project: Path) -> None:
    kill_run(project)
    dropped = promptry_run("--discard")
    assert dropped.returncode == 0 and "nothing saved" in dropped.stdout
    make_quick(project)
    assert "--recover" not in promptry_run().stderr
    assert promptry.list_runs(suite="slow")["total"] == 0


@pytest.mark.fault
def test_a_recovered_run_is_never_a_baseline(project: Path) -> None:
    kill_run(project)
    promptry_run("--recover")
    promptry.promote("p", 1, "prod")
    assert promptry.find_baseline("slow", "prod", "p") is None


@pytest.mark.fault
def test_the_spool_of_a_living_run_is_neither_offered_nor_taken(project: Path) -> None:
    run = start_run(project)
    try:
        assert promptry.list_spools() == []
        make_quick(project)
        assert "--recover" not in promptry_run().stderr
        for way in ("--recover", "--discard"):
            assert "0 killed runs" in promptry_run(way).stdout
        run.send_signal(signal.SIGTERM)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == 3, err
    assert promptry.list_runs(suite="slow")["items"][0]["counts"]["cases"] >= 5


@pytest.mark.fault
def test_a_child_that_outlives_its_killed_run_does_not_hide_the_spool(project: Path) -> None:
    """A pipeline under test may start servers; they must not hold the run's lock."""
    text = SLOW_SUITE.replace(
        "def check():",
        "def check():\n    import subprocess as s; s.Popen(['sleep', '9'], stdout=s.DEVNULL, stderr=s.DEVNULL)",
    )
    (project / "evals.py").write_text(text)
    kill_run(project)
    assert len(promptry.list_spools()) == 1


def test_the_spool_is_private_and_gone_after_a_run_that_was_saved(project: Path) -> None:
    seen: list[tuple[int, int]] = []

    @promptry.suite("looks")
    def check() -> None:
        (folder,) = (project / "spools").iterdir()
        (file,) = folder.iterdir()
        seen.append((stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(file.stat().st_mode)))
        promptry.assert_exact(1, 1)

    promptry.run_suite("looks")
    assert seen == [(0o700, 0o600)]
    assert list((project / "spools").rglob("*.jsonl")) == []


def test_the_spools_of_another_store_are_not_offered_here(project: Path) -> None:
    spool = promptry.open_spool({"uid": "u1", "suite": "s"})
    promptry.end_spool(spool, keep=True)
    assert len(promptry.list_spools()) == 1
    promptry.use_store(project / "another.db")
    assert promptry.list_spools() == []


def test_outcomes_come_back_as_they_were_written(project: Path) -> None:
    checks = [
        promptry.Check("exact", True, 1.0, {"expected": "ä\ud800\n", "actual": {"a": {1, 2}}, "reason": ""}, 0.5),
        promptry.Check("error", None, None, {"reason": "x"}),
    ]
    spool = promptry.open_spool({"uid": "u2", "suite": "s"})
    for number in range(3):
        promptry.write_outcome(spool, promptry.CaseOutcome(f"日本 {number}\n", number, "error", None, checks))
    found = list(promptry.read_outcomes(spool.path))
    assert [(row.case, row.repeat, row.state) for row in found] == [(f"日本 {n}\n", n, "error") for n in range(3)]
    assert [check.assertion_type for check in found[0].checks] == ["exact", "error"]
    assert promptry.read_header(spool.path) == {"uid": "u2", "suite": "s"}
    promptry.end_spool(spool)
    assert not spool.path.exists()


def test_a_line_that_a_kill_cut_in_two_is_the_last(project: Path) -> None:
    spool = promptry.open_spool({"uid": "u3", "suite": "s"})
    outcome = promptry.CaseOutcome("a", 0, "pass", 1.0, [promptry.Check("exact", True, 1.0, {})])
    promptry.write_outcome(spool, outcome)
    promptry.write_outcome(spool, outcome._replace(case="b"))
    promptry.end_spool(spool, keep=True)
    whole = spool.path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1])):
        spool.path.write_bytes(whole[:-cut])
        assert [row.case for row in promptry.read_outcomes(spool.path)][:1] == ["a"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"uid": "u"}\n', b'{"uid": "u", "su']
)
def test_a_spool_without_a_header_is_removed_and_stops_nothing(project: Path, content: bytes) -> None:
    spool = promptry.open_spool({"uid": "u4", "suite": "s"})
    promptry.end_spool(spool, keep=True)
    spool.path.write_bytes(content)
    done = promptry_run("--recover")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert promptry.list_runs()["total"] == 0 and not spool.path.exists()


@pytest.mark.slow
def test_recovering_into_a_store_that_cannot_be_written_keeps_the_spool(project: Path) -> None:
    spool = promptry.open_spool({"uid": "u5", "suite": "s"})
    promptry.write_outcome(spool, promptry.CaseOutcome("a", 0, "pass", 1.0, [promptry.Check("exact", True, 1.0, {})]))
    promptry.end_spool(spool, keep=True)
    (project / "kept.db").write_bytes(b"this is no database, and nothing can be saved in it" * 100)
    done = promptry_run("--recover")
    assert done.returncode == 3, done.stdout
    assert spool.path.exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX only")
def test_a_folder_that_is_a_link_is_refused(project: Path) -> None:
    (project / "elsewhere").mkdir()
    (project / "spools" / f"promptry-{os.getuid()}").symlink_to(project / "elsewhere")
    with pytest.raises(promptry.StoreError, match="spooled"):
        promptry.open_spool({"uid": "u6", "suite": "s"})


@pytest.mark.slow
def test_a_run_whose_results_cannot_be_spooled_says_so_before_a_case_ran(project: Path) -> None:
    make_quick(project)
    environment = {**os.environ, "TMPDIR": str(project / "spools")}
    (project / "spools" / f"promptry-{os.getuid()}").write_text("a file where the folder should be")
    done = subprocess.run(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "store"
    assert "Traceback" not in done.stderr
