"""What people do: from a regression to the roll back, an edit that reaches a running process, a budget."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_llm import serve_fake
from shop import MODULE, Served, settled
from world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def until(holds: Callable[[], Any], wait_s: float = 15.0) -> Any:
    """Return what a function returns once that is true."""
    end = time.monotonic() + wait_s
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)
    return found


def python(shop: Served, code: str) -> None:
    """Run code of an application that uses promptry, in the folder of a shop."""
    subprocess.run([sys.executable, "-c", code], cwd=shop.folder, env=shop.env, check=True)


def test_from_home_to_what_broke_to_the_run_that_broke_it_and_back(own_shop: Served, open_tab: Any) -> None:
    own_shop.cli("prompt", "promote", "support/answer", 4, "prod")
    tab = settled(open_tab(f"{own_shop.url}#/"))
    tab.get_by_role("link", name="See what broke").click()
    tab.wait_for_url("**/#/compare?**")
    assert settled(tab).locator("h1").inner_text().startswith("Regressed. 10 of 110 cases")
    assert "as guidance" in tab.locator("main").inner_text()  # the line of the prompt that did it
    tab.goto(f"{own_shop.url}#/suite?name=support-answers")
    assert "support/answer went from 3 to 4" in settled(tab).locator("h1").inner_text()
    tab.locator("header").get_by_text("Bisect").click()
    tab.get_by_text("first failed in").wait_for()
    tab.get_by_label("of", exact=True).select_option("account-lost")
    tab.locator(".culprit").filter(has_text="account-lost first failed in run 157").first.wait_for()
    tab.goto(f"{own_shop.url}#/compare?run={own_shop.ask('overview')['suites'][-1]['run']}")
    settled(tab).get_by_role("button", name="Roll back to 3").click()
    tab.get_by_role("dialog").get_by_role("button", name="Serve version 3 on prod").click()
    tab.get_by_role("status").filter(has_text="served as version 3 on prod").wait_for()
    assert own_shop.ask("prompt?name=support/answer&tag=prod")["version"] == 3


def test_pages_follow_the_store_without_reload(own_shop: Served, open_tab: Any) -> None:
    tab = settled(open_tab(f"{own_shop.url}#/"))
    marked = tab.evaluate("window.marked = 1")
    before = own_shop.ask("overview")["today"]["calls"]
    python(
        own_shop, "import promptry\nfor _ in range(1000): promptry.track_invocation('live/one', model='gpt-4.1-mini')"
    )
    tab.get_by_text(f"{before + 1000:,}", exact=True).first.wait_for()
    assert tab.evaluate("window.marked") == marked


def test_a_run_is_started_from_the_page_and_shown_when_it_is_done(own_shop: Served, open_tab: Any) -> None:
    tab = settled(open_tab(f"{own_shop.url}#/suite?name=summary-tone"))
    before = own_shop.ask("suites")["items"]
    tab.locator("header").get_by_role("button", name="Run", exact=True).click()
    link = tab.get_by_role("link", name="Run ", exact=False).filter(has_text="Run 1")
    link.last.wait_for(timeout=60_000)
    newest = next(row for row in own_shop.ask("suites")["items"] if row["suite"] == "summary-tone")
    assert newest["runs"] == next(row for row in before if row["suite"] == "summary-tone")["runs"] + 1


def test_everything_can_be_reached_by_the_keyboard_alone(shop: Served, open_tab: Any) -> None:
    tab = settled(open_tab(f"{shop.url}#/", scheme="dark"))
    for letter, path in (("s", "/suites"), ("c", "/calls"), ("p", "/prompts"), ("l", "/playground"), ("t", "/traces")):
        tab.keyboard.press("g")
        tab.keyboard.press(letter)
        tab.wait_for_url(f"**/#{path}*")
        settled(tab)
    tab.keyboard.press("g")
    tab.keyboard.press("h")
    tab.wait_for_url("**/#/")
    tab.keyboard.press("/")
    tab.keyboard.type("support-ans")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/#/suite?name=support-answers*")
    tab.keyboard.press("?")
    tab.get_by_role("dialog").wait_for()
    tab.keyboard.press("Escape")
    tab.get_by_role("dialog").wait_for(state="hidden")
    tab.goto(f"{shop.url}#/calls")
    settled(tab)
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**call=*")
    tab.keyboard.press("Escape")
    until(lambda: "call=" not in tab.url)


def test_a_token_lets_a_browser_in(world: World, serve: Callable[..., Served], open_tab: Any) -> None:
    guarded = serve(world.folder, PROMPTRY_TOKEN="a long and random text")
    tab = open_tab(f"{guarded.url}#/")
    field = tab.get_by_label("Token")
    field.fill("wrong")
    field.press("Enter")
    tab.get_by_text("That is not this server's token").wait_for()
    field.fill("a long and random text")
    field.press("Enter")
    tab.get_by_text("suites regressed").first.wait_for()
    open_tab.complaints.clear()  # a 401 is told in the console too


RENDERING = """
import sys, time, promptry
while True:
    said = promptry.render_prompt("mail/hello", "Hello $name", env="prod", ttl=0.2, variables={"name": "Ada"})
    print(said, flush=True)
    time.sleep(0.1)
