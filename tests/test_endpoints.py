"""ENDPOINTS: JSON goes out and comes back, with patience; what misbehaves is one sentence, without a key."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import promptry

KEY = "sk-test-0123456789abcdefSECRET"
KEYS = {"Authorization": f"Bearer {KEY}"}


class Scripted(NamedTuple):
    """A server that gives the answers of a list, the last again and again; `seen` holds (headers, body)."""

    url: str
    answers: list[Any]
    seen: list[tuple[dict[str, str], Any]]
    handler: Any


@pytest.fixture
def server() -> Iterator[Scripted]:
    """Run a server; an answer is (status, headers, body) or a function of the handler."""
    answers: list[Any] = []
    seen: list[tuple[dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"null")
            seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            answer = answers[min(len(seen), len(answers)) - 1]
            with contextlib.suppress(OSError):
                answer(self) if callable(answer) else self.say(*answer)

        def do_GET(self) -> None:
            assert "content-length" not in self.headers
            self.do_POST()

        do_PATCH = do_POST

        def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield Scripted(f"http://127.0.0.1:{running.server_port}/v1/chat", answers, seen, Handler)
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the waits instead of waiting."""
    found: list[float] = []
    monkeypatch.setattr(promptry, "_pause", found.append)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return found


GOOD = (200, {}, b'{"ok": true}')


def post(*given: Any, **options: Any) -> dict[str, Any]:
    """Return the JSON object that is answered."""
    return promptry.post_json(*given, **options)[0]


def failure(server: Scripted, *answers: Any, **options: Any) -> promptry.ProviderError:
    """Return the error of a post to which these answers are given."""
    server.answers[:] = answers
    with pytest.raises(promptry.ProviderError) as caught:
        post(server.url, {"q": 1}, KEYS, **options)
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def test_an_object_comes_back_and_the_key_goes_out(server: Scripted) -> None:
    server.answers.append(GOOD)
    assert post(server.url, {"q": "ä\ud800"}, KEYS) == {"ok": True}
    headers, body = server.seen[0]
    assert body == {"q": "ä\ud800"} and headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json" and headers["user-agent"].startswith("promptry/")


def test_any_method_is_asked_and_a_list_and_the_headers_come_back(server: Scripted) -> None:
    server.answers.extend([(200, {"Link": "<x>; rel=next"}, b'[{"id": 1}]'), (200, {}, b'{"id": 2}')])
    found, headers = promptry.ask_json("GET", server.url, headers=KEYS)
    assert found == [{"id": 1}] and headers["link"] == "<x>; rel=next"
    assert promptry.ask_json("PATCH", server.url, {"body": "b"}, KEYS)[0] == {"id": 2}
    assert [body for _, body in server.seen] == [None, {"body": "b"}]
    assert failure(server, (200, {}, b"[]")).message.startswith("127.0.0.1:")  # a post is answered by an object


def test_a_refusal_that_says_when_to_come_back_is_a_limit(server: Scripted, waits: list[float]) -> None:
    server.answers.extend([(403, {"Retry-After": "3"}, b"{}"), GOOD])
    assert promptry.ask_json("GET", server.url)[0] == {"ok": True} and waits == [3.0]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_is_busy_or_broken_is_tried_again(server: Scripted, status: int, waits: list[float]) -> None:
    server.answers[:] = [(status, {}, b"{}")] * 3 + [GOOD]
    assert post(server.url, {}) == {"ok": True}
    assert len(server.seen) == 4
    for wait, middle in zip(waits, (0.5, 1.0, 2.0), strict=True):
        assert 0.75 * middle <= wait <= 1.25 * middle


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 501])
def test_what_is_refused_is_not_tried_again(server: Scripted, status: int, waits: list[float]) -> None:
    body = json.dumps({"error": {"message": f"No such model. Key {KEY}\nis wrong", "type": "x"}}).encode()
    error = failure(server, (status, {}, body))
    host = server.url.split("/")[2]
    assert str(error) == f"{host} answered {status}: No such model. Key [key removed] is wrong."
    assert (error.status, len(server.seen), waits) == (status, 1, [])


