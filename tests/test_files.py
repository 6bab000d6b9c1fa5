"""FILES: a YAML file tells suites; each fault is told where it stands, all at once, and nothing is half registered."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import ConfigError, NotFound, WrongUse, run_suite

Write = Callable[..., Path]
HEAD = "suites:\n  - name: s\n    provider: 'exec: cat'\n"


@pytest.fixture
def write(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give a function that writes a file, evals.yaml if it is not named, into the current folder."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    for name in ("evals", "pipe"):
        sys.modules.pop(name, None)

    def save(text: str, name: str = "evals.yaml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return save


def faults_of(module: str = "evals.yaml") -> list[str]:
    """Return the faults of a file without its name."""
    with pytest.raises(ConfigError) as caught:
        promptry.load_any(module)
    assert not promptry.known_suites()
    return [line.removeprefix(f"{module}:") for line in str(caught.value).split("\n") if ":" in line.partition(" ")[0]]


# What stands in a suite below its name and provider, and what is told of it.
# fmt: off
FAULTS = [
    ("promt: Hi\nassert: [json_valid]", "4:5: 'promt' is no key of a suite. Did you mean 'prompt'?"),
    ("zzzz: Hi\nprompt: a\nassert: [json_valid]", "4:5: 'zzzz' is no key of a suite. There are: name,"),
    ("prompt: a\nrepeats: two\nassert: [json_valid]", "5:14: repeats takes a whole number; this is 'two'."),
    ("prompt: a\nrepeats: 0\nassert: [json_valid]", "5:14: Suite 's': repeats is 0"),
    ("prompt: a\nmin_pass_rate: 2\nassert: [json_valid]", "5:20: Suite 's': min_pass_rate is 2; it takes a share"),
    ("prompt: a\ngate: never\nassert: [json_valid]", "5:11: Suite 's': gate is 'never'"),
    ("prompt: a\nassert: json_valid", "5:13: assert takes a list of assertions. Begin each with a dash"),
    ("prompt: a", "2:5: The suite 's' asserts nothing."),
    ("prompt: a\nassert:\n  - contans: x", "6:9: 'contans' is no assertion. Did you mean 'contains'?"),
    ("prompt: a\nassert:\n  - assert_contains: x", "6:9: 'assert_contains' is no assertion. Did you mean 'contains'?"),
    ("prompt: a\nassert:\n  - contains: {keywrds: x}", "6:20: 'keywrds' is no key of contains. Did you mean"),
    ("prompt: a\nassert:\n  - contains: {case_sensitive: true}", "6:9: contains has no keywords. It takes keywords,"),
    ("prompt: a\nassert:\n  - contains: {keywords: x, case_sensitive: si}", "6:49: contains: case_sensitive takes"),
    ("prompt: a\nassert:\n  - contains:", "6:18: contains: keywords takes a text or a list of texts;"),
    ("prompt: a\nassert:\n  - contains: x\n    case_sensitive: true", "7:9: 'case_sensitive' stands beside"),
    ("prompt: a\nassert:\n  - 5", "6:9: '5' is no assertion."),
    ("prompt: a\nassert:\n  - [contains, x]", "6:9: An assertion is a name and its value: contains: refund."),
    ("prompt: a\nassert:\n  - json_valid: false", "6:21: json_valid takes no value. Leave it out."),
    ("prompt: a\nassert:\n  - json_valid: [1]", "6:21: json_valid takes no value. Leave it out."),
    ("prompt: a\nassert:\n  - json_valid: {foo: 1}", "6:21: json_valid takes no value. Leave it out."),
    ("prompt: a\nassert:\n  - matches: '('", "6:9: matches: The pattern '(' is no regular expression"),
    ("prompt: a\nassert:\n  - levenshtein: b", "6:9: levenshtein: max_distance is None and min_ratio None; give"),
    ("prompt: a\nassert:\n  - rouge_l: {expected: b, min_score: 7}", "6:43: rouge_l: min_score is 7; it takes"),
    ("prompt: a\nassert:\n  - rouge_l: {expected: b, min_score: high}", "6:43: rouge_l: min_score takes a number;"),
    ("prompt: a\nassert:\n  - trajectory_max_steps: few", "6:31: trajectory_max_steps: max_steps takes a"),
    ("prompt: a\nassert:\n  - conversation_length: {}", "6:9: conversation_length: Neither min_turns nor max_turns"),
    ("prompt: a\nassert:\n  - conversation_length: 0", "6:9: conversation_length: min_turns is 0, and every"),
    ("prompt: a\nassert:\n  - contains: ''", "6:9: contains: The keywords are ['']; an empty one is in every text."),
    ("prompt: a\nassert:\n  - not_contains: [a, '']", "6:9: not_contains: The keywords are ['a', '']; an empty"),
    ("prompt: a\nassert:\n  - contains: []", "6:9: contains: There are no keywords. Name one or more."),
    ("prompt: a\nassert:\n  - matches: ''", "6:9: matches: The pattern is empty."),
    ("prompt: a\nassert:\n  - schema: {title: x}", "6:9: schema: The schema {'title': 'x'} asks for nothing"),
    ("prompt: a\nassert:\n  - llm: ' '", "6:9: llm: The criteria are empty;"),
    ("prompt: a\nassert:\n  - grounded: {source: a, threshold: 2}", "6:42: grounded: threshold is 2; it takes a"),
    ("prompt: a\nassert:\n  - semantic: {expected: a, threshold: -1}", "6:44: semantic: threshold is -1; it takes a"),
    ("prompt: a\nassert:\n  - no_repetition: 1", "6:9: no_repetition: similarity_threshold is 1, and no two"),
    ("prompt: a\nassert:\n  - tool_sequence: []", "6:9: tool_sequence: The expected sequence is empty."),
    ("prompt: a\nassert:\n  - tool_input_matches: {tool_name: a, matcher: ''}", "6:9: tool_input_matches: The pattern"),
    ("prompt: a\nassert:\n  - all_assistant_turns: []", "6:30: all_assistant_turns: predicate takes"),
    ("prompt: a\nassert:\n  - any_assistant_turn: {contains: ''}", "6:30: contains: The keywords are ['']; an empty"),
    ("prompt: a\nassert:\n  - all_assistant_turns: {tool_called: x}", "6:30: all_assistant_turns: predicate takes"),
    ("prompt: a\nassert:\n  - all_assistant_turns: {contans: x}", "6:31: 'contans' is no assertion."),
    ("prompt: a\nassert:\n  - tool_called: {name: x, kwargs: {a: yes}}", "6:44: Readers of YAML do not agree"),
    ("prompt: a\nassert:\n  - contains: $who", "6:7: $who in assert has no value. Give it in variables:; $$"),
    ("prompt: Hi $who\nassert: [json_valid]", "5:13: $who in the prompt has no value. Give it in"),
    ("prompt: Hi $nmae\ncases:\n  - variables: {name: Ada}\nassert: [json_valid]",
     "6:9: $nmae in the prompt has no value of case '"),
    ("prompt: {nam: p}\nassert: [json_valid]", "4:14: 'nam' is no key of a prompt. Did you mean 'name'?"),
    ("prompt: {env: prod}\nassert: [json_valid]", "4:13: The prompt has no name."),
    ("prompt: {text: a, file: b.txt}\nassert: [json_valid]", "4:29: The prompt has text and file. Give one of them."),
    ("prompt: {file: b.txt}\nassert: [json_valid]", "4:20: "),
    ("prompt: [{role: user}]\nassert: [json_valid]", "4:14: A message has role: and content:, each with a value."),
    ("prompt: [{role: user, contnt: a}]\nassert: [json_valid]", "4:27: 'contnt' is no key of a message. Did you mean"),
    ("prompt: a\ncases: 5\nassert: [json_valid]", "5:12: cases takes a list of cases."),
    ("prompt: a\ncases:\n  - {inptu: x}\nassert: [json_valid]", "6:10: 'inptu' is no key of a case. Did you"),
    ("prompt: a\ncases:\n  - {id: a}\n  - {id: a}\nassert: [json_valid]", "7:9: The case 'a' stands here twice;"),
    ("prompt: a\ncases:\n  - {id: a, assert: [json_valid]}\n  - {id: b}", "7:9: The case 'b' asserts nothing."),
    ("prompt: a\ncases:\n  - {input: a, variables: {input: b}}\nassert: [json_valid]", "6:31: The case has 'input'"),
    ("prompt: a\ncases: [a]\ndataset: qa\nassert: [json_valid]", "5:12: The suite has dataset and cases."),
    ("prompt: a\ncsv: no.csv\nassert: [json_valid]", "5:10: "),
    ("prompt: a\ncsv: no.json\nassert: [json_valid]", "5:10: csv takes the name of a file that ends in .csv;"),
    ("assert: [json_valid]", "4:13: The suite has no prompt and this case no input."),
    ("prompt: a\nvariables: [a]\nassert: [json_valid]", "5:16: variables takes a map"),
    ("prompt: a\nparameters: {temperature: yes}\nassert: [json_valid]", "5:31: Readers of YAML do not agree"),
    ("prompt: a\nassert: [json_valid]\nprompt: b", "6:5: The key 'prompt' stands here twice; first in line 4."),
]
# fmt: on


@pytest.mark.parametrize(("text", "fault"), FAULTS, ids=[f"{at}" for at in range(len(FAULTS))])
def test_each_fault_is_told_where_it_stands_with_what_is_meant(write: Write, text: str, fault: str) -> None:
    write(HEAD + "".join(f"    {line}\n" for line in text.split("\n")))
    told = faults_of()
    assert len(told) == 1 and told[0].startswith(fault), told


WHOLES = [
    ("- a\n", "1:1: A file of suites is a map."),
    ("suits: []\n", "1:1: 'suits' is no key of a file of suites. Did you mean 'suites'?"),
    ("suites: {name: a}\n", "1:9: suites takes a list of suites."),
    ("suites: []\n", "1:9: suites takes a list of suites."),
    ("suites: [a]\n", "1:10: A suite is a map"),
    ("suites:\n  - provider: x\n", "2:5: The suite has no name."),
    ("suites:\n  - {name: a, prompt: b, assert: [json_valid]}\n", "2:5: The suite has no provider."),
    (
        "suites:\n  - {name: a, prompt: b, assert: [json_valid], provider: opnai:x}\n",
        "2:58: 'opnai:x' names no provider;",
    ),
    (
        f"{HEAD}    prompt: a\n    assert: [json_valid]\n" + HEAD[8:] + "    prompt: a\n    assert: [json_valid]\n",
        "6:5: Two suites have the name 's'; the first begins in line 2.",
    ),
]


@pytest.mark.parametrize(("text", "fault"), WHOLES, ids=[f"{at}" for at in range(len(WHOLES))])
def test_a_file_of_another_shape_is_told(write: Write, text: str, fault: str) -> None:
    write(text)
    assert faults_of()[0].startswith(fault)


def test_all_faults_are_told_at_once_and_nothing_is_registered(write: Write, raw: Any) -> None:
    write(
        f"{HEAD}    prompt: a\n    assert: [json_valid]\n"
        "  - name: t\n    promt: b\n    assert: [contans: x, json_vald]\n"
    )
    assert len(faults_of()) == 4
    assert raw.execute("SELECT count(*) FROM prompts").fetchone() == (0,)


MANY = """
suites:
  - provider: "exec: cat"
    prompt: Hi $who, $what
    repeats: 0
    tolerance: 7
    timeout_s: [1]
    cases:
      - {input: x, group: {a: b}}
      - {input: y, tags: {a: b}, variables: {who: u}}
    assert:
      - semantic: {expected: x, threshold: 7}
      - contans: x
  - {name: other, provider: nobody, prompt: a, assert: [embedding_distance: {expected: a, max_distance: 3}]}
