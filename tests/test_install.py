"""install.sh, run by each shell that is here against a fake of the releases on the loopback.

Another system or CPU is a `uname` of our own that comes first on the path.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import FakeGitHub, serve_github
from served import ROOT

SCRIPT = ROOT / "install.sh"
SHELLS = [name for name in ("sh", "dash", "bash") if shutil.which(name)]
GOOD = b"#!/bin/sh\necho promptry 1.2.3\n"
OLD = b"#!/bin/sh\necho promptry 1.0.0\n"
NEEDED = [
    "uname",
    "ldd",
    "grep",
    "mkdir",
    "mktemp",
    "rm",
    "mv",
    "chmod",
    "awk",
    "cut",
    "tr",
    "sed",
    "sh",
    "touch",
    "env",
]
NEEDED += ["dirname", "cat"]


class Machine:
    """A home, a path of chosen programs, and the fake that releases are on."""

    def __init__(self, folder: Path, fake: FakeGitHub) -> None:
        self.home, self.programs, self.fake = folder / "home", folder / "programs", fake
        self.home.mkdir(exist_ok=True)
        self.programs.mkdir()
        self.program = self.home / ".local" / "bin" / "promptry"
        for name in [*NEEDED, "curl", "sha256sum"]:
            self.link(name)

    def link(self, name: str) -> None:
        """Put a program of this machine on the path."""
        (self.programs / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not here"))

    def write(self, name: str, script: str) -> None:
        """Put a program of our own on the path, in place of what is there."""
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def pretend(self, system: str, cpu: str) -> None:
        """Have uname name another system and CPU."""
        self.write("uname", f'if [ "$1" = -s ]; then echo {system}; else echo {cpu}; fi')

    def install(self, *words: str, shell: str = "sh", script: bytes | None = None, **more: str) -> Any:
        """Run the script, or a text of it from stdin as `curl | sh` does."""
        environment = {"PATH": str(self.programs), "HOME": str(self.home), "no_proxy": "*"}
        environment |= {"PROMPTRY_SERVER": self.fake.url, "PROMPTRY_REPOSITORY": "acme/promptry"}
        environment |= {"PROMPTRY_VERSION": "v1.2.3", **more}
        return subprocess.run(
            [shutil.which(shell) or shell, *([str(SCRIPT), *words] if script is None else ["-s", *words])],
            env={name: value for name, value in environment.items() if value},
            cwd=self.home,
            input=script,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def has_only(self, *names: str) -> bool:
        """Tell whether the folder of programs holds just these, and nothing that was left behind."""
        return sorted(os.listdir(self.program.parent)) == sorted(names)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Give a machine, and a release for Linux and others."""
    with serve_github() as fake:
        files = {f"promptry-{name}": GOOD for name in ("linux-x64", "linux-arm64", "macos-arm64", "macos-x64")}
        fake.add_release("acme/promptry", "v1.2.3", {**files, "promptry-windows-x64.exe": GOOD})
        yield Machine(tmp_path, fake)


