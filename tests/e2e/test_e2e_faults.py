"""What a page does when its server is gone, refuses, fails or is slow; on paper; and for who does not see it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from shop import MODULE, Served, settled
from test_e2e_pages import PAGES, SHOTS, address_of
from world import World

NAMELESS = """() => [...document.querySelectorAll('main svg, main canvas')]
    .filter(drawn => drawn.getBoundingClientRect().width > 40)
    .filter(drawn => !drawn.closest('[aria-hidden=true], [role=img][aria-label], [role=group][aria-label]'))
    .map(drawn => drawn.outerHTML.slice(0, 120))"""
FOCUS = """() => {
    const at = document.activeElement, css = getComputedStyle(at);
    const framed = at.closest('.filter, .sql-edit, .cm-editor');
    return [at.outerHTML.slice(0, 120), css.outlineStyle !== 'none' || css.boxShadow !== 'none' || framed !== null];
}"""
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def restart(shop: Served) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that serves the month at one port, as often as it is called."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started: list[subprocess.Popen[str]] = []

    def start(**more: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(MODULE), "dashboard", "--port", port, "--no-open"]
        env = {**shop.env, **more}
        process = subprocess.Popen(command, cwd=shop.folder, env=env, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr is not None and port in process.stderr.readline()
        return process

    start.url = f"http://127.0.0.1:{port}/"  # type: ignore[attr-defined]
    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def test_a_server_that_is_gone_is_told_and_its_page_comes_back(restart: Any, open_tab: Any) -> None:
    process = restart()
    tab = settled(open_tab(f"{restart.url}#/suites"))
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    tab.get_by_role("status").get_by_text("The server does not answer.").wait_for()
    assert tab.locator("tbody tr").count() == 6  # what was shown stays
    tab.evaluate("window.dispatchEvent(new Event('offline'))")  # and a network that is gone too stops no asking
    tab.goto(f"{restart.url}#/cost")  # a page that was never opened
    tab.get_by_role("heading", name="This page could not be fetched.").wait_for()
    restart()
    tab.get_by_text("Spend a day by model").wait_for(timeout=30_000)
    settled(tab).get_by_text("The server does not answer.").wait_for(state="detached")
    open_tab.complaints.clear()  # what could not be fetched


@pytest.mark.parametrize(("name", "path"), [("home", "/"), ("calls", "/calls"), ("compare", "/compare?run=175")])
def test_a_server_that_fails_is_told(name: str, path: str, shop: Served, open_tab: Any) -> None:
    body = '{"error": {"code": "internal", "message": "The server failed at this.", "hint": "promptry doctor looks."}}'
    tab = settled(open_tab(f"{shop.url}#/query"))
    tab.route("**/api/**", lambda asked: asked.fulfill(status=500, content_type="application/json", body=body))
    tab.goto(f"{shop.url}?anew#{path}")
    tab.get_by_text("The server failed at this. promptry doctor looks.").first.wait_for()
    tab.get_by_text("The server answers 500.").wait_for()
    assert "not be" in tab.locator("h1").inner_text()
    tab.unroute("**/api/**")
    tab.get_by_role("button", name="Try again").click()
    settled(tab).get_by_text("The server answers 500.").wait_for(state="detached")
    assert "not be" not in tab.locator("h1").inner_text()
    open_tab.complaints.clear()


def test_a_server_that_wants_a_token_is_given_it(restart: Any, open_tab: Any) -> None:
    restart(PROMPTRY_TOKEN="a-token-of-some-length")
    tab = open_tab(f"{restart.url}#/suites")
    tab.get_by_label("Token").fill("another")
    tab.get_by_role("button", name="Open").click()
    tab.get_by_text("That is not this server's token.").wait_for()
    tab.get_by_label("Token").fill("a-token-of-some-length")
    tab.get_by_role("button", name="Open").click()
    assert "1 of 6 suites" in settled(tab).locator("h1").inner_text()
    open_tab.complaints.clear()


@pytest.mark.parametrize("name", ["home", "suites", "run", "prompts", "cost"])
def test_while_an_answer_is_slow_its_place_is_kept(name: str, shop: Served, world: World, open_tab: Any) -> None:
    held: list[Any] = []
    slow = True

    def hold(asked: Any) -> None:
        held.append(asked) if slow else asked.continue_()

    tab = settled(open_tab(f"{shop.url}#/query"))
    tab.route(re.compile(r"/api/(?!health|settings|changes)"), hold)
    tab.goto(address_of(shop, world, name).replace("#", "?anew#"))
    tab.locator(".skeleton.seen").first.wait_for()
    before = tab.locator("h1").bounding_box()
    slow = False
    for asked in held:
        asked.continue_()
    after = settled(tab).locator("h1").bounding_box()
    assert before and after and before["y"] == after["y"] and before["height"] == after["height"]


@pytest.mark.parametrize("name", ["home", "suite", "compare", "matrix", "cost"])
def test_on_paper_there_is_what_is_read(name: str, shop: Served, world: World, open_tab: Any) -> None:
    tab = settled(open_tab(address_of(shop, world, name), None, "dark"))
    tab.emulate_media(media="print", color_scheme="dark")
    SHOTS.mkdir(parents=True, exist_ok=True)
    tab.set_viewport_size({"width": 760, "height": 1075})
    tab.screenshot(path=SHOTS / f"print-{name}.png", full_page=True)
    assert not tab.locator("nav.side").is_visible() and tab.locator("h1").is_visible()
    assert not tab.get_by_role("button", name="Show SQL").first.is_visible()
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("name", PAGES)
def test_charts_have_names_and_what_has_the_focus_shows_it(
    name: str, shop: Served, world: World, open_tab: Any
) -> None:
    tab = settled(open_tab(address_of(shop, world, name)))
    assert tab.evaluate(NAMELESS) == []
    for _ in range(30):
        tab.keyboard.press("Tab")
        found, shown = tab.evaluate(FOCUS)
        assert shown or found.startswith("<body"), found