"""


def test_an_edit_is_saved_promoted_and_served_by_a_running_process(
    own_shop: Served, open_tab: Any, tmp_path: Path
) -> None:
    own_shop.cli("prompt", "save", "mail/hello", "--tag", "prod", text="Hello $name")
    said = tmp_path / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", RENDERING], cwd=own_shop.folder, env=own_shop.env, stdout=out)
    try:
        until(lambda: "Hello Ada" in said.read_text())
        tab = settled(open_tab(f"{own_shop.url}#/prompt?name=mail/hello"))
        tab.keyboard.press("e")
        editor = tab.locator(".cm-content")
        editor.click()
        tab.keyboard.press("Control+a")
        tab.keyboard.type("Good day $name, from the page")
        tab.get_by_role("button", name="Save as 2").click()
        until(lambda: own_shop.ask("prompt?name=mail/hello")["version"] == 2)
        assert "from the page" not in said.read_text()  # saved is not promoted
        tab.get_by_role("button", name="Promote 2 to prod").first.click()
        tab.get_by_role("dialog").get_by_role("button", name="prod").click()
        until(lambda: "Good day Ada, from the page" in said.read_text())
    finally:
        process.terminate()
        process.wait(10)


def test_a_budget_that_is_passed_shows_on_home(own_shop: Served, open_tab: Any) -> None:
    call = "promptry.track_invocation('docs/answer', model='gpt-4.1', usage={'prompt_tokens': 10_000})"
    python(own_shop, f"import promptry\n{call}")  # on the first of a month there may be none yet
    tab = settled(open_tab(f"{own_shop.url}#/budgets"))
    tab.get_by_text("Set a budget").first.click()
    tab.get_by_role("button", name="A module").click()
    tab.get_by_label("Module").fill("docs")
    for limit in ("-1", "0.01"):
        tab.get_by_label("May cost").fill(limit)
        tab.get_by_role("button", name="Set it").click()
        if limit == "-1":
            tab.get_by_text("it takes US dollars").first.wait_for()
    until(lambda: any(row["target"] == "docs" for row in own_shop.ask("budgets")["items"]))
    tab.goto(f"{own_shop.url}#/")
    settled(tab).get_by_text("docs").first.wait_for()
    assert "docs passed the monthly budget" in " ".join(tab.locator("main").inner_text().split())
    open_tab.complaints.clear()  # the refusal of -1 is told in the console too


def test_feedback_that_is_posted_appears_on_its_call(own_shop: Served, open_tab: Any) -> None:
    call = own_shop.ask("calls?prompt=triage/label&origin=app&limit=1")["items"][0]
    tab = settled(open_tab(f"{own_shop.url}#/calls?call={call['id']}"))
    body = f'{{"request_id": "{call["request_id"]}", "rating": 0.1, "comment": "It went to the wrong desk."}}'
    curl = [
        "curl",
        "-sS",
        "-X",
        "POST",
        f"{own_shop.url}api/feedback",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
    ]
    subprocess.run(curl, check=True, capture_output=True, env={**os.environ, "no_proxy": "127.0.0.1"})
    tab.get_by_text("It went to the wrong desk.").first.wait_for()


def test_the_dashboard_tells_where_it_is_and_stops_cleanly(world: World, serve: Callable[..., Served]) -> None:
    served = serve(world.folder)
    port = served.url.rstrip("/").rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, str(MODULE), "dashboard", "--port", port, "--no-open"],
        cwd=world.folder, env=served.env, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2 and f"port {port}" in done.stderr and "--port" in done.stderr


def test_models_answer_side_by_side_and_an_answer_becomes_a_case(
    world: World, serve: Callable[..., Served], open_tab: Any, tmp_path: Path
) -> None:
    shutil.copytree(world.folder, tmp_path / "shop")
    with serve_fake() as fake:
        keys = {"OPENAI_BASE_URL": f"{fake.url}/v1", "OPENAI_API_KEY": "sk-test-0123456789abcdefSECRET"}
        shop = serve(tmp_path / "shop", **keys)
        models = "col=openai:gpt-4.1-mini!drip0.5&col=openai:gpt-4.1!drip0.5"
        tab = settled(open_tab(f"{shop.url}#/playground?name=support/refund&{models}"))
        tab.get_by_label("$question").fill("a parcel that came twice")
        tab.get_by_text("Decide on a refund for a parcel that came twice").first.wait_for()
        tab.get_by_role("button", name="Ask 2 models").click()
        answers = tab.locator("article.answer")
        answers.first.locator(".out").wait_for()
        assert answers.first.get_by_role("button", name="Stop").is_visible()  # it is seen before all of it has come
        for answer in answers.all():
            answer.get_by_text("Hello, world!").wait_for()
            answer.get_by_text("1,200").wait_for()  # its tokens
        answers.first.get_by_role("button", name="Make it a case").click()
        field = answers.first.get_by_label("Dataset", exact=False).first
        field.fill("from-the-playground")
        field.press("Enter")
        item = until(lambda: _items(shop, "from-the-playground"))[0]
    assert item["expected"] == "Hello, world!"
    calls = shop.ask("calls?origin=playground")["items"]
    assert [call["prompt_name"] for call in calls] == ["support/refund"] * 2 and calls[0]["cost_usd"] > 0
    assert all("a parcel that came twice" in str(body) for _, body in fake.requests)


def _items(shop: Served, name: str) -> list[Any]:
    found = [row for row in shop.ask("datasets?limit=100")["items"] if row["name"] == name]
    return shop.ask(f"dataset?name={name}")["items"] if found else []
