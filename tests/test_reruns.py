"""RERUNS: what is run again and what is taken over, said in the run, which is no baseline."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import WrongUse, assert_exact, case, run_suite, suite

NAMES = ("good", "bad", "dead", "skipped")


@pytest.fixture
def outcomes(store: Path) -> dict[str, Any]:
    """A suite of four items whose outcomes are set between its runs, and what was called."""
    found: dict[str, Any] = {"good": 1, "bad": 0, "dead": None, "skipped": "skip", "called": []}
    promptry.save_prompt("p", "text", tag="prod")

    @suite("s", prompt="p", dataset=[{"id": name} for name in NAMES])
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        found["called"].append(item["id"])
        if found[item["id"]] is None:
            raise RuntimeError("429")
        if found[item["id"]] == "skip":
            pytest.skip("no key")
        assert_exact(found[item["id"]], 1)

    run_suite("s")
    found["called"].clear()
    return found


KINDS = [("failed", ["bad"]), ("errors", ["dead"]), ("all", list(NAMES))]


@pytest.mark.parametrize(("kind", "called"), KINDS)
def test_only_what_is_asked_for_runs_again_and_the_rest_is_taken_over(
    kind: str, called: list[str], outcomes: dict[str, Any]
) -> None:
    outcomes.update(bad=1, dead=1)
    result = run_suite("s", rerun=kind)
    assert outcomes["called"] == called
    states = {"good": "pass", "bad": "fail", "dead": "error", "skipped": "skipped"}
    states.update({name: "pass" for name in called if name != "skipped"})
    assert {row["case"]: row["state"] for row in result.cases} == states
    assert [row["case"] for row in result.cases] == list(NAMES), "in the order of the items"
    checks = {row["case"]: row["checks"][0]["details"] for row in promptry.get_run(result.run_id)["cases"]}
    taken = {name: details.get("taken_from") for name, details in checks.items()}
    assert taken == {name: None if name in called else "1" for name in NAMES}
    if kind == "all":
        assert result.partial is None, "nothing was taken over: it is a run like any other"
        return
    assert result.partial == {
        "selected": None,
        "rerun": kind,
        "run": "1",
        "cases": called,
        "ran": 1,
        "taken": 3,
        "of": 4,
    }
    assert f"RERUN ({kind}): 1 of 4 cases ran again, 3 were taken over from run 1." in promptry.render_result(result)
    assert promptry.find_baseline("s", "prod", "p") == 1
    assert promptry.check_drift("s").n == 1


def test_a_failing_case_that_passes_again_is_said_to_be_flaky_and_no_evidence(outcomes: dict[str, Any]) -> None:
    outcomes.update(dead=1, skipped=1)
    before = run_suite("s", compare="prod")
    assert before.counts["fail"] == 1
    outcomes.update(bad=1)
    result = run_suite("s", rerun="failed", compare="prod")
    assert "A case that passes only when tried again is flaky." in result.notes
    assert result.comparison is not None and result.comparison["n"] == 4, "it is paired on what it has"
    report = promptry.load_report(result, 0)
    for text in (promptry.render_markdown([report]), promptry.render_html([report]), promptry.render_junit([report])):
        assert "RERUN" in text.replace("&#40;", "(")
    assert promptry.find_baseline("s", "prod", "p") == int(before.run_id)


def test_what_an_interrupted_run_never_came_to_runs_too(store: Path) -> None:
    called: list[str] = []

    @suite("s", dataset=[{"id": name} for name in "abcd"])
    def check(item: Any) -> None:
        called.append(item["id"])
        assert_exact(1, 1)
        if item["id"] == "b" and len(called) == 2:
            raise KeyboardInterrupt

    assert not run_suite("s").complete
    called.clear()
    result = run_suite("s", rerun="errors")
    assert called == ["b", "c", "d"] and result.complete and result.passed
    assert result.counts["cases"] == 4 and result.partial is not None and result.partial["taken"] == 1


def test_a_rerun_of_a_selection_stays_one(store: Path) -> None:
    outcome, called = {"a1": 0, "a2": 1}, []

    @suite("s", dataset=[{"id": name} for name in ("a1", "a2", "b1")])
    def check(item: Any) -> None:
        called.append(item["id"])
        assert_exact(outcome.get(item["id"], 1), 1)

    run_suite("s", select="a")
    called.clear()
    result = run_suite("s", rerun="failed")
    assert called == ["a1"], "what was not selected then is not run now"
    assert "taken over from run 1, selected by -k a" in result.notes[0]
    called.clear()
    result = run_suite("s", rerun="all")
    assert called == ["a1", "a2"]
    assert result.partial is not None and result.partial["of"] == 3


def test_a_run_that_leaves_nothing_to_run_again_is_answered_itself(
    outcomes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes.update(bad=1, dead=1)
    run_suite("s")
    outcomes["called"].clear()
    result = run_suite("s", rerun="failed")
    assert (result.run_id, outcomes["called"]) == ("2", [])
    assert "Run 2 of suite 's' leaves nothing to run again." in capsys.readouterr().err


def test_the_run_to_run_again_can_be_named(outcomes: dict[str, Any]) -> None:
    outcomes.update(bad=1)
    run_suite("s")
    outcomes["called"].clear()
    result = run_suite("s", rerun="failed", of=1)
    assert outcomes["called"] == ["bad"] and result.partial is not None and result.partial["run"] == "1"


def test_all_repeats_of_a_case_are_run_again(store: Path) -> None:
    turns = iter([1, 0, 1, 1, 1, 1, 1, 1])

    @suite("s", dataset=[{"id": "a"}, {"id": "b"}], repeats=2)
    def check(item: Any) -> None:
        assert_exact(next(turns), 1)

    run_suite("s")  # a: 1, b: 0, a: 1, b: 1
    result = run_suite("s", rerun="failed")
    rows = [(row["repeat"], row["case"], row["state"]) for row in result.cases]
    assert rows == [(0, "a", "pass"), (0, "b", "pass"), (1, "a", "pass"), (1, "b", "pass")]
    assert len(list(turns)) == 2, "two of the four executions were made again"
    with pytest.raises(WrongUse, match="has 2 repeats, --repeats asks for 3"):
        run_suite("s", rerun="failed", repeats=3)


def test_blocks_below_items_and_blocks_alone_are_run_again(store: Path) -> None:
    outcome = {"x": 0}

    @suite("items", dataset=[{"id": "a"}, {"id": "a/b"}, {"id": "c"}])
    def items(item: Any) -> None:
        for name in ("b", "x"):
            with case(name):
                assert_exact(outcome["x"] if (item["id"], name) == ("a", "x") else 1, 1)

    @suite("blocks")
    def blocks() -> None:
        for name in ("w", "x"):
            with case(name):
                assert_exact(outcome.get(name, 1), 1)

    first = {name: run_suite(name) for name in ("items", "blocks")}
    outcome["x"] = 1
    for name in ("items", "blocks"):
        result = run_suite(name, rerun="failed")
        assert [row["case"] for row in result.cases] == [row["case"] for row in first[name].cases]
        assert result.passed and result.partial is not None
    assert result.partial["taken"] == 1 and result.partial["cases"] == ["x"]


def test_what_cannot_be_run_again_is_refused(outcomes: dict[str, Any]) -> None:
    suite("other", dataset=[1])(lambda item: assert_exact(1, 1))
    with pytest.raises(promptry.NotFound, match="has no run to run again"):
        run_suite("other", rerun="failed")
    with pytest.raises(WrongUse, match="Run 1 is of suite 's', not of 'other'"):
        run_suite("other", rerun="failed", of=1)
    with pytest.raises(promptry.NotFound, match="no run 99"):
        run_suite("s", rerun="failed", of=99)
    with pytest.raises(WrongUse, match="it takes failed, errors, all"):
        run_suite("s", rerun="fail")


def test_other_items_are_not_taken_over(store: Path) -> None:
    items = [{"id": "a", "x": 1}, {"id": "b", "x": 2}]
    suite("s", dataset=items)(lambda item: assert_exact(item["x"], 1))
    run_suite("s")
    items[0]["x"] = 3
    with pytest.raises(WrongUse, match="The items of suite 's' are not those of run 1"):
        run_suite("s", rerun="failed")
    assert run_suite("s", rerun="all").counts["fail"] == 2, "where nothing is taken over it does not matter"


EVALS = """
import os
from promptry import assert_exact, suite

