"""DASHBOARD: it starts, says where it is, bears slow and hostile clients, and stops when it is told to."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import COMMAND, Served, child_environment, serve
from test_build import Make, made  # noqa: F401

import promptry

Start = Callable[..., tuple["subprocess.Popen[str]", int, list[str]]]


def _hear_signals() -> None:
    """Have a child hear what its parent may have been told to ignore, as under nohup."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start_dashboard(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts the command, and returns the process, its port and what it said on stderr."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **env: str) -> tuple[subprocess.Popen[str], int, list[str]]:
        child = subprocess.Popen(
            [*COMMAND, "dashboard", "--port", "0", *words],
            cwd=tmp_path,
            env=child_environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_signals,
        )
        started.append(child)
        assert child.stderr is not None
        said = [child.stderr.readline()]
        found = re.search(r"http://[^/]+:(\d+)/", said[0])
        assert found, said[0] + child.stderr.read()
        return child, int(found[1]), said

    yield start
    for child in started:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.communicate()


def memory_kb(process: int) -> int:
    """Return what a process has in memory, by /proc."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[0])


def ask(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()


# --------------------------------------------------------------------------------------
# Start and stop
# --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_says_where_it_is_answers_and_stops_with_exit_code_0(
    number: signal.Signals, start_dashboard: Start, tmp_path: Path
) -> None:
    child, port, said = start_dashboard("--no-open")
    assert said[0].startswith(f"promptry is at http://127.0.0.1:{port}/ and reads ") and "Ctrl-C" in said[0]
    assert child.stderr is not None
    assert child.stderr.readline() == "There is no such file yet: the first track() or run makes it.\n"
    assert ask(port, "/api/health")[0] == 200
    child.send_signal(number)
    assert child.communicate(timeout=10) == ("", "")
    assert child.returncode == 0
    assert not (tmp_path / "home" / ".promptry").exists()


@pytest.mark.slow
def test_what_is_being_answered_is_answered_before_it_stops(start_dashboard: Start, tmp_path: Path) -> None:
    child, port, _ = start_dashboard("--no-open", "--db", str(tmp_path / "s.db"))
    promptry.use_store(tmp_path / "s.db")
    promptry.save_prompt("p", "Text.")
    answers: list[Any] = []
    sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 8000000) SELECT count(*) FROM n"

    def query() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = f'{{"sql": "{sql}"}}'
        connection.request("POST", "/api/query", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        answers.append((reply.status, reply.read()))

    thread = threading.Thread(target=query)
    thread.start()
    time.sleep(0.7)
    child.send_signal(signal.SIGTERM)
    thread.join(20)
    assert child.wait(15) == 0
    assert answers and answers[0][0] in {200, 400}


def test_it_stops_with_clients_that_hold_on(start_dashboard: Start) -> None:
    child, port, _ = start_dashboard("--no-open")
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for connection in held[:10]:
        connection.sendall(b"GET /api/overview HTTP/1.1\r\nHo")
    assert ask(port, "/api/health")[0] == 200
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 0
    for connection in held:
        connection.close()


def test_a_port_that_is_taken_is_said_with_what_to_do(run_cli: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("dashboard", "--no-open", "--port", port)
    assert done.returncode == 2 and done.stdout == ""
    hint = "Give another with --port, or end the program that uses it."
    assert done.stderr == f"promptry: The port {port} of 127.0.0.1 is taken. {hint}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached by other machines, and no token is set."),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid can be reached by other machines"),
        (["--port", "70000"], "Invalid value for '--port'"),
        (["--host", "127.0.0.1x"], "127.0.0.1x can be reached by other machines"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(words: list[str], message: str, run_cli: Any) -> None:
    done = run_cli("dashboard", "--no-open", *words)
    assert done.returncode == 2 and done.stderr.startswith(f"promptry: {message}") and done.stderr.count("\n") == 1


def test_an_address_that_is_not_ours_is_said(run_cli: Any) -> None:
    done = run_cli("dashboard", "--no-open", "--port", "0", "--host", "192.0.2.1", PROMPTRY_TOKEN="t")
    assert done.returncode == 2 and done.stderr.startswith("promptry: 192.0.2.1:0 cannot be served: ")
    done = run_cli("dashboard", "--no-open", "--port", "0", "--host", "no.such.host.invalid", PROMPTRY_TOKEN="t")
    assert done.returncode == 2 and "There is no host 'no.such.host.invalid'." in done.stderr


def test_with_a_token_it_serves_other_addresses(start_dashboard: Start) -> None:
    child, port, said = start_dashboard("--no-open", "--host", "0.0.0.0", PROMPTRY_TOKEN="secret-token")
    assert ask(port, "/api/overview")[0] == 401
    assert ask(port, "/api/overview", Authorization="Bearer secret-token")[0] == 200
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=10)
    assert "secret-token" not in said[0] + out + err


def test_host_and_port_come_from_the_settings(run_cli: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "promptry.toml").write_text(f"[dashboard]\nport = {port}\n")
        assert f"The port {port} of 127.0.0.1 is taken." in run_cli("dashboard", "--no-open").stderr
    (tmp_path / "promptry.toml").write_text('[dashboard]\nhost = "0.0.0.0"\n')
    assert "0.0.0.0 can be reached" in run_cli("dashboard", "--no-open").stderr
    (tmp_path / "promptry.toml").write_text("[dashboard]\nprot = 1\n")
    assert "[dashboard] has no key 'prot'. Did you mean 'port'?" in run_cli("dashboard", "--no-open").stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the browser is a script")
def test_it_opens_the_browser_unless_told_not_to(start_dashboard: Start, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    browser.chmod(0o755)
    _, port, _ = start_dashboard(BROWSER=f"{browser} %s")
    until = time.monotonic() + 10
    while not (tmp_path / "opened").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.1)
    assert (tmp_path / "opened").read_text().strip() == f"http://127.0.0.1:{port}/"
    (tmp_path / "opened").unlink()
    start_dashboard("--no-open", BROWSER=f"{browser} %s")
    time.sleep(0.5)
    assert not (tmp_path / "opened").exists()


def test_a_check_asks_once_and_ends(run_cli: Any) -> None:
    done = run_cli("dashboard", "--check")
    assert done.returncode == 0 and done.stdout.startswith("the API: 200 OK, ") and "the page: " in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_check_ends_where_ctrl_c_is_ignored_as_in_the_background_of_a_script(run_python: Any) -> None:
    code = """
    import signal, sys, promptry
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv[1:] = ["dashboard", "--check"]
    promptry.main()
    """
    done = run_python(code, timeout=60)
    assert done.returncode == 0 and "the page: 200 OK" in done.stdout, done.stderr


def test_a_package_that_is_missing_is_named(run_python: Any) -> None:
    code = """
    import importlib.util, sys, promptry
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *more: None if name == "waitress" else find(name, *more)
    sys.exit(promptry.run_command(["dashboard", "--no-open", "--port", "0"]))
    """
    done = run_python(code, check=False)
    assert done.returncode == 3 and "The dashboard needs waitress, and this Python has none." in done.stderr


def test_starting_loads_no_more_than_it_needs(run_python: Any) -> None:
    code = "import promptry, sys; print([name for name in ('bottle', 'waitress', 'webbrowser') if name in sys.modules])"
    assert run_python(code).stdout == "[]\n"


# --------------------------------------------------------------------------------------
# Clients that are slow, many, or hostile
# --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_settings_tell_the_true_store_while_an_empty_one_answers(store: Path) -> None:
    with serve(store) as served:
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                served.get("/api/overview")

        looking = threading.Thread(target=look)
        looking.start()
        try:
            told = {served.get("/api/settings").json["store"]["path"] for _ in range(60)}
        finally:
            done.set()
            looking.join()
        assert told == {str(store)} and not store.exists()


def test_sixty_half_open_clients_do_not_stop_an_answer(dashboard: Served) -> None:
    held = []
    for number in range(60):
        connection = socket.create_connection(("127.0.0.1", dashboard.port))
        head = f"POST /api/lint HTTP/1.1\r\nHost: 127.0.0.1:{dashboard.port}\r\nContent-Type: application/json\r\n"
        connection.sendall((head if number % 2 else head + "Content-Length: 1000\r\n\r\n{").encode())
        held.append(connection)
    for _ in range(10):
        start = time.monotonic()
        assert dashboard.get("/api/overview").status == 200
        assert time.monotonic() - start < 2
    for connection in held:
        connection.close()


def test_a_body_that_is_too_large_is_refused_with_the_shape_of_errors(dashboard: Served) -> None:
    most = promptry.MOST_BODY_BYTES
    head = f"POST /api/prompts HTTP/1.1\r\nHost: 127.0.0.1:{dashboard.port}\r\nContent-Type: application/json\r\n"
    for length in (most + 1, 10**12):
        answer = dashboard.raw(f"{head}Content-Length: {length}\r\n\r\n".encode() + b"x" * 1000)
        assert answer.startswith(b"HTTP/1.1 413 ") and b'{"error": {"code": ' in answer and b"nosniff" in answer
    content = "x" * 3_000_000
    assert dashboard.post("/api/lint", {"name": "p", "content": content}).status == 200
    chunk = b"100000\r\n" + b"y" * 0x100000 + b"\r\n"
    with contextlib.suppress(ConnectionError):
        answer = dashboard.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 12)
        assert b" 413 " in answer.split(b"\r\n")[0]


def test_a_head_that_is_too_large_is_refused(dashboard: Served) -> None:
    head = f"GET /?{'a' * 100_000} HTTP/1.1\r\nHost: 127.0.0.1:{dashboard.port}\r\n\r\n".encode()
    with contextlib.suppress(ConnectionError):  # it may hang up before all was sent
        assert dashboard.raw(head).split(b"\r\n")[0].split()[1] in {b"431", b"400"}
    assert dashboard.get("/api/health").status == 200


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http_does_not_hurt(data: bytes, dashboard: Served) -> None:
    assert not dashboard.raw(data + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert dashboard.get("/api/health").status == 200


def test_a_fault_of_ours_is_told_without_a_trace(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a secret path /home/x")

    monkeypatch.setattr(promptry, "ask_read", broken)
    answer = dashboard.get("/api/overview")
    assert answer.status == 500 and answer.error["message"] == "A fault in promptry: KeyError."
    assert b"Traceback" not in answer.body and b"secret" not in answer.body
    assert "a fault in promptry itself, at GET overview" in caplog.text


@pytest.mark.slow
def test_many_at_once_are_all_answered(dashboard: Served) -> None:
    promptry.save_prompt("p", "Text.")
    statuses: list[int] = []

    def work(number: int) -> None:
        for turn in range(10):
            if number % 4 == 0:
                body = {"name": "p", "response": f"{number} {turn}", "score": 1}
                statuses.append(dashboard.post("/api/votes", body).status)
            else:
                statuses.append(dashboard.get("/api/overview" if number % 2 else "/api/prompt?name=p").status)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(statuses) == 240 and set(statuses) == {200}
    assert dashboard.get("/api/votes").json["total"] == 60


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_neither_connections_nor_memory_grow_with_requests(dashboard: Served) -> None:
    def one_round() -> None:
        for _ in range(40):
            threads = [threading.Thread(target=lambda: dashboard.get("/api/overview")) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    promptry.save_prompt("p", "Text.")
    one_round()
    gc.collect()
    files, connections = len(os.listdir("/proc/self/fd")), len(promptry._connections)
    one_round()
    gc.collect()
    assert connections <= 16 + 1 and len(promptry._connections) <= 16 + 1
    assert len(os.listdir("/proc/self/fd")) <= files + 3 * 16, "each thread has its connection, and no more"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory in /proc")
def test_the_memory_of_the_server_stays_small(start_dashboard: Start, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    promptry.use_store(path)
    promptry.save_prompt("p", "Text. " * 1000)
    for _ in range(200):
        promptry.track_invocation("p", {"cost_usd": 0.1}, model="m", input_text="x" * 2000, capture=True)
    child, port, _ = start_dashboard("--no-open", "--db", str(path))
    paths = ("/api/overview", "/api/calls?limit=200", "/api/cost", "/api/prompt?name=p", "/api/export/calls?format=csv")
    for _ in range(100):
        for asked in paths:
            assert ask(port, asked)[0] == 200
    assert memory_kb(child.pid) < 200_000


def test_a_cold_server_answers_soon(store: Path) -> None:
    """The first answer of a new server comes in a small multiple of the time that the function alone takes."""
    promptry.save_prompt("p", "Text.")
    start = time.perf_counter()
    promptry.get_overview()
    alone = time.perf_counter() - start
    with serve(store) as served:
        start = time.perf_counter()
        assert served.get("/api/overview").status == 200
        assert time.perf_counter() - start < 20 * alone + 0.5


def test_hundreds_of_silent_clients_make_room_for_who_asks(dashboard: Served) -> None:
    held = []
    head = f"POST /api/lint HTTP/1.1\r\nHost: 127.0.0.1:{dashboard.port}\r\nContent-Type: application/json\r\n"
    for _ in range(260):
        connection = socket.create_connection(("127.0.0.1", dashboard.port))
        with contextlib.suppress(ConnectionError):
            connection.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        held.append(connection)
    for _ in range(5):
        start = time.monotonic()
        assert dashboard.get("/api/overview").status == 200
        assert time.monotonic() - start < 2
    for connection in held:
        connection.close()


@pytest.mark.slow
def test_a_request_that_drips_is_given_up(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(promptry._SERVER, "channel_timeout", 1)
    monkeypatch.setitem(promptry._SERVER, "cleanup_interval", 1)
    with serve(store) as served, socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(f"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nX: ".encode())
        connection.settimeout(0.2)
        until, is_over = time.monotonic() + 8, False
        while not is_over and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                try:
                    connection.sendall(b"x")
                    is_over = connection.recv(1) == b""
                except ConnectionError:
                    is_over = True
        assert is_over


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory in /proc")
def test_the_memory_of_large_answers_goes_back(start_dashboard: Start, tmp_path: Path) -> None:
    child, port, _ = start_dashboard("--no-open", "--db", str(tmp_path / "s.db"))
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 4000)"
    body = json.dumps({"sql": f"{numbers} SELECT hex(randomblob(2000)) FROM n", "limit": 10_000}).encode()
    head = f"POST /api/query HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    before, held = memory_kb(child.pid), []
    for _ in range(10):  # none of which is read
        held.append(socket.create_connection(("127.0.0.1", port)))
        held[-1].sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        held[-1].recv(100)
    after = memory_kb(child.pid)
    assert after < 200_000 and after - before < 40_000, "each of the answers has eight megabytes"
    for connection in held:
        connection.close()


@pytest.mark.fault
@pytest.mark.binary
@pytest.mark.skipif(os.name != "posix", reason="kills a process of POSIX")
def test_an_executable_that_is_killed_leaves_no_server_behind(tmp_path: Path, made: Make) -> None:  # noqa: F811
    """What people see, and kill, is the process that unpacked it: the one that serves is a child of that."""
    command = [str(made("binary")), "dashboard", "--no-open", "--port", "0", "--db", "store.db"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as starter:
        assert starter.stderr is not None
        found = re.search(r"http://[^/]+:(\d+)/", starter.stderr.readline())
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10):
            starter.kill()
        starter.stderr.read()  # to its end: the server holds it open as long as it lives
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(found[1])), timeout=10)
