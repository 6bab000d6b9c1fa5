"""What a person does after reading the README, as child processes, from the first file to the exit code in CI."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import connect_agent
from forms import NAMES, PLACE, VERSIONS, Form, form_of, held, python_of, team_python
from test_build import OUTSIDE, Make, build, made, say  # noqa: F401

import promptry

pytestmark = pytest.mark.slow

Say = Callable[..., "subprocess.CompletedProcess[str]"]


def said(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_from_init_to_a_caught_regression_and_back(tmp_path: Path, run_cli: Say) -> None:
    said(run_cli("init"))
    assert "PASS" in said(run_cli("run"))
    assert "NO BASELINE" in said(run_cli("run", "--compare", "prod"))
    assert "greeting@1 is prod now" in said(run_cli("prompt", "promote", "greeting", 1, "prod"))
    assert "nothing we record changed" in said(run_cli("run", "--compare", "prod"))

    file = tmp_path / "evals.py"
    good = file.read_text()
    file.write_text(good.replace("greeting for $customer", "greeting"))
    caught = said(run_cli("run", "--compare", "prod"), code=1)
    assert "FAIL" in caught and "broken 3" in caught
    assert "greeting@1 -> greeting@2" in caught and "-Write a short, friendly greeting for $customer" in caught

    file.write_text(good)
    assert "PASS" in said(run_cli("run", "--compare", "prod"))
    runs = json.loads(said(run_cli("runs", "--json")))
    assert [row["prompt_version"] for row in runs["items"]] == [1, 2, 1, 1, 1]
    assert [row["passed"] for row in runs["items"]] == [True, False, True, True, True]
    assert runs["items"][0]["baseline_id"] == "3", "the last good run on prod, not the one that broke"
    prompts = json.loads(said(run_cli("prompt", "list", "--json")))["items"]
    assert prompts[0]["versions"] == 2 and prompts[0]["latest"] == 1 and prompts[0]["tags"] == {"prod": 1}
    said(run_cli("doctor"))
    assert (tmp_path / ".promptry" / "store.db").stat().st_mode & 0o077 == 0


def test_a_draft_from_elsewhere_is_tested_before_it_is_promoted(tmp_path: Path, run_cli: Say, run_python: Say) -> None:
    """Production serves the tag; a run serves the newest draft, or what it is told."""
    said(run_cli("init"))
    said(run_cli("run"))
    said(run_cli("prompt", "promote", "greeting", 1, "prod"))
    run_python("import promptry; promptry.save_prompt('greeting', 'Dear customer!')")
    serve = (
        "import promptry; print(promptry.render_prompt('greeting', 'default', env='prod', customer='Ada', team='us'))"
    )
    assert "for Ada" in run_python(serve).stdout
    file = tmp_path / "evals.py"
    file.write_text(
        file.read_text()
        .replace('GREETING = track("', 'GREETING = str("')
        .replace('us $team.", "greeting")', 'us $team.")')
        .replace('", "greeting")', '")')
    )
    said(run_cli("run", "--compare", "prod"), code=1)
    said(run_cli("run", "--compare", "prod", "--env", "prod"))
    said(run_cli("run", "--prompt-version", 1))
    said(run_cli("run", "--prompt-version", 2), code=1)
    said(run_cli("prompt", "promote", "greeting", 2, "prod"))
    assert run_python(serve).stdout.strip() == "Dear customer!"
    said(run_cli("prompt", "promote", "greeting", 1, "prod"))
    assert "for Ada" in run_python(serve).stdout


def test_an_application_records_calls_and_the_person_on_call_reads_them(
    tmp_path: Path, run_cli: Say, run_python: Say
) -> None:
    (tmp_path / "promptry.toml").write_text("")
    app = """
        import promptry
        prompt = promptry.track("Answer $question in one word.", "support/answer", tag="prod")
        for number in range(3):
            text = promptry.render_prompt("support/answer", prompt, question="why")
            key = promptry.track_invocation(
                "support/answer", {"cost": 0.002, "latency_ms": 120 + number}, model="gpt-x",
                usage={"prompt_tokens": 10, "completion_tokens": 5},
                input_text=text, output_text="my key is sk-abcdefghijklmnopqrstuvwx", capture=True,
            )
            assert key is not None and promptry.last_request_id()
        print(key)
    """
    key = run_python(app).stdout.strip()
    found = json.loads(said(run_cli("calls", "--json")))
    assert found["total"] == 3 and found["items"][0]["id"] == key
    assert [row["prompt_version"] for row in found["items"]] == [1, 1, 1]
    assert found["items"][0]["cost_usd"] == 0.002
    call = json.loads(said(run_cli("calls", key, "--json")))
    assert call["input_text"] == "Answer why in one word."
    assert "sk-abc" not in call["output_text"]
    assert "Answer why in one word." in said(run_cli("calls", key))
    assert "support/answer" in said(run_cli("prompt", "list"))
    assert "Answer $question" in said(run_cli("prompt", "show", "support/answer"))


def test_the_sql_that_is_printed_answers_in_sqlite3(tmp_path: Path, run_cli: Say) -> None:
    said(run_cli("init"))
    for _ in range(3):
        said(run_cli("run"))
    text = said(run_cli("sql", "list_runs"))
    connection = sqlite3.connect(tmp_path / ".promptry" / "store.db")
    first = text.split(";\n")[0]
    rows = connection.execute(first, {"suite": None, "before": None, "limit": None}).fetchall()
    connection.close()
    assert [str(row[0]) for row in rows] == [row["id"] for row in json.loads(said(run_cli("runs", "--json")))["items"]]


@pytest.mark.parametrize("form", ["evals", "evals.py", "pkg.evals"])
def test_a_ci_job_asks_for_a_report_in_a_file(form: str, tmp_path: Path, run_cli: Say) -> None:
    said(run_cli("init"))
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "evals.py").write_bytes((tmp_path / "evals.py").read_bytes())
    said(run_cli("run", "--module", form))
    said(run_cli("prompt", "promote", "greeting", 1, "prod"))
    said(
        run_cli(
            "run",
            "greeting",
            "--module",
            form,
            "--compare",
            "prod",
            "--require-baseline",
            "--format",
            "json",
            "--output",
            "out.json",
        )
    )
    report = json.loads((tmp_path / "out.json").read_text())
    (result,) = report["items"]
    assert result["comparison"]["verdict"] == "not enough data" and result["passed"] is True


def test_the_same_suite_runs_in_code_as_the_readme_does_it(tmp_path: Path, run_python: Say) -> None:
    code = """
        import promptry
        from promptry import assert_contains, case, collect, run_suite, save_dataset, suite

        save_dataset("qa", [{"id": "capital", "question": "France?", "answer": "Paris"}])

        @suite("qa", dataset="qa@1")
        def check(item):
            assert_contains(f"It is {item['answer']}.", item["answer"])

        result = run_suite("qa")
        assert result.passed and result.score == 1.0, result
        with collect() as checks:
            assert_contains("abc", "b")
        print(result.to_dict()["counts"]["pass"], checks[0].score)
    """
    assert run_python(code).stdout.split() == ["1", "1.0"]


def test_a_store_that_travels_in_a_cache_keeps_the_baseline(tmp_path: Path, run_cli: Say) -> None:
    """What a CI job does: restore the file, run, save the file."""
    said(run_cli("init"))
    said(run_cli("run"))
    said(run_cli("prompt", "promote", "greeting", 1, "prod"))
    said(run_cli("run", "--compare", "prod"))
    (tmp_path / "cache").mkdir()
    (tmp_path / ".promptry" / "store.db").rename(tmp_path / "cache" / "store.db")
    for rest in (tmp_path / ".promptry").iterdir():
        assert rest.name not in {"store.db-wal"} or rest.stat().st_size == 0, "rows were left outside of the file"
        rest.unlink()
    done = run_cli("run", "--compare", "prod", "--require-baseline", "--db", tmp_path / "cache" / "store.db")
    assert "nothing we record changed" in said(done)


def test_two_jobs_that_run_at_once_both_save(tmp_path: Path, run_cli: Say) -> None:
    said(run_cli("init"))
    jobs = [
        subprocess.Popen(
            [sys.executable, promptry.__file__, "run"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for job in jobs:
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, out + err
    found: Any = json.loads(said(run_cli("runs", "--json")))
    assert found["total"] == 4


# --- one journey in every form, on every Python -------------------------------------------------

EVALS = """
import os, sys
import humanize, orjson
import promptry
from promptry import *

