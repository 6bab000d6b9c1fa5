"""Hubs for the tests of shipping: a real one in a process of its own, false ones that answer nonsense; and sums."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import json
import math
import os
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from served import COMMAND, child_environment

import promptry

HIDDEN = "name NOT LIKE 'promptry/%'"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def start_hub(store: Path, port: int, **env: str) -> subprocess.Popen[str]:
    """Start a dashboard of a store in a process of its own, and wait until it listens."""
    words = ["dashboard", "--no-open", "--port", str(port), "--db", str(store)]
    home = {"HOME": str(store.parent)}
    child = subprocess.Popen(
        [*COMMAND, *words],
        env=child_environment(**home, **env),
        cwd=os.sep,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    line = child.stderr.readline()
    assert "promptry is at" in line, line + child.stderr.read()
    return child


@contextlib.contextmanager
def running_hub(store: Path, port: int, **env: str) -> Iterator[subprocess.Popen[str]]:
    child = start_hub(store, port, **env)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def tell_remote(folder: Path, port: int, more: str = "") -> None:
    """Write the promptry.toml of a source."""
    (folder / "promptry.toml").write_text(f'[remote]\nurl = "http://127.0.0.1:{port}"\n{more}')


class FalseHub(http.server.BaseHTTPRequestHandler):
    """A server whose answers are those of a test; what it was sent is kept."""

    answer: Callable[[FalseHub, dict[str, Any]], None]
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw)
        self.seen.append(body)
        with contextlib.suppress(OSError):
            type(self).answer(self, body)

    def say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def false_hub(
    answer: Callable[[Any, dict[str, Any]], None], port: int = 0
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Serve answers from a thread; gives the port and the list of what was sent."""
    seen: list[dict[str, Any]] = []
    kind = type("Hub", (FalseHub,), {"answer": answer, "seen": seen})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def pass_on(port: int, loses: Callable[[dict[str, Any]], bool]) -> Callable[[Any, dict[str, Any]], None]:
    """Return what passes on to a true hub what a false one is sent, and the answers that are not to be lost."""

    def answer(self: Any, body: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/api/ingest", json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            told = reply.read()
        if not loses(body):
            self.say(reply.status, told)

    return answer


def shipments(store: Path, marks: list[Any] | None = None, **bounds: Any) -> Iterator[promptry.Shipment]:
    """Give what a store ships, from the beginning or from marks, to somebody who takes it all."""
    promptry.use_store(store)
    promptry.begin_source()
    with promptry.reading(store) as reader:
        source = promptry.find_source(reader)
        assert source is not None
        road = promptry.find_road(reader, marks or [])
        while (found := promptry.next_shipment(reader, source, road, **bounds)) is not None:
            yield found
            road = found.road
            if found.is_last:
                return


def read_wire(shipment: promptry.Shipment) -> dict[str, Any]:
    return json.loads(gzip.decompress(shipment.wire))  # type: ignore[no-any-return]


def take(store: Path, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """Have a store take in what was sent, and return what it answers."""
    promptry.use_store(store)
    return [promptry.ingest(promptry.Cargo(**body)) for body in bodies]


def carry(source: Path, hub: Path, **bounds: Any) -> list[dict[str, Any]]:
    """Carry all that a store ships to another one, from where that has got to."""
    promptry.use_store(source)
    promptry.begin_source()
    with promptry.reading(source) as reader:
        name = promptry.find_source(reader)
    (told,) = take(hub, {"source": name, "format": 1})
    bodies, noted = [], []
    for found in shipments(source, told["marks"], **bounds):
        bodies.append(read_wire(found))
        noted += found.noted
    promptry.forget_noted(noted)
    return take(hub, *bodies)


def sums_of(store: Path) -> dict[str, Any]:
    """Return what must be equal on both sides: counts and sums of all that travels, and what refers to what."""
    with contextlib.closing(sqlite3.connect(store)) as connection:

        def rows(sql: str) -> list[Any]:
            return connection.execute(sql).fetchall()

        calls = "FROM invocations WHERE status <> 'reserved'"
        return {
            "calls": rows(f"SELECT count(*), sum(tokens_in), sum(tokens_out) {calls}"),
            "cost": round(math.fsum(usd for (usd,) in rows(f"SELECT cost_usd {calls} AND cost_usd IS NOT NULL")), 9),
            "asked": rows(
                f"SELECT prompt_name, (SELECT hash FROM prompts WHERE name = prompt_name AND version = prompt_version),"
                f" count(*) {calls} GROUP BY 1, 2 ORDER BY 1, 2"
            ),
            "runs": rows("SELECT suite_name, timestamp, overall_pass, overall_score FROM eval_runs ORDER BY 1, 2"),
            "tested": rows(
                "SELECT suite_name, timestamp, (SELECT hash FROM prompts WHERE name = prompt_name AND version ="
                " prompt_version), coalesce(json_extract(metadata, '$.complete'), 1) FROM eval_runs ORDER BY 1, 2"
            ),
            "results": rows(
                "SELECT suite_name, timestamp, test_name, assertion_type, passed, score, details,"
                " row_number() OVER (PARTITION BY run_id ORDER BY eval_results.id) FROM eval_results"
                " JOIN eval_runs ON eval_runs.id = run_id ORDER BY 1, 2, eval_results.id"
            ),
            "votes": rows(
                "SELECT prompt_name, (SELECT hash FROM prompts WHERE name = prompt_name AND version = prompt_version),"
                " response, score, message, created_at FROM votes ORDER BY 1, 3, 6"
            ),
            "feedback": rows("SELECT request_id, rating, comment, source FROM feedback ORDER BY 1, 4"),
            "prompts": rows("SELECT name, hash, content FROM prompts ORDER BY 1, 2"),
            "datasets": rows(f"SELECT name, items FROM datasets WHERE {HIDDEN} ORDER BY 1, 2"),
        }
