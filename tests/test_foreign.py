"""FOREIGN: promptfoo's prompts, providers and tests are read from its own files, and code in them is never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import WrongUse


def source_of(folder: Path, config: dict[str, Any], **files: str) -> promptry.Source:
    """Write a configuration and its files, named with __ for a dot, and open it."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    (folder / "config.json").write_text(json.dumps(config))
    return promptry.open_source(folder / "config.json")


CHAT = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{q}}"}]'
OUR_CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "$q"}]
PROMPTS = [
    ("Say {{q}}", [("", "Say $q")]),
    (["a", "b {{q}}"], [("", "a"), ("", "b $q")]),
    ([{"label": "short", "raw": "a"}, {"id": "b"}], [("short", "a"), ("", "b")]),
    ("file://two.txt", [("", "one $q"), ("", "two")]),
    ("two.txt", [("", "one $q"), ("", "two")]),
    (["file://*.txt"], [("", "one $q"), ("", "two")]),
    ("file://chat.json", [("", OUR_CHAT)]),
    ("file://chat.yaml", [("", [{"role": "user", "content": "Hi $q"}])]),
    (CHAT, [("", OUR_CHAT)]),
]


@pytest.mark.parametrize(("given", "ours"), PROMPTS, ids=[f"{at}" for at in range(len(PROMPTS))])
def test_prompts_are_texts_files_and_chats(tmp_path: Path, given: Any, ours: Any) -> None:
    texts = {
        "two__txt": "one {{q}}\n---\ntwo\n",
        "chat__json": CHAT,
        "chat__yaml": '- role: user\n  content: "Hi {{q}}"\n',
    }
    source = source_of(tmp_path, {"prompts": given}, **texts)
    assert promptry.prompts_told(source) == ours and not source.notes


@pytest.mark.parametrize(("given", "reason"), [
    ("file://no.txt", "there is no file no.txt"), ("file://p.py", "p.py is code"), ("{{a|b}}", "only names"),
    (5, "it is 5"),
])  # fmt: skip
def test_a_prompt_that_is_code_or_not_there_is_noted(tmp_path: Path, given: Any, reason: str) -> None:
    source = source_of(tmp_path, {"prompts": [given]}, p__py="raise SystemExit('it ran')")
    assert promptry.prompts_told(source) == []
    ((note, places),) = source.notes.items()
    assert note.startswith(f"the prompt is left out: {reason}") or reason in note
    assert places == ["line 1, prompts[0]"]


PROVIDERS = [
    ("openai:gpt-4.1-mini", "openai:gpt-4.1-mini"),
    ("openai:chat:gpt-4o", "openai:gpt-4o"),
    ("openai:responses:gpt-5", "openai:gpt-5"),
    ("openai:ft:gpt-4o:org::x", "openai:ft:gpt-4o:org::x"),
    ("anthropic:messages:claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
    ("google:gemini-2.5-pro", "gemini:gemini-2.5-pro"),
    ("ollama:chat:llama3:8b", "ollama:llama3:8b"),
    ("echo", promptry.ECHO),
    (
        "groq:llama-3",
        {
            "provider": "openai",
            "base_url": "https://api.groq.com/openai/v1",
            "model": "llama-3",
            "api_key_env": "GROQ_API_KEY",
        },
    ),
    (
        {"id": "openai:x", "config": {"apiBaseUrl": "http://127.0.0.1:1/v1", "apiKeyEnvar": "MY_KEY"}},
        {"provider": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "x", "api_key_env": "MY_KEY"},
    ),
]


@pytest.mark.parametrize(("given", "ours"), PROVIDERS, ids=[f"{at}" for at in range(len(PROVIDERS))])
def test_providers_are_those_that_are_meant(tmp_path: Path, given: Any, ours: Any) -> None:
    source = source_of(tmp_path, {"providers": [given]})
    ((_, provider, _),) = promptry.providers_told(source, None)
    assert provider == ours and not source.notes
    promptry.make_provider(provider)


def test_parameters_of_a_provider_are_taken_over_and_a_key_never_is(tmp_path: Path) -> None:
    config = {"temperature": 0, "max_tokens": 50, "apiKey": "sk-secret", "organization": "o"}
    source = source_of(tmp_path, {"targets": [{"openai:gpt-4o": {"label": "main", "config": config}}]})
    assert promptry.providers_told(source, None) == [("main", "openai:gpt-4o", {"temperature": 0, "max_tokens": 50})]
    assert len(source.notes) == 2 and "sk-secret" not in str(source.notes)


@pytest.mark.parametrize(
    "id", ["file://provider.py", "python:provider.py", "https://x", "azure:chat:x", "openai:embedding:x", "exec:./a.sh"]
)
def test_a_provider_that_has_no_equal_is_noted_and_echo_stands_in(tmp_path: Path, id: str) -> None:
    source = source_of(tmp_path, {"providers": [id]})
    assert promptry.providers_told(source, None) == [("", promptry.ECHO, {})]
    assert any(id in note for note in source.notes) and any("put yours in its place" in note for note in source.notes)
    assert promptry.providers_told(source, "openai:x") == [("", "openai:x", {})]


def test_a_command_of_another_is_left_out_for_it_is_called_otherwise(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"providers": ["exec: ./a.sh"]})
    promptry.providers_told(source, None)
    assert any("gets the prompt as an argument, and commands here read it on stdin" in note for note in source.notes)