ANSWER = track("Answer with a size: $question", "answer")

@suite("sizes", prompt="answer")
def check():
    text = render_prompt("answer", ANSWER, question="how large?")
    for number in range(8):
        with case(f"size {number}"):
            said = humanize.naturalsize(10**number)
            usage = {"prompt_tokens": 100, "completion_tokens": 10 + number}
            texts = {"input_text": text, "output_text": said, "capture": True}
            track_invocation("answer", model="gpt-4o-mini", usage=usage, **texts)
            assert_matches(said, r"^\\p{N}+([.]\\d)? (Bytes?|[kMGT]B)$")
            assert_schema(orjson.dumps({"size": said}).decode(), {"required": ["size"]})
            assert_contains(text, "with a size")
    with case("meaning"):
        assert_semantic("The file is very large.", "The file is huge.")
    with case("whose Python, whose promptry"):
        assert_exact(os.path.realpath(sys.prefix) == os.path.realpath(os.environ["TEAM"]), True)
        assert_exact(os.environ["FORM"] in promptry.__file__, True)
"""
APP = """
import json
import promptry
from promptry import record_feedback, run_suite, trace, track, track_invocation

prompt = track("Answer with a size: $question", "answer")
with trace("app"):
    for number in range(3):
        usage = {"prompt_tokens": 1000, "completion_tokens": 50}
        track_invocation("answer", model="gpt-4o", usage=usage, request_id=f"r{number}", input_text=prompt)
