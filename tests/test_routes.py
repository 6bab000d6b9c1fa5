"""ROUTES: what stands in an address or a body is checked in one place, and each read has its route."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from served import Served, serve

import promptry
from promptry import Parameter, WrongUse, read_fields, read_words, require_all

TAKEN = (
    Parameter("run_id", str, "The run to judge.", required=True),
    Parameter("limit", int, "How many."),
    Parameter("max_rating", float, "At most."),
    Parameter("first", bool, "The oldest."),
)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("", {}),
        ("run=3", {"run_id": "3"}),
        ("run_id=3&limit=5", {"run_id": "3", "limit": 5}),
        ("limit=-5&max_rating=.5&first=TRUE", {"limit": -5, "max_rating": 0.5, "first": True}),
        ("first=0&max_rating=1e-3", {"first": False, "max_rating": 0.001}),
        ("run=a%2Fb+c%C3%A4", {"run_id": "a/b cä"}),
        ("run=", {"run_id": ""}),
    ],
)
def test_words_become_values_of_their_kind(words: str, asked: dict[str, Any]) -> None:
    assert read_words(TAKEN, words) == asked


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("limt=3", "There is no parameter 'limt' here.", "Did you mean 'limit'?"),
        ("zzz=3", "There is no parameter 'zzz' here.", "It takes run, limit, max_rating, first."),
        ("limit=x", "The parameter limit is 'x'; it takes a whole number.", ""),
        ("limit=", "The parameter limit is ''; it takes a whole number.", ""),
        ("limit=1.5", "The parameter limit is '1.5'; it takes a whole number.", ""),
        ("limit=%D9%A3", "The parameter limit is '٣'; it takes a whole number.", ""),
        ("limit=" + "9" * 5000, "The parameter limit is '", ""),
        ("max_rating=nan", "The parameter max_rating is 'nan'; it takes a number.", ""),
        ("max_rating=1e999", "The parameter max_rating is '1e999'; it takes a number.", ""),
        ("first=maybe", "The parameter first is 'maybe'; it takes true or false.", ""),
        ("run=1&run=2", "The parameter run is given twice.", "Give it once."),
        ("run=1&run_id=2", "The parameter run_id is given twice.", "Give it once."),
        ("run=%FF", "The address is no UTF-8 text.", "Write other signs"),
        ("&".join(f"a{number}=1" for number in range(200)), "The address asks for more than 100 things.", "Leave"),
        ("limit=%00%1b[31m", "The parameter limit is '\\x00\\x1b[31m'; it takes a whole number.", ""),
    ],
)
def test_words_that_cannot_be_meant_are_refused_with_their_value(words: str, message: str, hint: str) -> None:
    with pytest.raises(WrongUse) as error:
        read_words(TAKEN, words)
    assert error.value.message.startswith(message) and error.value.hint.startswith(hint)
    assert len(error.value.message) < 200


FIELDS = (
    Parameter("name", str, "The name.", required=True),
    Parameter("score", int, "The score."),
    Parameter("limit_usd", float, "The limit."),
    Parameter("items", list, "The items."),
    Parameter("metadata", dict, "Facts."),
)


def test_fields_keep_their_values_and_null_is_as_if_left_out() -> None:
    body = {"name": "n", "score": 1, "limit_usd": 5, "items": [1], "metadata": {"a": None}}
    assert read_fields(FIELDS, body) == body
    assert read_fields(FIELDS, {"name": "n", "score": None}) == {"name": "n"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], 'The body is no JSON object. Send one, such as {"name": "..."}.'),
        ("x", "The body is no JSON object."),
        ({"nam": "n"}, "There is no field 'nam' here. Did you mean 'name'?"),
        ({"name": 1}, "The field name is 1; it takes text."),
        ({"score": "1"}, "The field score is '1'; it takes a whole number."),
        ({"score": True}, "The field score is true; it takes a whole number."),
        ({"score": 1.0}, "The field score is 1.0; it takes a whole number."),
        ({"limit_usd": True}, "The field limit_usd is true; it takes a number."),
        ({"items": {}}, "The field items is {}; it takes a list."),
        ({"metadata": [["x"] * 99]}, 'The field metadata is [["x", "x"'),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused_with_its_value(body: Any, message: str) -> None:
    with pytest.raises(WrongUse) as error:
        read_fields(FIELDS, body)
    assert str(error.value).startswith(message) and len(str(error.value)) < 200


def test_what_is_missing_is_named() -> None:
    with pytest.raises(WrongUse, match="run is missing. The run to judge."):
        require_all(TAKEN, {"limit": 3})
    require_all(TAKEN, {"run_id": "3"})


def test_every_read_has_a_route_of_its_own() -> None:
    assert all(read.route for read in promptry.READS)
    paths = [read.route for read in promptry.READS]
    assert len(paths) == len(set(paths))


# The names of design.md 8, which others rely on.
NAMES = (
    "overview prompts prompt suites runs run/<id> compare drift bisect cost coverage calls call/<id> traces trace/<id>"
)
NAMES += " budgets feedback votes datasets dataset diff"


@pytest.mark.slow
@pytest.mark.parametrize("path", NAMES.split())
def test_the_routes_have_the_names_that_others_rely_on(path: str, dashboard: Served) -> None:
    listed = {row["path"] for row in dashboard.get("/api").json["items"] if row["method"] == "GET"}
    assert f"/api/{path}" in listed


def test_no_route_takes_a_module_to_load(dashboard: Served) -> None:
    for row in dashboard.get("/api").json["items"]:
        told = {parameter["name"]: parameter["sentence"] for parameter in row["parameters"]}
        assert "python" not in told
        assert told.get("module") in {None, "Only calls of this module."}, (
            "that of a prompt is a word, and loads nothing"
        )
    answer = dashboard.get("/api/suites?module=evil")
    assert answer.status == 400 and answer.error["message"] == "There is no parameter 'module' here."


def test_the_suites_of_the_configured_module_are_listed(dashboard: Served, tmp_path: Path) -> None:
    (tmp_path / "evals.py").write_text(
        "from promptry import suite\n\n@suite('quiz', 'Ten questions.')\ndef quiz(): ...\n"
    )
    (row,) = dashboard.get("/api/suites").json["items"]
    assert (row["suite"], row["description"], row["registered"]) == ("quiz", "Ten questions.", True)


def test_a_module_that_does_not_load_is_left_out_and_said_once(
    dashboard: Served, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evals.py").write_text("import nowhere_to_be_found\n")
    for _ in range(3):
        answer = dashboard.get("/api/suites")
        assert answer.status == 200 and answer.json["items"] == []
    said = capfd.readouterr().err
    assert said.count("--python names another.") == said.count("Traceback") == 1


def test_a_module_of_suites_is_loaded_elsewhere_and_anew_when_it_changes(
    dashboard: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "load_any", None)  # it would fail here
    code = "import os\nfrom promptry import suite\n\n@suite(str(os.getpid()) + '{}')\ndef quiz(): ...\n"
    seen = []
    for name in "aab":
        (tmp_path / "evals.py").write_text(code.format(name))
        os.utime(tmp_path / "evals.py", (1, ord(name)))
        seen.append(dashboard.get("/api/suites").json["items"][0]["suite"])
    assert seen[0] == seen[1] and [name[-1] for name in seen] == ["a", "a", "b"]
    assert str(os.getpid()) not in " ".join(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("/api/run/99", 404, "not_found", "There is no run 99."),
        ("/api/run/x", 400, "wrong_use", "The run id is 'x'; it takes a whole number."),
        ("/api/call/99", 404, "not_found", "There is no call 99."),
        ("/api/prompt", 400, "wrong_use", "name is missing."),
        ("/api/prompt?name=none", 404, "not_found", "There is no prompt 'none'."),
        ("/api/runs?limit=0", 400, "wrong_use", "The limit is 0; it takes 1 to 1000."),
        ("/api/cost?days=-5", 400, "wrong_use", "The days are -5; they take 1 to 36500."),
        ("/api/calls?status=broken", 400, "wrong_use", "The status is 'broken'; it takes ok, error."),
        ("/api/runs/", 404, "not_found", "There is nothing at /api/runs/."),
        ("/api/nope", 404, "not_found", "There is nothing at /api/nope."),
        ("/api/run/3/4", 404, "not_found", "There is nothing at /api/run/3/4."),
        ("/api/", 404, "not_found", "There is nothing at /api/."),
    ],
)
def test_errors_have_one_shape_and_the_sentence_of_the_command_line(
    path: str, status: int, code: str, message: str, dashboard: Served
) -> None:
    answer = dashboard.get(path)
    assert answer.status == status and answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert (answer.error["code"], answer.error["message"]) == (code, message)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_told_which_there_are(method: str, dashboard: Served) -> None:
    answer = dashboard.ask(method, "/api/overview", b"{}", {"Content-Type": "application/json"})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
    assert answer.error["hint"] == "It takes GET, HEAD."
    answer = dashboard.ask(method, "/", b"{}", {"Content-Type": "application/json"})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"


def test_a_route_of_two_methods_names_both(dashboard: Served) -> None:
    answer = dashboard.ask("DELETE", "/api/feedback")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    answer = dashboard.get("/api/lint")
    assert answer.status == 405 and answer.headers["Allow"] == "POST"


def test_head_answers_as_get_without_a_body(dashboard: Served) -> None:
    promptry.save_prompt("p", "Text.")
    for path in ("/api/prompts", "/api/health", "/"):
        got, head = dashboard.get(path), dashboard.ask("HEAD", path)
        assert head.status == got.status and head.body == b"" and len(got.body) == int(head.headers["Content-Length"])
        assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_texts_of_others_are_json_whatever_they_hold(dashboard: Served) -> None:
    promptry.save_prompt("odd", "a\x1b[31m\u202e<script>\x00ä\U0001f600 \u2028 end")
    answer = dashboard.get("/api/prompt?name=odd")
    assert answer.status == 200 and answer.json["content"].startswith("a\x1b[31m\u202e<script>")
    assert b"\x1b" not in answer.body and b"\x00" not in answer.body


def test_a_name_may_hold_slashes(dashboard: Served) -> None:
    promptry.save_prompt("support/answer v2", "Text.")
    assert dashboard.get("/api/prompt?name=support%2Fanswer+v2").json["content"] == "Text."
    assert dashboard.get("/api/prompt?name=support/answer%20v2").json["content"] == "Text."


# --------------------------------------------------------------------------------------
# Marks of what has changed
# --------------------------------------------------------------------------------------


def test_a_read_is_not_answered_again_until_rows_change(dashboard: Served) -> None:
    first = dashboard.get("/api/prompts")
    mark = first.headers["ETag"]
    for _ in range(20):  # a minute may end in between
        again = dashboard.get("/api/prompts", If_None_Match=mark)
        if again.status == 304:
            break
        mark = again.headers["ETag"]
    assert again.status == 304 and again.body == b"" and again.headers["ETag"] == mark
    promptry.save_prompt("p", "Text.")
    changed = dashboard.get("/api/prompts", If_None_Match=mark)
    assert changed.status == 200 and changed.json["total"] == 1 and changed.headers["ETag"] != mark


def test_other_answers_have_the_mark_of_what_they_hold(dashboard: Served) -> None:
    for path in ("/api", "/api/jobs", "/api/openapi.json", "/api/changes", "/api/suites"):
        first = dashboard.get(path)
        again = dashboard.get(path, If_None_Match=f'"other", {first.headers["ETag"]}')
        assert (first.status, again.status, again.body) == (200, 304, b""), path
        assert dashboard.get(path, If_None_Match='"other"').status == 200


# --------------------------------------------------------------------------------------
# No store yet
# --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_reading_makes_no_store_and_an_empty_one_answers(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet.db"
    promptry.use_store(path)
    with serve(path) as served:
        for row in served.get("/api").json["items"]:
            needed = {parameter["name"] for parameter in row["parameters"] if parameter["required"]}
            if row["method"] == "GET" and not needed:
                assert served.get(row["path"]).status == 200, row["path"]
        assert served.get("/api/run/1").status == 404
        assert served.post("/api/lint", {"name": "a", "content": "b"}).status == 200
        assert not path.exists() and not path.parent.exists()
        counter = served.get("/api/changes").json
        assert served.post("/api/prompts", {"name": "a", "content": "b"}).json["version"] == 1
        assert path.exists() and served.get("/api/prompts").json["total"] == 1
        assert served.get("/api/changes").json != counter


def test_a_store_that_comes_from_another_process_is_seen(tmp_path: Path, run_python: Any) -> None:
    path = tmp_path / "s.db"
    promptry.use_store(path)
    with serve(path) as served:
        assert served.get("/api/prompts").json["total"] == 0
        run_python("import promptry; promptry.track('Text.', 'p')", PROMPTRY_DB=str(path))
        assert served.get("/api/prompts").json["total"] == 1


def test_a_store_that_is_taken_away_is_not_made_anew(dashboard: Served, store: Path, tmp_path: Path) -> None:
    promptry.save_prompt("p", "Text.")
    assert dashboard.get("/api/prompts").json["total"] == 1
    moved = [(file, tmp_path / f"kept{file.name}") for file in sorted(tmp_path.glob("store.db*"))]
    for file, kept in moved:
        file.rename(kept)
    answer = dashboard.get("/api/prompts")
    assert answer.status == 503 and answer.error["message"] == f"{store} was taken away."
    assert not store.exists()
    for file, kept in moved:
        kept.rename(file)
    assert dashboard.get("/api/prompts").json["total"] == 1


def test_a_file_that_is_no_store_is_said_in_one_sentence(store: Path) -> None:
    store.write_bytes(b"This is no database at all. " * 100)
    with serve(store) as served:
        for path in ("/api/overview", "/api/changes", "/api/calls"):
            answer = served.get(path)
            assert answer.status == 503 and answer.error["message"] == f"{store} is no SQLite file."
        assert served.get("/api/health").status == 200


# --------------------------------------------------------------------------------------
# The SQL of reads
# --------------------------------------------------------------------------------------


def test_what_is_said_to_be_computed_names_a_function_that_is_there() -> None:
    for name, rows in promptry.COMPUTED.items():
        assert name in promptry.read_names()
        for _, function, inputs in rows:
            assert callable(getattr(promptry, function)) and inputs


def test_each_route_is_in_the_list_with_what_it_takes(dashboard: Served) -> None:
    rows = dashboard.get("/api").json["items"]
    assert len(rows) == len({(row["method"], row["path"]) for row in rows}) > 60
    for row in rows:
        assert row["sentence"].endswith(".") and re.fullmatch(r"/api(/[a-z_./<>]+)?", row["path"])
        assert all(parameter["sentence"].endswith(".") for parameter in row["parameters"]), json.dumps(row)
