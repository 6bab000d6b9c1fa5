"""FORMATS: judged runs as JUnit XML and as Markdown: they agree with the JSON, and what users wrote stays text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, render_prompt, run_suite, save_prompt, suite

World = dict[str, Any]

HOSTILE = [
    "]]> <![CDATA[ x",
    "</testcase></testsuite><script>alert(1)</script>",
    "nul \x00 bell \x07 escape \x1b[31m del \x7f",
    "half \ud800 character",
    "no character \ufffe \uffff",
    "turned \u202e gnp.exe",
    "```\n</details>\n# heading\n| a | b |\n````` @octocat #1 https://evil.example www.evil.example",
    "`tick`",
    "| pipe \\| and \\\\| backslash",
    '" onload="alert(1)',
    "&amp; &#64;",
    "line\r\nend\ttab",
    "\U0001f600 日本 é",
]


@pytest.fixture
def world(store: Path) -> World:
    """What each case of the suite "quiz" will do: pass (if not named), fail, error, skip, or a list in turn."""
    save_prompt("p", "Answer in one word.", tag="prod")
    return {}


def quiz(world: World, n: int = 20, name: str = "quiz", **options: Any) -> None:
    @suite(name, prompt="p", dataset=[{"id": f"c{number:02}"} for number in range(n)], **options)
    def check(item: dict[str, str]) -> None:
        render_prompt("p", "")
        state = world.get(item["id"], "pass")
        if isinstance(state, list):
            state = state.pop(0) if len(state) > 1 else state[0]
        if state == "error":
            raise RuntimeError("crashed")
        if state == "skip":
            pytest.skip("not today")
        assert_exact(state, "pass")


def do(world: World, **states: Any) -> None:
    world.clear()
    world.update(states)


def report(result: promptry.RunResult, **options: Any) -> promptry.Report:
    return promptry.load_report(result, promptry.exit_code_of(result, **options))


def regressed(world: World) -> promptry.RunResult:
    """A run in which c00 was known to fail, c01 to c08 broke, c09 is flaky and c10 is fixed."""
    quiz(world)
    do(world, c00="fail", c10="fail")
    run_suite("quiz", min_score=0.5)
    save_prompt("p", "Think step by step.")
    broken = {f"c{number:02}": "fail" for number in range(1, 9)}
    do(world, c00="fail", c09=["fail", "pass"], **broken)
    result = run_suite("quiz", compare="prod")
    assert result.comparison is not None and not result.passed
    return result


def junit(*reports: promptry.Report) -> ET.Element:
    return ET.fromstring(promptry.render_junit(list(reports)).encode("utf-8"))


def counted(node: ET.Element) -> dict[str, int]:
    return {name: int(node.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}


def properties(root: ET.Element) -> dict[str, str]:
    return {row.attrib["name"]: row.attrib["value"] for row in root.iter("property")}


# --- JUnit


def test_the_counts_of_junit_are_those_of_the_json_and_errors_are_no_failures(world: World) -> None:
    quiz(world)
    do(world, c00="fail", c01="error", c02="skip", c03="fail")
    result = run_suite("quiz")
    root, counts = junit(report(result)), result.counts
    (found,) = root.findall("testsuite")
    assert (
        counted(root)
        == counted(found)
        == {"tests": 20, "failures": counts["fail"], "errors": counts["error"], "skipped": counts["skipped"]}
    )
    states = {row.attrib["name"]: [child.tag for child in row] for row in found.findall("testcase")}
    assert states["c00"] == ["failure"] and states["c01"] == ["error"] and states["c02"] == ["skipped"]
    assert states["c04"] == [] and Counter(map(len, states.values())) == {0: 16, 1: 4}
    assert "crashed" in found.find("testcase/error").attrib["message"]  # type: ignore[union-attr]
    assert "not today" in found.find("testcase/skipped").attrib["message"]  # type: ignore[union-attr]


def test_a_failure_says_what_was_expected_what_came_and_why(world: World) -> None:
    quiz(world)
    do(world, c00="fail")
    failure = junit(report(run_suite("quiz"))).find(".//failure")
    assert failure is not None and failure.attrib["type"] == "exact"
    assert failure.attrib["message"] == "expected 'pass', got 'fail'"
    assert failure.text is not None
    assert failure.text.split("\n") == [
        "exact",
        "reason: expected 'pass', got 'fail'",
        "expected: pass",
        "actual: fail",
    ]


def test_junit_excuses_known_and_flaky_cases_and_shows_the_broken_ones(world: World) -> None:
    result = regressed(world)
    root = junit(report(result))
    tags = {row.attrib["name"]: row.find("./*") for row in root.iter("testcase")}
    failing = {name for name, child in tags.items() if child is not None and child.tag == "failure"}
    assert failing == {f"c{number:02}" for number in range(1, 9)}
    for name, words in (("c00", "known failure"), ("c09", "flaky")):
        child = tags[name]
        assert child is not None and child.tag == "skipped" and child.attrib["message"].startswith(words)
    assert counted(root)["failures"] + counted(root)["skipped"] == result.counts["fail"]


def test_junit_of_a_run_that_passes_has_no_failure(world: World) -> None:
    quiz(world)
    do(world, c00="fail")
    run_suite("quiz", min_score=0.5)
    result = run_suite("quiz", compare="prod")
    assert result.passed and result.comparison is not None and result.comparison["known"] == ["c00"]
    root = junit(report(result))
    assert counted(root) == {"tests": 20, "failures": 0, "errors": 0, "skipped": 1}
    lenient = junit(report(run_suite("quiz", min_score=0.5)))
    assert counted(lenient)["failures"] == 0 and "the gate lets it pass" in ET.tostring(lenient, "unicode")


def test_junit_is_red_where_the_exit_code_is_and_no_case_shows_it(world: World) -> None:
    quiz(world)
    do(world, c00="fail")
    run_suite("quiz", min_score=0.5)
    result = run_suite("quiz", compare="prod", min_score=0.99)
    assert not result.passed
    (gate,) = [row for row in junit(report(result)).iter("testcase") if row.attrib["name"] == "(gate)"]
    assert gate.find("failure").attrib["message"].startswith("the score is 0.950")  # type: ignore[union-attr]
    do(world)
    save_prompt("q", "x", tag="empty")
    missing = run_suite("quiz", compare="empty")
    root = junit(report(missing, require_baseline=True))
    assert counted(root)["errors"] == 1 and "NO BASELINE" in ET.tostring(root, "unicode")


def test_the_properties_hold_what_the_comparison_says(world: World) -> None:
    result = regressed(world)
    found, told = result.comparison, properties(junit(report(result)))
    assert found is not None
    for name, value in (("score", result.score), ("delta", found["delta"]), ("p", found["p"]), ("n", found["n"])):
        assert float(told[name]) == pytest.approx(value)
    assert json.loads(told["interval"]) == pytest.approx(found["interval"])
    assert told["verdict"] == result.verdict and told["passed"] == "false" and told["prompt"] == "p@2"
    assert told["baseline"] == f"run {found['baseline']['id']}"


def test_a_run_without_a_baseline_says_so_and_no_unknown_number_is_zero(world: World) -> None:
    quiz(world)
    told = properties(junit(report(run_suite("quiz"))))
    assert told["baseline"] == "none" and not {"delta", "p", "n", "verdict", "cost_usd"} & told.keys()


def test_repeats_are_testcases_of_their_own_and_times_are_seconds(world: World) -> None:
    quiz(world, n=3)
    root = junit(report(run_suite("quiz", repeats=2)))
    names = [row.attrib["name"] for row in root.iter("testcase")]
    assert len(names) == len(set(names)) == 6 and "c01 [repeat 2]" in names
    assert 0 <= float(root.attrib["time"]) < 10


def test_a_suite_whose_cases_are_all_skipped_is_no_success_in_ci(world: World) -> None:
    quiz(world, n=2)
    do(world, c00="skip", c01="skip")
    result = run_suite("quiz")
    root = junit(report(result))
    assert promptry.exit_code_of(result) == 3 and counted(root) == {
        "tests": 3,
        "failures": 0,
        "errors": 1,
        "skipped": 2,
    }


def hostile_report() -> promptry.Report:
    @suite("s|u`i`te <b>@all</b> ]]>", prompt="p")
    def check() -> None:
        render_prompt("p", "")
        for text in HOSTILE:
            with promptry.case(text.encode("utf-8", "replace").decode()):
                assert_exact(text, "<i>expected</i>")

    return report(run_suite("s|u`i`te <b>@all</b> ]]>", model_version="m|<b>"))


def test_junit_is_legal_xml_whatever_the_texts_hold(world: World) -> None:
    root = junit(hostile_report())
    assert {child.tag for child in root.iter()} == {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure", "system-out"
    }  # fmt: skip
    texts = "\n".join(row.text or "" for row in root.iter("failure"))
    assert "]]> <![CDATA[ x" in texts and "\\x00" in texts and "\\ud800" in texts and "\\ufffe" in texts
    assert "\U0001f600 日本 é" in texts
    assert counted(root)["failures"] == len(HOSTILE)
    assert any(row.attrib["name"] == "line\r\nend\ttab" for row in root.iter("testcase"))


def test_several_suites_are_several_testsuites(world: World) -> None:
    quiz(world, n=2)
    quiz(world, n=3, name="other")
    root = junit(report(run_suite("quiz")), report(run_suite("other")))
    assert [row.attrib["name"] for row in root.findall("testsuite")] == ["quiz", "other"]
    assert counted(root)["tests"] == 5 and counted(junit()) == {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}


# What readers of JUnit XML agree on: the children of each element in their order, and its attributes: those that must
# be there, then those that may. GitLab, GitHub's reporters and pytest also know file and line.
SHAPE: dict[str, tuple[str, set[str], set[str]]] = {
    "testsuites": ("(testsuite )*", {"name", "tests", "failures", "errors", "skipped", "time"}, set()),
    "testsuite": (
        "(properties )?(testcase )*(system-out )?(system-err )?",
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"hostname", "id", "package"},
    ),
    "properties": ("(property )+", set(), set()),
    "property": ("", {"name", "value"}, set()),
    "testcase": ("((skipped|error|failure) )?", {"name", "classname", "time"}, {"file", "line"}),
    "failure": ("", {"message", "type"}, set()),
    "error": ("", {"message", "type"}, set()),
    "skipped": ("", {"message"}, {"type"}),
    "system-out": ("", set(), set()),
}
TYPES = {
    "time": r"\d+\.\d{3}",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "line": "[1-9][0-9]*",
    **dict.fromkeys(("tests", "failures", "errors", "skipped"), "[0-9]+"),
}


def check_shape(node: ET.Element) -> None:
    children, must, may = SHAPE[node.tag]
    assert re.fullmatch(children, "".join(f"{child.tag} " for child in node)), node.tag
    assert must <= node.attrib.keys() <= must | may, (node.tag, node.attrib)
    for name, value in node.attrib.items():
        assert re.fullmatch(TYPES.get(name, ".*"), value, re.DOTALL), (node.tag, name, value)
    for child in node:
        check_shape(child)
    if node.tag == "testsuite":
        cases = node.findall("testcase")
        assert int(node.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(node.attrib[name]) == sum(case.find(tag) is not None for case in cases)


def test_junit_has_the_shape_that_its_readers_agree_on(world: World) -> None:
    quiz(world, n=4, name="mixed")
    do(world, c00="fail", c01="error", c02="skip")
    mixed = report(run_suite("mixed"))
    check_shape(junit(mixed, report(regressed(world)), hostile_report()))
    check_shape(junit(report(run_suite("mixed", repeats=2)), report(run_suite("quiz", min_score=1.0))))
    check_shape(junit())


def test_each_testcase_names_the_file_and_line_of_its_suite(world: World) -> None:
    quiz(world, n=2)
    found = report(run_suite("quiz"))
    (place,) = {(row.attrib["file"], row.attrib["line"]) for row in junit(found).iter("testcase")}
    assert place[0].endswith("tests/test_formats.py")
    assert Path(place[0]).read_text().split("\n")[int(place[1]) - 1].strip().startswith("@suite(name")
    found.run["manifest"]["source"] = {"file": 3, "line": "x"}
    assert not any("file" in row.attrib or "line" in row.attrib for row in junit(found).iter("testcase"))


def test_the_coverage_is_the_share_of_cases_with_a_score(world: World) -> None:
    quiz(world, n=4)
    do(world, c00="fail", c01="error")
    told = properties(junit(report(run_suite("quiz"))))
    assert (float(told["coverage"]), float(told["score"])) == (0.75, pytest.approx(2 / 3))


# --- Markdown


def markdown(*reports: promptry.Report) -> str:
    return promptry.render_markdown(list(reports))


def without_folds(text: str) -> str:
    """Take out the marks of what is folded up, which must stand on lines of their own and belong together."""
    lines = text.split("\n")
    depth = 0
    for place, line in enumerate(lines):
        if "details" in line and not line.startswith(("-", "+", "|")):
            assert re.fullmatch(r"<details><summary>[\w ,]+(: \d+)?</summary>|</details>", line), line
            depth += 1 if line.startswith("<details>") else -1
            assert depth in {0, 1}
            assert lines[place + 1 : place + 2] in ([""], []) and (depth == 1 or lines[place - 1] == "")
            lines[place] = ""
    assert depth == 0
    return "\n".join(lines)


def test_the_first_line_of_markdown_is_the_verdict_and_flips_come_before_all_else_but_numbers(world: World) -> None:
    text = markdown(report(regressed(world)))
    assert text.split("\n")[0] == "**Failed: regressed.** `quiz`: 8 broken, 1 flaky, 1 fixed of 20 paired cases."
    parts = [
        "| score |",
        "because",
        "**Broken: 8**",
        "**Flaky: 1**",
        "<summary>Fixed: 1</summary>",
        "<summary>Known failures: 1</summary>",
        "| check |",
    ]
    places = [text.index(part) for part in [*parts, "**Probable cause**", "```diff"]]
    assert places == sorted(places)
    assert "`p@1` to `p@2`" in text and "+Think step by step." in text and "pairs" in text and "old, p&#64;" in text


def test_markdown_without_a_baseline_says_so(world: World) -> None:
    quiz(world)
    save_prompt("q", "x", tag="empty")
    text = markdown(report(run_suite("quiz", compare="empty")))
    assert text.startswith("**Passed: no baseline.** `quiz`: 20 cases: 20 pass.")
    assert "NO BASELINE" in text and "| none |" in text
    assert "no baseline" not in markdown(report(run_suite("quiz"))).lower()


def test_markdown_names_what_failed_ended_in_an_error_or_was_skipped(world: World) -> None:
    quiz(world)
    do(world, c00="fail", c01="error", c02="skip")
    text = markdown(report(run_suite("quiz")))
    assert text.startswith("**Failed.** `quiz`: 20 cases: 17 pass, 1 fail, 1 error, 1 skipped.")
    assert (
        "- `c00`: `expected 'pass', got 'fail'`" in text
        and "**In error: 1**" in text
        and "<summary>Skipped: 1</summary>" in text
    )


def test_what_users_wrote_stays_text_in_markdown(world: World) -> None:
    text = markdown(hostile_report())
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", without_folds(text))
    assert not re.search(r"[<`]|@\w|#\w*\d\b(?!;)|https?:|www\.", outside.replace("&#", ""))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202e]", text)
    assert "# heading" not in text.split("\n")


@pytest.mark.parametrize("text", ["```", "a\n ```\n# out", "`````\n```", "x", "\n"])
def test_no_prompt_breaks_out_of_the_fence_of_its_diff(world: World, text: str) -> None:
    quiz(world)
    run_suite("quiz")
    save_prompt("p", f"New.\n{text}\nEnd.")
    lines = markdown(report(run_suite("quiz", compare="prod"))).split("\n")
    (start,) = [place for place, line in enumerate(lines) if line.endswith("`diff")]
    fence = lines[start].removesuffix("diff")
    ends = [place for place, line in enumerate(lines) if place > start and re.fullmatch(f" {{0,3}}{fence}`*\\s*", line)]
    assert len(fence) >= 3 and len(ends) == 1 and lines[ends[0] - 1].startswith("+End.")


def test_markdown_is_cut_between_blocks_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(regressed(world))
    whole = markdown(*[found] * 200)
    assert len(whole) <= promptry.MAX_MARKDOWN_CHARS == 60_000
    assert whole.split("\n")[-1].startswith("Cut: the rest does not fit into 60,000 characters")
    assert whole.count("```") % 2 == 0 and "Cut:" not in markdown(found)


def test_the_worst_comes_first_and_a_long_group_is_folded_behind_its_first_ten(world: World) -> None:
    quiz(world, n=30)
    good = report(run_suite("quiz"))
    do(world, **{f"c{number:02}": "fail" for number in range(14)}, c20="error")
    quiz(world, n=30, name="bad")
    quiz(world, n=30, name="torn")
    bad = report(run_suite("bad"))
    do(world, c20="error")
    torn = report(run_suite("torn"))
    text = markdown(good, torn, bad)
    assert (good.code, torn.code, bad.code) == (0, 3, 1)
    assert re.findall("^### (.*)$", text, re.MULTILINE) == ["`bad`", "`torn`", "`quiz`"]
    assert text.index("**Failing: 14**") < text.index("`c09`") < text.index("<summary>4 more</summary>")
    assert text.index("<summary>4 more</summary>") < text.index("`c13`") < text.index("**In error: 1**")
    without_folds(text)


def test_each_line_of_a_table_has_as_many_cells_as_its_head(world: World) -> None:
    found = report(regressed(world))
    odd = found.run | {"model": "a|b\nc", "date": "|"}
    comparison = {**(found.result.comparison or {})}
    comparison["deltas"] = [{**row, "assertion_type": "x|y\n\\|z"} for row in comparison["deltas"]]
    text = markdown(found._replace(run=odd, result=found.result._replace(comparison=comparison, model="a|b")))
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        assert len({line.count("|") for line in table.strip().split("\n")}) == 1


def test_a_report_fits_into_a_comment_even_where_every_sign_is_four_bytes(world: World) -> None:
    quiz(world, n=2)
    found = report(run_suite("quiz"))
    rows = [
        {**found.run["cases"][0], "case": f"{n} " + "\U0001f600" * 190, "state": "fail", "reason": "\U0001f600" * 90}
        for n in range(60)
    ]
    text = markdown(*[found._replace(run=found.run | {"cases": rows}, code=1)] * 40)
    assert len(text) <= 60_000 < 65_536 and "Cut: the rest" in text.split("\n")[-1]
    without_folds(text)


def test_a_long_diff_is_cut_in_its_fence(world: World) -> None:
    quiz(world, n=2)
    run_suite("quiz")
    save_prompt("p", "\n".join(f"line {number} {'x' * 50}" for number in range(1000)))
    text = markdown(report(run_suite("quiz", compare="prod")))
    assert len(text) < 15_000 and "... (cut" in text and text.count("```") == 2


def test_several_suites_are_sections_below_one_verdict(world: World) -> None:
    quiz(world, n=2)
    good = report(run_suite("quiz"))
    do(world, c00="fail")
    quiz(world, n=3, name="other")
    text = markdown(good, report(run_suite("other")))
    assert text.startswith("**Failed.** 1 of 2 suites passed.") and "### `quiz`" in text and "### `other`" in text
    assert markdown().startswith("**Not decided.** 0 of 0 suites passed.")


def test_a_comparison_of_two_runs_is_a_report_that_it_alone_judges(world: World) -> None:
    quiz(world)
    first = run_suite("quiz")
    do(world, c00="fail")
    second = run_suite("quiz")
    worse = promptry.report_of(promptry.compare_runs(second.run_id, first.run_id))
    assert worse.code == 1 and counted(junit(worse))["failures"] == 1
    better = promptry.report_of(promptry.compare_runs(first.run_id, second.run_id))
    assert better.code == 0 and "1 fixed" in markdown(better)


def test_no_line_of_a_fence_is_a_command_to_a_ci_runner() -> None:
    assert promptry._fenced(" ::error::x\n::y\na::b", "") == "```\n :\u200b:error::x\n:\u200b:y\na::b\n```"
