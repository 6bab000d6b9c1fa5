"""DIFFS: two texts compared by line and by word, in a time that does not grow with their product."""

from __future__ import annotations

import difflib
import random
import time

import pytest

import promptry
from promptry import compare_texts

LINES = [f"line {number}\n" for number in range(60)]


def test_lines_and_words_that_changed_are_told() -> None:
    found = compare_texts("one two\nthree\n", "one 2\nthree\n", "p v1", "p v2")
    assert found["diff"].split("\n") == ["--- p v1", "+++ p v2", "@@ -1,2 +1,2 @@", "-one two", "+one 2", " three"]
    assert [run["kind"] for run in found["lines"]] == ["removed", "added", "same"]
    assert [(run["kind"], run["text"]) for run in found["words"]] == [
        ("same", "one "),
        ("removed", "two"),
        ("added", "2"),
        ("same", "\nthree\n"),
    ]
    assert compare_texts("a", "a", "x", "y")["diff"] == ""


@pytest.mark.parametrize("seed", range(60))
def test_a_long_text_is_told_as_difflib_tells_a_short_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    old = "".join(LINES[: draw.randrange(60)])
    new = [line for line in old.splitlines(keepends=True) if draw.random() > 0.1]
    for number in range(draw.randrange(4)):
        new.insert(draw.randrange(len(new) + 1), f"new {number}\n")
    wanted = list(difflib.unified_diff(old.splitlines(), "".join(new).splitlines(), "a", "b", lineterm=""))
    monkeypatch.setattr(promptry, "_CELLS_IN_ALL", 10**6)
    assert compare_texts(old, "".join(new), "a", "b")["diff"] == "\n".join(wanted)
    runs = promptry._diff_runs(promptry._lines_of(old), new, [10**6])
    rows = promptry._unified_rows([{**run, "text": run["text"].removesuffix("\n")} for run in runs], "a", "b")
    assert list(rows) == wanted


@pytest.mark.slow
def test_all_comparisons_of_two_texts_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, matcher = [], difflib.SequenceMatcher

    def watched(junk: object, old: list[str], new: list[str], *rest: object, **options: bool) -> object:
        cells.append(len(old) * len(new))
        return matcher(None, old, new, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(difflib, "SequenceMatcher", watched)
    draw = random.Random(1)
    texts = [
        "".join(f"same {block}\n{' '.join(draw.choice('ab') for _ in range(500))}\n" for block in range(60))
        for _ in range(2)
    ]
    found = compare_texts(*texts, "a", "b")
    assert sum(cells) <= 2 * 20_000_000
    assert "".join(run["text"] for run in found["words"] if run["kind"] != "added") == texts[0]
    assert "".join(run["text"] for run in found["words"] if run["kind"] != "removed") == texts[1]


@pytest.mark.slow
def test_texts_that_are_made_to_take_long_are_compared_in_seconds() -> None:
    draw = random.Random(2)
    texts = ["\n".join(f"w{draw.randrange(120)}" for _ in range(100_000)) for _ in range(2)]
    start = time.monotonic()
    found = compare_texts(*texts, "a", "b")
    assert time.monotonic() - start < 20 and found["diff"].startswith("--- a\n+++ b\n@@ -")
