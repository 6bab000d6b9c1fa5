"""NAMES: what the store knows by name, read only."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from test_drift import add_runs

import promptry
from promptry import StoreError


def test_names_are_found_by_how_they_begin_in_order(raw: sqlite3.Connection) -> None:
    for name in ("support/answer", "support/ask", "other", "support/answer"):
        promptry.save_prompt(name, f"text of {name}")
    promptry.promote("other", 1, "prod")
    promptry.save_dataset("questions", [{"id": "a"}])
    raw.execute("INSERT INTO datasets (name, version, items, created_at) VALUES ('promptry/spend', 1, '[]', '2026')")
    add_runs(raw, [1.0, 1.0], name="qa")
    add_runs(raw, [1.0], name="ab")
    assert promptry.find_names("prompt") == ["other", "support/answer", "support/ask"]
    assert promptry.find_names("prompt", "support/an") == ["support/answer"]
    assert promptry.find_names("prompt", "%") == promptry.find_names("prompt", "_") == []
    assert (promptry.find_names("tag"), promptry.find_names("suite")) == (["prod"], ["ab", "qa"])
    assert promptry.find_names("dataset") == ["questions"], "those of promptry itself are nobody's to type"


def test_no_store_is_made_to_look_for_names(store: Path) -> None:
    with pytest.raises(StoreError):
        promptry.find_names("prompt")
    assert not store.exists() and list(store.parent.glob("store.db*")) == []


def test_names_are_found_while_another_writes(store: Path, locked: object) -> None:
    promptry.save_prompt("p", "text")
    with locked():  # type: ignore[operator]
        assert promptry.find_names("prompt") == ["p"]


def test_a_file_that_is_no_store_is_one_sentence(store: Path) -> None:
    store.write_bytes(b"no database at all, and longer than a header has to be" * 40)
    with pytest.raises(StoreError, match="is no SQLite file"):
        promptry.find_names("suite")
