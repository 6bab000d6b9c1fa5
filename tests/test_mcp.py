"""MCP: a real process of `promptry mcp` is spoken to by the SDK's own client, by bytes, and by the MCP Inspector."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, connect_agent
from served import COMMAND, ROOT, child_environment
from test_deeds import SUITES, has_ended, pid_in, wait_until
from test_reads import ASKED, fill_store, without_age

import build
import promptry

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "store.db"
    promptry.use_store(path)
    fill_store()
    promptry.use_store(None)
    return path


@pytest.fixture(scope="module")
def agent(filled: Path) -> Iterator[Agent]:
    """An agent that may only read, for all tests here that only read."""
    with connect_agent("--db", filled) as agent:
        yield agent


def speak(
    lines: list[Any], *words: Any, cwd: Path, timeout: float = 60, **env: str
) -> subprocess.CompletedProcess[str]:
    """Give lines to a server, close its stdin, and return what it said."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return subprocess.run(
        [*COMMAND, "mcp", *map(str, words)],
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
        env=child_environment(**env),
    )


@pytest.mark.slow
def test_the_server_says_who_it_is_and_how_to_begin(agent: Agent) -> None:
    assert agent.began.server_info.name == "promptry" and agent.began.server_info.version == promptry.__version__
    text = agent.began.instructions
    assert len(text) < 2000
    named = {word.strip(".,:;()`") for word in text.split()} & {read.name for read in promptry.READS}
    assert {"get_overview", "list_runs", "compare_runs", "bisect_suite", "get_run", "list_costs"} <= named


@pytest.mark.slow
def test_tools_are_typed_and_hinted_as_reads(agent: Agent) -> None:
    tools = agent.tools
    assert list(tools) == [read.name for read in promptry.READS]
    for tool in tools.values():
        hints = tool.annotations
        assert hints.read_only_hint and hints.idempotent_hint
        assert not hints.destructive_hint and not hints.open_world_hint
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
        assert all(field["description"] for field in tool.input_schema["properties"].values())


def test_what_an_agent_reads_of_the_tools_is_bounded(agent: Agent) -> None:
    told = [
        tool.model_dump(by_alias=True, exclude_none=True, exclude={"output_schema"}) for tool in agent.tools.values()
    ]
    assert len(json.dumps(told)) < 24_000


def test_an_error_is_told_as_such_and_the_server_lives_on(agent: Agent) -> None:
    assert agent.refusal("get_run", id="99") == "There is no run 99. promptry runs lists them."
    assert agent.refusal("get_rum").startswith("There is no tool 'get_rum'. Did you mean 'get_run'?")
    assert agent.ask("get_run", id="1")["suite"] == "quiz"


