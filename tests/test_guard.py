"""GUARD: a foreign name, a page of another site, a body that is no JSON and a guessed token get nowhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Served, serve

import promptry
from promptry import Refusal, WrongUse, make_door

JSON = {"Content-Type": "application/json"}


# --------------------------------------------------------------------------------------
# The name that is asked for
# --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/api", "/api/overview", "/api/nope", "/assets/x.js", "/nope"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "evil.example@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil.example",
        "127.0.0.1:{port}, evil.example",
        "127.0.0.1:{port}:evil",
        "[::1]:{port}:1",
        "localhost.:{port}",
        "2130706433:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "[::2]:{port}",
        "0.0.0.0:{port}",
        "127.1:{port}",
        "",
    ],
)
def test_nothing_is_served_under_a_name_that_is_not_ours(path: str, host: str, dashboard: Served) -> None:
    answer = dashboard.get(path, Host=host.format(port=dashboard.port))
    assert answer.status == 403 and answer.error["code"] == "host"
    assert "promptry" not in answer.error["message"]


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_the_names_of_this_machine_are_ours(host: str, dashboard: Served) -> None:
    assert dashboard.get("/api/overview", Host=host.format(port=dashboard.port)).status == 200


def test_a_request_without_a_host_is_refused(dashboard: Served) -> None:
    assert b" 403 " in dashboard.raw(b"GET /api/overview HTTP/1.0\r\n\r\n").split(b"\r\n")[0]


def test_further_names_come_from_the_settings(store: Path) -> None:
    with serve(store, more=("promptry.lan", "other.lan:99")) as served:
        for host, status in {
            "promptry.lan": 200,
            "promptry.lan:443": 200,
            "other.lan:99": 200,
            "other.lan": 403,
            "x.promptry.lan": 403,
        }.items():
            assert served.get("/api/overview", Host=host).status == status, host


def test_a_server_on_all_addresses_answers_to_numbers_and_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("PROMPTRY_TOKEN", "t")
    door = make_door("0.0.0.0", 8420)
    for host in ("10.1.2.3:8420", "[fe80::1]:8420", "10.1.2.3:9000", f"{socket.gethostname()}:8420", "localhost:8420"):
        promptry.check_host(door, host)
    for host in ("evil.example:8420", "10.1.2.3.evil.example:8420", "", None):
        with pytest.raises(Refusal):
            promptry.check_host(door, host)


def test_port_80_needs_no_port_in_the_name() -> None:
    promptry.check_host(make_door("127.0.0.1", 80), "localhost")


# --------------------------------------------------------------------------------------
# Where a request comes from
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "file://"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_a_page_of_another_site_reads_and_writes_nothing(headers: dict[str, str], dashboard: Served) -> None:
    given = {name: value.format(port=dashboard.port) for name, value in headers.items()}
    answer = dashboard.ask("POST", "/api/votes", b'{"name": "p", "response": "r", "score": 1}', {**JSON, **given})
    assert answer.status == 403 and answer.error["code"] == "origin"
    assert dashboard.ask("GET", "/api/overview", headers=given).status == 403
    assert promptry.list_votes()["total"] == 0


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1:{port}"}, {"Sec-Fetch-Site": "same-origin"}])
def test_our_own_page_and_programs_write(headers: dict[str, str], dashboard: Served) -> None:
    given = {name: value.format(port=dashboard.port) for name, value in headers.items()}
    body = b'{"name": "p", "response": "r", "score": 1}'
    assert dashboard.ask("POST", "/api/votes", body, {**JSON, **given}).status == 200


def test_a_link_from_elsewhere_opens_the_page(dashboard: Served) -> None:
    assert dashboard.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status != 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
def test_only_json_is_taken(kind: str | None, dashboard: Served) -> None:
    body = b'{"name": "p", "response": "r", "score": 1}'
    answer = dashboard.ask("POST", "/api/votes", body, {} if kind is None else {"Content-Type": kind})
    assert answer.status == 415 and answer.error["hint"] == "Send Content-Type: application/json."
    assert promptry.list_votes()["total"] == 0


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", 'application/json;charset="UTF-8"']
)
def test_json_is_taken_as_it_is_named(kind: str, dashboard: Served) -> None:
    body = b'{"name": "p", "response": "r", "score": 1}'
    assert dashboard.ask("POST", "/api/votes", body, {"Content-Type": kind}).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The body is no JSON"),
        (b"\xff", "The body is no JSON"),
        (b'{"score": NaN}', "The body is no JSON: NaN is no value of JSON."),
        (b'{"name": "a", "metadata": {"k": 1e999}}', "The body is no JSON: 1e999 is larger than a number can be."),
        (b"[" * 200_000, "What is given is nested too deeply to be read."),
        (b'{"score": ' + b"9" * 10_000 + b"}", "The body is no JSON"),
        (b"", "name is missing."),
        (b'"x"', "The body is no JSON object."),
        (
            b'{"name": "a", "name": "b", "response": "r", "score": 1}',
            "The body is no JSON: an object has the key 'name'",
        ),
        (
            b'{"name": "a", "metadata": {"k": [{"\\n": 1, "\\n": 2}]}}',
            "The body is no JSON: an object has the key '\\n'",
        ),
        (b'\xef\xbb\xbf{"name": "a"}', "The body is no JSON"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_one_sentence(body: bytes, message: str, dashboard: Served) -> None:
    answer = dashboard.ask("POST", "/api/votes", body, JSON)
    assert answer.status == 400 and answer.error["message"].startswith(message)
    assert b"Traceback" not in answer.body and len(answer.body) < 500


# --------------------------------------------------------------------------------------
# Tokens
# --------------------------------------------------------------------------------------


@pytest.fixture
def closed(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A dashboard with a token, and another for what comes in."""
    monkeypatch.setenv("PROMPTRY_TOKEN", "right")
    monkeypatch.setenv("PROMPTRY_INGEST_TOKEN", "incoming")
    promptry.connect()
    with serve(store) as served:
        yield served


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_no_other_host_without_a_token(run_cli: Callable[..., object]) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "some.name"):
        with pytest.raises(WrongUse, match="can be reached by other machines, and no token is set"):
            promptry.require_token(host)
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        promptry.require_token(host)


