"""PAGES: judged runs as one HTML page: whole in itself, everything escaped, the verdict first."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from served import run_chromium
from test_formats import HOSTILE, World, do, hostile_report, quiz, regressed, report, world  # noqa: F401

import promptry
from promptry import run_suite, save_prompt

VOID = {"meta", "br", "circle", "line", "polyline", "path", "use"}


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


def test_the_page_starts_with_the_verdict_and_holds_numbers_tests_cause_chart_and_flips(world: World) -> None:  # noqa: F811
    text, found = page(report(regressed(world)))
    head = re.search("<h1>(.*?)</h1>", text)
    assert head and said(head[1]) == "Failed: regressed. 8 broken, 1 flaky, 1 fixed of 20 paired cases."
    body = text.partition("<main>")[2]
    parts = ["<b>quiz</b> / run 2", "<h1>", "because the verdict is regressed", ">What fails now", ">Broken <", ">c01<"]
    parts += [">Tries of what fails now", "<dl", "Change by check", "<table", "all cases", "Probable cause"]
    parts += ["The last runs", ">Cases", ">Flaky <", ">Known failures <", ">Fixed <"]
    places = [body.index(part) for part in [*parts, "9 that pass</span></summary>"]]
    assert places == sorted(places)
    assert "<b>p@1</b> to <b>p@2</b>" in text
    assert '<div class="add"><span>+</span><span>Think step by step.</span></div>' in text


def test_each_case_stands_once_in_the_group_that_says_most_of_it(world: World) -> None:  # noqa: F811
    text, found = page(report(regressed(world)))
    names = re.findall('<span class="case">(c\\d\\d)</span>', text)
    assert sorted(names) == [f"c{number:02}" for number in range(20)]
    assert names[:8] == [f"c{number:02}" for number in range(1, 9)]
    pills = re.findall('<summary><span class="pill[ a-z]*"><svg.*?</svg>(\\w+)</span> <span class="case">', text)
    assert pills == ["broken"] * 8 + ["flaky", "known", "fixed"] + ["pass"] * 9


def test_a_case_that_broke_shows_what_came_now_beside_what_came_in_the_baseline(world: World) -> None:  # noqa: F811
    text, _ = page(report(regressed(world)))
    case = text.partition('<span class="case">c01</span>')[2].partition("</details>")[0]
    sides = re.findall("<figcaption>(.*?)</figcaption><pre>(.*?)</pre>", case)
    assert sides == [("expected", "pass"), ("actual in the baseline", "pass"), ("actual", "fail")]
    held = text.partition("9 that pass</span></summary>")[2]
    assert held and "actual in the baseline" not in held


def test_headings_go_down_by_one_and_every_table_has_a_caption(world: World) -> None:  # noqa: F811
    one = report(regressed(world))
    for reports in ([one], [one, one._replace(result=one.result._replace(run_id="1"))]):
        text, found = page(*reports)
        levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
        assert text.count("<table>") == text.count("<caption")


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
    assert "<span>{{title}} {{body}}</span>" in text and "<span>{{body}} {{nothing}}</span>" in text


def test_the_chart_marks_the_judged_run_and_names_the_baseline(world: World) -> None:  # noqa: F811
    result = regressed(world)
    text, found = page(report(result))
    classes = [attributes.get("class") for tag, attributes in found.tags if tag in {"circle", "line", "polyline"}]
    assert classes.count("ring") == 1 and classes.count("ring old") == 1 and classes.count("base") == 1
    assert f"run {result.run_id}: 0.500" in found.texts and "baseline: 0.900" in found.texts
    assert "scores from 0.5 to 1.0 of the last 2 runs until run 2" in text


@pytest.mark.slow
def test_the_chart_holds_the_last_30_runs_until_the_judged_one(world: World) -> None:  # noqa: F811
    quiz(world, n=1)
    results = [run_suite("quiz") for _ in range(34)]
    _, found = page(report(results[32]))
    titles = [text for text in found.texts if text.startswith("run ") and " of " in text]
    assert len(titles) == 30 and titles[0].startswith("run 4 ") and titles[-1].startswith("run 33 ")


@pytest.mark.parametrize("states", [{}, {"c00": "error", "c01": "error"}, {"c00": "skip", "c01": "skip"}])
def test_a_run_without_scores_or_without_a_case_is_still_a_page(world: World, states: dict[str, Any]) -> None:  # noqa: F811
    quiz(world, n=2 if states else 0)
    do(world, **states)
    text, _ = page(report(run_suite("quiz")))
    assert "The last runs" not in text and "Not decided" in text


def test_a_run_without_a_score_leaves_a_gap_in_the_curve(world: World) -> None:  # noqa: F811
    quiz(world, n=1)
    for state in ("pass", "pass", "error", "pass", "pass"):
        do(world, c00=state)
        result = run_suite("quiz")
    text, _ = page(report(result))
    assert text.count("<polyline") == 2


def test_cases_that_did_not_pass_come_first_and_the_first_is_open(world: World) -> None:  # noqa: F811
    quiz(world, n=3)
    do(world, c02="fail")
    text, found = page(report(run_suite("quiz")))
    cases = text.partition(">What fails now")[2]
    assert cases.index("c02") < cases.index("<dl") < cases.index("2 that pass</span></summary>") < cases.index("c00")
    assert "<figcaption>expected</figcaption><pre>pass</pre>" in cases
    assert "<figcaption>actual</figcaption><pre>fail</pre>" in cases
    assert text.count("<details open>") == 1


def test_many_that_fail_are_folded_up_and_nothing_is_headed_where_none_does(world: World) -> None:  # noqa: F811
    quiz(world, n=30)
    assert "What fails now" not in page(report(run_suite("quiz")))[0]
    do(world, **{f"c{number:02}": "fail" for number in range(28)})
    text, _ = page(report(run_suite("quiz")))
    failing = text.partition(">What fails now")[2].partition("<dl")[0]
    assert failing.count('<span class="case">') == 28 and "8 more</span></summary>" in failing
    assert failing.index("c19") < failing.index("8 more</span>") < failing.index("c20")


def test_repeats_are_told_apart_within_their_case(world: World) -> None:  # noqa: F811
    quiz(world, n=2, repeats=2)
    do(world, c00=["fail", "pass"])
    text, _ = page(report(run_suite("quiz")))
    case = text.partition('<span class="case">c00</span>')[2].partition("</details>")[0]
    assert re.findall(r"repeat (\d) <span.*?</svg>(\w+)", case) == [("1", "fail"), ("2", "pass")]


def test_a_thousand_cases_are_all_there_and_long_texts_of_those_that_pass_are_cut(store: Path) -> None:
    @promptry.suite("many", dataset=[{"id": f"c{number:04}"} for number in range(1005)])
    def check(item: dict[str, str]) -> None:
        promptry.assert_contains(f"{item['id']} {'long ' * 1000}", "long" if item["id"] > "c0000" else "short")

    text, found = page(report(run_suite("many")))
    assert text.count("<summary>") == 1001 and "and 5 more: promptry runs 1 --json has all." in text
    assert len(text) < 1_500_000 and "more signs)" in text


def test_several_suites_are_one_page_with_links(world: World) -> None:  # noqa: F811
    quiz(world, n=2)
    quiz(world, n=2, name="other")
    text, found = page(report(run_suite("quiz")), report(run_suite("other")))
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert links == ["#run-1", "#run-2"] and said(text.partition("<h1>")[2]).startswith("Passed. 2 of 2 suites passed.")
    page()


# --- in a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with run_chromium() as browser:
        yield browser


# The contrast of each text with what is behind it, by the formula of WCAG 2; the least, and of what.
LEAST_CONTRAST = """() => {
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = numbers(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  let least = [99, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = numbers(node.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least[0]) least = [contrast, walker.currentNode.data.trim()];
  }
  return least;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_the_page_is_legible_fits_and_asks_for_nothing(
    world: World,  # noqa: F811
    chromium: Any,
    tmp_path: Path,
    scheme: str,
    width: int,
) -> None:
    text, _ = page(report(regressed(world)), hostile_report())
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    tab = context.new_page()
    asked: list[str] = []
    faults: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: faults.append(message.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: faults.append(dialog.message))
    tab.goto((tmp_path / "page.html").as_uri())
    assert asked == [(tmp_path / "page.html").as_uri()] and faults == []
    tab.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
    least, words = tab.evaluate(LEAST_CONTRAST)
    assert least >= 4.5, words
    assert tab.evaluate("() => getComputedStyle(document.querySelector('.pill')).borderRadius") == "3px", "style holds"
    context.close()


@pytest.mark.browser
def test_in_a_browser_the_keyboard_opens_a_case_and_a_thousand_are_usable(
    chromium: Any, tmp_path: Path, store: Path
) -> None:
    @promptry.suite("many", dataset=[{"id": f"c{number:04}"} for number in range(1000)])
    def check(item: dict[str, str]) -> None:
        promptry.assert_contains("abc", "c" if item["id"] > "c0003" else "d")

    (tmp_path / "page.html").write_text(page(report(run_suite("many")))[0], encoding="utf-8")
    tab = chromium.new_page(viewport={"width": 1280, "height": 800})
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.locator("details[open]").count() == 1
    second = tab.locator("summary").nth(1)
    for _ in range(10):
        tab.keyboard.press("Tab")
        if second.evaluate("node => node === document.activeElement"):
            break
    assert second.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    assert tab.locator("details[open]").count() == 2
    tab.locator("nav.groups a", has_text="996 that pass").click()
    tab.locator(".held > summary").click()
    assert tab.locator(".held > details").count() == 996
    tab.locator(".held > details").last.scroll_into_view_if_needed()
    assert tab.get_by_text("c0999").is_visible()
    tab.close()


@pytest.mark.browser
def test_in_a_browser_the_page_prints_dark_on_light(world: World, chromium: Any, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "page.html").write_text(page(report(regressed(world)))[0], encoding="utf-8")
    context = chromium.new_context(color_scheme="dark")
    tab = context.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("() => getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.pdf().startswith(b"%PDF")
    context.close()
