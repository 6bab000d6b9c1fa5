"""POSTS: what is written over HTTP is what the command would have written, with the same refusals."""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from typing import Any

import pytest
from served import Served

import promptry

TEXT = 'Answer $question in {"json": true}.'


def test_a_prompt_is_saved_linted_promoted_and_rolled_back(dashboard: Served) -> None:
    first = dashboard.post("/api/prompts", {"name": "support/answer", "content": TEXT, "metadata": {"by": "ä"}})
    assert first.json == {"name": "support/answer", "version": 1, "is_new": True, "lint": []}
    dashboard.post("/api/promote", {"name": "support/answer", "version": 1, "tag": "prod"})
    second = dashboard.post("/api/prompts", {"name": "support/answer", "content": "Answer.", "tag": "dev"}).json
    assert second["version"] == 2 and second["is_new"] and "question" in second["lint"][0]["message"]
    assert dashboard.post("/api/prompts", {"name": "support/answer", "content": TEXT}).json["is_new"] is False
    moved = dashboard.post("/api/promote", {"name": "support/answer", "version": 2, "tag": "prod"}).json
    assert moved == {"name": "support/answer", "version": 2, "tag": "prod", "before": 1}
    assert promptry.render_prompt("support/answer", "default", env="prod") == "Answer."
    back = dashboard.post("/api/promote", {"name": "support/answer", "version": 1, "tag": "prod"}).json
    assert back["before"] == 2
    gone = dashboard.post("/api/untag", {"name": "support/answer", "tag": "dev"}).json
    assert gone == {"name": "support/answer", "version": 2, "tag": "dev"}
    shown = dashboard.get("/api/prompt?name=support/answer&version=1").json
    assert [row["tags"] for row in shown["versions"]] == [[], ["prod"]] and shown["metadata"]["by"] == "ä"


def test_a_running_process_serves_what_the_page_saved(dashboard: Served, start_python: Any, store: Any) -> None:
    code = """
    import promptry, sys
    for line in sys.stdin:
        print(promptry.render_prompt("p", "default", ttl=0.0), flush=True)
    """
    child = start_python(code, PROMPTRY_DB=str(store))

    def served() -> str:
        child.stdin.write("\n")
        child.stdin.flush()
        return child.stdout.readline().strip()  # type: ignore[no-any-return]

    assert served() == "default"
    dashboard.post("/api/prompts", {"name": "p", "content": "One."})
    assert served() == "One."
    dashboard.post("/api/prompts", {"name": "p", "content": "Two."})
    assert served() == "Two."


def test_a_text_is_looked_over_and_nothing_is_saved(dashboard: Served) -> None:
    answer = dashboard.post("/api/lint", {"name": "p", "content": TEXT, "variables": ["quest"]}).json
    assert answer["placeholders"] == ["question"] and answer["total"] == len(answer["items"]) == 1
    assert answer["items"][0].keys() == {"level", "line", "message"} and answer["items"][0]["level"] == "error"
    assert dashboard.get("/api/prompts").json["total"] == 0
    assert dashboard.post("/api/lint", {"name": "p", "content": "a", "variables": [1]}).status == 400


def test_a_text_or_a_version_is_rendered(dashboard: Served) -> None:
    promptry.save_prompt("p", TEXT)
    promptry.save_prompt("p", "Second, $$5 for $who.")
    rendered = dashboard.post("/api/render", {"name": "p", "version": 1, "variables": {"question": "<b>why</b>"}}).json
    assert rendered["text"] == 'Answer <b>why</b> in {"json": true}.'
    assert (rendered["placeholders"], rendered["missing"]) == (["question"], [])
    assert dashboard.post("/api/render", {"name": "p"}).json["missing"] == ["who"]
    assert dashboard.post("/api/render", {"content": "$a $b", "variables": {"a": 1}}).json["text"] == "1 $b"
    assert dashboard.post("/api/render", {}).status == 400
    assert dashboard.post("/api/render", {"name": "none"}).status == 404
    deep = dashboard.post("/api/render", {"content": "$a$a" * 1000, "variables": {"a": "$a$a"}})
    assert len(deep.json["text"]) == 8000, "what is put in is not filled again"


