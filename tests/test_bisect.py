"""BISECT: where a suite or case broke, what changed there, and what is passed over on the way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import Bisection, assert_exact, bisect_suite, case, render_prompt, run_suite, save_prompt, suite

STATES = {"+": 1, "-": 0}


def add_runs(raw: sqlite3.Connection, states: str, name: str = "qa") -> None:
    """Add runs: + passes, - fails, i fails and was interrupted."""
    for state in states:
        raw.execute(
            "INSERT INTO eval_runs (suite_name, overall_pass, metadata) VALUES (?, ?, ?)",
            (name, STATES.get(state, 0), '{"complete": false}' if state == "i" else None),
        )


def ends_of(found: Bisection) -> tuple[str | None, str | None]:
    return (found.first_bad or {}).get("id"), (found.last_good or {}).get("id")


@pytest.mark.parametrize(
    ("states", "newest", "oldest"),
    [
        ("", (None, None), (None, None)),
        ("+", (None, None), (None, None)),
        ("++-", ("3", "2"), ("3", "2")),
        ("+--", ("2", "1"), ("2", "1")),
        ("+-+", (None, None), ("2", "1")),
        ("+-+--", ("4", "3"), ("2", "1")),
        ("---", ("1", None), ("1", None)),
        ("-+-", ("3", "2"), ("1", None)),
        ("+i-", ("3", "1"), ("3", "1")),
        ("+i", (None, None), (None, None)),
        ("+-i+i", (None, None), ("2", "1")),
    ],
)
def test_the_break_is_found_in_the_order_of_the_runs(
    states: str, newest: Any, oldest: Any, raw: sqlite3.Connection
) -> None:
    add_runs(raw, states)
    add_runs(raw, "+-+", "other")
    for first, ends in ((False, newest), (True, oldest)):
        found = bisect_suite("qa", first=first)
        assert ends_of(found) == ends
        assert found.found == (ends[0] is not None)
        assert found.n == len(states.replace("i", ""))
        json.dumps(found.to_dict())


def add_run(raw: sqlite3.Connection, passed: int, checks: Sequence[tuple[Any, ...]] = (), **manifest: Any) -> None:
    """Add a run of qa, with the checks of case a: (passed, repeat)."""
    row = "INSERT INTO eval_runs (suite_name, overall_pass, timestamp, metadata) VALUES ('qa', ?, '2026-01-01', ?)"
    key = raw.execute(row, (passed, json.dumps(manifest) if manifest else None)).lastrowid
    for state, repeat in checks:
        raw.execute(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, details) VALUES (?, 'a', ?, ?, ?)",
            (key, "exact" if state is not None else "error", state, json.dumps({"repeat": repeat})),
        )


OUTAGE = {"counts": {"pass": 3, "fail": 0, "error": 2}}
NOTHING_RAN = {"counts": {"pass": 0, "fail": 0, "error": 0, "skipped": 5}}
FAILS_TOO = {"counts": {"pass": 3, "fail": 1, "error": 1}}


@pytest.mark.parametrize(
    ("runs", "ends", "n", "reason"),
    [
        ([(1, {}), (0, OUTAGE)], (None, None), 1, "it passes in the newest run that could be judged"),
        ([(1, {}), (0, OUTAGE), (0, {})], ("3", "1"), 2, "it passed until then"),
        ([(0, {}), (0, OUTAGE), (0, {})], ("1", None), 2, "no run before it passed"),
        ([(1, {}), (0, NOTHING_RAN)], (None, None), 1, "it passes in the newest run that could be judged"),
        ([(0, OUTAGE), (0, NOTHING_RAN)], (None, None), 0, "not enough data"),
        ([(1, {}), (0, FAILS_TOO)], ("2", "1"), 2, "it passed until then"),
        ([(1, {}), (0, {**FAILS_TOO, "baseline_id": 1})], (None, None), 1, None),
        ([(1, {}), (0, {**FAILS_TOO, "baseline_id": 1, "verdict": "regressed"})], ("2", "1"), 2, None),
        ([(1, {}), (0, {**FAILS_TOO, "gate": {"min_pass_rate": 0.5}})], (None, None), 1, None),
        ([(1, {}), (0, {"counts": {"pass": 3, "fail": 1, "error": 0}}), (0, {})], ("2", "1"), 3, None),
        ([(1, {}), (0, {"counts": "many"}), (0, {"counts": {"error": "x"}})], ("2", "1"), 3, None),
        ([(1, {}), (0, {"gate": 7, "complete": True})], ("2", "1"), 2, None),
    ],
)
def test_a_run_that_could_not_be_judged_neither_breaks_nor_holds(
    runs: list[Any], ends: Any, n: int, reason: str | None, raw: sqlite3.Connection
) -> None:
    for passed, manifest in runs:
        add_run(raw, passed, **manifest)
    found = bisect_suite("qa")
    assert (ends_of(found), found.n) == (ends, n)
    assert reason is None or found.reason == reason


def repeats(states: str) -> list[tuple[int | None, int]]:
    """+ passes, - fails, e ends in an error: a repeat each."""
    return [(STATES.get(state), place) for place, state in enumerate(states)]


@pytest.mark.parametrize(
    ("histories", "ends", "n"),
    [
        (["+", "-", "+", "-"], ("4", "3"), 4),
        (["+++++", "++++-", "-----"], ("3", "1"), 2),
        (["+++++", "++---", "-----"], ("2", "1"), 3),
        (["++", "+-", "--"], ("2", "1"), 3),
        (["+++++", "++++-"], (None, None), 1),
        (["++++-", "+++-+"], (None, None), 0),
        (["+", "e", "-"], ("3", "1"), 2),
        (["++", "+e", "--"], ("3", "1"), 2),
        (["++", "-e"], ("2", "1"), 2),
        (["+", "", "-"], ("3", "1"), 2),
        (["-", "-", "-"], ("1", None), 3),
        (["+", "+", "+"], (None, None), 3),
    ],
)
def test_a_flaky_case_neither_breaks_nor_holds(
    histories: list[str], ends: Any, n: int, raw: sqlite3.Connection
) -> None:
    for states in histories:
        add_run(raw, 0, repeats(states))
    found = bisect_suite("qa", "a")
    assert (ends_of(found), found.n) == (ends, n)


def test_several_checks_of_one_repeat_are_one_repeat(raw: sqlite3.Connection) -> None:
    add_run(raw, 1, [(1, 0), (1, 0), (1, 0)])
    add_run(raw, 0, [(1, 0), (1, 0), (0, 0)])
    assert ends_of(bisect_suite("qa", "a")) == ("2", "1"), "one of three checks fails: the case fails"


def test_a_case_that_passed_when_it_was_tried_again_is_no_break(raw: sqlite3.Connection) -> None:
    add_run(raw, 1, repeats("+"))
    add_run(raw, 1, repeats("-"), gate={"confirm": {"a": ["fail", "pass"], 'o"dd': ["pass"]}})
    add_run(raw, 0, repeats("-"), gate={"confirm": {"a": ["fail", "fail"], "other": ["pass"]}})
    found = bisect_suite("qa", "a")
    assert (ends_of(found), found.n) == (("3", "1"), 2)


def test_a_case_that_newer_runs_no_longer_have_is_said_to_pass_where_it_could_be_judged(
    raw: sqlite3.Connection,
) -> None:
    add_run(raw, 1, repeats("+"))
    add_run(raw, 1)
    assert bisect_suite("qa", "a").reason == "it passes in the newest run that could be judged"


def test_results_of_others_without_details_are_one_repeat(raw: sqlite3.Connection) -> None:
    for passed in (1, 0):
        key = raw.execute("INSERT INTO eval_runs (suite_name) VALUES ('qa')").lastrowid
        row = "INSERT INTO eval_results (run_id, test_name, assertion_type, passed) VALUES (?, 'a', 'exact', ?)"
        raw.executemany(row, [(key, 1), (key, passed)])
    assert ends_of(bisect_suite("qa", "a")) == ("2", "1")


def test_an_unknown_suite_or_case_has_no_run_and_no_break(raw: sqlite3.Connection) -> None:
    add_runs(raw, "+-")
    for found in (bisect_suite("never ran"), bisect_suite("qa", "no such case"), bisect_suite("", first=True)):
        assert not found.found and found.n == 0 and found.reason == "not enough data"


@pytest.fixture
def broken(store: Path) -> dict[str, Any]:
    """Five runs of two cases; a breaks in the third, with a new prompt and model, b fails once in the second."""
    save_prompt("p", "Answer in one word.", tag="prod")
    failing: dict[str, Any] = {"names": set()}

    @suite("quiz", prompt="p")
    def check() -> None:
        render_prompt("p", "")
        for name in ("a", "b", "c"):
            with case(name):
                if name in failing.get("errors", ()):
                    raise RuntimeError("no answer")
                assert_exact(name in failing["names"], False)

    for number, names in enumerate(((), ("b",), ("a",), ("a", "b"), ("a",))):
        if number == 2:
            save_prompt("p", "Think, then answer.")
        failing["names"] = set(names)
        run_suite("quiz", model_version="m2" if number > 1 else "m1")
    return failing


def test_a_break_comes_with_what_changed_and_the_diff(broken: dict[str, Any]) -> None:
    found = bisect_suite("quiz", "a")
    assert ends_of(found) == ("3", "2") and found.case == "a"
    assert found.changed == {
        "prompt": {"before": "p@1", "now": "p@2"},
        "model": {"before": "m1", "now": "m2"},
        "dataset": None,
        "commit": None,
        "embedder": None,
    }
    assert found.prompt_diff is not None and "+Think, then answer." in found.prompt_diff
    assert found.first_bad is not None and set(found.first_bad) == {"id", "date", "score"}


def test_the_suite_and_each_case_have_breaks_of_their_own(broken: dict[str, Any]) -> None:
    assert ends_of(bisect_suite("quiz")) == ("2", "1")
    assert ends_of(bisect_suite("quiz", "b")) == (None, None)
    assert ends_of(bisect_suite("quiz", "b", first=True)) == ("2", "1")
    assert bisect_suite("quiz", "c").reason == "it passes in the newest run"
    assert bisect_suite("quiz", "c", first=True).reason == "it never failed"


def test_a_run_in_which_the_case_ended_in_an_error_neither_breaks_nor_holds(broken: dict[str, Any]) -> None:
    broken.update(names=set(), errors={"a"})
    run_suite("quiz")
    found = bisect_suite("quiz", "a")
    assert ends_of(found) == ("3", "2") and found.n == 5
    assert ends_of(bisect_suite("quiz", "b")) == (None, None)


def test_runs_of_others_without_saved_prompts_are_bisected_without_a_diff(raw: sqlite3.Connection) -> None:
    row = "INSERT INTO eval_runs (suite_name, prompt_name, prompt_version, overall_pass) VALUES ('x', 'p', ?, ?)"
    raw.execute(row, (1, 1))
    raw.execute(row, (2, 0))
    found = bisect_suite("x")
    assert found.changed is not None and found.changed["prompt"] == {"before": "p@1", "now": "p@2"}
    assert found.prompt_diff is None


def test_the_command_says_since_when_and_exits_1(broken: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["bisect", "quiz", "--case", "a"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("broken  quiz, case a: since run 3 of ")
    assert "it passed until then (run 2)" in text
    assert "prompt: p@1 -> p@2" in text and "+Think, then answer." in text
    assert promptry.run_command(["bisect", "quiz", "--case", "b"]) == 0
    assert capsys.readouterr().out == "quiz, case b: it passes in the newest run (runs judged: 5).\n"
    assert promptry.run_command(["bisect", "quiz", "--case", "b", "--first", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_bad"]["id"] == "2"
    assert promptry.run_command(["bisect", "never ran"]) == 0
    assert capsys.readouterr().out == "never ran: not enough data (runs judged: 0).\n"


def test_a_suite_that_never_passed_is_said_to_be_so(
    raw: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(raw, "--")
    assert promptry.run_command(["bisect", "qa"]) == 1
    assert "since run 1 of" in (text := capsys.readouterr().out) and "no run before it passed" in text
