"""DATASETS: the same items are the same version, and a version never changes."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

import pytest

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
