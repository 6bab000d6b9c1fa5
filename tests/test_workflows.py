"""WORKFLOWS: what a job says of itself, and what it is told, read back as GitHub's runner reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from composite import read_commands, read_outputs

import promptry
from promptry import Annotation, load_workflow, print_annotations, write_outputs, write_summary


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that sets what GitHub's runner tells of a job, and returns the job."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    def job(payload: Any = None, **more: str) -> promptry.Workflow:
        (tmp_path / "event.json").write_text(payload if isinstance(payload, str) else json.dumps(payload))
        told = {"OUTPUT": "output", "STEP_SUMMARY": "summary", "WORKSPACE": "", "EVENT_PATH": "event.json"}
        for name, file in told.items():
            monkeypatch.setenv(f"GITHUB_{name}", str(tmp_path / file))
        monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))
        monkeypatch.setenv("GITHUB_REPOSITORY", "acme/app")
        for name, value in more.items():
            monkeypatch.setenv(f"GITHUB_{name}", value)
        return load_workflow()

    return job


MAIN = {"repository": {"default_branch": "main"}}
JOBS = [
    (MAIN, "push", "refs/heads/main", True, None),
    (MAIN, "workflow_dispatch", "refs/heads/main", True, None),
    (MAIN, "push", "refs/heads/main2", False, None),
    (MAIN, "push", "refs/tags/main", False, None),
    ({**MAIN, "pull_request": {"number": 7}}, "pull_request", "refs/pull/7/merge", False, 7),
    ({**MAIN, "pull_request": {"number": 7}}, "pull_request_target", "refs/heads/main", False, 7),
    ({**MAIN, "pull_request": {"number": 7}}, "push", "refs/heads/main", True, None),
    ({**MAIN, "pull_request": {"number": "7/../8"}}, "pull_request", "refs/pull/7/merge", False, None),
    (MAIN, "issue_comment", "refs/heads/main", False, None),
    ({"schedule": "0 3 * * *"}, "schedule", "refs/heads/trunk", True, None),
    ({}, "push", "refs/heads/", False, None),
    ({}, "push", "refs/heads/main", False, None),
    ("no JSON", "push", "refs/heads/main", False, None),
    ([], "push", "refs/heads/main", False, None),
]


@pytest.mark.parametrize(("payload", "event", "ref", "own", "number"), JOBS)
def test_a_job_knows_its_pull_request_and_whether_it_runs_what_the_default_branch_holds(
    runner: Any, payload: Any, event: str, ref: str, own: bool, number: int | None
) -> None:
    job = runner(payload, EVENT_NAME=event, REF=ref)
    assert (promptry.is_of_default_branch(job), job.pull_request) == (own, number)


def test_outside_of_a_job_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    with pytest.raises(promptry.WrongUse, match="GITHUB_OUTPUT is not set: this is a step of the GitHub Action"):
        load_workflow()


def test_an_output_holds_anything_and_adds_no_other(runner: Any, tmp_path: Path) -> None:
    runner()
    values = {"a": "1\nb=2\nEND\n<<END", "b": "", "c": "ghadelimiter\n\n", "d": "half \ud800 and \x1b[2J"}
    write_outputs(values)
    write_outputs({"e": "5"})
    told = read_outputs(tmp_path / "output")
    assert told == {**values, "d": "half \\ud800 and \\x1b[2J", "e": "5"}


def test_a_summary_stays_below_what_github_drops(runner: Any, tmp_path: Path) -> None:
    runner()
    write_summary("first")
    for _ in range(3):
        write_summary("ä" * 400_000)
    data = (tmp_path / "summary").read_bytes()
    assert data.startswith(b"first\n\n") and 2**20 - 2**13 < len(data) < 2**20


def test_annotations_are_what_they_say_and_ten_at_the_most(runner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = ["a\r\n::error::b", "100 %0A", "x::y", "t,line=9::z", "\x1b[31m"]
    found = [Annotation("error", text, text, "evals, 1:2.py", 3) for text in hostile]
    print_annotations(found)
    told = read_commands(capsys.readouterr().out)
    shown = [*hostile[:-1], "\\x1b[31m"]
    assert [(one.message, one.properties["title"]) for one in told] == [(text, text) for text in shown]
    assert {(one.properties["file"], one.properties["line"]) for one in told} == {("evals, 1:2.py", "3")}
    print_annotations([Annotation("error", "t", str(number)) for number in range(10)])
    assert [one.message for one in read_commands(capsys.readouterr().out)] == [str(number) for number in range(10)]
    print_annotations([Annotation("error", "t", str(number)) for number in range(1200)])
    told = read_commands(capsys.readouterr().out)
    assert len(told) == 10 and told[8].message == "8" and told[9].message == "1191 more: see the summary."


def test_the_runner_is_deaf_while_suites_print_and_hears_again_also_after_an_error(
    runner: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError), promptry.deaf_runner():
        promptry.say("::error::of a suite")
        raise KeyError
    promptry.say("::error::of ours")
    assert [one.message for one in read_commands(capfd.readouterr().err)] == ["of ours"]
