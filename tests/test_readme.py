"""What the README tells a person to type or write is there and works."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_llm import serve_fake

import build
import promptry

README = (build.ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]


def command_of(words: list[str]) -> Any:
    """Return the click command that some words name, or None."""
    found: Any = promptry.make_cli()
    for word in words:
        inner = getattr(found, "commands", None)
        if inner is None:
            return found
        if word not in inner:
            return None
        found = inner[word]
    return found


def typed_lines() -> list[str]:
    """Return every line of the README that begins with a call of promptry, without its comment."""
    lines = (line.strip().removeprefix("$ ").split("#")[0] for line in README.splitlines())
    spans = re.findall(r"`(promptry [^`]+)`", README)
    return [*(line.strip() for line in lines if line.startswith("promptry ")), *spans]


@pytest.mark.parametrize("line", sorted(set(typed_lines())))
def test_each_command_exists_with_its_options(line: str) -> None:
    command = command_of(line.split()[1:])
    assert command is not None, line
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    assert {word.partition("=")[0] for word in line.split() if word.startswith("--")} <= known | {"--help"}


def test_each_command_of_the_program_stands_in_the_readme() -> None:
    for name in build.SMOKE:
        assert re.search(rf"`[^`\n]*\b{name.split()[-1]}\b", README), name


@pytest.mark.parametrize("text", PYTHON)
def test_each_piece_of_python_compiles_and_imports_what_there_is(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "promptry":
            assert {alias.name for alias in node.names} <= set(promptry.__all__)


def test_each_command_of_the_build_exists() -> None:
    names = re.findall(r"python3 build\.py (\w+)", README)
    assert {"demo", "test"} <= set(names) <= {*build.RUNS, *build.MAKES}


def test_the_settings_are_those_that_there_are(tmp_path: Path) -> None:
    (text,) = [text for language, text in BLOCKS if language == "toml"]
    (tmp_path / "promptry.toml").write_text(text)
    found = promptry.load_settings()
    assert (found.wait_ms, found.module, found.python) == (250, "evals", ".venv/bin/python")
    assert (found.judge_provider, found.judge_model, found.judge_max_chars) == ("openai", "gpt-4.1-mini", 100_000)


def piece_with(text: str) -> str:
    (piece,) = [piece for piece in PYTHON if text in piece]
    return piece


def test_the_client_records_as_it_is_written(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_fake() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "key")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        promptry.set_budget("module", "support", "daily", 20)
        exec(compile(piece_with("instrument(OpenAI()"), "README.md", "exec"), {})
    (call,) = promptry.list_calls()["items"]
    assert (call["prompt_name"], call["model"], call["status"]) == ("support/answer", "gpt-4o-mini", "ok")
    assert promptry.list_feedback()["items"][0]["call_id"] == call["id"]
    assert promptry.list_traces()["items"][0]["name"] == "agent" and promptry.list_votes()["total"] == 1
    (status,) = promptry.budget_status()
    assert status.reserved_usd == 0 and status.spent_usd == (call["cost_usd"] or 0)


def test_the_views_answer_as_it_is_written(store: Path) -> None:
    promptry.track_invocation("support/answer", {"cost_usd": 0.5})
    (sql,) = re.findall(r'sqlite3 \.promptry/store\.db "(.+)"', README)
    done = subprocess.run(["sqlite3", store, sql], capture_output=True, text=True, check=True)
    assert done.stdout == "support|0.5|0\n"
    for view in ("v_calls", "v_runs"):
        subprocess.run(["sqlite3", store, f"SELECT * FROM {view}"], capture_output=True, check=True)


def test_the_suite_runs_as_it_is_written(store: Path) -> None:
    world: dict[str, Any] = {"answer": lambda question: '{"status": "a refund is on its way"}'}
    exec(compile(piece_with("def check_support"), "README.md", "exec"), world)
    result = promptry.run_suite("support")
    assert result.passed and result.counts["cases"] == 2


def test_the_judge_judges_as_it_is_written(store: Path) -> None:
    def judge(prompt: str) -> str:
        claim = {"claim": "c", "verdict": "supported", "quote": "within 14 days"}
        return json.dumps({"claims": [claim]}) if "bears out" in prompt else '{"score": 1}'

    promptry.set_judge(judge)
    world: dict[str, Any] = {"answer": lambda question: "We refund you within 14 days.", "case": promptry.case}
    with promptry.collect() as checks:
        exec(compile(piece_with("assert_llm(text"), "README.md", "exec"), world)
    assert [(check.assertion_type, check.score) for check in checks] == [("llm", 1.0), ("grounded", 1.0)]


@pytest.mark.slow
def test_meaning_and_form_are_compared_as_it_is_written() -> None:
    piece = piece_with("assert_semantic(")
    said = [float(number) for number in re.findall(r"# ([\d.]+)$", piece, re.MULTILINE)]
    with promptry.collect() as checks:
        exec(compile(piece, "README.md", "exec"), {})
    assert [check.score for check in checks] == pytest.approx(said, abs=2e-5)


def test_many_cases_run_at_once_as_it_is_written(store: Path) -> None:
    async def ask(question: str) -> str:
        return f"about {question}"

    for version in range(3):
        items = [{"question": f"q{number}", "expected": f"q{number}"} for number in range(9)]
        promptry.save_dataset("questions", [*items, {"question": f"last {version}", "expected": "last"}])
    exec(compile(piece_with("def check_question"), "README.md", "exec"), {"ask": ask})
    result = promptry.run_suite("questions")
    gate = promptry.get_run(result.run_id)["manifest"]["gate"]
    assert result.passed and result.counts["cases"] == 10
    assert (gate["concurrency"], gate["timeout_s"]) == (8, 60)


def test_the_suite_in_yaml_runs_as_it_is_written(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (text,) = [text for language, text in BLOCKS if language == "yaml"]
    (tmp_path / "evals.yaml").write_text(text)
    with serve_fake() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "key")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        result = promptry.run_suite("support", module="evals.yaml")
        assert {path for path, _ in server.requests} == {"/v1/chat/completions"} and len(server.requests) == 6
    assert result.counts["fail"] == 6 and result.prompt_version == 1


def test_the_pipeline_runs_as_it_is_written(store: Path) -> None:
    class Reply:
        """What a client of a model returns."""

        model, usage = "gpt-4o-mini", {"prompt_tokens": 3, "completion_tokens": 2}
        choices = [type("Choice", (), {"message": type("Message", (), {"content": "Yes."})})]

    class Client:
        """A client of a model."""

        class chat:  # noqa: N801
            class completions:  # noqa: N801
                @staticmethod
                def create(**_: Any) -> Reply:
                    return Reply()

    world: dict[str, Any] = {"client": Client}
    exec(compile(piece_with("def answer"), "README.md", "exec"), world)
    assert world["answer"]("Is it?") == "Yes."
    (call,) = promptry.list_calls()["items"]
    assert (call["prompt_name"], call["prompt_version"], call["model"]) == ("support/answer", 1, "gpt-4o-mini")