@suite("s", dataset=[{"id": "a"}, {"id": "b"}, {"id": "c"}])
def check(item):
    assert_exact(item["id"] == "b" and "MENDED" not in os.environ, False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("python", [[], ["--python", sys.executable]], ids=["here", "in a child"])
def test_the_command_runs_again_what_failed(python: list[str], store: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "evals.py").write_text(EVALS)
    assert run_cli("run", "--db", store, *python).returncode == 1
    done = run_cli("run", "--rerun", "failed", "--json", "--db", store, *python, MENDED="1")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["items"]
    assert result["partial"]["cases"] == ["b"] and result["counts"]["pass"] == 3
    assert run_cli("run", "--of", "1", "--db", store, *python).returncode == 2
    assert isinstance(done, subprocess.CompletedProcess)


KILLED = """
import os, time
from promptry import assert_exact, render_prompt, suite, track

@suite("s", prompt="p", dataset=[{"id": name} for name in ("good", "bad", "dead", "hangs", "later")])
def check(item):
    render_prompt("p", track("text", "p"))
    with open("called", "a") as file:
        print(item["id"], file=file, flush=True)
    if "MENDED" not in os.environ and item["id"] == "hangs":
        time.sleep(60)
    if "MENDED" not in os.environ and item["id"] == "dead":
        raise RuntimeError("429")
    assert_exact(item["id"] == "bad" and "MENDED" not in os.environ, False)
"""
NEVER_ENDED = ["hangs", "later"]


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that starts the command and kills it with signal 9 once it hangs in its fourth case."""
    (tmp_path / "evals.py").write_text(KILLED)
    (tmp_path / "spools").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spools"))
    called = tmp_path / "called"

    def kill(*words: str) -> None:
        run = subprocess.Popen([sys.executable, promptry.__file__, "run", *words], stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 30
        while not called.exists() or "hangs" not in called.read_text().split():
            assert run.poll() is None and time.monotonic() < until, run.communicate()
            time.sleep(0.02)
        run.kill()
        run.communicate()
        assert run.returncode == -signal.SIGKILL
        called.unlink()

    return kill


def said(tmp_path: Path) -> list[str]:
    """Return which cases were called since the kill, and forget them."""
    names = (tmp_path / "called").read_text().split()
    (tmp_path / "called").unlink()
    return names


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "called", "states"),
    [
        ("failed", ["bad"], ["pass", "pass", "error", "pass", "pass"]),
        ("errors", ["dead"], ["pass", "fail", "pass", "pass", "pass"]),
        ("all", ["good", "bad", "dead"], ["pass"] * 5),
    ],
)
def test_a_killed_run_that_was_recovered_is_run_again(
    kind: str, called: list[str], states: list[str], store: Path, tmp_path: Path, run_cli: Any, killed: Any
) -> None:
    killed("--db", str(store))
    recovered = run_cli("run", "--recover", "--db", store)
    assert recovered.returncode == 0, recovered.stderr
    assert not (tmp_path / "called").exists(), "recovering runs nothing"
    first = promptry.get_run("1")
    assert [row["case"] for row in first["cases"]] == ["good", "bad", "dead"] and not first["complete"]

    done = run_cli("run", "--rerun", kind, "--json", "--db", store, MENDED="1")
    assert said(tmp_path) == [*called, *NEVER_ENDED], "and what the killed run never came to the end of"
    (result,) = json.loads(done.stdout)["items"]
    assert (result["run_id"], result["complete"]) == ("2", True)
    assert [row["state"] for row in result["cases"]] == states
    assert done.returncode == {"failed": 3, "errors": 1, "all": 0}[kind], done.stderr
    cases = promptry.get_run("2")["cases"]
    taken = {row["case"] for row in cases if row["checks"][0]["details"].get("taken_from") == "1"}
    assert taken == {"good", "bad", "dead"} - {*called}
    if kind == "all":
        assert result["partial"] is None, "all of it was tested: it is a run like any other"
        return
    assert {key: result["partial"][key] for key in ("rerun", "run", "ran", "taken", "of")} == {
        "rerun": kind,
        "run": "1",
        "ran": 3,
        "taken": 2,
        "of": 5,
    }
    promptry.promote("p", 1, "prod")
    assert promptry.find_baseline("s", "prod", "p") is None, "neither the killed run nor one that took over from it"


@pytest.mark.fault
@pytest.mark.slow
def test_a_rerun_that_is_killed_itself_can_be_recovered_and_run_again(
    store: Path, tmp_path: Path, run_cli: Any, killed: Any
) -> None:
    for number in (1, 2):
        killed(*(["--rerun", "errors"] if number == 2 else []), "--db", str(store))
        assert run_cli("run", "--recover", "--db", store).returncode == 0
    second = promptry.get_run("2")
    assert [row["case"] for row in second["cases"]] == ["good", "bad", "dead"] and not second["complete"]
    done = run_cli("run", "--rerun", "failed", "--json", "--db", store, MENDED="1")
    assert said(tmp_path) == ["bad", *NEVER_ENDED]
    (result,) = json.loads(done.stdout)["items"]
    assert result["counts"]["cases"] == 5 and result["counts"]["error"] == 1


def blocks_of(*told: tuple[str, int]) -> Any:
    """Register a suite that opens these blocks, each with what it comes to."""

    @suite("b")
    def check() -> None:
        for name, outcome in told:
            with case(name):
                assert_exact(outcome, 1)

    return check


def states(result: promptry.RunResult) -> dict[str, str]:
    return {row["case"]: row["state"] for row in result.cases}


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ([("a", 1), ("b", 0)], [("a", 1)], {"a": "pass", "b": "error"}),
        ([("a", 1), ("b", 0)], [("a", 1), ("c", 1)], {"a": "pass", "b": "error", "c": "pass"}),
        ([("d", 0), ("d", 1)], [("d", 1)], {"d": "pass", "d#2": "error"}),
        ([("d", 0), ("d", 0)], [("d", 1), ("d", 0)], {"d": "pass", "d#2": "fail"}),
        ([("d", 1), ("d", 0)], [("d", 0), ("d", 1)], {"d": "fail", "d#2": "pass"}),
        ([("d", 0), ("d", 0), ("e", 1)], [("d", 1), ("d", 1)], {"d": "pass", "d#2": "pass", "e": "pass"}),
    ],
)
def test_a_rerun_of_blocks_is_green_only_if_each_that_failed_has_come_and_passes(
    first: Any, second: Any, found: dict[str, str], store: Path
) -> None:
    blocks_of(*first)
    run_suite("b")
    blocks_of(*second)
    result = run_suite("b", rerun="failed")
    assert states(result) == found
    assert result.passed is all(state == "pass" for state in found.values())
    assert result.partial is None or result.partial["of"] == len(found)


def test_a_case_below_an_item_that_no_longer_comes_is_an_error_that_says_so(store: Path) -> None:
    names = ["x", "y"]

    @suite("s", dataset=[{"id": "a"}, {"id": "b"}], repeats=2)
    def check(item: Any) -> None:
        for name in names:
            with case(name, group="g"):
                assert_exact((item["id"], name) == ("a", "y"), False)

    run_suite("s")
    names.remove("y")
    result = run_suite("s", rerun="failed")
    assert [(row["case"], row["repeat"]) for row in result.cases if row["state"] == "error"] == [("a/y", 0), ("a/y", 1)]
    cases = promptry.get_run(result.run_id)["cases"]
    (row, _) = (row for row in cases if row["state"] == "error")
    assert row["reason"] == "it ended as 'fail' in run 1, was to run again, and did not come" and row["group"] == "g"
    assert not result.passed and result.complete
    names.append("y")
    assert states(run_suite("s", rerun="errors"))["a/y"] == "fail", "what has come is what counts"


def test_what_left_nothing_but_its_trouble_has_come_if_its_blocks_have(store: Path) -> None:
    troubles: list[Any] = [RuntimeError("429"), RuntimeError("429")]

    @suite("s")
    def check() -> None:
        with case("a"):
            assert_exact(1, 1)
        with case("outer"):
            if troubles:
                raise troubles.pop()
            with case("inner"):
                assert_exact(1, 1)
        if troubles:
            raise troubles.pop()

    assert states(run_suite("s")) == {"a": "pass", "outer": "error", "s": "error"}
    result = run_suite("s", rerun="errors")
    assert states(result) == {"a": "pass", "outer/inner": "pass"} and result.passed


@pytest.mark.parametrize("as_blocks", [False, True])
def test_an_interrupted_selection_is_run_to_its_end_and_no_further(as_blocks: bool, store: Path) -> None:
    names, stop = ["a1", "a2", "b1", "a3"], ["a2"]

    def one(name: str) -> None:
        if name in stop:
            raise KeyboardInterrupt
        assert_exact(1, 1)

    def blocks() -> None:
        for name in names:
            with case(name):
                one(name)

    if as_blocks:
        suite("s")(blocks)
    else:
        suite("s", dataset=[{"id": name} for name in names])(lambda item: one(item["id"]))
    first = run_suite("s", select="a")
    assert not first.complete and first.partial is not None and first.partial["selected"] == "-k a"
    stop[:] = ["a3"]
    second = run_suite("s", rerun="errors")
    assert states(second) == {"a1": "pass", "a2": "pass"} and not second.complete
    stop.clear()
    third = run_suite("s", rerun="errors")
    assert states(third) == {"a1": "pass", "a2": "pass", "a3": "pass"} and third.passed
    assert third.partial is not None and third.partial["selected"] == "-k a" and third.partial["of"] == 4


def test_an_interrupted_rerun_still_owes_what_failed(store: Path) -> None:
    blocks_of(("a", 0), ("b", 0), ("c", 1))
    run_suite("b")

    @suite("b")
    def stopped() -> None:
        with case("a"):
            assert_exact(1, 1)
        raise KeyboardInterrupt

    assert not run_suite("b", rerun="failed").complete
    blocks_of(("a", 1), ("c", 1))
    result = run_suite("b", rerun="failed")
    assert states(result) == {"a": "pass", "c": "pass", "b": "error"} and not result.passed


def test_a_selection_within_a_rerun_takes_over_what_it_leaves_out(store: Path) -> None:
    outcome = {"a": 0, "a/b": 0, "c": 0}
    suite("s", dataset=[{"id": name} for name in outcome])(lambda item: assert_exact(outcome[item["id"]], 1))
    run_suite("s")
    outcome.update(dict.fromkeys(outcome, 1))
    result = run_suite("s", rerun="failed", select="b")
    assert states(result) == {"a": "pass", "a/b": "pass", "c": "fail"}, "items below one another run together"
    with pytest.raises(promptry.NotFound, match="No case fits -k zzz"):
        promptry.check_selection([promptry.require_suite("s")], promptry.Job(rerun="failed", select="zzz"))


@pytest.mark.fault
@pytest.mark.slow
def test_a_killed_selection_keeps_it_when_it_is_recovered_and_run_again(
    store: Path, tmp_path: Path, run_cli: Any, killed: Any
) -> None:
    killed("-k", "not later", "--db", str(store))
    assert run_cli("run", "--recover", "--db", store).returncode == 0
    first = promptry.get_run("1")
    assert first["partial"] is not None
    assert {**first["partial"], "cases": []} == {
        "selected": "-k not later",
        "rerun": None,
        "run": None,
        "cases": [],
        "ran": 3,
        "taken": 0,
        "of": 5,
    }
    done = run_cli("run", "--rerun", "all", "--json", "--db", store, MENDED="1")
    assert said(tmp_path) == ["good", "bad", "dead", "hangs"]
    (result,) = json.loads(done.stdout)["items"]
    assert result["partial"]["selected"] == "-k not later" and result["partial"]["of"] == 5
