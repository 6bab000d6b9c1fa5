"""RUNNER: what is served while a run goes, what is written when it ends, and what an interrupt leaves."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import (
    assert_exact,
    case,
    promote,
    render_prompt,
    run_suite,
    save_dataset,
    save_prompt,
    suite,
    track,
    track_invocation,
)

ROOT = Path(promptry.__file__).resolve().parent

# design.md 2, and what the spending of a run needs beside it.
MANIFEST = {
    "uid",
    "complete",
    "verdict",
    "baseline_id",
    "dataset",
    "dataset_hash",
    "git_commit",
    "git_dirty",
    "prompts",
    "model",
    "parameters",
    "judge",
    "embedder",
    "repeats",
    "gate",
    "source",
    "versions",
    "counts",
    "cost_usd",
}


@pytest.fixture
def three(store: Path) -> None:
    """A prompt of three versions: the first tagged prod, the second staging, the third a draft."""
    for number, tag in ((1, "prod"), (2, "staging"), (3, None)):
        save_prompt("p", f"text {number}", tag=tag)


def manifest_of(result: promptry.RunResult) -> dict[str, Any]:
    found: dict[str, Any] = promptry.get_run(result.run_id)["manifest"]
    return found


def render_into(seen: list[str], name: str = "s", prompt: str | None = "p", env: str | None = "prod") -> None:
    """Register a suite that renders the prompt and keeps what it got."""

    @suite(name, prompt=prompt)
    def check() -> None:
        seen.append(render_prompt("p", "default", env=env))
        assert_exact(1, 1)


# --- the manifest


def test_the_manifest_names_what_embedded_in_the_run(store: Path) -> None:
    @suite("s")
    def check() -> None:
        with case("first"):
            promptry.assert_semantic("a", "b")
        with case("inside a predicate"):
            talk = promptry.Conversation().add("assistant", "a")
            promptry.assert_all_assistant_turns(talk, lambda text: promptry.assert_semantic(text, "a"))

    promptry.set_embedder(lambda texts: [[1.0] for _ in texts], "mine")
    assert manifest_of(run_suite("s"))["embedder"] == "mine"
    promptry.set_embedder(lambda texts: [[1.0] for _ in texts], "other")
    assert manifest_of(run_suite("s"))["embedder"] == "other"
    cause = promptry.compare_runs(2, 1).cause
    assert cause is not None and cause["embedder"] == {"before": "mine", "now": "other"}
    assert "embedder: mine -> other" in "\n".join(promptry.cause_lines(cause))


def test_the_manifest_names_no_embedder_where_nothing_was_embedded(store: Path) -> None:
    @suite("s")
    def check() -> None:
        assert_exact(1, 1)

    assert manifest_of(run_suite("s"))["embedder"] is None


def test_the_manifest_has_the_keys_of_the_design_and_no_other(three: None) -> None:
    save_dataset("qa", [{"id": "a"}])

    @suite("s", prompt="p", dataset="qa")
    def check(item: Any) -> None:
        render_prompt("p", "default")
        track_invocation("p", {"cost_usd": 0.125, "parameters": {"temperature": 0}}, model="m-1")
        assert_exact(1, 1)

    manifest = manifest_of(run_suite("s"))
    assert set(manifest) == MANIFEST
    assert manifest["complete"] is True and manifest["verdict"] is None and manifest["baseline_id"] is None
    assert manifest["dataset"] == "qa@1"
    assert manifest["prompts"] == {"p": {"version": 3, "hash": promptry.hash_text("text 3")}}
    assert manifest["model"] == "m-1" and manifest["cost_usd"] == 0.125
    assert manifest["parameters"] == [{"temperature": 0}]
    assert manifest["repeats"] == 1
    assert set(manifest["gate"]) >= {"min_pass_rate", "min_score", "tolerance", "margin"}
    assert manifest["versions"]["promptry"] == promptry.__version__
    counts = {"cases": 1, "pass": 1, "fail": 0, "error": 0, "skipped": 0, "checks": 1, "scored": 1}
    assert manifest["counts"].items() >= counts.items()


def test_the_manifest_names_the_commit_and_whether_it_was_changed(store: Path, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        base = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        return subprocess.run([*base, *words], check=True, capture_output=True, text=True).stdout.strip()

    suite("s")(lambda: assert_exact(1, 1))
    assert manifest_of(run_suite("s"))["git_commit"] is None
    git("init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git("add", "code.py")
    git("commit", "-qm", "one")
    manifest = manifest_of(run_suite("s"))
    assert (manifest["git_commit"], manifest["git_dirty"]) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "code.py").write_text("2\n")
    assert manifest_of(run_suite("s"))["git_dirty"] is True


def test_all_prompts_of_a_run_stand_in_its_manifest(store: Path) -> None:
    @suite("s", prompt="b")
    def check() -> None:
        track("one", "a")
        render_prompt("b", track("two", "b"))
        assert_exact(1, 1)

    result = run_suite("s")
    assert {name: found["version"] for name, found in manifest_of(result)["prompts"].items()} == {"a": 1, "b": 1}
    assert (result.prompt, result.prompt_version) == ("b", 1)


@pytest.mark.parametrize(("names", "column"), [(["a"], ("a", 1)), (["a", "b"], (None, None)), ([], (None, None))])
def test_the_prompt_of_a_run_is_the_only_one_it_served(names: list[str], column: tuple[Any, Any], store: Path) -> None:
    @suite("s")
    def check() -> None:
        for name in names:
            track(f"text of {name}", name)
        assert_exact(1, 1)

    result = run_suite("s")
    assert (result.prompt, result.prompt_version) == column


@pytest.mark.parametrize(("given", "model"), [(None, "served-1"), ("mine", "mine")])
def test_the_model_of_a_run_is_the_one_given_else_the_served_one(given: str | None, model: str, store: Path) -> None:
    @suite("s")
    def check() -> None:
        track_invocation("p", {"served_model": "served-1"}, model="asked")
        assert_exact(1, 1)

    assert run_suite("s", model_version=given).model == model


def test_the_calls_of_a_run_are_marked_as_its_own(store: Path) -> None:
    @suite("s")
    def check() -> None:
        track_invocation("p")
        assert_exact(1, 1)

    uid = manifest_of(run_suite("s"))["uid"]
    track_invocation("p")
    newest, within = promptry.list_calls()["items"]
    assert (newest["origin"], within["origin"]) == ("app", "eval")
    assert promptry.get_call(within["id"])["metadata"]["run_uid"] == uid


# --- results


def test_results_are_rows_of_the_two_tables_with_the_repeat_in_their_details(
    store: Path, raw: sqlite3.Connection
) -> None:
    @suite("s")
    def check() -> None:
        with case("a"):
            assert_exact(1, 1)
            assert_exact("x", "y")

    result = run_suite("s", repeats=3)
    rows = raw.execute(
        "SELECT run_id, test_name, assertion_type, passed, score, json_extract(details, '$.repeat'),"
        " json_extract(details, '$.expected'), json_extract(details, '$.reason') IS NOT NULL"
        " FROM eval_results ORDER BY id"
    ).fetchall()
    key = int(result.run_id)
    assert rows == [
        row
        for repeat in range(3)
        for row in ((key, "a", "exact", 1, 1.0, repeat, 1, 1), (key, "a", "exact", 0, 0.0, repeat, "y", 1))
    ]
    (run,) = raw.execute("SELECT suite_name, overall_pass, overall_score FROM eval_runs").fetchall()
    assert run == ("s", 0, 0.5)
    assert result.counts["cases"] == 1 and result.counts["fail"] == 3


def test_a_case_is_worth_its_mean_however_many_checks_it_makes(store: Path) -> None:
    @suite("s")
    def check() -> None:
        with case("many"):
            for _ in range(99):
                assert_exact(1, 1)
        with case("one"):
            assert_exact(1, 2)

    assert run_suite("s").score == 0.5


def test_a_run_is_saved_in_one_transaction_or_not_at_all(
    store: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite("s", dataset=[{"id": str(number)} for number in range(5)])(lambda item: assert_exact(1, 1))
    raw.execute(
        "CREATE TRIGGER full_disk BEFORE INSERT ON eval_results WHEN NEW.test_name = '3'"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    with pytest.raises(promptry.StoreError, match="--recover"):
        run_suite("s")
    assert raw.execute("SELECT count(*) FROM eval_runs").fetchone() == (0,)
    assert raw.execute("SELECT count(*) FROM eval_results").fetchone() == (0,)
    raw.execute("DROP TRIGGER full_disk")
    promptry.close_store()
    (spool,) = promptry.list_spools()
    key = promptry.recover_spool(spool)
    assert promptry.get_run(str(key))["counts"]["cases"] == 5


def test_no_lock_is_held_while_a_case_runs(store: Path) -> None:
    other = sqlite3.connect(store, timeout=0.2, isolation_level=None)
    wrote: list[int] = []

    @suite("s", dataset=[{"id": "a"}, {"id": "b"}])
    def check(item: Any) -> None:
        assert_exact(1, 1)
        other.execute("INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 1)")
        wrote.append(1)

    promptry.connect()
    assert run_suite("s").passed and wrote == [1, 1]
    other.close()


# --- what is served


def test_a_run_serves_the_latest_version_even_where_the_code_says_prod(three: None) -> None:
    seen: list[str] = []
    render_into(seen)
    assert render_prompt("p", "default", env="prod") == "text 1", "outside of a run the tag decides, and is cached"
    assert run_suite("s").prompt_version == 3
    assert seen == ["text 3"]
    assert render_prompt("p", "default", env="prod") == "text 1"


@pytest.mark.parametrize(
    ("fixed", "text", "version"),
    [({"prompt_version": 2}, "text 2", 2), ({"env": "prod"}, "text 1", 1), ({"env": "staging"}, "text 2", 2)],
)
@pytest.mark.parametrize("prompt", ["p", None])
def test_a_run_serves_the_version_it_was_told_to(
    fixed: dict[str, Any], text: str, version: int, prompt: str | None, three: None
) -> None:
    seen: list[str] = []
    render_into(seen, prompt=prompt)
    result = run_suite("s", **fixed)
    assert seen == [text]
    assert (result.prompt, result.prompt_version) == ("p", version)


def test_another_prompt_than_the_one_under_test_is_served_as_ever(three: None) -> None:
    save_prompt("q", "old q", tag="prod")
    save_prompt("q", "new q")
    seen: list[str] = []

    @suite("s", prompt="p")
    def check() -> None:
        seen.extend([render_prompt("p", ""), render_prompt("q", "")])
        assert_exact(1, 1)

    run_suite("s", prompt_version=1)
    assert seen == ["text 1", "new q"]


def test_threads_tasks_and_pools_are_served_what_the_run_fixes(three: None) -> None:
    seen: list[str] = []

    def take() -> None:
        seen.append(render_prompt("p", "default", env="prod"))

    @suite("s", prompt="p")
    async def check() -> None:
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
        await asyncio.to_thread(take)
        await asyncio.get_running_loop().run_in_executor(None, take)

        async def task() -> None:
            take()

        await asyncio.gather(task(), task())
        assert_exact(1, 1)

    result = run_suite("s", prompt_version=2)
    assert seen == ["text 2"] * 5
    assert result.prompt_version == 2


CHILD = """
import sys, promptry
print(promptry.render_prompt("p", "default", env="prod"))
promptry.track_invocation("p", {"cost_usd": 0.5}, model="in-child")
"""

WORKERS = """
import multiprocessing, subprocess, sys
import promptry
from promptry import assert_exact, suite

