"""CONFIGURATION: what is set, where that is said, and which secrets are there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import promptry
from promptry import list_settings


def write(folder: Path, text: str) -> None:
    (folder / "promptry.toml").write_text(text, encoding="utf-8")
    promptry.forget_settings()


def values() -> dict[str, tuple[object, object]]:
    return {row["key"]: (row["value"], row["source"]) for row in list_settings()["items"]}


def test_without_a_file_the_defaults_hold_and_no_store_is_made(store: Path) -> None:
    found = list_settings()
    assert (found["file"], found["fault"], found["next"]) == (None, None, None)
    assert {row["source"] for row in found["items"]} == {None} and found["total"] == len(found["items"]) > 20
    assert values()["store.wait_ms"] == (250, None) and values()["run.timeout_s"] == (None, None)
    told = found["store"]
    assert (told["path"], told["source"], told["exists"]) == (str(store), "--db", False)
    assert (told["bytes"], told["mode"], told["others"], found["read_only"]) == (None, None, [], False)
    assert not store.exists()
    assert (found["version"], found["python"]) == (promptry.__version__, sys.version.split()[0])


def test_each_key_of_the_file_is_told_with_its_place(store: Path, tmp_path: Path) -> None:
    write(tmp_path, '[store]\nwait_ms = 250\n[run]\nflaky = ["a/b"]\n[pricing."m-1"]\ninput = 0.5\n')
    file = str(tmp_path / "promptry.toml")
    assert list_settings()["file"] == file
    assert values()["store.wait_ms"] == (250, file), "said, though it is the default"
    assert values()["run.flaky"] == (["a/b"], file) and values()["pricing.m-1"] == ({"input": 0.5}, file)
    assert values()["run.concurrency"] == (1, None)


@pytest.mark.parametrize(
    "text", ["[store", "[stor]\n", "[store]\nwait_ms = 'x'\n", "store = 3\n", "[store]\nwait = 1\n"]
)
def test_a_file_that_cannot_be_used_is_told_as_a_fault(store: Path, tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    found = list_settings()
    assert found["items"] == [] and str(tmp_path / "promptry.toml") in found["fault"]
    assert promptry.run_command(["settings"]) == 0


def test_the_store_is_told_with_what_chose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("~").expanduser() / ".promptry" / "store.db"
    assert (list_settings()["store"]["path"], list_settings()["store"]["source"]) == (str(home), "default")
    write(tmp_path, '[store]\npath = "own.db"\n')
    assert list_settings()["store"]["source"] == str(tmp_path / "promptry.toml")
    monkeypatch.setenv("PROMPTRY_DB", str(tmp_path / "of.db"))
    promptry.connect()
    found = list_settings()["store"]
    assert (found["path"], found["source"], found["exists"]) == (str(tmp_path / "of.db"), "PROMPTRY_DB", True)
    assert found["bytes"] > 0 and (found["mode"] == "0600" or sys.platform == "win32")


def test_no_secret_is_told(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "PROMPTRY_TOKEN": "tok-4711",
        "OPENAI_API_KEY": "sk-proj-4711abcdefghijklmnopqrst",
        "MY_KEY": "mine-4711",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    write(
        tmp_path,
        '[judge]\nprovider = "openai"\napi_key_env = "MY_KEY"\nbase_url = "https://ada:pass-4711@host/v1?key=q-4711"\n'
        '[run]\nembedder_key_env = "sk-proj-4711abcdefghijklmnopqrst"\n',
    )
    found = list_settings()
    assert "4711" not in json.dumps(found)
    assert values()["judge.base_url"][0] == "https://host/v1"
    assert values()["judge.api_key_env"][0] == "MY_KEY"
    told = {row["name"]: row["is_set"] for row in found["variables"]}
    assert told["PROMPTRY_TOKEN"] and told["OPENAI_API_KEY"] and told["MY_KEY"] and not told["ANTHROPIC_API_KEY"]
    assert not told["PROMPTRY_INGEST_TOKEN"]


def test_the_command_lays_it_out_and_answers_as_json(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "[capture]\ntext = true\n")
    promptry.connect()
    assert promptry.run_command(["settings"]) == 0
    said = capsys.readouterr().out
    assert f"store {store} (--db)" in said and "capture.text" in said and "PROMPTRY_TOKEN" in said
    assert promptry.run_command(["settings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(list_settings()))
