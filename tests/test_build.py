"""build.py: what it makes from the source stands alone, and says and finds what the source does."""

from __future__ import annotations

import ast
import contextlib
import email
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import promptry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks, signals and paths of POSIX")

ROOT = Path(promptry.__file__).resolve().parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEV = PROJECT["dependency-groups"]["dev"]

# The environment before conftest gives each test a home of its own: pip's configuration lies in the real one.
OUTSIDE = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
NO_PYTHON = {"PATH": "/nonexistent", "LANG": "C.UTF-8"}

Make = Callable[[str], Path]
Done = subprocess.CompletedProcess[str]


def load_build() -> ModuleType:
    """Load build.py by its path: the folder build/ and the package of that name are something else."""
    spec = importlib.util.spec_from_file_location("promptry_build", ROOT / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the build folder, so that of several test processes one makes what all need."""
    import fcntl

    build.BUILD.mkdir(exist_ok=True)
    with (build.BUILD / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def made() -> Make:
    """Give a function that returns a built file, which is made first if it is not of today's sources."""

    @functools.cache
    def make(form: str) -> Path:
        with alone():
            return Path(getattr(build, f"make_{form}")())

    return make


def say(*words: Any, cwd: Path, code: int = 0, timeout: float = 120.0, **env: str) -> Done:
    """Run a program in an environment of nothing but what is given, and hold its exit code."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={"HOME": str(cwd), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def listed(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- what the project says of itself ------------------------------------------------------------


def test_the_block_in_the_module_names_the_projects_dependencies() -> None:
    source = (ROOT / "promptry.py").read_text(encoding="utf-8")
    block = re.search(r"^# /// script\n((?:# .*\n)+)# ///$", source, re.MULTILINE)
    assert block is not None
    said = tomllib.loads(re.sub(r"^# ", "", block[1], flags=re.MULTILINE))
    assert said["dependencies"] == PROJECT["project"]["dependencies"]
    assert said["requires-python"] == PROJECT["project"]["requires-python"]


@pytest.mark.parametrize("wanted", [*PROJECT["project"]["dependencies"], *DEV, *PROJECT["build-system"]["requires"]])
def test_every_dependency_has_a_lowest_and_a_last_major_version(wanted: str) -> None:
    assert re.fullmatch(r"[a-z][a-z-]*>=\d+(\.\d+)*,<\d+(\.\d+)?", wanted)


def test_every_mark_is_registered_and_the_fast_tests_leave_out_the_costly_ones() -> None:
    registered = {line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert registered == set(re.findall(r"not (\w+)", build.FAST))


def test_the_version_is_read_from_the_module() -> None:
    assert build.module_version() == promptry.__version__


# --- the commands of build.py -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bild"], "'bild' is no command; there are demo, test, "),
        (["module", "twice"], "'module twice' is no command"),
    ],
)
def test_wrong_use_is_one_sentence(words: list[str], said: str, tmp_path: Path) -> None:
    done = say(sys.executable, ROOT / "build.py", *words, cwd=tmp_path, code=2)
    assert done.stdout == "" and done.stderr.startswith(f"build.py: {said}") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_old_python_reads_as_far_as_the_sentence_that_refuses_it(tmp_path: Path) -> None:
    ast.parse((ROOT / "build.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    for python in pythons(lambda version: (3, 6) <= version < (3, 11)):
        done = say(python, ROOT / "build.py", "test", cwd=tmp_path, code=2)
        assert done.stderr.startswith("build.py: promptry needs Python 3.11 or newer; this is 3.")


def test_every_command_of_the_executable_is_in_the_smoke_run() -> None:
    def commands(group: click.Group, before: str = "") -> Iterator[str]:
        for name, command in group.commands.items():
            words = f"{before} {name}".strip()
            is_group = isinstance(command, click.Group)
            yield from commands(command, words) if is_group else ()
            yield from [words] if not is_group or command.invoke_without_command else ()

    assert set(commands(promptry.make_cli())) == set(build.SMOKE)


# --- the stamped module -------------------------------------------------------------------------


def test_stamping_gives_the_same_text_for_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.stamped_source()
    assert first == build.stamped_source()
    elsewhere = tmp_path / "assets"
    for path in reversed(build.asset_files()):  # written in another order, at another time, with another mode
        target = elsewhere / path.relative_to(build.ASSETS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)
        os.utime(target, (1, 1))
    monkeypatch.setattr(build, "ASSETS", elsewhere)
    assert first == build.stamped_source()
    next(elsewhere.rglob("*.sql")).write_text("SELECT 1")
    assert first != build.stamped_source()


def test_stamping_changes_one_line_and_keeps_the_rest() -> None:
    source, stamped = build.SOURCE.read_text(encoding="utf-8"), build.stamped_source()
    head, foot = source.split(build.EMPTY_STAMP)
    assert stamped.startswith(head) and stamped.endswith(foot)
    added = stamped[len(head) : len(stamped) - len(foot)].splitlines()
    assert max(map(len, added)) <= 120


@pytest.mark.parametrize(("platform", "compiler"), [("linux", None), ("darwin", "/usr/bin/cc"), ("win32", None)])
def test_where_the_loader_is_not_compiled_that_is_said_and_pyinstallers_own_is_taken(
    platform: str,
    compiler: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(build.shutil, "which", lambda _: compiler)
    monkeypatch.setattr(build, "must_run", lambda *_, **__: pytest.fail("nothing is to be run"))
    assert build.make_loader(tmp_path) is None
    assert "PyInstaller's own loader is taken" in capsys.readouterr().err


def test_a_source_without_the_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "promptry.py").write_text("pass\n")
    monkeypatch.setattr(build, "SOURCE", tmp_path / "promptry.py")
    with pytest.raises(SystemExit):
        build.stamped_source()


READ_ALL_ASSETS = """
import hashlib, json, promptry
names = [name for place in places for name in (promptry.asset_names(place) or [place])]
print(json.dumps({name: hashlib.sha256(promptry.asset(name)).hexdigest() for name in names}))
"""


def assets_on_disk() -> dict[str, str]:
    import hashlib

    files = build.asset_files()
    return {path.relative_to(build.ASSETS).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def reading_code() -> str:
    places = sorted({name.split("/")[0] for name in assets_on_disk()})
    return f"places = {places!r}\n{READ_ALL_ASSETS}"


def check_page(*command: Any, cwd: Path, **env: str) -> None:
    """Have a form of promptry serve its page and ask itself for it."""
    told = say(*command, "dashboard", "--check", cwd=cwd, **env).stdout
    assert re.search(r"the API: 200 OK, \d+ bytes\nthe page: 200 OK, [\d,]{3,} bytes", told), told


@pytest.mark.slow
def test_the_stamped_module_alone_in_an_empty_folder_finds_its_assets(tmp_path: Path, made: Make) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(made("module"), folder)
    assert listed(say(sys.executable, "-c", reading_code(), cwd=folder)) == assets_on_disk()
    assert say(sys.executable, "promptry.py", "--version", cwd=folder).stdout.strip().endswith(promptry.__version__)
    say(sys.executable, "promptry.py", "init", cwd=folder)
    assert listed(say(sys.executable, "promptry.py", "run", "--json", cwd=folder))["total"] == 1
    check_page(sys.executable, "promptry.py", cwd=folder)


# --- the zipapp ---------------------------------------------------------------------------------

PATTERN_SUITE = """
from promptry import *

@suite("s")
def check():
    with case("plain"):
        assert_contains("abc", "b")
    with case("pattern"):
        assert_matches("abc", "a.c")
"""


@pytest.mark.slow
def test_the_zipapp_needs_no_installed_package(tmp_path: Path, made: Make) -> None:
    zipped = [sys.executable, "-S", made("zipapp")]
    assert promptry.__version__ in say(*zipped, "--version", cwd=tmp_path).stdout
    assert listed(say(*zipped, "prompt", "list", "--json", cwd=tmp_path)) == {"items": [], "total": 0, "next": None}
    assert "SELECT" in say(*zipped, "sql", "list_runs", cwd=tmp_path).stdout
    check_page(*zipped, cwd=tmp_path)


@pytest.mark.slow
def test_the_zipapp_carries_byte_code_beside_each_source(made: Make) -> None:
    names = zipfile.ZipFile(made("zipapp")).namelist()
    sources = {name for name in names if name.endswith(".py")}
    assert {"promptry.py", "peewee.py", "click/__init__.py", "__main__.py"} <= sources
    assert {f"{name}c" for name in sources} == {name for name in names if name.endswith(".pyc")}
    assert not any("__pycache__" in name for name in names)


@pytest.mark.slow
def test_the_zipapp_runs_its_byte_code_and_in_another_python_its_source(tmp_path: Path, made: Make) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import promptry, click, peewee"
    code = f"{code}; print([module.__file__.rpartition('.')[2] for module in (promptry, click, peewee)])"
    assert eval(say(sys.executable, "-S", "-c", code, made("zipapp"), cwd=tmp_path).stdout) == ["pyc"] * 3
    for python in pythons(lambda version: version >= (3, 11) and version != sys.version_info[:2]):
        assert promptry.__version__ in say(python, "-S", made("zipapp"), "--version", cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_pattern_in_the_zipapp_is_one_sentence_that_names_the_package(tmp_path: Path, made: Make) -> None:
    (tmp_path / "evals.py").write_text(PATTERN_SUITE)
    done = say(sys.executable, "-S", made("zipapp"), "run", "--json", cwd=tmp_path, code=3)
    (result,) = listed(done)["items"]
    assert {row["case"]: row["state"] for row in result["cases"]} == {"plain": "pass", "pattern": "error"}
    assert "needs the package 'regex'" in done.stdout


# --- the wheel ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a function that makes a virtual environment for an interpreter and returns its Python."""

    @functools.cache
    def make(python: str) -> Path:
        folder = tmp_path_factory.mktemp("venv")
        subprocess.run([python, "-m", "venv", str(folder)], check=True, env=OUTSIDE, timeout=180)
        return folder / "bin" / "python"

    return make


@pytest.mark.slow
def test_the_wheel_is_one_module_that_works_where_it_is_installed(
    tmp_path: Path, made: Make, clean_python: Callable[[str], Path]
) -> None:
    wheel, python = made("wheel"), clean_python(sys.executable)
    files = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert files == ["promptry.py"]
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel], check=True, env=OUTSIDE
    )
    # What it depends on is here already: installing it again would need a way out.
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    (site / "ours.pth").write_text(sysconfig.get_path("platlib"))
    script = python.parent / "promptry"
    assert promptry.__version__ in say(script, "--version", cwd=tmp_path).stdout
    assert listed(say(script, "prompt", "list", "--json", cwd=tmp_path))["total"] == 0
    check_page(script, cwd=tmp_path)
    assert listed(say(python, "-c", reading_code(), cwd=tmp_path)) == assets_on_disk()
    (tmp_path / "test_evals.py").write_text(PATTERN_SUITE)
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    say(python, "-m", "pytest", "test_plain.py", cwd=tmp_path)
    assert not (tmp_path / ".promptry").exists()
    assert "PASS  s  run 1" in say(python, "-m", "pytest", "test_evals.py", cwd=tmp_path).stdout
    say(python, "-m", "pytest", "-p", "no:promptry", "test_evals.py", cwd=tmp_path, code=5)