def take(_):
    return promptry.render_prompt("p", "default", env="prod")

@suite("s", prompt="p")
def check():
    promptry.render_prompt("p", "default")
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert_exact(pool.map(take, [0]), ["text 2"])
    text = subprocess.run([sys.executable, "child.py"], capture_output=True, text=True, check=True).stdout
    assert_exact(text.strip(), "text 2")
"""


@pytest.mark.slow
def test_child_processes_are_served_what_the_run_fixes(
    three: None, store: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    (tmp_path / "evals.py").write_text(WORKERS)
    (tmp_path / "child.py").write_text(CHILD)
    done = run_cli("run", "--prompt-version", 2, "--json", PROMPTRY_DB=str(store))
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["items"]
    assert result["counts"]["checks"] == 3
    assert (result["prompt_version"], result["model"], result["cost_usd"]) == (2, "in-child", 0.5)


@pytest.mark.slow
def test_a_prompt_that_only_a_child_process_serves_counts_as_served(
    three: None, store: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    (tmp_path / "evals.py").write_text(WORKERS.replace('    promptry.render_prompt("p", "default")\n', ""))
    (tmp_path / "child.py").write_text(CHILD)
    done = run_cli("run", "--prompt-version", 2, "--json", PROMPTRY_DB=str(store))
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["items"]
    assert (result["prompt"], result["prompt_version"]) == ("p", 2)


def test_after_a_run_nothing_is_fixed_any_more(three: None) -> None:
    render_into([])
    run_suite("s", prompt_version=2)
    assert promptry.run_scope() is None
    assert "PROMPTRY_RUN" not in __import__("os").environ
    promptry.forget_templates()
    assert render_prompt("p", "default") == "text 3"


def test_a_tracked_prompt_counts_as_served_in_the_version_it_tracked(three: None) -> None:
    @suite("s")
    def check() -> None:
        track("text 1", "p")
        assert_exact(1, 1)

    assert run_suite("s").prompt_version == 1


def nothing_saved() -> bool:
    return promptry.list_runs()["total"] == 0 and promptry.list_spools() == []


@pytest.mark.parametrize("fixed", [{"prompt_version": 2}, {"env": "prod"}])
@pytest.mark.parametrize("prompt", ["p", None])
def test_fixing_a_prompt_that_is_only_tracked_is_a_wrong_use_and_nothing_is_saved(
    fixed: dict[str, Any], prompt: str | None, three: None
) -> None:
    @suite("s", prompt=prompt)
    def check() -> None:
        track("text 3", "p")
        track_invocation("p")
        assert_exact(1, 1)

    with pytest.raises(promptry.WrongUse, match="only tracks prompt 'p'") as caught:
        run_suite("s", **fixed)
    assert "render_prompt" in str(caught.value)
    assert nothing_saved()


@pytest.mark.parametrize("fixed", [{"prompt_version": 2}, {"env": "prod"}])
def test_fixing_a_prompt_that_is_not_rendered_at_all_is_a_wrong_use(fixed: dict[str, Any], three: None) -> None:
    @suite("s", prompt="p")
    def check() -> None:
        render_prompt("another", "text")
        track_invocation("p")
        assert_exact(1, 1)

    with pytest.raises(promptry.WrongUse):
        run_suite("s", **fixed)
    assert nothing_saved()


@pytest.mark.parametrize(
    ("fixed", "error", "words"),
    [
        ({"prompt_version": 9}, promptry.NotFound, "no version 9"),
        ({"prompt_version": 0}, promptry.NotFound, "no version 0"),
        ({"prompt_version": -1}, promptry.NotFound, "no version -1"),
        ({"env": "nowhere"}, promptry.NotFound, "'nowhere'"),
        ({"compare": "prd"}, promptry.NotFound, "Did you mean 'prod'"),
        ({"prompt_version": 1, "env": "prod"}, promptry.WrongUse, "Give one"),
    ],
)
def test_an_unknown_version_or_tag_is_refused_before_a_case_ran(
    fixed: dict[str, Any], error: type[Exception], words: str, three: None
) -> None:
    seen: list[str] = []
    render_into(seen)
    with pytest.raises(error, match=words):
        run_suite("s", **fixed)
    assert seen == [] and nothing_saved()


@pytest.mark.parametrize("fixed", [{"prompt_version": 9}, {"env": "nowhere"}])
def test_an_unknown_version_of_a_prompt_that_no_suite_names_saves_nothing(fixed: dict[str, Any], three: None) -> None:
    seen: list[str] = []
    render_into(seen, prompt=None)
    with pytest.raises(promptry.NotFound):
        run_suite("s", **fixed)
    assert nothing_saved()
    assert seen == [], "no prompt has that version or tag, so no case needed to run to find out"


def test_a_version_that_only_another_prompt_has_saves_nothing_and_leaves_no_spool(three: None) -> None:
    for number in range(5):
        save_prompt("q", f"q {number}")
    render_into([], prompt=None)
    with pytest.raises(promptry.NotFound, match="'p'"):
        run_suite("s", prompt_version=5)
    assert nothing_saved()


def test_a_suite_that_cannot_take_its_items_is_refused_at_once(store: Path) -> None:
    suite("no argument", dataset=[{"id": "a"}, {"id": "b"}])(lambda: assert_exact(1, 1))
    suite("argument")(lambda item: assert_exact(1, 1))
    for name in ("no argument", "argument"):
        with pytest.raises(promptry.WrongUse, match="its function does not take that"):
            run_suite(name)
    assert nothing_saved()


def test_what_one_of_several_suites_cannot_do_is_refused_before_any_has_run(
    store: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    (tmp_path / "evals.py").write_text(
        "from promptry import *\n"
        "@suite('fine')\ndef a(): assert_exact(1, 1)\n"
        "@suite('no data', dataset='absent')\ndef b(item): assert_exact(1, 1)\n"
    )
    done = run_cli("run", "--db", store)
    assert done.returncode == 2 and "no dataset 'absent'" in done.stderr
    assert nothing_saved()


# --- interrupts

ENDLESS = """
import pathlib, time
from promptry import assert_exact, case, suite

