"""FLAKES: how steady a case is, by a stated rule over runs that tested the same; and cases known to be flaky."""

from __future__ import annotations

import doctest
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptry
from promptry import assert_exact, run_suite, suite

ROWS = [
    ([], 0, None, False),
    ([True], 0, None, False),
    ([True, True, True], 0, 0.0, False),
    ([True, True, False, False], 1, 1 / 3, False),
    ([True, False, True], 2, 1.0, True),
    ([False, True, False, True], 3, 1.0, True),
]


@pytest.mark.parametrize(("tries", "changes", "rate", "flaky"), ROWS)
def test_the_flake_rate_is_the_share_of_neighbours_that_differ(
    tries: list[bool], changes: int, rate: float | None, flaky: bool
) -> None:
    found = promptry.flake_of("a", tries)
    assert found == {"case": "a", "n": len(tries), "changes": changes, "rate": rate, "flaky": flaky}


@given(st.lists(st.booleans(), max_size=30))
def test_a_case_that_never_changes_or_breaks_once_is_not_flaky(tries: list[bool]) -> None:
    is_sorted = tries in (sorted(tries), sorted(tries, reverse=True))
    assert promptry.flake_of("a", tries)["flaky"] is not is_sorted


def test_a_case_of_seventy_in_a_hundred_is_found_within_ten_tries_as_often_as_stated() -> None:
    found = 0.0
    for tries in itertools.product([True, False], repeat=10):
        weight = 0.7 ** sum(tries) * 0.3 ** (10 - sum(tries))
        found += weight * promptry.flake_of("a", tries)["flaky"]
    assert round(found, 2) == 0.93


def test_the_example_holds() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for test in finder.find(promptry.flake_of, globs=vars(promptry)):
        assert runner.run(test).failed == 0


@pytest.fixture
def history(store: Path) -> dict[str, Any]:
    """A suite of three cases whose outcomes are set between its runs."""
    outcomes: dict[str, Any] = {"good": 1, "wavers": 1, "breaks": 1}
    promptry.save_prompt("p", "text 1", tag="prod")

    @suite("s", prompt="p", dataset=[{"id": name} for name in outcomes])
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        if outcomes[item["id"]] is None:
            raise RuntimeError("dead endpoint")
        assert_exact(outcomes[item["id"]], 1)

    return outcomes


def play(outcomes: dict[str, Any], wavers: list[Any], breaks: list[Any]) -> promptry.RunResult:
    for one, other in zip(wavers, breaks, strict=True):
        outcomes.update(wavers=one, breaks=other)
        result = run_suite("s")
    return result


def test_the_history_of_a_case_tells_a_break_from_a_flake(history: dict[str, Any]) -> None:
    result = play(history, [1, 0, 1, 0], [1, 1, 0, 0])
    rows = {row["case"]: (row["n"], row["changes"], row["flaky"]) for row in result.flakes}
    assert rows == {"wavers": (4, 3, True), "breaks": (4, 1, False)}
    assert promptry.get_run(result.run_id)["flakes"] == list(result.flakes)
    every = promptry.list_flakes(int(result.run_id))
    assert [row["case"] for row in every] == ["wavers", "breaks", "good"], "the least steady first"
    text = promptry.render_result(result)
    assert "1.00 (n 4, flaky)" in text and "0.33 (n 4)" in text
    assert "1.00 (n 4, flaky)" in promptry.render_run(promptry.get_run(result.run_id))


def test_errors_tell_nothing_of_a_case(history: dict[str, Any]) -> None:
    result = play(history, [1, None, 0], [1, 1, 1])
    (row,) = promptry.list_flakes(int(result.run_id), ["wavers"])
    assert (row["n"], row["changes"]) == (2, 1)


def test_only_runs_that_tested_the_same_count(history: dict[str, Any]) -> None:
    play(history, [0, 1], [1, 1])
    promptry.save_prompt("p", "text 2")
    result = play(history, [0], [1])
    assert [row["n"] for row in promptry.list_flakes(int(result.run_id), ["wavers"])] == [1], "another version"
    run_suite("s", select="wavers")
    last = run_suite("s")
    assert [row["n"] for row in promptry.list_flakes(int(last.run_id), ["wavers"])] == [2], "a part of a suite is none"
    assert [row["n"] for row in promptry.list_flakes(int(result.run_id), ["wavers"])] == [1], "later runs are not known"
    assert [row["n"] for row in promptry.list_flakes(int(last.run_id), ["wavers"], window=1)] == [1]


