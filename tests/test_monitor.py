"""MONITOR: a suite runs again and again, what changes is told once, and nothing but a signal ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_build import Make, made  # noqa: F401
from test_json import at, read_shapes

import promptry

pytestmark = [
    pytest.mark.slow,  # each starts processes that start others
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
]

EVALS = """
import os, time
from pathlib import Path
from promptry import assert_exact, case, suite, track, track_invocation

mode = Path("mode").read_text()
if mode == "import":
    import nothing_like_this

@suite("qa", prompt="p")
def check():
    track("hello", "p")
    if mode == "kill":
        os.kill(os.getpid(), 9)
    if mode.startswith("wait"):
        with case("first"):
            assert_exact(1, 1)
        Path("going").write_text(str(os.getpid()))
        time.sleep(float(mode[4:]))
    for number in range(4):
        with case(f"c{number}"):
            if mode == "outage":
                raise ConnectionError("the provider is out")
            if mode == "dear":
                track_invocation("p", {"cost_usd": 3.0})
            assert_exact(mode != "bad", True)
"""


LATE = "The run takes longer than 1s: the beats that it misses are left out."


def hear_hangups() -> None:
    """Start as in a terminal, also where these tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Monitor:
    """A running `promptry monitor qa` and the rounds that it has printed as JSON."""

    def __init__(self, folder: Path, *words: str, every: str = "1s", out: Any = None, **env: str) -> None:
        self.err, self.place = (folder / ".err").open("w+"), 0
        self.out = out or (folder / ".out").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, promptry.__file__, "monitor", "qa", "--every", every, "--json", *words],
            cwd=folder,
            env={**os.environ, **env},
            stdout=self.out,
            stderr=self.err,
            preexec_fn=hear_hangups,
        )

    def said(self) -> str:
        return Path(self.err.name).read_text()

    def complaints(self) -> list[str]:
        """Return what was said beside the first line; that a run is late depends on who else is at work here."""
        first, *lines = self.said().splitlines()
        assert first == "Monitoring qa every 1s; Ctrl-C ends."
        return [line for line in lines if line != LATE]

    def rounds(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.out.name).read_text().splitlines(True) if line.endswith("\n")]

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], seconds: float = 40.0) -> dict[str, Any]:
        """Return the first round after those that were waited for that fits."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for found in self.rounds()[self.place :]:
                self.place += 1
                if fits(found):
                    return found
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)
        raise AssertionError(f"{self.rounds()}\n{self.said()}")

    def wait_for_state(self, state: str) -> dict[str, Any]:
        return self.wait_for(lambda found: found["state"] == state)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


Start = Callable[..., Monitor]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "evals.py").write_text(EVALS)
    (folder / "promptry.toml").write_text("")
    (folder / "mode").write_text("ok")
    return folder


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Give a function that starts a monitor in the project; what still runs at the end is killed."""
    started: list[Monitor] = []

    def make(*words: str, **options: Any) -> Monitor:
        started.append(Monitor(project, *words, **options))
        return started[-1]

    yield make
    for monitor in started:
        if monitor.process.poll() is None:
            monitor.process.kill()
            monitor.process.wait()
        monitor.err.close()


def set_mode(project: Path, mode: str) -> None:
    """Change how the suite goes, in one step."""
    (project / "next").write_text(mode)
    (project / "next").replace(project / "mode")


