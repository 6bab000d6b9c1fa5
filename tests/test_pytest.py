"""PYTEST: suites as tests of pytest: what is collected, how each case ends, what is stored, and when the session fails.

Sessions run within this process, by pytester; those under xdist, and those that look at what a fresh process loads,
run in processes of their own.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import save_dataset, save_prompt

pytest_plugins = "pytester"

# Every suite does what WORLD says of its cases: pass (if not named), fail, error or skip, or a list of these in turn.
EVALS = """
import json, os, pathlib
import pytest
from promptry import assert_exact, case, render_prompt, suite

FILE = pathlib.Path(os.environ["WORLD"])

def do(name):
    render_prompt("p", "")
    world = json.loads(FILE.read_text())
    state = world.get(name, "pass")
    if isinstance(state, list):
        world[name] = state[1:] or state
        FILE.write_text(json.dumps(world))
        state = state[0]
    if state == "error":
        raise RuntimeError("crashed")
    if state == "skip":
        pytest.skip("not today")
    if state == "die":
        os._exit(9)
    assert_exact(state, "pass")
"""
ANSWER = """
@suite("answer", prompt="p", dataset=[{"id": f"c{n}"} for n in range(6)]OPTIONS)
def answer(item):
    do(item["id"])
"""
BLOCKS = """
@suite("blocks", prompt="p")
async def blocks():
    for name in ("a", "b", "c"):
        with case(name):
            do(name)
