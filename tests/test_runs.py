"""Saved runs: what keeps one from passing, what is counted, and how it is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, case, run_suite, suite

COUNTS = {"cases": 10, "pass": 10, "fail": 0, "error": 0, "skipped": 0, "checks": 10, "scored": 10}


@pytest.mark.parametrize(
    ("counts", "score", "gate", "has_baseline", "said"),
    [
        ({}, 1.0, {}, False, []),
        ({"pass": 9, "fail": 1}, 0.9, {}, False, ["1 of 10 cases failed"]),
        ({"pass": 9, "fail": 1}, 0.9, {}, True, []),
        ({"pass": 9, "error": 1}, 1.0, {}, True, ["1 of 10 cases ended in an error"]),
        ({"pass": 9, "fail": 1}, 0.9, {"min_pass_rate": 0.9}, False, []),
        ({"pass": 8, "fail": 2}, 0.8, {"min_pass_rate": 0.9}, True, ["80.0% of the cases pass, 90.0% are asked for"]),
        ({"pass": 8, "fail": 2}, 0.8, {"min_score": 0.8}, False, []),
        ({"pass": 8, "fail": 2}, 0.75, {"min_score": 0.8}, False, ["the score is 0.750, 0.8 is asked for"]),
        ({"pass": 0, "skipped": 10}, None, {}, False, ["no case ran"]),
        ({"pass": 0, "error": 10}, None, {"min_score": 0.5}, False, ["10 of 10 cases ended in an error"]),
    ],
)
def test_what_keeps_a_run_from_passing(
    counts: dict[str, int], score: float | None, gate: dict[str, Any], has_baseline: bool, said: list[str]
) -> None:
    assert promptry.shortcomings({**COUNTS, **counts}, score, {"gate": gate}, has_baseline=has_baseline) == said


def test_an_interrupted_run_never_passes() -> None:
    assert promptry.shortcomings(COUNTS, 1.0, {"complete": False}) == ["the run was interrupted"]


def test_the_score_is_the_mean_of_the_cases_and_not_of_the_checks(store: Path) -> None:
    @suite("means", repeats=2)
    def check() -> None:
        with case("many"):
            for _ in range(9):
                assert_exact(1, 1)
        with case("one"):
            assert_exact(1, 2)

    result = run_suite("means")
    assert result.score == 0.5
    assert result.counts == {"cases": 2, "pass": 2, "fail": 2, "error": 0, "skipped": 0, "checks": 20, "scored": 2}


def test_a_run_is_read_back_as_it_was_returned(store: Path) -> None:
    @suite("read")
    def check() -> None:
        with case("good"):
            assert_exact(1, 1)
        with case("bad"):
            assert_exact(1, 2)
        with case("broken"):
            raise KeyError("key")

    result = run_suite("read")
    found = promptry.get_run(result.run_id)
    assert [(row["case"], row["state"]) for row in found["cases"]] == [
        ("good", "pass"),
        ("bad", "fail"),
        ("broken", "error"),
    ]
    assert found["counts"] == result.counts and found["score"] == result.score == 0.5
    assert [{key: value for key, value in row.items() if key != "checks"} for row in found["cases"]] == result.cases
    (check_row,) = found["cases"][1]["checks"]
    assert check_row["details"] == {"expected": 2, "actual": 1, "reason": "expected 2, got 1", "repeat": 0}


def test_a_run_of_others_without_a_manifest_is_complete_and_without_verdict(raw: Any) -> None:
    raw.execute("INSERT INTO eval_runs (suite_name, overall_pass, overall_score) VALUES ('theirs', 1, 0.5)")
    raw.execute(
        "INSERT INTO eval_results (run_id, test_name, assertion_type, passed, score) VALUES (1, 'a', 'x', 1, 0.5)"
    )
    found = promptry.get_run("1")
    assert (found["complete"], found["verdict"], found["score"]) == (True, None, 0.5)
    assert found["counts"]["pass"] == 1
    assert promptry.list_runs()["items"][0]["complete"] is True


def test_runs_of_an_unknown_suite_are_none_and_no_error(store: Path) -> None:
    assert promptry.list_runs("never ran") == {"items": [], "total": 0, "next": None}


def test_an_unknown_run_is_not_found(store: Path) -> None:
    with pytest.raises(promptry.NotFound, match="no run 5"):
        promptry.get_run("5")


def test_repeats_tell_how_often_all_and_one_of_them_pass(store: Path) -> None:
    states = {"a": [1, 1, 1], "b": [1, 0, 1], "c": [0, 0, 0]}

    @promptry.suite("s", dataset=[{"id": name} for name in states], repeats=3)
    def check(item: Any) -> None:
        promptry.assert_exact(states[item["id"]].pop(0), 1)

    result = promptry.run_suite("s", min_score=0.1)
    assert [row["k"] for row in result.pass_k or []] == [1, 2, 3]
    last = (result.pass_k or [])[-1]
    assert last["all"] == pytest.approx(1 / 3) and last["any"] == pytest.approx(2 / 3)
    assert [(result.pass_k or [])[0][key] for key in ("all", "any")] == pytest.approx([5 / 9, 5 / 9])
    assert "all 3 repeats of a case pass in 33.3%, one of them in 66.7%" in promptry.render_result(result)
    assert result.to_dict()["pass_k"][2]["k"] == 3


def test_without_repeats_there_is_no_pass_k(store: Path) -> None:
    @promptry.suite("s", dataset=[1, 2])
    def check(item: Any) -> None:
        promptry.assert_exact(1, 1)

    assert promptry.run_suite("s").pass_k is None


def test_a_case_with_an_error_tells_no_pass_k(store: Path) -> None:
    ends = {"a": ["pass", "error"], "b": ["pass", "fail"]}

    @promptry.suite("s", repeats=2, dataset=[{"id": name} for name in ends])
    def check(item: Any) -> None:
        end = ends[item["id"]].pop(0)
        if end == "error":
            raise KeyError("key")
        promptry.assert_exact(end, "pass")

    result = promptry.run_suite("s")
    assert result.pass_k == [{"k": 1, "all": 0.5, "any": 0.5}, {"k": 2, "all": 0.0, "any": 1.0}]
    ends |= {"a": ["pass", "error"], "b": ["error", "fail"]}
    assert promptry.run_suite("s").pass_k is None


def test_the_cases_of_a_result_are_read_when_they_are_asked_for_from_the_store_of_the_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @promptry.suite("s", dataset=[{"id": name, "group": "g"} for name in "abc"])
    def check(item: Any) -> None:
        promptry.assert_exact(item["id"], "b")

    read: list[bool] = []
    real = promptry._brief_cases
    monkeypatch.setattr(promptry, "_brief_cases", lambda *at, **how: read.append(bool(how)) or real(*at, **how))
    result, other = promptry.run_suite("s"), promptry.run_suite("s")
    told = "expected 'b', got 'a'"
    assert read == [True, True], "judging a run reads those that failed"
    assert result == promptry.judge_run(int(result.run_id), None) != other and True not in read[3:]
    promptry.use_store(tmp_path / "another.db")
    assert [(row["case"], row["state"], row["reason"], row["group"]) for row in result.cases] == [
        ("a", "fail", told, "g"),
        ("b", "pass", None, "g"),
        ("c", "fail", told.replace("'a'", "'c'"), "g"),
    ]
    assert isinstance(result.cases, list) and result.cases is result.cases and read[3:] == [False]
    assert result.failing_cases() == [result.cases[0], result.cases[2]] and read[3:] == [False]
    assert result.to_dict()["cases"] == result.cases and result._replace(cases=[]).cases == []


def test_cases_of_a_run_that_was_removed_are_not_said_to_be_none(store: Path, raw: Any) -> None:
    promptry.suite("s", dataset=[1, 2])(lambda item: promptry.assert_exact(1, 1))
    result = promptry.run_suite("s")
    raw.execute("DELETE FROM eval_results")
    raw.execute("DELETE FROM eval_runs")
    raw.commit()
    with pytest.raises(promptry.NotFound, match="was removed"):
        _ = result.cases