def once(project: Path, *words: str, code: int, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, promptry.__file__, "monitor", "qa", "--once", *words],
        cwd=project,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def is_alive(number: int) -> bool:
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def wait_until(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def store_of(project: Path) -> Path:
    return project / ".promptry" / "store.db"


def locks_of(project: Path) -> list[Path]:
    return sorted((project / ".promptry").glob("*.lock"))


# --- rounds and states


@pytest.mark.parametrize(
    ("mode", "code", "state", "reason"),
    [
        ("ok", 0, "ok", None),
        ("bad", 1, "failing", "4 of 4 cases failed"),
        ("outage", 3, "error", "4 of 4 cases ended in an error"),
        ("import", 3, "error", "The module 'evals' does not import"),
        ("kill", 3, "error", "The run ended with code -9 and saved nothing."),
    ],
)
def test_one_round_exits_with_its_state(mode: str, code: int, state: str, reason: str | None, project: Path) -> None:
    set_mode(project, mode)
    done = once(project, "--json", code=code)
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["state"], found["before"], found["told"]) == (state, "ok", None)
    assert (found["reason"] or "").startswith(reason or "") and bool(found["reason"]) == bool(reason)
    assert [row["now"] for row in found["changes"]] == ([] if state == "ok" else [state])
    assert (found["run_id"] is None) == (mode in {"import", "kill"}) and done.stderr == ""
    for path, keys in read_shapes()["monitor --json"]:
        assert all(set(item) == set(keys) for item in at(found, path)), path
    assert locks_of(project) == []


def test_a_line_of_a_round_is_legible_without_a_terminal(project: Path) -> None:
    line = once(project, code=0).stdout
    assert line.endswith("Z  qa  ok  run 1, score 1.000, verdict -\n") and "\x1b" not in line
    set_mode(project, "import")
    line = once(project, code=3).stdout
    assert "Z  qa  error  no run  ok -> error  The module 'evals' does not import" in line and line.count("\n") == 1


