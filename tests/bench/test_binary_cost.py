"""Benchmark of the executable: its size, and what its commands take beside what no executable or Python goes below.

The floor of a start is a one-file executable of one line, stripped, made by the same PyInstaller; that of a command
which needs packages is plain Python importing them. Each pair is run one after the other; the ratio is the median of
the pairs'. What is unpacked once per user is unpacked before.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_build import alone, build

pytestmark = [pytest.mark.bench, pytest.mark.binary]

TABLE = "{:<34}{:>12}{:>12}{:>9}{:>9}"
PAIRS = 15
MOST_MEGABYTES = 110

SUITE = """
import anyio, openapi_spec_validator, yaml
from promptry import assert_contains, suite

@suite("team")
def check():
    assert_contains(yaml.safe_dump({"a": 1}), "a")
"""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
}
PLAIN = "import sys, promptry; promptry.main()"

Timed = Callable[[], float]


@pytest.fixture(scope="module")
def binary() -> Path:
    with alone():
        return Path(build.make_binary())


@pytest.fixture(scope="module")
def hello(binary: Path) -> Path:
    """Give the least executable that PyInstaller makes, made once for each version of it and of Python."""
    made = hashlib.sha256(f"{sys.version} {importlib.metadata.version('pyinstaller')}".encode()).hexdigest()[:12]
    folder = build.BUILD / f"hello-{made}"
    with alone():
        if not (folder / "hello").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "hello.py").write_text('print("hello")\n')
            words = ["--onefile", "--strip", "--noconfirm", "--log-level=WARN", f"--distpath={folder}"]
            command = [build.python_of(build.VENV), "-m", "PyInstaller", *words, "hello.py"]
            subprocess.run(command, cwd=folder, check=True, env=os.environ | {"HOME": str(folder)})
    return folder / "hello"


@pytest.fixture(scope="module")
def project(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a store in it, where what is unpacked once is unpacked."""
    folder = tmp_path_factory.mktemp("project")
    subprocess.run([binary, "demo", "."], cwd=folder, env=environment(folder), check=True, capture_output=True)
    (folder / "team.py").write_text(SUITE)
    (folder / "plain").mkdir()
    (folder / "plain" / "promptry.py").write_bytes(Path(build.make_module()).read_bytes())
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which byte code is kept, as on the machines of most."""
    python = build.python_of(build.VENV)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    own = {"HOME": str(folder), "PATH": path, "PYTHONPATH": str(folder / "plain"), "VIRTUAL_ENV": str(build.VENV)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PROMPTRY_"))}
    return {**kept, **own}


def timed(folder: Path, *words: object, code: int = 0) -> Timed:
    """Return a function that runs a program and returns the seconds that it took."""

    def run() -> float:
        start = time.perf_counter()
        done = subprocess.run([str(word) for word in words], cwd=folder, env=environment(folder), capture_output=True)
        took = time.perf_counter() - start
        assert done.returncode == code, done.stderr.decode()[-2000:]
        return took

    return run


def answered(folder: Path, *words: object) -> Timed:
    """Return a function that starts an MCP server and returns the seconds until it has answered to initialize."""

    def run() -> float:
        start = time.perf_counter()
        pipe = subprocess.PIPE
        command = [str(word) for word in words]
        server = subprocess.Popen(command, cwd=folder, env=environment(folder), stdin=pipe, stdout=pipe, stderr=pipe)
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        took = time.perf_counter() - start
        server.communicate(timeout=60)
        assert b"serverInfo" in answer
        return took

    return run


def ratio_of(name: str, ours: Timed, floor: Timed, most: float) -> float:
    """Measure a command beside its floor, print the line of the table, and return the ratio."""
    ours(), floor()
    pairs = [(ours(), floor()) for _ in range(PAIRS)]
    ratio = statistics.median(one / other for one, other in pairs)
    one, other = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    print(TABLE.format(name, f"{one:,.0f}", f"{other:,.0f}", f"{ratio:.2f}", f"{most:.1f}"))
    return ratio


def test_the_executable_starts_nearly_as_fast_as_the_least_there_is(binary: Path, hello: Path, project: Path) -> None:
    print(f"\nthe executable: {binary.stat().st_size / 1e6:.1f} MB (at most {MOST_MEGABYTES})")
    assert binary.stat().st_size <= MOST_MEGABYTES * 1e6
    print(TABLE.format("milliseconds", "executable", "hello world", "ratio", "at most"))
    floor = timed(project, hello)
    commands = (["--version"], ["prompt", "list"], ["calls"])
    ratios = [ratio_of(" ".join(words), timed(project, binary, *words), floor, 1.4) for words in commands]
    assert max(ratios) <= 1.4


def test_what_needs_packages_takes_little_more_than_plain_python(binary: Path, project: Path) -> None:
    python = build.python_of(build.VENV)
    print("\n" + TABLE.format("milliseconds", "executable", "Python", "ratio", "at most"))
    scipy = timed(project, python, "-c", "import scipy.stats")
    assert ratio_of("drift / import scipy.stats", timed(project, binary, "drift", "qa"), scipy, 1.4) <= 1.4
    suite = ["run", "team", "--module", "team.py"]
    plain = timed(project, python, "-c", PLAIN, *suite)
    assert ratio_of("a suite with imports / the same", timed(project, binary, *suite), plain, 2.0) <= 2.0
    sdk = timed(project, python, "-c", "import mcp.server.lowlevel, mcp.server.stdio")
    assert ratio_of("mcp to initialize / import its SDK", answered(project, binary, "mcp"), sdk, 1.3) <= 1.3