@suite("endless")
def check():
    for number in range(1000):
        with case(f"n{number}"):
            assert_exact(1, 1)
        if number == 2:
            pathlib.Path("ready").write_text("")
            FOREVER

@suite("after")
def after():
    assert_exact(1, 1)
"""
WAYS_TO_WAIT = {
    "sleep": "time.sleep(60)",
    "in a block": "\n            with case('stuck'):\n                assert_exact(1, 1); time.sleep(60)",
    "swallowing exceptions": """
            try:
                time.sleep(60)
            except Exception:
                time.sleep(60)""",
}


def start_endless(tmp_path: Path, wait: str, *words: str, store: Path) -> subprocess.Popen[str]:
    (tmp_path / "evals.py").write_text(ENDLESS.replace("FOREVER", WAYS_TO_WAIT[wait]))
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--db", str(store), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    until = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert run.poll() is None and time.monotonic() < until, run.communicate()
        time.sleep(0.02)
    time.sleep(0.1)
    return run


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", list(WAYS_TO_WAIT))
def test_an_interrupt_keeps_what_has_run(number: signal.Signals, wait: str, store: Path, tmp_path: Path) -> None:
    run = start_endless(tmp_path, wait, "--json", store=store)
    run.send_signal(number)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 3, err
    assert "Traceback" not in err
    (result,) = json.loads(out)["items"]
    assert result["complete"] is False and result["passed"] is False
    found = promptry.get_run(result["run_id"])
    assert found["manifest"]["complete"] is False
    assert [row["case"] for row in found["cases"]][:3] == ["n0", "n1", "n2"]
    assert promptry.list_spools() == []


ASYNC = """
import asyncio, functools, pathlib
from promptry import assert_exact, case, suite

