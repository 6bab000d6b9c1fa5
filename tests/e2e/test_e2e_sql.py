"""What each page shows can be asked for in SQL and saved as CSV: every script is run by the sqlite3 program."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from shop import Served, settled
from test_e2e_pages import PAGES, address_of
from world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]
# What a section shows is not of the store: of the machine, of what the reader typed, or the shape of the store itself.
NOT_STORED = {"Environment", "This page", "Settings", "Configured", "Views", "Rows", "SQL"}
SECTIONS = """sections => sections.map(section => ({
    title: section.querySelector('h2')?.innerText ?? '',
    table: [...section.querySelectorAll('table:not(.vh)')].some(table => table.querySelector('tbody tr')),
    chart: section.querySelector('[role=img]') !== null,
    sql: [...section.querySelectorAll('.sh button')].some(button => button.innerText === 'Show SQL'),
    csv: [...section.querySelectorAll('.sh button')].some(button => button.innerText === 'CSV'),
}))"""


def answer_of(store: Path, script: str) -> str:
    """Run a script as somebody who pastes it after `sqlite3 store.db`, and return what it printed."""
    program = shutil.which("sqlite3")
    if program is None:
        pytest.skip("there is no sqlite3 program here")
    command = [program, "-readonly", "-bail", str(store)]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, f"{script}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_has_its_sql_and_its_csv(name: str, shop: Served, world: World, open_tab: Any) -> None:
    tab = settled(open_tab(address_of(shop, world, name)))
    found = [one for one in tab.locator("main section").evaluate_all(SECTIONS) if one["title"] not in NOT_STORED]
    whole = tab.locator("header").get_by_role("button", name="CSV", exact=True).count() > 0  # all rows, not these
    assert [one["title"] for one in found if (one["table"] or one["chart"]) and not one["sql"]] == []
    assert [one["title"] for one in found if one["table"] and not one["csv"] and not whole] == []
    for place in range(tab.get_by_role("button", name="Show SQL").count()):
        button = tab.get_by_role("button", name="Show SQL").nth(place)
        button.click()
        drawer = tab.locator("aside.drawer").last
        drawer.locator("pre").first.wait_for()
        scripts = settled(tab).locator("aside.drawer").last.locator("pre").all_inner_texts()
        assert scripts
        for script in scripts:
            answer_of(world.store, script)
        button.click()
        drawer.wait_for(state="detached")


@pytest.mark.parametrize(
    ("name", "table", "head"),
    [("suites", "Suites", "suite"), ("matrix", "Outputs", "output_31"), ("cost", "Budgets", "limit_usd")],
)
def test_a_csv_holds_what_the_table_shows(
    name: str, table: str, head: str, shop: Served, world: World, open_tab: Any
) -> None:
    tab = settled(open_tab(address_of(shop, world, name)))
    section = tab.locator("main section").filter(has=tab.get_by_role("table", name=table))
    with tab.expect_download() as saved:
        section.get_by_role("button", name="CSV", exact=True).click()
    assert saved.value.suggested_filename.endswith(".csv")
    with Path(saved.value.path()).open(encoding="utf-8", newline="") as file:
        first, *rows = csv.reader(file)
    assert head in first and len(rows) == section.locator("tbody tr:not([aria-hidden])").count()
    assert all(len(row) == len(first) for row in rows)


def test_a_csv_waits_for_the_runs_that_are_put_beside(shop: Served, world: World, open_tab: Any) -> None:
    held: list[Any] = []
    tab = settled(open_tab(f"{shop.url}#/"))
    tab.route(re.compile(r"/api/run/103$"), lambda asked: held.append(asked))
    tab.goto(address_of(shop, world, "matrix"))
    section = tab.locator("main section").filter(has=tab.get_by_role("table", name="Outputs"))
    section.get_by_role("link", name="Run 31").wait_for()
    button = section.get_by_role("button", name="CSV", exact=True)
    assert section.get_attribute("aria-busy") == "true" and button.is_disabled()
    while not held:
        tab.wait_for_timeout(50)
    held[0].continue_()
    section.get_by_role("link", name="Run 103").wait_for()
    assert section.get_attribute("aria-busy") is None and button.is_enabled()