def test_repeats_within_a_run_are_tries_too(store: Path) -> None:
    turns = itertools.cycle([1, 0, 1])
    suite("s")(lambda: assert_exact(next(turns), 1))
    result = run_suite("s", repeats=3)
    (row,) = result.flakes
    assert (row["n"], row["changes"], row["flaky"]) == (3, 2, True)


def test_flips_are_shown_with_how_steady_they_were(history: dict[str, Any]) -> None:
    play(history, [1, 0, 1], [1, 1, 1])
    history.update(wavers=0)
    result = run_suite("s", compare="prod")
    assert result.comparison is not None
    assert "flake rate, with this run: wavers 1.00 (n 4, flaky)" in promptry.render_result(result)


# --- known flaky cases


def name_flaky(tmp_path: Path, *names: str) -> None:
    (tmp_path / "promptry.toml").write_text(f"[run]\nflaky = {list(names)}\n")
    promptry.forget_settings()


@pytest.mark.parametrize("outcome", [0, None])
def test_a_known_flaky_case_decides_nothing_and_stands_apart(
    outcome: Any, history: dict[str, Any], tmp_path: Path
) -> None:
    run_suite("s")
    name_flaky(tmp_path, "s/wavers", "other/case")
    history.update(wavers=outcome)
    result = run_suite("s", compare="prod")
    state = "fail" if outcome == 0 else "error"
    assert (result.passed, result.score, result.coverage) == (True, 1.0, 1.0)
    assert promptry.exit_code_of(result) == 0
    assert result.counts[state] == 1 and result.counts[f"flaky_{state}"] == 1, "the four states count all"
    assert result.known_flaky == ({"case": "wavers", "state": state},)
    assert result.comparison is not None and result.comparison["n"] == 2 and result.comparison["flips"] == []
    assert f"KNOWN FLAKY, outside of score, pass and comparison: 1 {state}." in promptry.render_result(result)
    report = promptry.load_report(result, 0)
    assert promptry.groups_of(report)["known flaky, they decide nothing"] == [f"wavers: {state}"]
    assert 'failures="0" errors="0" skipped="1"' in promptry.render_junit([report])
    assert "KNOWN FLAKY" in promptry.render_run(promptry.get_run(result.run_id))


def test_other_cases_still_decide(history: dict[str, Any], tmp_path: Path) -> None:
    name_flaky(tmp_path, "s/wavers")
    result = play(history, [0], [0])
    assert result.reasons == ("1 of 2 cases failed",) and result.score == 0.5


def test_a_run_of_known_flaky_cases_alone_decides_nothing(history: dict[str, Any], tmp_path: Path) -> None:
    name_flaky(tmp_path, "s/wavers", "s/breaks", "s/good")
    result = run_suite("s")
    assert (result.passed, result.score, result.coverage) == (False, None, None)
    assert result.reasons == ("no case ran",) and promptry.exit_code_of(result) == 3


def test_a_name_that_is_no_case_is_said_with_the_nearest(
    history: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name_flaky(tmp_path, "s/waver")
    run_suite("s")
    assert (
        "[run] flaky names 's/waver', which is no case of the suite. Did you mean 'wavers'?" in capsys.readouterr().err
    )
    run_suite("s", select="good")
    assert "flaky" not in capsys.readouterr().err, "a selected run cannot tell"


def test_a_name_of_no_suite_is_said(store: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "evals.py").write_text(
        "from promptry import assert_exact, suite\n@suite('quiz')\ndef check(): assert_exact(1, 2)\n"
    )
    (tmp_path / "promptry.toml").write_text('[run]\nflaky = ["quizz/a"]\n')
    done = run_cli("run", "--db", store)
    assert done.returncode == 1 and "'quizz/a', which is of no suite here. Did you mean 'quiz'?" in done.stderr
    (tmp_path / "promptry.toml").write_text('[run]\nflaky = ["quiz"]\n')
    done = run_cli("run", "--db", store)
    assert done.returncode == 3 and "of no suite" not in done.stderr, "a suite that is one case goes by its name"
