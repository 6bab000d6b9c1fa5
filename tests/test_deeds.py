"""DEEDS: with --allow-writes an agent saves, promotes and runs, as the command does; without it nothing is there."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from agents import Agent, connect_agent
from jsonschema import Draft202012Validator

import promptry

SUITES = """
import os, sys, time
from promptry import assert_exact, case, suite

print("loaded: this is no protocol")
os.write(1, b"neither is this")

@suite("quick")
def quick():
    print("a suite talks")
    for number in range(4):
        with case(f"c{number}"):
            assert_exact(1, 1)

@suite("bad", prompt="answer")
def bad():
    for number in range(14):
        with case(f"c{number}"):
            assert_exact("x" * 1000, "y" * 1000 if number != 3 else "x" * 1000)

@suite("slow")
def slow():
    for number in range(600):
        if number == 3:
            open("pid", "w").write(str(os.getpid()))
        with case(f"c{number}"):
            time.sleep(0.1)
            assert_exact(1, 1)
"""
WRITES: dict[str, tuple[bool, bool, bool]] = {  # destructive, idempotent, open world
    "save_prompt": (False, True, False),
    "promote_prompt": (True, True, False),
    "set_budget": (True, True, False),
    "save_dataset": (False, True, False),
    "run_suite": (False, False, True),
    "create_suite": (False, False, False),
}


@pytest.fixture
def writer(store: Path, tmp_path: Path) -> Iterator[Agent]:
    """An agent that may write, in a folder with suites."""
    (tmp_path / "evals.py").write_text(SUITES)
    promptry.connect()
    with connect_agent("--allow-writes", "--db", store, folder=tmp_path) as agent:
        yield agent


def wait_until(is_so: Callable[[], Any], seconds: float = 30.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)
    return found


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def pid_in(folder: Path) -> int:
    """Wait for the run of the slow suite to have begun its cases, and return its process."""
    file = folder / "pid"
    return int(wait_until(lambda: file.is_file() and file.read_text()))


@pytest.mark.slow
def test_without_the_flag_no_write_is_listed_or_can_be_called(store: Path, tmp_path: Path) -> None:
    promptry.connect()
    with connect_agent("--db", store, folder=tmp_path) as agent:
        assert not set(WRITES) & set(agent.tools)
        for name in WRITES:
            sentence = agent.refusal(name, name="p", content="text", suite="quick")
            assert sentence == f"{name} writes, and this server only reads. A person can start it with --allow-writes."
        assert agent.ask("list_prompts")["total"] == 0


@pytest.mark.slow
def test_with_the_flag_each_write_is_there_with_its_hints(writer: Agent) -> None:
    tools = writer.tools
    assert set(tools) == {*WRITES, *(read.name for read in promptry.READS)}
    for name, hints in WRITES.items():
        told = tools[name].annotations
        assert (told.destructive_hint, told.idempotent_hint, told.open_world_hint) == hints
        assert told.read_only_hint is False
        assert all(field["description"] for field in tools[name].input_schema["properties"].values())
        Draft202012Validator.check_schema(tools[name].output_schema)
    assert tools["save_prompt"].input_schema["required"] == ["name", "content"]


@pytest.mark.slow
def test_what_is_written_is_what_the_command_writes(writer: Agent) -> None:
    assert writer.ask("save_prompt", name="a/b", content="One.")["version"] == 1
    assert writer.ask("save_prompt", name="a/b", content="Two.", tag="dev")["is_new"] is True
    assert writer.ask("save_prompt", name="a/b", content="Two.")["is_new"] is False
    assert writer.ask("promote_prompt", name="a/b", version=1, tag="prod")["before"] is None
    assert writer.ask("promote_prompt", name="a/b", version=2, tag="prod")["before"] == 1
    assert writer.ask("get_prompt", name="a/b", tag="prod")["content"] == "Two."
    budget = writer.ask("set_budget", scope="prompt", target="a/b", period="daily", limit_usd=2)
    assert budget["limit_usd"] == 2 and writer.ask("list_budgets")["items"][0]["id"] == budget["id"]
    assert writer.ask("save_dataset", name="qa", items=[{"id": 1}])["version"] == 1
    found = promptry.get_prompt("a/b")
    assert found["tags"] == ["dev", "prod"] and promptry.load_dataset("qa") == [{"id": 1}]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("save_prompt", {"name": "p"}, "content is missing. The text."),
    ("save_prompt", {"name": "p", "content": 7}, "The argument content is 7; it takes text."),
    ("promote_prompt", {"name": "none", "version": 1, "tag": "prod"}, "There is no prompt 'none'"),
    ("set_budget", {"scope": "banana", "limit_usd": 1}, "banana"),
    ("set_budget", {"scope": "global", "limit_usd": -1}, "-1"),
    ("save_dataset", {"name": "d", "items": {}}, "The argument items is {}; it takes a list."),
    ("run_suite", {"suite": "quik"}, "Did you mean 'quick'?"),
    ("run_suite", {"suite": "quick", "module": "os"}, "There is no argument 'module' here"),
    ("run_suite", {"suite": "quick", "compare": "prod"}, "prompt="),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "sentence"), REFUSED, ids=str)
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    name: str, arguments: dict[str, Any], sentence: str, writer: Agent
) -> None:
    assert sentence in writer.refusal(name, **arguments)


@pytest.mark.slow
def test_a_run_tells_how_far_it_is_and_ends_with_its_verdict(writer: Agent) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    result = writer.wait(partial(writer.session.call_tool, "run_suite", {"suite": "quick"}, progress_callback=note))
    found = result.structured_content
    assert not result.is_error and found["passed"] and found["state"] == "done" and found["exit_code"] == 0
    assert found["counts"]["pass"] == 4 and found["failing"] == [] and found["next"] is None
    assert told and all(one[0] < other[0] for one, other in itertools.pairwise(told))
    assert writer.ask("get_run", id=found["run_id"])["complete"] is True


def test_progress_is_told_only_where_it_is_more_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Any] = [(0, None, "begun"), (0, 4, "begun"), (2, 4, "2 pass"), (2, 4, "1 pass, 1 fail")]
    steps += [(1, 6, "1 pass"), (2, 6, "2 pass"), (6, 6, "6 pass"), None]
    sent: list[Any] = []
    ended: list[str] = []

    class Session:
        async def report_progress(self, *told: Any) -> None:
            sent.append(told)

    monkeypatch.setattr(promptry, "_NEWS_EACH_S", 0)
    monkeypatch.setattr(promptry, "told_progress", lambda _tasks, _job: steps.pop(0))
    monkeypatch.setattr(promptry, "cancel_task", lambda _tasks, job: ended.append(job))
    anyio.run(partial(promptry._watch_run, promptry.make_tasks(promptry.store_path()), "7", Session()))
    assert sent == [(0, None, "begun"), (2, 4, "2 pass"), (6, 6, "6 pass")]
    assert ended == ["7"] and not steps


@pytest.mark.slow
def test_a_red_run_is_an_answer_with_its_worst_cases(writer: Agent) -> None:
    found = writer.ask("run_suite", suite="bad", repeats=1)
    assert found["passed"] is False and found["exit_code"] == 1
    assert [row["case"] for row in found["failing"]] == ["c0", "c1", "c2", *(f"c{n}" for n in range(4, 11))]
    assert found["more_failing"] == 3 and len(str(found)) < 8000
    assert "compare_runs" in found["next"]


@pytest.mark.slow
def test_a_run_that_is_cancelled_ends_and_is_kept_as_far_as_it_came(writer: Agent, tmp_path: Path) -> None:
    async def give_up() -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(partial(writer.session.call_tool, "run_suite", {"suite": "slow"}))
                await anyio.to_thread.run_sync(pid_in, tmp_path)
                scope.cancel()

    writer.wait(give_up)
    wait_until(partial(has_ended, pid_in(tmp_path)))
    run = wait_until(lambda: writer.ask("list_runs", suite="slow")["items"])[0]
    assert run["complete"] is False and run["passed"] is False
    assert writer.ask("run_suite", suite="quick")["passed"] is True


@pytest.mark.slow
def test_one_suite_runs_once_at_a_time_and_reads_are_answered_meanwhile(writer: Agent, tmp_path: Path) -> None:
    said: list[str] = []

    async def run_twice() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(writer.session.call_tool, "run_suite", {"suite": "slow"}))
            await anyio.to_thread.run_sync(pid_in, tmp_path)
            second = await writer.session.call_tool("run_suite", {"suite": "slow"})
            said.append(second.content[0].text)
            other = await writer.session.call_tool("run_suite", {"suite": "quick"})
            assert other.structured_content["passed"]
            assert not (await writer.session.call_tool("list_runs", {})).is_error
            group.cancel_scope.cancel()

    writer.wait(run_twice)
    assert said == ["The suite 'slow' is running already. Wait for it, or cancel it."]
    wait_until(partial(has_ended, pid_in(tmp_path)))


@pytest.mark.slow
def test_a_run_does_not_outlive_its_server(store: Path, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITES)
    with connect_agent("--allow-writes", "--db", store, folder=tmp_path) as agent:

        async def leave() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(partial(agent.session.call_tool, "run_suite", {"suite": "slow"}))
                await anyio.to_thread.run_sync(pid_in, tmp_path)
                group.cancel_scope.cancel()

        agent.wait(leave)
    assert has_ended(pid_in(tmp_path)) or wait_until(partial(has_ended, pid_in(tmp_path)))
    assert promptry.list_runs("slow")["items"][0]["complete"] is False


@pytest.mark.slow
def test_the_first_write_makes_the_store(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    with connect_agent("--allow-writes", "--db", path, folder=tmp_path) as agent:
        assert agent.refusal("list_prompts").startswith(f"There is no store at {path}.")
        assert not path.exists()
        agent.ask("save_prompt", name="p", content="text")
        assert path.is_file() and agent.ask("list_prompts")["total"] == 1


def test_the_names_of_the_writes_are_those_of_the_table() -> None:
    assert promptry.write_names() == list(WRITES)
