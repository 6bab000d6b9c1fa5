"""DATASETS: the same items are the same version, and a version never changes."""

from __future__ import annotations

import csv
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from hubs import shipments

import promptry


def test_items_come_back_as_they_were_saved(store: Any) -> None:
    items = [{"id": "a", "question": "ä 🦉", "n": [1, 2.5, None, True]}, "text", 5, None, {}]
    assert promptry.save_dataset("qa", items) == 1
    assert promptry.load_dataset("qa") == items


def test_the_same_items_keep_their_version_and_others_get_the_next(store: Any) -> None:
    assert promptry.save_dataset("qa", [1]) == 1
    assert promptry.save_dataset("qa", [2]) == 2
    assert promptry.save_dataset("qa", [1]) == 1
    assert promptry.save_dataset("qa", [{"a": 1, "b": 2}]) == 3
    assert promptry.save_dataset("qa", [{"b": 2, "a": 1}]) == 3
    assert promptry.save_dataset("qa", [2, 1]) == 4
    assert promptry.save_dataset("qa", [1, 2]) == 5
    assert promptry.save_dataset("other", [1]) == 1


def test_the_newest_version_is_loaded_or_the_one_asked_for(store: Any) -> None:
    for items in ([1], [2], [1]):
        promptry.save_dataset("qa", items)
    assert promptry.load_dataset("qa") == [2]
    assert promptry.load_dataset("qa", 1) == [1] and promptry.load_dataset("qa", version=2) == [2]


def test_any_iterable_of_items_is_a_list(store: Any) -> None:
    promptry.save_dataset("qa", (n for n in range(3)))  # type: ignore[arg-type]
    promptry.save_dataset("empty", [])
    assert promptry.load_dataset("qa") == [0, 1, 2] and promptry.load_dataset("empty") == []


def test_a_dataset_has_a_hash_also_when_another_program_wrote_it(raw: sqlite3.Connection) -> None:
    promptry.save_dataset("ours", [{"a": 1}])
    raw.execute("INSERT INTO datasets (name, version, items) VALUES ('theirs', 1, '[{\"a\":1}]')")
    ours, theirs = promptry.require_dataset("ours"), promptry.require_dataset("theirs")
    assert ours.hash == theirs.hash and len(ours.hash) == 64
    assert promptry.save_dataset("theirs", [{"a": 1}]) == 1, "the same items are the same version"


def test_metadata_is_kept_beside_our_own(store: Any, raw: sqlite3.Connection) -> None:
    promptry.save_dataset("qa", [1], {"source": "support", "when": object()})
    (text,) = raw.execute("SELECT metadata FROM datasets").fetchone()
    facts = promptry.read_json(text)
    assert facts["source"] == "support" and set(facts["promptry"]) == {"hash"}


WRONG: list[tuple[Any, ...]] = [
    ("", [1]),
    (None, [1]),
    ("qa@3", [1]),
    ("qa", 5),
    ("qa", None),
    ("qa", "text"),
    ("qa", b"bytes"),
    ("qa", {"a": 1}),
    ("qa", [object()]),
    ("qa", [float("nan")]),
    ("qa", [1], "metadata"),
    ("qa", [1], [("a", 1)]),
    ("q\ud800", [1]),
    ("qa", [{"id": "a"}, {"id": "b"}, {"id": "a"}]),
]


@pytest.mark.parametrize("arguments", WRONG)
def test_a_wrong_argument_is_wrong_use_and_saves_nothing(store: Any, raw: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(promptry.WrongUse):
        promptry.save_dataset(*arguments)
    assert raw.execute("SELECT count(*) FROM datasets").fetchone() == (0,)


def test_items_that_hold_themselves_are_wrong_use(store: Any) -> None:
    items: list[Any] = []
    items.append(items)
    with pytest.raises(promptry.WrongUse):
        promptry.save_dataset("qa", items)


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("qb", None, r"no dataset 'qb'\. Did you mean 'qa'\?"),
        ("nothing alike", None, r"no dataset 'nothing alike'"),
        ("qa", 9, r"'qa' has no version 9"),
        ("qa", 0, r"'qa' has no version 0"),
    ],
)
def test_what_does_not_exist_is_not_found(store: Any, name: str, version: Any, said: str) -> None:
    promptry.save_dataset("qa", [1])
    with pytest.raises(promptry.NotFound, match=said):
        promptry.load_dataset(name, version)


