"""SELECTION: what an expression means, what is refused, and which items and blocks a selection leaves."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptry
from promptry import WrongUse, assert_exact, case, run_suite, suite

MEANINGS = [
    ("refund", ["refund", "Refund-2", "no refund"], ["return", ""]),
    ("REFUND", ["refund"], ["fund"]),
    ("not refund", ["return"], ["refund"]),
    ("a and b", ["ab", "b a"], ["a", "b"]),
    ("a or b and c", ["a", "bc"], ["b", "c"]),
    ("(a or b) and c", ["ac", "bc"], ["a", "ab"]),
    ("not a or b", ["c", "ab"], ["a"]),
    ("not (a or b)", ["c"], ["a", "b"]),
    ("not not a", ["a"], ["b"]),
    ("'in german'", ["answer in german"], ["german in"]),
    ('"and"', ["sand"], ["x"]),
    ("it's", ["it's"], ["its"]),
    ("a-b_c/d#2", ["a-b_c/d#2"], ["a-b"]),
    ("  a  ", ["a"], ["b"]),
    ("android", ["android"], ["and"]),
    ("ä", ["Ärger"], ["a"]),
    ("__import__", ["x__import__"], ["x"]),
]


@pytest.mark.parametrize(("text", "true", "false"), MEANINGS, ids=[row[0] for row in MEANINGS])
def test_an_expression_means_what_it_says(text: str, true: list[str], false: list[str]) -> None:
    holds = promptry.read_expression(text)
    assert [name for name in true if not holds(name)] == []
    assert [name for name in false if holds(name)] == []


BAD = [
    ("", "it is empty"),
    ("   ", "it is empty"),
    ("a b", "'b' at sign 3 is not expected"),
    ("a and", "it ends where a word is missing"),
    ("and a", "'and' at sign 1 is not expected"),
    ("a or or b", "'or' at sign 6 is not expected"),
    ("not", "it ends where a word is missing"),
    ("(a", "it ends where a word is missing"),
    ("a)", r"'\)' at sign 2 is not expected"),
    ("()", r"'\)' at sign 2 is not expected"),
    ("a (b)", r"'\(' at sign 3 is not expected"),
    ("'a", "the quote at sign 1 does not end"),
    ("''", "is empty"),
    ("(" * 200 + "a" + ")" * 200, "nested more than 50 deep"),
    ("not " * 5000 + "a", "nested more than 50 deep"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[row[0][:20] for row in BAD])
def test_an_expression_that_is_none_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(WrongUse, match=said):
        promptry.read_expression(text)


WORDS = ["a", "b", "ab", "refund"]
TREES = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.one_of(
        inner.map(lambda one: ("not", one)),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)


def spelled(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    word, rest = tree
    return f"not ({spelled(rest)})" if word == "not" else f" {word} ".join(f"({spelled(part)})" for part in rest)


def meant(tree: Any, name: str) -> bool:
    if isinstance(tree, str):
        return tree in name
    word, rest = tree
    if word == "not":
        return not meant(rest, name)
    return (all if word == "and" else any)(meant(part, name) for part in rest)


@given(TREES, st.text(alphabet="abrefund", max_size=8))
def test_every_tree_of_words_is_read_as_it_is_meant(tree: Any, name: str) -> None:
    assert promptry.read_expression(spelled(tree))(name) is meant(tree, name)


@given(st.text(alphabet="ab ()'\"andornt", max_size=30))
def test_no_text_does_more_than_be_read_or_refused(text: str) -> None:
    try:
        holds = promptry.read_expression(text)
    except WrongUse:
        return
    assert holds("ab") in {True, False}


@given(st.text(min_size=1, max_size=20))
def test_a_word_in_quotes_is_found_in_what_holds_it(word: str) -> None:
    for quote in ("'", '"'):
        if quote not in word and word.casefold().strip():
            assert promptry.read_expression(f"{quote}{word}{quote}")(f"x{word}y")


def test_the_example_holds() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for test in finder.find(promptry.read_expression, globs=vars(promptry)):
        assert runner.run(test).failed == 0


ITEMS = [
    {"id": "refund-1", "tags": ["smoke"]},
    {"id": "refund-2", "tags": "slow"},
    {"id": "greet", "tags": ["smoke", "slow"]},
    {"id": "odd", "tags": 5},
]
CHOICES = [
    ("refund", (), ["refund-1", "refund-2"]),
    (None, ("smoke",), ["refund-1", "greet"]),
    (None, ("smoke", "slow"), ["refund-1", "refund-2", "greet"]),
    ("refund", ("slow",), ["refund-2"]),
    ("not refund", ("all of it",), ["greet", "odd"]),
    (None, ("all of it",), ["refund-1", "refund-2", "greet", "odd"]),
]


@pytest.mark.parametrize(("select", "tags", "ran"), CHOICES)
def test_only_what_is_selected_runs(select: str | None, tags: tuple[str, ...], ran: list[str], store: Any) -> None:
    seen: list[str] = []

    @suite("s", dataset=ITEMS, tags=["all of it"])
    def check(item: Any) -> None:
        seen.append(item["id"])
        assert_exact(1, 1)

    result = run_suite("s", select=select, tags=tags)
    assert seen == ran == [row["case"] for row in result.cases] and result.passed
    is_partial = len(ran) < len(ITEMS)
    assert (result.partial is not None) is is_partial
    if is_partial:
        assert result.partial is not None
        assert (result.partial["ran"], result.partial["of"]) == (len(ran), 4)
        assert f"selected {len(ran)} of 4 cases." in result.notes[0]
        assert "PARTIAL" in promptry.render_result(result)


def test_a_selected_run_is_no_baseline_and_in_no_trend(store: Any) -> None:
    promptry.save_prompt("p", "text", tag="prod")

    @suite("s", prompt="p", dataset=ITEMS)
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        assert_exact(1, 1)

    run_suite("s", select="greet")
    assert promptry.find_baseline("s", "prod", "p") is None
    assert promptry.check_drift("s").n == 0 and promptry.bisect_suite("s").n == 0
    whole = run_suite("s")
    part = run_suite("s", select="refund", compare="prod")
    assert part.comparison is not None and part.comparison["n"] == 2, "it is paired on what it has"
    assert part.comparison["baseline"]["id"] == whole.run_id
    assert promptry.find_baseline("s", "prod", "p") == int(whole.run_id)
    assert promptry.plan_suite("s").runs == [whole.run_id]
    rows = {row["id"]: row["partial"] for row in promptry.list_runs()["items"]}
    assert rows == {"1": True, "2": False, "3": True}


WRONG = [
    ({"select": "refnd"}, promptry.NotFound, "No case fits -k refnd. Did you mean 'refund-"),
    ({"tags": ("smok",)}, promptry.NotFound, "has the tag 'smok'. Did you mean 'smoke'"),
    ({"select": "greet", "tags": ("slow",)}, None, ""),
    ({"select": "odd", "tags": ("slow",)}, promptry.NotFound, "No case fits -k odd --tag slow"),
    ({"select": "("}, WrongUse, "it ends where"),
]


@pytest.mark.parametrize(("asked", "error", "said"), WRONG)
def test_a_selection_that_leaves_nothing_is_said_before_a_case_ran(
    asked: dict[str, Any], error: Any, said: str, store: Any
) -> None:
    @suite("s", dataset=ITEMS)
    def check(item: Any) -> None:
        assert_exact(1, 1)

    if error is None:
        assert run_suite("s", **asked).passed
        return
    with pytest.raises(error, match=said.replace("(", r"\(")):
        run_suite("s", **asked)
    assert promptry.list_runs()["total"] == 0


def test_blocks_run_all_and_those_selected_are_recorded(store: Any) -> None:
    seen: list[str] = []

    @suite("s")
    def check() -> None:
        for name in ("one", "two", "three"):
            with case(name):
                seen.append(name)
                assert_exact(name, "two")

    result = run_suite("s", select="two")
    assert seen == ["one", "two", "three"], "a block cannot be skipped"
    assert [row["case"] for row in result.cases] == ["two"] and result.passed
    assert result.partial is not None and (result.partial["ran"], result.partial["of"]) == (1, 3)
    assert run_suite("s", select="one").counts["cases"] == 1, "a run of a part does not tell which blocks there are"
    run_suite("s")
    with pytest.raises(promptry.NotFound, match="No case fits -k four") as found:
        run_suite("s", select="four")
    assert len(seen) == 9, "the last whole run tells that no block fits"
    assert "one, two, three" in found.value.hint


def test_blocks_of_a_suite_that_never_ran_are_looked_for_by_running_it(store: Any) -> None:
    @suite("s")
    def check() -> None:
        with case("one"):
            assert_exact(1, 1)

    with pytest.raises(promptry.NotFound, match="No case of suite 's' fits -k two"):
        run_suite("s", select="two")
    assert promptry.list_runs()["total"] == 0


def test_a_suite_of_blocks_of_which_none_fits_does_not_keep_the_others_from_their_report(
    store: Any, tmp_path: Any, run_cli: Any
) -> None:
    text = "from promptry import assert_exact, case, suite\n"
    text += "@suite('blocks')\ndef blocks():\n    with case('one'):\n        assert_exact(1, 1)\n"
    text += "@suite('items', dataset=[{'id': 'two'}])\ndef items(item):\n    assert_exact(1, 1)\n"
    (tmp_path / "evals.py").write_text(text)
    done = run_cli("run", "-k", "two", "--db", store)
    assert done.returncode == 0 and "PASS  items" in done.stdout, done.stderr
    done = run_cli("run", "blocks", "-k", "three", "--db", store)
    assert done.returncode == 2 and "No case of suite 'blocks' fits -k three" in done.stderr


def test_an_error_outside_of_the_selected_blocks_is_not_hidden(store: Any) -> None:
    @suite("s")
    def check() -> None:
        with case("one"):
            assert_exact(1, 1)
        raise RuntimeError("crashed")

    result = run_suite("s", select="one")
    assert [row["state"] for row in result.cases] == ["pass", "error"] and not result.passed


EVALS = """
from promptry import assert_exact, suite

@suite("a", dataset=[{"id": "x1"}, {"id": "x2", "tags": ["smoke"]}])
def a(item): assert_exact(1, 1)

@suite("b", dataset=[{"id": "y1"}], tags=["smoke"])
def b(item): assert_exact(1, 1)
"""


@pytest.mark.slow
def test_suites_without_a_selected_case_are_left_out(store: Any, tmp_path: Any, run_cli: Any) -> None:
    (tmp_path / "evals.py").write_text(EVALS)
    done = run_cli("run", "-k", "x1", "--db", store)
    assert done.returncode == 0 and "selected 1 of 2 cases" in done.stdout
    assert [row["suite"] for row in promptry.list_runs()["items"]] == ["a"]
    assert run_cli("run", "--tag", "smoke", "--db", store).returncode == 0
    rows = promptry.list_runs()["items"]
    assert [(row["suite"], row["partial"]) for row in rows] == [("b", False), ("a", True), ("a", True)]
    done = run_cli("run", "-k", "zzz", "--json", "--db", store)
    assert done.returncode == 2 and '"not_found"' in done.stdout
