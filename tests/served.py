"""A dashboard in this process at a free port, and a client that speaks to it as a program on this machine does."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from waitress import wasyncore

import promptry

ROOT = Path(__file__).resolve().parent.parent
# What `python promptry.py` does, but from the bytecode that conftest.py has made: a script is compiled at each start.
COMMAND = (sys.executable, "-P", "-m", "promptry")


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment for a child Python that imports promptry from this checkout."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **more}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        assert set(self.json) == {"error"} and set(self.json["error"]) == {"code", "message", "hint"}
        return self.json["error"]  # type: ignore[no-any-return]


class Served(NamedTuple):
    """A server of this process and where it is."""

    serving: promptry.Serving
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Send one request with just these headers, and a Host unless one is given."""
        given = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if body is not None and "Content-Length" not in given:
                given["Content-Length"] = str(len(body))
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **told})

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes back until the server closes or is silent for a second."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(data)
            found = b""
            with contextlib.suppress(TimeoutError):
                while more := connection.recv(65536):
                    found += more
            return found


@contextlib.contextmanager
def serve(path: Path, host: str = "127.0.0.1", more: tuple[str, ...] = ()) -> Iterator[Served]:
    """Serve a store from a thread of this process until the block ends."""
    sock = socket.create_server((host, 0))
    port = sock.getsockname()[1]
    serving = promptry.make_serving(promptry.make_door(host, port, more), path)
    server = promptry.make_server(serving, sock)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield Served(serving, port)
    finally:
        server.task_dispatcher.shutdown(timeout=5)
        with contextlib.suppress(OSError):  # the loop may have closed it before this is told
            server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map, ignore_all=True))
        thread.join(10)
        assert not thread.is_alive()
        promptry.end_serving(serving)


@contextlib.contextmanager
def run_chromium() -> Iterator[Any]:
    """Run Debian's Chromium, which build.py test installs; what drives it keeps an event loop going until its end."""
    program = shutil.which("chromium")
    if program is None and "CI" not in os.environ:
        pytest.skip("there is no chromium here; build.py test installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