def test_budgets_are_set_changed_and_taken_away(dashboard: Served) -> None:
    set_once = dashboard.post(
        "/api/budgets", {"scope": "module", "target": "support", "period": "daily", "limit_usd": 5}
    )
    assert set_once.json == dashboard.get("/api/budgets").json["items"][0]
    again = dashboard.post(
        "/api/budgets", {"scope": "module", "target": "support", "period": "daily", "limit_usd": 0.5}
    )
    assert again.json["limit_usd"] == 0.5 and dashboard.get("/api/budgets").json["total"] == 1
    assert dashboard.post("/api/budgets", {"scope": "global", "limit_usd": 1}).json["period"] == "monthly"
    gone = dashboard.post("/api/budgets/remove", {"scope": "module", "target": "support", "period": "daily"})
    assert gone.json == {"scope": "module", "target": "support", "period": "daily"}
    assert dashboard.post("/api/budgets/remove", {"scope": "module", "target": "support"}).status == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"scope": "banana", "limit_usd": 1}, "The scope is 'banana'; it takes global, module or prompt."),
        ({"scope": "global", "limit_usd": -1}, "The limit is -1; it takes US dollars, more than 0."),
        ({"scope": "global", "limit_usd": 1, "period": "yearly"}, "The period is 'yearly'; it takes daily or monthly."),
        ({"scope": "global"}, "limit_usd is missing."),
        ({"scope": "global", "limit_usd": "1"}, "The field limit_usd is '1'; it takes a number."),
        ({"scope": "global", "limit": 1}, "There is no field 'limit' here."),
    ],
)
def test_budgets_that_cannot_be_meant_are_refused(body: dict[str, Any], message: str, dashboard: Served) -> None:
    answer = dashboard.post("/api/budgets", body)
    assert answer.status == 400 and answer.error["message"] == message
    assert dashboard.get("/api/budgets").json["total"] == 0


def test_feedback_finds_its_call_before_and_after(dashboard: Served) -> None:
    early = dashboard.post("/api/feedback", {"request_id": "r1", "rating": 1, "source": "user"})
    assert early.json == {"id": "1", "request_id": "r1"}
    key = promptry.track_invocation("p", request_id="r1")
    late = dashboard.post("/api/feedback", {"request_id": "r1", "comment": "meh", "source": "other"})
    assert late.status == 200
    call = dashboard.get(f"/api/call/{key}").json
    assert {(row["source"], row["rating"], row["comment"]) for row in call["feedback"]} == {
        ("user", 1.0, None),
        ("other", None, "meh"),
    }
    for body in (
        {"request_id": "r"},
        {"request_id": "r", "rating": 99},
        {"rating": 1},
        {"request_id": "", "rating": 1},
    ):
        assert dashboard.post("/api/feedback", body).status == 400


def test_votes_are_counted(dashboard: Served) -> None:
    assert dashboard.post("/api/votes", {"name": "p", "response": "r", "score": -1, "message": "why"}).status == 200
    (row,) = dashboard.get("/api/votes?score=-1").json["items"]
    assert (row["prompt_name"], row["message"]) == ("p", "why")
    for score in (0, 2, 1.0, True, "1", None):
        assert dashboard.post("/api/votes", {"name": "p", "response": "r", "score": score}).status == 400


def test_a_call_and_a_vote_become_cases(dashboard: Served) -> None:
    saved = dashboard.post("/api/datasets", {"name": "qa", "items": [{"id": "a"}, {"id": "b"}]}).json
    assert saved == {"name": "qa", "version": 1, "items": 2}
    call = promptry.track_invocation("p", input_text="in?", output_text="out.", capture=True)
    added = dashboard.post("/api/datasets/add", {"name": "qa", "call": str(call)}).json
    assert (added["name"], added["version"], added["added"]) == ("qa", 2, True) and added["item"]["expected"] == "out."
    assert dashboard.post("/api/datasets/add", {"name": "qa", "call": str(call)}).json["added"] is False
    vote = dashboard.post("/api/votes", {"name": "p", "response": "Bad.", "score": -1}).json["id"]
    assert dashboard.post("/api/datasets/add", {"name": "qa", "vote": vote}).json["version"] == 3
    for body in ({"name": "qa"}, {"name": "qa", "call": "1", "vote": "1"}):
        assert dashboard.post("/api/datasets/add", body).error["hint"] == "Give one of call and vote."
    assert dashboard.post("/api/datasets", {"name": "d", "items": [{"id": 1}, {"id": 1}]}).status == 400


