"""EXCHANGES: a case of a told suite asks and asserts as a function in Python does: the rows are equal."""

from __future__ import annotations

import inspect
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_llm import serve_fake

import promptry
from promptry import Conversation, NotFound, Trajectory, WrongUse, run_suite, suite

PIPE = """
ANSWERS = {"capital": 'The capital is Paris. {"city": "Paris"}', "empty": ""}

def answer(prompt):
    return ANSWERS.get(prompt.split()[-1], prompt)

async def agent(prompt):
    from openai.types.chat import ChatCompletion

    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    message = {"role": "assistant", "content": answer(prompt), "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1-mini", "usage": usage}
    return ChatCompletion.model_validate({**head, "choices": [choice]})

def judge(prompt):
    return '{"score": 0.75, "reason": "it does"}' if "capital" in prompt else '{"score": 0.25}'

def weigh(prompt):
    held = '{"claim": "c", "verdict": "supported", "quote": "The"}'
    return f'{{"claims": [{held}, {{"claim": "d", "verdict": "not_found"}}]}}'
"""
ITEMS = [
    {"id": "known", "topic": "capital", "wanted": "Paris", "limit": 3},
    {"id": "other", "topic": "weather", "wanted": "weather", "limit": 40},
    {"id": "none", "topic": "empty", "wanted": "", "limit": 0},
]
PROMPT = "Tell me about $topic"
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
NUMBERS = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}


def said(reply: promptry.Reply) -> list[dict[str, Any]]:
    message = {"role": "assistant", "content": reply.text}
    return [{**message, "tool_calls": reply.tool_calls} if reply.tool_calls else message]


def conversation(sent: list[dict[str, Any]], reply: promptry.Reply) -> Conversation:
    return Conversation.from_openai([*sent, *said(reply)])


def trajectory(sent: list[dict[str, Any]], reply: promptry.Reply) -> Trajectory:
    return Trajectory.from_openai([*sent, *said(reply)])


Call = Callable[[Any, list[dict[str, Any]], dict[str, Any]], Any]


def on_text(name: str, **fixed: Any) -> Call:
    """Call an assertion on the text of a reply."""
    return lambda reply, sent, item: getattr(promptry, f"assert_{name}")(reply.text, **fixed)


def named(name: str, function: Callable[[str], Any]) -> Callable[[str], Any]:
    function.__name__ = name
    return function


