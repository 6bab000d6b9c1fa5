"""What all tests share: a clean process, an empty store in a temporary folder, and real child processes."""

from __future__ import annotations

import compileall
import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click  # noqa: F401 - before pytester forgets what a session in this process loads: a second click is another
import hypothesis
import pytest
from served import COMMAND, ROOT, Served, child_environment, serve

import promptry

# The same examples on every machine, however slow it is: what fails is a fault of the change.
hypothesis.settings.register_profile("promptry", derandomize=True, deadline=None)
hypothesis.settings.load_profile("promptry")
compileall.compile_file(ROOT / "promptry.py", quiet=1)  # once, not in each child that imports it

Python = Callable[..., "subprocess.CompletedProcess[str]"]
StartPython = Callable[..., "subprocess.Popen[str]"]

# What one test would hand to the next; names that a later version of the module lacks are passed over.
_MEMORIES = (
    "_tracked",
    "_track_again_at",
    "_templates",
    "_fallbacks",
    "_served",
    "_suites",
    "_loaded",
    "_open_calls",
    "_dropped",
)
_CONTEXTS = ("_scope", "_purpose", "_last_request", "_open_collection", "_outcomes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.path.name != "test_journeys.py")
    gc.freeze()  # ten thousand of them, which each look for garbage would look at


def forget_everything() -> None:
    """Empty all that the process remembers, as a new process would start."""
    promptry.forget_settings()
    promptry.forget_templates()
    promptry.forget_kept_rows()
    promptry.set_embedder(None)
    for name in _MEMORIES:
        getattr(promptry, name, {}).clear()
    for name in _CONTEXTS:
        if hasattr(promptry, name):
            getattr(promptry, name).set(None)
    promptry._active = None
    promptry._judge = None
    promptry._open_anywhere.clear()
    promptry._outcomes_anywhere.clear()


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start each test in its own folder, with its own home, no PROMPTRY_ variable and an empty memory."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name in [name for name in os.environ if name.startswith("PROMPTRY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    promptry.use_store(None)
    forget_everything()
    yield home
    promptry.use_store(None)
    forget_everything()
    sys.modules.pop("evals", None)  # each test has its own


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """Give the path of an empty store that this process uses; the first use makes the file."""
    path = tmp_path / "store.db"
    promptry.use_store(path)
    for spool in promptry.list_spools():  # of an earlier session, whose folder had the same name
        spool.unlink()
    yield path
    promptry.use_store(None)


@pytest.fixture
def own_registry(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a test a store and an import path of its own, and modules of suites that no test before has loaded."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in ("evals", "pkg", "pkg.evals", "helpers"):
        sys.modules.pop(name, None)


@pytest.fixture
def raw(store: Path) -> Iterator[sqlite3.Connection]:
    """Give a plain sqlite3 connection to the migrated store, as someone without promptry would open it."""
    promptry.connect()
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


@pytest.fixture
def run_python(tmp_path: Path) -> Python:
    """Give a function that runs code in a child Python with promptry importable, and returns what it said.

    The code is saved as a file, so that it can spawn; `check=False` lets it fail, `env=` adds to its environment.
    """

    def run(code: str, *args: Any, check: bool = True, timeout: float = 60.0, **env: str) -> Any:
        done = subprocess.run(
            [sys.executable, _script(tmp_path, code), *map(str, args)],
            env=child_environment(**env),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def start_python(tmp_path: Path) -> Iterator[StartPython]:
    """Give a function that starts a child Python and does not wait for it; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: Any, **env: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, _script(tmp_path, code), *map(str, args)],
            env=child_environment(**env),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.communicate()


@pytest.fixture
def run_cli(tmp_path: Path) -> Python:
    """Give a function that runs the command line in a process of its own."""

    def run(*words: Any, timeout: float = 60.0, **env: str) -> Any:
        return subprocess.run(
            [*COMMAND, *map(str, words)],
            env=child_environment(**env),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def dashboard(store: Path) -> Iterator[Served]:
    """Give a dashboard of an empty store, served from this process at a free port."""
    promptry.connect()
    with serve(store) as served:
        yield served


@pytest.fixture
def locked(store: Path) -> Callable[[], contextlib.AbstractContextManager[sqlite3.Connection]]:
    """Give a block within which another connection holds the store's write lock."""

    @contextlib.contextmanager
    def hold() -> Iterator[sqlite3.Connection]:
        promptry.connect()
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield other
        finally:
            if other.in_transaction:
                other.execute("ROLLBACK")
            other.close()

    return hold


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give a function that moves the clock of waits and caches on by some seconds."""
    offset = [0.0]
    real = promptry.monotonic_s
    monkeypatch.setattr(promptry, "monotonic_s", lambda: real() + offset[0])

    def advance(seconds: float) -> None:
        offset[0] += seconds

    return advance


def _script(folder: Path, code: str) -> str:
    text = textwrap.dedent(code)
    path = folder / f"child_{abs(hash(text)):x}.py"
    if not path.exists():  # a child that started before may be reading it
        path.write_text(text, encoding="utf-8")
    return str(path)