def test_with_a_token_all_of_the_api_needs_it(closed: Served) -> None:
    for row in closed.get("/api", **bearer("right")).json["items"]:
        path = row["path"].replace("<id>", "1")
        if path in {"/api/health", "/api/login", "/api/logout"}:
            continue
        answer = closed.get(path) if row["method"] == "GET" else closed.post(path, {})
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == 'Bearer realm="promptry"', path
    assert closed.get("/api/nope").status == 401
    assert closed.get("/").status != 401 and closed.get("/nope").status == 404, "the page itself holds nothing secret"


def test_the_right_token_opens_and_another_does_not(closed: Served) -> None:
    assert closed.get("/api/overview", **bearer("right")).status == 200
    for token in ("wrong", "righ", "right2", "Right", "", "rïght"):
        assert closed.ask("GET", "/api/overview", headers=bearer(token.encode().decode("latin-1"))).status == 401
    assert closed.get("/api/overview", Authorization="Basic right").status == 401
    assert closed.get("/api/overview?token=right").status == 401


def test_health_tells_little_without_the_token(closed: Served) -> None:
    assert closed.get("/api/health").json == {"status": "ok"}
    assert set(closed.get("/api/health", **bearer("right")).json) == {"status", "version", "store", "since"}
    assert closed.get("/api/health", **bearer("wrong")).status == 401


def test_the_token_for_what_comes_in_does_nothing_else(closed: Served) -> None:
    told = {"Authorization": "Bearer incoming"}
    assert closed.post("/api/feedback", {"request_id": "r", "rating": 1}, **told).status == 200
    assert closed.post("/api/votes", {"name": "p", "response": "r", "score": 1}, **told).status == 200
    for path in ("/api/prompts", "/api/promote", "/api/budgets", "/api/query", "/api/runs", "/api/feedback/"):
        assert closed.post(path, {}, **told).status == 403, path
    for path in ("/api/feedback", "/api/overview", "/api/votes", "/api", "/api/openapi.json"):
        assert closed.get(path, **told).status == 403, path


def test_a_browser_logs_in_and_out(closed: Served) -> None:
    answer = closed.post("/api/login", {"token": "right"})
    assert answer.status == 200
    cookie, *facts = answer.headers["Set-Cookie"].split("; ")
    assert facts == ["Path=/", "HttpOnly", "SameSite=Strict"] and "right" not in cookie
    assert closed.get("/api/overview", Cookie=f"a=b; {cookie}").status == 200
    assert closed.get("/api/health", Cookie=cookie).json["version"]
    assert closed.get("/api/overview", Cookie=f"{cookie}x").status == 401
    assert closed.get("/api/overview", Cookie=cookie.partition("=")[0] + "=").status == 401
    assert "Max-Age=0" in closed.post("/api/logout", {}).headers["Set-Cookie"]


def test_a_page_of_another_site_cannot_use_the_cookie(closed: Served) -> None:
    cookie = closed.post("/api/login", {"token": "right"}).headers["Set-Cookie"].split(";")[0]
    told = {"Cookie": cookie, "Origin": "https://evil.example"}
    assert closed.post("/api/votes", {"name": "p", "response": "r", "score": 1}, **told).status == 403