# assertion -> (as YAML, as Python); the tool and conversation ones are asked of a model that calls a tool
# fmt: off
PAIRS: dict[str, tuple[Any, Call]] = {
    "exact": ("$wanted", lambda reply, sent, item: promptry.assert_exact(reply.text, item["wanted"])),
    "contains": (
        {"keywords": ["$topic", "a"], "case_sensitive": True},
        lambda reply, sent, item: promptry.assert_contains(reply.text, [item["topic"], "a"], case_sensitive=True),
    ),
    "not_contains": ("paris", on_text("not_contains", keywords="paris")),
    "matches": ({"pattern": "the.*$$", "fullmatch": False}, on_text("matches", pattern="the.*$", fullmatch=False)),
    "json_valid": (None, on_text("json_valid")),
    "levenshtein": (
        {"expected": "The capital is $wanted.", "max_distance": "$limit"},
        lambda reply, sent, item: promptry.assert_levenshtein(
            reply.text, f"The capital is {item['wanted']}.", max_distance=item["limit"]
        ),
    ),
    "rouge_l": (
        {"expected": "The capital", "min_score": 0.3}, on_text("rouge_l", expected="The capital", min_score=0.3)
    ),
    "schema": (NUMBERS, on_text("schema", model_or_schema=NUMBERS)),
    "semantic": (
        {"expected": "$wanted", "threshold": 0.5},
        lambda reply, sent, item: promptry.assert_semantic(reply.text, item["wanted"], threshold=0.5),
    ),
    "embedding_distance": (
        {"expected": "$wanted", "max_distance": 0.2},
        lambda reply, sent, item: promptry.assert_embedding_distance(reply.text, item["wanted"], max_distance=0.2),
    ),
    "conversation_coherent": (
        None,
        lambda reply, sent, item: promptry.assert_conversation_coherent(conversation(sent, reply)),
    ),
    "no_repetition": (
        {"similarity_threshold": 0.9},
        lambda reply, sent, item: promptry.assert_no_repetition(
            conversation(sent, reply), similarity_threshold=0.9
        ),
    ),
    "llm": (
        {"criteria": "It names $topic.", "threshold": 0.6, "judge": "python:pipe:judge"},
        lambda reply, sent, item: promptry.assert_llm(
            reply.text, f"It names {item['topic']}.", threshold=0.6, judge="python:pipe:judge"
        ),
    ),
    "grounded": (
        "The capital is $wanted.",
        lambda reply, sent, item: promptry.assert_grounded(reply.text, f"The capital is {item['wanted']}."),
    ),
    "tool_called": (
        {"name": "weather", "kwargs": {"city": "Bonn"}},
        lambda reply, sent, item: promptry.assert_tool_called(said(reply), "weather", kwargs={"city": "Bonn"}),
    ),
    "tool_sequence": (
        ["weather", "other"],
        lambda reply, sent, item: promptry.assert_tool_sequence(said(reply), ["weather", "other"]),
    ),
    "no_tool_called": ("weather", lambda reply, sent, item: promptry.assert_no_tool_called(said(reply), "weather")),
    "trajectory_max_steps": (
        1, lambda reply, sent, item: promptry.assert_trajectory_max_steps(trajectory(sent, reply), 1),
    ),
    "no_redundant_tool_calls": (
        None,
        lambda reply, sent, item: promptry.assert_no_redundant_tool_calls(trajectory(sent, reply)),
    ),
    "tool_input_matches": (
        {"tool_name": "weather", "matcher": {"city": "Bonn"}},
        lambda reply, sent, item: promptry.assert_tool_input_matches(
            trajectory(sent, reply), "weather", {"city": "Bonn"}
        ),
    ),
    "final_answer_present": (
        None,
        lambda reply, sent, item: promptry.assert_final_answer_present(trajectory(sent, reply)),
    ),
    "conversation_length": (
        {"min_turns": 2, "max_turns": 2},
        lambda reply, sent, item: promptry.assert_conversation_length(
            conversation(sent, reply), min_turns=2, max_turns=2
        ),
    ),
    "all_assistant_turns": (
        {"contains": "Paris"},
        lambda reply, sent, item: promptry.assert_all_assistant_turns(
            conversation(sent, reply),
            named("contains", lambda text: promptry.assert_contains(text, "Paris")),
        ),
    ),
    "any_assistant_turn": (
        [{"contains": "$topic"}, {"not_contains": "zzz"}],
        lambda reply, sent, item: promptry.assert_any_assistant_turn(
            conversation(sent, reply),
            named("contains, not_contains", lambda text: promptry.assert_contains(text, item["topic"])),
        ),
    ),
}
# fmt: on
OF_TOOLS = {"tool_called", "tool_sequence", "no_tool_called", "trajectory_max_steps", "no_redundant_tool_calls"}
OF_TOOLS |= {"tool_input_matches", "final_answer_present"}


