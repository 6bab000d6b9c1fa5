"""WORKERS: cases at once keep their own checks and their order, a limit ends each, and what hangs is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, case, collect, run_suite, suite

ROOT = Path(promptry.__file__).resolve().parent
ITEMS = [{"id": f"c{number}", "x": number} for number in range(12)]


def states_of(result: promptry.RunResult) -> dict[str, str]:
    return {row["case"]: row["state"] for row in result.cases}


def checks_of(result: promptry.RunResult) -> dict[str, list[Any]]:
    """Return what each case compared, by its id."""
    rows = promptry.get_run(result.run_id)["cases"]
    return {row["case"]: [check["details"].get("actual") for check in row["checks"]] for row in rows}


@pytest.fixture(autouse=True)
def nothing_left_over() -> Any:
    """Let a case that was left behind end with its test, so that the test process may end as ever."""
    yield
    promptry._left_behind = 0
    promptry._here_loop.clear()
    if type(sys.stdout).__name__ == "Parted":
        sys.stdout = promptry._kept_stdout[0]


# --- order and attribution


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("repeats", [1, 3])
def test_results_stand_in_the_order_of_the_items_whatever_ends_first(is_async: bool, repeats: int, store: Any) -> None:
    ended: list[str] = []
    if is_async:

        @suite("s", dataset=ITEMS, concurrency=4)
        async def check(item: Any) -> None:
            await asyncio.sleep((12 - item["x"]) / 2000)
            ended.append(item["id"])
            assert_exact(item["x"], item["x"])

    else:

        @suite("s", dataset=ITEMS, concurrency=4)
        def check_sync(item: Any) -> None:
            time.sleep((12 - item["x"]) / 2000)
            ended.append(item["id"])
            assert_exact(item["x"], item["x"])

    result = run_suite("s", repeats=repeats)
    order = [(row["repeat"], row["case"]) for row in result.cases]
    assert order == [(repeat, item["id"]) for repeat in range(repeats) for item in ITEMS]
    assert sorted(ended) == sorted(name for _, name in order)
    assert checks_of(result)["c7"][:1] == [7] and result.passed


def test_so_many_cases_run_at_a_time_and_no_more(store: Any) -> None:
    lock, going, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(3, timeout=10)

    @suite("s", dataset=ITEMS)
    def check(item: Any) -> None:
        with lock:
            going[0] += 1
            most[0] = max(most[0], going[0])
        gate.wait()
        with lock:
            going[0] -= 1
        assert_exact(1, 1)

    assert run_suite("s", concurrency=3).passed
    assert most[0] == 3


WAYS = {
    "here": lambda work: work(),
    "a thread": lambda work: _in_thread(work),
    "a thread of a thread": lambda work: _in_thread(lambda: _in_thread(work)),
    "a timer": lambda work: _in_timer(work),
    "a pool": lambda work: _in_pool(work),
    "a shared pool": lambda work: SHARED.submit(work).result(),
    "a loop": lambda work: asyncio.run(_in_loop(work)),
}
SHARED = ThreadPoolExecutor(2)


def _in_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _in_timer(work: Any) -> None:
    timer = threading.Timer(0.001, work)
    timer.start()
    timer.join()


def _in_pool(work: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


async def _in_loop(work: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


@pytest.mark.parametrize("way", list(WAYS))
def test_each_check_goes_to_its_own_case_wherever_it_is_made(way: str, store: Any) -> None:
    @suite("s", dataset=ITEMS, concurrency=6)
    def check(item: Any) -> None:
        for _ in range(5):
            WAYS[way](lambda: assert_exact(item["x"], item["x"]))
            time.sleep(0.0005)

    result = run_suite("s")
    assert checks_of(result) == {item["id"]: [item["x"]] * 5 for item in ITEMS}


@pytest.mark.parametrize("way", list(WAYS))
def test_each_block_goes_to_its_own_case_wherever_it_is_opened(way: str, store: Any) -> None:
    @suite("s", dataset=ITEMS[:6], concurrency=3)
    def check(item: Any) -> None:
        def block(name: str) -> None:
            with case(name):
                time.sleep(0.0005)
                assert_exact(item["x"], item["x"])

        for name in ("a", "b"):
            WAYS[way](lambda name=name: block(name))

    result = run_suite("s")
    assert checks_of(result) == {f"{item['id']}/{name}": [item["x"]] for item in ITEMS[:6] for name in "ab"}
    assert list(states_of(result)) == [f"{item['id']}/{name}" for item in ITEMS[:6] for name in "ab"]


def test_tasks_of_one_function_keep_their_blocks_in_the_order_opened(store: Any) -> None:
    @suite("s", timeout_s=30)
    async def check() -> None:
        async def one(number: int) -> None:
            with case(f"n{number}"):
                await asyncio.sleep((5 - number) / 1000)
                assert_exact(number, number)

        await asyncio.gather(*map(one, range(5)))

    result = run_suite("s")
    assert list(states_of(result)) == [f"n{number}" for number in range(5)]
    assert checks_of(result) == {f"n{number}": [number] for number in range(5)}


def test_a_thread_older_than_the_cases_can_mean_none_of_several(store: Any) -> None:
    work: queue.SimpleQueue[Any] = queue.SimpleQueue()
    faults: list[BaseException] = []

    def old() -> None:
        while (job := work.get()) is not None:
            try:
                assert_exact(job[0], job[0])
            except promptry.WrongUse as error:
                faults.append(error)
            job[1].set()

    thread = threading.Thread(target=old)
    thread.start()
    both = threading.Barrier(2, timeout=10)

    @suite("s", dataset=ITEMS[:2])
    def check(item: Any) -> None:
        if concurrency == 2:
            both.wait()
        done = threading.Event()
        work.put((item["x"], done))
        assert done.wait(10)
        if concurrency == 2:
            both.wait()

    concurrency = 2
    result = run_suite("s", concurrency=2)
    assert set(states_of(result).values()) == {"fail"} and len(faults) == 2, "no check is given to a wrong case"
    assert "older than the case" in str(faults[0])
    concurrency = 1
    assert checks_of(run_suite("s")) == {"c0": [0], "c1": [1]}, "with one case open it is that one"
    work.put(None)
    thread.join()


def test_the_scope_of_the_run_reaches_every_worker(store: Any) -> None:
    for number in (1, 2):
        promptry.save_prompt("p", f"text {number}")
    seen: list[str] = []

    @suite("s", prompt="p", dataset=ITEMS, concurrency=4)
    def check(item: Any) -> None:
        _in_thread(lambda: seen.append(promptry.render_prompt("p", "")))
        promptry.track_invocation("p", {"cost_usd": 0.25})
        assert_exact(1, 1)

    result = run_suite("s", prompt_version=1)
    assert seen == ["text 1"] * 12 and result.prompt_version == 1 and result.cost_usd == 3.0


def test_after_a_run_threads_start_as_before(store: Any) -> None:
    before = threading.Thread.start, ThreadPoolExecutor.submit
    inside: list[Any] = []

    @suite("s")
    def check() -> None:
        inside.append(threading.Thread.start)
        assert_exact(run_other().passed, True)

    def run_other() -> promptry.RunResult:
        suite("other", dataset=ITEMS[:2], concurrency=2)(lambda item: assert_exact(1, 1))
        return run_suite("other")

    result = run_suite("s")
    assert inside[0] is not before[0]
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
    assert checks_of(result) == {"s": [True]}, "a run inside a case keeps its checks to itself"


def test_what_another_tool_wrapped_meanwhile_goes_on(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = threading.Thread.start

    @suite("s")
    def check() -> None:
        ours = threading.Thread.start
        threading.Thread.start = lambda thread: ours(thread)  # type: ignore[method-assign]
        _in_thread(lambda: assert_exact(1, 1))

    try:
        assert run_suite("s").passed
        assert run_suite("s").passed, "and no start calls itself without end"
    finally:
        threading.Thread.start = original  # type: ignore[method-assign]


def test_checks_of_a_collect_block_in_a_worker_stay_in_it(store: Any) -> None:
    @suite("s", dataset=ITEMS[:4], concurrency=4)
    def check(item: Any) -> None:
        with collect() as checks:
            _in_thread(lambda: assert_exact(item["x"], item["x"]))
            time.sleep(0.002)
        assert_exact([row.details["actual"] for row in checks], [item["x"]])

    result = run_suite("s")
    assert checks_of(result) == {item["id"]: [[item["x"]]] for item in ITEMS[:4]} and result.passed


def test_many_cases_of_real_threads_keep_every_check(store: Any) -> None:
    @suite("s", dataset=[{"id": f"n{number}", "x": number} for number in range(300)], concurrency=16)
    def check(item: Any) -> None:
        with case("a"):
            assert_exact(item["x"], item["x"])
        assert_exact(item["x"] % 7 == 0, False)

    result = run_suite("s")
    assert result.counts["cases"] == 600 and result.counts["checks"] == 600
    assert result.counts["fail"] == len(range(0, 300, 7))
    assert [row["case"] for row in result.cases][:4] == ["n0/a", "n0", "n1/a", "n1"]


# --- limits


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_sync_case_over_its_time_is_an_error_and_the_others_go_on(concurrency: int, store: Any) -> None:
    free = threading.Event()
    late: list[str] = []

    @suite("s", dataset=ITEMS[:6], timeout_s=0.1, concurrency=concurrency)
    def check(item: Any) -> None:
        assert_exact(item["x"], item["x"])
        if item["x"] == 2:
            free.wait(30)
            assert_exact("too late", "too late")
            with case("too late"):
                assert_exact("too late", "too late")
            late.append("ended")

    result = run_suite("s")
    assert states_of(result) == {item["id"]: "error" if item["x"] == 2 else "pass" for item in ITEMS[:6]}
    (row,) = [row for row in promptry.get_run(result.run_id)["cases"] if row["state"] == "error"]
    assert row["reason"] == "TimeoutError: the case took longer than its 0.1 s, and was left behind"
    at = row["checks"][-1]["details"]["at"]
    assert at.startswith(__file__) and at.endswith("free.wait(30)"), "the line of ours in which it is"
    assert result.complete and result.coverage == pytest.approx(5 / 6)
    assert promptry.exit_code_of(result) == 3 and result.reasons == ("1 of 6 cases ended in an error",)
    free.set()
    until = time.monotonic() + 10
    while not late and time.monotonic() < until:
        time.sleep(0.01)
    assert late == ["ended"], "what comes late does no harm"
    again = promptry.get_run(result.run_id)
    assert "too late" not in json.dumps(again["cases"]), "and is never attributed"
    assert result.counts["checks"] == 6


def test_what_comes_late_is_not_given_to_the_next_case(store: Any) -> None:
    free, spoke = threading.Event(), threading.Event()

    @suite("s", dataset=ITEMS[:2], timeout_s=0.2)
    def check(item: Any) -> None:
        if item["x"] == 0:
            free.wait(30)

            def speak() -> None:
                assert_exact("late", "late")
                spoke.set()

            _in_thread(speak)
            return
        free.set()
        assert spoke.wait(10)
        assert_exact(1, 1)

    result = run_suite("s", timeout_s=0.2)
    assert states_of(result) == {"c0": "error", "c1": "pass"}
    assert checks_of(result)["c1"] == [1]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_async_case_over_its_time_is_cancelled(concurrency: int, store: Any) -> None:
    cancelled: list[str] = []

    @suite("s", dataset=ITEMS[:4], timeout_s=0.1)
    async def check(item: Any) -> None:
        assert_exact(item["x"], item["x"])
        if item["x"] == 1:
            try:
                await asyncio.sleep(30)
            finally:
                cancelled.append(item["id"])

    result = run_suite("s", concurrency=concurrency)
    assert states_of(result) == {"c0": "pass", "c1": "error", "c2": "pass", "c3": "pass"}
    assert cancelled == ["c1"] and promptry._left_behind == 0
    reason = next(row["reason"] for row in result.cases if row["state"] == "error")
    assert reason == "TimeoutError: the case took longer than its 0.1 s"


def test_the_blocks_after_one_that_was_cancelled_still_run(store: Any) -> None:
    @suite("s", timeout_s=0.1)
    async def check() -> None:
        for name in ("a", "b", "c"):
            with case(name):
                assert_exact(1, 1)
                await asyncio.sleep(30 if name == "b" else 0.06)

    result = run_suite("s")
    assert states_of(result) == {"a": "pass", "b": "error", "c": "pass"}
    assert result.complete, "the time counts anew with each block"


def test_a_block_that_hangs_in_a_thread_takes_those_after_it_along_and_the_run_says_so(store: Any) -> None:
    free = threading.Event()

    @suite("s", timeout_s=0.1)
    def check() -> None:
        for name in ("a", "b", "c"):
            with case(name):
                assert_exact(1, 1)
                if name == "b":
                    free.wait(30)

    result = run_suite("s")
    free.set()
    assert states_of(result) == {"a": "pass", "b": "error"}
    assert not result.complete and promptry.exit_code_of(result) == 3
    assert "left behind with the blocks after" in result.reasons[0]


@pytest.mark.slow
def test_a_task_that_swallows_its_end_or_blocks_the_loop_is_left_behind(store: Any) -> None:
    free = threading.Event()

    @suite("s", dataset=ITEMS[:4], timeout_s=0.1, concurrency=1)
    async def check(item: Any) -> None:
        assert_exact(item["x"], item["x"])
        if item["x"] == 0:
            free.wait(30)
        while item["x"] == 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05 if free.is_set() else 30)
                return

    result = run_suite("s")
    free.set()
    assert states_of(result) == {"c0": "error", "c1": "pass", "c2": "error", "c3": "pass"}


def test_a_case_that_ends_in_spite_of_its_cancelling_was_still_too_long(store: Any) -> None:
    @suite("s", dataset=ITEMS[:2], timeout_s=0.1)
    async def check(item: Any) -> None:
        if item["x"] == 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
        assert_exact(1, 1)

    assert states_of(run_suite("s")) == {"c0": "error", "c1": "pass"}


def test_a_function_that_only_returns_a_coroutine_is_awaited_in_workers_too(store: Any) -> None:
    loops: set[int] = set()

    async def inner(item: Any) -> None:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        assert_exact(item["x"], item["x"])

    suite("s", dataset=ITEMS, concurrency=4)(lambda item: inner(item))
    result = run_suite("s")
    assert checks_of(result) == {item["id"]: [item["x"]] for item in ITEMS}
    assert len(loops) == 1, "clients are bound to the loop in which they first worked"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_a_worker_raises_ends_the_case_or_the_run_as_it_does_here(
    error: BaseException, is_async: bool, store: Any
) -> None:
    def act(item: Any) -> None:
        assert_exact(1, 1)
        if item["x"] == 6:
            raise error

    async def act_later(item: Any) -> None:
        await asyncio.sleep(0)
        act(item)

    suite("s", dataset=ITEMS, concurrency=2)(act_later if is_async else act)
    result = run_suite("s")
    if isinstance(error, SystemExit):
        assert states_of(result)["c6"] == "error" and result.counts["cases"] == 12 and result.complete
    else:
        passed = {row["case"] for row in result.cases if row["state"] == "pass"}
        is_dropped = any("under way dropped" in reason for reason in result.reasons)
        missing = {f"c{number}" for number in range(6)} - passed
        assert not result.complete and len(passed) < 12
        assert not missing or (len(missing) == 1 and is_dropped), "what goes on beside it ends, or is told as dropped"


def test_a_spool_that_cannot_be_written_ends_the_run_with_its_reason(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise promptry.StoreError("The disk is full.", "Make room.")

    suite("s", dataset=ITEMS, concurrency=3)(lambda item: assert_exact(1, 1))
    monkeypatch.setattr(promptry, "write_outcome", full)
    with pytest.raises(promptry.StoreError, match="disk is full"):
        run_suite("s")


# --- money


@pytest.mark.parametrize("is_async", [False, True])
def test_a_spent_run_starts_no_other_case_and_waits_for_those_that_go_on(is_async: bool, store: Any) -> None:
    def spend() -> None:
        promptry.track_invocation("p", {"cost_usd": 0.25})
        assert_exact(1, 1)

    async def later(item: Any) -> None:
        await asyncio.sleep(0.002)
        spend()

    def now(item: Any) -> None:
        time.sleep(0.002)
        spend()

    suite("s", dataset=[{"id": f"c{number}"} for number in range(50)], concurrency=4)(later if is_async else now)
    result = run_suite("s", max_usd=2.0)
    assert not result.complete and promptry.exit_code_of(result) == 3
    assert result.cost_usd is not None and 2.0 <= result.cost_usd <= 2.75, "over by those that were going on at most"
    assert result.counts["cases"] == result.cost_usd / 0.25, "what was paid for is kept"
    assert "; the cases that were going on have ended" in result.reasons[0]


def test_functions_with_blocks_that_run_at_once_all_end_when_the_run_is_spent(store: Any) -> None:
    both = threading.Barrier(2, timeout=10)

    @suite("s", concurrency=2, repeats=2)
    def check() -> None:
        for number in range(6):
            with case(f"b{number}"):
                both.wait()
                promptry.track_invocation("p", {"cost_usd": 0.25})
                both.wait()
                assert_exact(1, 1)

    result = run_suite("s", max_usd=1.0)
    assert not result.complete and promptry._left_behind == 0
    assert [(row["case"], row["repeat"]) for row in result.cases] == [
        ("b0", 0),
        ("b1", 0),
        ("b0", 1),
        ("b1", 1),
    ]


# --- stdout


def test_runs_in_several_threads_give_stdout_back(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    suite("s", dataset=ITEMS[:6], concurrency=2)(lambda item: (print("talk"), time.sleep(0.002), assert_exact(1, 1)))
    before = sys.stdout
    contexts = [contextvars.copy_context() for _ in range(4)]
    threads = [threading.Thread(target=context.run, args=(run_suite, "s")) for context in contexts]
    for thread in threads:
        thread.start()
        time.sleep(0.003)
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    out, err = capsys.readouterr()
    assert out == "" and err.count("talk") == 24


def test_what_a_case_left_behind_prints_is_no_result(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    free, printed = threading.Event(), threading.Event()

    @suite("s", timeout_s=0.1)
    def check() -> None:
        free.wait(30)
        print("late")
        printed.set()

    run_suite("s")
    free.set()
    assert printed.wait(10)
    print("result")
    out, err = capsys.readouterr()
    assert (out, err) == ("result\n", "late\n")


# --- processes that end


HANGS = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from promptry import assert_exact, suite

POOL = ThreadPoolExecutor(1)

@suite("hangs", dataset=[{"id": str(number)} for number in range(4)])
def check(item):
    if item["id"] == "1":
        POOL.submit(time.sleep, 300).result()
    if item["id"] == "2":
        threading.Thread(target=time.sleep, args=(300,)).start()
        while True:
            try:
                time.sleep(300)
            except BaseException:
                pass
    assert_exact(1, 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("python", [[], ["--python", sys.executable]], ids=["here", "in a child"])
def test_a_run_ends_even_where_threads_never_do(python: list[str], store: Any, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "evals.py").write_text(HANGS)
    done = run_cli("run", "--timeout", "0.3", "--json", "--db", store, *python, timeout=30)
    assert done.returncode == 3, done.stderr
    (result,) = json.loads(done.stdout)["items"]
    assert [row["state"] for row in result["cases"]] == ["pass", "error", "error", "pass"]
    assert promptry.list_spools() == []


ENDLESS = """
import asyncio, pathlib, time
from promptry import assert_exact, suite

