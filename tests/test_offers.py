"""OFFERS: each read is a tool with sentences for agents, typed schemas, and answers of a size that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from test_reads import ASKED, answer_of, fill_store, without_age

import promptry
from promptry import WrongUse, ask_offer, input_schema, output_schema, read_offers, size_of

ONE_LIST, ONE_ANSWER = 8_000, 16_000


@pytest.fixture
def full(store: Path) -> None:
    fill_store()


def test_every_read_is_offered_with_sentences_of_its_own() -> None:
    offers = read_offers()
    assert list(offers) == [read.name for read in promptry.READS]
    for offer in offers.values():
        assert offer.sentence.endswith(".") and "--" not in offer.sentence and "Exits" not in offer.sentence
        for parameter in offer.parameters:
            assert parameter.sentence.endswith(".") and "--" not in parameter.sentence, parameter


def test_every_sentence_of_the_table_belongs_to_a_tool() -> None:
    told = promptry.told_to_agents()
    offers = read_offers() | promptry.write_offers(promptry.make_tasks(promptry.store_path()))
    assert set(told["tools"]) == set(offers)
    taken = {parameter.name for offer in offers.values() for parameter in offer.parameters}
    taken |= {f"{offer.name}.{parameter.name}" for offer in offers.values() for parameter in offer.parameters}
    assert set(told["parameters"]) <= taken


def test_what_would_load_code_is_not_offered() -> None:
    assert {parameter.name for parameter in read_offers()["list_suites"].parameters} == {"limit", "before"} | {
        "part",
        "after",
    }
    for name in ("module", "python"):
        with pytest.raises(WrongUse, match=f"There is no argument '{name}'"):
            ask_offer(read_offers()["list_suites"], {name: "os"})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "arguments"), ASKED, ids=lambda part: str(part)[:40])
def test_answers_fit_the_schemas(name: str, words: list[str], arguments: dict[str, Any], full: None) -> None:
    offer = read_offers()[name]
    Draft202012Validator.check_schema(input_schema(offer))
    Draft202012Validator(input_schema(offer)).validate(arguments)
    found = ask_offer(offer, arguments)
    schema = output_schema(offer)
    Draft202012Validator(schema).validate(found)
    assert set(found) <= set(schema["properties"]), "a key that nobody told of"
    assert set(schema["required"]) <= set(found)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("get_run", {}, "id is missing"),
    ("get_run", {"id": 7.5}, "The argument id is 7.5; it takes text"),
    ("get_run", {"id": [7]}, "it takes text"),
    ("get_run", {"id": True}, "it takes text"),
    ("compare_runs", {"baseline_id": "1"}, "run_id is missing"),
    ("list_calls", {"limit": "3"}, "takes a whole number"),
    ("list_calls", {"limit": True}, "takes a whole number"),
    ("list_calls", {"unpriced": 1}, "takes true or false"),
    ("list_calls", {"limit": 0}, "limit"),
    ("list_calls", {"modle": "x"}, "There is no argument 'modle' here"),
    ("get_prompt", {"name": "support/answer", "part": "nothing"}, "No list, map or text"),
    ("get_prompt", {"name": "support/answer", "part": "content", "after": 999}, "after is 999"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "sentence"), WRONG, ids=str)
def test_what_a_tool_does_not_take_is_refused(name: str, arguments: dict[str, Any], sentence: str, full: None) -> None:
    with pytest.raises(WrongUse, match=sentence):
        ask_offer(read_offers()[name], arguments)


def test_an_id_may_be_a_number(full: None) -> None:
    assert ask_offer(read_offers()["get_run"], {"id": 1}) == ask_offer(read_offers()["get_run"], {"id": "1"})


def make_long(kind: str) -> None:
    """Fill the store with many rows of what one list shows, some of them long."""
    for number in range(60):
        if kind == "votes":
            promptry.vote("p", "r" * (number * 100), 1, "m" * 50)
        elif kind == "feedback":
            promptry.record_feedback(f"r{number}", 0.5, "c" * (number * 30 + 1))
        elif kind == "prompts":
            promptry.save_prompt(f"{'p' * 100}{number}", "text", tag="a, b, c")
        elif kind == "datasets":
            promptry.save_dataset(f"{'d' * 200}{number}", [number])
        elif kind == "calls":
            promptry.track_invocation("n" * 300, {"latency_ms": number}, model="m" * 100)
    if kind == "runs":
        promptry.connect().executemany(
            "INSERT INTO eval_runs (suite_name, model_version, overall_score, overall_pass) VALUES (?, ?, 1, 1)",
            [("s" * 200 + str(number), "m" * 100) for number in range(60)],
        )


LISTS = [("votes", "list_votes"), ("feedback", "list_feedback"), ("prompts", "list_prompts"), ("calls", "list_calls")]
LISTS += [("datasets", "list_datasets"), ("runs", "list_runs"), ("runs", "list_suites"), ("calls", "list_costs")]


@pytest.mark.parametrize(("kind", "name"), LISTS)
def test_a_list_is_as_long_as_fits_and_its_pages_give_each_row_once(kind: str, name: str, store: Path) -> None:
    make_long(kind)
    whole = answer_of(name, {"limit": 1000})["items"]
    rows: list[Any] = []
    before: dict[str, str] = {}
    while True:
        found = ask_offer(read_offers()[name], before)
        assert len(json.dumps(found, ensure_ascii=False).encode()) <= ONE_LIST
        assert "cut" not in found and len(found["items"]) >= 1
        rows += found["items"]
        if found["next"] is None:
            break
        before = {"before": found["next"]}
    assert without_age(rows) == without_age(whole)


def test_a_row_that_is_longer_than_a_page_is_cut_and_can_be_read_on(store: Path) -> None:
    text = "".join(chr(97 + number % 26) for number in range(30_000))
    promptry.vote("p", text, 1)
    offer = read_offers()["list_votes"]
    found = ask_offer(offer, {})
    assert size_of(found) <= ONE_LIST
    assert found["cut"][0]["at"] == "items.*.response" and found["cut"][0]["of"] == 30_000
    read = ""
    while len(read) < len(text):
        read += ask_offer(offer, {"part": "items.0.response", "after": len(read)})["items"][0]["response"]
    assert read == text


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2, 50, 200, 1000])
def test_long_rows_are_answered_in_pages_that_fit_whatever_limit_is_asked_for(limit: int, store: Path) -> None:
    for number in range(200):
        promptry.record_feedback(f"r{number}", 0.5, f"{number:04}" * 1000)
    rows: list[Any] = []
    before: dict[str, str] = {}
    while True:
        found = ask_offer(read_offers()["list_feedback"], {"limit": limit, **before})
        assert size_of(found) <= ONE_ANSWER and 1 <= len(found["items"]) <= limit and found["total"] == 200
        assert "cut" not in found
        rows += found["items"]
        if found["next"] is None:
            break
        before = {"before": found["next"]}
    assert [row["comment"] for row in rows] == [f"{number:04}" * 1000 for number in reversed(range(200))]


def test_a_long_row_of_a_limited_list_is_cut_and_can_be_read_on(store: Path) -> None:
    text = "".join(chr(97 + number % 26) for number in range(50_000))
    for _ in range(3):
        promptry.vote("p", text, 1)
    offer = read_offers()["list_votes"]
    found = ask_offer(offer, {"limit": 3})
    assert size_of(found) <= ONE_ANSWER and len(found["items"]) == 1 and found["next"] is not None
    assert found["cut"][0]["at"] == "items.*.response" and found["cut"][0]["of"] == 50_000
    read = ""
    while len(read) < len(text):
        read += ask_offer(offer, {"limit": 3, "part": "items.0.response", "after": len(read)})["items"][0]["response"]
    assert read == text


def test_a_limit_that_is_asked_for_is_kept(full: None) -> None:
    assert len(ask_offer(read_offers()["list_runs"], {"limit": 3})["items"]) == 3


def test_metadata_of_many_keys_can_be_read_on(store: Path) -> None:
    facts = {f"key {number}": "v" * 100 for number in range(200)}
    promptry.track_invocation("p", {**facts, "latency_ms": 1})
    offer = read_offers()["get_call"]
    whole = answer_of("get_call", {"id": "1"})["metadata"]
    told = next(row for row in ask_offer(offer, {"id": "1"})["cut"] if row["at"] == "metadata")
    assert told["unit"] == "keys" and told["of"] == len(whole) > told["shown"]
    read: dict[str, Any] = {}
    while len(read) < told["of"]:
        read |= ask_offer(offer, {"id": "1", "part": told["at"], "after": len(read)})["metadata"]
    assert read == whole


def test_the_failed_cases_of_a_long_run_come_first(own_registry: None) -> None:
    @promptry.suite("long")
    def long() -> None:
        for number in range(300):
            with promptry.case(f"c{number}"):
                promptry.assert_exact("x" * 200, "x" * 200 if number % 100 != 99 else "y")

    promptry.run_suite("long")
    found = ask_offer(read_offers()["get_run"], {"id": "1"})
    assert size_of(found) <= 16_000
    assert [row["case"] for row in found["cases"][:3]] == ["c99", "c199", "c299"]
    told = next(row for row in found["cut"] if row["at"] == "cases")
    assert told["of"] == 300
    names = [row["case"] for row in found["cases"]]
    while len(names) < 300:
        names += [
            row["case"]
            for row in ask_offer(read_offers()["get_run"], {"id": "1", "part": "cases", "after": len(names)})["cases"]
        ]
    assert sorted(names) == sorted(row["case"] for row in answer_of("get_run", {"id": "1"})["cases"])


def test_looking_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask_offer(read_offers()["list_runs"], {}) == {"items": [], "total": 0, "next": None}
    assert ask_offer(read_offers()["get_overview"], {})["suites"] == []
    assert not list(tmp_path.glob("**/*.db"))
    monkeypatch.setenv("PROMPTRY_DB", str(tmp_path / "none.db"))
    for name in ("list_runs", "get_overview"):
        with pytest.raises(promptry.NotFound, match="There is no store at"):
            ask_offer(read_offers()[name], {})
    assert not (tmp_path / "none.db").exists()
