"""The pages at the edges: what a suite can be, each said in words and drawn without bursting its page."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from edges import fill
from shop import DESK, Served, settled
from test_e2e_pages import PHONE, SHOTS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EDGES = {
    # name: (address with the newest run of a suite, what the page says)
    "home": ("/", "1 of 15 suites regressed: wide broke 533 of 10,000 cases"),
    "one run": ("/suite?name=one-run", "ran once: 85.0% of 20 cases"),
    "no baseline": ("/compare?run={one-run}", "No baseline. Run 1 is not judged"),
    "no prompt": ("/run/{no-prompt}", "1 of 24 cases fail"),
    "few": ("/compare?run={too-few}", "Not enough data. 6 pairs as unsteady"),
    "improved": ("/compare?run={better}", "Improved. 17 of 64 cases that failed on prod now pass"),
    "tied": ("/compare?run={level}", "Tied. 3 broke, 4 were fixed"),
    "repeats": ("/run/{repeats}", "12 of 90 tries fail"),
    "repeats side by side": ("/compare?run={repeats}&view=matrix&show=all", "Tied. None broke, none was fixed"),
    "errors only": ("/run/30", "has no score: all 40 cases ended in an error"),
    "errors compared": ("/compare?run=30&baseline=24", "Not enough data. 0 pairs are too few"),
    "a gap": ("/suite?name=gaps", "97.5% of 40 cases passed in the newest"),
    "flaky": ("/suite?name=flaky", "steady over 8 runs"),
    "cut short": ("/suite?name=cut-short", "run 42 was not finished"),
    "a part": ("/run/41", "2 of 10 cases fail"),
    "groups": ("/compare?run={groups}", "12 groups of cases"),
    "scores": ("/compare?run={worth}&show=differences", "Tied. 1 broke, 2 were fixed"),
    "no price": ("/prompts", "1 prompt in 1 module"),
    "wide": ("/compare?run={wide}&view=matrix&show=all", "Regressed. 533 of 10,000 cases"),
    "signs": ("/compare?run=21&baseline=20&view=matrix&show=all", "Not enough data"),
    "a long name": ("/suite?name={long}", "87.5% of 8 cases"),
    "from the right": ("/suite?name={right}", "50.0% of 8 cases"),
}


@pytest.fixture(scope="module")
def edges(serve: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Served, dict[str, str]]:
    """Live through the edges, and serve them."""
    folder = tmp_path_factory.mktemp("edges") / "shop"
    runs = fill(folder)
    [long] = [name for name in runs if len(name) == 200]
    [right] = [name for name in runs if not name.isascii()]
    return serve(folder), {**runs, "long": quote(long), "right": quote(right)}


def open_edge(name: str, edges: tuple[Served, dict[str, str]], open_tab: Any, *how: Any) -> Any:
    shop, names = edges
    path = re.sub(r"\{([\w-]+)\}", lambda found: names[found[1]], EDGES[name][0])
    tab = settled(open_tab(f"{shop.url}#{path}", *how))
    if name == "no baseline":
        open_tab.complaints.clear()  # that there is none is a 404, which the browser tells its console
    return tab


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", DESK), ("light", PHONE)])
def test_an_edge_is_told_and_keeps_its_page(
    name: str, scheme: str, size: dict[str, int], edges: Any, open_tab: Any
) -> None:
    tab = open_edge(name, edges, open_tab, size, scheme)
    SHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SHOTS / f"edge-{name.replace(' ', '-')}-{scheme}-{size['width']}.png", full_page=size is PHONE)
    assert EDGES[name][1] in tab.locator("h1").inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert "undefined" not in (text := tab.locator("main").inner_text()) and "NaN" not in text


def test_the_matrix_of_ten_thousand_cases_draws_few_and_is_walked_by_keys(edges: Any, open_tab: Any) -> None:
    tab = open_edge("wide", edges, open_tab)
    rows = tab.locator("table.matrix tr[data-row]")
    rows.first.wait_for()
    assert rows.count() < 60
    for key in ("j", "j", "Enter"):
        tab.keyboard.press(key)
    drawer = tab.locator("aside.drawer")
    drawer.get_by_text("That is hard to say.").wait_for()
    first = drawer.locator("h2").inner_text()
    for _ in range(40):
        tab.keyboard.press("j")
    tab.wait_for_function("first => document.querySelector('aside.drawer h2').innerText !== first", arg=first)
    assert f"case={drawer.locator('h2').inner_text()}" in tab.url
    tab.keyboard.press("Escape")
    drawer.wait_for(state="detached")
    tab.get_by_role("button", name="Failures 1,505").click()
    tab.get_by_label("Find in cases and outputs").fill("case-00047")
    assert rows.count() == 1 and "q=case-00047" in tab.url
    assert tab.get_by_role("table", name="Outputs").locator("td").nth(2).inner_text().startswith("fail")


def test_signs_that_are_no_text_are_seen_and_markup_is_text(edges: Any, open_tab: Any) -> None:
    tab = open_edge("signs", edges, open_tab)
    tab.on("dialog", lambda dialog: pytest.fail("markup ran"))
    text = tab.get_by_role("table", name="Outputs").inner_text()
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩" in text and "<script>alert(1)</script>" in text and "an empty text" in text
    tab.get_by_role("button", name="Differences only").click()
    tab.locator("ins", has_text="Changed").first.wait_for()
    assert "only=1" in tab.url and "nothing" not in tab.get_by_role("table", name="Outputs").inner_text()


def test_a_case_shows_what_it_was_asked(shop: Served, world: Any, open_tab: Any) -> None:
    run = world.runs["support-answers"]
    for view in ("list", "matrix"):
        tab = settled(open_tab(f"{shop.url}#/compare?run={run}&view={view}&case=battery-late"))
        tab.locator(".out.q", has_text="What happens with a battery like number 8?").first.wait_for()