def test_calls_are_exported_with_their_filters(dashboard: Served) -> None:
    for number in range(5):
        promptry.track_invocation(
            "p", {"n": number}, model="a" if number % 2 else "b", input_text='x,"y"\n', capture=True
        )
    answer = dashboard.get("/api/export/calls?format=csv&model=a")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="calls.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["model"] for row in rows] == ["a", "a"] and rows[0]["input_text"] == 'x,"y"\n'
    lines = dashboard.get("/api/export/calls?format=jsonl").body.decode().splitlines()
    assert [json.loads(line)["metadata"]["n"] for line in lines] == [4, 3, 2, 1, 0]
    assert dashboard.get("/api/export/calls?format=xml").error["message"].startswith("The format is 'xml'")
    assert dashboard.get("/api/export/calls?format=csv&days=x").status == 400
    assert dashboard.get("/api/export/calls").error["message"] == "format is missing."
    assert dashboard.get("/api/export/calls?format=csv&prompt=none").status == 404


@pytest.mark.slow
def test_few_exports_go_at_a_time_and_one_that_is_given_up_makes_room(dashboard: Served, raw: Any) -> None:
    raw.execute(
        """WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000)
        INSERT INTO invocations (prompt_name, input_text, metadata) SELECT 'p', printf('%20000d', x), '{}' FROM n"""
    )
    held = []
    line = f"GET /api/export/calls?format=jsonl HTTP/1.1\r\nHost: 127.0.0.1:{dashboard.port}\r\n\r\n".encode()
    for _ in range(4):
        connection = socket.create_connection(("127.0.0.1", dashboard.port))
        connection.sendall(line)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        held.append(connection)
    refused = dashboard.get("/api/export/calls?format=csv")
    assert refused.status == 503 and refused.headers["Retry-After"] and refused.error["code"] == "busy"
    assert dashboard.get("/api/overview").status == 200
    for connection in held:
        connection.close()
    until = time.monotonic() + 20
    while (status := dashboard.ask("HEAD", "/api/export/calls?format=csv").status) != 200 and time.monotonic() < until:
        time.sleep(0.1)
    assert status == 200
    for _ in range(6):
        assert dashboard.ask("HEAD", "/api/export/calls?format=csv").status == 200


@pytest.mark.slow
def test_an_export_of_many_calls_is_sent_in_bits(dashboard: Served, raw: Any) -> None:
    raw.execute(
        """WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000)
        INSERT INTO invocations (prompt_name, input_text, metadata) SELECT 'p', printf('%1000d', x), '{}' FROM n"""
    )
    answer = dashboard.get("/api/export/calls?format=jsonl")
    assert answer.body.count(b"\n") == 20_000 and answer.headers["Content-Length"] is None


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("prompts", {"name": "", "content": "x"}, 400, None),
        ("prompts", {"name": "p", "content": "   "}, 400, "The text of prompt 'p' is empty."),
        ("prompts", {"name": "p", "content": "x", "metadta": {}}, 400, "There is no field 'metadta' here."),
        ("promote", {"name": "p", "version": 1, "tag": "prod"}, 404, "There is no prompt 'p'."),
        ("promote", {"name": "p", "version": "1", "tag": "prod"}, 400, None),
        ("untag", {"name": "p", "tag": "prod"}, 404, None),
        ("datasets", {"name": "a@b", "items": []}, 400, None),
        ("datasets/add", {"name": "qa", "call": "99"}, 404, None),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_sentence_of_the_function(
    path: str, body: Any, status: int, message: str | None, dashboard: Served
) -> None:
    answer = dashboard.post(f"/api/{path}", body)
    assert answer.status == status and (message is None or answer.error["message"] == message)


@pytest.mark.slow
def test_a_locked_store_is_said_and_nothing_hangs(
    dashboard: Served, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    promptry.save_prompt("p", "Text.")
    with locked():
        answer = dashboard.post("/api/prompts", {"name": "p", "content": "Other."})
        assert dashboard.get("/api/prompts").status == 200
    assert answer.status == 503 and "is locked by another process" in answer.error["message"]
    assert dashboard.post("/api/prompts", {"name": "p", "content": "Other."}).json["version"] == 2
