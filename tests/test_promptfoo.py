"""PROMPTFOO: what its files become loads and runs here, and what could not be taken over is listed with its reason."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        [
            "sharing is left out: nothing is shared",
            "outputPath is left out: run --format writes reports",
            "the setting delay is left out",
            "threshold is left out",
            "metric is left out",
        ],
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


@pytest.mark.slow
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


@pytest.mark.slow
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


WHOLE: dict[str, Any] = {
    "description": "All of it",
    "prompts": [{"raw": "b {{q}}", "label": "two", "config": {"a": 1}}, "file://x.py:f"],
    "providers": [
        {"id": "openai:x", "label": "l", "config": {"temperature": 0, "apiBaseUrl": "https://x", "apiKeyEnvar": "K"}},
        {"groq:m": {"config": {"stop": ["a"]}}},
    ],
    "assertionTemplates": {"short": {"type": "word-count", "value": {"min": 1, "max": 9}}},
    "defaultTest": {
        "vars": {"a": "b", "q": ["x", "y"]},
        "options": {"prefix": "p {{a}}", "disableVarExpansion": False},
        "assert": [{"type": "starts-with", "value": "{{q}}"}, {"type": "similar", "value": "a", "threshold": 0.5}],
        "metadata": {"team": "a"},
    },
    "evaluateOptions": {"repeat": 2, "maxConcurrency": 4},
    "scenarios": [{"config": [{"vars": {"q": "z"}}], "tests": [{"vars": {"r": 1}, "assert": [{"type": "equals"}]}]}],
    "tests": [
        "file://t.csv",
        {
            "description": "d",
            "vars": {"q": "a", "id": "7", "group": "g", "tags": "t", "f": "file://p.txt"},
            "metadata": {"k": ["v", 1]},
            "threshold": 0.5,
            "options": {"suffix": "!", "disableDefaultAsserts": True, "transform": None},
            "assert": [
                {"$ref": "#/assertionTemplates/short"},
                {"type": "contains-any", "value": ["a", 1], "weight": 2, "metric": "m"},
                {"type": "levenshtein", "value": "a", "threshold": 3},
                {"type": "llm-rubric", "value": "good", "threshold": 0.5, "provider": "openai:y", "rubricPrompt": "r"},
                {"type": "is-json", "value": {"type": "object", "required": ["a"]}},
                {"type": "not-regex", "value": "a.b"},
                {"type": "assert-set", "weight": 1, "assert": [{"type": "icontains-all", "value": "a, b"}]},
                {"type": "context-faithfulness", "threshold": 0.8},
            ],
        },
    ],
}
STRANGE: list[Any] = [
    None, 5, "x", [None], {"": ""}, True,
    "file://p.txt", "file://no", "{{a|b}}", "{{ a }}", ["a", {"b": 1}], -1, 1e300,
    10**30, "", " ", "{% if a %}", "a\0b", "x" * 300, "file://*", "{{", "<<", "$a ${b", [], [[]], {}, {"a": {"b": []}},
    0, {"$ref": "#/defaultTest"}, {"type": "contains", "value": "x"},
    {"type": "assert-set", "assert": [{"type": "is-json"}]},
]  # fmt: skip


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the place of each value within one, but that of the whole."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        yield (*place, key)
        yield from places_in(one, (*place, key))


def check_import(config: Any, loads: bool = True) -> None:
    """Assert that what an import writes loads, and that what it refuses is one sentence."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "p.txt").write_text("one {{q}}\n---\ntwo")
        (folder / "t.csv").write_text('q,__expected,__metadata:k[],__foo\na,contains: a,"v,w",x\n')
        (folder / "c.json").write_text(json.dumps(config))
        try:
            found = import_promptfoo(folder / "c.json")
        except WrongUse as error:
            assert error.exit_code == 2 and "does not load" not in str(error)
            return
        if loads:
            (folder / "evals.yaml").write_text(found["text"], encoding="utf-8")
            assert len(promptry.read_suites(folder / "evals.yaml")) == found["suites"]


PLACES = list(places_in(WHOLE))


def test_the_whole_that_is_changed_below_is_taken_over(tmp_path: Path) -> None:
    check_import(WHOLE)
    files = {"c.json": json.dumps(WHOLE), "p.txt": "one", "t.csv": "q,__expected\na,contains: a\n"}
    found = import_promptfoo(write_sample(tmp_path, Sample(files, {}, [])))
    assert (found["suites"], found["cases"]) == (2, 6) and found["assertions"] > 12


