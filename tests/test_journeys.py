"""What a person does after reading the README, as child processes, from the first file to the exit code in CI."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