@pytest.mark.parametrize("path", ["/api/overview", "/api/login"])
def test_guessing_is_slowed_down_whatever_a_header_says(path: str, closed: Served) -> None:
    def guess(number: int, token: str = "wrong") -> int:
        told = {"X-Forwarded-For": f"10.0.0.{number}", "X-Real-IP": f"10.0.1.{number}", "Forwarded": f"for={number}"}
        if path == "/api/login":
            return closed.post(path, {"token": token}, **told).status
        return closed.get(path, **told, **bearer(token)).status

    statuses = [guess(number) for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert guess(13, "right") == 429, "else guessing would go on"
    answer = closed.get("/api/overview", **bearer("wrong"))
    assert 0 < int(answer.headers["Retry-After"]) <= 60 and answer.error["code"] == "throttled"


def test_who_waits_may_try_again(closed: Served, clock: Callable[[float], None]) -> None:
    for _ in range(10):
        closed.get("/api/overview", **bearer("wrong"))
    assert closed.get("/api/overview", **bearer("right")).status == 429
    clock(61)
    assert closed.get("/api/overview", **bearer("right")).status == 200


def test_a_page_without_a_token_is_no_guess(closed: Served) -> None:
    for _ in range(30):
        assert closed.get("/api/overview").status == 401
        assert closed.get("/api/overview", Cookie="promptry=x").status == 401
    assert closed.get("/api/overview", **bearer("right")).status == 200


def test_what_is_remembered_of_guesses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTRY_TOKEN", "right")
    monkeypatch.setattr(promptry, "_MOST_PEERS", 100)
    door = make_door("127.0.0.1", 1)
    for number in range(1000):
        for _ in range(20):
            promptry.note_guess(door, {"REMOTE_ADDR": f"10.0.{number // 256}.{number % 256}"})
    assert len(door.guesses) <= 100 and all(len(guesses) <= 10 for guesses in door.guesses.values())


def test_the_addresses_of_one_network_are_one_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTRY_TOKEN", "right")
    door = make_door("127.0.0.1", 1)
    for number in range(10):
        promptry.note_guess(door, {"REMOTE_ADDR": f"2001:db8:1:2:{number}::1"})
    with pytest.raises(Refusal):
        promptry.check_guesses(door, {"REMOTE_ADDR": "2001:db8:1:2:ffff::9"})
    promptry.check_guesses(door, {"REMOTE_ADDR": "2001:db8:1:3::9"})


@pytest.mark.parametrize(
    ("of_one", "other"),
    [
        (["2001:db8::{n}", "2001:db8::{n}:1", "2001:db8:0:0:{n}::1"], "2001:db8:1::1"),
        (["fe80::{n}", "fe80::{n}:1%eth0"], "fe80:0:0:1::1"),
        (["127.0.0.{n}", "127.{n}.0.1", "::1", "::ffff:127.0.0.{n}"], "10.0.0.1"),
        (["::ffff:10.0.0.9", "10.0.0.9"], "10.0.0.8"),
    ],
)
def test_an_address_that_is_written_short_or_is_another_of_this_machine_is_no_other_peer(
    of_one: list[str], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTRY_TOKEN", "right")
    door = make_door("::", 1)
    for number in range(10):
        promptry.note_guess(door, {"REMOTE_ADDR": of_one[number % len(of_one)].format(n=number)})
    for address in of_one:
        with pytest.raises(Refusal):
            promptry.check_guesses(door, {"REMOTE_ADDR": address.format(n=99)})
    promptry.check_guesses(door, {"REMOTE_ADDR": other})


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one function that compares them is hmac's."""
    import hmac

    seen: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, two: seen.append((one, two)) or real(one, two))
    monkeypatch.setenv("PROMPTRY_TOKEN", "right")
    door = make_door("127.0.0.1", 1)
    with pytest.raises(Refusal):
        promptry.check_token(door, {"PATH_INFO": "/api", "HTTP_AUTHORIZATION": "Bearer wrong", "REMOTE_ADDR": "a"})
    assert (b"wrong", b"right") in seen


def test_the_time_of_a_comparison_does_not_tell_where_tokens_differ() -> None:
    secret = "s" * 2000

    def seconds(guess: str) -> float:
        start = time.perf_counter()
        for _ in range(200):
            promptry._equal(guess, secret)
        return time.perf_counter() - start

    early, late = "x" + secret[1:], secret[:-1] + "x"
    rounds = [(seconds(early), seconds(late)) for _ in range(15)]
    ratio = statistics.median(first / second for first, second in rounds)
    assert 0.5 < ratio < 2


def test_no_secret_is_ever_told(closed: Served) -> None:
    for row in closed.get("/api", **bearer("right")).json["items"]:
        if row["method"] == "GET" and not any(parameter["required"] for parameter in row["parameters"]):
            body = closed.get(row["path"], **bearer("right")).body
            assert b"incoming" not in body and b'"right"' not in body