def test_a_regression_is_told_as_one_and_the_tag_may_stand_in_the_settings(project: Path) -> None:
    assert json.loads(once(project, "--json", code=0).stdout)["verdict"] is None
    promptry.use_store(store_of(project))
    promptry.promote("p", 1, "prod")
    (project / "promptry.toml").write_text('[monitor]\ncompare = "prod"\n')
    (project / "evals.py").write_text(EVALS.replace("range(4)", "range(40)"))
    for state, code in (("ok", 0), ("ok", 0), ("regressed", 1)):
        set_mode(project, "ok" if code == 0 else "bad")
        found = json.loads(once(project, "--json", code=code).stdout)
        assert found["state"] == state
    assert found["verdict"] == "regressed" and found["reason"].startswith("the verdict is regressed")
    assert found["changes"][0]["text"] == "ok -> regressed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["qx"], "There is no suite 'qx'. Did you mean 'qa'?"),
        (["qa", "--every", "1w"], "The interval is '1w'"),
        (["qa", "--every", "0s"], "The interval is '0s'"),
        (["qa", "--every", "400d"], "to 365d"),
        ([], "Missing argument 'SUITE'"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_exits_2(words: list[str], said: str, project: Path) -> None:
    done = subprocess.run(
        [sys.executable, promptry.__file__, "monitor", *words], cwd=project, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1] and done.stdout == ""
    assert locks_of(project) == [] and not store_of(project).exists()


def test_a_suite_that_ran_before_and_is_gone_is_an_error_and_no_end(project: Path) -> None:
    once(project, code=0)
    (project / "evals.py").write_text(EVALS.replace('"qa"', '"qb"'))
    assert "There is no suite 'qa'" in once(project, code=3).stdout


def test_it_goes_on_through_whatever_the_suite_does(project: Path, start: Start) -> None:
    monitor = start()
    assert monitor.wait_for_state("ok")["changes"] == []
    for mode, state in (("import", "error"), ("bad", "failing"), ("kill", "error"), ("outage", "error"), ("ok", "ok")):
        set_mode(project, mode)
        monitor.wait_for(lambda found, state=state: found["state"] == state)
    assert monitor.end() == 0
    told = [row["text"] for found in monitor.rounds() for row in found["changes"]]
    assert told == ["ok -> error", "error -> failing", "failing -> error", "error -> ok"]
    assert monitor.complaints() == []
    assert locks_of(project) == []


def test_a_run_that_takes_longer_than_the_interval_overlaps_nothing(project: Path, start: Start) -> None:
    set_mode(project, "wait1.6")
    monitor = start()
    wait_until(lambda: len(monitor.rounds()) >= 3)
    assert monitor.end() == 0
    times = [promptry.seconds_of(found["at"]) or 0.0 for found in monitor.rounds()]
    assert all(later - earlier > 1.6 for earlier, later in zip(times, times[1:], strict=False))
    assert monitor.said().splitlines() == ["Monitoring qa every 1s; Ctrl-C ends.", LATE]


def test_a_budget_is_told_when_it_is_spent_and_when_it_no_longer_is(project: Path, start: Start) -> None:
    once(project, code=0)
    promptry.use_store(store_of(project))
    promptry.set_budget("global", None, "daily", 10.0)
    monitor = start()
    monitor.wait_for_state("ok")
    set_mode(project, "dear")
    found = monitor.wait_for(lambda found: bool(found["changes"]))
    (change,) = found["changes"]
    assert (change["kind"], change["name"], change["now"]) == ("budget", "the daily budget of all calls", "spent")
    assert change["text"] == "the daily budget of all calls is spent: $12.00 of $10.00"
    assert found["spent"] == ["the daily budget of all calls"] and found["state"] == "ok"
    set_mode(project, "ok")
    promptry.set_budget("global", None, "daily", 1000.0)
    found = monitor.wait_for(lambda found: bool(found["changes"]))
    assert [row["text"] for row in found["changes"]] == ["the daily budget of all calls is spent no more"]
    assert monitor.end(signal.SIGTERM) == 0


def test_drift_is_told_when_it_begins_and_when_it_ends(project: Path) -> None:
    once(project, code=0)
    with contextlib.closing(sqlite3.connect(store_of(project))) as raw:
        for scores in ([1.0] * 15 + [0.5] * 14, [1.0] * 29):
            raw.execute("UPDATE eval_runs SET suite_name = 'before'")
            raw.execute("UPDATE eval_runs SET suite_name = 'qa' WHERE id = (SELECT max(id) FROM eval_runs)")
            raw.executemany(
                "INSERT INTO eval_runs (suite_name, overall_score) VALUES ('qa', ?)", [(score,) for score in scores]
            )
            raw.commit()
            (change,) = json.loads(once(project, "--json", code=0).stdout)["changes"]
            told = "drift begins: the scores fell and stay down" if 0.5 in scores else "drift ends"
            assert change["kind"] == "drift" and change["text"] == told


# --- who is told


class Hook:
    """A webhook on loopback: what it was told, and with which status it answers."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.seen.append((hook.status, body))
                said = b"ok" if hook.status == 200 else f"no {self.path}".encode()
                self.send_response(hook.status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/services/T0/B0/s3cret-4711"

    def texts(self) -> list[str]:
        return [body["text"] for status, body in self.seen if status == 200]


@pytest.fixture
def hook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """Run a webhook that the project's settings name."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Hook()
    monkeypatch.setenv("HOOK", found.url)
    (project / "promptry.toml").write_text('[monitor]\nwebhook_env = "HOOK"\n')
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_webhook_is_told_of_changes_alone_as_slack_takes_it(project: Path, hook: Hook, start: Start) -> None:
    (project / "evals.py").write_text(EVALS.replace('"the provider is out"', '"<!channel> & out"'))
    monitor = start()
    monitor.wait_for_state("ok")
    set_mode(project, "bad")
    assert monitor.wait_for_state("failing")["told"] is True
    monitor.wait_for_state("failing")
    set_mode(project, "ok")
    monitor.wait_for_state("ok")
    assert monitor.wait_for_state("ok")["told"] is None
    assert monitor.end() == 0
    assert all(set(body) == {"text"} for _, body in hook.seen)
    first, second = hook.texts()
    assert first.startswith("promptry: qa is failing\n- ok -&gt; failing\nrun ") and "4 of 4 cases failed" in first
    assert second.startswith("promptry: qa is ok\n- failing -&gt; ok\nrun ")


def test_a_text_of_others_calls_nobody_and_gives_no_secret_away(project: Path, hook: Hook) -> None:
    text = "raise RuntimeError('<!channel> & sk-proj-4711abcdefghijklmnopqrst')"
    (project / "evals.py").write_text(text)
    once(project, code=3)
    (told,) = hook.texts()
    assert "<" not in told and "sk-proj" not in told


def test_a_restart_neither_repeats_nor_leaves_out(project: Path, hook: Hook) -> None:
    set_mode(project, "bad")
    once(project, code=1)
    once(project, code=1)
    assert len(hook.texts()) == 1, "told once"
    set_mode(project, "ok")
    subprocess.run([sys.executable, promptry.__file__, "run"], cwd=project, capture_output=True, check=True, timeout=60)
    assert len(hook.texts()) == 1, "a run by hand tells nobody"
    once(project, code=0)
    set_mode(project, "kill")
    once(project, code=3)
    once(project, code=3)
    assert [text.splitlines()[1] for text in hook.texts()] == [
        "- ok -&gt; failing",
        "- failing -&gt; ok",
        "- ok -&gt; error",
    ]


def test_what_was_not_told_is_told_in_a_later_round_and_complained_of_once(
    project: Path, hook: Hook, start: Start
) -> None:
    hook.status = 403
    set_mode(project, "bad")
    monitor = start()
    assert monitor.wait_for_state("failing")["told"] is False
    monitor.wait_for_state("failing")
    set_mode(project, "ok")
    monitor.wait_for_state("ok")
    hook.status = 200
    wait_until(lambda: len(hook.texts()) == 2)
    assert monitor.end() == 0
    assert [text.splitlines()[1] for text in hook.texts()] == ["- ok -&gt; failing", "- failing -&gt; ok"]
    (complaint,) = monitor.complaints()
    assert "webhook" in complaint and "answered 403" in complaint and "later round" in complaint
    assert "4711" not in complaint, "the address is the secret"


@pytest.mark.parametrize("path", ["", "a", "services/T1/s3cret-4711"])
def test_a_complaint_of_a_webhook_is_a_sentence_whatever_its_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, *words: Any, **more: Any) -> None:
        raise promptry.ProviderError(f"{url} answered 403 at /{path}.", "Is the address right?")

    monkeypatch.setattr(promptry, "post_json", fail)
    with pytest.raises(promptry.ProviderError) as caught:
        promptry._post_event(f"https://host/{path}", {"text": "x"})
    said = str(caught.value)
    assert said.startswith("the address answered 403 at /") and "4711" not in said
    assert said.count("[address removed]") == (len(path) > 8)