# A configuration in which each line of a place holds one thing that has no counterpart here, and the place of each.
DROPPED = """
prompts:
  - raw: "Hi {{q}}"
    label: hi
    config: {temperature: 1}  # prompts[0].config
    function: x  # prompts[0].function
  - file://x.py:make  # prompts[1]
  - exec:./a.sh  # prompts[2]
  - "{{ q | upper }}"  # prompts[3]
  - "{% for a in q %}{{a}}{% endfor %}"  # prompts[4]
  - {}  # prompts[5]
providers:
  - id: openai:gpt-4o
    prompts: [hi]  # providers[0].prompts
    transform: output.x  # providers[0].transform
    config:
      temperature: "{{ t }}"  # providers[0].config.temperature
      tools: file://tools.yaml  # providers[0].config.tools
      apiKey: k  # providers[0].config.apiKey
  - agent:mine  # providers[1]
  - file://custom.py  # providers[2]
tags: {team: a}  # tags
env: {X: 1}  # env
outputPath: out.json  # outputPath
extensions: [file://x.js:f]  # extensions
derivedMetrics: [{name: a, value: b}]  # derivedMetrics
nunjucksFilters: {up: ./up.js}  # nunjucksFilters
evaluateOptions:
  maxConcurrency: 3
  cache: false  # evaluateOptions.cache
metrics: 5  # metrics
defaultTest:
  threshold: 0.5  # defaultTest.threshold
  options:
    rubricPrompt: x  # defaultTest.options.rubricPrompt
    provider: openai:gpt-4  # defaultTest.options.provider
tests:
  - vars: {q: a}
    threshold: 0.7  # tests[0].threshold
    provider: openai:gpt-4  # tests[0].provider
    providerOutput: cached  # tests[0].providerOutput
    assertScoringFunction: file://x.py  # tests[0].assertScoringFunction
    metadata:
      kind: [a, b]
      deep: {a: b}  # tests[0].metadata.deep
    options:
      storeOutputAs: name  # tests[0].options.storeOutputAs
      strange: 1  # tests[0].options.strange
    assert:
      - type: contains
        value: a
        metric: m  # tests[0].assert[0].metric
        weight: 2  # tests[0].assert[0].weight
        threshold: 0.5  # tests[0].assert[0].threshold
        valeu: b  # tests[0].assert[0].valeu
      - type: llm-rubric
        value: polite
        rubricPrompt: x  # tests[0].assert[1].rubricPrompt
        provider: openai:x  # tests[0].assert[1].provider
        config: {a: 1}  # tests[0].assert[1].config
      - {type: contains, value: "{{ q | lower }}"}  # tests[0].assert[2]
      - {type: contains, value: a, transform: x}  # tests[0].assert[3]
      - {type: is-json, contextTransform: x}  # tests[0].assert[4]
      - {type: contains, value: a, weight: 0}  # tests[0].assert[5]
      - {type: icontain, value: a}  # tests[0].assert[6]
      - {type: similar, value: a, threshold: 80}  # tests[0].assert[7]
      - type: assert-set
        weight: 2  # tests[0].assert[8].weight
        value: x  # tests[0].assert[8].value
        assert: [{type: contains, value: a}]
      - $ref: "#/assertionTemplates/none"  # tests[0].assert[9].$ref
        type: contains
        value: a
  - path: file://more.csv
    config: {a: 1}  # tests[1].config
scenarios:
  - description: all  # scenarios[0].description
    config: [{vars: {q: z}}]
    tests: [{assert: [{type: contains, value: z}]}]
  - file://scenario.yaml  # scenarios[1]
"""
TABLE = 'q,__expected,__metric,__metadata:kind[],__config:__expected:weight,__other\nb,contains: b,m,"x,y",2,o\n'


def test_what_is_not_taken_over_is_listed_with_its_place(tmp_path: Path) -> None:
    lines = DROPPED.split("\n")
    wanted = [f"line {at}, {line.partition('  # ')[2]}" for at, line in enumerate(lines, 1) if "  # " in line]
    wanted += [f"more.csv row 2.{name}" for name in ("__metric", "__config:__expected:weight", "__other")]
    found = import_promptfoo(write_sample(tmp_path, Sample({"c.yaml": DROPPED, "more.csv": TABLE}, {}, [])))
    assert sorted(place for note in found["notes"] for place in note["places"]) == sorted(wanted)
    assert "concurrency: 3\n" in found["text"]
    reasons = {place.partition(", ")[2]: note["reason"] for note in found["notes"] for place in note["places"]}
    assert reasons["tests[0].assert[0].valeu"].endswith("it has no counterpart here. Did you mean 'value'?")
    assert reasons["tests[0].assert[6]"].endswith("promptfoo has no assertion icontain. Did you mean 'icontains'?")
    assert "it takes a number from 0 to 1" in reasons["tests[0].assert[7]"]
    (tmp_path / "evals.yaml").write_text(found["text"])
    (told,) = promptry.read_suites(tmp_path / "evals.yaml")
    tags = {item["id"]: promptry.tags_of(item) for item in told.facts["dataset"]}
    assert tags == {"a": {"kind=a", "kind=b"}, "b": {"kind=x", "kind=y"}, "z": set()}


