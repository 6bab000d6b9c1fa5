"""PROMPTS: one version per text, the latest is where code or an editor last was, and a tag stands on one version."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import random
import re
import sqlite3
import threading
import time
from typing import Any

import pytest

import promptry


def versions_of(name: str) -> list[int]:
    return [row["version"] for row in promptry.get_prompt(name)["versions"]]


def latest(name: str) -> tuple[int, str]:
    found = promptry.find_prompt(name)
    assert found is not None
    return found.version, found.content


def restart() -> None:
    """Forget what a process remembers, as the next one would start."""
    promptry.forget_templates()
    promptry._tracked.clear()
    promptry._served.clear()


# --- versions


def test_track_returns_its_text_and_saves_it(store: Any) -> None:
    assert promptry.track("Hello $name", "greeting") == "Hello $name"
    shown = promptry.get_prompt("greeting")
    assert (shown["name"], shown["version"], shown["content"]) == ("greeting", 1, "Hello $name")
    assert shown["hash"] == hashlib.sha256(b"Hello $name").hexdigest()


def test_same_content_makes_no_new_version(store: Any) -> None:
    for _ in range(3):
        promptry.track("Hello", "greeting")
        restart()
    assert versions_of("greeting") == [1]


def test_the_same_text_under_two_names_is_two_prompts(store: Any) -> None:
    promptry.track("Hello", "one")
    promptry.track("Hello", "two")
    assert latest("one") == latest("two") == (1, "Hello")


@pytest.mark.parametrize("restarts", [False, True])
def test_code_that_goes_a_b_a_is_back_at_a_without_a_new_row(store: Any, restarts: bool) -> None:
    seen = []
    for text in ("A", "B", "A", "B", "B", "A"):
        promptry.track(text, "p")
        seen.append(latest("p"))
        if restarts:
            restart()
    assert seen == [(1, "A"), (2, "B"), (1, "A"), (2, "B"), (2, "B"), (1, "A")]
    assert versions_of("p") == [2, 1]


def test_an_edit_survives_a_restart_of_code_that_tracks_what_it_tracked_before(store: Any) -> None:
    promptry.track("in the code", "p")
    assert promptry.save_prompt("p", "edited") == 2
    restart()
    promptry.track("in the code", "p")
    assert latest("p") == (2, "edited")
    restart()
    promptry.track("new in the code", "p")
    assert latest("p") == (3, "new in the code")
    restart()
    promptry.track("in the code", "p")
    assert latest("p") == (1, "in the code")


def test_an_edit_back_to_an_old_text_is_that_version_again(store: Any) -> None:
    for text in ("A", "B", "C"):
        promptry.save_prompt("p", text)
    assert promptry.save_prompt("p", "A") == 1
    assert latest("p") == (1, "A") and versions_of("p") == [3, 2, 1]


def test_another_process_that_tracks_another_text_wins_until_this_one_changes_its_own(store: Any) -> None:
    promptry.track("A", "p")
    saved = dict(promptry._tracked)
    restart()
    promptry.track("B", "p")
    promptry._tracked.update(saved)
    promptry.track("A", "p")
    assert latest("p") == (2, "B")


def test_times_of_a_name_strictly_increase_although_the_clock_stands_still(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "now_text", lambda: "2026-01-01T00:00:00.000Z")
    for text in ("A", "B", "A", "C", "B", "A"):
        promptry.track(text, "p")
        assert latest("p")[1] == text
    stamps = [promptry.get_prompt("p", number)["metadata"]["promptry"]["current_at"] for number in (1, 2, 3)]
    assert len(set(stamps)) == 3 and max(stamps) == stamps[0] == "2026-01-01T00:00:00.005Z"


def test_a_clock_that_goes_back_does_not_bring_an_old_text_back(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    promptry.track("A", "p")
    promptry.track("B", "p")
    monkeypatch.setattr(promptry, "now_text", lambda: "2001-01-01T00:00:00.000Z")
    promptry.track("C", "p")
    assert latest("p") == (3, "C")
    promptry.save_prompt("p", "A")
    assert latest("p") == (1, "A")


def test_only_code_sets_the_time_at_which_it_tracked(store: Any) -> None:
    promptry.save_prompt("p", "edited")
    assert set(promptry.get_prompt("p")["metadata"]["promptry"]) == {"current_at"}
    promptry.track("coded", "p")
    assert set(promptry.get_prompt("p")["metadata"]["promptry"]) == {"current_at", "tracked_at"}


def test_the_callers_metadata_stands_beside_our_own(store: Any) -> None:
    promptry.track("A", "p", metadata={"author": "Ada", "promptry": "theirs"})
    metadata = promptry.get_prompt("p")["metadata"]
    assert metadata["author"] == "Ada" and set(metadata["promptry"]) == {"current_at", "tracked_at"}


def test_an_unserialisable_metadata_value_does_not_lose_the_version(store: Any) -> None:
    promptry.track("A", "p", metadata={"when": object()})
    assert latest("p") == (1, "A")


# --- texts nobody thought of


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\r\n\t", "äöü 中文 🦉 \u202e", "a\x00b", "x" * 1_000_000, "🦉" * 250_000, "$a ${b} {c} %s", "'\"--;"],
    ids=lambda text: f"{len(text)} characters",
)
def test_any_text_comes_back_as_it_was(store: Any, text: str) -> None:
    assert promptry.track(text, "p") == text
    restart()
    assert latest("p") == (1, text)
    promptry.track(text, "p")
    assert versions_of("p") == [1]


def test_a_lone_surrogate_breaks_neither_the_caller_nor_the_store(store: Any) -> None:
    text = "half \ud83d of a face"
    assert promptry.track(text, "p") == text
    assert promptry.render_prompt("p", text) in {text, "half ? of a face", "half \ufffd of a face"}
    try:
        promptry.save_prompt("q", text)
    except promptry.PromptryError as error:
        assert isinstance(error, promptry.WrongUse)
    promptry.track("after", "p")
    assert latest("p")[1] == "after"


@pytest.mark.parametrize("words", [["prompt", "show"], ["calls", "--prompt"], ["runs", "--suite"]])
def test_a_name_that_is_no_text_on_the_command_line_is_no_fault_of_promptry(
    store: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    promptry.track("A", "p")
    code = promptry.run_command([*words, "\udcff\udcfe"])
    said = capsys.readouterr()
    assert "A fault in promptry" not in said.err and code in {0, 2}


@pytest.mark.parametrize("name", ["a/b", "a.b", "ü", "a b", "'", "%", "x" * 10_000, "-", "\n"])
def test_any_name_that_is_not_blank_can_be_tracked(store: Any, name: str) -> None:
    if not name.strip():
        with pytest.raises(promptry.WrongUse):
            promptry.track("A", name)
        return
    promptry.track("A", name, tag="a,b")
    assert promptry.find_prompt(name, tag="a,b") is not None and promptry.find_prompt(name, tag="a") is None


WRONG_TRACKS: list[tuple[Any, ...]] = [
    (None, "p"),
    (b"text", "p"),
    (5, "p"),
    (["a"], "p"),
    ("A", ""),
    ("A", "  "),
    ("A", None),
    ("A", 5),
    ("A", ["p"]),
    ("A", {"p": 1}),
    ("A", "p", ""),
    ("A", "p", 5),
    ("A", "p", ["prod"]),
    ("A", "p", None, "metadata"),
    ("A", "p", None, [1]),
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", WRONG_TRACKS)
@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_a_wrong_argument_raises_wrong_use(store: Any, arguments: tuple[Any, ...], known: bool) -> None:
    if known:
        promptry.track("B", "p")
    with pytest.raises(ValueError) as caught:
        promptry.track(*arguments)
    assert isinstance(caught.value, promptry.WrongUse) and isinstance(caught.value, promptry.PromptryError)
    content, name, *rest = arguments
    with pytest.raises(promptry.WrongUse):
        promptry.save_prompt(name, content, *rest)
    assert promptry.list_prompts()["total"] == int(known)


# --- tags


def test_a_tag_names_one_version_and_moves(store: Any) -> None:
    promptry.track("A", "p", tag="prod")
    assert promptry.find_prompt("p", tag="prod").version == 1  # type: ignore[union-attr]
    promptry.track("B", "p", tag="prod")
    assert promptry.find_prompt("p", tag="prod").version == 2  # type: ignore[union-attr]
    shown = promptry.get_prompt("p")
    assert [(row["version"], row["tags"]) for row in shown["versions"]] == [(2, ["prod"]), (1, [])]


def test_promote_moves_a_tag_and_keeps_the_history(store: Any) -> None:
    for text in ("A", "B", "C"):
        promptry.save_prompt("p", text)
    for version in (1, 2, 3, 3, 1):
        promptry.promote("p", version, "prod")
    promptry.promote("p", 3, "staging")
    assert promptry.list_prompts()["items"][0]["tags"] == {"prod": 1, "staging": 3}
    history = {
        number: [
            (entry["tag"], entry["from"])
            for entry in promptry.get_prompt("p", number)["metadata"]["promptry"].get("promotions", [])
        ]
        for number in (1, 2, 3)
    }
    assert history == {1: [("prod", None), ("prod", 3)], 2: [("prod", 1)], 3: [("prod", 2), ("staging", None)]}
    for number in (1, 2, 3):
        for entry in promptry.get_prompt("p", number)["metadata"]["promptry"]["promotions"]:
            assert len(entry["at"]) == 24


def test_a_roll_back_is_a_promotion_of_an_older_version(store: Any) -> None:
    promptry.save_prompt("p", "good", tag="prod")
    promptry.save_prompt("p", "bad")
    promptry.promote("p", 2, "prod")
    promptry.promote("p", 1, "prod")
    assert promptry.find_prompt("p", tag="prod").content == "good"  # type: ignore[union-attr]
    assert latest("p") == (2, "bad") and versions_of("p") == [2, 1]


def test_promoting_changes_neither_text_nor_which_version_is_latest(store: Any) -> None:
    promptry.save_prompt("p", "A")
    promptry.save_prompt("p", "B")
    promptry.promote("p", 1, "prod")
    assert latest("p") == (2, "B")


PROMOTIONS: list[tuple[tuple[Any, ...], type[Exception]]] = [
    (("nobody", 1, "prod"), promptry.NotFound),
    (("p", 99, "prod"), promptry.NotFound),
    (("p", 0, "prod"), promptry.NotFound),
    (("p", -1, "prod"), promptry.NotFound),
    (("p", 2**70, "prod"), promptry.NotFound),
    (("p", "1", "prod"), promptry.WrongUse),
    (("p", True, "prod"), promptry.WrongUse),
    (("p", None, "prod"), promptry.WrongUse),
    (("p", 1, ""), promptry.WrongUse),
    (("p", 1, None), promptry.WrongUse),
    (("", 1, "prod"), promptry.WrongUse),
]


@pytest.mark.parametrize(("arguments", "error"), PROMOTIONS)
def test_a_promotion_that_cannot_be_is_refused(store: Any, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    promptry.save_prompt("p", "A")
    with pytest.raises(error):
        promptry.promote(*arguments)
    assert promptry.list_prompts()["items"][0]["tags"] == {}


def test_what_does_not_exist_is_named_with_what_does(store: Any) -> None:
    promptry.save_prompt("greeting", "A")
    promptry.save_prompt("greeting", "B")
    for call, said in [
        (lambda: promptry.get_prompt("greting"), r"no prompt 'greting'. Did you mean 'greeting'\?"),
        (lambda: promptry.get_prompt("greeting", 9), r"no version 9. It has versions 1 to 2"),
        (lambda: promptry.get_prompt("greeting", tag="prod"), r"carries the tag 'prod'"),
        (lambda: promptry.diff_prompts("greeting", 1, 9), r"no version 9"),
    ]:
        with pytest.raises(promptry.NotFound, match=said):
            call()


def test_a_version_and_a_tag_at_once_are_wrong_use(store: Any) -> None:
    promptry.save_prompt("p", "A", tag="prod")
    with pytest.raises(promptry.WrongUse):
        promptry.get_prompt("p", 1, "prod")


# --- nothing is rewritten


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM prompts",
        "UPDATE prompts SET content = 'rewritten'",
        "UPDATE prompts SET hash = 'rewritten'",
        "UPDATE OR REPLACE prompts SET version = 2 WHERE version = 1",
        "INSERT OR REPLACE INTO prompts (name, version, content, hash) VALUES ('p', 1, 'rewritten', 'h')",
        "INSERT INTO prompts (name, version, content, hash) VALUES ('p', 1, 'rewritten', 'h')"
        " ON CONFLICT DO UPDATE SET content = excluded.content",
    ],
)
def test_the_file_itself_refuses_to_delete_or_rewrite_a_version(raw: sqlite3.Connection, statement: str) -> None:
    promptry.save_prompt("p", "A")
    promptry.save_prompt("p", "B", tag="prod")
    with pytest.raises(sqlite3.IntegrityError, match="never|already"):
        raw.execute(statement)
    assert raw.execute("SELECT content FROM prompts ORDER BY version").fetchall() == [("A",), ("B",)]


# --- many at once

RACERS = """
import sys, time, promptry
promptry.use_store(sys.argv[1])
number, moment = int(sys.argv[2]), float(sys.argv[3])
while time.time() < moment:
    pass
