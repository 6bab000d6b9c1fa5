"""COURIER: what is committed is shipped, whatever the hub does, and never on the way of a caller."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hubs import false_hub, free_port, pass_on, running_hub, sums_of, tell_remote
from test_json import check_keys

import promptry

FIVE = """
import promptry
for number in range(5):
    assert promptry.track_invocation("p", {"cost_usd": 0.5, "number": number}, model="m")
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    """Give the store of a hub in a process of its own, where promptry.toml has this folder's rows shipped to."""
    path, port = tmp_path / "hub" / "hub.db", free_port()
    path.parent.mkdir()
    tell_remote(tmp_path, port)
    with running_hub(path, port):
        yield path


def some_of(counts: dict[str, int]) -> dict[str, int]:
    return {table: count for table, count in counts.items() if count}


def calls_of(hub: Path) -> int:
    """Return how many calls a hub has, which may have no store yet."""
    try:
        return int(sums_of(hub)["calls"][0][0]) if hub.exists() else 0
    except sqlite3.OperationalError:
        return 0


def take_all(self: Any, body: dict[str, Any]) -> None:
    """Answer as a hub does that takes everything."""
    counts = {table: len(sent["rows"]) for table, sent in body.get("tables", {}).items()}
    mark = (body.get("cursor") or {}).get("id")
    told = {"source": body["source"], "mark": mark, "marks": [], "taken": counts, "refused": [], "refused_total": 0}
    self.say(200, json.dumps(told).encode())


def test_a_short_script_ends_with_five_of_five_shipped(tmp_path: Path, hub: Path, run_python: Any) -> None:
    for round in (1, 2):
        done = run_python(FIVE, PROMPTRY_DB=str(tmp_path / "store.db"))
        assert done.stderr == "" and sums_of(hub)["calls"][0][0] == 5 * round
    assert sums_of(hub) == sums_of(tmp_path / "store.db")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("step", ["_references", "_identity"])