ITEMS = [{"id": f"n{number}"} for number in range(1000)]

def ready(item):
    if item["id"] == "n5":
        pathlib.Path("ready").write_text("")

@suite("threads", dataset=ITEMS)
def threads(item):
    assert_exact(1, 1)
    ready(item)
    if item["id"] in {"n4", "n5", "n6"}:
        time.sleep(300)

@suite("tasks", dataset=ITEMS)
async def tasks(item):
    assert_exact(1, 1)
    ready(item)
    if item["id"] in {"n4", "n5", "n6"}:
        await asyncio.sleep(300)
"""


TWO_COMMANDS = """
suites:
  - name: s
    provider: "exec: sleep 60 & echo $! > pid.$$; wait"
    prompt: hi
    cases: [a, b]
    concurrency: 2
    assert: [contains: a]
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the commands are those of a POSIX shell")
@pytest.mark.parametrize("limit", [[], ["--timeout", "2"]], ids=["interrupted", "late"])
def test_commands_of_cases_that_are_dropped_or_left_behind_are_ended(
    limit: list[str], store: Any, tmp_path: Path
) -> None:
    (tmp_path / "evals.yaml").write_text(TWO_COMMANDS)
    words = [sys.executable, str(ROOT / "promptry.py"), "run", "s", "--db", str(store), *limit]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        until = time.monotonic() + 30
        while len(pids := [path.read_text() for path in tmp_path.glob("pid.*") if path.read_text().strip()]) < 2:
            assert run.poll() is None and time.monotonic() < until, run.communicate()
            time.sleep(0.02)
        if not limit:
            run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=30)
    assert run.returncode == 3 and "Traceback" not in out, out
    until = time.monotonic() + 5
    while any(_runs(int(pid)) for pid in pids):
        assert time.monotonic() < until, "what a command started still runs"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("name", ["threads", "tasks"])