@pytest.fixture
def server(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a fake of the models' APIs and write the team's module."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    sys.modules.pop("pipe", None)
    (tmp_path / "pipe.py").write_text(PIPE)
    promptry.set_embedder(lambda texts: [[1.0, float(len(text) % 7)] for text in texts], "lengths")
    promptry.set_judge("python:pipe:weigh")
    with serve_fake() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{fake.url}/v1")
        yield fake
    promptry.set_embedder(None)
    promptry.set_judge(None)
    sys.modules.pop("pipe", None)


def rows_of(raw: sqlite3.Connection, run: str) -> list[Any]:
    """Return the rows of a run but for their times."""
    columns = "test_name, assertion_type, passed, score, details"
    rows = raw.execute(f"SELECT {columns} FROM eval_results WHERE run_id = ? ORDER BY id", (int(run),)).fetchall()
    return [(*row[:4], json.loads(row[4])) for row in rows]


def manifest_of(raw: sqlite3.Connection, run: str) -> dict[str, Any]:
    (text,) = raw.execute("SELECT metadata FROM eval_runs WHERE id = ?", (int(run),)).fetchone()
    return {key: value for key, value in json.loads(text).items() if key not in {"uid", "source"}}


def tell(name: str, provider: str, parameters: dict[str, Any]) -> str:
    """Return the suite of an assertion as YAML."""
    cases = [{"id": item["id"], "variables": {key: item[key] for key in item if key != "id"}} for item in ITEMS]
    facts = {"name": "told", "prompt": {"name": "p", "text": PROMPT}, "provider": provider, "parameters": parameters}
    return promptry.write_yaml({"suites": [{**facts, "cases": cases, "assert": [{name: PAIRS[name][0]}]}]})


def test_every_public_assertion_can_be_told() -> None:
    names = {name[7:] for name in promptry.__all__ if name.startswith("assert_")}
    assert set(PAIRS) == names == set(promptry.known_assertions())


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_a_suite_told_and_one_written_give_equal_rows(
    server: Any, raw: sqlite3.Connection, tmp_path: Path, name: str
) -> None:
    provider, parameters = ("openai:gpt-4.1-mini", {"tools": TOOLS}) if name in OF_TOOLS else ("python:pipe:answer", {})
    (tmp_path / "evals.yaml").write_text(tell(name, provider, parameters))
    promptry.load_any("evals.yaml")

    @suite("written", prompt="p", dataset=ITEMS)
    def check(item: dict[str, Any]) -> None:
        sent = [{"role": "user", "content": promptry.render_prompt("p", PROMPT, variables=item)}]
        reply = promptry.ask_provider(provider, sent, parameters, name="p")
        PAIRS[name][1](reply, sent, item)

    told, written = run_suite("told").run_id, run_suite("written").run_id
    assert rows_of(raw, told) == rows_of(raw, written) and len(rows_of(raw, told)) == len(ITEMS)
    assert manifest_of(raw, told) == manifest_of(raw, written)
    assert "error" not in {row[1] for row in rows_of(raw, told)}
    columns = "prompt_name, prompt_version, model_version, overall_pass, overall_score"
    assert len(raw.execute(f"SELECT DISTINCT {columns} FROM eval_runs").fetchall()) == 1


@pytest.mark.parametrize("name", sorted({*OF_TOOLS, "contains", "conversation_length"}))
def test_a_function_that_answers_an_sdk_s_object_gives_the_rows_of_that_object(
    server: Any, raw: sqlite3.Connection, tmp_path: Path, name: str
) -> None:
    (tmp_path / "evals.yaml").write_text(tell(name if name in PAIRS else "contains", "python:pipe:agent", {}))
    promptry.load_any("evals.yaml")

    @suite("written", prompt="p", dataset=ITEMS)
    async def check(item: dict[str, Any]) -> None:
        import pipe

        text = promptry.render_prompt("p", PROMPT, variables=item)
        found = await pipe.agent(text)
        promptry.track_invocation("p", usage=found)
        message = found.choices[0].message
        calls = [{"name": one.function.name, "arguments": one.function.arguments} for one in message.tool_calls]
        reply = promptry.Reply(message.content, {}, calls, None, None, None, 0.0, None)
        PAIRS[name][1](reply, [{"role": "user", "content": text}], item)

    told, written = run_suite("told"), run_suite("written")
    assert rows_of(raw, told.run_id) == rows_of(raw, written.run_id) and len(rows_of(raw, told.run_id)) == len(ITEMS)
    assert manifest_of(raw, told.run_id) == manifest_of(raw, written.run_id), "model, cost and counts among them"
    assert told.cost_usd == pytest.approx(len(ITEMS) * (10 * 0.4e-6 + 5 * 1.6e-6))


KINDS = [
    ("str", {"text"}),
    ("str | None", {"text", "null"}),
    ("str | Iterable[str]", {"text", "texts"}),
    ("Sequence[str]", {"texts"}),
    ("Sequence[Any] | None", {"list", "null"}),
    ("dict[str, Any] | None", {"map", "null"}),
    ("bool", {"flag"}),
    ("int | None", {"whole", "null"}),
    ("float", {"number"}),
    ("Callable[[str], Any]", {"predicate"}),
    ("Any", {"any"}),
    ("SomethingElse", {"any"}),
]


@pytest.mark.parametrize(("annotation", "kinds"), KINDS)
def test_an_annotation_says_what_a_file_may_give(annotation: str, kinds: set[str]) -> None:
    assert promptry.kinds_of(annotation) == kinds


def test_an_assertion_is_known_by_its_own_signature() -> None:
    for name, found in promptry.known_assertions().items():
        parameters = list(inspect.signature(getattr(promptry, f"assert_{name}")).parameters)
        assert list(found.kinds) == parameters[1:] and found.subject in {"text", "trace", "trajectory", "conversation"}


def step(name: str, /, **values: Any) -> promptry.Step:
    return promptry.Step(promptry.known_assertions()[name], values)


FILLED = [
    (step("exact", expected="$answer"), {"answer": 42}, {"expected": "42"}),
    (step("exact", expected="$$answer is $answer"), {"answer": 42}, {"expected": "$answer is 42"}),
    (step("contains", keywords="$words"), {"words": ["a", 1]}, {"keywords": ["a", "1"]}),
    (step("contains", keywords=["$one", "two"]), {"one": 1}, {"keywords": ["1", "two"]}),
    (step("levenshtein", expected="a", max_distance="$limit"), {"limit": "3"}, {"expected": "a", "max_distance": 3.0}),
    (step("trajectory_max_steps", max_steps="$limit"), {"limit": "3"}, {"max_steps": 3}),
    (
        step("tool_called", name="a", kwargs={"n": "$n", "t": "no $n"}),
        {"n": 5},
        {"name": "a", "kwargs": {"n": 5, "t": "no 5"}},
    ),
    (step("tool_input_matches", tool_name="a", matcher="$m"), {"m": {"k": 1}}, {"tool_name": "a", "matcher": {"k": 1}}),
]


@pytest.mark.parametrize(("given", "values", "filled"), FILLED, ids=[f"{at}" for at in range(len(FILLED))])
def test_placeholders_become_what_the_parameter_takes(given: Any, values: Any, filled: Any) -> None:
    assert promptry.filled_values(given, values) == filled


def test_a_variable_that_is_no_number_where_one_is_taken_is_an_error() -> None:
    with pytest.raises(WrongUse, match="min_score is 'high'; it takes a number"):
        promptry.filled_values(step("rouge_l", expected="a", min_score="$limit"), {"limit": "high"})


CHATS = [
    ("plain", None),
    ("[not JSON", None),
    ("[]", None),
    ('["a"]', None),
    ('[{"role": "user"}]', None),
    ('[{"role": "user", "content": "a"}]', [{"role": "user", "content": "a"}]),
    ([{"role": "user", "content": "a"}], [{"role": "user", "content": "a"}]),
    ("[" * 100_000, None),
]


@pytest.mark.parametrize(("text", "chat"), CHATS, ids=[f"{at}" for at in range(len(CHATS))])
def test_a_prompt_may_be_a_chat(text: Any, chat: Any) -> None:
    assert promptry.chat_in(text) == chat


def test_an_item_without_prompt_is_sent_as_it_was_captured(server: Any, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "empty"}]
    promptry.save_dataset("captured", [{"id": "call-1", "input": messages}, {"id": "call-2", "input": "capital"}])
    facts = {"name": "s", "provider": "openai:gpt-4.1-mini", "dataset": "captured", "assert": [{"contains": "Hello"}]}
    (tmp_path / "evals.yaml").write_text(promptry.write_yaml({"suites": [facts]}))
    promptry.load_any("evals.yaml")
    run_suite("s")
    sent = [body["messages"] for _, body in server.requests]
    assert sent == [messages, [{"role": "user", "content": "capital"}]]
    assert promptry.list_calls(origin="eval")["total"] == 2 and promptry.list_calls(origin="app")["total"] == 0


def test_a_missing_prompt_ends_the_run_before_a_case_has_run(server: Any, tmp_path: Path) -> None:
    facts = {"name": "s", "provider": "python:pipe:answer", "prompt": {"name": "gone"}, "assert": ["json_valid"]}
    (tmp_path / "evals.yaml").write_text(promptry.write_yaml({"suites": [facts]}))
    promptry.load_any("evals.yaml")
    with pytest.raises(NotFound, match="There is no prompt 'gone'"):
        run_suite("s")
    assert promptry.list_runs()["total"] == 0


def test_a_judge_within_a_predicate_is_a_function_of_the_team_too(tmp_path: Path) -> None:
    judged = {"llm": {"criteria": "short", "judge": "python:team:judge"}}
    facts = {"name": "s", "prompt": "Say", "provider": "exec: cat", "assert": [{"all_assistant_turns": [judged]}]}
    (tmp_path / "evals.yaml").write_text(promptry.write_yaml({"suites": [facts]}))
    with pytest.raises(promptry.ConfigError, match="team"):
        promptry.load_any("evals.yaml")