def test_the_last_failure_is_told_when_no_try_is_left(server: Scripted, waits: list[float]) -> None:
    error = failure(server, (500, {}, b'{"error": "first"}'), (503, {}, b'{"error": "full"}'), tries=3)
    assert "503: full." in str(error) and len(server.seen) == 3 and len(waits) == 2


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"Retry-After": "0.25"}, 0.25, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, 1.5),
        ({"retry-after": "-3"}, 0, 0),
        ({"retry-after": "in 30 s"}, 1, 30),
        ({"retry-after": "in 30 s, of no zone"}, 1, 30),
        ({"retry-after": "300 s ago"}, 0, 0),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, 0.375, 0.625),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 -0000"}, 0, 0),
        ({"retry-after": "soon"}, 0.375, 0.625),
        ({"retry-after": "nan"}, 0.375, 0.625),
        ({"retry-after": ""}, 0.375, 0.625),
        ({"retry-after": "Fri, 99 Foo 2026"}, 0.375, 0.625),
    ],
)
def test_the_wait_that_is_asked_for_is_waited(
    server: Scripted,
    headers: dict[str, str],
    low: float,
    high: float,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "UTC-11")
    getattr(time, "tzset", lambda: None)()
    dates = {
        "in 30 s, of no zone": formatdate(time.time() + 30, usegmt=True).removesuffix(" GMT"),
        "in 30 s": formatdate(time.time() + 30, usegmt=True),
        "300 s ago": formatdate(time.time() - 300, usegmt=True),
    }
    server.answers[:] = [(429, {key: dates.get(value, value) for key, value in headers.items()}, b"{}"), GOOD]
    post(server.url, {})
    monkeypatch.undo()
    getattr(time, "tzset", lambda: None)()
    assert len(waits) == 1 and low <= waits[0] <= high


def test_a_wait_of_more_than_a_minute_is_told_and_not_waited(server: Scripted, waits: list[float]) -> None:
    error = failure(server, (429, {"retry-after": "3600"}, b'{"error": {"message": "Slow down"}}'))
    assert "429: Slow down. It asks to wait 3600 s, and 60 s is the most." in str(error)
    assert waits == [] and len(server.seen) == 1 and error.status == 429


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "m"}}', "m."),
        (b'{"error": "m!"}', "m!"),
        (b'[{"error": {"code": 400, "message": "m"}}]', "m."),
        (b'{"detail": "m"}', "m."),
        (b'{"detail": [{"loc": 1}]}', '{"detail": [{"loc": 1}]}.'),
        (b'{"message": "m"}', "m."),
        (b"plain", "plain."),
        (b"", "nothing."),
        (b"\xff\xfe", "\ufffd\ufffd."),
        (b"[]", "[]."),
        (b"x" * 1_000, "x" * 300 + "..."),
        (b"[" * 50_000, "[" * 300 + "..."),
    ],
)
def test_the_provider_s_own_message_is_told_wherever_it_stands(server: Scripted, body: bytes, said: str) -> None:
    assert str(failure(server, (400, {}, body))).endswith(f"answered 400: {said}")


@pytest.mark.parametrize(
    "body", [b"<p>Out of order</p>", b'{"id": "x", "choi', b"[1, 2]", b'"text"', b"", b'{"a": NaN}', b"[" * 50_000]
)
def test_an_answer_that_is_no_json_object_is_one_error(server: Scripted, body: bytes, waits: list[float]) -> None:
    assert "answered 200 and no JSON object: " in str(failure(server, (200, {}, body)))
    assert waits == [], "it was answered, and paid for: nothing to gain from asking again"


def test_a_cut_answer_is_told(server: Scripted) -> None:
    assert "cut its answer short: 7 bytes are missing" in str(failure(server, (200, {"content-length": "9"}, b"{}")))