record_feedback("r1", rating=0.0, comment="too long")
passed = [run_suite("sizes", module="evals").passed for _ in range(4)]
print(json.dumps({"passed": passed, "version": promptry.__version__, "file": promptry.__file__}))
"""
READ = {
    "/api/overview": ("status",),
    "/api/runs": ("runs",),
    "/api/run/2": ("runs", "2"),
    "/api/compare?run=2&baseline=1": ("compare", "2", "1"),
    "/api/drift?suite=sizes": ("drift", "sizes"),
    "/api/bisect?suite=sizes": ("bisect", "sizes"),
    "/api/calls": ("calls",),
    "/api/cost?origin=all": ("cost", "--origin", "all"),
}
# What differs from one run to the next, or from one Python or form to another, is held by its kind alone.
VARIES = (
    r"(at|date|since|until|versions|details|forecast.*|.*_at|.*age_s|.*_ms|(run_)?uid|(request|trace|span|parent)_id)"
)
Step = Callable[..., Any]


def constant(value: Any, key: str = "") -> Any:
    """Return an answer with all that varies taken out."""
    if re.fullmatch(VARIES, key) and value is not None:
        return type(value).__name__
    if isinstance(value, dict):
        return {name: constant(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [constant(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def differences(found: Any, wanted: Any, at: str = "") -> list[str]:
    """List where two answers differ, as places with what stands there."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        rows = [(key, found.get(key, "nothing"), wanted.get(key, "nothing")) for key in found.keys() | wanted.keys()]
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        rows = [(str(place), *pair) for place, pair in enumerate(zip(found, wanted, strict=True))]
    else:
        return [] if found == wanted else [f"{at}: {found!r}, not {wanted!r}"[:300]]
    return [text for key, *pair in rows for text in differences(*pair, f"{at}.{key}")]


def journey(form: Form, python: Path, folder: Path) -> dict[str, Any]:
    """Go the whole way in one form and return every answer on it."""
    home = python.parent.parent
    env = {"PATH": OUTSIDE["PATH"], "LANG": "C.UTF-8", "TEAM": str(home), "FORM": form.module, "TZ": "UTC"}
    env |= {"VIRTUAL_ENV": str(home)} if form.name == "executable" else {}

    def call(*words: Any, code: int = 0) -> str:
        return say(*form.command, *words, cwd=folder, code=code, **env).stdout

    def ask(*words: Any, code: int = 0) -> Any:
        return json.loads(call(*words, "--json", code=code))

    story = {}
    call("demo", "story")
    story["demo"] = [
        (row["passed"], row["verdict"]) for row in ask("runs", "--db", "story/.promptry/store.db")["items"]
    ]
    file = folder / "evals.py"
    file.write_text(EVALS)
    (folder / "promptry.toml").write_text("")
    story["first"] = ask("run")
    call("prompt", "promote", "answer", 1, "prod")
    file.write_text(EVALS.replace("with a size: $", "in short: $"))
    story["broken"] = ask("run", "--compare", "prod", code=1)
    file.write_text(EVALS)
    story["mended"] = ask("run", "--compare", "prod")
    (folder / "app.py").write_text(APP)
    app = json.loads(say(python, "app.py", cwd=folder, **{**env, **form.environment, "FORM": ""}).stdout)
    expected = form.module if form.name != "executable" else "site-packages"
    assert app["passed"] == [True] * 4 and app["version"] == promptry.__version__ and expected in app["file"]
    for words in READ.values():
        story[" ".join(words)] = ask(*words, code=1 if words[0] == "compare" else 0)
    read_dashboard(form, folder, env, story)
    ask_agent(form, folder, env, story)
    return story


