"""BISECT: where a suite or case broke, what changed there, and what is passed over on the way."""

from __future__ import annotations

import json
import sqlite3
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
