"""A fake of GitHub on the loopback: the files of releases, and the comments of one pull request.

`releases` holds {repository: {tag: {file: bytes}}}, the newest last; `comments` those of the pull request, the oldest
first. `refusals` are answered in place of the next requests that they fit: (method, status, headers, message).
`after_search` is called once a page of comments was sent, as somebody who does something in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BOT = {"login": "github-actions[bot]", "type": "Bot"}


class FakeGitHub:
    """What the fake holds and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.releases: dict[str, dict[str, dict[str, bytes]]] = {}
        self.comments: list[dict[str, Any]] = []
        self.refusals: list[tuple[str, int, dict[str, str], str]] = []
        self.after_search: Callable[[], None] | None = None
        self.may_write = True
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()

    def add_release(self, repository: str, tag: str, files: dict[str, bytes]) -> None:
        """Release files with their SHA256SUMS."""
        sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
        self.releases.setdefault(repository, {})[tag] = {**files, "SHA256SUMS": sums.encode()}

    def add_comment(self, body: str, user: dict[str, str] = BOT, association: str = "NONE") -> dict[str, Any]:
        """Write a comment, as a bot unless another is named."""
        number = max((row["id"] for row in self.comments), default=0) + 1
        self.comments.append({"id": number, "body": body, "user": user, "author_association": association})
        return self.comments[-1]

    def asked(self, method: str) -> list[str]:
        """Return the paths that were asked for by a method."""
        return [path for name, path in self.requests if name == method]


@contextlib.contextmanager
def serve_github() -> Iterator[FakeGitHub]:
    """Run the fake within a block."""
    fake = FakeGitHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeGitHub

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        fake, path = self.fake, urlsplit(self.path).path
        fake.requests.append((self.command, self.path))
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"null")
        for place, (method, status, headers, message) in enumerate(fake.refusals):
            if method == self.command:
                fake.refusals.pop(place)
                return self.say(status, {"message": message}, headers)
        if path.startswith("/api/v3/"):
            return self.answer_api(path.removeprefix("/api/v3"), body)
        return self.send_file(path)

    do_POST = do_PATCH = do_GET

    def say(self, status: int, found: Any, headers: dict[str, str] | None = None) -> None:
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def send_file(self, path: str) -> None:
        """Send a file of a release; that of the newest is found where GitHub points to."""
        found = re.fullmatch(r"/([^/]+/[^/]+)/releases/(download/([^/]+)|latest/download)/([^/]+)", path)
        tags = self.fake.releases.get(found[1], {}) if found else {}
        if found and not found[3] and tags:
            newest = f"/{found[1]}/releases/download/{[*tags][-1]}/{found[4]}"
            return self.say(302, b"", {"Location": f"{self.fake.url}{newest}"})
        data = tags.get(found[3], {}).get(found[4]) if found else None
        return self.say(404, b"Not Found") if data is None else self.say(200, data)

    def answer_api(self, path: str, body: Any) -> None:
        fake = self.fake
        fake.tokens.add(self.headers.get("Authorization", ""))
        page = re.fullmatch(r"/repos/acme/app/issues/7/comments", path)
        one = re.fullmatch(r"/repos/acme/app/issues/comments/(\d+)", path)
        if self.command == "GET" and page:
            return self.send_page()
        if not fake.may_write:
            return self.say(403, {"message": "Resource not accessible by integration"})
        if self.command == "POST" and page:
            return self.say(201, fake.add_comment(body["body"]))
        found = [row for row in fake.comments if one and row["id"] == int(one[1])]
        if self.command == "PATCH" and found:
            found[0]["body"] = body["body"]
            return self.say(200, found[0])
        return self.say(404, {"message": "Not Found"})

    def send_page(self) -> None:
        """Send a page of comments, with the link to the next as GitHub writes it: by the number of the repository."""
        fake, query = self.fake, parse_qs(urlsplit(self.path).query)
        size, number = min(100, int(query.get("per_page", ["30"])[0])), int(query.get("page", ["1"])[0])
        rows, headers = fake.comments[size * (number - 1) : size * number], {}
        if len(fake.comments) > size * number:
            address = f"{fake.url}/api/v3/repositories/42/issues/7/comments?per_page={size}&page="
            headers["Link"] = (
                f'<{address}{number + 1}>; rel="next", <{address}{len(fake.comments) // size + 1}>; rel="last"'
            )
        self.say(200, rows, headers)
        if fake.after_search is not None and "Link" not in headers:
            then, fake.after_search = fake.after_search, None
            then()
