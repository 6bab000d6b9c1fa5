"""HISTORY: how one suite went, run by run and case by case."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import promptry

PASS, FAIL = ("exact", 1, 1.0), ("exact", 0, 0.0)
ERROR, SKIPPED = ("error", None, None), ("skipped", None, None)
SIGNS = {".": [PASS], "x": [FAIL], "!": [ERROR], "s": [SKIPPED], "~": [PASS, FAIL], " ": []}


def add_run(raw: sqlite3.Connection, manifest: Any = None, suite: str = "qa", **cases: str) -> int:
    """Write a run as others would: its manifest and its cases, each a sign of SIGNS."""
    columns = {"prompt_name": "p", "prompt_version": 1, "model_version": "m", "overall_pass": 1}
    text = manifest if isinstance(manifest, str) or manifest is None else json.dumps(manifest)
    names = ", ".join(["suite_name", *columns, "metadata"])
    key = raw.execute(
        f"INSERT INTO eval_runs ({names}) VALUES (?, ?, ?, ?, ?, ?)", (suite, *columns.values(), text)
    ).lastrowid
    for name, sign in cases.items():
        for repeat, (kind, passed, score) in enumerate(SIGNS[sign]):
            raw.execute(
                "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (key, name, kind, passed, score, json.dumps({"repeat": repeat})),
            )
    assert key is not None
    return key


def add_runs(raw: sqlite3.Connection, manifests: list[Any] | None = None, **cases: str) -> None:
    """Write as many runs as a case has signs, the oldest first."""
    count = len(next(iter(cases.values())))
    for place in range(count):
        manifest = manifests[place] if manifests else None
        add_run(raw, manifest, **{name: signs[place] for name, signs in cases.items()})


def states(found: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {row["case"]: (row["state"], row["since"]) for row in found["cases"]}


@pytest.mark.parametrize("name", ["never ran", "", "ä\u202e"])
def test_a_suite_that_never_ran_has_no_run(raw: sqlite3.Connection, name: str) -> None:
    found = promptry.get_suite(name)
    assert found["runs"] == found["cases"] == found["metrics"] == []
    assert (found["baseline"], found["cases_total"], found["cases_since"]) == (None, 0, None)
    assert found["drift"]["n"] == 0 and found["drift"]["reason"] == "not enough data"
    assert (found["suite"], found["description"], found["window"]) == (name, None, 30)


def test_one_run_has_its_rate_and_no_trend(raw: sqlite3.Connection) -> None:
    add_run(raw, None, a=".", b="x", c="!", d="s")
    (run,) = promptry.get_suite("qa")["runs"]
    assert (run["pass_rate"], run["n"], run["cases_passed"], run["interval"]) == (0.5, 2, 1, None)
    assert (run["scored"], run["complete"], run["partial"], run["passed"]) == (True, True, False, True)
    assert (run["prompt_name"], run["prompt_version"], run["model"]) == ("p", 1, "m")
    assert run["dataset"] is run["commit"] is run["commit_dirty"] is run["cost_usd"] is run["verdict"] is None
    assert (run["counts"], run["coverage"]) == ({}, None), "nobody counted, which is not zero"


def test_the_interval_is_wilsons_over_the_cases(raw: sqlite3.Connection) -> None:
    """8 of 10: centre (0.8 + 1.96² / 20) / (1 + 1.96² / 10), half 1.96 sqrt(0.016 + 1.96² / 400) / (1 + 1.96² / 10)."""
    add_run(raw, None, **{f"c{number}": "." if number < 8 else "x" for number in range(10)})
    (run,) = promptry.get_suite("qa")["runs"]
    assert (run["pass_rate"], run["n"], run["cases_passed"]) == (0.8, 10, 8)
    assert run["interval"] == [pytest.approx(0.49016, abs=1e-5), pytest.approx(0.94331, abs=1e-5)]


def test_repeats_of_a_case_count_as_its_share(raw: sqlite3.Connection) -> None:
    add_run(raw, None, a="~", b=".", c=".", d=".", e="x", f="!")
    found = promptry.get_suite("qa")
    (run,) = found["runs"]
    assert (run["pass_rate"], run["n"], run["cases_passed"]) == (0.7, 5, 3)
    assert {row["case"]: row["cells"] for row in found["cases"]}["a"] == ["mixed"]


def test_cases_of_a_group_are_no_independent_witnesses(raw: sqlite3.Connection) -> None:
    for groups in (2, 12):
        key = add_run(
            raw, None, suite=f"of {groups}", **{f"c{number}": "." if number % 12 else "x" for number in range(24)}
        )
        sql = "UPDATE eval_results SET details = json_object('group', 'g' || (id % ?)) WHERE run_id = ?"
        raw.execute(sql, (groups, key))
    apart, near = promptry.get_suite("of 12")["runs"][0], promptry.get_suite("of 2")["runs"][0]
    assert apart["pass_rate"] == near["pass_rate"] == 22 / 24
    assert near["interval"] is None and apart["interval"][0] < apart["pass_rate"] < apart["interval"][1]


def test_runs_go_from_the_oldest_to_the_newest_of_the_window(raw: sqlite3.Connection) -> None:
    add_runs(raw, a="." * 33)
    add_run(raw, None, suite="other", a="x")
    assert [run["id"] for run in promptry.get_suite("qa")["runs"]] == [str(key) for key in range(4, 34)]
    found = promptry.get_suite("qa", window=2)
    assert [run["id"] for run in found["runs"]] == ["32", "33"] and found["cases"][0]["cells"] == ["pass", "pass"]
    assert found["cases_since"] == "32" and found["window"] == 2


def test_a_run_of_errors_only_is_a_gap(raw: sqlite3.Connection) -> None:
    add_runs(raw, a=".!.", b="x!x")
    found = promptry.get_suite("qa")
    assert [run["scored"] for run in found["runs"]] == [True, False, True]
    assert (found["runs"][1]["pass_rate"], found["runs"][1]["n"], found["runs"][1]["interval"]) == (None, 0, None)
    assert found["metrics"] == [{"assertion_type": "exact", "scores": [0.5, None, 0.5]}]
    assert states(found) == {"a": ("steady", None), "b": ("known", "3")}


def judged(baseline: int, **gate: Any) -> dict[str, Any]:
    return {"baseline_id": baseline, "verdict": "regressed", "gate": {"compare": "prod", **gate}}


def test_each_case_has_a_state_against_what_the_newest_run_was_judged_against(raw: sqlite3.Connection) -> None:
    add_runs(
        raw,
        [None, None, None, judged(2)],
        broke="...x",
        older="..xx",
        known="xxxx",
        fixed="xx..",
        steady="....",
        gone="... ",
        error="...!",
        skipped="...s",
        flaky="x.x.",
        new="   x",
    )
    found = promptry.get_suite("qa")
    assert found["baseline"]["id"] == "2" and found["baseline"]["tag"] == "prod"
    assert found["baseline"]["pass_rate"] == pytest.approx(7 / 9) and found["baseline"]["date"]
    assert states(found) == {
        "broke": ("broke", "4"),
        "older": ("broke", "3"),
        "error": ("error", "4"),
        "fixed": ("fixed", "3"),
        "flaky": ("flaky", None),
        "new": ("known", "4"),
        "known": ("known", "1"),
        "skipped": ("steady", None),
        "steady": ("steady", None),
        "gone": ("gone", None),
    }
    assert [row["case"] for row in found["cases"]][:4] == ["broke", "older", "error", "fixed"], "newest breaks first"
    assert found["cases"][-1]["cells"] == ["pass", "pass", "pass", None]


def test_without_a_baseline_a_case_is_held_against_its_own_past(raw: sqlite3.Connection) -> None:
    add_runs(raw, broke="..xx", known="xxxx", fixed="xxx.", older="xx..", error="..!x", steady="!...")
    assert states(promptry.get_suite("qa")) == {
        "broke": ("broke", "3"),
        "error": ("broke", "4"),
        "fixed": ("fixed", "4"),
        "older": ("fixed", "3"),
        "known": ("known", "1"),
        "steady": ("steady", None),
    }


def test_a_baseline_beyond_the_window_is_read_too(raw: sqlite3.Connection) -> None:
    add_runs(raw, [None, None, None, judged(1)], broke=".xxx", known="x..x", other="....")
    found = promptry.get_suite("qa", window=2)
    assert (found["baseline"]["id"], found["baseline"]["pass_rate"]) == ("1", pytest.approx(2 / 3))
    assert states(found) == {"broke": ("broke", "3"), "known": ("known", "4"), "other": ("steady", None)}
    assert all(len(row["cells"]) == 2 for row in found["cases"])


@pytest.mark.parametrize("baseline", ["x", -1, 99, [1], True, 10**30, 1.5, None])
def test_a_baseline_that_is_none_of_the_suites_runs_is_none(raw: sqlite3.Connection, baseline: Any) -> None:
    add_run(raw, judged(baseline), a=".")
    assert promptry.get_suite("qa")["baseline"] is None


def test_the_baseline_is_a_run_of_the_same_suite(raw: sqlite3.Connection) -> None:
    add_run(raw, None, suite="other", a=".")
    add_run(raw, judged(1), a="x")
    assert promptry.get_suite("qa")["baseline"] is None


def test_a_case_that_broke_hard_is_broken_however_flaky_it_was(raw: sqlite3.Connection) -> None:
    add_runs(raw, [None] * 4 + [judged(1, broken_hard=["a"])], a=".x.xx", b=".x.xx")
    assert states(promptry.get_suite("qa")) == {"a": ("broke", "4"), "b": ("flaky", None)}


def test_a_case_that_passes_when_it_is_tried_again_is_flaky_and_held_in_a_baseline(raw: sqlite3.Connection) -> None:
    tries = {"confirm": {"now": ["fail", "pass"], "then": ["pass"]}}
    add_runs(raw, [{"gate": tries}, judged(1, **tries)], now=".x", then="xx", no="xx")
    raw.execute("UPDATE eval_runs SET metadata = json_remove(metadata, '$.gate.confirm.then') WHERE id = 2")
    assert states(promptry.get_suite("qa")) == {"now": ("flaky", None), "then": ("broke", "1"), "no": ("known", "1")}


def test_cases_that_the_settings_know_as_flaky_decide_nothing(raw: sqlite3.Connection) -> None:
    add_runs(raw, [{"gate": {"flaky": ["a"]}}] * 2, a=".x", b="..")
    found = promptry.get_suite("qa")
    assert found["runs"][1]["pass_rate"] == 1.0 and states(found)["a"] == ("flaky", None)


def test_a_change_of_version_or_data_is_no_flake(raw: sqlite3.Connection) -> None:
    add_runs(raw, a=".x.x")
    raw.execute("UPDATE eval_runs SET prompt_version = id")
    assert states(promptry.get_suite("qa"))["a"] == ("broke", "4")
    raw.execute("UPDATE eval_runs SET prompt_version = 1")
    assert states(promptry.get_suite("qa"))["a"] == ("flaky", None)


def test_parts_of_a_suite_and_interrupted_runs_stand_there_and_decide_no_state(raw: sqlite3.Connection) -> None:
    add_run(raw, None, a=".", b=".")
    add_run(raw, {"partial": {"selected": "-k a", "ran": 1, "of": 2}}, a="x")
    add_run(raw, {"complete": False}, a="x")
    found = promptry.get_suite("qa")
    assert [(run["partial"], run["complete"]) for run in found["runs"]] == [(False, True), (True, True), (False, False)]
    assert states(found) == {"a": ("steady", None), "b": ("steady", None)}
    assert found["cases"][0]["cells"] == ["pass", "fail", "fail"] and found["cases"][1]["cells"] == ["pass", None, None]


def test_where_no_run_is_whole_what_there_is_tells(raw: sqlite3.Connection) -> None:
    add_run(raw, {"complete": False}, a=".")
    add_run(raw, {"complete": False}, a="x")
    assert states(promptry.get_suite("qa"))["a"] == ("broke", "2")


def test_at_most_so_many_cases_are_told_and_all_are_counted(raw: sqlite3.Connection) -> None:
    add_run(raw, None, **{f"c{number:02}": "." for number in range(60)}, z="x")
    found = promptry.get_suite("qa")
    assert (len(found["cases"]), found["cases_total"], found["cases"][0]["case"]) == (50, 61, "z")
    assert len(promptry.get_suite("qa", limit=2)["cases"]) == 2


def test_of_very_many_results_the_newest_runs_are_read(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"cases": 2, "pass": 1, "fail": 1, "error": 0, "skipped": 0, "checks": 2, "scored": 2}
    add_runs(raw, [{"counts": counts}, {"counts": counts, "repeats": 2}, None, judged(1)], a=".x.x", b="x.x.")
    monkeypatch.setattr(promptry, "_MOST_RESULTS", 3)
    found = promptry.get_suite("qa")
    assert found["cases_since"] == "1", "the baseline is read in any case"
    assert {row["case"]: row["cells"] for row in found["cases"]} == {
        "a": ["pass", None, None, "fail"],
        "b": ["fail", None, None, "pass"],
    }
    rates = [(run["pass_rate"], run["n"]) for run in found["runs"]]
    assert rates == [(0.5, 2), (0.5, 0), (None, 0), (0.5, 2)], "from the counts of the run, where there are any"


@pytest.mark.parametrize(
    "manifest",
    [
        "[1, 2]",
        '"text"',
        "{}",
        '{"gate": 1, "counts": "x", "dataset": 3, "git_commit": [], "git_dirty": "yes", "cost_usd": "dear"}',
        '{"gate": {"broken_hard": 1, "confirm": {"a": 1}, "flaky": "a", "compare": 7}, "counts": {"cases": "many"}}',
        '{"verdict": {}, "partial": 1, "repeats": "two", "baseline_id": {}, "complete": "yes"}',
    ],
)
def test_manifests_of_others_tell_what_they_can(raw: sqlite3.Connection, manifest: str) -> None:
    add_run(raw, manifest, a=".", b="x")
    (run,) = promptry.get_suite("qa")["runs"]
    assert (run["pass_rate"], run["complete"], run["partial"], run["verdict"]) == (0.5, True, False, None)
    assert (run["dataset"], run["commit"], run["commit_dirty"], run["cost_usd"]) == (None, None, None, None)


def test_details_of_others_tell_no_repeat_and_no_group(raw: sqlite3.Connection) -> None:
    key = add_run(raw, None, a=".")
    for details in (None, "[3]", '"x"', '{"repeat": "two", "group": 5}'):
        raw.execute(
            "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score, details)"
            " VALUES (?, 'b', 'exact', 1, 1.0, ?)",
            (key, details),
        )
    found = promptry.get_suite("qa")
    assert found["runs"][0]["n"] == 2 and found["runs"][0]["pass_rate"] == 1.0


@pytest.mark.parametrize("window", [0, -1, 1001, "5", True, None])
def test_a_window_that_is_none_is_refused(store: Path, window: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes 1 to 1000"):
        promptry.get_suite("qa", window)
    with pytest.raises(promptry.WrongUse, match="The limit is 0"):
        promptry.get_suite("qa", limit=0)


def test_a_suite_of_real_runs_is_told_with_its_lanes(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = True
    promptry.save_prompt("p", "text", tag="prod")
    promptry.save_dataset("qa", [{"id": f"c{number}"} for number in range(8)])

    @promptry.suite("quiz", "Eight questions.", prompt="p", dataset="qa", confirm=0)
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        promptry.assert_exact(good or item["id"] != "c3", True)

    promptry.run_suite("quiz", compare="prod")
    good = False
    promptry.save_prompt("p", "worse")
    promptry.run_suite("quiz", compare="prod")
    found = promptry.get_suite("quiz")
    first, second = found["runs"]
    assert found["description"] == "Eight questions." and found["baseline"]["id"] == "1"
    assert (first["pass_rate"], second["pass_rate"], second["n"], second["cases_passed"]) == (1.0, 0.875, 8, 7)
    assert (first["prompt_version"], second["prompt_version"], second["dataset"]) == (1, 2, "qa@1")
    assert second["score"] == promptry.get_run("2")["score"] and second["coverage"] == 1.0
    assert states(found)["c3"] == ("broke", "2") and found["cases"][0]["cells"] == ["pass", "fail"]
    assert promptry.run_command(["suites", "quiz"]) == 0
    said = capsys.readouterr().out
    assert "baseline: run 1 of" in said and "c3    broke  2          .x" in said and "not enough data" in said
    assert promptry.run_command(["suites", "never ran"]) == 0
    assert capsys.readouterr().out == "Suite never ran has not run yet.\n"
    assert promptry.run_command(["suites", "quiz", "--module", "evals"]) == 2
    assert "--module says nothing about one suite." in capsys.readouterr().err


def test_the_printed_sql_reads_only_the_runs_of_the_window(raw: sqlite3.Connection) -> None:
    for sql in promptry.statements("get_suite"):
        plan = " ".join(
            row[-1]
            for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(("name", "window", "runs", "baseline")))
        )
        assert "SCAN eval_runs" not in plan and "SCAN eval_results" not in plan, plan