async def asked():
    for number in range(4):
        with case(f"n{number}"):
            if number == 3:
                other = asyncio.create_task(asyncio.sleep(60))
                pathlib.Path("ready").write_text("")
                WAIT
            assert_exact(1, 1)

suite("blocks")(FUNCTION)
"""
WAYS_TO_AWAIT = {
    "a task": ("asked", "await other"),
    "wrapped": ("lambda: asked()", "await other"),
    "deaf to cancelling": (
        "asked",
        """
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        pass""",
    ),
}


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("pace", [[], ["--concurrency", "2"]], ids=["alone", "in a crew"])
@pytest.mark.parametrize("way", list(WAYS_TO_AWAIT))
def test_an_interrupt_of_an_async_suite_keeps_what_has_run_and_says_no_more(
    way: str, pace: list[str], store: Path, tmp_path: Path
) -> None:
    function, wait = WAYS_TO_AWAIT[way]
    (tmp_path / "evals.py").write_text(ASYNC.replace("FUNCTION", function).replace("WAIT", wait))
    words = [sys.executable, str(ROOT / "promptry.py"), "run", "--db", str(store), "--json", *pace]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    until = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert run.poll() is None and time.monotonic() < until, run.communicate()
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (3, "")
    (result,) = json.loads(out)["items"]
    assert [row["case"] for row in result["cases"]] == ["n0", "n1", "n2"] and result["complete"] is False


def test_a_task_that_a_case_leaves_running_is_ended_without_a_word(store: Path, tmp_path: Path, run_cli: Any) -> None:
    text = "import asyncio\nfrom promptry import assert_exact, suite\n\n@suite('s')\nasync def check():\n"
    text += "    global other\n    other = asyncio.create_task(asyncio.sleep(60))\n    assert_exact(1, 1)\n"
    (tmp_path / "evals.py").write_text(text)
    done = run_cli("run", "--db", store)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.fault
def test_an_interrupt_ends_all_suites_and_the_report_says_so(store: Path, tmp_path: Path) -> None:
    run = start_endless(tmp_path, "sleep", store=store)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=30)
    assert run.returncode == 3
    assert "interrupted" in out
    assert promptry.list_runs(suite="after")["total"] == 0, "the suite after the interrupted one is not begun"


@pytest.mark.fault
def test_an_interrupt_before_the_first_case_saves_nothing_and_exits_3(store: Path, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(
        "import pathlib, time\nfrom promptry import suite\n"
        "@suite('s')\ndef check():\n    pathlib.Path('ready').write_text('')\n    time.sleep(60)\n"
    )
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--db", str(store)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    until = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 3, err
    assert "Traceback" not in err
    assert nothing_saved()


def test_an_interrupted_run_is_no_baseline(three: None) -> None:
    @suite("s", prompt="p")
    def check() -> None:
        render_prompt("p", "")
        with case("a"):
            assert_exact(1, 1)
        raise KeyboardInterrupt

    result = run_suite("s", env="prod")
    assert not result.complete and promptry.exit_code_of(result) == 3
    assert promptry.find_baseline("s", "prod", "p") is None


# --- stdout

NOISY = """
import os, subprocess, sys
from promptry import assert_exact, suite

