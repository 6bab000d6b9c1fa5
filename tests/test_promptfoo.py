"""PROMPTFOO: what its files become loads and runs here, and what could not be taken over is listed with its reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import promptry
from promptry import WrongUse, import_promptfoo, run_suite

ECHO = "exec: cat"


class Sample(NamedTuple):
    """Files of promptfoo's (the first is imported), what comes of them, and the reasons of the notes in their order."""

    files: dict[str, str]
    states: dict[str, dict[str, str]]
    reasons: list[str]


SAMPLES = {
    "the start of most": Sample(
        {
            "promptfooconfig.yaml": """
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Getting started
prompts:
  - "Convert this to {{language}}: {{input}}"
providers: [echo]
tests:
  - vars: {language: French, input: Hello world}
    assert:
      - type: contains
        value: Hello
  - vars: {language: German, input: How are you?}
    assert:
      - type: icontains
        value: "CONVERT THIS TO {{language}}"
      - type: equals
        value: "Convert this to {{language}}: {{input}}"
"""
        },
        {"getting-started": {"french": "pass", "german": "pass"}},
        [],
    ),
    "prompts and providers make suites": Sample(
        {
            "c.yaml": """
prompts: [file://a.txt, {label: Second try, raw: "two {{q}}"}]
providers:
  - {id: echo, label: one}
  - {id: echo, label: two}
tests:
  - vars: {q: x}
    assert: [{type: contains, value: x}]
""",
            "a.txt": "one {{q}}\n",
        },
        {
            f"c/{prompt}/{provider}": {"x": "pass"}
            for prompt in ("prompt-1", "second-try")
            for provider in ("one", "two")
        },
        [],
    ),
    "values make cases": Sample(
        {
            "c.yaml": """
prompts: "{{a}}-{{b}}"
providers: echo
tests:
  - description: All of them
    vars: {a: [1, 2], b: [x, y]}
    assert: [{type: regex, value: "^[12]-[xy]$"}]
  - vars: {a: [1, 2], b: z}
    options: {disableVarExpansion: true}
    assert: [{type: equals, value: "[1, 2]-z"}]
"""
        },
        {
            "c": {
                "all-of-them": "pass",
                "all-of-them-2": "pass",
                "all-of-them-3": "pass",
                "all-of-them-4": "pass",
                "1-2": "pass",
            }
        },
        [],
    ),
    "what all tests have in common": Sample(
        {
            "c.yaml": """
prompts: ["{{greeting}} {{name}}, {{nothing}}"]
providers: [echo]
defaultTest:
  vars: {greeting: Hello}
  assert:
    - {type: starts-with, value: "{{greeting}} {{name}}"}
    - {type: not-contains, value: Bye}
tests:
  - vars: {name: Ada}
  - vars: {name: Bob, greeting: Bye}
  - vars: {name: Eve}
    assert: [{type: not-icontains, value: ADA}]
"""
        },
        {"c": {"ada": "pass", "bob": "fail", "eve": "pass"}},
        [],
    ),
    "code is listed and never run": Sample(
        {
            "c.yaml": """
prompts: ["{{q}}", file://prompt.py]
providers: [file://provider.js, echo]
tests:
  - vars: {q: one}
    assert:
      - {type: javascript, value: "process.exit(1)"}
      - {type: python, value: "file://check.py"}
      - {type: contains, value: one, transform: output.trim()}
      - {type: contains, value: one}
  - vars: {q: two}
    options: {transform: output.toUpperCase()}
    assert: [{type: contains, value: TWO}]
  - file://generate.py
  - vars: {q: three}
    assert: [{type: javascript, value: "true"}]
""",
            "prompt.py": "raise SystemExit(9)",
            "check.py": "raise SystemExit(9)",
            "generate.py": "raise SystemExit(9)",
        },
        {"c": {"one": "pass"}},
        [
            "the prompt is left out: prompt.py is code",
            "the provider is left out: file://provider.js",
            "the tests are left out: generate.py is code",
            "javascript is left out",
            "python is left out",
            "contains is left out: its transform is code",
            "the test is left out: its transform is code",
            "the test is left out: no assertion of it is left",
        ],
    ),
    "chat as JSON": Sample(
        {
            "c.yaml": """
prompts: [file://chat.json]
providers: [echo]
tests:
  - vars: {q: 'say "hi"'}
    assert: [{type: contains, value: 'say "hi"'}, {type: contains, value: Be brief.}]
""",
            "chat.json": '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{q}}"}]',
        },
        {"c": {"say-hi": "pass"}},
        [],
    ),
    "a set of assertions": Sample(
        {
            "c.yaml": """
prompts: ["{{q}}"]
providers: [echo]
tests:
  - vars: {q: abc}
    assert:
      - type: assert-set
        assert: [{type: contains, value: a}, {type: contains, value: b}]
      - type: assert-set
        threshold: 0.5
        assert: [{type: contains, value: x}, {type: contains, value: c}]
      - {type: contains, value: zzz, weight: 0}
"""
        },
        {"c": {"abc": "pass"}},
        ["the set is left out: it holds if a share of it does", "contains is left out: its weight is 0"],
    ),
    "words that YAML has in two ways": Sample(
        {
            "c.yaml": """
prompts: ["{{a}}|{{b}}|{{c}}|{{d}}"]
providers: [echo]
tests:
  - vars: {a: no, b: 1.0, c: true, d: 12:30}
    assert: [{type: equals, value: "no|1|true|12:30"}]
"""
        },
        {"c": {"no": "pass"}},
        [],
    ),
    "dollars and braces": Sample(
        {
            "c.yaml": """
prompts: ['Reply {"price": "$name ${{price}}"} $$']
providers: [echo]
tests:
  - vars: {price: 5}
    assert:
      - {type: equals, value: 'Reply {"price": "$name $5"} $$'}
      - {type: contains-json}
      - {type: regex, value: '\\$\\d'}
"""
        },
        {"c": {"5": "pass"}},
        [],
    ),
    "files of variables": Sample(
        {
            "c.yaml": """
prompts: ["{{doc}} {{all}}"]
providers: [echo]
tests:
  - vars: {doc: file://doc.txt, all: file://no.txt}
    assert: [{type: contains, value: inside}]
  - vars: {doc: "{{name}}!", name: Ada, all: file://*.md}
    assert: [{type: starts-with, value: Ada!}]
""",
            "doc.txt": "text inside {{ a }}",
            "a.md": "A",
            "b.md": "B",
        },
        {"c": {"text-inside": "pass", "ada": "pass", "ada-2": "pass"}},
        ["the variable is left empty: there is no file no.txt"],
    ),
    "settings that have no place here": Sample(
        {
            "c.yaml": """
prompts: ["{{q}}"]
providers: [{id: echo, config: {delay: 5, temperature: 0}}]
sharing: true
outputPath: out.html
evaluateOptions: {maxConcurrency: 2, repeat: 2}
tests:
  - vars: {q: x}
    threshold: 0.5
    metadata: {ticket: 12}
    assert: [{type: contains, value: x, metric: found}]
"""
        },
        {"c": {"x": "pass"}},
        ["outputPath is left out", "sharing is left out", "the setting delay is left out", "the threshold is left out"],
    ),
    "prefix and suffix": Sample(
        {
            "c.yaml": """
prompts: ["{{q}}"]
providers: [echo]
defaultTest: {options: {suffix: "!"}}
tests:
  - vars: {q: x}
    options: {prefix: "Say "}
    assert: [{type: equals, value: "Say x!"}]
  - vars: {q: y}
    assert: [{type: equals, value: y!}]
"""
        },
        {"c": {"x": "pass", "y": "pass"}},
        [],
    ),
    "scenarios": Sample(
        {
            "c.yaml": """
prompts: ["{{lang}} {{q}}"]
providers: [echo]
scenarios:
  - config: [{vars: {lang: de, e: ja}}, {vars: {lang: fr, e: oui}}]
    tests:
      - {description: one, vars: {q: x}, assert: [{type: contains-any, value: [de, fr]}]}
      - {description: two, vars: {q: ja}, assert: [{type: contains-any, value: ["{{e}}"]}]}
"""
        },
        {"c": {"one": "pass", "two": "pass", "one-2": "pass", "two-2": "fail"}},
        [],
    ),
    "a table of tests": Sample(
        {
            "tests.csv": "question,answer,__expected,__expected2,__description,__metadata:kind\n"
            '"What, now?",so,contains: What,not-contains: zzz,asked,a\n'
            "Two lines,no,regex: ^Two,,,b\n"
            "Same,,starts-with: Same,,,\n"
            "Judged,,javascript: output,,,\n"
        },
        {"tests": {"asked": "pass", "two-lines": "pass", "same": "pass"}},
        ["there is no provider", "there is no prompt", "javascript is left out", "the test is left out: no assertion"],
    ),
    "a table beside a configuration": Sample(
        {
            "c.yaml": "prompts: ['Q: {{q}}']\nproviders: [echo]\ntests: file://t.csv\n",
            "t.csv": '\ufeffq;__expected\na;"contains-all: Q, a"\nb;levenshtein(2): Q: x\n',
        },
        {"c": {"a": "pass", "b": "pass"}},
        [],
    ),
    "references within the file": Sample(
        {
            "c.yaml": """
prompts: ["{{q}}"]
providers: [echo]
assertionTemplates:
  short: {type: word-count, value: {max: 2}}
tests:
  - vars: {q: one two}
    assert: [{$ref: "#/assertionTemplates/short"}]
  - vars: {q: one two three}
    assert: [{$ref: "#/assertionTemplates/short"}, is-json]
"""
        },
        {"c": {"one-two": "pass", "one-two-three": "fail"}},
        ["is-json takes bare JSON only"],
    ),
    "JSON as the configuration": Sample(
        {
            "c.json": json.dumps(
                {
                    "prompts": ["{{id}} {{q}}"],
                    "targets": ["echo"],
                    "tests": [{"vars": {"id": "a7", "q": "x"}, "assert": [{"type": "starts-with", "value": "a7"}]}],
                }
            )
        },
        {"c": {"a7": "pass"}},
        [],
    ),
}


