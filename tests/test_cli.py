"""CLI and MAIN: parse, one call, print; one clear sentence and the right exit code for all that can be wrong."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import promptry
from promptry import promote, save_prompt, track_invocation

ROOT = Path(promptry.__file__).resolve().parent
EVALS = (
    "from promptry import *\n"
    "@suite('quiz', prompt='greeting')\n"
    "def check(): assert_exact(render_prompt('greeting', ''), 'Hello')\n"
)

Say = Callable[..., Any]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Give a function that runs a command line here: (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def run(*words: Any) -> tuple[int, str, str]:
        sys.modules.pop("evals", None)
        capsys.readouterr()
        code = promptry.run_command([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def project(store: Path, tmp_path: Path) -> Path:
    """A folder with a suite, a prompt of two versions, a run and a call."""
    save_prompt("greeting", "Hi", tag="prod")
    save_prompt("greeting", "Hello")
    (tmp_path / "evals.py").write_text(EVALS)
    track_invocation("greeting")
    return tmp_path


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*words, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))


ALL = [(), *commands(promptry.make_cli())]


def test_a_line_that_begins_with_a_command_makes_no_other() -> None:
    groups = set(promptry._GROUPS)
    assert set(promptry._made_for(["calls", "--limit", "1"]).commands) == {"calls", *groups}
    assert set(promptry._made_for(["prompt", "list"]).commands["prompt"].commands) >= {"list", "show", "promote"}
    for line in ([], ["--db", "runs", "calls"], ["nope"], ["--help"]):
        assert set(promptry._made_for(line).commands) == set(promptry.make_cli().commands), line


@pytest.mark.parametrize("words", ALL, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_command_explains_itself(words: tuple[str, ...], flag: str, say: Say) -> None:
    code, out, err = say(*words, flag)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: promptry {' '.join(words)}".rstrip())
    assert len(re.sub(r"\s+", " ", out)) > 60, "a sentence, not only the usage"


def test_the_commands_are_those_of_this_stage() -> None:
    top = {words[0] for words in ALL if words}
    assert top >= {"init", "demo", "run", "suites", "runs", "compare", "prompt", "calls", "sql", "doctor"}
    assert {words[1] for words in ALL if len(words) == 2 and words[0] == "prompt"} >= {
        "list",
        "show",
        "diff",
        "promote",
    }


def test_the_version_is_printed(say: Say) -> None:
    assert say("--version") == (0, f"promptry {promptry.__version__}\n", "")


def test_help_does_not_need_a_store_that_works(say: Say, tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text("[store\n")
    assert say("--help")[0] == 0
    assert say("run", "--help")[0] == 0
    assert say("--version")[0] == 0


BAD: list[tuple[list[str], int, str]] = [
    (["run", "quzi"], 2, "Did you mean 'quiz'"),
    (["run", "zzz"], 2, "There are: quiz"),
    (["run", "--module", "absent"], 2, "no module 'absent'"),
    (["run", "--module", "absent.py"], 2, "no file absent.py"),
    (["run", "--module", "pkg.absent"], 2, "no module 'pkg.absent'"),
    (["run", "--compare", "prd"], 2, "Did you mean 'prod'"),
    (["run", "--env", "nowhere"], 2, "'nowhere'"),
    (["run", "--prompt-version", "9"], 2, "no version 9"),
    (["run", "--prompt-version", "x"], 2, "--prompt-version"),
    (["run", "--prompt-version", "1", "--env", "prod"], 2, "Give one"),
    (["run", "--repeats", "0"], 2, "--repeats"),
    (["run", "--repeats", "-3"], 2, "--repeats"),
    (["run", "--min-score", "2"], 2, "--min-score"),
    (["run", "--min-score", "nan"], 2, "nan"),
    (["run", "--format", "yaml"], 2, "--format"),
    (["run", "--output", "no/such/folder/report.txt"], 2, "--output"),
    (["run", "--output", "."], 2, "--output"),
    (["run", "--output", ""], 2, "--output"),
    (["run", "--python", "no-such-python"], 2, "no-such-python"),
    (["run", "--no-such-option"], 2, "--no-such-option"),
    (["run", "--require-baseline"], 2, "says nothing without --compare"),
    (["run", "--require-power"], 2, "says nothing without --compare"),
    (["run", "--of", "1"], 2, "says nothing without --rerun"),
    (["run", "--plan", "--format", "junit"], 2, "--plan runs nothing"),
    (["run", "--plan", "--output", "plan.txt"], 2, "--plan runs nothing"),
    (["compare", "1", "--baseline", "gpt"], 2, "belongs to --by model"),
    (["compare", "--by", "model", "quiz", "--format", "html"], 2, "no form for models"),
    (["compare", "--by", "model", "quiz", "gpt", "--baseline", "gpt"], 2, "wo models"),
    (["nonsense"], 2, "nonsense"),
    (["prompt", "nonsense"], 2, "nonsense"),
    (["prompt", "show"], 2, "NAME"),
    (["prompt", "show", "greetings"], 2, "Did you mean 'greeting'"),
    (["prompt", "show", "greeting", "--version", "7"], 2, "versions 1 to 2"),
    (["prompt", "show", "greeting", "--tag", "nowhere"], 2, "nowhere"),
    (["prompt", "diff", "greeting", "1", "7"], 2, "no version 7"),
    (["prompt", "diff", "greeting", "one", "two"], 2, "OLD"),
    (["prompt", "promote", "greeting", "7", "prod"], 2, "no version 7"),
    (["prompt", "promote", "absent", "1", "prod"], 2, "no prompt 'absent'"),
    (["prompt", "promote", "greeting", "1", ""], 2, "tag"),
    (["prompt", "promote", "greeting"], 2, "VERSION"),
    (["runs", "99"], 2, "no run 99"),
    (["runs", "-1"], 2, "-1"),
    (["runs", "one"], 2, "'one'"),
    (["runs", "99999999999999999999"], 2, "run id"),
    (["runs", "--limit", "0"], 2, "1 to 1000"),
    (["runs", "--limit", "-5"], 2, "1 to 1000"),
    (["runs", "--limit", "1001"], 2, "1 to 1000"),
    (["runs", "--limit", "many"], 2, "--limit"),
    (["runs", "--before", "yesterday"], 2, "cursor"),
    (["calls", "99"], 2, "no call 99"),
    (["calls", "-1"], 2, "-1"),
    (["calls", "--limit", "0"], 2, "1 to 1000"),
    (["calls", "1", "--limit", "5"], 2, "--limit"),
    (["compare"], 2, "RUN"),
    (["compare", "99"], 2, "no run 99"),
    (["compare", "-1"], 2, "-1"),
    (["compare", "1", "nowhere"], 2, ""),
    (["drift", "--window", "0"], 2, "1 to 1000"),
    (["drift", "--window", "x"], 2, "--window"),
    (["bisect"], 2, "SUITE"),
    (["sql", "list_run"], 2, "Did you mean 'list_runs'"),
    (["suites", "--module", "absent"], 2, "no module 'absent'"),
    (["runs", "--db"], 2, "--db"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "sentence"), BAD, ids=lambda part: " ".join(part) if isinstance(part, list) else ""
)
def test_bad_input_is_one_clear_sentence_and_its_exit_code(
    words: list[str], code: int, sentence: str, project: Path, say: Say
) -> None:
    got, out, err = say(*words)
    assert got == code, err
    assert sentence in err
    assert out == "" and "Traceback" not in err
    assert err.startswith("promptry: ") and err.count("\n") == 1
    assert promptry.list_runs()["total"] == 0, "nothing half-done"
    got, out, err = say(*words, "--json")
    if "--db" not in words:
        assert got == code and set(json.loads(out)["error"]) == {"code", "message", "hint"}
        assert err.startswith(f"promptry: {json.loads(out)['error']['message']}"), "people read the sentence too"


def test_run_without_a_module_says_where_it_looked_and_what_to_do(store: Path, tmp_path: Path, say: Say) -> None:
    code, _, err = say("run")
    assert code == 2
    assert "evals" in err and str(tmp_path) in err and "promptry init" in err


def test_a_module_without_a_suite_is_said(store: Path, tmp_path: Path, say: Say) -> None:
    (tmp_path / "evals.py").write_text("x = 1\n")
    code, _, err = say("run")
    assert code == 2 and "registers no suite" in err


def test_a_failing_import_shows_the_users_traceback_and_our_reason_last(
    store: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    (tmp_path / "evals.py").write_text("def boom():\n    return {}['key']\nboom()\n")
    done = run_cli("run")
    assert done.returncode == 2 and done.stdout == ""
    assert "Traceback" in done.stderr and "evals.py" in done.stderr and "KeyError" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("promptry: The module 'evals' does not import: KeyError: 'key'")


TOMLS: list[tuple[str, str]] = [
    ("[stroe]\npath = 'x'\n", "Did you mean 'store'"),
    ("[store]\npaht = 'x'\n", "Did you mean 'path'"),
    ("[store]\nwait_ms = 'long'\n", "wait_ms"),
    ("[store]\nwait_ms = true\n", "wait_ms"),
    ("[store]\nwait_ms = -1\n", "wait_ms"),
    ("[store]\nsynchronous = 'maybe'\n", "NORMAL or FULL"),
    ("[store\n", "cannot be read"),
    ("store = 3\n", "section"),
    ("[[store]]\npath = 'x'\n", "section"),
    ("[run]\nmodule = 3\n", "module"),
    ("x = \u0000\n", "cannot be read"),
]


@pytest.mark.parametrize(("text", "sentence"), TOMLS)
@pytest.mark.parametrize("words", [["run"], ["runs"], ["prompt", "list"], ["sql"]], ids=" ".join)
def test_a_broken_promptry_toml_is_one_sentence_in_every_command(
    text: str, sentence: str, words: list[str], tmp_path: Path, say: Say
) -> None:
    (tmp_path / "promptry.toml").write_text(text)
    code, out, err = say(*words)
    assert code == 2 and out == ""
    assert sentence in err and str(tmp_path / "promptry.toml") in err
    assert "Traceback" not in err and err.count("\n") == 1


def test_doctor_explains_a_broken_promptry_toml_and_exits_1(tmp_path: Path, say: Say) -> None:
    (tmp_path / "promptry.toml").write_text("[stroe]\n")
    code, out, err = say("doctor")
    assert code == 1 and "Did you mean 'store'" in out


def make_garbage(path: Path) -> None:
    path.write_bytes(b"no database at all " * 500)


def make_foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (id)")
    connection.close()


def make_newer(path: Path) -> None:
    promptry.connect()
    promptry.close_store()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version (version, description) VALUES (99, 'the future')")
    connection.close()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_cut(path: Path) -> None:
    for number in range(60):
        save_prompt("p", f"{number} " * 500)
    promptry.connect().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    promptry.close_store()
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = b"\x07" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_garbage, "no SQLite file"),
        (make_foreign, "another program"),
        (make_newer, "newer promptry"),
        (make_folder, "cannot be opened"),
        (make_cut, "damaged"),
    ],
    ids=["garbage", "another program's", "newer", "a folder", "damaged"],
)
@pytest.mark.parametrize(
    "words", [["runs"], ["prompt", "list"], ["run"], ["prompt", "promote", "p", "1", "prod"]], ids=" ".join
)
def test_a_store_that_cannot_be_used_is_one_sentence_and_exit_3(
    make: Callable[[Path], None], sentence: str, words: list[str], store: Path, tmp_path: Path, say: Say
) -> None:
    (tmp_path / "evals.py").write_text(EVALS)
    make(store)
    before = store.read_bytes() if store.is_file() else b""
    code, out, err = say(*words)
    assert code == 3, err
    assert out == "" and sentence in err and str(store) in err
    assert "Traceback" not in err and err.count("\n") == 1
    assert (store.read_bytes() if store.is_file() else b"") == before, "left untouched"


def test_a_store_below_a_file_is_one_sentence(tmp_path: Path, say: Say) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = say("runs", "--db", tmp_path / "file" / "store.db")
    assert code == 3 and "Traceback" not in err and str(tmp_path / "file") in err


@pytest.mark.parametrize(
    "words",
    [
        ["--db", "named.db", "prompt", "list"],
        ["prompt", "list", "--db", "named.db"],
        ["--db=named.db", "prompt", "list"],
        ["--db", "other.db", "prompt", "list", "--db", "named.db"],
    ],
    ids=" ".join,
)
def test_the_store_is_named_before_or_after_the_command(
    words: list[str], tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTRY_DB", str(tmp_path / "environment.db"))
    promptry.use_store(tmp_path / "named.db")
    save_prompt("here", "text")
    promptry.use_store(None)
    code, out, _ = say(*words)
    assert code == 0 and "here" in out
    assert not (tmp_path / "environment.db").exists()


@pytest.mark.slow
def test_the_store_is_where_the_first_of_the_rules_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Say
) -> None:
    (tmp_path / "sub").mkdir()

    def place(**env: str) -> str:
        done = run_cli("doctor", "--json", **env)
        return str(next(row["detail"] for row in json.loads(done.stdout)["items"] if row["name"] == "store"))

    assert str(tmp_path / "home" / ".promptry" / "store.db") in place()
    (tmp_path / "promptry.toml").write_text("")
    assert str(tmp_path / ".promptry" / "store.db") in place()
    (tmp_path / "promptry.toml").write_text("[store]\npath = 'data/x.db'\n")
    assert str(tmp_path / "data" / "x.db") in place()
    assert str(tmp_path / "e.db") in place(PROMPTRY_DB=str(tmp_path / "e.db"))
    done = run_cli("doctor", "--json", "--db", "d.db", PROMPTRY_DB=str(tmp_path / "e.db"))
    assert str(tmp_path / "d.db") in done.stdout


def test_reading_an_empty_place_says_what_to_do_and_exits_0(say: Say) -> None:
    for words in (["prompt", "list"], ["runs"], ["calls"], ["suites"]):
        code, out, _ = say(*words)
        assert code == 0 and re.search(r"\bNo .* yet", out), words


# Commands that only read, with their exit code where there is no store yet.
LOOKS: list[tuple[list[str], int]] = [
    (["prompt", "list"], 0),
    (["prompt", "show", "p"], 2),
    (["prompt", "diff", "p", "1", "2"], 2),
    (["prompt", "lint", "p"], 2),
    (["suites"], 0),
    (["runs"], 0),
    (["runs", "1"], 2),
    (["compare", "1"], 2),
    (["calls"], 0),
    (["calls", "--format", "csv"], 0),
    (["calls", "--prompt", "p"], 2),
    (["traces"], 0),
    (["cost"], 0),
    (["prices", "list"], 0),
    (["prices", "check"], 0),
    (["prices", "reprice"], 0),
    (["budget", "list"], 0),
    (["budget", "check"], 0),
    (["feedback"], 0),
    (["votes"], 0),
    (["votes", "p"], 0),
    (["dataset", "list"], 0),
    (["dataset", "show", "qa"], 2),
    (["retention"], 0),
    (["sql"], 0),
    (["doctor"], 0),
]


@pytest.mark.slow
@pytest.mark.parametrize("toml", [None, "", "[store]\npath = 'data/x.db'\n"])
@pytest.mark.parametrize(("words", "code"), LOOKS, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_a_command_that_reads_makes_no_store(
    words: list[str], code: int, toml: str | None, tmp_path: Path, say: Say
) -> None:
    if toml is not None:
        (tmp_path / "promptry.toml").write_text(toml)
    before = sorted(tmp_path.rglob("*"))
    got, out, err = say(*words)
    assert got == code and "Traceback" not in err and bool(out) == (code == 0 and "--format" not in words), err
    assert sorted(tmp_path.rglob("*")) == before and promptry.chosen_store() is None


def test_an_empty_place_has_the_usual_shape_in_json(say: Say) -> None:
    for words in (["prompt", "list"], ["runs"], ["calls"], ["votes"], ["budget", "check"], ["prices", "check"]):
        code, out, _ = say(*words, "--json")
        assert code == 0 and json.loads(out) == {"items": [], "total": 0, "next": None}, words
    found = json.loads(say("retention", "--json")[1])
    assert (found["applied"], found["bytes_before"], found["held"]) == (False, 0, False)


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words, _ in LOOKS if words not in (["sql"], ["doctor"])], ids=" ".join)
def test_a_store_that_is_named_and_not_there_is_not_found(words: list[str], tmp_path: Path, run_cli: Say) -> None:
    path = tmp_path / "deep" / "mistyped.db"
    for named, env in (["--db", path], {}), ([], {"PROMPTRY_DB": str(path)}):
        done = run_cli(*words, *named, **env)
        assert done.returncode == 2 and done.stdout == "", done
        told = f"promptry: There is no store at {path}. The first track() or run with that path makes one.\n"
        assert done.stderr == told
    assert not path.parent.exists()


def test_what_is_not_there_comes_with_the_stores_that_are(tmp_path: Path, say: Say) -> None:
    (tmp_path / "promptry.toml").write_text("")
    save_prompt("p", "text")
    code, out, _ = say("prompt", "list", "--db", "mistyped.db", "--json")
    error = json.loads(out)["error"]
    assert code == 2 and error["code"] == "not_found"
    assert error["hint"] == f"There is {tmp_path / '.promptry' / 'store.db'}."
    promptry.use_store(None)
    assert say("prompt", "list")[1].startswith("prompt ")


@pytest.mark.parametrize(
    "words",
    [["vote", "p", "Yes.", "--up"], ["budget", "set", "global", "--limit", "5"], ["retention", "--apply"]],
    ids=" ".join,
)
def test_a_command_that_writes_still_makes_the_store(words: list[str], tmp_path: Path, say: Say) -> None:
    assert say(*words, "--db", tmp_path / "new" / "named.db")[0] == 0
    assert (tmp_path / "new" / "named.db").is_file()


def test_a_suite_is_listed_before_there_is_a_store(tmp_path: Path, say: Say) -> None:
    (tmp_path / "evals.py").write_text(EVALS)
    code, out, _ = say("suites", "--json")
    assert code == 0 and [row["suite"] for row in json.loads(out)["items"]] == ["quiz"]
    assert not (tmp_path / "home" / ".promptry").exists()


def test_promote_moves_a_tag_says_so_and_rolls_back(project: Path, say: Say) -> None:
    code, out, _ = say("prompt", "promote", "greeting", 2, "prod")
    assert code == 0 and "greeting@2 is prod now" in out and "version 1 before" in out
    code, out, _ = say("prompt", "promote", "greeting", 1, "prod")
    assert code == 0 and promptry.get_prompt("greeting", tag="prod")["version"] == 1


def test_the_report_goes_to_the_file_that_is_named_and_the_table_to_the_screen(project: Path, say: Say) -> None:
    promote("greeting", 2, "prod")
    code, out, _ = say("run", "--format", "json", "--output", "report.json")
    assert code == 0 and out.startswith("PASS")
    report = json.loads((project / "report.json").read_text())
    assert set(report) == {"items", "total", "next"} and report["items"][0]["suite"] == "quiz"
    code, out, _ = say("run", "--output", "report.txt")
    assert (project / "report.txt").read_text().startswith("PASS")


def test_the_results_of_a_run_are_a_list_in_json(project: Path, say: Say) -> None:
    for words in (["--json"], ["--format", "json"], ["--format=json"]):
        code, out, _ = say("run", *words)
        found = json.loads(out)
        assert code == 0 and set(found) == {"items", "total", "next"} and found["total"] == 1


def test_doctor_exits_0_for_a_hint_and_1_for_a_fault(project: Path, store: Path, say: Say) -> None:
    home = Path.home() / ".promptry"
    home.mkdir()
    (home / "store.db").write_bytes(b"")
    code, out, _ = say("doctor")
    assert code == 0 and "hint" in out and str(home / "store.db") in out
    store.chmod(0o644)
    code, out, _ = say("doctor")
    assert code == 1 and "fault" in out and "chmod 600" in out


@pytest.mark.slow
def test_a_pipe_that_is_closed_early_is_no_error(tmp_path: Path, store: Path) -> None:
    for number in range(300):
        save_prompt(f"p{number}", "text")
    import subprocess

    command = f'"{sys.executable}" "{ROOT / "promptry.py"}" prompt list --limit 1000 --db "{store}"'
    line = f"{command} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stderr == ""


def test_prompt_text_is_shown_as_it_is(store: Path, say: Say) -> None:
    save_prompt("p", "[bold]x[/bold] {json: 1} $name \\n 日本 %s")
    assert "[bold]x[/bold] {json: 1} $name \\n 日本 %s" in say("prompt", "show", "p")[1]


def test_text_that_the_terminal_cannot_show_does_not_stop_the_answer(store: Path, run_cli: Say) -> None:
    save_prompt("p", "日本 \U0001f600")
    done = run_cli("prompt", "show", "p", "--db", store, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "日" in done.stdout or "\\u65e5" in done.stdout


SAME = """
import sys
import promptry
from promptry import assert_exact, suite

