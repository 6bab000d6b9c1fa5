"""PAGES: judged runs as one HTML page: whole in itself, everything escaped, the verdict first."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from test_formats import HOSTILE, World, do, hostile_report, quiz, regressed, report, world  # noqa: F401

import promptry
from promptry import run_suite, save_prompt

VOID = {"meta", "br", "circle", "line", "polyline"}


class Page(HTMLParser):
    """The tags, attributes and texts of a page; every tag that opens must close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def texts_of(self) -> str:
        return "".join(self.texts)


def page(*reports: promptry.Report) -> tuple[str, Page]:
    text = promptry.render_html(list(reports))
    return text, Page(text)


def said(text: str) -> str:
    return re.sub("<[^>]+>", "", text)


def test_the_page_starts_with_the_verdict_and_holds_numbers_flips_cause_and_chart(world: World) -> None:  # noqa: F811
    text, found = page(report(regressed(world)))
    head = re.search("<h1>(.*?)</h1>", text)
    assert head and said(head[1]) == "Failed: regressed. quiz: 8 broken, 1 flaky, 1 fixed of 20 paired cases."
    body = text.partition("<body>")[2]
    parts = ["<h1>", "because the verdict is regressed", "<dl>", 's">broken', 's">flaky', 's">fixed', 's">known']
    places = [body.index(part) for part in [*parts, "By check", "Probable cause", "<svg", "<h3>Cases"]]
    assert places == sorted(places)
    assert "p@1" in text and '<span class="good">+Think step by step.</span>' in text


def test_the_page_loads_and_runs_nothing(world: World) -> None:  # noqa: F811
    text, found = page(report(regressed(world)))
    assert not {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "form", "base"}
    for _, attributes in found.tags:
        assert not [name for name in attributes if name in {"src", "style"} or name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text


def test_the_policy_forbids_all_but_the_style_of_the_frame() -> None:
    text = promptry.asset("reports/run.html").decode("utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\"" in text
    assert "\r" not in text


def test_what_users_wrote_stays_text_on_the_page(world: World) -> None:  # noqa: F811
    text, found = page(hostile_report())
    assert not {tag for tag, _ in found.tags} & {"script", "i", "testcase"}
    texts = found.texts_of()
    for line in (
        "</testcase></testsuite><script>alert(1)</script>",
        '" onload="alert(1)',
        "&amp; &#64;",
        "]]> <![CDATA[",
    ):
        assert line in texts
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202e]", text)
    text.encode("utf-8")
    assert texts.count("<i>expected</i>") >= len(HOSTILE)


def test_a_text_that_looks_like_a_place_of_the_frame_stays_text(world: World) -> None:  # noqa: F811
    save_prompt("p", "{{title}} {{body}}", tag="prod")
    quiz(world, n=2)
    run_suite("quiz")
    save_prompt("p", "{{body}} {{nothing}}")
    text, _ = page(report(run_suite("quiz", compare="prod")))
    assert "-{{title}} {{body}}" in text and "+{{body}} {{nothing}}" in text


def test_the_chart_marks_the_judged_run_and_names_the_baseline(world: World) -> None:  # noqa: F811
    result = regressed(world)
    text, found = page(report(result))
    classes = [attributes.get("class") for tag, attributes in found.tags if tag in {"circle", "line", "polyline"}]
    assert classes.count("ring") == 1 and classes.count("ring old") == 1 and classes.count("base") == 1
    assert f"run {result.run_id}: 0.500" in found.texts and "baseline, run 1: 0.900" in found.texts
    assert "Scores from 0.5 to 1.0 of the last 2 runs" in text


def test_the_chart_holds_the_last_30_runs_until_the_judged_one(world: World) -> None:  # noqa: F811
    quiz(world, n=1)
    results = [run_suite("quiz") for _ in range(34)]
    _, found = page(report(results[32]))
    titles = [text for text in found.texts if text.startswith("run ") and " of " in text]
    assert len(titles) == 30 and titles[0].startswith("run 33 ") and titles[-1].startswith("run 4 ")


@pytest.mark.parametrize("states", [{}, {"c00": "error", "c01": "error"}, {"c00": "skip", "c01": "skip"}])
def test_a_run_without_scores_or_without_a_case_is_still_a_page(world: World, states: dict[str, Any]) -> None:  # noqa: F811
    quiz(world, n=2 if states else 0)
    do(world, **states)
    text, _ = page(report(run_suite("quiz")))
    assert "<svg" not in text and "Not decided" in text


def test_a_run_without_a_score_leaves_a_gap_in_the_curve(world: World) -> None:  # noqa: F811
    quiz(world, n=1)
    for state in ("pass", "pass", "error", "pass", "pass"):
        do(world, c00=state)
        result = run_suite("quiz")
    text, _ = page(report(result))
    assert text.count("<polyline") == 2


def test_cases_that_did_not_pass_come_first_with_both_sides(world: World) -> None:  # noqa: F811
    quiz(world, n=3)
    do(world, c02="fail")
    text, found = page(report(run_suite("quiz")))
    cases = text.partition("<h3>Cases")[2]
    assert cases.index("c02") < cases.index("2 that pass") < cases.index("c00")
    assert "<figcaption>expected</figcaption><pre>pass</pre>" in cases
    assert "<figcaption>actual</figcaption><pre>fail</pre>" in cases


def test_several_suites_are_one_page_with_links(world: World) -> None:  # noqa: F811
    quiz(world, n=2)
    quiz(world, n=2, name="other")
    text, found = page(report(run_suite("quiz")), report(run_suite("other")))
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert links == ["#run-1", "#run-2"] and said(text.partition("<h1>")[2]).startswith("Passed. 2 of 2 suites pass.")
    page()
