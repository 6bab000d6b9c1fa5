"""A month of a product behind a real server, and a real browser that may ask nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from served import run_chromium
from world import World, fill

import promptry

MODULE = Path(promptry.__file__).resolve()
DESK = {"width": 1400, "height": 900}


class Served(NamedTuple):
    """A folder with a store, and the address at which its dashboard is served."""

    folder: Path
    url: str
    env: dict[str, str]

    @property
    def store(self) -> Path:
        """Return the path of the store."""
        return self.folder / ".promptry" / "store.db"

    def cli(self, *words: Any, text: str = "", ok: tuple[int, ...] = (0,)) -> str:
        """Run the command line in the folder, and return what it printed."""
        command = [sys.executable, str(MODULE), *map(str, words)]
        done = subprocess.run(command, input=text, cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert done.returncode in ok, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask the API, or post to it."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}api/{path}", data, {"Content-Type": "application/json"} if data else {}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Live through the month, once."""
    return fill(tmp_path_factory.mktemp("world") / "shop")


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Served]]:
    """Give a function that serves the dashboard of a folder until the tests are over."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, **more: str) -> Served:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("PROMPTRY_")}
        keep = {name: text for name, text in clean.items() if not name.lower().endswith(("_proxy", "_api_key"))}
        env = {**keep, "HOME": str(folder), "PYTHONPATH": str(MODULE.parent), **more}
        command = [sys.executable, str(MODULE), "dashboard", "--port", "0", "--no-open"]
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
        started.append(process)
        line = process.stderr.readline() if process.stderr else ""
        found = re.search(r"http://\S+/", line)
        assert found is not None, line
        return Served(folder, found[0], env)

    yield start
    for process in started:
        process.terminate()
    for process in started:
        assert process.wait(10) == 0


@pytest.fixture(scope="session")
def shop(world: World, serve: Callable[..., Served]) -> Served:
    """Serve the month for tests that only look at it."""
    return serve(world.folder)


@pytest.fixture
def own_shop(world: World, serve: Callable[..., Served], tmp_path: Path) -> Served:
    """Serve a copy of the month that a test may write to."""
    folder = tmp_path / "shop"
    shutil.copytree(world.folder, folder)
    return serve(folder)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Run the browser for one file: other tests of this process may not meet the event loop that drives it."""
    with run_chromium() as browser:
        yield browser


@pytest.fixture
def open_tab(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a tab; at the end no tab has asked another host or complained in its console."""
    contexts, foreign, complaints = [], list[str](), list[str]()

    def open_at(url: str, size: dict[str, int] | None = None, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport=size or DESK, color_scheme=scheme, reduced_motion="reduce")
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(15_000)
        own = urlsplit(url).netloc
        tab.on("request", lambda asked: foreign.append(asked.url) if _is_foreign(asked.url, own) else None)
        tab.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(url)
        return tab

    open_at.complaints = complaints  # type: ignore[attr-defined]
    yield open_at
    for context in contexts:
        context.close()
    assert (foreign, complaints) == ([], [])


def _is_foreign(url: str, own: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in {"data", "blob"} and parts.netloc != own


def settled(tab: Any) -> Any:
    """Wait until a page shows its answer: its sentence, and no place that still loads."""
    tab.locator("h1").first.wait_for()
    tab.wait_for_function("() => !document.querySelector('[aria-busy=true], .skeleton')")
    return tab


@pytest.fixture(scope="session")
def empty_shop(serve: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Serve a folder in which there is nothing yet."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "promptry.toml").touch()
    return serve(folder)