def test_no_fork_finds_the_courier_reading(step: str, tmp_path: Path, run_python: Any) -> None:
    """Its child would have what SQLite holds just then for ever, and wait for it in its first own call."""
    code = """
    import os, sys, threading, time, promptry
    inside, began, forked = [False], threading.Event(), threading.Event()
    step = sys.argv[1]
    real = getattr(promptry, step)
    def slowly(*words):
        inside[0] = True
        began.set()
        time.sleep(0.5)
        found = real(*words)
        inside[0] = False
        return found
    promptry.use_store("s.db")
    promptry.track_invocation("p")
    promptry.begin_source()
    setattr(promptry, step, slowly)
    def read():
        with promptry.reading(promptry.store_path()) as reader:
            shipment = promptry.next_shipment(reader, promptry.find_source(reader), promptry.find_road(reader, []))
            promptry.find_road(reader, [promptry._mark_of_road(shipment.road)])
            forked.wait()  # a courier closes what it reads by only when it ends
    thread = threading.Thread(target=read)
    thread.start()
    began.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(7 if inside[0] else 0 if promptry.track_invocation("p") else 8)
    forked.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    done = run_python(code, step)
    assert done.stdout == "0\n", done


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_forked_children_and_workers_of_a_pool_ship_what_they_commit(
    tmp_path: Path, hub: Path, run_python: Any
) -> None:
    code = """
    import multiprocessing, os, sys, promptry
    def work(number):
        return promptry.track_invocation("p", {"cost_usd": 0.5, "number": number})
    if __name__ == "__main__":
        work(0)
        pid = os.fork()
        if pid == 0:
            work(1)
            sys.exit(0)
        os.waitpid(pid, 0)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(pool.map(work, range(2, 10)))
            pool.close()
            pool.join()
    """
    done = run_python(code, PROMPTRY_DB=str(tmp_path / "store.db"))
    assert done.stderr == "" and sums_of(tmp_path / "store.db")["calls"][0][0] == 10
    assert sums_of(hub) == sums_of(tmp_path / "store.db")


@pytest.mark.slow
def test_a_process_that_lives_on_ships_within_moments(tmp_path: Path, hub: Path, start_python: Any) -> None:
    code = """
    import sys, promptry
    for line in sys.stdin:
        print(promptry.track_invocation("p"), flush=True)
    """
    child = start_python(code, PROMPTRY_DB=str(tmp_path / "store.db"))
    for number in (1, 2):
        child.stdin.write("\n")
        child.stdin.flush()
        assert int(child.stdout.readline()) == number
        until = time.monotonic() + 10
        while calls_of(hub) < number:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_without_a_remote_nothing_is_begun(store: Path) -> None:
    before = threading.active_count()
    promptry.track_invocation("p")
    promptry.save_prompt("p", "Text")
    assert threading.active_count() == before
    with promptry.reading(store) as reader:
        assert promptry.find_source(reader) is None
    assert promptry.remote_standing() is None


def test_import_starts_and_loads_nothing_for_it(tmp_path: Path, run_python: Any) -> None:
    tell_remote(tmp_path, 1)
    code = """
    import sys, threading, promptry
    print(threading.active_count(), "urllib.request" in sys.modules)
    promptry.list_prompts()
    print(threading.active_count(), "urllib.request" in sys.modules)
    """
    assert run_python(code, PROMPTRY_DB=str(tmp_path / "s.db")).stdout.split() == ["1", "False"] * 2


@pytest.mark.slow
def test_with_no_hub_there_a_script_ends_at_once_and_what_waits_is_told(
    tmp_path: Path, run_python: Any, run_cli: Any
) -> None:
    port = free_port()
    tell_remote(tmp_path, port)
    began = time.monotonic()
    done = run_python(FIVE, PROMPTRY_DB=str(tmp_path / "store.db"))
    assert time.monotonic() - began < 5
    assert done.stderr.count("rows wait in the store, for they cannot be shipped") == 1
    promptry.use_store(tmp_path / "store.db")
    found = promptry.remote_standing()
    assert found is not None and found["waiting"] == 5 and found["since"] and found["failing_since"]
    assert found["url"] == f"http://127.0.0.1:{port}" and "cannot be reached" in found["error"]
    (told,) = [row for row in promptry.diagnose() if row["name"] == "remote"]
    assert told["state"] == "hint" and "5 rows wait, the oldest of 20" in told["detail"]
    assert "5 rows wait" in promptry.render_overview(promptry.get_overview())
    pushed = run_cli("push", "--db", tmp_path / "store.db")
    assert pushed.returncode == 3 and "cannot be reached" in pushed.stderr and pushed.stdout == ""
    hub = tmp_path / "hub.db"
    with running_hub(hub, port):
        pushed = run_cli("push", "--db", tmp_path / "store.db", "--json")
        assert pushed.returncode == 0 and some_of(json.loads(pushed.stdout)["taken"]) == {"invocations": 5}
    found = promptry.remote_standing()
    assert found is not None and (found["waiting"], found["error"], found["lost"]) == (0, None, 0)
    assert found["shipped_at"] and "remote" not in promptry.render_overview(promptry.get_overview())
    assert [row["state"] for row in promptry.diagnose() if row["name"] == "remote"] == ["ok"]


@pytest.mark.slow
def test_a_hub_that_does_not_answer_holds_a_script_up_for_two_seconds(tmp_path: Path, run_python: Any) -> None:
    gone = threading.Event()
    with false_hub(lambda self, body: gone.wait(30) and None) as (port, seen):
        tell_remote(tmp_path, port)
        code = f"import time, promptry\nbegan = time.monotonic()\n{FIVE}\nprint(time.monotonic() - began)"
        began = time.monotonic()
        done = run_python(code, PROMPTRY_DB=str(tmp_path / "store.db"))
        span = time.monotonic() - began
        gone.set()
    assert float(done.stdout) < 1 and seen and span < promptry.LEAVE_S + 4
    assert sums_of(tmp_path / "store.db")["calls"][0][0] == 5


def test_the_rest_grows_while_shipping_fails_and_the_fault_is_said_once(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rests: list[float] = []
    real = promptry._rest_s
    monkeypatch.setattr(promptry, "_rest_s", lambda failures: rests.append(real(failures)) or 0.01)
    fails = [True]

    def answer(self: Any, body: dict[str, Any]) -> None:
        self.say(503, b"busy") if fails[0] else take_all(self, body)

    with false_hub(answer) as (port, seen):
        tell_remote(tmp_path, port)
        promptry.forget_settings()
        promptry.track_invocation("p")
        wait_for(lambda: len(rests) > 9)
        fails[0] = False
        wait_for(lambda: (promptry.remote_standing() or {}).get("waiting") == 0)
        promptry.dismiss_courier()
    assert rests[0] <= promptry._GATHER_S * 1.25
    assert all(0.75 * 2**place <= rest <= 60 * 1.25 for place, rest in enumerate(rests[1:6]))
    assert max(rests) > 30 and sum("cannot be shipped" in record.message for record in caplog.records) == 1
    assert len({body["source"] for body in seen}) == 1


def wait_for(holds: Any, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_is_too_large_for_a_hub_is_sent_in_parts_and_a_row_that_is_stays(store: Path, tmp_path: Path) -> None:
    def answer(self: Any, body: dict[str, Any]) -> None:
        count = sum(len(sent["rows"]) for sent in body.get("tables", {}).values())
        if count > 3 or "giant" in json.dumps(body):
            return self.say(413, b"")
        return take_all(self, body)

    with false_hub(answer) as (port, seen):
        tell_remote(tmp_path, port)
        promptry.forget_settings()
        promptry._asked.append(True)  # no courier: what is shipped is shipped by the command
        for number in range(9):
            promptry.track_invocation("p", {"size": "giant" if number == 4 else "small"})
        found = promptry.push()
    assert some_of(found["sent"]) == {"invocations": 8} and found["lost"] == 1
    assert found["refused"] == [{"table": "invocations", "id": "5", "reason": "too large"}]
    assert (promptry.remote_standing() or {})["lost"] == 1


def test_a_hub_that_finds_anything_too_large_is_said_so_and_not_asked_for_ever(store: Path, tmp_path: Path) -> None:
    with false_hub(lambda self, body: self.say(413, b"") if "tables" in body else take_all(self, body)) as (port, seen):
        tell_remote(tmp_path, port)
        promptry.forget_settings()
        promptry._asked.append(True)
        with promptry.transact(tells=False) as connection:
            connection.execute("INSERT INTO eval_runs (suite_name) VALUES ('qa')")
            sql = "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (1, 'c', 'exact', 1)"
            connection.execute(sql)
        with pytest.raises(promptry.ProviderError, match="413"):
            promptry.push()
    assert len(seen) < 20


@pytest.mark.slow
def test_two_processes_of_a_store_ship_each_row_and_not_all_of_them_twice(tmp_path: Path, start_python: Any) -> None:
    code = """
    import time, promptry
    for number in range(500):
        promptry.track_invocation("p", {"cost_usd": 0.25})
        time.sleep(0.01)
    """
    store, hub, port = tmp_path / "store.db", tmp_path / "hub.db", free_port()
    with running_hub(hub, port), false_hub(pass_on(port, lambda body: False)) as (between, seen):
        tell_remote(tmp_path, between)
        children = [start_python(code, PROMPTRY_DB=str(store)) for _ in range(2)]
        for child in children:
            assert child.communicate(timeout=60)[1] == "" and child.returncode == 0
    assert sums_of(hub) == sums_of(store) and sums_of(hub)["calls"][0][0] == 1000
    sent = sum(len(body["tables"]["invocations"]["rows"]) for body in seen if "invocations" in body.get("tables", {}))
    assert sent < 1500, "most rows were sent once"


def test_another_store_gets_another_courier_and_the_first_one_goes(tmp_path: Path) -> None:
    with false_hub(take_all) as (port, seen):
        tell_remote(tmp_path, port)
        promptry.forget_settings()
        for name in ("one.db", "two.db"):
            promptry.use_store(tmp_path / name)
            promptry.track_invocation("p")
            wait_for(lambda: (promptry.remote_standing() or {}).get("waiting") == 0)
        promptry.use_store(None)
        wait_for(lambda: not any(thread.name == "promptry-courier" for thread in threading.enumerate()))
    assert len({body["source"] for body in seen}) == 2


def test_a_read_ships_nothing(store: Path, tmp_path: Path) -> None:
    promptry.track_invocation("p", {"cost_usd": 1.0})
    promptry.set_budget("global", None, "monthly", 5.0)
    promptry.use_store(store)
    tell_remote(tmp_path, 9)
    promptry.forget_settings()
    promptry.get_overview()
    promptry.budget_status()
    promptry.list_costs()
    assert not any(thread.name == "promptry-courier" for thread in threading.enumerate())


@pytest.mark.slow
def test_push_says_what_was_sent_what_was_refused_and_what_is_wrong(
    tmp_path: Path, hub: Path, run_cli: Any, run_python: Any
) -> None:
    store = tmp_path / "store.db"
    promptry.use_store(store)
    with promptry.transact(tells=False) as connection:
        connection.execute("INSERT INTO votes (prompt_name, response, score) VALUES ('p', 'r', 1)")
        connection.execute("INSERT INTO invocations (prompt_name, prompt_version) VALUES ('p', 1.5)")
    done = run_cli("push", "--db", store)
    assert done.returncode == 3 and "votes" in done.stdout, done.stderr
    assert "invocations 1 was refused: prompt_version takes a whole number" in done.stdout
    again = run_cli("push", "--db", store)
    assert again.returncode == 0 and "lacks nothing" in again.stdout
    whole = run_cli("push", "--all", "--db", store, "--json")
    assert some_of(json.loads(whole.stdout)["sent"]) == {"votes": 1, "invocations": 1}
    assert some_of(json.loads(whole.stdout)["taken"]) == {} and whole.returncode == 3
    check_keys("push --json", json.loads(whole.stdout))
    assert sums_of(hub)["votes"] == sums_of(store)["votes"]


def test_push_without_a_remote_is_wrong_use(run_cli: Any, store: Path, tmp_path: Path) -> None:
    done = run_cli("push")
    assert done.returncode == 2 and "promptry.toml does not say where to ship to." in done.stderr
    (tmp_path / "promptry.toml").write_text('[remote]\nurl = "ftp://h"\n')
    done = run_cli("push")
    assert done.returncode == 2 and "is no address" in done.stderr


@pytest.mark.slow
def test_no_token_is_ever_told(tmp_path: Path, run_cli: Any, run_python: Any) -> None:
    with false_hub(lambda self, body: self.say(401, self.headers["Authorization"].encode())) as (port, seen):
        tell_remote(tmp_path, port, 'token_env = "HUB_TOKEN"\n')
        told = {"HUB_TOKEN": "tok-12345-secret", "PROMPTRY_DB": str(tmp_path / "store.db")}
        done = run_python(FIVE, **told)
        pushed = run_cli("push", "--json", **told)
        status = run_cli("status", **told)
        settings = run_cli("settings", "--json", **told)
    assert seen and "answered 401" in done.stderr and pushed.returncode == 3
    for said in (done, pushed, status, settings):
        assert "tok-12345-secret" not in said.stdout + said.stderr
    with false_hub(take_all) as (port, _):
        (tmp_path / "promptry.toml").write_text(f'[remote]\nurl = "http://127.0.0.1:{port}/?key=tok-12345-secret"\n')
        for words in ("push", "--json"), ("push",), ("push",):
            pushed = run_cli(*words, **told)
            assert pushed.returncode == 0 and "tok-12345" not in pushed.stdout + pushed.stderr
    variables = {row["name"]: row for row in json.loads(settings.stdout)["variables"]}
    assert variables["HUB_TOKEN"] == {"name": "HUB_TOKEN", "is_set": True, "what": "the token of the remote"}
    assert b"tok-12345-secret" not in (tmp_path / "store.db").read_bytes()