@pytest.mark.slow
def test_the_wheel_states_what_the_project_states(made: Make) -> None:
    with zipfile.ZipFile(made("wheel")) as wheel:
        facts = email.message_from_bytes(
            wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA")))
        )
        scripts = wheel.read(next(name for name in wheel.namelist() if name.endswith("/entry_points.txt"))).decode()
    needed = [text for text in facts.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert {spelled(text) for text in needed} == {spelled(text) for text in PROJECT["project"]["dependencies"]}
    assert (facts["Version"], facts["Requires-Python"]) == (promptry.__version__, ">=3.11")
    assert "promptry = promptry:main" in scripts and "[pytest11]\npromptry = promptry\n" in scripts


def spelled(requirement: str) -> frozenset[str]:
    name = re.match(r"[a-z-]+", requirement)
    assert name is not None
    return frozenset({name[0], *requirement[name.end() :].split(",")})


# --- the executable -----------------------------------------------------------------------------


@pytest.mark.binary
def test_the_executable_answers_on_an_empty_store(tmp_path: Path, made: Make) -> None:
    binary = made("binary")
    assert promptry.__version__ in say(binary, "--version", cwd=tmp_path, **NO_PYTHON).stdout
    check_page(binary, cwd=tmp_path, **NO_PYTHON)
    empty = say(binary, "prompt", "list", "--json", cwd=tmp_path, **NO_PYTHON)
    assert listed(empty) == {"items": [], "total": 0, "next": None}


@pytest.mark.binary
def test_the_executable_runs_the_demo_without_any_python(tmp_path: Path, made: Make) -> None:
    binary = made("binary")
    told = say(binary, "demo", cwd=tmp_path, **NO_PYTHON).stdout
    assert "What next:" in told
    runs = listed(say(binary, "runs", "--json", cwd=tmp_path / "promptry-demo", **NO_PYTHON))["items"]
    assert "regressed" in {run["verdict"] for run in runs} and runs[0]["verdict"] != "regressed"


@pytest.mark.binary
def test_the_executable_runs_a_suite_of_the_standard_library_without_any_python(tmp_path: Path, made: Make) -> None:
    (tmp_path / "evals.py").write_text("""
import asyncio, cmath, csv, graphlib, multiprocessing, sqlite3, tomllib, unittest.mock, wave, xml.dom.minidom, zoneinfo
import helpers
from promptry import *

@suite("s")
async def check():
    await asyncio.sleep(0)
    assert_matches(helpers.NAME, r"\\p{Lu}\\w+")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert_exact(pool.map(len, ["abc"]), [3])
""")
    (tmp_path / "helpers.py").write_text("NAME = 'Local'\n")
    (result,) = listed(say(made("binary"), "run", "--json", cwd=tmp_path, **NO_PYTHON))["items"]
    assert result["counts"]["checks"] == 2


@pytest.mark.binary
def test_a_team_package_where_there_is_no_python_is_one_sentence(tmp_path: Path, made: Make) -> None:
    (tmp_path / "evals.py").write_text("import teamlib\nfrom promptry import *\n")
    done = say(made("binary"), "run", "--json", cwd=tmp_path, code=2, **NO_PYTHON)
    assert "teamlib" in listed(done)["error"]["message"]
    assert "--python" in listed(done)["error"]["hint"]


TEAM_SUITE = """
import json, os, pathlib, subprocess, sys
import numpy, packaging.version
import promptry
from promptry import *

@suite("team")
def check():
    with case("pure"):
        assert_exact(packaging.version.Version("1.10") > packaging.version.Version("1.9"), True)
    with case("compiled"):
        assert_exact(float(numpy.linalg.det(numpy.eye(3))), 1.0)
    with case("the team's Python"):
        assert_exact(os.path.realpath(sys.prefix), os.path.realpath(os.environ["TEAM"]))
        assert_exact(os.environ.get("VIRTUAL_ENV"), os.environ["ACTIVE"] or None)
    with case("its packages come first"):
        site = [path for path in sys.path if path.endswith("site-packages")]
        assert_exact(sys.path.index(site[-1]) < sys.path.index(os.path.dirname(promptry.__file__)), True)
        assert_exact(numpy.__file__.startswith(site[-1]), True)
    with case("nothing of ours in its environment"):
        assert_exact([name for name in os.environ if name.startswith(("_PYI", "_MEI"))], [])
        assert_exact(os.environ.get("LD_LIBRARY_PATH"), os.environ.get("LIBRARIES"))
        maps = pathlib.Path("/proc/self/maps")
        assert_exact([l for l in maps.read_text().splitlines() if "/_MEI" in l] if maps.exists() else [], [])
    with case("its own interpreter starts"):
        assert_exact(subprocess.check_output([sys.executable, "-c", "print(1)"], text=True), "1\\n")
    with case("a pattern"):
        assert_matches("Grüße 2026", r"\\p{L}+ \\d{4}")
    with case("a pattern that never ends"):
        assert_matches("a" * 60 + "b", "(a|aa)+$")
"""


def check_team_suite(binary: Path, python: Path, folder: Path, *, way: str) -> None:
    """Run the team's suite by the executable, told of the team's Python in one of the ways there are."""
    home = python.parent.parent
    (folder / "evals.py").write_text(TEAM_SUITE)
    words, env = [], {"PATH": OUTSIDE["PATH"], "TEAM": str(home), "ACTIVE": ""}
    if way == "VIRTUAL_ENV":
        env |= {"VIRTUAL_ENV": str(home), "ACTIVE": str(home)}
    elif way == "--python":
        words = ["--python", str(python)]
    elif way == ".venv":
        (folder / ".venv").symlink_to(home)
    elif way == "PATH":
        env["PATH"] = f"{home / 'bin'}{os.pathsep}{env['PATH']}"
    if "LD_LIBRARY_PATH" in OUTSIDE:
        env |= {"LD_LIBRARY_PATH": OUTSIDE["LD_LIBRARY_PATH"], "LIBRARIES": OUTSIDE["LD_LIBRARY_PATH"]}
    (result,) = listed(say(binary, "run", "--json", *words, cwd=folder, code=3, **env))["items"]
    states = {row["case"]: row["state"] for row in result["cases"]}
    assert states.pop("a pattern that never ends") == "error"
    assert set(states.values()) == {"pass"}, result["cases"]


@pytest.mark.binary
@pytest.mark.parametrize("way", ["VIRTUAL_ENV", "--python", ".venv", "PATH"])
def test_the_executable_runs_a_suite_with_the_packages_of_its_team(way: str, tmp_path: Path, made: Make) -> None:
    binary = made("binary")
    with alone():
        python = build.set_up(dev=True)
    check_team_suite(binary, python, tmp_path, way=way)


@pytest.mark.binary
@pytest.mark.slow
def test_the_executable_runs_a_suite_of_another_python(
    tmp_path: Path, made: Make, clean_python: Callable[[str], Path]
) -> None:
    others = pythons(lambda version: version >= (3, 11) and version != sys.version_info[:2])
    if not others:
        pytest.skip("no Python >= 3.11 of another minor version is found here")
    python = clean_python(others[0])
    wanted = [text for text in DEV if text.startswith("numpy")]
    command = [python, "-m", "pip", "install", "--quiet", "--retries=1", "--only-binary=:all:", *wanted, "packaging"]
    done = subprocess.run(command, env=OUTSIDE, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"numpy cannot be installed for {others[0]}: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    check_team_suite(made("binary"), python, tmp_path, way="VIRTUAL_ENV")


@pytest.mark.binary
@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_executable_keeps_what_the_team_ran(number: signal.Signals, tmp_path: Path, made: Make) -> None:
    (tmp_path / "evals.py").write_text("""
import pathlib, time
import numpy
from promptry import *

@suite("endless")
def check():
    with case("a"):
        assert_exact(1, 1)
    pathlib.Path("ready").write_text("")
    time.sleep(60)
""")
    command = [made("binary"), "run", "--json", "--python", sys.executable]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=OUTSIDE | {"HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    child.send_signal(number)
    try:
        out, err = child.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 3, err
    (result,) = json.loads(out)["items"]
    assert result["complete"] is False and result["counts"]["pass"] == 1


# --- the Pythons of this machine ----------------------------------------------------------------


@functools.cache
def found_pythons() -> dict[tuple[int, int], str]:
    """Find an interpreter that starts for each minor version, on the path and where pyenv keeps them."""
    names = [f"python3.{minor}" for minor in range(6, 20)]
    places = [found for name in names if (found := shutil.which(name, path=OUTSIDE.get("PATH")))]
    pyenv = Path(OUTSIDE.get("PYENV_ROOT") or Path(OUTSIDE.get("HOME", "/")) / ".pyenv") / "versions"
    places += map(str, sorted(pyenv.glob("3.*/bin/python")))
    versions: dict[tuple[int, int], str] = {}
    for place in places:
        code = "import sys, venv; print(sys.version_info[0], sys.version_info[1])"
        done = subprocess.run([place, "-c", code], env=OUTSIDE, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            major, minor = done.stdout.split()
            versions[int(major), int(minor)] = place
    return versions


def pythons(fits: Callable[[tuple[int, int]], bool]) -> list[str]:
    """List the interpreters whose version fits, the newest last."""
    return [place for version, place in sorted(found_pythons().items()) if fits(version)]


@pytest.mark.parametrize(
    ("codes", "words", "told"),
    [
        ([0, 0], (), 0),
        ([0, -9, 0], (), -9),
        ([0, 1, -9], (), 1),
        ([5, 0, 5], ("-k", "x"), 0),
        ([5, 5], ("-k", "x"), 5),
        ([0, 5], (), 5),
        ([5, 1, 0], ("-k", "x"), 1),
    ],
)
def test_benchmarks_that_fail_or_die_fail_the_whole(
    codes: list[int], words: tuple[str, ...], told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((build.ROOT / "tests" / "bench").glob("test_*.py"))
    left = [*codes, *[0] * (len(files) - len(codes))] if told != 5 or not words else [5] * len(files)
    monkeypatch.setattr(build, "run", lambda *asked: left.pop(0))
    assert build.measure("python", *words) == told and not left