@suite("noisy")
def check():
    print("by print")
    sys.stdout.write("by stdout\\n")
    sys.__stdout__.write("by the first stdout\\n")
    subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
    os.write(1, b"by the descriptor\\n")
    assert_exact(1, 1)
"""


def test_what_a_suite_prints_goes_to_stderr(tmp_path: Path, run_cli: Callable[..., Any]) -> None:
    (tmp_path / "evals.py").write_text(NOISY)
    done = run_cli("run", "--json", PYTHONUNBUFFERED="")
    assert done.returncode == 0
    assert "by print" in done.stderr and "by stdout" in done.stderr
    assert json.loads(done.stdout)["total"] == 1, "stdout holds the report and nothing else"
    for words in ("by a child", "by the descriptor", "by the first stdout"):
        assert words in done.stderr


def test_a_run_that_promotes_its_own_version_is_recorded_as_it_was_served(three: None) -> None:
    @suite("s", prompt="p")
    def check() -> None:
        render_prompt("p", "")
        promote("p", 1, "staging")
        assert_exact(1, 1)

    assert run_suite("s", env="staging").prompt_version == 2


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_run_does_not_need_its_streams(closed: str, store: Path, tmp_path: Path) -> None:
    """Daemons and cron jobs start programs with closed streams."""
    (tmp_path / "evals.py").write_text(
        "from promptry import *\n@suite('s')\ndef check():\n    print('x')\n    assert_exact(1, 1)\n"
    )
    command = f'exec "{sys.executable}" "{ROOT / "promptry.py"}" run --db "{store}" {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert promptry.list_runs()["total"] == 1


# --- what a run may cost


@pytest.mark.parametrize("kind", ["dataset", "blocks"])
def test_a_run_ends_once_it_has_cost_what_it_may(store: Path, kind: str) -> None:
    def ask() -> None:
        promptry.track_invocation("p", {"cost_usd": 0.25})
        assert_exact(1, 1)

    if kind == "dataset":

        @suite("s", dataset=[{"id": f"c{number}"} for number in range(10)])
        def by_item(item: Any) -> None:
            ask()

    else:

        @suite("s")
        def by_block() -> None:
            for number in range(10):
                with case(f"c{number}"):
                    ask()

    result = promptry.run_suite("s", max_usd=1.0)
    assert (result.counts["cases"], result.cost_usd, result.complete, result.passed) == (4, 1.0, False, False)
    assert result.reasons == ("the run was stopped: $1 are spent, it may cost $1",)
    assert promptry.exit_code_of(result) == 3
    assert "stopped: $1 are spent" in promptry.render_result(result)
    whole = promptry.run_suite("s", max_usd=100)
    assert (whole.counts["cases"], whole.complete, whole.passed) == (10, True, True)


def test_the_tries_that_confirm_a_break_cost_too(store: Path) -> None:
    states = {"c1": 1}

    @suite("s", prompt="p", dataset=[{"id": f"c{number}"} for number in range(4)])
    def check(item: Any) -> None:
        render_prompt("p", "")
        promptry.track_invocation("p", {"cost_usd": 0.25})
        assert_exact(states.get(item["id"], 1), 1)

    promptry.save_prompt("p", "text", tag="prod")
    promptry.run_suite("s")
    states["c1"] = 0
    result = promptry.run_suite("s", compare="prod", max_usd=1.25)
    assert (result.cost_usd, result.complete) == (1.25, False)
    result = promptry.run_suite("s", compare="prod", max_usd=1.75)
    assert (result.cost_usd, result.complete) == (1.5, True)


USED = {"prompt_tokens": 1, "completion_tokens": 1}


@pytest.mark.parametrize(
    ("count", "facts", "why"),
    [
        (3, {"model": "never-heard", "usage": USED}, """'never-heard' has no cost (no rate: say provider= with the"""),
        (3, {"model": "gpt-4.1"}, "'gpt-4.1' has no cost (the calls say no tokens"),
        (3, {"usage": USED}, "a call has no cost (the calls name no model"),
        (1, {"model": "never-heard", "usage": USED}, "'never-heard' has no cost"),
    ],
    ids=["no rate", "no tokens", "no model", "the last case"],
)
def test_a_call_of_unknown_cost_stops_a_run_that_has_a_limit(
    store: Path, count: int, facts: dict[str, Any], why: str
) -> None:
    @suite("s", dataset=[{"id": f"c{number}"} for number in range(count)])
    def check(item: Any) -> None:
        promptry.track_invocation("p", {"cost_usd": 0.25})
        promptry.track_invocation("p", **facts)
        assert_exact(1, 1)

    result = promptry.run_suite("s", max_usd=9)
    assert (result.counts["cases"], result.complete, promptry.exit_code_of(result)) == (1, False, 3)
    (reason,) = result.reasons
    assert reason.startswith("the run was stopped: a call") and why in reason
    assert reason.endswith("so it may cost more than $9, and $0.25 are known to be spent")
    unpriced = promptry.get_run(result.run_id)["manifest"]["gate"]["unpriced"]
    assert unpriced["model"] == facts.get("model") and unpriced["reason"] in reason
    whole = promptry.run_suite("s")
    assert whole.complete and promptry.get_run(whole.run_id)["manifest"]["gate"]["unpriced"] is None


def test_a_rate_of_0_is_a_known_cost_also_where_nobody_says_tokens(store: Path, tmp_path: Path) -> None:
    rates = "".join(f'[pricing."{model}"]\ninput = 0\noutput = 0\n' for model in ("llama", "cat"))
    (tmp_path / "promptry.toml").write_text(rates)
    promptry.forget_settings()

    @suite("s", dataset=[{"id": "a"}, {"id": "b"}])
    def check(item: Any) -> None:
        promptry.track_invocation("p", model="llama", usage=USED)
        promptry.track_invocation("p", {"status": "error", "error": "busy"}, model="gpt-4.1")
        assert promptry.ask_provider("exec: cat", "hi", name="p").cost_usd == 0.0
        assert_exact(1, 1)

    result = promptry.run_suite("s", max_usd=0.01)
    assert (result.counts["pass"], result.complete, result.cost_usd) == (2, True, 0.0), result.reasons


def test_after_a_call_of_unknown_cost_no_other_suite_begins(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    sys.modules.pop("evals", None)
    suites = "".join(
        f"@suite('{name}')\ndef {name}():\n    track_invocation('p', model='never')\n    assert_exact(1, 1)\n"
        for name in "ab"
    )
    (tmp_path / "evals.py").write_text(f"from promptry import assert_exact, suite, track_invocation\n{suites}")
    assert promptry.run_command(["run", "--max-usd", "5", "--format", "json"]) == 3
    assert [row["suite"] for row in json.loads(capsys.readouterr().out)["items"]] == ["a"]


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf")])
def test_what_a_run_may_cost_is_more_than_nothing(store: Path, usd: float) -> None:
    @suite("s", dataset=[1])
    def check(item: Any) -> None:
        assert_exact(1, 1)

    with pytest.raises(promptry.WrongUse, match="What a run may cost is"):
        promptry.run_suite("s", max_usd=usd)
    assert nothing_saved()


@pytest.mark.slow
def test_the_suites_of_one_command_share_what_it_may_cost(
    store: Path, tmp_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evals.py").write_text(
        "from promptry import assert_exact, suite, track_invocation\n"
        + "".join(
            f"""
@suite("{name}", dataset=[1, 2, 3])
def check_{name}(item):
    track_invocation("p", {{"cost_usd": 0.5}})
    assert_exact(1, 1)
"""
            for name in "abc"
        )
    )
    done = run_cli("run", "--max-usd", "2.5", "--json", "--db", store)
    assert done.returncode == 3, done.stderr
    found = {row["suite"]: (row["counts"]["cases"], row["complete"]) for row in json.loads(done.stdout)["items"]}
    assert found == {"a": (3, True), "b": (2, False)}
    assert run_cli("run", "--max-usd", "4.5", "--db", store).returncode == 0
    assert run_cli("run", "--max-usd", "0", "--db", store).returncode == 2


def test_a_case_left_behind_does_not_keep_the_next_suite_from_running(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    sys.modules.pop("evals", None)
    (tmp_path / "evals.py").write_text(
        "import time\nfrom promptry import assert_exact, case, suite\n"
        "@suite('first', timeout_s=0.2)\ndef first():\n"
        "    with case('hangs'):\n        time.sleep(1)\n"
        "    with case('never'):\n        assert_exact(1, 1)\n"
        "@suite('second')\ndef second():\n    assert_exact(1, 1)\n"
    )
    assert promptry.run_command(["run", "--format", "json"]) == 3
    ended = {row["suite"]: (row["complete"], row["passed"]) for row in json.loads(capsys.readouterr().out)["items"]}
    assert ended == {"first": (False, False), "second": (True, True)}


def test_an_interrupt_ends_one_run_and_no_later_one_in_another_thread(store: Any) -> None:
    """Only the main thread is told of signals; a run elsewhere must not take an old one for its own."""

    @suite("s", dataset=[1, 2])
    def check(item: int) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)
        assert_exact(1, 1)

    with pytest.raises(KeyboardInterrupt):
        run_suite("s")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(run_suite("s")))
    thread.start()
    thread.join(30)
    assert found and found[0].passed and found[0].counts["pass"] == 2
