"""The page in assets/site: what its sources make, small, and with nothing in it that its policy forbids."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import promptry

ROOT = Path(promptry.__file__).resolve().parent
SITE = ROOT / "assets" / "site"
MOST_BYTES = 150 * 1024


def page_text() -> str:
    """Return the page itself."""
    return (SITE / "index.html").read_text(encoding="utf-8")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their paths."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scripts_at_once() -> set[Path]:
    """Return the scripts that Home needs: those that the page names, Home's own, and all that these import at once."""
    found: set[Path] = set()
    waiting = [SITE / name for name in re.findall(r'(?:src|href)="\./([^"]+\.js)"', page_text())]
    waiting += sorted(SITE.glob("assets/Home-*.js"))
    while waiting:
        script = waiting.pop()
        if script not in found:
            found.add(script)
            text = script.read_text(encoding="utf-8")
            waiting += [script.parent / name for name in re.findall(r'(?:from|import)\s*["`]\./([^"`]+\.js)["`]', text)]
    return found


def test_the_page_and_all_its_files_are_assets_of_the_module() -> None:
    names = {name.removeprefix("site/") for name in promptry.asset_names("site")}
    assert names == set(files_of(SITE))
    assert promptry.asset("site/index.html").decode() == page_text()


def test_the_first_page_needs_at_most_150_kb_of_script() -> None:
    scripts = scripts_at_once()
    assert any(script.name.startswith("Home-") for script in scripts)
    assert sum(len(gzip.compress(script.read_bytes(), 9)) for script in scripts) <= MOST_BYTES


def test_the_page_holds_nothing_inline_and_names_no_other_host() -> None:
    text = page_text()
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=", text)
    assert all(not inside.strip() for inside in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL))
    assert all(address.startswith("./") for address in re.findall(r'(?:src|href)="([^"]+)"', text))


def test_no_style_sheet_fetches_anything_from_elsewhere() -> None:
    sheets = [content.decode() for name, content in files_of(SITE).items() if name.endswith(".css")]
    assert sheets
    assert not [found for sheet in sheets for found in re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//", sheet)]


def test_each_file_but_the_page_and_its_icon_is_named_by_its_content() -> None:
    others = set(files_of(SITE)) - {"index.html", "icon.svg"}
    assert [name for name in others if not re.fullmatch(r"assets/[\w.-]+-[\w-]{8}\.(?:js|css)", name)] == []


@pytest.mark.slow
@pytest.mark.browser
def test_the_sources_make_the_very_page_that_is_committed(tmp_path: Path) -> None:
    if shutil.which("npm") is None and "CI" not in os.environ:
        pytest.skip("npm is not here")
    code = "import sys; sys.argv = ['build.py']; import build, pathlib; build.make_site(pathlib.Path(sys.stdin.read()))"
    # The environment of before conftest: npm's cache and its configuration lie in the real home.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        input=str(tmp_path / "site"),
        env={**os.environ, **HOME},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert files_of(tmp_path / "site") == files_of(SITE)


HOME = {name: os.environ[name] for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA") if name in os.environ}