@pytest.mark.parametrize("python", [[], ["--python", sys.executable]], ids=["here", "in a child"])
def test_an_interrupt_keeps_what_has_run_and_drops_what_goes_on(
    name: str, python: list[str], store: Any, tmp_path: Path
) -> None:
    (tmp_path / "evals.py").write_text(ENDLESS)
    words = ["run", name, "--concurrency", "3", "--json", "--db", str(store), *python]
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    until = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert run.poll() is None and time.monotonic() < until, run.communicate()
        time.sleep(0.02)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 3 and "Traceback" not in err, err
    (result,) = json.loads(out)["items"]
    assert result["complete"] is False
    assert result["reasons"] == ["the run was interrupted, and 3 cases under way dropped"]
    assert [row["case"] for row in result["cases"]] == ["n0", "n1", "n2", "n3"]


@pytest.mark.slow
def test_the_case_that_blocks_the_loop_is_named_with_its_line_and_the_others_name_it(store: Any) -> None:
    release = threading.Event()

    @suite("s", dataset=[{"id": name} for name in ("stuck", "waits", "later")], concurrency=2, timeout_s=0.3)
    async def check(item: Any) -> None:
        if item["id"] == "waits":
            await asyncio.sleep(30)
        if item["id"] == "stuck":
            await asyncio.sleep(0.05)
            release.wait(30)
        assert_exact(1, 1)

    try:
        result = run_suite("s")
    finally:
        release.set()
    found = {row["case"]: row for row in promptry.get_run(result.run_id)["cases"]}
    late = "TimeoutError: the case took longer than its 0.3 s"
    assert found["stuck"]["reason"] == f"{late}, blocked the loop, and was left behind"
    assert "release.wait(30)" in found["stuck"]["checks"][0]["details"]["at"]
    assert found["waits"]["reason"] == f"{late}, for the loop was blocked by 'stuck', and was left behind"
    assert found["later"]["state"] == "pass"