"""


class Session:
    """A folder with suites, and pytest run in it."""

    def __init__(self, pytester: pytest.Pytester, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester, self.store = pytester, store
        self.world = pytester.path / "world.json"
        monkeypatch.setenv("WORLD", str(self.world))
        monkeypatch.setenv("PROMPTRY_DB", str(store))
        monkeypatch.setenv("PYTHONPATH", str(Path(promptry.__file__).parent))
        promptry.use_store(None)
        save_prompt("p", "Answer in one word.", tag="prod")

    def write(self, *suites: str, name: str = "test_evals.py", options: str = "") -> None:
        (self.pytester.path / name).write_text(EVALS + "".join(suites).replace("OPTIONS", options))

    def run(self, *words: str, subprocess: bool = False, **states: Any) -> pytest.RunResult:
        self.world.write_text(json.dumps(states))
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        return run("-p", "promptry", "-p", "no:cacheprovider", *words)

    def settle(self, line: str) -> None:
        """Say a line of [run] in promptry.toml."""
        (self.pytester.path / "promptry.toml").write_text(f"[run]\n{line}\n")
        promptry.forget_settings()

    def runs(self) -> list[dict[str, Any]]:
        """Return the stored runs, the oldest first."""
        return promptry.list_runs()["items"][::-1]


@pytest.fixture
def session(pytester: pytest.Pytester, store: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(pytester, store, monkeypatch)


def states_of(run: dict[str, Any]) -> dict[str, str]:
    return {row["case"]: row["state"] for row in promptry.get_run(run["id"])["cases"]}


def ended(result: pytest.RunResult) -> dict[str, int]:
    """Return how the items of a session ended, those of no kind left out."""
    return {word: count for word, count in result.parseoutcomes().items() if word not in {"deselected", "warnings"}}


# --- what is collected


def test_each_case_of_a_dataset_is_an_item_and_a_suite_without_one_is_a_single_item(session: Session) -> None:
    session.write(ANSWER, BLOCKS, "\ndef test_plain(): pass\n")
    lines = session.run("--collect-only", "-q").outlines
    names = [line.partition("::")[2] for line in lines if "::" in line]
    assert names == [*(f"answer[c{n}]" for n in range(6)), "blocks", "test_plain"]
    assert session.runs() == []


@pytest.mark.slow
def test_a_suite_belongs_to_the_module_that_defines_it(session: Session) -> None:
    session.write(ANSWER, name="evals.py")
    (session.pytester.path / "test_other.py").write_text("from evals import answer\ndef test_plain(): pass\n")
    assert ended(session.run()) == {"passed": 1}
    assert session.runs() == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [["evals.py"], ["-o", "promptry_files=evals.py"], ["-o", "promptry_files=*/ev*.py"]])
def test_a_file_is_collected_if_it_is_named_on_the_command_line_or_in_the_setting(
    session: Session, words: list[str]
) -> None:
    session.write(ANSWER, name="evals.py")
    assert ended(session.run(*words)) == {"passed": 6}


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["-o", "promptry_files=other.py"]])
def test_a_file_that_nothing_names_is_not_collected(session: Session, words: list[str]) -> None:
    session.write(ANSWER, name="evals.py")
    assert session.run(*words).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.slow
def test_a_test_module_that_the_setting_names_too_is_collected_once(session: Session) -> None:
    session.write(ANSWER)
    assert ended(session.run("-o", "promptry_files=test_evals.py *.py")) == {"passed": 6}


@pytest.mark.slow
def test_the_marker_selects_the_suites_or_leaves_them_out(session: Session) -> None:
    session.write(ANSWER, "\ndef test_plain(): pass\n")
    assert ended(session.run("-m", "not promptry", "--strict-markers")) == {"passed": 1}
    assert session.runs() == []
    assert ended(session.run("-m", "promptry")) == {"passed": 6}


@pytest.mark.slow
def test_a_dataset_of_the_store_names_the_items(session: Session) -> None:
    save_dataset("qa", [{"id": "x/1"}, {"id": "zwei\nZeilen"}, {"q": "without an id"}])
    session.write(ANSWER.replace('[{"id": f"c{n}"} for n in range(6)]', '"qa"').replace('item["id"]', '"any"'))
    lines = [line for line in session.run("-v").outlines if "PASSED" in line]
    assert [line.partition("answer[")[2].partition("]")[0] for line in lines[:2]] == ["x/1", r"zwei\nZeilen"]
    (run,) = session.runs()
    assert list(states_of(run))[:2] == ["x/1", "zwei\nZeilen"] and run["complete"]
    assert promptry.get_run(run["id"])["manifest"]["dataset"] == "qa@1"


@pytest.mark.slow
def test_what_keeps_a_suite_from_running_is_an_error_of_its_items_and_of_no_other(session: Session) -> None:
    session.write(
        ANSWER.replace('[{"id": f"c{n}"} for n in range(6)]', '"nowhere"'),
        "\n@suite('needy', dataset=[{'id': 'a'}, {'id': 'b'}])\ndef needy(item, client): pass\n",
        "\n@pytest.fixture\ndef client(): return 1\ndef test_plain(client): pass\n",
    )
    result = session.run()
    assert ended(result) == {"passed": 1, "errors": 3}
    result.stdout.fnmatch_lines_random(
        [
            "*There is no dataset 'nowhere'*",
            "*Suite 'needy' is called with one item of its dataset, and its function does not take that: "
            "missing a required argument: 'client'. pytest passes it no fixture; autouse ones and usefixtures hold*",
        ]
    )
    assert all(set(states_of(run).values()) == {"error"} for run in session.runs())


@pytest.mark.slow
def test_two_suites_of_one_name_are_refused_with_both_places(session: Session) -> None:
    session.write(ANSWER, name="test_a.py")
    session.write(ANSWER, name="test_b.py")
    result = session.run()
    assert ended(result) == {"errors": 1} and result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*Two suites have the name 'answer', the other is in test_a.*"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], "@suite('x', dataset=3)\ndef x(item): pass\n", "Suite 'x': its dataset is of type int. It takes a list*"),
        (
            [],
            "@suite('x')\ndef x(): pass\n@suite('x')\ndef y(): pass\n",
            "Two suites have the name 'x': test_wrong.py, line *",
        ),
        (["-n2"], "@suite('x', gate='no')\ndef x(): pass\n", "Suite 'x': gate is 'no'; *"),
    ],
)
def test_a_module_of_wrong_use_is_one_sentence_and_the_exit_code_for_it(
    session: Session, words: list[str], code: str, sentence: str
) -> None:
    session.write(ANSWER, name="test_good.py")
    session.write(code, name="test_wrong.py")
    result = session.run(*words, subprocess=bool(words))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*ERROR collecting test_wrong.py*", sentence])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*promptry.py:*")


@pytest.mark.slow
def test_a_suite_without_a_case_is_an_error_and_not_nothing(session: Session) -> None:
    session.write(ANSWER, "\n@suite('bare', dataset=[])\ndef bare(item): pass\n")
    result = session.run()
    assert ended(result) == {"passed": 6, "errors": 1} and result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["Suite 'bare': its dataset has no item, so no case runs. Give it one."])


@pytest.mark.slow
@pytest.mark.parametrize("words", [["-n2"], ["-k", "answer"]], ids=" ".join)
def test_each_suite_is_told_once_and_stored_once(session: Session, words: list[str]) -> None:
    session.write(ANSWER, BLOCKS)
    result = session.run(*words, subprocess="-n2" in words)
    names = {"answer"} if "-k" in words else {"answer", "blocks"}
    told = [line.split()[1] for line in result.stdout.lines if line.startswith("PASS  ")]
    assert sorted(told) == sorted(names) == sorted(run["suite"] for run in session.runs())


# --- how each case ends


def test_a_failure_fails_an_error_is_an_error_and_a_skip_is_skipped(session: Session) -> None:
    session.write(ANSWER)
    result = session.run(c1="fail", c2="error", c3="skip")
    assert ended(result) == {"passed": 3, "failed": 1, "errors": 1, "skipped": 1}
    (run,) = session.runs()
    assert states_of(run) == {"c0": "pass", "c1": "fail", "c2": "error", "c3": "skipped", "c4": "pass", "c5": "pass"}
    assert run["complete"] and not run["passed"] and run["score"] == pytest.approx(0.75)
    result.stdout.fnmatch_lines(
        ["FAIL  answer  run 1, p@1, score 0.750, coverage 66.7 %, 6 cases: 3 pass, 1 fail, 1 error, 1 skipped"]
    )


@pytest.mark.slow
def test_the_traceback_shows_the_lines_of_the_user_and_none_of_ours(session: Session) -> None:
    session.write(ANSWER)
    said = session.run(c1="fail", c2="error").stdout.str()
    assert "> " in said and '    do(item["id"])' in said and "RuntimeError: crashed" in said
    assert "CheckFailed: expected 'pass', got 'fail'" in said and "actual: fail" in said
    assert "promptry.py:" not in said and "hidden" not in said


def test_blocks_are_told_one_by_one_below_their_only_item(session: Session) -> None:
    session.write(BLOCKS)
    result = session.run(b="fail", c="error")
    assert ended(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["b: expected 'pass', got 'fail'", "c: RuntimeError: crashed", "pass  a: exact 1.000"])
    assert states_of(session.runs()[0]) == {"a": "pass", "b": "fail", "c": "error"}
    assert ended(session.run(c="error")) == {"errors": 1}
    assert ended(session.run(a="skip", b="skip", c="skip")) == {"skipped": 1}
    assert ended(session.run(a="skip")) == {"passed": 1}


@pytest.mark.slow
def test_the_marks_of_the_function_and_autouse_fixtures_hold(session: Session) -> None:
    session.write(
        "\n@pytest.fixture(autouse=True)\ndef around(request):\n"
        "    assert not request.node.name.startswith('broken')\n    os.environ['AROUND'] = request.node.name\n",
        "\n@pytest.mark.skip(reason='too dear')\n@suite('left')\ndef left(): assert_exact(1, 2)\n",
        "\n@pytest.mark.xfail\n@suite('hoped')\ndef hoped(): assert_exact(1, 2)\n",
        "\n@suite('broken')\ndef broken(): assert_exact(1, 1)\n",
        "\n@suite('good')\ndef good(): assert_exact(os.environ['AROUND'], 'good')\n",
    )
    assert ended(session.run()) == {"skipped": 1, "xfailed": 1, "errors": 1, "passed": 1}
    found = {run["suite"]: states_of(run) for run in session.runs()}
    assert found == {
        "left": {"left": "skipped"},
        "hoped": {"hoped": "fail"},
        "broken": {"broken": "error"},
        "good": {"good": "pass"},
    }


@pytest.mark.slow
def test_the_score_and_the_state_stand_in_the_junit_of_pytest(session: Session) -> None:
    session.write(ANSWER)
    session.run("--junitxml=out.xml", c1="fail", c2="error", c3="skip")
    (root,) = ET.parse(session.pytester.path / "out.xml").getroot().iter("testsuite")
    assert [root.attrib[name] for name in ("tests", "failures", "errors", "skipped")] == ["6", "1", "1", "1"]
    scores = {row.attrib["name"]: [p.attrib["value"] for p in row.iter("property")] for row in root.iter("testcase")}
    assert (scores["answer[c0]"], scores["answer[c1]"], scores["answer[c2]"]) == (["1.0"], ["0.0"], [])


# --- what is stored


def test_all_items_of_a_suite_are_one_run_as_promptry_run_makes_it(session: Session) -> None:
    session.write(ANSWER, BLOCKS)
    session.run("test_evals.py")
    ours, blocks = session.runs()
    promptry._suites.clear()  # this process has loaded the module already
    assert promptry.run_command(["run", "--module", "test_evals.py", "answer"]) == 0
    theirs = session.runs()[2]
    keys = set(ours) - {"id", "date"}
    assert {key: ours[key] for key in keys} == {key: theirs[key] for key in keys}
    manifests = [promptry.get_run(run["id"])["manifest"] for run in (ours, theirs)]
    different = {key for key in manifests[1] if manifests[0].get(key) != manifests[1][key]}
    assert manifests[0].keys() == manifests[1].keys() and different <= {"uid"}
    assert manifests[0]["source"] == {"file": "test_evals.py", "line": 24} and blocks["counts"]["cases"] == 3


@pytest.mark.slow
def test_calls_that_a_case_makes_belong_to_its_run(session: Session) -> None:
    body = "    import promptry\n    promptry.track_invocation('p', {'cost_usd': 0.5}, model='m')\n"
    session.write(ANSWER + body)
    session.run()
    (run,) = session.runs()
    assert (run["cost_usd"], run["model"], run["prompt_version"]) == (3.0, "m", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "states", "ran"),
    [(["-k", "c1 or c2"], {}, 2), (["-x"], {"c1": "fail"}, 2), (["--deselect", "test_evals.py::answer[c0]"], {}, 5)],
)
def test_what_did_not_run_whole_is_incomplete_is_not_judged_and_fails_no_session(
    session: Session, words: list[str], states: dict[str, str], ran: int
) -> None:
    session.write(ANSWER)
    result = session.run(*words, **states)
    (run,) = session.runs()
    assert (run["complete"], run["verdict"], run["counts"]["cases"]) == (False, None, ran)
    assert result.ret == (1 if states else 0)
    result.stdout.fnmatch_lines([f"answer: run 1 is incomplete, only {ran} of its 6 items ran *no baseline."])
    assert promptry.find_baseline("answer", "prod", "p") is None


@pytest.mark.slow
def test_failed_cases_run_again_alone(session: Session) -> None:
    session.write(ANSWER)
    session.world.write_text('{"c1": "fail"}')
    session.pytester.runpytest_inprocess("-p", "promptry")
    result = session.pytester.runpytest_inprocess("-p", "promptry", "--lf")
    assert ended(result) == {"failed": 1}
    assert [run["complete"] for run in session.runs()] == [True, False]


@pytest.mark.slow
def test_repeats_are_one_item_and_the_suite_is_judged_as_a_whole(session: Session) -> None:
    session.write(ANSWER, options=", repeats=3, min_pass_rate=0.8")
    result = session.run(c1=["fail", "pass"])
    assert ended(result) == {"passed": 5, "xfailed": 1} and result.ret == 0
    (run,) = session.runs()
    assert run["counts"] | {"checks": 18} == run["counts"] and run["counts"]["pass"] == 17 and run["passed"]
    result = session.run(c1="fail", c2="fail")
    assert ended(result) == {"passed": 4, "xfailed": 2} and result.ret == 1
    result.stdout.fnmatch_lines(["*66.7% of the cases pass, 80.0% are asked for*"])


@pytest.mark.slow
def test_a_session_that_cannot_save_says_so_and_fails(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.write(ANSWER)

    def refuse(*_: Any, **__: Any) -> int:
        raise promptry.StoreError("The store is full.")

    with monkeypatch.context() as patch:
        patch.setattr(promptry, "save_run", refuse)
        result = session.run()
    assert ended(result) == {"passed": 6} and result.ret == 1
    result.stdout.fnmatch_lines(["The store is full."])
    (spool,) = promptry.list_spools()
    assert promptry.recover_spool(spool) is not None and session.runs()[0]["counts"]["cases"] == 6


# --- against a baseline


def test_what_the_gate_forgives_is_expected_to_fail_and_what_broke_fails(session: Session) -> None:
    session.write(ANSWER.replace("range(6)", "range(5)"), options=", min_pass_rate=0.1")
    session.run(c4="fail")
    session.write(ANSWER)
    result = session.run("--promptry-compare", "prod", "-rx", c2=["fail", "pass"], c4="fail", c5="fail")
    assert ended(result) == {"passed": 3, "failed": 1, "xfailed": 2} and result.ret == 1
    result.stdout.fnmatch_lines_random(
        [
            "XFAIL *answer[[]c2] - flaky, it also passes: expected 'pass', got 'fail'",
            "XFAIL *answer[[]c4] - known failure, it fails in the baseline too: *",
            "FAIL  answer  run 2, *",
            "*because 1 case fails that the baseline cannot judge*",
        ]
    )
    assert session.runs()[1]["verdict"] == "not enough data" and not session.runs()[1]["passed"]
    session.run("--promptry-compare", "prod", c2=["fail", "pass"], c4="fail")
    result = session.run("--promptry-compare", "prod", c0="fail", c4="fail")
    assert ended(result) == {"passed": 4, "failed": 1, "xfailed": 1} and result.ret == 1
    result.stdout.fnmatch_lines(["*because 1 case that held in the baseline is broken*"])


@pytest.mark.slow
def test_a_suite_that_regressed_fails_the_session_though_no_item_failed(session: Session) -> None:
    session.write(ANSWER.replace("range(6)", "range(30)"), options=", gate='statistical'")
    session.run()
    save_prompt("p", "Worse.")
    result = session.run("--promptry-compare", "prod", **{f"c{n}": "fail" for n in range(12)})
    assert ended(result) == {"passed": 18, "xfailed": 12} and result.ret == 1
    result.stdout.fnmatch_lines(["FAIL  answer  run 2, p@2*", "*because the verdict is regressed*"])


@pytest.mark.slow
def test_without_a_baseline_each_case_stands_on_its_own_and_that_is_said(session: Session) -> None:
    session.write(ANSWER)
    result = session.run("--promptry-compare", "prod", c1="fail")
    assert ended(result) == {"passed": 5, "failed": 1}
    result.stdout.fnmatch_lines(["*NO BASELINE*"])


@pytest.mark.slow
def test_a_tag_that_no_prompt_carries_is_an_error_with_the_nearest(session: Session) -> None:
    session.write(ANSWER)
    result = session.run("--promptry-compare", "prd")
    assert ended(result) == {"errors": 6}
    result.stdout.fnmatch_lines(["*No prompt carries the tag 'prd'. Did you mean 'prod'?*"])


# --- processes of their own


LOOK = """
import os, sys
def pytest_unconfigure(config):
    heavy = {"numpy", "scipy", "yaml", "jsonschema", "httpx", "pydantic", "bottle", "mcp", "rich", "regex"}
    heavy &= set(sys.modules)
    store = os.path.exists(os.environ["PROMPTRY_DB"])
    print(f"\\nloaded: {sorted(heavy)}, plugin: {'promptry' in sys.modules}, store: {store}")
