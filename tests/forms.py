"""The forms that promptry comes in, and a team's environment for each Python that this machine has."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_build import OUTSIDE, PROJECT, ROOT, build, found_pythons

PLACE = build.BUILD / "journeys"
TEAM_PACKAGES = ("humanize", "orjson")  # the team's own: one of Python, one compiled; promptry has neither
EXTRAS = "mcp,semantic"
NAMES = ("source", "copied file", "zipapp", "wheel", "executable")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


class Form(NamedTuple):
    """How promptry is called in one form, which file a suite gets as `promptry`, and what an application needs to."""

    name: str
    command: tuple[str, ...]
    module: str
    environment: dict[str, str]


@contextmanager
def held(name: str) -> Iterator[None]:
    """Hold a lock of this checkout for the block, so that of several test processes one makes what all need."""
    import fcntl

    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def python_of(version: str) -> str:
    """Return the interpreter of a version, or skip the test where there is none."""
    major, minor = map(int, version.split("."))
    place = found_pythons().get((major, minor))
    return place or pytest.skip(f"there is no Python {version} here")


@functools.cache
def team_python(version: str, wheel: Path) -> Path:
    """Return the Python of a team's environment, made once: with the wheel, its extras, and the team's own packages.

    What stands there is used again as long as it is what is wanted; of a new wheel only that is installed.
    """
    folder = PLACE / f"python{version}"
    python, stamp = folder / "bin" / "python", folder / "made.json"
    place = python_of(version)
    facts: dict[str, Any] = {"python": os.path.realpath(place), "project": PROJECT["project"], "team": TEAM_PACKAGES}
    wanted = {"packages": _hash(json.dumps(facts, sort_keys=True).encode()), "wheel": _hash(wheel.read_bytes())}
    with held(folder.name):
        known = json.loads(stamp.read_text()) if stamp.is_file() else {}
        if known.get("packages") != wanted["packages"]:
            subprocess.run([place, "-m", "venv", "--clear", folder], check=True, env=OUTSIDE, timeout=180)
            _install(python, f"{wheel}[{EXTRAS}]", *TEAM_PACKAGES)
        elif known != wanted:
            _install(python, "--no-deps", "--force-reinstall", str(wheel))
        stamp.write_text(json.dumps(wanted))
    return python


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _install(python: Path, *words: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--retries=1", "--only-binary=:all:", *words]
    done = subprocess.run(command, env=OUTSIDE, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"the team's packages cannot be installed for {python}: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr


def form_of(name: str, made: Any, version: str, folder: Path) -> Form:
    """Return a form as a team calls it that works in a folder, with the environment of its Python."""
    python = team_python(version, made("wheel"))
    if name == "source":
        source = str(ROOT / "promptry.py")
        return Form(name, (str(python), source), source, {"PYTHONPATH": str(ROOT)})
    if name == "copied file":
        (folder / "promptry.py").write_bytes(made("module").read_bytes())
        return Form(name, (str(python), "promptry.py"), str(folder / "promptry.py"), {})
    if name == "zipapp":
        packed = str(made("zipapp"))
        return Form(name, (str(python), packed), packed, {"PYTHONPATH": packed})
    installed = str(next(python.parent.parent.glob("lib/python*/site-packages")) / "promptry.py")
    if name == "wheel":
        return Form(name, (str(python.parent / "promptry"),), installed, {})
    # An application of the team's imports what it has installed; a suite gets what the executable carries.
    return Form(name, (str(made("binary")),), f"{os.sep}vendor", {})
