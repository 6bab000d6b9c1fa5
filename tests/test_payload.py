"""PAYLOAD: what the executable carries packed is unpacked once, whole, into a folder of this user alone, or not used.

The executable here is a file laid out as PyInstaller's; tests/test_binary.py asks the same of the built one.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import promptry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, owners and locks of POSIX")

FILES = {
    "packedthing/__init__.py": b"import pathlib\nDATA = (pathlib.Path(__file__).parent / 'data.txt').read_text()\n",
    "packedthing/data.txt": b"what it carries",
    "packed_thing-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: packed-thing\nVersion: 1.2\n",
    "big.bin": bytes(range(256)) * 4096,
}
Facts = dict[str, dict[str, Any]]


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def write_executable(target: Path, *parts: bytes, behind: bytes = b"") -> None:
    """Write a file as PyInstaller does: a program, its entries, the table of them, and the cookie that finds it."""
    body, table = b"", b""
    for kind, name, data in (
        (b"b", b"lib.so", b"library"),
        *((b"z", b"PYZ.pyz", data) for data in (b"python", *parts)),
    ):
        padded = name.ljust(16 * (len(name) // 16 + 1) - 2, b"\0")
        table += struct.pack("!IIIIBc", 18 + len(padded), len(body), len(data), len(data), 0, kind) + padded
        body += data
    size = len(body) + len(table) + 88
    cookie = struct.pack("!8sIIII64s", b"MEI\014\013\012\013\016", size, len(body), len(table), 311, b"libpython")
    target.write_bytes(b"\x7fELF program" + body + table + cookie + behind)


def digest(files: dict[str, bytes], folder: Path) -> str:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    found = promptry.digest_of(folder)
    shutil.rmtree(folder)
    return found


def forget() -> None:
    promptry._parts.cache_clear()
    promptry._find_part.cache_clear()
    promptry._complain.cache_clear()


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the cache of an executable that this process is, as far as PAYLOAD can tell, with two parts."""
    start, cache = tmp_path / "_MEI", tmp_path / "cache"
    start.mkdir(mode=0o700)
    cache.mkdir()
    facts = {
        "first": {"digest": digest({"a.txt": b"a"}, tmp_path / "one"), "modules": [], "distributions": []},
        "thing": {
            "digest": digest(FILES, tmp_path / "two"),
            "modules": ["packedthing"],
            "distributions": ["packed-thing"],
        },
    }
    (start / "parts.json").write_text(json.dumps(facts))
    write_executable(tmp_path / "program", zipped({"a.txt": b"a"}), zipped(FILES))
    monkeypatch.setattr(sys, "_MEIPASS", str(start), raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "program"))
    monkeypatch.setattr(promptry, "_started", [])
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setenv("PROMPTRY_CACHE", str(cache))
    forget()
    yield cache / "promptry"
    forget()
    sys.modules.pop("packedthing", None)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- where it lies --------------------------------------------------------------------------------


def test_a_part_is_unpacked_once_into_a_folder_of_its_user_alone(frozen: Path) -> None:
    folder = promptry.part_folder("thing")
    assert contents(folder) == FILES
    assert folder.parent == frozen and names_in(frozen) == [folder.name]
    assert frozen.stat().st_mode & 0o777 == 0o700
    before = {path: path.stat().st_ino for path in frozen.rglob("*")}
    forget()
    assert promptry.part_folder("thing") == folder
    assert {path: path.stat().st_ino for path in frozen.rglob("*")} == before