def write_sample(folder: Path, sample: Sample) -> Path:
    for name, text in sample.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / next(iter(sample.files))


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_taken_over_loads_and_runs(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    sample = SAMPLES[name]
    found = import_promptfoo(write_sample(tmp_path, sample))
    reasons = [note["reason"] for note in found["notes"]]
    assert len(reasons) == len(sample.reasons), reasons
    assert all(reason.startswith(begin) for reason, begin in zip(reasons, sample.reasons, strict=True)), reasons
    (tmp_path / "evals.yaml").write_text(found["text"], encoding="utf-8")
    assert list(promptry.load_any("evals.yaml")) == list(sample.states)
    for suite, states in sample.states.items():
        assert {row["case"]: row["state"] for row in run_suite(suite, repeats=1).cases} == states
    assert found["suites"] == len(sample.states) and found["cases"] == sum(map(len, sample.states.values()))
    assert all(f"# {note['place']}: {note['reason']}" in found["text"] for note in found["notes"])


def test_repeats_and_parameters_are_taken_over(tmp_path: Path) -> None:
    text = SAMPLES["settings that have no place here"]
    found = import_promptfoo(write_sample(tmp_path, text))
    assert "repeats: 2\n" in found["text"] and "temperature: 0\n" in found["text"]


def test_a_place_names_the_line_and_one_reason_is_told_once(tmp_path: Path) -> None:
    tests = "".join(
        f"  - vars: {{q: {at}}}\n    assert: [{{type: latency}}, {{type: contains, value: x}}]\n" for at in range(4)
    )
    (tmp_path / "c.yaml").write_text(f"prompts: ['{{{{q}}}}']\nproviders: [echo]\ntests:\n{tests}")
    (note,) = import_promptfoo(tmp_path / "c.yaml")["notes"]
    assert note["place"] == "line 5, tests[0].assert[0] and 3 more"


@pytest.mark.parametrize(("text", "reason"), [
    ("prompts: [a]\nproviders: [echo]\n", "Nothing of .* could be taken over."),
    ("prompts: ['{{a|b}}']\ntests: [{assert: [{type: is-json}]}]\n", r"Nothing (.|\n)*only names of variables"),
    ("prompts: [a]\ntests: [{assert: [{type: pi}]}]\n", r"Nothing (.|\n)*pi is left out"),
    (f"prompts: [a]\ntests: [{{vars: {{a: {[*range(101)]}, b: {[*range(100)]}}}, assert: [is-json]}}]\n",
     "makes more than 10,000 cases"),
    (f"prompts: {['a'] * 11}\nproviders: {['echo'] * 10}\ntests: [{{assert: [is-json]}}]\n",
     "11 prompts and 10 providers make more than 100 suites"),
])  # fmt: skip
def test_what_makes_no_suite_is_refused_with_the_reasons(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(WrongUse, match=reason):
        import_promptfoo(tmp_path / "c.yaml")


def test_the_command_writes_a_new_file_and_lists_what_is_left_out(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    file = write_sample(tmp_path, SAMPLES["code is listed and never run"])
    assert promptry.run_command(["import", "promptfoo", str(file), "--output", "evals.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(
        "1 suite, 1 case, 1 assertion; not taken over, or not quite: 8.\n  line 2, prompts[1]: "
    )
    assert err.endswith("Next: promptry run --module evals.yaml\n")
    assert promptry.run_command(["run"]) == 0
    capsys.readouterr()
    assert promptry.run_command(["import", "promptfoo", str(file), "--output", "evals.yaml"]) == 2
    assert "evals.yaml is there already" in capsys.readouterr().err
    assert promptry.run_command(["import", "promptfoo", str(file), "--provider", "openai:gpt-4o", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["suites"], found["cases"], found["output"]) == (1, 1, None)
    assert 'provider: "openai:gpt-4o"' in found["text"] and found["notes"][0]["place"] == "line 2, prompts[1]"
    assert promptry.run_command(["import", "promptfoo", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "suites:\n- name: c\n" in out and "suites:" not in err


def test_a_name_that_is_taken_gets_a_number_that_is_free() -> None:
    seen: promptry.Counter[str] = promptry.Counter()
    names = [promptry._unique(name, seen) for name in ("x", "x", "x-2", "x", "y", "x-2")]
    assert names == ["x", "x-2", "x-2-2", "x-3", "y", "x-2-3"]