"""


@pytest.mark.slow
def test_where_no_suite_is_the_plugin_loads_nothing_heavy_and_makes_no_store(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMPTRY_DB", str(tmp_path / "none.db"))
    monkeypatch.setenv("PYTHONPATH", str(Path(promptry.__file__).parent))
    pytester.makeconftest(LOOK)
    pytester.makepyfile(test_a="def test_a(): pass\n", evals="from promptry import suite\n@suite('s')\ndef s(): pass\n")
    words = ["-p", "no:hypothesispytest", "-p", "no:anyio"]
    result = pytester.runpytest_subprocess("-p", "promptry", *words)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["loaded: [[]], plugin: True, store: False"])
    result = pytester.runpytest_subprocess("-p", "no:promptry", *words)
    result.stdout.fnmatch_lines(["loaded: [[]], plugin: False, store: False"])


@pytest.mark.slow
def test_under_xdist_one_run_is_stored_whose_cases_ran_in_several_workers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(promptry.__file__).parent))
    session.write(ANSWER, BLOCKS)
    result = session.run("-n", "2", "--dist", "load", "-v", subprocess=True, c1="fail", c2="error", c3="skip")
    assert ended(result) == {"passed": 4, "failed": 1, "errors": 1, "skipped": 1}
    assert {"[gw0]", "[gw1]"} <= {line.partition(" ")[0] for line in result.outlines if line.startswith("[gw")}
    runs = {run["suite"]: run for run in session.runs()}
    assert len(session.runs()) == 2 and all(run["complete"] for run in runs.values())
    assert states_of(runs["answer"]) == {
        "c0": "pass", "c1": "fail", "c2": "error", "c3": "skipped", "c4": "pass", "c5": "pass"
    }  # fmt: skip
    assert (runs["answer"]["prompt_name"], runs["answer"]["prompt_version"]) == ("p", 1)
    result.stdout.fnmatch_lines(["FAIL  answer  run *", "PASS  blocks  run *"])


@pytest.mark.slow
def test_a_worker_that_crashes_leaves_an_incomplete_run_of_what_arrived(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.write(ANSWER)
    result = session.run("-n", "1", subprocess=True, c3="die")
    assert ended(result) == {"passed": 5, "failed": 1}
    (run,) = session.runs()
    assert not run["complete"] and set(states_of(run)) == {"c0", "c1", "c2", "c4", "c5"}
    result.stdout.fnmatch_lines(["answer: run 1 is incomplete, only 5 of its 6 items ran *"])


@pytest.mark.slow
def test_a_report_survives_the_way_through_xdist(session: Session) -> None:
    """What a report carries is text that JSON knows, whatever the case holds."""
    session.write("\n@suite('odd', dataset=[{'id': 'half \\ud800'}])\ndef odd(item): assert_exact('\\ud800\\0', 'b')\n")
    assert ended(session.run()) == {"failed": 1}
    (run,) = session.runs()
    assert run["counts"]["fail"] == 1


SLOW = """
import time

@suite("slow")
def slow():
    for name in ("one", "two", "three"):
        with case(name):
            if name == "two":
                time.sleep(30)
            assert_exact(1, 1)
"""


@pytest.mark.slow
def test_a_case_left_behind_with_its_blocks_makes_the_run_incomplete(session: Session) -> None:
    session.write(SLOW)
    session.settle("timeout_s = 0.3")
    result = session.run()
    (run,) = session.runs()
    assert not run["complete"] and "three" not in states_of(run)
    assert "slow: run 1 is incomplete, 'slow' was left behind" in result.stdout.str()


def test_a_case_that_is_known_to_be_flaky_fails_no_session(session: Session) -> None:
    session.write(ANSWER)
    session.settle('flaky = ["answer/c1", "answer/c2"]')
    result = session.run(c1="fail", c2="error")
    assert ended(result) == {"passed": 4, "xfailed": 2} and result.ret == 0
    assert session.runs()[0]["passed"]