def test_tests_come_from_files_of_every_kind(tmp_path: Path) -> None:
    files = {
        "a__yaml": "- vars: {q: one}\n- vars: {q: two}\n",
        "b__json": '[{"vars": {"q": "three"}}]',
        "c__jsonl": '{"vars": {"q": "four"}}\n',
        "d__csv": "q,__expected\nfive,5\n",
    }
    tests = ["file://a.yaml", "file://b.json", "file://c.jsonl", "file://d.csv", {"vars": {"q": "six"}}, "file://e.py"]
    source = source_of(tmp_path, {"tests": tests}, **files, e__py="raise SystemExit('it ran')")
    found = promptry.tests_told(source)
    assert [test.content["vars"]["q"] for test in found] == ["one", "two", "three", "four", "five", "six"]
    assert [test.place for test in found][3:] == ["c.jsonl[0]", "d.csv row 2", "tests[4]"]
    ((note, _),) = source.notes.items()
    assert note.startswith("the tests are left out: e.py is code")


CELLS = [
    ("Paris", {"type": "equals", "value": "Paris"}),
    ("is a: text", {"type": "equals", "value": "is a: text"}),
    ("unknown: x", {"type": "equals", "value": "unknown: x"}),
    ("contains: a: b", {"type": "contains", "value": "a: b", "threshold": None}),
    ("not-contains:x", {"type": "not-contains", "value": "x", "threshold": None}),
    ("similar(0.8): a", {"type": "similar", "value": "a", "threshold": "0.8"}),
    ("is-json", {"type": "is-json", "value": None, "threshold": None}),
    ("grade: polite", {"type": "llm-rubric", "value": "polite", "threshold": None}),
    ("fn:output.length", {"type": "javascript", "value": "output.length", "threshold": None}),
    ("contains-any: a, b", {"type": "contains-any", "value": "a, b", "threshold": None}),
]


@pytest.mark.parametrize(("cell", "assertion"), CELLS)
def test_a_cell_of_a_table_is_an_assertion(tmp_path: Path, cell: str, assertion: dict[str, Any]) -> None:
    escaped = cell.replace('"', '""')
    (tmp_path / "t.csv").write_text(f'q,__expected\nx,"{escaped}"\n')
    (test,) = promptry.tests_told(promptry.open_source(tmp_path / "t.csv"))
    assert test.content["assert"] == [assertion]


def test_the_columns_of_a_table_that_are_no_variables(tmp_path: Path) -> None:
    title = "q,__expected1,__expected2,__description,__prefix,__suffix,__metadata:tag,__metric"
    title += ",__config:__expected2:threshold"
    (tmp_path / "t.csv").write_text(f"{title}\nx,a,levenshtein: b,first,Say ,!,m,n,2\ny,,,,,,,,\n")
    first, second = promptry.tests_told(promptry.open_source(tmp_path / "t.csv"))
    assert first.content["vars"] == {"q": "x"} and first.content["description"] == "first"
    assert first.content["options"] == {"prefix": "Say ", "suffix": "!"}
    assert first.content["assert"][1] == {"type": "levenshtein", "value": "b", "threshold": "2"}
    assert second.content["assert"] == [] and second.content["options"] == {}


def test_a_reference_is_followed_within_the_file(tmp_path: Path) -> None:
    template = {"vars": {"q": "a"}, "assert": [{"type": "is-json"}]}
    source = source_of(
        tmp_path, {"base": template, "tests": [{"$ref": "#/base", "description": "d"}, {"$ref": "#/no"}]}
    )
    first, second = promptry.tests_told(source)
    assert first.content == {**template, "description": "d"} and second.content == {}


def test_scenarios_join_each_of_their_configs_with_each_of_their_tests(tmp_path: Path) -> None:
    configs = [{"vars": {"lang": "de"}}, {"vars": {"lang": "fr"}, "assert": [{"type": "is-json"}]}]
    tests = [{"vars": {"q": "one"}}, {"vars": {"q": "two"}}]
    source = source_of(tmp_path, {"scenarios": [{"config": configs, "tests": tests}]})
    found = [test.content for test in promptry.tests_told(source)]
    assert [test["vars"] for test in found] == [{"lang": lang, "q": q} for lang in ("de", "fr") for q in ("one", "two")]
    assert [len(test["assert"]) for test in found] == [0, 0, 1, 1]


@pytest.mark.parametrize(("name", "text", "reason"), [
    ("c.js", "module.exports = {}", "code is not run"),
    ("c.yaml", "a: [", "This is no YAML"),
    ("c.yaml", "5", "holds no configuration"),
    ("no.yaml", None, "cannot be read"),
])  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(WrongUse, match=reason):
        promptry.open_source(tmp_path / name)