@pytest.mark.slow
def test_stdout_holds_the_protocol_and_nothing_else(filled: Path, tmp_path: Path) -> None:
    calls: list[Any] = [HELLO, READY]
    for number, name in enumerate(("list_runs", "list_suites", "no_such_tool"), 1):
        params = {"name": name, "arguments": {}}
        calls.append({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    with subprocess.Popen(
        [*COMMAND, "mcp", "--db", str(filled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        cwd=tmp_path,
        text=True,
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        found = {}
        for call in calls:
            child.stdin.write(json.dumps(call) + "\n")
            child.stdin.flush()
            if "id" in call:
                answer = json.loads(child.stdout.readline())
                found[answer["id"]] = answer["result"]
        child.stdin.close()
        assert child.stdout.read() == ""
        assert child.wait(20) == 0
        assert child.stderr.read() == ""
    assert set(found) == {0, 1, 2, 3}
    assert found[3]["isError"] and not found[1].get("isError")


@pytest.mark.slow
def test_without_the_sdk_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    import click
    import peewee

    for module, name in ((click, "click"), (peewee, "peewee.py")):
        path = Path(module.__file__)
        os.symlink(path.parent if name == "click" else path, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "promptry.py"), "mcp"],
        env=child_environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("promptry: promptry mcp needs the package mcp 2, and this Python has none.")
    assert "-m pip install 'mcp>=2.3,<3'" in done.stderr


# --- from "CI is red" to the line ---------------------------------------------------------------------------------


def follow(agent: Agent, tool: str, row: dict[str, Any], wanted: str) -> Any:
    """Ask the next tool by what the description of the last one says of its ids: `KEY is the ARGUMENT for NEXT`."""
    text = agent.tools[tool].description
    found = re.search(rf"(?:Its )?(\w+) is the (\w+) for {wanted}", text)
    found = found or re.search(rf"(?:Its )?(\w+) is the .*\bthe (\w+) for {wanted}", text)
    assert found, f"{tool} does not say how to go on with {wanted}"
    return agent.call(wanted, **{found[2]: row[found[1]]})


def changed_lines(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]


GUILTY = "Answer with the first number that comes to mind."
STORY = f"""
import promptry, sys
from promptry import assert_contains, case, render_prompt, save_prompt, suite

@suite("numbers", prompt="numbers/answer")
def numbers():
    text = render_prompt("numbers/answer", "")
    for number in range(12):
        with case(f"c{{number}}"):
            assert_contains("one of the first" if {GUILTY!r} in text else f"number {{number}}", f"number {{number}}")

GOOD = "You answer questions.\\nThink before you answer.\\nBe short."
save_prompt("numbers/answer", GOOD, tag="prod")
promptry.run_suite("numbers")
promptry.run_suite("numbers")
save_prompt("numbers/answer", GOOD.replace("Be short.", "Be short and kind.").replace("Think", {GUILTY!r} + "\\nThink"))
promptry.run_suite("numbers", compare="prod" if sys.argv[1] == "judged" else None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["judged", "alone"])
def test_from_red_to_the_line_of_the_prompt_in_at_most_six_calls(how: str, run_python: Any, tmp_path: Path) -> None:
    run_python(STORY, how, PROMPTRY_DB=str(tmp_path / "store.db"))
    with connect_agent("--db", tmp_path / "store.db") as agent:
        calls = 1
        assert agent.began.instructions.index("CI is red: list_runs (passed false)") > 0
        red = next(row for row in agent.ask("list_runs")["items"] if row["passed"] is False)
        compared = follow(agent, "list_runs", red, "compare_runs")
        calls += 1
        diff = None if compared.is_error else compared.structured_content["cause"]["prompt_diff"]
        if diff is None:
            assert "bisect_suite" in agent.began.instructions
            calls += 1
            diff = agent.ask("bisect_suite", suite_name=red["suite"])["prompt_diff"]
        calls += 1
        run = follow(agent, "list_runs", red, "get_run").structured_content
        said = {row["checks"][0]["details"]["actual"] for row in run["cases"] if row["state"] == "fail"}
        assert f"+{GUILTY}" in changed_lines(diff) and len(changed_lines(diff)) == 3
        assert said == {"one of the first"}
        assert calls <= 6


@pytest.mark.slow
def test_the_demo_is_diagnosed_in_two_calls(run_cli: Any, tmp_path: Path) -> None:
    assert run_cli("demo", "demo", timeout=120).returncode == 0
    with connect_agent(folder=tmp_path / "demo") as agent:
        red = next(row for row in agent.ask("list_runs")["items"] if row["passed"] is False)
        found = follow(agent, "list_runs", red, "compare_runs").structured_content
        assert found["verdict"] == "regressed"
        (line,) = changed_lines(found["cause"]["prompt_diff"])
        assert line[1:] in (tmp_path / "demo" / "edited.txt").read_text()


# --- the Inspector's command line, against the source and the executable ----------------------------------------------


FORMS = [pytest.param(COMMAND, id="source")]
BINARY = ROOT / "dist" / ("promptry.exe" if os.name == "nt" else "promptry")
FORMS.append(pytest.param((str(BINARY),), id="binary", marks=pytest.mark.binary))


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The words that start promptry, as source and as executable."""
    if request.param == (str(BINARY),) and not BINARY.exists():
        pytest.skip("there is no executable; build.py all makes it")
    return request.param  # type: ignore[no-any-return]


def inspect(form: tuple[str, ...], store: Path, method: str, *words: str) -> dict[str, Any]:
    """Ask a server by the MCP Inspector's command line."""
    node, program = shutil.which("node"), build.BUILD / "npm" / "node_modules" / ".bin" / "mcp-inspector"
    if node is None or not program.exists():
        assert "CI" not in os.environ
        pytest.skip("there is no Inspector; build.py test installs it")
    server = [*form, "mcp", "--db", str(store)]
    done = subprocess.run(
        [node, program, "--cli", *server, "--method", method, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=child_environment(),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_inspector_lists_what_there_is(form: tuple[str, ...], filled: Path) -> None:
    assert [tool["name"] for tool in inspect(form, filled, "tools/list")["tools"]] == [
        read.name for read in promptry.READS
    ]
    assert len(inspect(form, filled, "resources/templates/list")["resourceTemplates"]) == 3
    assert inspect(form, filled, "resources/list")["resources"]
    assert len(inspect(form, filled, "prompts/list")["prompts"]) == 2


@pytest.mark.parametrize(
    ("name", "words", "arguments"),
    [asked for asked in ASKED if asked[0] in {"get_run", "list_calls", "compare_runs", "list_costs"}][:6],
    ids=lambda part: str(part)[:40],
)
def test_the_inspector_takes_each_answer(
    form: tuple[str, ...], name: str, words: list[str], arguments: dict[str, Any], filled: Path, run_cli: Any
) -> None:
    told = [f"{key}={json.dumps(value) if isinstance(value, bool) else value}" for key, value in arguments.items()]
    more = [word for text in told for word in ("--tool-arg", text)]
    found = inspect(form, filled, "tools/call", "--tool-name", name, *more)
    command = next(read.command for read in promptry.READS if read.name == name)
    printed = run_cli(*command.split(), *words, "--json", "--db", filled)
    assert without_age(found["structuredContent"]) == without_age(json.loads(printed.stdout))
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]


def test_the_inspector_shows_an_error_as_such(form: tuple[str, ...], filled: Path) -> None:
    found = inspect(form, filled, "tools/call", "--tool-name", "get_run", "--tool-arg", "id=99")
    assert found["isError"] is True
    assert found["content"][0]["text"] == "There is no run 99. promptry runs lists them."
    text = inspect(form, filled, "resources/read", "--uri", "prompt://support%2Fanswer@1")["contents"][0]["text"]
    assert text == "Answer.\nBriefly."


# --- who means it ill, and who leaves ---------------------------------------------------------------------------------


def call(number: Any, name: Any, arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def start(*words: Any, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Start a server whose stdin stays open."""
    return subprocess.Popen(
        [*COMMAND, "mcp", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(**env),
        cwd=cwd,
        text=True,
    )


def say(child: subprocess.Popen[str], *lines: Any) -> None:
    assert child.stdin
    for line in lines:
        child.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
    child.stdin.flush()


def greet(child: subprocess.Popen[str]) -> None:
    """Begin as a client does."""
    say(child, HELLO)
    hear(child, 0)
    say(child, READY)


def hear(child: subprocess.Popen[str], number: Any) -> dict[str, Any]:
    """Read lines until the answer to a request; each must be JSON-RPC."""
    assert child.stdout
    while True:
        line = child.stdout.readline()
        assert line, "the server is gone"
        found: dict[str, Any] = json.loads(line)
        assert found["jsonrpc"] == "2.0"
        if found.get("id") == number:
            return found


HOSTILE: list[Any] = [
    "{",
    "",
    "null",
    "[]",
    "\x00\x01",
    "\ufeff{}",
    '{"jsonrpc": "2.0", "id": 5, "method": "tools/call"}',
    '{"jsonrpc": "2.0", "id": 5, "method": "no/such"}',
    '{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "list_runs", "arguments": "x"}}',
    '{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": 7, "arguments": {}}}',
    call(5, "get_prompt", {"name": "\ud800"}),
    '{"jsonrpc": "2.0", "id": 5, "method": "resources/read", "params": {"uri": "prompt://%ff%00@1"}}',
    "[" * 100_000,
    call(5, "list_calls", {"search": "x" * 5_000_000}),
    call(5, "get_run", {"id": "9" * 10_000}),
    call(5, "get_run", {"id": 10**400}),
    call(5, "list_runs", {"limit": 10**30}),
    call(5, "list_runs", {"limit": -1}),
    call(5, "x" * 1_000_000, {}),
    call(5, "list_runs", {"part": "items." * 5000, "after": 10**30}),
    call(5, "list_runs", {f"k{number}": number for number in range(10_000)}),
    call(5, "get_prompt", {"name": "\x00"}),
    call(5, "get_call", {"id": "1; DROP TABLE prompts"}),
    call(5, "save_prompt", {"name": "p", "content": "c"}),
    call("five", "list_runs", {"limit": None}),
]


@pytest.mark.slow
def test_whatever_comes_in_the_server_answers_what_comes_next(filled: Path, tmp_path: Path) -> None:
    with start("--db", filled, cwd=tmp_path) as child:
        greet(child)
        for number, line in enumerate(HOSTILE, 100):
            say(child, line, call(number, "get_run", {"id": "1"}))
            assert hear(child, number)["result"]["structuredContent"]["id"] == "1", str(line)[:200]
        assert child.stdin and child.stderr
        child.stdin.close()
        assert child.wait(20) == 0
        assert "Traceback" not in child.stderr.read()
    promptry.use_store(filled)
    assert promptry.find_prompt("p") is None


def test_each_refusal_is_short(agent: Agent) -> None:
    for line in HOSTILE:
        is_sent = isinstance(line, dict) and "\\ud800" not in json.dumps(line)  # which the client does not send
        if is_sent and line["params"]["arguments"] and line["id"] == 5:
            result = agent.call(line["params"]["name"], **line["params"]["arguments"])
            text = result.content[0].text
            assert not result.is_error or (len(text) < 600 and "\n" not in text), text[:300]


def test_two_calls_at_once_are_both_answered(agent: Agent) -> None:
    import anyio

    found: list[str] = []

    async def ask(id: str) -> None:
        found.append((await agent.session.call_tool("get_run", {"id": id})).structured_content["id"])

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for number in range(1, 15):
                group.start_soon(ask, str(number))

    agent.wait(ask_all)
    assert sorted(found, key=int) == [str(number) for number in range(1, 15)]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGKILL", "stdin"])
@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_however_the_server_ends_its_run_ends_too_and_is_kept(end: str, store: Path, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITES)
    promptry.connect()
    with start("--allow-writes", "--db", store, cwd=tmp_path) as child:
        greet(child)
        say(child, call(1, "run_suite", {"suite": "slow"}))
        pid = pid_in(tmp_path)
        if end == "stdin":
            assert child.stdin
            child.stdin.close()
        else:
            child.send_signal(getattr(signal, end))
        assert child.wait(20) == (-9 if end == "SIGKILL" else 0)
        assert end == "SIGKILL" or has_ended(pid), "the server has waited for it"
        wait_until(lambda: has_ended(pid))
        assert child.stdout and child.stderr
        for line in child.stdout.read().splitlines():
            assert json.loads(line)["jsonrpc"] == "2.0"
        assert "Traceback" not in child.stderr.read()
    assert promptry.list_runs("slow")["items"][0]["complete"] is False


LOADED = """
import os, time
from pathlib import Path
from promptry import suite, track

Path("loaded").write_text(str(os.getpid()))
track("A text of the module", "greet")
if Path("hangs").exists():
    time.sleep(120)

@suite("told", "Described in the module.")
def told():
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("may_write", [False, True])
def test_code_of_the_workspace_is_loaded_only_where_writes_are_allowed(
    may_write: bool, filled: Path, tmp_path: Path
) -> None:
    """A tool that is hinted as a read is called unasked, and what a module does while it is imported is anything."""
    (tmp_path / "evals.py").write_text(LOADED)
    with connect_agent(*["--allow-writes"] * may_write, "--db", filled, folder=tmp_path) as agent:
        suites = {row["suite"]: row for row in agent.ask("list_suites")["items"]}
        assert ("told" in suites) == may_write and len(suites) > 1
        assert agent.tools["list_suites"].annotations.read_only_hint is not may_write
        assert ("greet" in {row["name"] for row in agent.ask("list_prompts")["items"]}) == may_write
    assert (tmp_path / "loaded").exists() == may_write


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("end", ["SIGTERM", "stdin"])
def test_a_module_that_hangs_holds_no_server_up_at_its_end(end: str, filled: Path, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(LOADED)
    (tmp_path / "hangs").touch()
    (tmp_path / "promptry.toml").write_text(f"[run]\npython = {json.dumps(sys.executable)}\n")
    with start("--allow-writes", "--db", filled, cwd=tmp_path) as child:
        greet(child)
        say(child, call(1, "list_suites", {}))
        wait_until(lambda: (tmp_path / "loaded").exists() and (tmp_path / "loaded").read_text())
        assert child.stdin
        child.stdin.close() if end == "stdin" else child.send_signal(signal.SIGTERM)
        assert child.wait(12) == 0
    wait_until(partial(has_ended, int((tmp_path / "loaded").read_text())))


@pytest.mark.slow
@pytest.mark.parametrize("gap_s", [0.0, 0.002])
def test_a_run_that_nobody_waits_for_when_it_begins_ends(gap_s: float, store: Path, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITES)
    promptry.connect()
    with start("--allow-writes", "--db", store, cwd=tmp_path) as child:
        greet(child)
        say(child, call(1, "list_runs", {}))
        hear(child, 1)
        say(child, call(2, "run_suite", {"suite": "slow"}))
        time.sleep(gap_s)
        gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
        say(child, gone)
        time.sleep(3)
        pid = tmp_path / "pid"
        wait_until(lambda: not pid.exists() or has_ended(int(pid.read_text())), 8)
        assert promptry.fetch("SELECT count(*) AS runs FROM v_runs WHERE complete") == [{"runs": 0}]
        child.kill()


@pytest.mark.slow
def test_a_server_that_is_idle_ends_by_a_signal_though_its_stdin_is_open(filled: Path, tmp_path: Path) -> None:
    for name in ("SIGINT", "SIGTERM"):
        with start("--db", filled, cwd=tmp_path) as child:
            say(child, HELLO)
            hear(child, 0)
            began = time.monotonic()
            child.send_signal(getattr(signal, name))
            assert child.wait(10) == 0 and time.monotonic() - began < 5
            assert child.stderr and child.stderr.read() == ""


@pytest.mark.slow
def test_what_a_suite_prints_reaches_stderr_at_most(store: Path, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITES)
    promptry.connect()
    with start("--allow-writes", "--db", store, cwd=tmp_path) as child:
        greet(child)
        say(child, call(1, "list_suites", {}))
        assert hear(child, 1)["result"]["structuredContent"]["total"] == 3
        say(child, call(2, "run_suite", {"suite": "quick"}))
        assert hear(child, 2)["result"]["structuredContent"]["passed"] is True
        assert child.stdin and child.stdout
        child.stdin.close()
        assert child.stdout.read() == "" and child.wait(20) == 0


@pytest.mark.slow
def test_a_client_that_is_killed_leaves_no_server_behind(filled: Path, tmp_path: Path) -> None:
    with start("--db", filled, cwd=tmp_path) as child:
        assert child.stdin and child.stdout
        say(child, HELLO)
        hear(child, 0)
        child.stdout.close()
        say(child, call(1, "list_runs", {}))
        child.stdin.close()
        assert child.wait(20) == 0
        assert child.stderr and "Traceback" not in child.stderr.read()


@pytest.mark.slow
def test_a_store_that_is_no_store_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "bad.db"
    path.write_text("this is no database, and long enough to be read as one" * 40)
    with connect_agent("--db", path) as agent:
        assert str(path) in agent.refusal("list_runs")
    assert path.read_text().startswith("this is no database")


def test_a_broken_promptry_toml_is_one_sentence_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text("[run\n")
    done = speak([HELLO], cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and "promptry.toml" in done.stderr


LOUD = """
import os, promptry
real = promptry.ask_offer
def loud(*given):
    print("noise of ours")
    os.write(1, b"noise of the process\\n")
    os.system("echo noise of a child")
    return real(*given)
promptry.ask_offer = loud
promptry.main()
"""


@pytest.mark.slow
def test_nothing_that_is_printed_while_a_tool_answers_reaches_stdout(filled: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOUD, "mcp", "--db", str(filled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(PYTHONUNBUFFERED=""),
        cwd=tmp_path,
        text=True,
    ) as child:
        greet(child)
        say(child, call(1, "list_runs", {}))
        assert hear(child, 1)["result"]["structuredContent"]["total"] == 15
        assert child.stdin and child.stdout and child.stderr
        child.stdin.close()
        assert child.stdout.read() == "" and child.wait(20) == 0
        said = child.stderr.read()
    assert all(f"noise of {who}" in said for who in ("ours", "the process", "a child"))
