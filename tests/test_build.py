"""What build.py makes: the stamped module, the zipapp, the wheel and the executable do what the source does."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

import build
import promptry

SUITE = """
import sys
from promptry import assert_contains, assert_exact, assert_matches, case, suite

@suite("forms")
def check():
    with case("pattern"):
        assert_matches("abc 12", r"[a-z]+ [0-9]+")
    with case("one promptry"):
        assert_exact(len({id(m) for m in list(sys.modules.values()) if getattr(m, "render_prompt", None)}), 1)
"""

TEAM_SUITE = """
import platform, subprocess, sys
import humanize
import markupsafe._speedups
from promptry import assert_contains, assert_exact, assert_matches, assert_not_contains, case, suite

@suite("team")
def check():
    with case("pure"):
        assert_exact(humanize.intcomma(1000), "1,000")
    with case("compiled"):
        assert_contains(markupsafe._speedups.__file__, "site-packages")
    with case("minor"):
        assert_exact(platform.python_version_tuple()[1], "{minor}")
    with case("pattern, answered by the executable"):
        assert_matches("abc 12", r"[a-z]+ [0-9]+")
    with case("own interpreter"):
        text = subprocess.check_output([sys.executable, "-c", "print('hi')"], text=True)
        assert_exact(text, "hi\\n")
    with case("clean environment"):
        assert_not_contains(open("/proc/self/maps").read() if sys.platform == "linux" else "", "_MEI")
"""

ENDLESS = """
import pathlib, time
from promptry import assert_exact, case, suite

@suite("endless")
def check():
    with case("a"):
        assert_exact(1, 1)
    with case("b"):
        pathlib.Path("ready").write_text("")
        time.sleep(60)
