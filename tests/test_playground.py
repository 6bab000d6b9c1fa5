"""PLAYGROUND: what models answer is streamed by a real server, recorded, and ended with the page that asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_llm import FakeServer, serve_fake

import promptry

pytestmark = pytest.mark.slow
MODULE = Path(promptry.__file__)
DRIP = "openai:gpt-4.1-mini!drip"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with serve_fake() as server:
        yield server


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, fake: FakeServer) -> Iterator[str]:
    """Serve a store with one prompt at a free port."""
    tmp_path = tmp_path_factory.mktemp("served")
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_api_key"))}
    env = {**clean, "PROMPTRY_DB": str(tmp_path / "store.db"), "HOME": str(tmp_path)}
    env |= {"OPENAI_BASE_URL": f"{fake.url}/v1", "OPENAI_API_KEY": "sk-test-0123456789abcdefSECRET"}
    saved = [sys.executable, str(MODULE), "prompt", "save", "mail/hello"]
    subprocess.run(saved, input=b"Hello $name", env=env, cwd=tmp_path, check=True, capture_output=True)
    command = [sys.executable, str(MODULE), "dashboard", "--port", "0", "--no-open"]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        found = re.search(r"http://([\d.:]+)/", process.stderr.readline() if process.stderr else "")
        assert found is not None
        yield found[1]
        process.terminate()
        assert process.wait(10) == 0


def post(address: str, path: str, body: Any) -> tuple[int, http.client.HTTPResponse, http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply, connection


def ask(address: str, path: str, body: Any = None) -> tuple[int, Any]:
    if body is None:
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    status, reply, _ = post(address, path, body)
    return status, json.loads(reply.read())


def lines_of(reply: http.client.HTTPResponse) -> list[dict[str, Any]]:
    return [json.loads(line) for line in reply.read().splitlines()]


def test_an_answer_comes_bit_by_bit_and_stands_in_the_ledger(address: str) -> None:
    asked = {"model": DRIP, "name": "mail/hello", "variables": {"name": "Ada"}}
    status, reply, _ = post(address, "/api/playground", asked)
    assert status == 200 and reply.getheader("Content-Type", "").startswith("application/x-ndjson")
    began, seen = time.monotonic(), []
    while line := reply.readline():
        seen.append((json.loads(line), time.monotonic() - began))
    assert [event.get("text") for event, _ in seen] == ["Hello", ", ", "world", "!", None]
    assert seen[-1][1] - seen[0][1] > 0.1  # the fake waits between its words, and the page saw them come
    call = seen[-1][0]["reply"]["call"]
    assert (call["input_text"], call["output_text"]) == ('[{"role": "user", "content": "Hello Ada"}]', "Hello, world!")
    found = ask(address, f"/api/call/{call['id']}")[1]
    assert found["metadata"]["origin"] == "playground" and found["metadata"]["ttft_ms"] > 0
    assert found["prompt_version"] == 1 and found["metadata"]["cost_usd"] > 0


def test_who_closes_the_page_ends_the_call(address: str) -> None:
    asked = {"model": "openai:gpt-4.1-mini!drip-many0.1", "name": "left", "content": "Hello"}
    _, reply, connection = post(address, "/api/playground", asked)
    assert reply.readline()
    reply.close()
    connection.close()
    until = time.monotonic() + 10
    while not (calls := ask(address, "/api/calls?prompt=left")[1].get("items")) and time.monotonic() < until:
        time.sleep(0.05)
    assert calls and calls[0]["status"] == "error"
    assert "nobody listens" in ask(address, f"/api/call/{calls[0]['id']}")[1]["metadata"]["error"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"content": "x"}, 400, "model is missing"),
        ({"model": "openai:gpt-4.1-mini"}, 400, "There is nothing to fill in"),
        ({"model": "openai:gpt-4.1-mini", "name": "no/such"}, 404, "There is no prompt 'no/such'"),
        ({"model": "exec: touch here", "content": "x"}, 400, "no model of an API"),
        ({"model": "python:os:getcwd", "content": "x"}, 400, "no model of an API"),
        ({"model": "anthropic:claude-sonnet-4-5", "content": "x"}, 400, "ANTHROPIC_API_KEY is not set"),
        ({"model": "openai:gpt-4.1-mini", "content": "x", "variables": [1]}, 400, "it takes an object"),
        ({"model": "openai:gpt-4.1-mini", "content": "x", "modle": 1}, 400, "Did you mean 'model'"),
        ({"model": "openai:gpt-4.1-mini!429", "content": "x"}, 502, "answered 429"),
        ({"model": "openai:gpt-4.1-mini", "content": "x", "parameters": {"model": "other"}}, 400, "hold model, which"),
        (
            {"model": "openai:m", "content": "x", "parameters": {"messages": [], "stream": False}},
            400,
            "messages, stream",
        ),
    ],
)
def test_what_is_wrong_before_a_word_is_an_error_of_its_own(body: Any, status: int, words: str, address: str) -> None:
    found = ask(address, "/api/playground", body)
    assert found[0] == status and words in found[1]["error"]["message"] + found[1]["error"]["hint"]
    assert "SECRET" not in json.dumps(found)


def test_what_goes_wrong_on_the_way_is_the_last_line(address: str) -> None:
    _, reply, _ = post(address, "/api/playground", {"model": "openai:gpt-4.1-mini!broken", "content": "x"})
    *said, last = lines_of(reply)
    assert said and all("text" in line for line in said)
    assert "Overloaded" in last["error"]["message"] and last["error"]["code"]


def test_many_streams_leave_threads_for_other_requests(address: str) -> None:
    asked = {"model": "openai:gpt-4.1-mini!drip0.4", "content": "Hello"}
    ended: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: ended.append(lines_of(post(address, "/api/playground", asked)[1])[-1]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.8)
    status, told = ask(address, "/api/playground", asked)
    assert (status, told["error"]["code"]) == (503, "busy") and ask(address, "/api/health")[0] == 200
    for thread in threads:
        thread.join(30)
    assert [last["reply"]["text"] for last in ended] == ["Hello, world!"] * 8
    status, reply, _ = post(address, "/api/playground", {"model": DRIP, "content": "Hello again"})
    assert status == 200 and lines_of(reply)[-1]["reply"]["text"] == "Hello, world!"


def test_a_draft_is_rendered_and_models_are_told(address: str) -> None:
    asked = {"name": "mail/hello", "content": "Dear $name and $other", "variables": {"name": "Ada"}}
    assert ask(address, "/api/render", asked)[1] == {
        "name": "mail/hello", "version": None, "text": "Dear Ada and $other", "placeholders": ["name", "other"],
        "missing": ["other"],
    }  # fmt: skip
    rows = {row["model"]: row for row in ask(address, "/api/models")[1]["items"]}
    assert rows["openai:gpt-4.1-mini"]["ready"] and not rows["anthropic:claude-sonnet-4-5"]["ready"]