@suite("same")
def check():
    assert_exact(sys.modules["promptry"] is sys.modules["__main__"], True)
    assert_exact(promptry.known_suites().keys() >= {"same"}, True)
    assert_exact(len([m for m in list(sys.modules.values()) if getattr(m, "__file__", "") == promptry.__file__]), 2)
"""


def test_running_as_a_script_makes_no_second_copy_of_the_module(tmp_path: Path, run_cli: Say) -> None:
    (tmp_path / "evals.py").write_text(SAME)
    done = run_cli("run", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["items"][0]["counts"]["checks"] == 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_spawned_from_the_script_has_one_copy_too(method: str, tmp_path: Path, run_cli: Say) -> None:
    (tmp_path / "evals.py").write_text(
        "import multiprocessing, sys\nfrom promptry import assert_exact, suite\n"
        "def look(_):\n    import promptry\n"
        "    found = [m for m in list(sys.modules.values()) if getattr(m, '__file__', '') == promptry.__file__]\n"
        "    return len({id(m.suite.__globals__) for m in found})\n"
        "@suite('spawned')\ndef check():\n"
        f"    with multiprocessing.get_context('{method}').Pool(1) as pool:\n"
        "        assert_exact(pool.map(look, [0]), [1])\n"
    )
    done = run_cli("run", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_init_writes_a_suite_that_runs_and_keeps_what_is_there(tmp_path: Path, run_cli: Say) -> None:
    done = run_cli("init", "new")
    assert done.returncode == 0 and "wrote" in done.stdout
    (tmp_path / "new" / "evals.py").write_text("# mine\n")
    again = run_cli("init", "new")
    assert again.returncode == 0 and "kept" in again.stdout
    assert (tmp_path / "new" / "evals.py").read_text() == "# mine\n"


def test_init_into_a_file_is_one_sentence(tmp_path: Path, run_cli: Say) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("init", "file")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "file" in done.stderr


def test_results_go_to_stdout_and_talk_to_stderr(project: Path, say: Say) -> None:
    spool = promptry.open_spool({"uid": "u", "suite": "s"})
    promptry.end_spool(spool, keep=True)
    try:
        code, out, err = say("run", "--json")
        json.loads(out)
        assert code == 0 and "--recover" in err
    finally:
        spool.path.unlink()


@pytest.mark.slow
def test_colour_appears_only_on_a_terminal(project: Path, run_cli: Say) -> None:
    if not hasattr(os, "openpty"):
        pytest.skip("needs a terminal")
    import subprocess

    words = [sys.executable, str(ROOT / "promptry.py"), "run", "--db", str(project / "store.db")]
    assert "\x1b[" not in run_cli("run", "--db", project / "store.db").stdout
    ours, theirs = os.openpty()
    done = subprocess.Popen(words, stdout=theirs, stderr=subprocess.DEVNULL, cwd=project)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    done.wait(30)
    os.close(ours)
    assert b"\x1b[" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prompt", "lint"], "Missing argument 'NAME'. promptry prompt lint --help says more."),
        (["prompt", "lint", "--nope"], "No such option '--nope'. promptry prompt lint --help says more."),
        (["nope"], "No such command 'nope'. promptry --help says more."),
        (["runs", "1", "2"], "Got unexpected extra argument (2). promptry runs --help says more."),
    ],
)
def test_a_wrong_word_names_the_help_of_its_own_command(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command(words) == 2
    assert capsys.readouterr().err == f"promptry: {told}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["vote", "qa", "ab\udcff", "--up"],
        ["vote", "qa", "x", "--up", "--message", "ab\udcff"],
        ["feedback", "add", "r9", "--rating", "1", "--source", "ab\udcff"],
    ],
)
def test_an_argument_that_is_no_text_is_one_sentence(
    words: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promptry.run_command(words) == 2
    assert capsys.readouterr().err.startswith(r"promptry: The argument 'ab\udcff' is no UTF-8 text.")


def test_metadata_nested_without_end_is_one_sentence(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.txt").write_text("text")
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    assert promptry.run_command(["prompt", "save", "x", str(tmp_path / "p.txt"), "--metadata", deep]) == 2
    assert "nested too deeply" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_is_full_is_one_sentence(store: Path, tmp_path: Path) -> None:
    promptry.save_prompt("p", "text")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, promptry.__file__, "--db", str(store), "prompt", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert (done.returncode, done.stderr) == (3, "promptry: The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize("words", [[], ["prompt"], ["prices"]], ids=" ".join)
def test_a_command_without_words_shows_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("Usage: promptry") and "--help says more" not in err


@pytest.mark.parametrize(("form", "start"), [("junit", "<?xml"), ("markdown", "**"), ("html", "<!doctype html>")])
def test_run_and_compare_write_the_same_forms(form: str, start: str, project: Path, say: Say) -> None:
    say("run")
    for words, screen in ((["run"], "PASS  quiz"), (["compare", 2, 1], "not enough data: run 2")):
        code, out, err = say(*words, "--format", form)
        assert code == 0 and out.startswith(start), err
        code, out, _ = say(*words, "--format", form, "--output", "report")
        assert code == 0 and out.startswith(screen)
        assert (project / "report").read_text(encoding="utf-8").startswith(start)


def test_the_forms_of_a_comparison_are_those_of_a_run(project: Path, say: Say) -> None:
    say("run")
    say("run")
    code, out, _ = say("compare", 2, 1, "--format", "json")
    assert code == 0 and json.loads(out)["run"]["id"] == "2"
    assert say("compare", 2, 1, "--json", "--output", "c.json")[1].startswith("not enough data")
    assert json.loads((project / "c.json").read_text())["verdict"] == "not enough data"
    code, _, err = say("compare", 2, 1, "--format", "yaml")
    assert code == 2 and "'table', 'json', 'junit', 'markdown', 'html'" in err
    for words in (["run"], ["compare", 2, 1]):
        assert say(*words, "--json", "--format", "html")[0] == 2
        assert say(*words, "--format", "html", "--output", "no/such/folder/x")[0] == 2


def test_init_writes_a_suite_that_needs_no_python(tmp_path: Path, run_cli: Say) -> None:
    assert "evals.yaml" in run_cli("init", "--yaml").stdout and not (tmp_path / "evals.py").exists()
    done = run_cli("run", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["items"]
    assert (result["suite"], result["prompt"], result["counts"]["cases"]) == ("greeting", "greeting", 3)


STEERING_EVALS = r"""
from promptry import *
BAD = "\x1b[31mred\x1b]8;;http://x\x1b\\link\x07\rover\u202ertl\u2066\x00\x9b2J\ud800\n::error::x\n```"
@suite("quiz", dataset=[{"id": "a\x1b[2J\u202e"}, {"id": "b"}], prompt="p")
def check(item):
    track("text \x1b[2J\u202e", "p")
    if item["id"] == "b":
        raise ValueError(BAD)
    assert_exact(BAD, "fine")