"""


def run(*words: Any, folder: Path, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program without the environment of the tests, and check its exit code."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def header_dependencies() -> list[str]:
    """Return the dependencies of the block by which `uv run promptry.py` installs them (PEP 723)."""
    block = re.search(r"^# /// script\n(.*?)^# ///$", build.SOURCE.read_text(encoding="utf-8"), re.M | re.S)
    assert block is not None
    found: list[str] = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.M))["dependencies"]
    return found


# --- what is stated


def test_the_two_lists_of_dependencies_are_equal() -> None:
    assert header_dependencies() == build.project()["project"]["dependencies"]


def test_every_dependency_is_bounded_by_a_major() -> None:
    groups = build.project()["dependency-groups"]["dev"]
    for line in [*header_dependencies(), *groups, *build.project()["build-system"]["requires"]]:
        assert re.search(r">=[\d.]+,<\d+(\.\d+)?$", line), line


def test_the_version_is_stated_once() -> None:
    assert build.module_version() == promptry.__version__
    assert "version" in build.project()["project"]["dynamic"]


def test_build_needs_the_standard_library_only() -> None:
    tree = ast.parse(Path(build.__file__).read_text(encoding="utf-8"))
    roots = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    roots |= {str(node.module).split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert roots <= sys.stdlib_module_names | {"__future__"}


def test_an_unknown_command_is_refused(tmp_path: Path) -> None:
    done = run(sys.executable, build.__file__, "instal", folder=tmp_path, code=2)
    assert "'instal' is no command" in done.stderr and "test" in done.stderr


def test_every_subcommand_stands_in_the_smoke_run() -> None:
    def names(group: Any, before: str = "") -> list[str]:
        inner = getattr(group, "commands", None)
        if inner is None:
            return [before.strip()]
        return [name for key, command in inner.items() for name in names(command, f"{before} {key}")]

    assert set(names(promptry.cli)) == set(build.SMOKE)


# --- the stamped module


def test_stamping_gives_the_same_text_twice_and_changes_one_line() -> None:
    source, stamped = build.SOURCE.read_text(encoding="utf-8"), build.stamped_source()
    assert stamped == build.stamped_source()
    before, after = source.split(build.EMPTY_STAMP)
    assert stamped.startswith(before) and stamped.endswith(after)
    stamp = stamped[len(before) : -len(after)]
    assert max(len(line) for line in stamp.split("\n")) <= 120


def test_all_assets_and_nothing_else_are_stamped() -> None:
    names = {path.relative_to(build.ASSETS).as_posix() for path in build.asset_files()}
    assert "starters/demo/questions.json" in names and "sql/list_runs.sql" in names
    assert not [name for name in names if "__pycache__" in name or name == "README.md"]


def test_a_stamped_copy_alone_in_an_empty_folder_is_whole(tmp_path: Path) -> None:
    shutil.copy(build.make_module(), tmp_path)
    code = "import promptry; print(promptry.__file__); print(len(promptry.asset_names('starters')))"
    done = run(sys.executable, "-c", code, folder=tmp_path)
    path, count = done.stdout.split()
    assert Path(path).parent == tmp_path and int(count) == len(promptry.asset_names("starters"))
    (tmp_path / "evals.py").write_text(SUITE)
    assert "PASS" in run(sys.executable, "promptry.py", "run", "--db", "s.db", folder=tmp_path).stdout


def test_the_bare_source_without_assets_says_what_to_copy_instead(tmp_path: Path) -> None:
    shutil.copy(build.SOURCE, tmp_path)
    done = run(sys.executable, "promptry.py", "init", "--help", folder=tmp_path)
    assert done.returncode == 0
    done = run(sys.executable, "promptry.py", "runs", "--db", "s.db", folder=tmp_path, code=3)
    assert "dist/promptry.py" in done.stderr and "Traceback" not in done.stderr


# --- the zipapp


def test_the_zipapp_carries_its_packages_and_their_byte_code(tmp_path: Path) -> None:
    import zipfile

    names = set(zipfile.ZipFile(build.make_zipapp()).namelist())
    for name in ("promptry", "peewee", "click/__init__", "click/core"):
        assert {f"{name}.py", f"{name}.pyc"} <= names
    done = run(sys.executable, "-S", "-E", build.make_zipapp(), "--version", folder=tmp_path)
    assert done.stdout == f"promptry {promptry.__version__}\n"


def test_the_zipapp_runs_a_suite(tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITE)
    done = run(sys.executable, build.make_zipapp(), "run", "--db", "s.db", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["items"][0]["counts"]["pass"] == 2


def test_promptry_is_importable_from_the_zipapp(tmp_path: Path) -> None:
    code = "import promptry; print(promptry.__file__)"
    done = run(sys.executable, "-c", code, folder=tmp_path, PYTHONPATH=str(build.make_zipapp()))
    assert "promptry.pyz" in done.stdout


# --- the wheel


@pytest.mark.slow
def test_the_wheel_installs_and_its_console_script_works(tmp_path: Path) -> None:
    build.make_environment(tmp_path / "venv")
    python = build.python_of(tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", build.make_wheel(), folder=tmp_path)
    script = python.parent / "promptry"
    assert run(script, "--version", folder=tmp_path).stdout == f"promptry {promptry.__version__}\n"
    run(script, "init", "project", folder=tmp_path)
    assert "PASS" in run(script, "run", folder=tmp_path / "project").stdout
    shown = run(python, "-c", "import promptry; print(promptry.__file__)", folder=tmp_path).stdout
    assert "site-packages" in shown


# --- the executable


@pytest.mark.binary
def test_the_executable_answers_without_any_python(tmp_path: Path) -> None:
    binary = build.make_binary()
    assert run(binary, "--version", folder=tmp_path, PATH="").stdout == f"promptry {promptry.__version__}\n"
    done = run(binary, "prompt", "list", "--json", "--db", "s.db", folder=tmp_path, PATH="")
    assert json.loads(done.stdout) == {"items": [], "total": 0, "next": None}


@pytest.mark.binary
def test_the_executable_plays_the_demo_without_any_python(tmp_path: Path) -> None:
    done = run(build.make_binary(), "demo", folder=tmp_path, PATH="")
    assert "[exit code 1]" in done.stdout and "regressed" in done.stdout and "green again" in done.stdout
    assert (tmp_path / "promptry-demo" / ".promptry" / "store.db").is_file()


@pytest.mark.binary
def test_a_suite_of_the_standard_library_runs_inside_the_executable(tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(SUITE + "import xml.dom.minidom, sqlite3, wave, zoneinfo\n")
    done = run(build.make_binary(), "run", "--db", "s.db", folder=tmp_path, PATH="")
    assert "2 pass" in done.stdout


@pytest.mark.binary
def test_packages_that_no_python_has_are_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text("import a_package_of_the_team\n" + SUITE)
    done = run(build.make_binary(), "run", "--db", "s.db", folder=tmp_path, PATH="", code=2)
    assert "No module named 'a_package_of_the_team'" in done.stderr and "--python" in done.stderr


def other_pythons() -> list[Path]:
    """Return one interpreter of each other minor version that is found on this machine."""
    found: dict[str, Path] = {}
    for minor in ("12", "13", "14", "11"):
        on_path = shutil.which(f"python3.{minor}")
        homes = sorted(Path(os.path.expanduser("~/.pyenv/versions")).glob(f"3.{minor}.*/bin/python"))
        places = [*homes, *([Path(on_path)] if on_path else [])]
        for place in places:
            works = subprocess.run([place, "-c", "import ensurepip, venv"], capture_output=True, check=False)
            if works.returncode == 0:
                found.setdefault(minor, place)
    found.pop(str(sys.version_info[1]), None)
    return list(found.values())


OTHERS = other_pythons()


@pytest.mark.binary
@pytest.mark.slow
@pytest.mark.parametrize("which", ["the same minor version", "another minor version"])
def test_the_executable_runs_a_suite_in_the_teams_environment(tmp_path: Path, which: str) -> None:
    if which == "another minor version" and not OTHERS:
        pytest.skip("this machine has no other Python from 3.11 on")
    python = Path(sys.executable) if which == "the same minor version" else OTHERS[0]
    team = tmp_path / "team"
    run(python, "-m", "venv", team, folder=tmp_path)
    own = build.python_of(team)
    run(own, "-m", "pip", "install", "--quiet", "humanize>=4,<5", "markupsafe>=3,<4", folder=tmp_path)
    minor = run(own, "-c", "import sys; print(sys.version_info[1])", folder=tmp_path).stdout.strip()
    (tmp_path / "evals.py").write_text(TEAM_SUITE.replace("{minor}", minor))
    words = ["run", "--db", "s.db", "--json"]
    for asked in ({"VIRTUAL_ENV": str(team)}, {"PROMPTRY_PYTHON": str(own)}):
        done = run(build.make_binary(), *words, folder=tmp_path, **asked)
        (result,) = json.loads(done.stdout)["items"]
        assert (result["counts"]["pass"], result["passed"]) == (6, True), result
    team.rename(tmp_path / ".venv")
    done = run(build.make_binary(), *words, folder=tmp_path)
    assert json.loads(done.stdout)["items"][0]["counts"]["pass"] == 6


@pytest.mark.binary
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("where", ["inside the executable", "in the team's Python"])
def test_a_signal_to_the_executable_keeps_what_has_run(tmp_path: Path, number: signal.Signals, where: str) -> None:
    (tmp_path / "evals.py").write_text(ENDLESS)
    words = ["--python", sys.executable] if where == "in the team's Python" else []
    child = subprocess.Popen(
        [build.make_binary(), "run", "--db", "s.db", "--json", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert child.poll() is None and time.monotonic() < until, child.communicate()
            time.sleep(0.05)
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    (result,) = json.loads(out)["items"]
    assert (child.returncode, result["complete"], result["counts"]["pass"]) == (3, False, 1), err
