"""A small honest runner of composite actions: the steps' own scripts, run by bash in an environment like GitHub's.

It knows the part of GitHub's language that action.yml uses and refuses the rest. Steps that `use` another action are
taken over by stand-ins: functions from what stands under `with` to outputs. What a script prints is read for commands
as the runner reads it, from both streams, and what it writes to GITHUB_OUTPUT as the runner parses it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|==|!=|&&|\|\||[()]|[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)")
_KEYS = {"name", "id", "if", "shell", "env", "run", "working-directory", "uses", "with", "continue-on-error"}
StandIn = Callable[[dict[str, str]], dict[str, str]]


def evaluate(text: str, contexts: dict[str, Any]) -> Any:
    """Return what an expression is; raises ValueError for what is not known here."""
    tokens, place = [], 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"{text!r} cannot be read from {text[place:]!r} on")
        tokens.append(found[1])
        place = found.end()
    value = _either(tokens, contexts)
    if tokens:
        raise ValueError(f"{text!r} goes on with {tokens}")
    return value


def _either(tokens: list[str], contexts: dict[str, Any], sign: str = "||") -> Any:
    """Read what stands around || or, which binds closer, &&: the side that decides is the value."""
    read = _compared if sign == "&&" else partial(_either, sign="&&")
    value = read(tokens, contexts)
    while tokens[:1] == [sign]:
        tokens.pop(0)
        other = read(tokens, contexts)
        value = other if bool(value) == (sign == "&&") else value
    return value


def _compared(tokens: list[str], contexts: dict[str, Any]) -> Any:
    value = _single(tokens, contexts)
    if tokens[:1] in (["=="], ["!="]):
        sign, other = tokens.pop(0), _single(tokens, contexts)
        same = str(value).lower() == str(other).lower()  # GitHub compares texts without their case
        return same if sign == "==" else not same
    return value


def _single(tokens: list[str], contexts: dict[str, Any]) -> Any:
    token = tokens.pop(0)
    if token == "(":
        value = _either(tokens, contexts)
        assert tokens.pop(0) == ")"
        return value
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if tokens[:2] == ["(", ")"]:
        del tokens[:2]
        return contexts["functions"][token]
    value: Any = contexts
    first, *names = token.split(".")
    value = contexts[first]
    for name in names:
        value = value.get(name, "") if isinstance(value, dict) else ""  # as GitHub: what is not there is empty
    return value


def filled(text: Any, contexts: dict[str, Any]) -> str:
    """Return a value with its expressions in place."""
    put = re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1], contexts)), str(text))
    return {"True": "true", "False": "false"}.get(put, put)


class Command(NamedTuple):
    """A line that the runner took for a command."""

    name: str
    properties: dict[str, str]
    message: str


class Outcome(NamedTuple):
    """What came of an action: the exit code of the step that failed, or 0, and all it left behind."""

    code: int
    outputs: dict[str, str]
    summary: str
    log: str
    commands: list[Command]
    ran: list[str]
    steps: dict[str, dict[str, str]]

    @property
    def annotations(self) -> list[Command]:
        return [one for one in self.commands if one.name in {"error", "warning", "notice"}]


def read_commands(log: str) -> list[Command]:
    """Return the lines that the runner would take for commands, where it was not told to stop."""
    found, stopped = [], ""
    for line in log.splitlines():
        if stopped:
            stopped = "" if line.strip() == f"::{stopped}::" else stopped
            continue
        told = re.match(r"\s*::([A-Za-z-]+)(?: ([^:]*(?:[^:]|:(?!:))*?))?::(.*)$", line)
        older = re.search(r"##\[([A-Za-z-]+)[^\]]*\](.*)", line)
        if told is None and older is None:
            continue
        if told is None:
            found.append(Command(older[1], {}, older[2]))  # type: ignore[index]
            continue
        if told[1] == "stop-commands":
            stopped = told[3]
            continue
        pairs = dict(pair.partition("=")[::2] for pair in (told[2] or "").split(",") if pair)
        found.append(Command(told[1], {key: unescape(value) for key, value in pairs.items()}, unescape(told[3])))
    return found


def unescape(text: str) -> str:
    """Return a value of a command as the runner reads it."""
    for sign, code in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C"), ("%", "%25")):
        text = text.replace(code, sign)
    return text


def read_outputs(path: Path) -> dict[str, str]:
    """Parse a file of outputs: NAME=VALUE, or NAME<<END, lines, END; raises ValueError for anything else."""
    found, lines = {}, path.read_text(encoding="utf-8").split("\n")
    while lines:
        line = lines.pop(0)
        if not line:
            continue
        name, mark, rest = re.match(r"([^=<]+)(<<|=)(.*)", line).groups()  # type: ignore[union-attr]
        if mark == "=":
            found[name] = rest
            continue
        value = []
        while lines[0] != rest:
            value.append(lines.pop(0))
        lines.pop(0)
        found[name] = "\n".join(value)
    return found


class Runner(NamedTuple):
    """A machine that runs actions: its folders, its environment, and the stand-ins by the name of what is used."""

    workspace: Path
    temporary: Path
    environment: dict[str, str]
    github: dict[str, str]
    stand_ins: dict[str, StandIn]

    def run(self, folder: Path, given: dict[str, str]) -> Outcome:
        """Run the composite action of a folder with inputs."""
        action = yaml.safe_load((folder / "action.yml").read_text(encoding="utf-8"))
        contexts: dict[str, Any] = {"github": self.github, "runner": {"temp": str(self.temporary)}, "steps": {}}
        assert given.keys() <= action["inputs"].keys(), "an input that there is not"
        contexts["inputs"] = {
            name: given.get(name, filled(told.get("default", ""), contexts)) for name, told in action["inputs"].items()
        }
        assert action["runs"]["using"] == "composite"
        code, summary, log, ran = 0, "", "", []
        for step in action["runs"]["steps"]:
            assert step.keys() <= _KEYS, step.keys() - _KEYS
            contexts["functions"] = {"always": True, "failure": code != 0, "success": code == 0}
            condition = str(step.get("if", "success()"))
            wanted = evaluate(condition, contexts)
            if not wanted or (code and "always()" not in condition and "failure()" not in condition):
                continue
            ran.append(step["name"])
            if "uses" in step:
                outputs = self.use(step, contexts)
            else:
                told = self.run_script(step, contexts, folder)
                outputs, summary, log = told[1], summary + told[2], log + told[3]
                code = code or (0 if step.get("continue-on-error") else told[0])
            contexts["steps"][step.get("id", step["name"])] = {"outputs": outputs}
        outputs = {name: filled(told["value"], contexts) for name, told in action.get("outputs", {}).items()}
        steps = {name: told["outputs"] for name, told in contexts["steps"].items()}
        return Outcome(code, outputs, summary, log, read_commands(log), ran, steps)

    def use(self, step: dict[str, Any], contexts: dict[str, Any]) -> dict[str, str]:
        """Have the stand-in of what a step uses do it."""
        given = {key: filled(value, contexts) for key, value in step.get("with", {}).items()}
        return self.stand_ins[step["uses"].partition("@")[0]](given)

    def run_script(
        self, step: dict[str, Any], contexts: dict[str, Any], folder: Path
    ) -> tuple[int, dict[str, str], str, str]:
        """Run the script of a step; return its exit code, outputs, summary and log."""
        assert step["shell"] == "bash" and "${{" not in step["run"]
        files = self.temporary / "_runner"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir(parents=True)
        for name in ("output", "summary"):
            (files / name).touch()
        (files / "script.sh").write_text(step["run"], encoding="utf-8")
        own = {"GITHUB_OUTPUT": str(files / "output"), "GITHUB_STEP_SUMMARY": str(files / "summary")}
        own |= {"GITHUB_ACTION_PATH": str(folder)}
        told = {key: filled(value, contexts) for key, value in step.get("env", {}).items()}
        place = filled(step.get("working-directory", "."), contexts)
        done = subprocess.run(
            [shutil.which("bash") or "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", files / "script.sh"],
            cwd=os.path.join(self.workspace, place),
            env={**self.environment, **own, **told},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, read_outputs(files / "output"), (files / "summary").read_text(), done.stdout
