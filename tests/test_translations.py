"""TRANSLATIONS: a template or assertion of promptfoo means the same here, or is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

import promptry
from promptry import Asked, CheckFailed, WrongUse

TEMPLATES = [
    ("no template", "no template"),
    ("Dear {{name}}.", "Dear $name."),
    ("{{ name }}s and {{- name -}}!", "${name}s and $name!"),
    ("{{ a }}{{ b }}", "$a$b"),
    ("{{ größe }}", "${größe}"),
    ("{{ name | safe }}", "$name"),
    ("costs $5, $name, ${x} and $$", "costs $5, $$name, $${x} and $$$"),
    ("${{ price }}", "$$$price"),
    ("{# nothing #}a", "a"),
    ("{% raw %}{{ name }} $x{% endraw %}", "{{ name }} $$x"),
    ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
]


@pytest.mark.parametrize(("text", "ours"), TEMPLATES)
def test_a_template_becomes_one_of_ours(text: str, ours: str) -> None:
    assert promptry.as_template(text) == ours


@pytest.mark.parametrize(
    "text", ["{{ a | upper }}", "{{ a.b }}", "{{ env.KEY }}", "{% if a %}b{% endif %}", "{{ a + 1 }}", "{{ }}"]
)
def test_a_template_with_logic_is_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="only names of variables|not evaluated"):
        promptry.as_template(text)


@pytest.mark.parametrize("text", ["$5 and $name", "${{a}} $$ {{a}}$", "a$", "$$$", "${a} {{a}}b", "\\$ {{a}} $a_b"])
def test_what_is_filled_in_is_what_promptfoo_sends(text: str) -> None:
    ours = promptry.fill_placeholders(promptry.as_template(text), {"a": "$x"})
    assert ours == text.replace("{{a}}", "$x") == promptry.as_filled(text, {"a": "$x"})


def holds(kind: str, value: Any, text: str, threshold: float | None = None) -> bool:
    """Tell whether our form of an assertion holds for a text."""
    asked = Asked(kind.removeprefix("not-"), kind.startswith("not-"), value, threshold, {})
    (step,) = promptry.as_steps(asked)
    ((name, values),) = step.items() if isinstance(step, dict) else [(step, {})]
    found = promptry.known_assertions()[name]
    values = values if isinstance(values, dict) else {next(iter(found.kinds)): values}
    filled = promptry.filled_values(promptry.Step(found, values), {})
    try:
        found.function(text, **filled)
    except CheckFailed:
        return False
    return True


# type, value, a text for which it holds in promptfoo, one for which it does not
MEANT = [
    ("equals", "Paris", "Paris", "Paris!"),
    ("equals", 42, "42", "43"),
    ("not-equals", "Paris", "Paris!", "Paris"),
    ("contains", "Par", "In Paris", "in paris"),
    ("contains", "$5 for $name", "It is $5 for $name", "It is 5"),
    ("not-contains", "Par", "in paris", "In Paris"),
    ("icontains", "par", "In Paris", "Rome"),
    ("not-icontains", "par", "Rome", "In Paris"),
    ("contains-all", ["a", "b"], "b and a", "A or b"),
    ("contains-all", "a, b", "b and a", "b"),
    ("icontains-all", ["a", "b"], "B and A", "b"),
    ("contains-any", ["a.c", "$x"], "is a.c", "abc"),
    ("contains-any", ["a.c", "$x"], "is $x", "x"),
    ("icontains-any", ["one", "two"], "TWO", "three"),
    ("not-contains-any", ["one", "two"], "three", "two"),
    ("not-icontains-any", ["one", "two"], "three", "TWO"),
    ("not-contains-all", ["one", "two"], "one\nthree", "two\none"),
    ("not-icontains-all", ["one", "two"], "one three", "TWO one"),
    ("starts-with", "Dear (", "Dear (Ada)\nHi", "dear (Ada)"),
    ("not-starts-with", "Dear", "dear\nDear", "Dear Ada"),
    ("regex", r"^\d+$", "12", "12a"),
    ("regex", r"a.c", "abc", "a\nc"),
    ("regex", r"\$\d|€\d$", "costs $5", "costs 5"),
    ("not-regex", r"^\d+", "a\n12", "12"),
    ("not-regex", r"a.c", "a\nc", "x\nabc"),
    ("is-json", None, '{"a": 1}', "no"),
    ("contains-json", "", 'Here: {"a": 1}', "no"),
    ("levenshtein", "kitten", "sitting", "sitting down there"),
    ("word-count", 3, "one two\nthree", "one two"),
    ("word-count", {"min": 2, "max": 3}, " one two ", "one two three four"),
    ("word-count", {"min": 2}, "a b c d", "a"),
    ("word-count", {"max": 2}, "", "a b c"),
]


@pytest.mark.parametrize(("kind", "value", "good", "bad"), MEANT, ids=[f"{kind} {value}" for kind, value, *_ in MEANT])
def test_an_assertion_holds_for_the_same_texts(store: Any, kind: str, value: Any, good: str, bad: str) -> None:
    assert holds(kind, value, good) and not holds(kind, value, bad)


def test_a_limit_is_taken_over(store: Any) -> None:
    assert holds("levenshtein", "kitten", "sitting", 3) and not holds("levenshtein", "kitten", "sitting", 2)


REFUSED = [
    ("javascript", "output.length > 3", "javascript is code, which is not evaluated"),
    ("python", "len(output) > 3", "python is code"),
    ("webhook", "https://x", "webhook is code"),
    ("rouge-n", "a", "promptfoo's rouge-n has no counterpart here, as it counts words whatever their order"),
    ("bleu", "a", "promptfoo's bleu has no counterpart here, as no such measure is here"),
    ("latency", None, "promptfoo's latency has no counterpart here, as no assertion looks at the time"),
    ("not-is-json", None, "promptfoo's not-is-json has no counterpart here"),
    ("not-similar", "a", "promptfoo's not-similar has no counterpart here"),
    ("skill-used", "a", "promptfoo's skill-used has no counterpart here, as skills are not looked at"),
    ("similar:dot", "a", "promptfoo's similar:dot has no counterpart here, as only the cosine"),
    ("contians", "a", "promptfoo has no assertion contians. Did you mean 'contains'?"),
    ("banana", "a", "promptfoo has no assertion banana."),
    ("llm-rubric", {"a": 1}, "its value is {'a': 1}, no text"),
    ("is-json", {"type": 5}, "schema: "),
    ("word-count", {"min": 1e30}, "matches: "),
    ("trace-span-count", {}, "promptfoo's trace-span-count has no counterpart here, as no assertion looks at spans"),
    ("equals", {"a": 1}, "its value is {'a': 1}, no text"),
    ("contains-any", {"a": 1}, "its value is {'a': 1}, no list of texts"),
    ("regex", "(?<!a+)(", "its pattern is another's"),
    ("contains", "{{ a | upper }}", "it holds {{ a | upper }}, and only names"),
    ("word-count", "few", "its value is 'few', no number of words"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), REFUSED, ids=[f"{kind} {value}" for kind, value, _ in REFUSED])
def test_what_has_no_equal_is_refused_with_the_reason(kind: str, value: Any, reason: str) -> None:
    with pytest.raises(WrongUse) as caught:
        promptry.as_steps(Asked(kind.removeprefix("not-"), kind.startswith("not-"), value, None, {}))
    assert str(caught.value).startswith(reason)


ALL_TYPES = """equals contains icontains contains-any contains-all icontains-any icontains-all starts-with regex is-json
    contains-json is-xml contains-xml is-html contains-html is-sql contains-sql is-valid-function-call
    is-valid-openai-function-call is-valid-openai-tools-call tool-call-f1 levenshtein rouge-n bleu meteor gleu f-score
    similar perplexity perplexity-score latency cost finish-reason word-count guardrails javascript python ruby webhook
    classifier llm-rubric g-eval factuality closedqa model-graded-closedqa answer-relevance context-recall
    context-relevance context-faithfulness select-best max-score pi trace-span-count trace-span-duration
    trace-error-spans is-refusal search-rubric skill-used trajectory:tool-used trajectory:tool-args-match
    trajectory:tool-sequence trajectory:step-count trajectory:goal-success similar:cosine similar:dot similar:euclidean
    model-graded-factuality human"""


def test_every_type_that_promptfoo_has_is_taken_over_or_refused_with_a_reason_of_its_own() -> None:
    types = {*ALL_TYPES.split(), "moderation"}
    assert types == promptry.assertion_types()
    assert types | {"assert-set"} == {*promptry.promptfoo_facts()["types"]}


def test_a_pattern_that_depends_on_variables_waits_for_them(store: Any) -> None:
    asked = Asked("starts-with", False, "{{lead}}.", None, None)
    known = asked._replace(variables={"lead": "a$b"})
    assert promptry.waits_for_variables(asked) and not promptry.waits_for_variables(known)
    assert promptry.as_steps(known) == [{"matches": "a[$]b\\..*"}]
    for kind, is_negated in (("contains", False), ("equals", False), ("regex", True), ("contains-any", True)):
        other = asked._replace(kind=kind, is_negated=is_negated)
        assert not promptry.waits_for_variables(other) and "$lead" in str(promptry.as_steps(other))
