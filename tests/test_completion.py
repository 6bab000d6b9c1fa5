"""COMPLETION: what a shell is given to complete with, asked by real shells where they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import promptry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="runs the shells of POSIX")

BASH = """
COMP_WORDS=({words}) COMP_CWORD={place}; COMPREPLY=()
_promptry_completion promptry
printf '%s\\n' "${{COMPREPLY[@]}}" ENDED
"""
# Only an interactive zsh completes: what it would show is printed in the place of its own functions.
ZSH_STARTS = """
autoload -Uz compinit; compinit -u -D
source <(promptry completion zsh)
compadd() { [[ ${@[-1]} == completions ]] && print -l -- $completions }
_describe() { print -l -- ${completions_with_descriptions%%:*} }
"""
ZSH = """
words=({words}) CURRENT={place}+1
_promptry_completion
print ENDED
"""
FISH = """
complete --do-complete {line}
echo ENDED
"""
SHELLS = {
    "bash": ("source <(promptry completion bash)", BASH),
    "zsh": (ZSH_STARTS, ZSH),
    "fish": ("promptry completion fish | source", FISH),
}


@pytest.fixture
def shell_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `promptry` on the path, and go to a folder whose store knows some names."""
    command = shlex.join([sys.executable, promptry.__file__])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "promptry").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (tmp_path / "bin" / "promptry").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "promptry.toml").write_text("")
    for name in ("support/answer", "support/ask", "it's; touch owned", "$(touch owned)", "a b", "*", "-x"):
        promptry.save_prompt(name, f"text of {name}")
    promptry.promote("support/ask", 1, "prod")
    promptry.save_dataset("questions", [{"id": "a"}])
    with promptry.transact() as connection:
        connection.execute("INSERT INTO eval_runs (suite_name) VALUES ('qa'), ('quiz')")
    promptry.close_store()
    return tmp_path


def ask(shell: str, lines: list[str], home: Path) -> list[list[str]]:
    """Return what a shell would complete the last word of each line to."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    script, each = SHELLS[shell]
    for line in lines:
        words = line.split(" ")
        quoted = " ".join(map(shlex.quote, words))
        script += each.format(words=quoted, place=len(words) - 1, line=shlex.quote(line))
    done = subprocess.run(
        [program, *(["-f"] if shell == "zsh" else []), "-c", script],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == "" and not (home / "owned").exists()
    parts = done.stdout.split("ENDED\n")[:-1]
    return [sorted(word.partition("\t")[0] for word in part.splitlines() if word) for part in parts]


LINES = [
    ("promptry mo", ["monitor"]),
    ("promptry prompt s", ["save", "show"]),
    ("promptry run --requ", ["--require-baseline", "--require-power"]),
    ("promptry compare 2 1 --format h", ["html"]),
    ("promptry monitor q", ["qa", "quiz"]),
    ("promptry run qa qu", ["quiz"]),
    ("promptry drift qa q", ["qa", "quiz"]),
    ("promptry runs --suite q", ["qa", "quiz"]),
    ("promptry suites q", ["qa", "quiz"]),
    ("promptry bisect qa", ["qa"]),
    ("promptry prompt show ", ["support/answer", "support/ask"]),  # the others would have to be put between quotes
    ("promptry prompt diff support/an", ["support/answer"]),
    ("promptry votes su", ["support/answer", "support/ask"]),
    ("promptry calls --prompt support/as", ["support/ask"]),
    ("promptry run --compare p", ["prod"]),
    ("promptry dataset show q", ["questions"]),
    ("promptry prompt show z", []),
    ("promptry calls 1", []),
]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell: str, shell_home: Path) -> None:
    lines = dict(LINES if shell == "bash" else LINES[::3])  # what is completed is ours, how the shell is asked is not
    assert dict(zip(lines, ask(shell, list(lines), shell_home), strict=True)) == lines


def completed(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Ask as the script for bash does."""
    asked = {"_PROMPTRY_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return subprocess.run(
        [sys.executable, promptry.__file__],
        cwd=folder,
        env={**os.environ, **asked, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_a_store_that_is_named_is_asked_and_none_is_made(shell_home: Path) -> None:
    empty = shell_home / "empty"
    empty.mkdir()
    store = shell_home / ".promptry" / "store.db"
    assert completed(f"promptry monitor --db {store} q", empty).stdout.split() == ["plain,qa", "plain,quiz"]
    assert completed(f"promptry --db {store} monitor q", empty).stdout.split() == ["plain,qa", "plain,quiz"]
    assert completed("promptry monitor q", empty, PROMPTRY_DB=str(store)).stdout.split() == ["plain,qa", "plain,quiz"]
    done = completed(f"promptry monitor --db {empty / 'none.db'} q", empty)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert list(empty.iterdir()) == [] and not (Path("~").expanduser() / ".promptry").exists()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["promptry.toml", ".promptry/store.db"])
def test_what_is_broken_completes_nothing_and_says_nothing(broken: str, shell_home: Path) -> None:
    (shell_home / broken).write_text("[stor\n" * 100)
    done = completed("promptry monitor q", shell_home)
    assert (done.returncode, done.stderr) == (0, "")
    assert completed("promptry moni", shell_home).stdout.split() == ["plain,monitor"]


def test_many_names_are_no_long_wait(shell_home: Path) -> None:
    with promptry.transact() as connection:
        rows = [(f"p{number}", number) for number in range(20_000)]
        connection.executemany(
            "INSERT INTO prompts (name, version, content, hash, created_at) VALUES (?, 1, 'a', ?, '2026')", rows
        )
    began = time.monotonic()
    assert len(promptry.find_names("prompt", "p1")) == 1000
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("words", "shell", "said"),
    [
        (["tcsh"], "", "There is no completion for 'tcsh'. It takes bash, zsh or fish."),
        (["powershell"], "/bin/bash", "There is no completion for 'powershell'."),
        ([], "/usr/bin/tcsh", "There is no completion for 'tcsh'."),
        ([], "", "There is no completion without a shell: SHELL is not set."),
    ],
)
def test_another_shell_is_one_sentence_and_exits_2(
    words: list[str], shell: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", shell)
    assert promptry.run_command(["completion", *words]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.startswith(f"promptry: {said}") and out.err.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_that_one_uses_is_the_default(
    shell: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    texts = []
    for words in ([], [shell]):
        assert promptry.run_command(["completion", *words]) == 0
        texts.append(capfd.readouterr().out)
    assert texts[0] == texts[1] and f"_PROMPTRY_COMPLETE={shell}_complete" in texts[0]
