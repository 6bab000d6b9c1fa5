"""TASKS: a run that is started from the page goes on in a process of its own, is seen, and can be cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import ROOT, Served, child_environment, serve

import promptry

SUITES = """
import time
from promptry import assert_exact, case, suite

@suite("quick")
def quick():
    for number in range(4):
        with case(f"c{number}"):
            assert_exact(1, 1)

@suite("bad", prompt="answer")
def bad():
    with case("c"):
        assert_exact(1, 2)

@suite("slow")
def slow():
    for number in range(600):
        with case(f"c{number}"):
            time.sleep(0.1)
            assert_exact(1, 1)

@suite("litter")
def litter():
    import subprocess
    subprocess.Popen(["sleep", "30"])
    assert_exact(1, 1)

@suite("deaf")
def deaf():
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    open("deaf", "w").close()
    time.sleep(600)
"""


@pytest.fixture
def suites(tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITES)


def wait_for(
    served: Served, job: str, is_so: Callable[[dict[str, Any]], bool], seconds: float = 30.0
) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found: dict[str, Any] = served.get(f"/api/job/{job}").json
        if is_so(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def is_over(found: dict[str, Any]) -> bool:
    return found["state"] != "running"


def start(served: Served, suite: str, **options: Any) -> str:
    answer = served.post("/api/runs", {"suite": suite, **options})
    assert answer.status == 202 and set(answer.json) == {"job"}
    return str(answer.json["job"])


@pytest.mark.slow
def test_a_run_is_started_and_its_run_is_there(suites: None, dashboard: Served) -> None:
    job = start(dashboard, "quick", repeats=2, model_version="m 1 --json")
    found = wait_for(dashboard, job, is_over)
    assert (found["state"], found["kind"], found["suite"], found["exit_code"]) == ("done", "run", "quick", 0)
    assert (found["done"], found["total"], found["states"]) == (8, None, {"pass": 8})
    assert found["passed"] is True and found["error"] is None and found["ended_at"] > found["began_at"]
    run = dashboard.get(f"/api/run/{found['run_id']}").json
    assert run["suite"] == "quick" and run["model"] == "m 1 --json" and len(run["cases"]) == 8
    assert dashboard.get("/api/jobs").json["items"] == [found]


def test_a_run_that_fails_is_done_and_says_so(suites: None, dashboard: Served) -> None:
    found = wait_for(dashboard, start(dashboard, "bad"), is_over)
    assert (found["state"], found["exit_code"], found["passed"]) == ("done", 1, False) and found["run_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"suite": "qick"}, "There is no suite 'qick'"),
        ({"suite": "--plan"}, "There is no suite '--plan'"),
        ({"suite": "quick", "prompt_version": 9}, "No prompt has a version 9"),
        ({"suite": "quick", "rerun": "everything"}, "Invalid value for '--rerun'"),
    ],
)
def test_a_run_that_cannot_be_meant_fails_with_the_sentence_of_the_command(
    body: dict[str, Any], message: str, suites: None, dashboard: Served
) -> None:
    found = wait_for(dashboard, start(dashboard, **body), is_over)
    assert found["state"] == "failed" and found["run_id"] is None and found["exit_code"] == 2
    assert found["error"]["message"].startswith(message) and set(found["error"]) == {"code", "message", "hint"}


def test_there_is_no_module_to_choose(suites: None, dashboard: Served) -> None:
    for body in ({"suite": "quick", "module": "os"}, {"suite": "quick", "python": "/bin/sh"}, {}):
        assert dashboard.post("/api/runs", body).status == 400
    assert dashboard.get("/api/jobs").json["total"] == 0


@pytest.mark.slow
def test_progress_is_told_and_a_cancelled_run_keeps_what_it_has_done(suites: None, dashboard: Served) -> None:
    job = start(dashboard, "slow")
    seen = wait_for(dashboard, job, lambda found: found["done"] >= 3)
    assert seen["state"] == "running" and seen["run_id"] is None and seen["states"] == {"pass": seen["done"]}
    again = dashboard.post("/api/runs", {"suite": "slow"})
    assert again.status == 409 and again.error["message"] == "The suite 'slow' is running already."
    other = start(dashboard, "quick")
    assert dashboard.post(f"/api/job/{job}/cancel", {}).status == 200
    found = wait_for(dashboard, job, is_over)
    assert found["state"] == "cancelled" and found["run_id"]
    run = dashboard.get(f"/api/run/{found['run_id']}").json
    assert run["complete"] is False and 3 <= len(run["cases"]) < 600
    assert wait_for(dashboard, other, is_over)["state"] == "done"
    assert dashboard.post(f"/api/job/{job}/cancel", {}).json["state"] == "cancelled"


@pytest.mark.slow
def test_a_run_that_does_not_end_is_killed(
    suites: None, dashboard: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "_PATIENCE_AT_END_S", 1.0)
    job = start(dashboard, "deaf")
    wait_for(dashboard, job, lambda _: (tmp_path / "deaf").exists())
    dashboard.post(f"/api/job/{job}/cancel", {})
    found = wait_for(dashboard, job, is_over)
    assert found["state"] == "cancelled" and found["exit_code"] == -9


@pytest.mark.slow
def test_a_run_that_leaves_something_running_is_over_when_it_is(suites: None, dashboard: Served) -> None:
    found = wait_for(dashboard, start(dashboard, "litter"), is_over, seconds=15)
    assert found["state"] == "done" and found["states"] == {"pass": 1}


@pytest.mark.slow
def test_runs_end_with_the_server(suites: None, store: Path) -> None:
    promptry.connect()
    with serve(store) as served:
        job = start(served, "slow")
        wait_for(served, job, lambda found: found["done"] >= 1)
        pid = served.serving.tasks.rows[job].process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (run,) = promptry.list_runs()["items"]
    assert run["suite"] == "slow" and not run["complete"]


def test_no_more_runs_than_four_go_at_a_time(suites: None, dashboard: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_MOST_RUNNING", 1)
    job = start(dashboard, "slow")
    refused = dashboard.post("/api/runs", {"suite": "quick"})
    assert refused.status == 409 and refused.error["message"] == "1 suite is running already."
    dashboard.post(f"/api/job/{job}/cancel", {})


def test_what_is_kept_of_runs_that_ended_is_bounded(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "own_command", lambda: ["true"])
    monkeypatch.setattr(promptry, "_MOST_KEPT", 3)
    tasks = promptry.make_tasks(store)
    for number in range(6):
        job = promptry.start_task(tasks, f"s{number}")["job"]
        until = time.monotonic() + 10
        while promptry.get_task(tasks, job)["state"] == "running" and time.monotonic() < until:
            time.sleep(0.01)
    assert [row["suite"] for row in promptry.list_tasks(tasks)["items"]] == ["s5", "s4", "s3"]
    assert promptry.get_task(tasks, job)["error"]["message"] == "The run ended with code 0 and saved nothing."


def test_an_unknown_job_is_said(dashboard: Served) -> None:
    assert dashboard.get("/api/job/x").error["message"] == "There is no job 'x'."
    assert dashboard.post("/api/job/x/cancel", {}).status == 404


@pytest.mark.slow
def test_a_run_makes_the_store_where_there_is_none(suites: None, tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    promptry.use_store(path)
    with serve(path) as served:
        found = wait_for(served, start(served, "quick"), is_over)
        assert found["state"] == "done" and path.exists()
        assert served.get("/api/runs").json["total"] == 1


@pytest.mark.parametrize(
    "body", [{"suite": "a\0b"}, {"suite": "\ud800"}, {"suite": "x" * 200_000}, {"suite": "quick", "env": "\0"}]
)
def test_what_no_command_can_be_given_is_refused(body: dict[str, Any], suites: None, dashboard: Served) -> None:
    answer = dashboard.post("/api/runs", body)
    assert answer.status == 400 and answer.error["message"].startswith("No run can be asked for ")
    assert len(answer.body) < 500 and dashboard.get("/api/jobs").json["total"] == 0


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_signal_that_comes_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [100.0], list[float]()
    monkeypatch.setattr(promptry, "monotonic_s", lambda: now[0])
    found = []
    for gap in (0.0, 0.01, 0.4, 0.2, 0.01, 3.0):
        now[0] += gap
        found.append(promptry.count_signal(told))
    assert found == [1, 0, 0, 2, 0, 3]


@pytest.mark.slow
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_run_uses_the_folder_of_this_start_unless_another_executable_lies_there_by_now(
    is_replaced: bool, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"
    (tmp_path / "evals.py").write_text(
        f"import os, json\njson.dump(dict(os.environ), open({str(shown)!r}, 'w'))\n" + SUITES
    )
    monkeypatch.setenv("_PYI_ARCHIVE_FILE", "here")
    monkeypatch.setattr(promptry, "is_replaced", lambda: is_replaced)
    tasks = promptry.make_tasks(store)
    job = promptry.start_task(tasks, "quick")["job"]
    until = time.monotonic() + 30
    while promptry.get_task(tasks, job)["ended_at"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    environment = json.loads(shown.read_text())
    assert environment.get("_PYI_ARCHIVE_FILE") == (None if is_replaced else "here")
    assert environment["PROMPTRY_DB"] == str(store)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("suite", "signals"), [("slow", "KILL"), ("deaf", "TERM TERM"), ("deaf", "INT INT")])
def test_no_run_outlives_its_server_however_that_ends(suite: str, signals: str, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text("import os\nopen('pid', 'w').write(str(os.getpid()))\n" + SUITES)
    words = [sys.executable, str(ROOT / "promptry.py"), "dashboard", "--no-open", "--port", "0", "--db", "s.db"]
    child = subprocess.Popen(words, cwd=tmp_path, env=child_environment(), stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        port = int(child.stderr.readline().split(" at http://127.0.0.1:")[1].partition("/")[0])
        body, kind = json.dumps({"suite": suite}).encode(), {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/api/runs", body, kind)).close()
        until = time.monotonic() + 20
        began = tmp_path / ("deaf" if suite == "deaf" else "pid")
        while not began.exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        run = int((tmp_path / "pid").read_text())
        assert _is_there(run)
        for name in signals.split():
            child.send_signal(getattr(signal, f"SIG{name}"))
            time.sleep(0.8)  # what comes at once is the same signal once more
        assert child.wait(8) == (0 if len(signals.split()) == 2 else -9)
        until = time.monotonic() + 6
        while _is_there(run):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        child.kill()
        child.communicate()
