"""EDITS: each command that writes, with what it says, its exit code, and what it refuses."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], store: Path) -> Say:
    """Give a function that runs a command line and returns (exit code, stdout, stderr)."""

    def run(*words: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = promptry.run_command([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.txt"
    path.write_text("Answer: $question\n", encoding="utf-8")
    return path


def test_a_file_becomes_a_version_and_an_equal_one_stays(say: Say, text: Path) -> None:
    assert say("prompt", "save", "p", text, "--tag", "dev", "--metadata", '{"by": "ada"}') == (
        0,
        "p@1 is saved, dev.\n",
        "",
    )
    assert say("prompt", "save", "p", text)[1] == "p@1 is the latest version again.\n"
    found = promptry.get_prompt("p")
    assert found["content"] == "Answer: $question\n" and found["tags"] == ["dev"] and found["metadata"]["by"] == "ada"
    text.write_text("Answer in $tone: {question}", encoding="utf-8")
    promptry.promote("p", 1, "prod")
    code, out, err = say("prompt", "save", "p", text)
    assert (code, out) == (0, "p@2 is saved.\n")
    assert "$tone is new since version 1" in err and "$question of version 1 is gone" in err and "'{question}'" in err


@pytest.mark.slow
def test_stdin_becomes_a_version(run_cli: Any, store: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    root = Path(promptry.__file__).parent
    words = [sys.executable, str(root / "promptry.py"), "prompt", "save", "p", "--db", str(store)]
    done = subprocess.run(words, input="ä text", capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout == "p@1 is saved.\n" and promptry.get_prompt("p")["content"] == "ä text"


def test_a_tag_is_put_and_taken_off_and_its_history_stays(say: Say) -> None:
    promptry.save_prompt("p", "one")
    promptry.save_prompt("p", "two")
    assert say("prompt", "tag", "p", "1", "beta") == (0, "p@1 is beta now.\n", "")
    assert say("prompt", "tag", "p", "2", "beta")[0] == 0
    assert say("prompt", "untag", "p", "beta") == (0, "p@2 is beta no more.\n", "")
    two, one = promptry.get_prompt("p")["versions"]
    assert one["tags"] == two["tags"] == []
    assert [(row["tag"], row.get("from"), row.get("removed")) for row in two["promotions"]] == [
        ("beta", 1, None),
        ("beta", None, True),
    ]
    assert say("prompt", "untag", "p", "beta")[0] == 2
    assert say("prompt", "tag", "p", "1")[0] == 2
    assert say("prompt", "tag", "p", "9", "x")[0] == 2


def test_lint_says_what_is_odd_and_exits_1_for_an_error(say: Say, text: Path) -> None:
    promptry.save_prompt("p", "Answer: $question", tag="prod")
    assert say("prompt", "lint", "p") == (0, "Nothing to say; placeholders: question\n", "")
    code, out, _ = say("prompt", "lint", "p", "--variable", "questoin", "--json")
    (row,) = json.loads(out)["items"]
    assert code == 1 and row["level"] == "error" and "Did you mean 'questoin'?" in row["message"]
    text.write_text("Only ${broken and {{question}} for $5\n")
    code, out, _ = say("prompt", "lint", "p", "--file", text)
    assert code == 0 and "'{{question}}' is plain text" in out and "'${broken and {{question}'" in out
    assert "$question of version 1 is gone" in out
    assert say("prompt", "lint", "absent")[0] == 2


FILES: list[tuple[str, str, Any]] = [
    ("a.json", '[{"id": 1}, "x"]', [{"id": 1}, "x"]),
    ("a.jsonl", '{"id": 1}\n\n{"id": "ä"}\n', [{"id": 1}, {"id": "ä"}]),
    (
        "a.csv",
        'id,text\n1,"a, b"\n2,"line\nbreak"\n',
        [{"id": "1", "text": "a, b"}, {"id": "2", "text": "line\nbreak"}],
    ),
    ("b.CSV", "\ufeffid\nä\n", [{"id": "ä"}]),
]


@pytest.mark.parametrize(("name", "content", "items"), FILES)
def test_a_file_becomes_a_dataset(say: Say, tmp_path: Path, name: str, content: str, items: Any) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert say("dataset", "save", path, "--name", "qa") == (
        0,
        f"qa@1 has {promptry.counted(len(items), 'item')}.\n",
        "",
    )
    assert say("dataset", "save", path, "--name", "qa")[1].startswith("qa@1")
    assert promptry.load_dataset("qa") == items
    assert say("dataset", "save", path)[1].startswith(f"{path.stem}@1")


BAD_FILES = [
    ("a.json", "{}", "holds a dict; a dataset is a list"),
    ("a.json", "[", "is no JSON"),
    ("a.json", "[]", "holds no item"),
    ("a.jsonl", '{"a": 1}\n{oops}\n', "line 2 is no JSON"),
    ("a.csv", "", "no CSV with a line of column names"),
    ("a.csv", "id,id\n1,2\n", "each once; it is 'id, id'"),
    ("a.csv", "id,text\n1,2,3\n", "row 2 has 3 fields; the first line names 2"),
    ("a.xml", "<a/>", "ends in '.xml'"),
    ("a.txt", "x", "ends in '.txt'"),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES)
def test_a_file_that_holds_no_items_is_one_sentence(
    say: Say, tmp_path: Path, name: str, content: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    code, out, err = say("dataset", "save", path)
    assert code == 2 and out == "" and words in err and err.count("\n") == 1
    assert promptry.list_datasets()["total"] == 0


def test_a_file_that_is_not_there_or_no_text_is_one_sentence(say: Say, tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe[1]")
    assert say("dataset", "save", tmp_path / "absent.json")[0] == 2
    assert "UTF-8" in say("dataset", "save", tmp_path / "bytes.json")[2]


def test_a_call_a_rated_call_and_a_vote_become_items(say: Say) -> None:
    messages = json.dumps([{"role": "user", "content": "Refund?"}])
    for number in range(3):
        promptry.track_invocation("p", request_id=f"r{number}", input_text=messages, output_text="Yes.", capture=True)
    promptry.track_invocation("p")
    promptry.record_feedback("r1", 0.0, "wrong")
    promptry.record_feedback("r2", 1.0)
    promptry.vote("p", "Never.", -1, "rude")
    code, out, _ = say("dataset", "add", "qa", "--call", "1")
    assert code == 0 and out.startswith("qa@1 holds ")
    assert say("dataset", "add", "qa", "--call", "1")[1].startswith("qa@1 held already: ")
    for words in (("--call", "2"), ("--call", "3"), ("--vote", "1")):
        assert say("dataset", "add", "qa", *words)[0] == 0
    plain, bad, good, voted = promptry.load_dataset("qa")
    assert plain["input"] == [{"role": "user", "content": "Refund?"}] and plain["expected"] == "Yes."
    assert bad["rejected"] == "Yes." and bad["from"]["comments"] == ["wrong"] and "expected" not in bad
    assert good["expected"] == "Yes." and good["from"]["rating"] == 1.0
    assert voted["rejected"] == "Never." and voted["from"]["message"] == "rude"
    assert promptry.get_dataset("qa")["version"] == 4
    code, _, err = say("dataset", "add", "qa", "--call", "4")
    assert code == 2 and "no captured text" in err
    assert say("dataset", "add", "qa", "--call", "99")[0] == 2
    assert say("dataset", "add", "qa", "--vote", "99")[0] == 2
    assert say("dataset", "add", "qa")[0] == 2
    assert say("dataset", "add", "qa", "--call", "1", "--vote", "1")[0] == 2


def test_an_item_made_of_a_call_runs_in_a_suite(say: Say) -> None:
    promptry.track_invocation("p", input_text="2 + 2", output_text="4", capture=True)
    say("dataset", "add", "sums", "--call", "1")

    @promptry.suite("sums", dataset="sums")
    def check(item: dict[str, Any]) -> None:
        promptry.assert_exact(str(eval(item["input"])), item["expected"])

    result = promptry.run_suite("sums")
    assert result.passed and [row["case"] for row in result.cases] == ["call-1"]


def test_votes_and_ratings_come_from_the_command_line(say: Say) -> None:
    assert say("vote", "p", "Yes.", "--down", "--message", "rude") == (0, "vote 1 is recorded.\n", "")
    for words in ([], ["--up", "--down"]):
        code, _, err = say("vote", "p", "Yes.", *words)
        assert code == 2 and err == "promptry: A vote is up or down. Give one of --up and --down.\n"
    assert say("vote", "p", "No.", "--up")[0] == 0 and promptry.list_votes()["total"] == 2
    assert say("feedback", "add", "r1", "--rating", "0.5", "--source", "ada")[:2] == (0, "feedback 1 is recorded.\n")
    assert say("feedback", "add", "r1", "--rating", "7")[0] == 2
    assert say("feedback", "add", "r1")[0] == 2
    assert json.loads(say("feedback", "--json")[1])["items"][0]["source"] == "ada"
    assert "rude" in say("votes", "p")[1]


def test_prices_are_listed_with_their_source(say: Say) -> None:
    promptry.connect()
    code, out, _ = say("prices", "list", "gpt-4o-mini", "--provider", "openai", "--json")
    rows = json.loads(out)["items"]
    assert (
        code == 0
        and {row["provider"] for row in rows} == {"openai"}
        and all("gpt-4o-mini" in row["model"] for row in rows)
    )
    assert "genai-prices" in say("prices", "list", "gpt-4o")[1]
    assert say("prices", "list", "no-such-model")[1] == "No model of that name has a rate.\n"


def test_the_store_is_backed_up_and_thinned_out(say: Say, store: Path, tmp_path: Path, raw: sqlite3.Connection) -> None:
    promptry.track("text", "p")
    promptry.track_invocation("p")
    raw.execute("UPDATE invocations SET created_at = '2020-01-01T00:00:00.000Z'")
    code, out, _ = say("backup", tmp_path / "copy.db")
    assert code == 0 and "checked" in out and "invocations 1" in out
    assert say("backup", tmp_path / "copy.db")[0] == 2
    code, out, _ = say("retention", "--calls-days", "30")
    assert code == 0 and "would go" in out and promptry.list_calls()["total"] == 1
    code, out, _ = say("retention", "--calls-days", "30", "--apply")
    assert code == 0 and "taken out" in out and promptry.list_calls()["total"] == 0
    assert "Another process" not in out
    assert say("retention", "--calls-days", "0")[0] == 2


def test_a_save_that_goes_to_production_tells_what_it_changes_there(say: Say, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    for text in ("Hi $q", "Hi $q and $new"):
        file.write_text(text)
        code, _, err = say("prompt", "save", "x", file, "--tag", "prod")
        assert code == 0
    assert "$new is new since version 1" in err
    code, _, err = say("prompt", "promote", "x", 1, "prod")
    assert code == 0 and "$new of version 2 is gone" in err


def test_an_empty_text_is_not_saved(say: Say, store: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\n")
    code, _, err = say("prompt", "save", "x", tmp_path / "p.txt", "--tag", "prod")
    assert code == 2 and "The text of prompt 'x' is empty" in err
    assert promptry.list_prompts()["total"] == 0


def test_a_file_is_saved_with_the_line_ends_that_it_has(say: Say, store: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("\ufeffa\r\nb".encode())
    assert say("prompt", "save", "x", tmp_path / "p.txt")[0] == 0
    assert promptry.get_prompt("x")["content"] == "a\r\nb"