def test_a_test_may_do_without_the_assertions_of_all(tmp_path: Path) -> None:
    text = (
        "prompts: ['{{q}}']\nproviders: [echo]\ndefaultTest: {assert: [{type: contains, value: a}]}\ntests:\n"
        "  - {vars: {q: a}}\n"
        "  - {vars: {q: b}, options: {disableDefaultAsserts: true}, assert: [{type: contains, value: b}]}\n"
    )
    found = import_promptfoo(write_sample(tmp_path, Sample({"c.yaml": text}, {}, [])))
    (tmp_path / "evals.yaml").write_text(found["text"])
    (told,) = promptry.read_suites(tmp_path / "evals.yaml")
    assert not told.steps and not found["notes"]
    assert {id: [step.values["keywords"] for step in steps] for id, steps in told.case_steps.items()} == {
        "a": ["a"],
        "b": ["b"],
    }


def test_cases_of_one_id_are_one_too_many(tmp_path: Path) -> None:
    tests = "".join(f"  - {{vars: {{id: 7, q: {q}}}, assert: [{{type: contains, value: 7}}]}}\n" for q in "ab")
    text = f"prompts: ['{{{{id}}}} {{{{q}}}}']\nproviders: [echo]\ntests:\n{tests}"
    found = import_promptfoo(write_sample(tmp_path, Sample({"c.yaml": text}, {}, [])))
    (note,) = found["notes"]
    assert found["cases"] == 1 and note["place"] == "line 5, tests[1]" and "its variable id" in note["reason"]


FORMS: list[tuple[dict[str, str], list[str]]] = [
    ({"c.json": '{"prompts": {"file://a.md": "x", "b": "y"}}', "a.md": "A\n---\nB"}, ["A\n---\nB", "b"]),
    ({"c.json": '{"prompts": "file://a.jsonl"}', "a.jsonl": "one\n\ntwo\n"}, ["one", "two"]),
    ({"c.json": json.dumps({"prompts": ["x" * 300]})}, ["x" * 300]),
    ({"c.json": '{"prompts": ["\\ud83d\\ude00"]}'}, ["\U0001f600"]),
]


@pytest.mark.parametrize(("files", "prompts"), FORMS, ids=["map", "lines", "long", "halves"])
def test_each_form_of_prompts_is_taken_over(tmp_path: Path, files: dict[str, str], prompts: list[str]) -> None:
    config = {**json.loads(files["c.json"]), "providers": ["echo"], "tests": [{"assert": ["is-json"]}]}
    found = import_promptfoo(write_sample(tmp_path, Sample({**files, "c.json": json.dumps(config)}, {}, [])))
    (tmp_path / "evals.yaml").write_text(found["text"], encoding="utf-8")
    assert [told.text for told in promptry.read_suites(tmp_path / "evals.yaml")] == prompts


def test_what_would_not_load_is_refused_and_not_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(promptry, "_MAX_REPEATED", 10)
    tests = "".join(f"  - {{vars: {{q: a{at}}}, assert: [{{type: contains, value: a}}]}}\n" for at in range(9))
    text = f"prompts: ['{{{{q}}}}']\nproviders: [openai:a, openai:b]\ntests:\n{tests}"
    file = write_sample(tmp_path, Sample({"c.yaml": text}, {}, []))
    out = str(tmp_path / "evals.yaml")
    assert promptry.run_command(["import", "promptfoo", str(file), "--output", out]) == 2
    told = capsys.readouterr().err
    assert "c.yaml becomes does not load: suites:" in told and "Aliases repeat more than 10 values." in told
    assert not Path(out).exists()
    assert promptry.run_command(["import", "promptfoo", str(file), "--output", out, "--provider", "openai:a"]) == 0


@pytest.mark.parametrize(
    "line", ['{"a": NaN}', '{"a": "\\ud800"}', '{"a":' + "[" * 60 + "]" * 60 + "}", '{"a":' + "[" * 9000]
)
def test_a_line_that_yaml_cannot_hold_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(WrongUse, match=r"Nothing of .* could be taken over(.|\n)*t.jsonl"):
        import_promptfoo(write_sample(tmp_path, Sample({"t.jsonl": line}, {}, [])))


def changed(config: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a configuration with another value at a place, or as it is where an earlier change took the place away."""
    found = copy.deepcopy(config)
    inner = found
    with contextlib.suppress(KeyError, IndexError, TypeError):
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("at", range(len(STRANGE)))
def test_no_value_at_a_place_is_a_traceback(at: int) -> None:
    for place in PLACES[at % 5 :: 5]:
        check_import(changed(WHOLE, place, STRANGE[at]), loads=False)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(STRANGE)), min_size=2, max_size=6))
def test_several_strange_values_make_no_suite_that_does_not_load(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    config = WHOLE
    for place, value in changes:
        config = changed(config, place, value)
    check_import(config)