@pytest.mark.parametrize(
    ("platform", "environment", "wanted"),
    [
        ("linux", {"PROMPTRY_CACHE": "/somewhere"}, "/somewhere/promptry"),
        ("darwin", {"PROMPTRY_CACHE": "/somewhere"}, "/somewhere/promptry"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/promptry"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/promptry"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache/promptry"),
        ("darwin", {"XDG_CACHE_HOME": "/caches"}, "/home/me/Library/Caches/promptry"),
    ],
)
def test_the_place_of_the_parts_is_where_the_system_has_caches(
    platform: str, environment: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("PROMPTRY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    assert str(promptry.cache_folder()) == wanted


def test_nothing_is_served_where_nothing_is_frozen() -> None:
    code = "import sys; before = list(sys.meta_path); import promptry; print(before == sys.meta_path)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(promptry.__file__).parent, capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr


# --- what is found --------------------------------------------------------------------------------


def test_a_packed_package_is_imported_with_its_data_and_says_its_version(frozen: Path) -> None:
    promptry._serve_parts()
    assert metadata.version("packed-thing") == metadata.version("packed_thing") == "1.2"
    import packedthing  # type: ignore[import-not-found]

    assert packedthing.DATA == "what it carries"
    assert [found.version for found in metadata.distributions(name="packed-thing")] == ["1.2"]
    with pytest.raises(ModuleNotFoundError):
        import nothingofthatname  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("nothingofthatname")
    assert not list(frozen.glob("first-*"))


def test_another_program_that_is_frozen_with_promptry_has_no_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    forget()
    assert promptry._find_packed("packedthing") is None
    forget()


def test_a_file_of_somebody_elses_is_no_list_of_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain Python has no folder of a start, and works in a folder that may hold a parts.json."""
    (tmp_path / "parts.json").write_text('{"wheel": 4}')
    monkeypatch.chdir(tmp_path)
    forget()
    assert not promptry.is_executable() and os.path.isabs(promptry.temporary_folder())
    assert promptry.scratch_folder() is None
    forget()


def test_another_executable_in_the_place_of_this_one_is_seen(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(sys.executable)
    assert promptry.is_executable() and not promptry.is_replaced()
    monkeypatch.setattr(promptry, "_started", [program.stat()])
    assert not promptry.is_replaced()
    newer = program.with_name("newer")
    newer.write_bytes(program.read_bytes())
    newer.replace(program)
    assert promptry.is_replaced()
    program.unlink()
    assert not promptry.is_replaced()


@pytest.mark.slow
def test_no_bit_that_is_wrong_is_more_than_one_sentence(frozen: Path) -> None:
    program = Path(sys.executable)
    whole = program.read_bytes()
    start = whole.rindex(b"PK\x03\x04", 0, whole.index(b"big.bin"))
    places = [*range(start, start + 200, 7), *range(len(whole) - 400, len(whole) - 90, 5)]
    for place in places:
        program.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        forget()
        try:
            assert contents(promptry.part_folder("thing")).keys() >= FILES.keys(), place
        except promptry.HelperMissing as error:
            assert "is damaged" in str(error) or "cannot be used" in str(error), place
        shutil.rmtree(frozen, ignore_errors=True)


def test_a_signature_behind_the_archive_does_not_hide_it(frozen: Path) -> None:
    write_executable(Path(sys.executable), zipped({"a.txt": b"a"}), zipped(FILES), behind=b"\0signature" * 300_000)
    assert contents(promptry.part_folder("thing")) == FILES


# --- what is not used -----------------------------------------------------------------------------


def truncate(folder: Path) -> None:
    (folder / "big.bin").write_bytes(FILES["big.bin"][:-1])


def tamper(folder: Path) -> None:
    file = folder / "packedthing" / "__init__.py"
    times = file.stat()
    file.write_bytes(FILES["packedthing/__init__.py"].replace(b"pathlib", b"pathlab"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def add(folder: Path) -> None:
    (folder / "os.py").write_text("print('ours')\n")


def drop(folder: Path) -> None:
    (folder / "packedthing" / "data.txt").unlink()


@pytest.mark.parametrize("harm", [truncate, tamper, add, drop])
def test_a_part_that_is_not_as_it_was_packed_is_unpacked_anew(harm: Callable[[Path], None], frozen: Path) -> None:
    folder = promptry.part_folder("thing")
    harm(folder)
    forget()
    assert contents(promptry.part_folder("thing")) == FILES
    assert names_in(frozen) == [folder.name]


def test_byte_code_that_a_python_keeps_in_a_part_does_no_harm(frozen: Path) -> None:
    folder = promptry.part_folder("thing")
    (folder / "packedthing" / "__pycache__").mkdir()
    (folder / "packedthing" / "__pycache__" / "a.pyc").write_bytes(b"code")
    forget()
    promptry.part_folder("thing")
    assert (folder / "packedthing" / "__pycache__" / "a.pyc").exists()


def open_place(place: Path) -> None:
    place.mkdir()
    place.chmod(0o755)


def place_of_another(place: Path) -> None:
    place.mkdir(mode=0o700)
    try:
        os.chown(place, 12345, 12345)
    except PermissionError:
        pytest.skip("only root can give a folder away")


def file_as_place(place: Path) -> None:
    place.write_text("")


def link_as_place(place: Path) -> None:
    (place.parent / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(place.parent / "elsewhere")


def no_parent(place: Path) -> None:
    place.parent.rmdir()
    place.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (open_place, "is open to others (its mode is 0755, and not 0700)"),
        (place_of_another, "belongs to another user"),
        (file_as_place, "cannot be used (File exists)"),
        (link_as_place, "is no folder"),
        (no_parent, "cannot be used (Not a directory)"),
    ],
)
def test_a_place_that_is_not_ours_alone_is_not_used_and_that_is_said_once(
    spoil: Callable[[Path], None], said: str, frozen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(frozen)
    for _ in range(2):
        folder = promptry.part_folder("thing")
        assert contents(folder) == FILES and folder.is_relative_to(sys._MEIPASS)  # type: ignore[attr-defined]
    told = capsys.readouterr().err
    assert said in told and "PROMPTRY_CACHE" in told and told.count("\n") == 1
    assert not frozen.is_dir() or names_in(frozen) == []


def test_where_no_place_can_be_used_an_import_says_why(frozen: Path) -> None:
    frozen.write_text("")
    Path(sys._MEIPASS, "promptry").write_text("")  # type: ignore[attr-defined]
    promptry._serve_parts()
    with pytest.raises(promptry.HelperMissing) as caught:
        promptry.part_folder("thing")
    assert str(caught.value).count("cannot be used (File exists)") == 2
    with pytest.raises(ImportError, match="part 'thing' of this executable cannot be unpacked"):
        import packedthing  # noqa: F401


@pytest.mark.parametrize("change", [b"", b"no archive at all", None])
def test_an_executable_that_was_replaced_while_it_ran_is_one_sentence(change: bytes | None, frozen: Path) -> None:
    if change is None:
        write_executable(
            Path(sys.executable), zipped({"a.txt": b"b"}), zipped({**FILES, "packedthing/data.txt": b"new"})
        )
    else:
        Path(sys.executable).write_bytes(change)
    with pytest.raises(promptry.HelperMissing, match="is damaged, or another than was started"):
        promptry.part_folder("thing")
    assert names_in(frozen) == []


# --- what is cut short, and what happens at once ----------------------------------------------------

CHILD = """
import os, sys, time, promptry
sys._MEIPASS, sys.executable = sys.argv[1:3]
try:
    print(promptry.part_folder("thing"), flush=True)
except promptry.HelperMissing as error:
    print(error, flush=True)
if len(sys.argv) > 3:
    time.sleep(60)
"""


def words_of_child(*more: str, code: str = CHILD) -> list[str]:
    return ["-c", code, sys._MEIPASS, sys.executable, *more]  # type: ignore[attr-defined]


def start_child(python: str, *more: str, code: str = CHILD) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(promptry.__file__).parent)}
    words = [python, *words_of_child(*more, code=code)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def python() -> str:
    return sys.executable


@pytest.mark.slow
def test_of_several_first_uses_at_once_one_unpacks_and_all_find_the_same(python: str, frozen: Path) -> None:
    children = [start_child(python) for _ in range(4)]
    told = [child.communicate(timeout=60) for child in children]
    (folder,) = {out for out, _ in told}
    assert [err for _, err in told] == [""] * 4
    assert contents(Path(folder.strip())) == FILES and names_in(frozen) == [Path(folder.strip()).name]


@pytest.mark.fault
def test_what_a_killed_unpacking_left_is_removed_and_never_used(python: str, frozen: Path) -> None:
    code = CHILD.replace("try:", "promptry.digest_of = lambda folder: time.sleep(60)\ntry:", 1)
    child = start_child(python, code=code)
    until = time.monotonic() + 30
    while not list(frozen.glob("unpacking-*/thing/*")) and time.monotonic() < until:
        time.sleep(0.01)
    child.kill()
    child.communicate()
    (left,) = names_in(frozen)
    assert left.startswith("unpacking-")
    folder = promptry.part_folder("thing")
    assert contents(folder) == FILES and names_in(frozen) == [folder.name]


@pytest.mark.fault
def test_a_disk_that_is_full_leaves_nothing_and_is_one_sentence(python: str, frozen: Path) -> None:
    code = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n" + CHILD
    out, err = start_child(python, code=code).communicate(timeout=60)
    assert out.count("File too large") == 2 and "PROMPTRY_CACHE" in out and out.count("\n") == 1 and err == ""
    assert names_in(frozen) == [] and not list(Path(sys._MEIPASS, "promptry").iterdir())  # type: ignore[attr-defined]


def test_another_version_is_removed_unless_somebody_uses_it(python: str, frozen: Path) -> None:
    used = start_child(python, "stay")
    assert used.stdout is not None
    held = Path(used.stdout.readline().strip())
    (frozen / f"thing-{'0' * 20}").mkdir()
    (frozen / f"first-{'0' * 20}").mkdir()
    try:
        facts = json.loads(Path(sys._MEIPASS, "parts.json").read_bytes())  # type: ignore[attr-defined]
        changed = {**FILES, "packedthing/data.txt": b"of the next version"}
        facts["thing"]["digest"] = digest(changed, frozen.parent / "three")
        Path(sys._MEIPASS, "parts.json").write_text(json.dumps(facts))  # type: ignore[attr-defined]
        write_executable(Path(sys.executable), zipped({"a.txt": b"a"}), zipped(changed))
        folder = promptry.part_folder("thing")
        assert names_in(frozen) == sorted([f"first-{'0' * 20}", held.name, folder.name])
        assert contents(held) == FILES
    finally:
        used.kill()
        used.communicate()
    shutil.rmtree(folder)
    forget()
    assert promptry.part_folder("thing") == folder and not held.exists()


# --- what ended starts left ------------------------------------------------------------------------

WHOLE = {"base_library.zip": b"zip", "lib/a.so": b"a", "libpython.so": b"python", "parts.json": b"{}"}


def without(*names: str, **more: bytes) -> dict[str, bytes]:
    return {**{name: data for name, data in WHOLE.items() if name not in names}, **more}


@pytest.mark.parametrize(
    ("case", "files", "is_removed"),
    [
        ("killed while it was filled", without("base_library.zip", "parts.json"), True),
        ("killed before it held a file", {}, True),
        ("killed while it was emptied", without("lib/a.so"), True),
        ("killed while it was emptied, of its parts first", without("parts.json", "lib/a.so"), True),
        ("killed while it was filled, in its last file", {**WHOLE, "parts.json": b"{"}, True),
        ("killed while it was filled, in a file", {"lib/a.so": b""}, True),
        ("killed while it was filled, in the library", without("parts.json", **{"base_library.zip": b"z"}), True),
        ("of another program, whole, with another library", without("parts.json", **{"base_library.zip": b"y"}), False),
        ("killed while it was emptied, beside a part", {**without("lib/a.so"), "promptry/thing-0/a": b""}, True),
        ("whole, as of a start whose loader was killed", WHOLE, True),
        ("whole, and held by the Python of a killed loader", WHOLE, False),
        ("whole, of another version", {**WHOLE, "parts.json": b"[]"}, False),
        ("emptied, of another version", {**without("lib/a.so"), "parts.json": b"[]"}, False),
        ("of another program", {**without("base_library.zip"), "other.so": b""}, False),
        ("of another program, whole", {**without("parts.json", "lib/a.so"), "libpython.so": b"python 2"}, False),
        ("of a process that runs", {}, False),
        ("of a process whose number was taken again", {}, True),
        ("filled a moment ago", {}, False),
        ("no folder of a start", {}, False),
    ],
)
def test_of_ended_starts_what_nobody_can_run_is_removed(
    case: str, files: dict[str, bytes], is_removed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    number = os.getpid() if case.startswith("of a process") else ended.pid
    left = tmp_path / ("_MEIxyz" if case == "no folder of a start" else f"_MEI{number:08x}AbCdEf")
    for folder, inside in ((tmp_path / "_MEI00000001own", WHOLE), (left, files)):
        folder.mkdir()
        for name, data in inside.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    age = {"filled a moment ago": 0, "of a process whose number was taken again": 4_000}.get(case, 100)
    os.utime(left, (time.time() - age,) * 2)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "_MEI00000001own"), raising=False)
    held = promptry._lock_folder(left, is_shared=True) if "and held" in case else None
    promptry.clear_starts()
    if held:
        os.close(held)
    assert left.exists() is not is_removed
    assert contents(tmp_path / "_MEI00000001own") == WHOLE