"""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_no_text_of_others_steers_a_terminal_or_breaks_a_print(tmp_path: Path, run_python: Any, encoding: str) -> None:
    (tmp_path / "evals.py").write_text(STEERING_EVALS)
    lines = ["run", "runs 1", "prompt show p", "run --json", "runs 1 --json", "prompt show p --json", "runs nobo\x1bdy"]
    lines += [f"run --format {form}" for form in ("markdown", "junit", "html")]
    code = (
        "import subprocess, sys, json, promptry\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    sys.modules.pop('evals', None)\n"
        "    for stream in (sys.stdout, sys.stderr): stream.reconfigure(errors='backslashreplace')\n"
        "    print('=====', line.partition(' ')[0], promptry.run_command(line.split(' ')))\n"
    )
    done = run_python(code, json.dumps(lines), PYTHONIOENCODING=encoding, PROMPTRY_DB=str(tmp_path / "s.db"))
    said = done.stdout + done.stderr
    assert "Traceback" not in said and re.findall("===== .*", said)[0] == "===== run 1"
    assert r"\x1b[31mred" in said and r"a\x1b[2J\u202e" in said and r"nobo\x1bdy" in said
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", said)
    for text in re.findall(r"(?ms)^\{.*?^\}", done.stdout):
        json.loads(text)


@pytest.mark.parametrize(
    "words", [("runs", "--json"), ("compare", "1", "--format", "table"), ("calls", "--format", "csv")]
)
def test_two_forms_are_one_too_many(words: tuple[str, ...], project: Path, say: Say) -> None:
    wrong = words[0] != "runs"
    code, out, err = say(*words, *(("--json",) if wrong else ()))
    assert code == (2 if wrong else 0) and ("two forms" in err) is wrong and json.loads(out)


def test_killed_runs_are_settled_in_json_too(project: Path, say: Say) -> None:
    assert say("run", "--recover") == (0, "0 killed runs: nothing saved.\n", "")
    code, out, _ = say("run", "--discard", "--json")
    assert code == 0 and json.loads(out) == {"items": [], "total": 0, "next": None}
