"""CLIENTS: the configuration that is printed starts a server that finds the store, in each client's own form."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from agents import connect_agent
from served import ROOT

import promptry
from promptry import CLIENTS, client_config, save_prompt

KEYS = {"claude": "mcpServers", "cursor": "mcpServers", "vscode": "servers", "windsurf": "mcpServers"}
FILES = {"claude": ".mcp.json", "cursor": ".cursor/mcp.json", "vscode": ".vscode/mcp.json"}
FILES |= {"windsurf": "~/.codeium/windsurf/mcp_config.json"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with spaces and quotes in its name, a store of its own, and one prompt in it."""
    folder = tmp_path / 'a "big" project, ü'
    folder.mkdir()
    (folder / "promptry.toml").write_text("")
    monkeypatch.chdir(folder)
    promptry.forget_settings()
    save_prompt("answer", "Answer.")
    promptry.close_store()
    return folder


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    """Return the server that `mcp --config` prints, and what it says on stderr."""
    assert promptry.run_command(["mcp", "--config", *words]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert list(found) == [KEYS[words[0]]] and list(found[KEYS[words[0]]]) == ["promptry"]
    return found[KEYS[words[0]]]["promptry"], said.err


@pytest.mark.slow
@pytest.mark.parametrize("client", sorted(KEYS))
def test_the_printed_configuration_starts_a_server_that_finds_the_store(
    client: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, said = told(capsys, client)
    assert FILES[client] in said and len(said.strip().splitlines()) == 1
    assert server.get("type") == {"claude": "stdio", "vscode": "stdio"}.get(client)
    assert all(isinstance(word, str) for word in server["args"]) and Path(server["command"]).is_absolute()
    mcp = server["args"].index("mcp")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = (server["command"], *server["args"][:mcp])
    with connect_agent(*server["args"][mcp + 1 :], folder=elsewhere, command=command) as agent:
        assert [row["name"] for row in agent.ask("list_prompts")["items"]] == ["answer"]
    assert not any(elsewhere.iterdir())


def test_a_store_that_was_chosen_is_named(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--db" not in told(capsys, "claude")[0]["args"]
    words = told(capsys, "claude", "--db", "other.db")[0]["args"]
    assert words[words.index("--db") + 1] == str(project / "other.db")
    promptry.use_store(None)
    monkeypatch.setenv("PROMPTRY_DB", str(tmp_path / "third.db"))
    words = told(capsys, "cursor")[0]["args"]
    assert words[words.index("--db") + 1] == str(tmp_path / "third.db")


def test_a_path_of_windows_stays_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(PureWindowsPath("C:\\Program Files\\promptry\\promptry.exe"))
    monkeypatch.setattr(promptry, "own_command", lambda: [path])
    assert told(capsys, "vscode")[0]["command"] == path


def test_the_zipapp_and_the_module_name_themselves(tmp_path: Path) -> None:
    command, source, *_ = [client_config("claude", False)["mcpServers"]["promptry"][key] for key in ("command", "args")]
    assert shutil.which(command) == command and source[0] == str(ROOT / "promptry.py")


def test_writes_are_allowed_where_that_is_asked_for() -> None:
    for client in CLIENTS:
        allowed = client_config(client, True)[KEYS[client]]["promptry"]["args"]
        assert allowed == [*client_config(client, False)[KEYS[client]]["promptry"]["args"], "--allow-writes"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--config", "emacs"], "'emacs' is not one of 'claude', 'cursor', 'vscode', 'windsurf'"),
        (["--folder", "nowhere"], "--folder nowhere cannot be entered: No such file or directory. Name a folder."),
    ],
)
def test_what_is_not_known_is_refused(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert promptry.run_command(["mcp", *words]) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.out == ""
