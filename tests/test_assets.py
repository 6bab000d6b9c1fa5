"""ASSETS: packed files come from the stamped module, else from the folder beside it."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import promptry

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def stamped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stamp two files into the module, as build.py does."""
    files = {"sql/one.sql": "SELECT 1 AS one;\nSELECT 2 AS two;\n", "starters/demo/a.txt": "ä"}
    packed = {name: base64.b64encode(zlib.compress(text.encode())).decode() for name, text in files.items()}
    monkeypatch.setattr(promptry, "_EMBEDDED", packed)
    promptry.asset.cache_clear()
    yield
    monkeypatch.undo()
    promptry.asset.cache_clear()


def test_the_source_reads_the_folder_beside_it() -> None:
    assert promptry.asset("sql/list_calls.sql") == (ROOT / "assets" / "sql" / "list_calls.sql").read_bytes()


def test_the_names_below_a_folder_are_sorted_and_hold_no_byte_code() -> None:
    names = promptry.asset_names("sql")
    assert names == sorted(names) and "sql/list_calls.sql" in names
    assert all(name.endswith(".sql") for name in names)
    assert promptry.asset_names("nothing") == []


def test_every_read_has_its_sql() -> None:
    for read in promptry.READS:
        assert f"sql/{read.name}.sql" in promptry.asset_names("sql"), read.name


def test_a_stamped_module_reads_itself_and_nothing_else(stamped: None) -> None:
    assert promptry.asset_names("sql") == ["sql/one.sql"]
    assert promptry.asset("starters/demo/a.txt") == "ä".encode()
    assert promptry.statements("one") == ["SELECT 1 AS one", "SELECT 2 AS two"]
    with pytest.raises(promptry.AssetMissing, match=r"carries no asset 'sql/list_calls.sql'"):
        promptry.asset("sql/list_calls.sql")


def test_a_missing_asset_of_the_source_says_what_to_do() -> None:
    with pytest.raises(promptry.AssetMissing, match=r"'sql/nothing.sql' is missing.*keep the assets folder beside it"):
        promptry.asset("sql/nothing.sql")


@pytest.mark.slow
def test_a_bare_source_still_tracks_and_renders(tmp_path: Path) -> None:
    shutil.copy(ROOT / "promptry.py", tmp_path / "promptry.py")
    code = """
import promptry
assert promptry.track("Hello $who", "p") == "Hello $who"
assert promptry.track_invocation("p")
assert promptry.render_prompt("p", "default", who="Ada") == "Hello Ada"
promptry.promote("p", 1, "prod")
try:
    promptry.list_prompts()
except promptry.AssetMissing as error:
    print(error.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "asset_missing"), done.stderr


@pytest.mark.parametrize("state", ["disable", "enable"])
def test_an_import_leaves_the_garbage_collector_as_it_was(state: str) -> None:
    code = f"import gc\ngc.{state}()\nimport promptry\nprint(gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(state == "enable")
