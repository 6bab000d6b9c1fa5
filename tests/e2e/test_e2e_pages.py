"""Every page in a real browser: its sentence, what axe says of it, light and dark, wide and narrow.

The pictures are written to PROMPTRY_SHOTS (build/shots without it), so that a person can look at them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shop import DESK, MODULE, Served, settled
from world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = Path(os.environ.get("PROMPTRY_SHOTS") or MODULE.parent / "build" / "shots")
PHONE = {"width": 420, "height": 900}
PAGES = {
    # name: (address, what its first line says)
    "home": ("/", "1 of 6 suites regressed"),
    "suites": ("/suites", "suites"),
    "suite": ("/suite?name=support-answers", "fell at run"),
    "run": ("/run/{support}", "regressed"),
    "compare": ("/compare?run={support}", "Regressed. 10 of 110 cases"),
    "matrix": ("/compare?run={support}&view=matrix&with=31&with=103", "Regressed. 10 of 110 cases"),
    "prompts": ("/prompts", "prompts"),
    "prompt": ("/prompt?name=support/answer", "Version 4 is not ready for prod"),
    "playground": ("/playground?name=support/answer", ""),
    "calls": ("/calls", "calls"),
    "traces": ("/traces", "trace"),
    "trace": ("/trace/{trace}", ""),
    "cost": ("/cost", r"\$"),
    "budgets": ("/budgets", "budget"),
    "feedback": ("/feedback", "rat"),
    "datasets": ("/datasets", "dataset"),
    "dataset": ("/dataset?name=support-cases", "support-cases"),
    "query": ("/query?sql=SELECT * FROM v_runs LIMIT 5", ""),
    "settings": ("/settings", ""),
}


def address_of(shop: Served, world: World, name: str) -> str:
    """Return the address of a page, with the ids that it names."""
    trace = shop.ask("traces?limit=1")["items"][0]["trace_id"]
    path = PAGES[name][0].format(support=world.runs["support-answers"], trace=trace)
    return f"{shop.url}#{path.replace(' ', '%20')}"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", DESK), ("light", PHONE)])
def test_a_page_answers_its_question_and_axe_finds_no_serious_fault(
    name: str, scheme: str, size: dict[str, int], shop: Served, world: World, open_tab: Callable[..., Any]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab = settled(open_tab(address_of(shop, world, name), size, scheme))
    SHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SHOTS / f"{name}-{scheme}-{size['width']}.png", full_page=size is PHONE)
    sentence = tab.locator("h1").inner_text()
    assert len(sentence) > 10 and re.search(PAGES[name][1], sentence), sentence
    assert tab.title().endswith("promptry")
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    found = Axe().run(tab).response["violations"]
    serious = [fault for fault in found if fault["impact"] in {"serious", "critical"}]
    assert not serious, [(fault["id"], [node["html"][:200] for node in fault["nodes"]][:3]) for fault in serious]


@pytest.mark.parametrize(
    "name", [name for name in PAGES if name not in {"run", "compare", "matrix", "trace", "suite", "prompt", "dataset"}]
)
def test_an_empty_store_is_told_how_to_fill_it(
    name: str, tmp_path: Path, empty_shop: Served, open_tab: Callable[..., Any]
) -> None:
    tab = settled(open_tab(f"{empty_shop.url}#{PAGES[name][0].partition('?')[0]}"))
    SHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SHOTS / f"empty-{name}.png")
    text = tab.locator("main").inner_text()
    assert len(tab.locator("h1").inner_text()) > 5
    if name not in {"query", "settings", "playground"}:
        assert re.search(r"promptry |track|record_feedback|save_dataset|vote\(|set_budget|trace\(", text), text
    assert not empty_shop.store.exists()  # looking makes no store


def test_every_link_of_home_leads_to_a_page(shop: Served, open_tab: Callable[..., Any]) -> None:
    tab = settled(open_tab(f"{shop.url}#/"))
    links = {link.get_attribute("href") for link in tab.locator("a[href^='#']").all()}
    assert len(links) > 20
    for link in sorted(filter(None, links)):
        tab.goto(f"{shop.url}{link}")
        sentence = settled(tab).locator("h1").inner_text()
        assert "no such page" not in sentence.lower(), link


def test_reloading_a_page_shows_the_same(shop: Served, open_tab: Callable[..., Any]) -> None:
    tab = settled(open_tab(f"{shop.url}#/calls?status=error&prompt=support%2Fanswer"))
    before = tab.locator("main").inner_text().split("\n")[:4]
    tab.reload()
    assert settled(tab).locator("main").inner_text().split("\n")[:4] == before


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "[a](javascript:alert(1))"]
)
def test_text_of_a_prompt_is_text_and_never_markup(text: str, own_shop: Served, open_tab: Callable[..., Any]) -> None:
    own_shop.cli("prompt", "save", "evil/prompt", text=f"Say {text} to $name")
    own_shop.ask("votes", {"name": "evil/prompt", "response": text, "score": -1, "message": text})
    tab = open_tab(f"{own_shop.url}#/prompt?name=evil/prompt")
    tab.on("dialog", lambda dialog: pytest.fail(f"{text} ran"))
    assert text in settled(tab).locator("main").inner_text()
    assert not tab.locator("main img, main script").count()