def test_a_cut_chunk_is_told(server: Scripted) -> None:
    def cut(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{}")

    assert "no whole answer" in str(failure(server, cut))


def test_a_head_that_is_none_is_told(server: Scripted) -> None:
    assert "no whole answer" in str(failure(server, lambda handler: handler.wfile.write(b"Hi there\r\n\r\n")))


def test_an_answer_without_a_length_ends_where_it_ends(server: Scripted) -> None:
    server.answers.append(lambda handler: handler.wfile.write(b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}'))
    assert post(server.url, {}) == {"a": 1}


@pytest.mark.parametrize("kind", ["gzip", "x-gzip", "GZIP", "deflate"])
def test_an_answer_that_is_packed_unasked_is_unpacked(server: Scripted, kind: str) -> None:
    pack = zlib.compress if kind == "deflate" else gzip.compress
    server.answers[:] = [(200, {"content-encoding": kind}, pack(b'{"ok": true}'))]
    assert post(server.url, {}) == {"ok": True}
    error = failure(server, (400, {"content-encoding": kind}, pack(b'{"error": "no such model"}')))
    assert str(error).endswith("answered 400: no such model.") and error.status == 400


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("gzip", b"{}", "answered 503 packed as 'gzip', which cannot be read"),
        ("br", b"\x1b", "answered 503 packed as 'br', which cannot be read. Have it send plain JSON"),
        (
            "gzip",
            gzip.compress(b'{"a": 1}', mtime=0)[:-9],
            "cut its answer short: the end of the packed bytes is missing",
        ),
        ("gzip", gzip.compress(b" " * 200_000, mtime=0), "more than 100,000 bytes"),
    ],
)
def test_a_packed_answer_that_cannot_be_unpacked_is_told(
    server: Scripted, kind: str, body: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_WIRE_BYTES", 100_000)
    assert words in str(failure(server, (503, {"content-encoding": kind}, body), tries=1))


def test_a_message_of_megabytes_is_told_by_its_beginning(server: Scripted) -> None:
    body = json.dumps({"error": {"message": "sk-a " * 1_000_000}}).encode()
    assert len(str(failure(server, (400, {}, body)))) < 400


def test_a_huge_answer_is_not_read_to_its_end(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "MAX_WIRE_BYTES", 100_000)
    assert "more than 100,000 bytes" in str(failure(server, (200, {}, b" " * 200_000)))


def test_a_huge_request_is_not_sent(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "MAX_WIRE_BYTES", 1_000)
    with pytest.raises(promptry.WrongUse, match=r"has 2,00\d bytes; 1,000 are the most"):
        post(server.url, {"q": "x" * 1_992})
    assert server.seen == []


def drip(handler: Any, answer: bytes) -> None:
    """Send an answer byte by byte, so that no single read waits long."""
    for byte in answer:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.01)