for turn in range(25):
    promptry.save_prompt("own", f"text {turn} of {number}")
    promptry.save_prompt("common", f"text {turn}", tag="prod")
    promptry.track(f"tracked {turn}", "tracked")
"""


@pytest.mark.slow
def test_processes_that_save_at_once_get_versions_without_holes(
    raw: sqlite3.Connection, store: Any, start_python: Any
) -> None:
    moment = time.time() + 1.0
    children = [start_python(RACERS, store, number, moment) for number in range(4)]
    for child in children:
        _, said = child.communicate(timeout=60)
        assert child.returncode == 0, said
    versions = {
        name: [version for (version,) in raw.execute("SELECT version FROM prompts WHERE name = ? ORDER BY 1", (name,))]
        for name in ("own", "common", "tracked")
    }
    assert versions["own"] == list(range(1, 101))
    assert versions["common"] == versions["tracked"] == list(range(1, 26))
    assert raw.execute("SELECT count(*) FROM prompt_tags").fetchone() == (1,)
    stamps = [
        json.loads(text)["promptry"]["current_at"]
        for (text,) in raw.execute("SELECT metadata FROM prompts WHERE name = 'own'")
    ]
    assert len(set(stamps)) == 100


def test_threads_that_track_at_once_make_one_version_per_text(store: Any) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            promptry.track(f"text {turn % 5}", "p")
            promptry.track(f"text {number}", f"own {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions_of("p") == [5, 4, 3, 2, 1]


# --- a store in trouble


def test_track_that_could_not_be_stored_is_stored_later(store: Any, locked: Any, clock: Any) -> None:
    with locked():
        assert promptry.track("A", "p") == "A"
    clock(5.0)
    assert promptry.track("A", "p") == "A"
    assert latest("p") == (1, "A")


def test_track_does_not_wait_again_and_again_for_a_locked_store(store: Any, locked: Any) -> None:
    with locked():
        began = time.monotonic()
        for _ in range(50):
            promptry.track("A", "p")
        assert time.monotonic() - began < 0.8


# --- the reads


def test_prompts_are_listed_the_latest_changed_first(store: Any) -> None:
    for name in ("a", "b", "c"):
        promptry.save_prompt(name, "A")
        time.sleep(0.002)
    promptry.save_prompt("a", "B", tag="prod")
    listed = promptry.list_prompts()
    assert [row["name"] for row in listed["items"]] == ["a", "c", "b"]
    first = listed["items"][0]
    assert set(first) == {"name", "module", "latest", "versions", "tags", "current_at", "runs", "calls"}
    assert (first["latest"], first["versions"], first["tags"]) == (2, 2, {"prod": 2})


def test_prompts_are_paged_without_missing_one(store: Any) -> None:
    for number in range(7):
        promptry.save_prompt(f"p{number}", "A")
    names, cursor = [], None
    for _ in range(10):
        found = promptry.list_prompts(limit=3, before=cursor)
        assert found["total"] == 7
        names += [row["name"] for row in found["items"]]
        cursor = found["next"]
        if cursor is None:
            break
    assert sorted(names) == [f"p{number}" for number in range(7)]


def test_every_version_of_a_long_history_is_shown(store: Any) -> None:
    for number in range(150):
        promptry.save_prompt("p", f"text {number}")
    assert versions_of("p") == list(range(150, 0, -1))
    assert promptry.get_prompt("p", 3)["content"] == "text 2"


def test_two_versions_are_compared_line_by_line(store: Any) -> None:
    promptry.save_prompt("p", "same\nold\n[bold]x[/bold]")
    promptry.save_prompt("p", "same\nnew\n[bold]x[/bold]")
    found = promptry.diff_prompts("p", 1, 2)
    assert (found["name"], found["old"], found["new"]) == ("p", 1, 2)
    assert [(line["kind"], line["text"]) for line in found["lines"]] == [
        ("same", "same"),
        ("removed", "old"),
        ("added", "new"),
        ("same", "[bold]x[/bold]"),
    ]
    assert "-old\n+new" in found["diff"] and "--- p v1\n+++ p v2" in found["diff"]
    assert promptry.diff_prompts("p", 1, 1)["diff"] == ""


HUGE = "9" * 20


@pytest.mark.parametrize(
    "words", [["show", "p", "--version", HUGE], ["promote", "p", HUGE, "prod"], ["diff", "p", "1", HUGE]]
)
def test_a_number_greater_than_any_version_is_unknown_and_no_fault(
    store: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    promptry.save_prompt("p", "A")
    assert promptry.run_command(["prompt", *words]) == 2
    assert "A fault in promptry" not in capsys.readouterr().err


def words_of(old: str, new: str) -> list[tuple[str, str]]:
    promptry.save_prompt("w", old)
    first = promptry.find_prompt("w", content=old)
    promptry.save_prompt("w", new)
    second = promptry.find_prompt("w", content=new)
    assert first is not None and second is not None
    found = promptry.diff_prompts("w", first.version, second.version)
    return [(run["kind"], run["text"]) for run in found["words"]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Answer briefly: $question", "Answer at length: $question"),
        ("one\ntwo\nthree\n", "one\n2\nthree\nfour\n"),
        ("a  b", "a b"),
        ("same", "same\n"),
        ("one\r\ntwo", "one\ntwo"),
        ("Straße\r\nÄ", "Strasse\r\nÄ"),
    ],
)
def test_the_words_of_a_diff_are_both_texts(store: Any, old: str, new: str) -> None:
    runs = words_of(old, new)
    assert "".join(text for kind, text in runs if kind != "added") == old
    assert "".join(text for kind, text in runs if kind != "removed") == new
    assert all(one[0] != other[0] for one, other in zip(runs, runs[1:], strict=False)), "runs of a kind are one"


def test_only_the_words_that_changed_are_marked(store: Any) -> None:
    assert words_of("Keep.\nAnswer briefly: $question", "Keep.\nAnswer kindly: $question") == [
        ("same", "Keep.\nAnswer "),
        ("removed", "briefly"),
        ("added", "kindly"),
        ("same", ": $question"),
    ]


# --- contexts, and text with data baked in


def test_the_context_of_a_prompt_is_a_prompt_beside_it(store: Any) -> None:
    chunks = ["one", "two"]
    assert promptry.track_context(chunks, "p", {"index": "a"}) is chunks
    found = promptry.get_prompt("p:context")
    assert found["content"] == "one\n---\ntwo" and found["metadata"]["chunk_count"] == 2
    assert found["metadata"]["index"] == "a"
    assert promptry.track_context(chunks, "q", sample_rate=0.0) is chunks
    with pytest.raises(promptry.NotFound):
        promptry.get_prompt("q:context")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("text", "p"), "list of texts"),
        (([1], "p"), "list of texts"),
        ((["a"], ""), "name"),
        ((["a"], "p", None, 2), "share"),
    ],
)
def test_a_context_that_is_none_is_refused(store: Any, arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words):
        promptry.track_context(*arguments)


def test_the_share_of_contexts_comes_from_the_settings(store: Any, tmp_path: Any) -> None:
    (tmp_path / "promptry.toml").write_text("[capture]\ncontext_sample_rate = 0.0\n")
    promptry.forget_settings()
    promptry.track_context(["a"], "p")
    assert promptry.list_prompts()["total"] == 0


def test_a_prompt_that_gains_versions_without_end_is_told_once_with_the_call_to_use(store: Any, caplog: Any) -> None:
    for number in range(promptry.MANY_VERSIONS + 3):
        promptry.track(f"Answer question {number}", "baked")
        promptry.track_context([str(number)], "baked")
    told = [record.getMessage() for record in caplog.records if "baked into" in record.getMessage()]
    assert len(told) == 1 and "render_prompt('baked', template, variables={...})" in told[0]


# --- tags


def test_a_tag_by_code_keeps_its_history_too(store: Any) -> None:
    promptry.track("one", "p", tag="prod")
    promptry.track("two", "p", tag="prod")
    promptry.track("two", "p", tag="prod")
    two, one = promptry.get_prompt("p")["versions"]
    assert [row["from"] for row in two["promotions"]] == [1] and [row["from"] for row in one["promotions"]] == [None]
    assert (one["tags"], two["tags"]) == ([], ["prod"])


def test_a_tag_that_is_not_there_cannot_be_taken_off(store: Any) -> None:
    promptry.save_prompt("p", "one")
    with pytest.raises(promptry.NotFound, match="carries the tag 'prod'"):
        promptry.remove_tag("p", "prod")


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a\n", "a", ["-a", "+a", "\\ No newline at end of file"]),
        ("a\r\nb", "a\nb", ["-a\\r", "+a", " b"]),
        ("a\u2028b", "a\u2028c", ["-a\u2028b"]),
    ],
)
def test_a_diff_shows_ends_of_lines_that_differ(store: Any, old: str, new: str, shown: list[str]) -> None:
    promptry.save_prompt("p", old)
    promptry.save_prompt("p", new)
    found = promptry.diff_prompts("p", 1, 2)
    assert all(line in found["diff"].split("\n") for line in shown)


@pytest.mark.parametrize("cells", [0, 1, 1_000_000])
def test_a_diff_of_any_texts_holds_both(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_MAX_CELLS", cells)
    draw = random.Random(cells)
    for _ in range(400):
        old, new = ("".join(draw.choice("ab \n") for _ in range(draw.randrange(14))) for _ in range(2))
        found = promptry.diff_texts(*(promptry.PromptVersion(1, "p", 1, text, "h") for text in (old, new)))
        assert "".join(run["text"] for run in found["words"] if run["kind"] != "added") == old
        assert "".join(run["text"] for run in found["words"] if run["kind"] != "removed") == new
        assert (not found["diff"]) == (old == new)


def test_no_comparison_of_a_long_text_takes_the_square_of_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, matcher = [], difflib.SequenceMatcher

    def watched(junk: Any, old: Any, new: Any, *rest: Any, **options: Any) -> Any:
        cells.append(len(old) * len(new))
        return matcher(junk, old, new, *rest, **options)

    monkeypatch.setattr(difflib, "SequenceMatcher", watched)
    draw = random.Random(1)
    old = [f"w{draw.randrange(3000)}" for _ in range(20_000)]
    new = [*old[:500], "here", *old[503:15_000], *old[15_002:]]
    shuffled = [f"w{number}" for number in draw.sample(range(5000), 5000)]
    for one, other in ((old, new), (shuffled, sorted(shuffled))):
        texts = (promptry.PromptVersion(1, "p", 1, " ".join(words), "h") for words in (one, other))
        found = promptry.diff_texts(*texts)
        assert max(cells) <= 1_000_000
        if one is old:
            assert sum(run["kind"] != "same" for run in found["words"]) < 20


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: promptry.get_prompt("p", "x"), "The version is 'x'; it takes a whole number"),
        (lambda: promptry.diff_prompts("p", "1", "2"), "The version is '1'"),
        (lambda: promptry.get_prompt(None), "The name is None"),
        (lambda: promptry.load_dataset("d", "1"), "The version is '1'"),
        (lambda: promptry.get_dataset(5), "The name is 5"),
        (lambda: promptry.lint_prompt(None), "The content is NoneType"),
    ],
)
def test_a_read_asked_with_a_wrong_type_says_so(store: Any, ask: Any, words: str) -> None:
    promptry.save_prompt("p", "text")
    with pytest.raises(promptry.WrongUse, match=re.escape(words)):
        ask()


def test_a_diff_of_texts_that_both_lack_the_last_end_says_nothing_of_it(store: Any) -> None:
    promptry.save_prompt("p", "a")
    promptry.save_prompt("p", "a\nb")
    found = promptry.diff_prompts("p", 1, 2)
    assert found["diff"].split("\n")[2:] == ["@@ -1 +1,2 @@", " a", "+b"]
    assert found["words"] == [{"kind": "same", "text": "a"}, {"kind": "added", "text": "\nb"}]


def test_the_state_of_the_prompts_changes_with_each_edit(store: Any) -> None:
    seen = [promptry.prompt_state()]
    for step in (
        lambda: promptry.save_prompt("p", "one"),
        lambda: promptry.save_prompt("p", "two"),
        lambda: promptry.save_prompt("p", "one"),
        lambda: promptry.promote("p", 1, "prod"),
        lambda: promptry.promote("p", 2, "prod"),
        lambda: promptry.remove_tag("p", "prod"),
    ):
        step()
        seen.append(promptry.prompt_state())
    assert all(one != other for one, other in itertools.pairwise(seen))
    assert promptry.prompt_state() == seen[-1]
