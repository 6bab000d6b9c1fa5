"""SITE: the page's files are served by their exact names, and nothing else is."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, serve

import promptry

PAGE = b'<!doctype html><meta name="csp-nonce" content="__CSP_NONCE__"><script src="/assets/index-a1b2.js"></script>'
FILES = {
    "site/index.html": PAGE,
    "site/favicon.svg": b"<svg/>",
    "site/assets/index-a1b2.js": b"console.log(1);" * 100,
    "site/assets/index-a1b2.css": b"a{}",
    "sql/list_runs.sql": b"SELECT 1",
}


@pytest.fixture
def page(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A dashboard with a small page."""
    forget()
    monkeypatch.setattr(promptry, "asset", FILES.__getitem__)
    monkeypatch.setattr(promptry, "asset_names", lambda folder: sorted(n for n in FILES if n.startswith(f"{folder}/")))
    with serve(store) as served:
        yield served
    forget()


def forget() -> None:
    for function in (promptry.site_files, promptry._mark_of, promptry._packed_file):
        function.cache_clear()


def test_the_page_has_a_nonce_of_its_own_each_time(page: Served) -> None:
    seen = set()
    for path in ("/", "/index.html", "/"):
        answer = page.get(path)
        assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        nonce = answer.body.split(b'content="')[1].split(b'"')[0].decode()
        assert f"style-src 'self' 'nonce-{nonce}';" in answer.headers["Content-Security-Policy"]
        assert len(nonce) == 32
        seen.add(nonce)
    assert len(seen) == 3


def test_files_named_by_what_they_hold_are_kept_for_ever(page: Served) -> None:
    answer = page.get("/assets/index-a1b2.js")
    assert answer.body == FILES["site/assets/index-a1b2.js"]
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert page.get("/assets/index-a1b2.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert page.get("/favicon.svg").headers["Cache-Control"] == "no-cache"
    assert page.get("/favicon.svg", If_None_Match=page.get("/favicon.svg").headers["ETag"]).status == 304


def test_a_file_comes_packed_to_who_takes_that(page: Served) -> None:
    answer = page.get("/assets/index-a1b2.js", Accept_Encoding="gzip, br")
    assert answer.headers["Content-Encoding"] == "gzip" and answer.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(answer.body) == FILES["site/assets/index-a1b2.js"]
    assert len(answer.body) == int(answer.headers["Content-Length"]) < 200
    assert page.get("/assets/index-a1b2.css", Accept_Encoding="gzip").headers["Content-Encoding"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/../promptry.py",
        "/assets/../../promptry.py",
        "/%2e%2e/promptry.py",
        "/assets/%2e%2e/%2e%2e/sql/list_runs.sql",
        "/assets/..%2f..%2fsql/list_runs.sql",
        "/..%5c..%5cpromptry.py",
        "/%252e%252e/promptry.py",
        "/sql/list_runs.sql",
        "/site/index.html",
        "//etc/passwd",
        "/etc/passwd",
        "/assets/",
        "/assets",
        "/assets/index-a1b2.js/",
        "/assets/index-a1b2.js%00.html",
        "/assets//index-a1b2.js",
        "/./assets/index-a1b2.js",
        "/ASSETS/index-a1b2.js",
        "/index.htm",
        "/.git/config",
        "/%ff%fe",
    ],
)
def test_no_other_path_leads_to_a_file(path: str, page: Served) -> None:
    for asked in (path, f"/{'../' * 30}{path.lstrip('/')}"):
        answer = page.ask("GET", asked)
        assert answer.status == 404 and answer.headers["Content-Type"] == "text/plain; charset=utf-8", asked
        assert answer.body == b"There is nothing here; the page is at /.\n"


@pytest.mark.slow
def test_a_whole_address_in_the_request_leads_nowhere_else(page: Served) -> None:
    line = f"GET http://evil.example/api/overview HTTP/1.1\r\nHost: evil.example:{page.port}\r\n\r\n"
    assert b" 403 " in page.raw(line.encode()).split(b"\r\n")[0]


def test_the_bare_source_says_how_to_get_the_page(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setattr(promptry, "asset_names", lambda folder: [])
    with serve(store) as served:
        answer = served.get("/")
        assert answer.status == 404 and answer.body.startswith(b"This copy of promptry carries no page")
        assert b"build.py web" in answer.body and served.get("/api/overview").status == 200
    forget()


SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/assets/index-a1b2.js",
        "/api",
        "/api/overview",
        "/api/nope",
        "/api/run/x",
        "/api/export/calls?format=csv",
    ],
)
def test_every_reply_has_the_headers_that_keep_a_browser_safe(path: str, page: Served) -> None:
    for method in ("GET", "POST", "HEAD"):
        answer = page.ask(method, path, b"" if method == "POST" else None)
        for name, value in SAFE.items():
            assert answer.headers.get_all(name) == [value]
        (policy,) = answer.headers.get_all("Content-Security-Policy")
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy
        assert answer.headers.get_all("Server") in (None, []) and len(answer.headers.get_all("Cache-Control")) == 1
        if path.startswith("/api"):
            assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.slow
def test_no_header_of_a_reply_can_be_made_by_a_request(page: Served) -> None:
    for path in (
        "/api/run/1%0d%0aX-Evil:%201",
        "/api/nope%0d%0aX-Evil:%201",
        "/%0d%0aX-Evil:%201",
        "/api/export/calls?format=csv%0d%0aX-Evil:%201",
    ):
        answer = page.get(path)
        assert answer.headers["X-Evil"] is None
    for data in (
        b"GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-A: b\r\n c\r\nX-B\r\n\r\n" % page.port,
        b"GET /api/overview\x00 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % page.port,
        b"GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nHost: evil.example\r\n\r\n" % page.port,
        b"POST /api/lint HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        % page.port,
        b"POST /api/lint HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: -5\r\n\r\n" % page.port,
    ):
        assert not page.raw(data).startswith(b"HTTP/1.1 200"), data


def test_the_files_of_this_copy_are_served_as_they_are(store: Path) -> None:
    forget()
    if not promptry.asset_names("site"):
        pytest.skip("this copy carries no page")
    with serve(store) as served:
        for name in promptry.asset_names("site"):
            path = name.removeprefix("site")
            answer = served.get(path)
            assert answer.status == 200, path
            assert path == "/index.html" or answer.body == promptry.asset(name)
            assert "octet-stream" not in answer.headers["Content-Type"], f"{os.path.splitext(path)[1]} has no type"
    forget()
