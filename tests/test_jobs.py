"""JOBS: what is asked of a run, from the command, the suite and promptry.toml, and what is refused at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import Job, WrongUse, assert_exact, run_suite, suite

BAD = [
    ({"concurrency": 0}, "concurrency is 0; it takes 1 to 1000"),
    ({"concurrency": 1001}, "concurrency is 1001"),
    ({"concurrency": 1.5}, "concurrency is 1.5"),
    ({"concurrency": True}, "concurrency is True"),
    ({"timeout_s": 0}, "timeout_s is 0; it takes seconds, more than 0"),
    ({"timeout_s": -1}, "timeout_s is -1"),
    ({"timeout_s": float("nan")}, "timeout_s is nan"),
    ({"timeout_s": float("inf")}, "timeout_s is inf"),
    ({"timeout_s": "5"}, "timeout_s is '5'"),
]


@pytest.mark.parametrize(("asked", "said"), BAD)
def test_a_pace_that_cannot_be_meant_is_refused(asked: dict[str, Any], said: str, store: Path) -> None:
    with pytest.raises(WrongUse, match=said):
        suite("s", **asked)(lambda: None)
    suite("s")(lambda: assert_exact(1, 1))
    with pytest.raises(WrongUse, match=said):
        run_suite("s", **asked)
    assert promptry.list_runs()["total"] == 0


@pytest.mark.parametrize("tags", ["smoke", [""], [5]])
def test_tags_are_a_list_of_texts(tags: Any) -> None:
    with pytest.raises(WrongUse, match="it takes a list of texts"):
        suite("s", tags=tags)(lambda: None)


PACES = [
    ({}, {}, "", (1, None)),
    ({}, {}, "concurrency = 3\ntimeout_s = 7", (3, 7)),
    ({}, {"concurrency": 2, "timeout_s": 5.0}, "concurrency = 3\ntimeout_s = 7", (2, 5.0)),
    ({"concurrency": 4, "timeout_s": 6}, {"concurrency": 2, "timeout_s": 5.0}, "concurrency = 3", (4, 6)),
    ({"concurrency": 1}, {}, "concurrency = 3", (1, None)),
]


@pytest.mark.parametrize(("asked", "told", "settings", "pace"), PACES)
def test_the_command_goes_before_the_suite_and_that_before_the_settings(
    asked: dict[str, Any], told: dict[str, Any], settings: str, pace: Any, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "promptry.toml").write_text(f"[run]\n{settings}\n")
    promptry.forget_settings()
    suite("s", dataset=[1, 2], **told)(lambda item: assert_exact(1, 1))
    gate = promptry.get_run(run_suite("s", **asked).run_id)["manifest"]["gate"]
    assert (gate["concurrency"], gate["timeout_s"]) == pace


EVALS = """
import threading
from promptry import assert_exact, suite

BOTH = threading.Barrier(2, timeout=20)

@suite("s", dataset=[{"id": "a"}, {"id": "b"}, {"id": "x"}])
def check(item):
    BOTH.wait()
    assert_exact(1, 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("child", [False, True])
def test_the_words_of_the_command_reach_the_run(child: bool, store: Path, tmp_path: Path, run_cli: Any) -> None:
    import sys

    (tmp_path / "evals.py").write_text(EVALS)
    words = ["run", "--concurrency", "2", "--timeout", "30", "-k", "not x", "--json", "--db", store]
    done = run_cli(*words, *(["--python", sys.executable] if child else []))
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["items"]
    assert result["partial"]["selected"] == "-k not x" and result["counts"]["pass"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--concurrency", "0"], ["--timeout", "-1"], ["-k", "a b"], ["--rerun", "some"]])
def test_wrong_words_exit_2_and_run_nothing(words: list[str], store: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "evals.py").write_text(EVALS)
    done = run_cli("run", *words, "--db", store)
    assert done.returncode == 2 and promptry.list_runs()["total"] == 0
    assert "Traceback" not in done.stderr


def test_a_job_travels_as_json() -> None:
    job = Job("evals", ("a",), tags=("smoke",), select="a and b", rerun="failed", of=3, timeout_s=2.5, progress=True)
    asked = json.loads(json.dumps(job._asdict()))
    assert Job(**{**asked, "suites": tuple(asked["suites"]), "tags": tuple(asked["tags"])}) == job


def test_a_suite_is_looked_over_once_a_run(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite("s", dataset=[1, 2])(lambda item: assert_exact(1, 1))
    seen: list[str] = []
    real = promptry.check_runnable

    def check_runnable(chosen: Any, job: Job) -> Any:
        seen.append(chosen.name)
        return real(chosen, job)

    monkeypatch.setattr(promptry, "check_runnable", check_runnable)
    assert run_suite("s").counts["cases"] == 2 and seen == ["s"]
    promptry.run_job(Job(suites=("s",)))
    assert seen == ["s", "s"]
    promptry.record_run(promptry.require_suite("s"), Job())
    assert seen == ["s", "s", "s"], "a run that nobody looked over before is looked over itself"


def test_the_places_of_items_are_made_once_for_all_parts_of_a_schedule(store: Path) -> None:
    suite("s", dataset=[{"id": name} for name in "abc"])(lambda item: assert_exact(1, 1))
    plan = promptry.check_runnable(promptry.require_suite("s"), Job())
    assert plan.places == {}, "a run of all items needs none"
    part = plan._replace(items=(plan.items or [])[1:2])
    assert promptry.places_of(part) == {"a": 0, "b": 1, "c": 2}
    assert promptry.places_of(plan) is promptry.places_of(part)
    other = promptry.check_runnable(promptry.require_suite("s"), Job())
    assert other.places == {}, "no schedule has the places of another"


@pytest.mark.parametrize("told", [{}, {"min_pass_rate": 0.5}, {"gate": "statistical"}, {"repeats": 2}])
def test_what_held_in_the_baseline_counts_where_cases_are_judged_one_by_one(told: Any, store: Path) -> None:
    promptry.save_prompt("p", "text", tag="prod")

    @suite("s", prompt="p", dataset=[{"id": name} for name in ("good", "bad", "known")])
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        assert_exact(item["id"] == "bad", False)

    run_suite("s")
    chosen = promptry.require_suite("s")._replace(**told)
    plan = promptry.check_runnable(chosen, Job())._replace(flaky={"known"})
    before = promptry.states_before(chosen, Job(compare="prod"))
    if told:
        assert before is None and not promptry.is_tried_again(before, plan, "good")
        return
    assert before == {"good": "pass", "bad": "fail", "known": "pass"}
    again = [name for name in ("good", "bad", "known", "new") if promptry.is_tried_again(before, plan, name)]
    assert again == ["good", "new"]
    assert promptry.states_before(chosen, Job()) is None, "nothing to compare with"
    assert promptry.states_before(chosen, Job(compare="staging")) is None, "no baseline"