def reset(handler: Any) -> None:
    """Break the connection as a server does that dies."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.wfile.close()
    handler.rfile.close()
    handler.connection.close()


def test_a_connection_that_is_reset_is_tried_again(server: Scripted, waits: list[float]) -> None:
    server.answers[:] = [reset, reset, GOOD]
    assert post(server.url, {}) == {"ok": True}
    assert len(waits) == 2


def test_a_port_that_nobody_listens_on_is_tried_again_and_told(waits: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(promptry.ProviderError, match="cannot be reached: Connection refused. Look whether"):
            post(url, {})
    assert len(waits) == 3


@pytest.mark.parametrize(
    "slow",
    [
        lambda handler: time.sleep(0.6),
        lambda handler: [
            (handler.wfile.write(piece), time.sleep(0.02)) for piece in [b"HTTP/1.0 200 OK\r\n\r\n", *[b" "] * 40]
        ],
    ],
    ids=["silent", "dripping"],
)
def test_an_answer_that_is_late_is_told_and_not_asked_for_again(
    server: Scripted, slow: Any, waits: list[float]
) -> None:
    assert "did not answer within 0.1 s" in str(failure(server, slow, timeout_s=0.1))
    assert waits == [] and len(server.seen) == 1


@pytest.mark.parametrize(
    "lead",
    [b"HTTP/1.1 200 OK\r\nx-a: ", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;", b"HTTP/1.1 100 "],
    ids=["head", "chunk", "status"],
)
def test_a_line_that_drips_in_is_not_waited_for_to_its_end(server: Scripted, lead: bytes) -> None:
    sent: list[int] = []
    line = b"x" * 100 + b"\r\n\r\n{}\r\n0\r\n\r\n"

    def answer(handler: Any) -> None:
        handler.wfile.write(lead)
        for place, byte in enumerate(line):
            sent.append(place)
            drip(handler, bytes([byte]))

    assert "did not answer within 0.1 s" in str(failure(server, answer, timeout_s=0.1))
    assert len(sent) < 80, "the rest of the line was still to come"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_never_carries_the_key(server: Scripted, status: int) -> None:
    target = server.url.replace("127.0.0.1", "localhost") + "?key=abc"
    error = failure(server, (status, {"location": target}, b""))
    assert f"answered {status} and points to {target.partition('?')[0]}; redirects are not followed" in str(error)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://[::1", "no address"),
        (f"https://ada:pw@evil.example/{KEY}/x?key=1#y", "https://evil.example/[key removed]/x"),
        ("/login/" + "x" * 5_000, "/login/" + "x" * 293 + "..."),
    ],
)
def test_where_a_redirect_points_is_told_in_bounds_and_without_the_key(
    server: Scripted, target: str, said: str
) -> None:
    error = failure(server, (307, {"location": target}, b""))
    assert f"answered 307 and points to {said}; redirects are not followed" in str(error) and error.status == 307


def test_a_redirect_to_nowhere_is_told(server: Scripted) -> None:
    assert "points to no address" in str(failure(server, (307, {}, b"")))


def test_an_interrupt_goes_through_at_once(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(promptry, "_pause", interrupt)
    server.answers[:] = [(503, {}, b""), GOOD]
    with pytest.raises(KeyboardInterrupt):
        post(server.url, {})
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "is no address"),
        ("ftp://127.0.0.1/x", "is no address"),
        ("127.0.0.1:8000/v1", "is no address"),
        ("http://", "is no address"),
        ("http://[::1", "is no address"),
        ("http://127.0.0.1:99999/", "is no address"),
        ("http://127.0.0.1/a b", "is no address"),
        ("http://127.0.0.1/a\r\nX-Evil: 1", "is no address"),
        ("http://ä.example/", "is no address"),
        ("", "is no address"),
        (None, "is no address"),
        ("http://ada:s3cret@127.0.0.1/", "carries a user or a password"),
    ],
)
def test_only_plain_addresses_are_asked(url: Any, words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words) as caught:
        post(url, {})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", [f"Bearer {KEY}\n", f"Bearer {KEY}\x00", "Bearer schlüssel", None])
def test_a_key_that_no_header_can_carry_is_not_repeated(value: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="The header Authorization cannot be sent as it is") as caught:
        post("http://127.0.0.1:9/", {}, {"Authorization": value})
    assert "sk-test" not in str(caught.value) and "schl" not in str(caught.value)


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": object()}, {"a": {1, 2}}])
def test_a_request_that_is_no_json_is_a_wrong_use(body: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="cannot be written as JSON"):
        post("http://127.0.0.1:9/", body)


@pytest.mark.parametrize("tries", [0, -1])
def test_at_least_one_try_is_needed(tries: int) -> None:
    with pytest.raises(promptry.WrongUse, match=f"tries is {tries}"):
        post("http://127.0.0.1:9/", {}, tries=tries)


def test_the_time_told_is_that_of_the_try_that_was_answered(server: Scripted) -> None:
    server.answers[:] = [lambda handler: (time.sleep(0.3), handler.say(503, {}, b"")), GOOD]
    _, latency_ms = promptry.post_json(server.url, {})
    assert 0 < latency_ms < 300


def test_the_proxy_of_the_environment_is_used(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.rpartition("/v1")[0])
    monkeypatch.setenv("no_proxy", "")
    server.answers.append(GOOD)
    assert post("http://model.invalid/v1", {}) == {"ok": True}
    assert server.seen[0][0]["host"] == "model.invalid"


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(promptry.ProviderError, match="model.invalid:81 cannot be reached"):
        post("http://model.invalid:81/v1", {}, tries=1)


# ------------------------------------------------------------------------------------------------
# TLS
# ------------------------------------------------------------------------------------------------


def test_a_file_of_authorities_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/roots.pem")
    with pytest.raises(promptry.ConfigError, match="SSL_CERT_FILE is /nowhere/roots.pem, and there is no such file"):
        post("https://127.0.0.1:9/", {})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for localhost that no authority has signed; its key is in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    words = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(path)]
    subprocess.run(["openssl", *words, *names], check=True, capture_output=True)
    return path


@pytest.fixture
def secure(server: Scripted, certificate: Path) -> Iterator[Scripted]:
    """Run a server behind TLS with that certificate, in place of the plain one."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Tls(ThreadingHTTPServer):
        def finish_request(self, request: Any, address: Any) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as wrapped:
                self.RequestHandlerClass(wrapped, address, self)

    running = Tls(("127.0.0.1", 0), server.handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield server._replace(url=f"https://localhost:{running.server_port}/v1/chat")
    running.shutdown()
    running.server_close()


def test_a_certificate_that_nobody_vouches_for_gets_no_key_and_is_told(secure: Scripted) -> None:
    secure.answers.append(GOOD)
    error = failure(secure, GOOD)
    assert "cannot be trusted: self" in str(error) and "SSL_CERT_FILE names the file of an authority" in str(error)
    assert secure.seen == []


def test_a_certificate_of_a_named_authority_is_trusted_for_its_own_name_only(
    secure: Scripted, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure.answers.append(GOOD)
    assert post(secure.url, {}, KEYS) == {"ok": True} and len(secure.seen) == 1
    with pytest.raises(promptry.ProviderError, match=r"cannot be trusted: .*127\.0\.0\.1"):
        post(secure.url.replace("localhost", "127.0.0.1"), {}, KEYS)
    assert len(secure.seen) == 1


def test_a_slow_answer_behind_tls_is_bounded_too(
    secure: Scripted, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert "did not answer within 0.2 s" in str(failure(secure, lambda h: drip(h, b"HTTP/1.1 " * 40), timeout_s=0.2))


def test_plain_http_where_tls_is_meant_is_told(server: Scripted) -> None:
    with pytest.raises(promptry.ProviderError, match="cannot be reached|no whole answer"):
        post(server.url.replace("http:", "https:"), {}, KEYS, tries=1)
    assert server.seen == []


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("http://h/v1", "http://h/v1/x/y"),
        ("http://h/v1/ ", "http://h/v1/x/y"),
        ("http://h/v1/x/y", "http://h/v1/x/y"),
        ("http://h/v1/?api-version=2", "http://h/v1/x/y?api-version=2"),
    ],
)
def test_a_path_is_put_before_the_query_of_a_base(base: str, address: str) -> None:
    assert promptry.join_address(base, "/x/y") == address


def test_a_note_is_taken_whatever_is_answered_and_refused_by_its_status(server: Scripted) -> None:
    server.answers[:] = [(200, {}, b"ok"), (204, {}, b""), (404, {}, b"no_service"), (302, {"location": "/x"}, b"")]
    for _ in range(2):
        assert promptry.post_json(server.url, {"text": "a"}, is_note=True)[0] == {}
    for said in ("answered 404: no_service.", "redirects are not followed"):
        with pytest.raises(promptry.ProviderError, match=said):
            promptry.post_json(server.url, {"text": "a"}, is_note=True)