def test_a_version_greater_than_any_is_refused_as_wrong_or_unknown(store: Any) -> None:
    promptry.save_dataset("qa", [1])
    with pytest.raises((promptry.NotFound, promptry.WrongUse)):
        promptry.load_dataset("qa", 2**70)


@pytest.mark.slow
def test_processes_that_save_at_once_get_versions_without_holes(store: Any, raw: Any, start_python: Any) -> None:
    code = """
    import sys, time, promptry
    promptry.use_store(sys.argv[1])
    while time.time() < float(sys.argv[3]):
        pass
    for turn in range(15):
        promptry.save_dataset("own", [turn, sys.argv[2]])
        promptry.save_dataset("common", [turn])
    """
    moment = time.time() + 1.0
    children = [start_python(code, store, number, moment) for number in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    for name, count in (("own", 60), ("common", 15)):
        found = raw.execute("SELECT version FROM datasets WHERE name = ? ORDER BY version", (name,)).fetchall()
        assert [version for (version,) in found] == list(range(1, count + 1))


@pytest.mark.parametrize(("items", "id"), [([{"id": "a"}, 5, {"id": "a"}], "a"), ([{"id": 1}, {"id": "1"}], "1")])
def test_two_items_with_one_id_are_refused_by_that_id(store: Any, items: list[Any], id: str) -> None:
    with pytest.raises(promptry.WrongUse, match=f"Two items of dataset 'qa' have the id '{id}'"):
        promptry.save_dataset("qa", iter(items))  # type: ignore[arg-type]
    assert promptry.list_datasets()["total"] == 0


def test_items_without_an_id_of_their_own_do_not_clash(store: Any) -> None:
    assert promptry.save_dataset("qa", [{"id": None}, {"id": None, "n": 1}, {"id": ""}, {}, {"id": [1]}, "a", "a"]) == 1


def answered(request: str, text: str | None = "Yes.", **facts: Any) -> str:
    """Record a call of the prompt p and return its id."""
    id = promptry.track_invocation("p", facts, request_id=request, input_text="Q", output_text=text, capture=True)
    return str(id)


# The ratings of a call, the votes on its response, and what that makes of its answer.
VERDICTS: list[tuple[list[float], list[int], str]] = [
    ([], [], "expected"),
    ([0.5], [], "expected"),
    ([0.49], [], "rejected"),
    ([1.0, 0.2], [], "expected"),
    ([1.0], [-1, -1], "expected"),
    ([0.0], [1, 1], "rejected"),
    ([], [-1], "rejected"),
    ([], [1], "expected"),
    ([], [1, -1, -1], "rejected"),
    ([], [1, -1], "expected"),
]


@pytest.mark.parametrize(("ratings", "votes", "verdict"), VERDICTS)
def test_ratings_then_votes_say_what_becomes_of_an_answer(
    store: Any, ratings: list[float], votes: list[int], verdict: str
) -> None:
    call = answered("r")
    for number, rating in enumerate(ratings):
        promptry.record_feedback("r", rating, source=f"s{number}")
    for score in votes:
        promptry.vote("p", "Yes.", score)
    promptry.vote("p", "Another response.", -1)
    promptry.vote("another prompt", "Yes.", -1)
    promptry.record_feedback("another request", 0.0)
    item = promptry.add_to_dataset("qa", call=call)["item"]
    assert {key: item[key] for key in item.keys() & {"expected", "rejected"}} == {verdict: "Yes."}
    assert item["from"].get("votes") == (None if ratings or not votes else sum(votes))


def test_a_comment_alone_is_no_rating(store: Any) -> None:
    call = answered("r")
    promptry.record_feedback("r", comment="hm")
    promptry.vote("p", "Yes.", -1)
    item = promptry.add_to_dataset("qa", call=call)["item"]
    assert item["rejected"] == "Yes." and item["from"]["comments"] == ["hm"] and item["from"]["votes"] == -1


def test_a_call_that_failed_makes_no_item(store: Any) -> None:
    call = answered("r", "half an ans", status="error")
    promptry.record_feedback("r", 1.0)
    with pytest.raises(promptry.WrongUse, match=f"Call {call} ended in an error"):
        promptry.add_to_dataset("qa", call=call)
    assert promptry.run_command(["dataset", "add", "qa", "--call", call]) == 2
    assert promptry.list_datasets()["total"] == 0


def test_a_call_without_a_captured_answer_is_a_question_only(store: Any) -> None:
    item = promptry.add_to_dataset("qa", call=answered("r", None))["item"]
    assert item["input"] == "Q" and not item.keys() & {"expected", "rejected"}


FILES: list[tuple[str, list[dict[str, str]]]] = [
    ("question;answer\nWhy?;Because, that is.\n", [{"question": "Why?", "answer": "Because, that is."}]),
    ("question\tanswer\nWhy?\tSo; so\n", [{"question": "Why?", "answer": "So; so"}]),
    ("question,answer\nWhy?,So; so\n", [{"question": "Why?", "answer": "So; so"}]),
    ('"a;b",c\n1,2\n', [{"a;b": "1", "c": "2"}]),
    ('"a,b";c\n1;"2;3"\n', [{"a,b": "1", "c": "2;3"}]),
    ("question\nWhy; oh why?\n", [{"question": "Why; oh why?"}]),
    ("\ufeffquestion,answer\r\nWhy?,So\r\n", [{"question": "Why?", "answer": "So"}]),
    (f"question\n{'x' * 200_000}\n", [{"question": "x" * 200_000}]),
    ("question,answer\nWhy\u2028so?,A\x0cB\n", [{"question": "Why\u2028so?", "answer": "A\x0cB"}]),
    ('question\n"a\n\nb"\n', [{"question": "a\n\nb"}]),
]


@pytest.mark.parametrize(("text", "items"), FILES)
def test_the_header_of_a_csv_says_what_parts_its_columns(tmp_path: Path, text: str, items: Any) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    before = csv.field_size_limit()
    assert promptry.load_items(tmp_path / "a.csv") == items
    assert csv.field_size_limit() == before


DEEP = "[" * 100_000
BAD: list[tuple[str, str, str]] = [
    ("a.csv", "", "a.csv is no CSV with a line of column names: it is empty."),
    ("a.csv", "\n\n", "the first line names the columns, each once; it is ''."),
    ("deep.json", DEEP, "deep.json is JSON too deep to be read. A dataset is a list of items."),
    ("deep.jsonl", f"1\n{DEEP}\n", "deep.jsonl, line 2 is JSON too deep to be read."),
]


@pytest.mark.parametrize(("name", "text", "words"), BAD, ids=lambda part: part[:20])
def test_a_file_that_cannot_be_meant_is_one_sentence(
    store: Any, tmp_path: Path, name: str, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert promptry.run_command(["dataset", "save", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"{words}\n") and said.count("\n") == 1


def test_an_empty_name_is_not_that_of_the_file(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("[1]")
    assert promptry.run_command(["dataset", "save", str(tmp_path / "a.json"), "--name", ""]) == 2
    assert "The name is ''" in capsys.readouterr().err and promptry.list_datasets()["total"] == 0


def test_a_name_is_promptrys_own_as_it_is_spelled(store: Path, tmp_path: Path) -> None:
    promptry.save_dataset("Promptry/x", [1])
    assert [row["name"] for row in promptry.list_datasets()["items"]] == ["Promptry/x"]
    (found,) = shipments(store)
    assert found.rows == {"datasets": 1}
    with pytest.raises(promptry.WrongUse, match="promptry's own"):
        promptry.save_dataset("promptry/x", [1])