"""


def test_one_try_tells_the_faults_of_every_kind(write: Write) -> None:
    write(MANY)
    told = [
        "3:5: The suite has no name.",
        "5:14: Suite 'in line 3': repeats is 0",
        "6:16: Suite 'in line 3': tolerance is 7",
        "7:16: timeout_s takes a number or null; this is a list.",
        "9:9: $who in the prompt and $what in the prompt have no value of case '",
        "9:27: group takes a text; this is a map.",
        "10:9: $what in the prompt has no value of case '",
        "10:26: tags takes a text or a list of texts; this is a map.",
        "12:44: semantic: threshold is 7; it takes a number from 0 to 1.",
        "13:9: 'contans' is no assertion. Did you mean 'contains'?",
        "14:29: 'nobody' names no provider;",
        "14:105: embedding_distance: max_distance is 3; it takes a number from 0 to 2.",
    ]
    found = faults_of()
    assert len(found) == len(told), found
    assert all(one.startswith(begin) for one, begin in zip(found, told, strict=True)), found


def test_a_group_that_is_none_is_told_at_its_case(write: Write) -> None:
    write(f"{HEAD}    prompt: a\n    cases: [{{id: a, group: {'g' * 201}}}]\n    assert: [json_valid]\n")
    (fault,) = faults_of()
    assert fault.startswith("5:28: The group of 'a' is 'ggg") and "at most 200 signs" in fault


def test_a_case_has_a_group_and_tags_as_an_item_has(write: Write) -> None:
    cases = (
        "[{id: a, input: x, group: g, tags: [new, hard]}, {id: b, input: y, tags: old, group: 2}, {id: c, input: z}]"
    )
    write(f"{HEAD}    prompt: $input $group\n    variables: {{group: none}}\n    cases: {cases}\n"
          "    assert: [matches: '[xyz] (g|2|none)']\n")  # fmt: skip
    suite = promptry.load_any("evals.yaml")["s"]
    assert [promptry.tags_of(item) for item in suite.dataset] == [{"new", "hard"}, {"old"}, set()]
    result = run_suite("s")
    rows = promptry.get_run(result.run_id)["cases"]
    assert result.passed and {row["case"]: row["group"] for row in rows} == {"a": "g", "b": "2", "c": None}


def test_an_empty_cell_that_an_assertion_takes_is_told_with_its_row(write: Write) -> None:
    suite = f"{HEAD}    prompt: $q $note\n    csv: c.csv\n    assert: [exact: $expected, contains: $word]\n"
    write(suite)
    write("q,expected,word,note\na,b,c,\n\nd,,e,\nf,g, ,x\nh,,i,\n", "c.csv")
    (fault,) = faults_of()
    assert fault.startswith(
        "5:10: In c.csv the assertions take $expected, of which row 4, 6 says nothing, "
        "and $word, of which row 5 says nothing."
    )
    write("q,expected,word,note\n" + "a,,c,\n" * 9, "c.csv")
    assert "$expected, of which row 2, 3, 4, 5, 6 and 4 more says nothing" in faults_of()[0]
    write("q;expected;word;note\na;b;c;\n", "c.csv")
    assert len(promptry.load_any("evals.yaml")["s"].dataset) == 1


@pytest.mark.parametrize(("place", "words"), [
    ("nope:fn", "There is no module 'nope' beside evals.yaml, and .* has none. Write nope.py there, or name a Python"),
    ("pipe:fn", "python:pipe:fn cannot be loaded: AttributeError: .*'fn'. Write python:my_module:my_function"),
    ("pipe:other", "python:pipe:other is 1; it takes a function."),
    ("../pipe:fn", "'../pipe' is no module name. Write python:my_module:my_function."),
])  # fmt: skip
def test_a_function_that_is_not_there_is_told_where_it_is_named(write: Write, place: str, words: str) -> None:
    write("other = 1\n", "pipe.py")
    judged = f"llm: {{criteria: b, judge: 'python:{place}'}}"
    write(
        f"suites:\n  - {{name: s, provider: 'python:{place}', prompt: a, assert: [json_valid]}}\n"
        f"  - {{name: t, provider: 'exec: cat', prompt: a, assert: [{judged}]}}\n"
    )
    first, second = faults_of()
    assert re.match(f"2:25: {words}", first) and re.match(f"3:57: {words}", second)
    assert promptry.run_command(["run"]) == 2


def test_a_name_that_a_module_of_the_file_has_too_is_refused(write: Write) -> None:
    write("import promptry\ndef answer(prompt): return prompt\n@promptry.suite('s')\ndef one(): pass\n", "pipe.py")
    write("suites:\n  - {name: s, provider: 'python:pipe:answer', prompt: a, assert: [json_valid]}\n")
    with pytest.raises(WrongUse, match="Two suites have the name 's': pipe.py, line 3 and evals.yaml, line 2."):
        promptry.load_any("evals.yaml")


def test_a_folder_is_no_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="folder.yaml is no file. --module names another"):
        promptry.load_any("folder.yaml")


RIGHT = """
x-shared: &shared
  provider: "exec: cat"
  assert: &steps
    - contains: Answer