def read_dashboard(form: Form, folder: Path, env: dict[str, str], story: dict[str, Any]) -> None:
    """Hold the API of a dashboard to what the commands said, and see the page."""
    words = [*form.command, "dashboard", "--port", "0", "--no-open"]
    child = subprocess.Popen(words, cwd=folder, env={"HOME": str(folder), **env}, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stderr is not None
        found = re.match(r"promptry is at (http://127\.0\.0\.1:\d+)/ and reads", child.stderr.readline())
        assert found is not None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for path, said in READ.items():
            with opener.open(found[1] + path, timeout=30) as reply:
                assert constant(json.load(reply)) == constant(story[" ".join(said)]), path
        with opener.open(found[1], timeout=30) as reply:
            assert b"<title>promptry</title>" in reply.read()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.communicate()


def ask_agent(form: Form, folder: Path, env: dict[str, str], story: dict[str, Any]) -> None:
    """Hold the MCP server to what the commands said."""
    given = {**env, "HOME": str(folder), "PYTHONPATH": ""}
    command = tuple(str(folder / word) if word == "promptry.py" else word for word in form.command)
    with connect_agent(folder=folder, command=command, **given) as agent:
        assert (agent.began.server_info.name, agent.began.server_info.version) == ("promptry", promptry.__version__)
        story["tools"] = sorted(agent.tools)
        assert constant(agent.ask("list_runs")) == constant(story["runs"])
        assert constant(agent.ask("check_drift", suite_name="sizes")) == constant(story["drift sizes"])
        assert "There is no run 99." in agent.refusal("get_run", id="99")


@pytest.fixture(scope="session")
def reference(made: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # noqa: F811
    """Give what the source says on the oldest Python: kept beside the environments until a source changes."""
    target, version = PLACE / "reference.json", VERSIONS[0]
    made("wheel")
    python = team_python(version, made("wheel"))
    with held("reference"):
        if not build.is_made(target, JOURNEY):
            folder = tmp_path_factory.mktemp("reference")
            found = constant(journey(form_of("source", made, version, folder), python, folder))
            target.write_text(json.dumps(found, indent=1))
            build.note_made(target, JOURNEY)
        told: dict[str, Any] = json.loads(target.read_text())
    return told


JOURNEY = EVALS + APP + VARIES + repr(READ)
FORMS = [pytest.param(name, marks=[pytest.mark.binary] if name == "executable" else []) for name in NAMES]


@pytest.mark.skipif(os.name != "posix", reason="locks and signals of POSIX")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_form_on_every_python_says_the_same(
    form: str,
    version: str,
    reference: dict[str, Any],
    made: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    found = journey(form_of(form, made, version, tmp_path), team_python(version, made("wheel")), tmp_path)
    assert differences(json.loads(json.dumps(constant(found))), reference) == []


@pytest.mark.skipif(os.name != "posix", reason="locks and signals of POSIX")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_bare_python_lacks_is_one_sentence_and_the_rest_works(version: str, made: Make, tmp_path: Path) -> None:  # noqa: F811
    """A Python with no package at all: a copied file says which it needs, the zipapp brings all but the SDK of MCP."""
    bare = (python_of(version), "-S")
    (tmp_path / "promptry.py").write_bytes(made("module").read_bytes())
    for words in (["--version"], ["run"], ["dashboard"]):
        done = say(*bare, "promptry.py", *words, cwd=tmp_path, code=2)
        assert done.stderr.startswith("promptry: This Python has no package peewee: ") and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "-m pip install click peewee" in done.stderr
    done = say(*bare, "-c", "import promptry", cwd=tmp_path, code=1)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'peewee'", "for an application"
    (tmp_path / "promptry.py").unlink()
    done = say(*bare, made("zipapp"), "mcp", cwd=tmp_path, code=2)
    assert done.stderr.startswith("promptry: promptry mcp needs the package mcp 2, and this Python has none.")
    assert done.stderr.count("\n") == 1 and "-m pip install 'mcp" in done.stderr and done.stdout == ""
    say(*bare, made("zipapp"), "init", cwd=tmp_path)
    assert "PASS  greeting" in say(*bare, made("zipapp"), "run", cwd=tmp_path).stdout