def test_a_restart_tells_what_could_not_be_told(project: Path, hook: Hook) -> None:
    hook.status = 403
    set_mode(project, "bad")
    assert "answered 403" in once(project, code=1).stderr
    hook.status = 200
    once(project, code=1)
    assert len(hook.texts()) == 1
    once(project, code=1)
    assert len(hook.texts()) == 1


@pytest.mark.parametrize(
    "address", ["", "hooks.slack.com/services/s3cret-4711", "https://ada:s3cret-4711@host/", "http://a b/4711"]
)
def test_a_webhook_without_an_address_is_one_sentence_that_does_not_repeat_it(address: str, project: Path) -> None:
    (project / "promptry.toml").write_text('[monitor]\nwebhook_env = "HOOK"\n')
    done = once(project, code=2, HOOK=address)
    assert "The variable HOOK, which [monitor] webhook_env names," in done.stderr and "4711" not in done.stderr
    shown = subprocess.run(
        [sys.executable, promptry.__file__, "settings", "--json"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
    )
    names = {row["name"]: row["what"] for row in json.loads(shown.stdout)["variables"]}
    assert names["HOOK"] == "the address of the monitor's webhook"


def test_a_command_gets_the_event_on_stdin_and_in_variables_and_nothing_reaches_the_shell(project: Path) -> None:
    name = "q$(touch owned)`touch owned`;touch owned"
    (project / "evals.py").write_text(EVALS.replace('"qa"', json.dumps(name)))
    told = "echo $PROMPTRY_STATE $PROMPTRY_BEFORE $PROMPTRY_RUN $PROMPTRY_SCORE > told"
    line = f"cat > event; {told}; printenv PROMPTRY_TEXT > text"
    (project / "promptry.toml").write_text(f"[monitor]\ncommand = '{line}'\n")
    set_mode(project, "bad")
    done = subprocess.run(
        [sys.executable, promptry.__file__, "monitor", "--once", "--json", "--", name],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    printed, event = json.loads(done.stdout), json.loads((project / "event").read_text())
    assert printed == {**event, "told": True} and event["suite"] == name
    assert (project / "told").read_text().split() == ["failing", "ok", "1", "0.0"]
    assert (project / "text").read_text().rstrip("\n") == event["text"] and not (project / "owned").exists()


@pytest.mark.parametrize(
    ("line", "said"), [("exit 7", "ended with 7"), ("echo why >&2; false", "why"), ("nothing-like-this", "127")]
)
def test_a_command_that_fails_is_said_and_ends_nothing(line: str, said: str, project: Path) -> None:
    (project / "promptry.toml").write_text(f"[monitor]\ncommand = '{line}'\n")
    set_mode(project, "bad")
    done = once(project, code=1)
    assert "the command of [monitor]" in done.stderr.lower() and said in done.stderr


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_TELL_S", 0.3)
    event = dict.fromkeys(("suite", "state", "before", "run_id", "score", "verdict", "text"), "x")
    with pytest.raises(promptry.ProviderError, match="did not answer within 0.3 s"):
        promptry._give_event("sleep 60 & sleep 60", event)
    promptry._give_event("true", {**event, "text": "half \ud800, nul \0"})


# --- one at a time


def test_a_suite_of_a_store_has_one_monitor(project: Path, start: Start) -> None:
    monitor = start()
    monitor.wait_for_state("ok")
    (lock,) = locks_of(project)
    assert lock.stat().st_mode & 0o077 == 0 and lock.read_text() == f"{monitor.process.pid}\n"
    done = once(project, "--json", code=2)
    said = f"'qa' is monitored on this store already, by process {monitor.process.pid}."
    assert json.loads(done.stdout)["error"]["message"] == said and len(done.stderr.splitlines()) == 1
    link = project / "link.db"
    link.symlink_to(store_of(project))
    assert said in once(project, "--db", str(link), code=2).stderr
    once(project, "--db", str(project / "other.db"), code=0)
    assert monitor.end() == 0
    once(project, code=0)


@pytest.mark.fault
def test_the_lock_dies_with_its_process_and_no_number_is_believed(project: Path, start: Start) -> None:
    set_mode(project, "wait60")
    monitor = start()
    wait_until((project / "going").exists)
    child = int((project / "going").read_text())
    assert is_alive(child)
    monitor.process.kill()
    monitor.process.wait()
    (lock,) = locks_of(project)
    lock.write_text(f"{os.getpid()}\n")  # a number that another process has got by now
    set_mode(project, "ok")
    once(project, code=0)
    assert locks_of(project) == []
    wait_until(lambda: not is_alive(child))


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_as_ctrl_c_would_and_exits_0(number: int, project: Path, start: Start) -> None:
    set_mode(project, "wait60")
    monitor = start()
    wait_until((project / "going").exists)
    child = int((project / "going").read_text())
    assert monitor.end(number) == 0 and not is_alive(child) and locks_of(project) == []
    promptry.use_store(store_of(project))
    (run,) = promptry.list_runs()["items"]
    assert not run["complete"] and run["counts"]["pass"] == 1
    assert monitor.complaints() == []


@pytest.mark.fault
@pytest.mark.binary
def test_a_signal_to_the_whole_group_of_an_executable_saves_the_run_too(project: Path, made: Make) -> None:  # noqa: F811
    """It reaches the process that monitors twice: the one that unpacked it passes on what it gets too."""
    for _ in range(3):
        set_mode(project, "wait60")
        (project / "going").unlink(missing_ok=True)
        command = [str(made("binary")), "monitor", "qa", "--every", "1h"]
        with subprocess.Popen(
            command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as starter:
            wait_until((project / "going").exists, 60)
            os.killpg(starter.pid, signal.SIGTERM)
            assert starter.wait(30) == 0
        promptry.use_store(store_of(project))
        run = promptry.list_runs()["items"][0]
        assert not run["complete"] and run["counts"]["pass"] == 1
    assert promptry.list_runs()["total"] == 3


@pytest.mark.fault
def test_what_is_no_lock_of_ours_is_left_alone(project: Path) -> None:
    once(project, code=0)
    name = f"store.db-monitor-{promptry.hash_text('qa')[:12]}.lock"
    place, victim = project / ".promptry" / name, project / "victim"
    victim.write_text("precious")
    for put in (
        lambda: place.symlink_to(victim),
        lambda: os.link(victim, place),
        lambda: os.mkfifo(place),
        place.mkdir,
    ):
        put()
        done = once(project, code=3)
        assert f"{place} cannot be locked" in done.stderr and len(done.stderr.splitlines()) == 1
        place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
    assert victim.read_text() == "precious"
    if os.geteuid() == 0:
        place.write_text("")
        os.chown(place, 12345, 12345)
        assert "it belongs to another user" in once(project, code=3).stderr


@pytest.mark.fault
def test_a_lock_that_is_taken_away_just_then_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends removes the file: a lock on a file that has no name any more would be a lock of nothing."""
    path, real, calls = tmp_path / "x.lock", promptry.lock_file, list[int]()

    def lock_late(file: Any) -> None:
        if not calls:
            path.unlink()
        calls.append(1)
        real(file)

    monkeypatch.setattr(promptry, "lock_file", lock_late)
    held = promptry._take_lock(path, "qa")
    assert len(calls) == 2 and os.path.samestat(os.fstat(held.fileno()), path.stat())
    with pytest.raises(promptry.WrongUse, match=f"by process {os.getpid()}"):
        promptry._take_lock(path, "qa")
    held.close()


@pytest.mark.fault
@pytest.mark.binary
def test_an_executable_that_is_killed_leaves_no_monitor_behind(project: Path, made: Make) -> None:  # noqa: F811
    """What people see, and kill, is the process that unpacked it: the one that monitors is a child of that."""
    set_mode(project, "wait60")
    command = [str(made("binary")), "monitor", "qa", "--every", "1h"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starter:
        wait_until((project / "going").exists, 60)
        inner = int(locks_of(project)[0].read_text())
        assert inner != starter.pid and is_alive(inner)
        starter.kill()
    wait_until(lambda: not is_alive(inner) and not is_alive(int((project / "going").read_text())))
    assert locks_of(project) == []


# --- faults around it


@pytest.mark.fault
def test_a_store_that_is_locked_for_a_while_is_an_error_for_a_while(project: Path, start: Start) -> None:
    once(project, code=0)
    monitor = start()
    monitor.wait_for_state("ok")
    with contextlib.closing(sqlite3.connect(store_of(project), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monitor.wait_for_state("error")
        other.execute("ROLLBACK")
    monitor.wait_for_state("ok")
    assert monitor.end() == 0 and "Traceback" not in monitor.said()


@pytest.mark.fault
def test_a_store_that_is_taken_away_is_made_anew(project: Path, start: Start) -> None:
    monitor = start()
    monitor.wait_for_state("ok")
    for path in (project / ".promptry").iterdir():
        if path.suffix != ".lock":
            path.unlink()
    monitor.wait_for_state("ok")
    wait_until(lambda: store_of(project).exists())
    monitor.wait_for_state("ok")
    assert monitor.end() == 0 and "Traceback" not in monitor.said()


@pytest.mark.fault
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_for_its_lines_ends_nothing(project: Path, hook: Hook, start: Start) -> None:
    with open("/dev/full", "w") as full:
        monitor = start(out=full)
        set_mode(project, "bad")
        wait_until(lambda: len(hook.texts()) >= 1)
        set_mode(project, "ok")
        wait_until(lambda: len(hook.texts()) >= 2)
        assert monitor.end() == 0 and "Traceback" not in monitor.said()


@pytest.mark.fault
def test_who_stops_reading_does_not_end_it(project: Path, hook: Hook, start: Start) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out:
        monitor = start(out=out)
    os.close(reader)
    set_mode(project, "bad")
    wait_until(lambda: len(hook.texts()) >= 1)
    assert monitor.process.poll() is None and monitor.end() == 0