suites:
  - name: plain
    <<: *shared
    description: Says what it does.
    prompt: "Answer: $question costs $$5"
    min_pass_rate: 0.5
    tolerance: 0.1
    variables: {question: nothing}
    cases:
      - id: first
        variables: {question: no}
      - variables: {question: 010}
        assert: [contains: "Answer: 010 costs $$5"]
      - id: third
        assert: [contains: [nothing, costs]]
  - name: chat
    <<: *shared
    prompt:
      name: support/chat
      messages:
        - {role: system, content: Answer briefly.}
        - {role: user, content: $input}
    cases: ["What?", 12]
  - name: one
    provider: "exec: echo Answer"
    prompt: Say it.
    assert: [exact: Answer, *answers]
"""


def test_a_file_registers_suites_like_any_other(write: Write) -> None:
    text = RIGHT.replace(", *answers", "")
    write(text)
    suites = promptry.load_any("evals.yaml")
    assert list(suites) == ["plain", "chat", "one"]
    plain = suites["plain"]
    assert (plain.description, plain.prompt, plain.min_pass_rate, plain.tolerance) == (
        "Says what it does.",
        "plain",
        0.5,
        0.1,
    )
    assert plain.dataset[:2] == [{"id": "first", "question": "no"}, {"question": "010"}]
    assert suites["chat"].dataset == [{"input": "What?"}, {"input": 12}]
    for name in suites:
        assert run_suite(name).passed, name
    assert promptry.get_prompt("plain")["content"] == "Answer: $question costs $$5"
    assert json.loads(promptry.get_prompt("support/chat")["content"])[1] == {"role": "user", "content": "$input"}


def test_an_edited_file_takes_the_place_of_what_it_said(write: Write) -> None:
    write(f"{HEAD}    prompt: a\n    assert: [contains: a]\n")
    promptry.load_any("evals.yaml")
    write(f"{HEAD.replace('name: s', 'name: t')}    prompt: a\n    assert: [contains: a]\n")
    assert list(promptry.load_any("evals.yaml")) == ["t"]
    write("suites: [")
    with pytest.raises(ConfigError):
        promptry.load_any("evals.yaml")
    assert list(promptry.known_suites()) == ["t"]


def test_a_suite_of_python_stays_beside_those_of_a_file(write: Write) -> None:
    promptry.suite("mine")(lambda: None)
    write(f"{HEAD}    prompt: a\n    assert: [contains: a]\n")
    assert list(promptry.load_any("evals.yaml")) == ["mine", "s"]


def test_the_name_evals_means_python_before_yaml(write: Write, tmp_path: Path) -> None:
    text = f"{HEAD}    prompt: a\n    assert: [contains: a]\n"
    with pytest.raises(ConfigError, match=r"There is no file other.yaml in .* promptry init --yaml writes one"):
        promptry.find_suite_file("other.yaml")
    assert promptry.find_suite_file("evals") is None
    write(text, "evals.yml")
    assert str(promptry.find_suite_file("evals")) == "evals.yml"
    write(text)
    with pytest.raises(ConfigError, match=r"There are evals.yaml and evals.yml. --module evals.yaml takes the first"):
        promptry.load_any("evals")
    assert list(promptry.load_any("evals.yml")) == ["s"]
    write("from promptry import suite\n\n@suite('python')\ndef check(): ...\n", "evals.py")
    assert list(promptry.load_any("evals")) == ["python"]


CASES = {
    "csv": "id,question\na,What?\nb,Why?\n",
    "jsonl": '{"id": "a", "question": "What?"}\n{"id": "b", "question": "Why?"}',
}
CASES["json"] = f"[{CASES['jsonl']}]".replace("\n", ",")


@pytest.mark.parametrize("kind", CASES)
def test_cases_come_from_a_file_beside_it(write: Write, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    write(
        f"{HEAD}    prompt: Is $question\n    {kind}: cases.{kind}\n    assert: [contains: $question]\n",
        "below/evals.yaml",
    )
    write(CASES[kind], f"below/cases.{kind}")
    promptry.load_any("below/evals.yaml")
    result = run_suite("s")
    assert result.passed and result.counts["cases"] == 2


def test_cases_come_from_a_dataset_whose_version_is_pinned(write: Write) -> None:
    promptry.save_dataset("qa", [{"id": "a", "question": "What?", "answer": 42}, "a text"])
    promptry.save_dataset("qa", [{"id": "b"}])
    write(f"{HEAD}    prompt: Is $question$input $answer\n    dataset: qa@1\n    assert: [contains: [Is]]\n")
    promptry.load_any("evals.yaml")
    result = run_suite("s")
    assert result.passed and result.counts["cases"] == 2
    write(f"{HEAD}    prompt: Is\n    dataset: qb\n    assert: [contains: [Is]]\n")
    promptry.load_any("evals.yaml")
    with pytest.raises(NotFound, match="There is no dataset 'qb'. Did you mean 'qa'?"):
        run_suite("s")


def test_a_prompt_of_the_store_is_served_by_its_name(write: Write) -> None:
    write(
        f"{HEAD}    prompt: {{name: support/answer, env: prod}}\n"
        "    cases: [{input: x}]\n    assert: [contains: Draft x]\n"
    )
    promptry.load_any("evals.yaml")
    with pytest.raises(NotFound, match="There is no prompt 'support/answer'"):
        run_suite("s")
    promptry.save_prompt("support/answer", "Live $input", tag="prod")
    promptry.save_prompt("support/answer", "Draft $input")
    assert run_suite("s").prompt_version == 2 and run_suite("s").passed
    result = run_suite("s", prompt_version=1)
    assert (result.prompt_version, result.passed) == (1, False)
    assert promptry.list_prompts()["total"] == 1


def test_the_text_of_a_prompt_may_stand_in_a_file_beside_it(write: Write) -> None:
    write("From a file: $input", "prompt.txt")
    write(f"{HEAD}    prompt: {{name: p, file: prompt.txt}}\n    cases: [x]\n    assert: [exact: 'From a file: x']\n")
    promptry.load_any("evals.yaml")
    assert run_suite("s").passed and promptry.get_prompt("p")["content"] == "From a file: $input"


PIPE = "def answer(prompt):\n    return f'Answer to {prompt}'\n"


PROVIDERS = ["python:pipe:answer", '"python: pipe:answer"', "{python: pipe:answer}", "Python:pipe:answer"]
PROVIDERS += ["{provider: python, model: 'pipe:answer'}", "{provider: 'python:pipe:answer', timeout_s: 5}"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_function_of_the_team_answers(write: Write, provider: str) -> None:
    write(PIPE, "pipe.py")
    write(f"suites:\n  - name: s\n    provider: {provider}\n    cases: [x]\n    assert: [exact: Answer to x]\n")
    (told,) = promptry.read_suites(Path("evals.yaml"))
    assert list(told.functions) == ["pipe:answer"]
    promptry.load_any("evals.yaml")
    assert run_suite("s").passed
    write(PIPE.replace("Answer", "Other"), "pipe.py")
    promptry.load_any("evals.yaml")
    assert not run_suite("s").passed


def test_a_module_of_the_team_that_does_not_load_is_told(write: Write) -> None:
    write("suites:\n  - name: s\n    provider: python:pipe:answer\n    cases: [x]\n    assert: [json_valid]\n")
    with pytest.raises(ConfigError, match="There is no module 'pipe'"):
        promptry.load_any("evals.yaml")
    write("import nothing_of_this_name\n", "pipe.py")
    with pytest.raises(ConfigError, match="The module 'pipe' does not import"):
        promptry.load_any("evals.yaml")
    write("other = 1\n", "pipe.py")
    with pytest.raises(ConfigError, match="python:pipe:answer cannot be loaded: AttributeError"):
        promptry.load_any("evals.yaml")
    assert not promptry.known_suites()


def test_words_that_begin_like_a_function_are_words(write: Write) -> None:
    words = "[not_contains: ['python: great', zzz], tool_called: {name: a, kwargs: {k: 'python: no'}}]"
    steps = words.replace(", tool_called", "}, {tool_called").replace("[not", "[{not").removesuffix("]") + "}]"
    write(f"suites:\n  - name: s\n    provider: {{provider: 'exec: cat', parameters: {{stop: 'python: x'}}}}\n"
          f"    cases: [x]\n    assert: {steps}\n")  # fmt: skip
    assert [list(one.functions) for one in promptry.read_suites(Path("evals.yaml"))] == [[]]


AGENT = """
def answer(prompt):
    if prompt == "odd":
        return {"output": 5}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    calls = [{"name": "weather", "args": {"city": prompt}}]
    return {"text": f"It rains in {prompt}.", "usage": usage, "model": "gpt-4.1-mini", "tool_calls": calls}