@pytest.mark.parametrize("shell", SHELLS)
def test_it_is_installed_for_this_user_and_no_profile_is_touched(machine: Machine, shell: str) -> None:
    for name in (".profile", ".bashrc", ".zshrc"):
        (machine.home / name).write_text("mine\n")
    done = machine.install(shell=shell)
    assert (done.returncode, done.stderr) == (0, b"") and machine.program.read_bytes() == GOOD
    assert machine.program.stat().st_mode & 0o777 == 0o755 and machine.has_only("promptry")
    assert done.stdout.decode().splitlines() == [
        f"{machine.program} is promptry 1.2.3.",
        f'Add it to your PATH: export PATH="{machine.program.parent}:$PATH"',
    ]
    assert sorted(os.listdir(machine.home)) == [".bashrc", ".local", ".profile", ".zshrc"]
    assert {(machine.home / name).read_text() for name in (".profile", ".bashrc", ".zshrc")} == {"mine\n"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_was_cut_on_its_way_does_nothing(machine: Machine, shell: str) -> None:
    text = SCRIPT.read_bytes()
    lines = text.splitlines(keepends=True)
    cuts = [b"".join(lines[:number]) for number in range(0, len(lines) - 1, 3)]
    for cut in [*cuts, *(text[:-count] for count in range(2, 28))]:  # that without its last line end is whole
        machine.install(shell=shell, script=cut)
        assert not (machine.home / ".local").exists(), cut[-60:]
    assert machine.install(shell=shell, script=text).returncode == 0 and machine.program.is_file()


def test_an_older_one_is_replaced_at_once_and_an_equal_one_is_not_fetched_again(machine: Machine) -> None:
    machine.program.parent.mkdir(parents=True)
    machine.program.write_bytes(OLD)
    with machine.program.open("rb") as running:  # a program that runs keeps the file it was started from
        assert machine.install().returncode == 0
        assert running.read() == OLD and machine.program.read_bytes() == GOOD
    machine.fake.requests.clear()
    again = machine.install(PATH=f"{machine.programs}:{machine.program.parent}")
    assert again.stdout.decode() == f"{machine.program} is promptry v1.2.3 already.\n"
    assert [path.rpartition("/")[2] for path in machine.fake.asked("GET")] == ["SHA256SUMS"]


def test_what_does_not_have_the_promised_checksum_replaces_nothing(machine: Machine) -> None:
    machine.program.parent.mkdir(parents=True)
    machine.program.write_bytes(OLD)
    machine.fake.releases["acme/promptry"]["v1.2.3"]["promptry-linux-x64"] = b"#!/bin/sh\ntouch harm\n"
    done = machine.install()
    said, wanted = done.stderr.decode(), hashlib.sha256(GOOD).hexdigest()
    assert done.returncode == 3 and said.startswith("install.sh: promptry-linux-x64 has the checksum ")
    assert f"{wanted} is promised" in said and machine.program.read_bytes() == OLD and machine.has_only("promptry")
    assert not [*machine.home.rglob("harm")]


def test_what_does_not_start_here_replaces_nothing(machine: Machine) -> None:
    machine.fake.add_release(
        "acme/promptry", "v1.2.3", {"promptry-linux-x64": b"#!/bin/sh\necho no GLIBC >&2; exit 1\n"}
    )
    done = machine.install()
    assert done.returncode == 3 and b"does not start here, and nothing is installed: no GLIBC" in done.stderr
    assert machine.has_only()


SYSTEMS = {
    "Linux x86_64": "promptry-linux-x64",
    "Linux aarch64": "promptry-linux-arm64",
    "Darwin arm64": "promptry-macos-arm64",
    "Darwin x86_64": "promptry-macos-x64",
    "MINGW64_NT-10.0-20348 x86_64": "promptry-windows-x64.exe",
    "MSYS_NT-10.0-26100 aarch64": "promptry-windows-x64.exe",
}


@pytest.mark.parametrize(("system", "file"), SYSTEMS.items())
def test_the_file_is_that_of_the_system_and_cpu(machine: Machine, system: str, file: str) -> None:
    machine.pretend(*system.split())
    assert machine.install().returncode == 0
    assert machine.fake.asked("GET")[-1].endswith(f"/{file}")
    assert machine.has_only("promptry.exe" if file.endswith(".exe") else "promptry")


def test_a_shell_that_runs_translated_on_a_mac_gets_what_the_mac_is(machine: Machine) -> None:
    machine.pretend("Darwin", "x86_64")
    machine.write("sysctl", "echo 1")
    assert machine.install().returncode == 0 and machine.fake.asked("GET")[-1].endswith("/promptry-macos-arm64")


def musl(machine: Machine) -> None:
    machine.write("ldd", "echo 'musl libc (x86_64)' >&2; exit 1")


def unwritable(machine: Machine) -> None:
    (machine.home / ".local").write_text("a file")


REFUSED: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "musl": (
        musl,
        {},
        2,
        "This system has musl, and the executable needs glibc; any Python from 3.11 on runs promptry",
    ),
    "another system": (lambda at: at.pretend("FreeBSD", "amd64"), {}, 2, "There is no executable for FreeBSD; any"),
    "another CPU": (lambda at: at.pretend("Linux", "riscv64"), {}, 2, "There is no executable for the CPU riscv64;"),
    "no such release": (None, {"PROMPTRY_VERSION": "v9.9.9"}, 3, "There is no release v9.9.9 of acme/promptry at http"),
    "no server": (None, {"PROMPTRY_SERVER": "http://127.0.0.1:9"}, 3, "There is no release v1.2.3 of acme/promptry"),
    "a name that is none": (None, {"PROMPTRY_VERSION": "v1/../$(touch harm)"}, 2, "The version 'v1/../$(touch harm)'"),
    "from the repository": (None, {"PROMPTRY_VERSION": ""}, 2, "This copy is from the repository and names no release"),
    "no curl": (lambda at: (at.programs / "curl").unlink(), {}, 2, "Neither curl nor wget is here"),
    "no sums": (lambda at: (at.programs / "sha256sum").unlink(), {}, 2, "Neither sha256sum nor shasum is here"),
    "a folder that is none": (unwritable, {}, 2, ".local/bin cannot be made: set PROMPTRY_INSTALL_DIR"),
}


@pytest.mark.parametrize(("change", "given", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_one_sentence(
    machine: Machine, change: Any, given: dict[str, str], code: int, said: str
) -> None:
    if change is not None:
        change(machine)
    done = machine.install(**given)
    assert said in done.stderr.decode() and not machine.program.exists() and not [*machine.home.rglob("harm")]
    assert done.returncode == code, done.stderr
    assert done.stderr.decode().splitlines()[-1].startswith("install.sh: ")


def test_a_release_without_this_system_s_file_is_told(machine: Machine) -> None:
    machine.fake.add_release("acme/promptry", "v1.2.3", {"promptry-linux-x64.sig": GOOD})
    done = machine.install()
    assert done.returncode == 2 and b"The release v1.2.3 has no promptry-linux-x64;" in done.stderr


@pytest.mark.parametrize("given", ["1.2.3", "v1.2.3", "latest"])
def test_a_release_is_named_on_the_command_line_with_or_without_its_v(machine: Machine, given: str) -> None:
    assert machine.install(given, PROMPTRY_VERSION="v0.0.1").returncode == 0
    assert machine.fake.asked("GET")[-1].endswith("/releases/download/v1.2.3/promptry-linux-x64")


def test_wget_and_shasum_do_where_there_is_no_other(machine: Machine) -> None:
    machine.link("wget")
    machine.write("shasum", f'shift 2; exec "{shutil.which("sha256sum")}" "$@"')
    for name in ("curl", "sha256sum"):
        (machine.programs / name).unlink()
    assert machine.install().returncode == 0 and machine.program.read_bytes() == GOOD


def test_another_folder_is_taken_also_one_with_odd_signs(machine: Machine) -> None:
    folder = machine.home / "my $(touch harm) 'bin'"
    done = machine.install(PROMPTRY_INSTALL_DIR=str(folder))
    assert done.returncode == 0 and (folder / "promptry").read_bytes() == GOOD and not [*machine.home.rglob("harm")]


@pytest.mark.slow
def test_a_server_that_is_busy_is_asked_again(machine: Machine) -> None:
    machine.fake.refusals += [("GET", 503, {"Retry-After": "0"}, "busy")]
    assert machine.install().returncode == 0