"""


def test_a_function_may_answer_what_it_used_and_called(write: Write, raw: sqlite3.Connection) -> None:
    write(AGENT, "pipe.py")
    write(
        "suites:\n  - name: s\n    provider: python:pipe:answer\n    cases: [Bonn, odd]\n    assert:\n"
        "      - contains: rains\n      - tool_called: {name: weather, kwargs: {city: $input}}\n"
    )
    promptry.load_any("evals.yaml")
    result = run_suite("s")
    assert [case["state"] for case in result.cases] == ["pass", "error"] and result.score == 1.0
    assert "python:pipe:answer answered the output 5; it takes text." in json.dumps(result.cases)
    used, _ = [json.loads(text) for (text,) in raw.execute("SELECT metadata FROM invocations ORDER BY id")]
    assert (used["origin"], used["model"], used["program"]) == ("eval", "gpt-4.1-mini", "python:pipe:answer")
    assert used["cost_usd"] == pytest.approx(100 * 0.4e-6 + 10 * 1.6e-6) and used["tool_calls"] == ["weather"]
    assert result.cost_usd is None or result.cost_usd >= used["cost_usd"]


def test_a_judge_may_be_a_function_of_the_team_too(write: Write) -> None:
    write(f"{HEAD}    prompt: a\n    assert: [llm: {{criteria: b, judge: 'python:pipe:judge'}}]\n")
    assert [list(one.functions) for one in promptry.read_suites(Path("evals.yaml"))] == [["pipe:judge"]]


def test_the_command_line_finds_the_file_and_tells_its_faults(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(f"{HEAD}    prompt: a\n    assert: [contains: a]\n")
    assert promptry.run_command(["run"]) == 0
    assert promptry.run_command(["suites", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n\n")[2] or "{}") is not None
    write(f"{HEAD}    prompt: a\n    assert: [contans: a]\n")
    assert promptry.run_command(["run", "--module", "evals.yaml", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "configuration" and error["message"].startswith(
        "evals.yaml:5:14: 'contans' is no assertion."
    )


def test_each_key_that_suite_takes_may_stand_in_a_file(write: Write) -> None:
    values = {"gate": "statistical", "min_pass_rate": 0.5, "repeats": 2, "confirm": 1, "tolerance": 0.1, "margin": 0.2}
    lines = "".join(f"    {key}: {value}\n" for key, value in values.items())
    write(f"{HEAD}    prompt: a\n{lines}    assert: [contains: a]\n")
    found = promptry.load_any("evals.yaml")["s"]
    assert {key: getattr(found, key) for key in values} == values
