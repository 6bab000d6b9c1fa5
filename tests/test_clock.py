"""CLOCK: times as text that sorts, durations that never go back, identifiers that no other process makes."""

from __future__ import annotations

import datetime
import re
import threading
import time
from typing import Any

import pytest

import promptry


def test_now_is_utc_text_with_milliseconds() -> None:
    before = datetime.datetime.now(datetime.UTC)
    text = promptry.now_text()
    after = datetime.datetime.now(datetime.UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    moment = datetime.datetime.fromisoformat(text)
    slack = datetime.timedelta(milliseconds=2)
    assert before - slack <= moment <= after + slack


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1795435200.9999, "2026-11-23T12:00:00.999Z"),
        (1795435199.0005, "2026-11-23T11:59:59.000Z"),
        (1709208000.25, "2024-02-29T12:00:00.250Z"),
    ],
)
def test_the_time_is_cut_to_milliseconds_and_never_rounded_up(
    monkeypatch: pytest.MonkeyPatch, now: float, text: str
) -> None:
    monkeypatch.setattr(promptry.time, "time", lambda: now)
    assert promptry.now_text() == text


@pytest.mark.slow
def test_times_never_go_back_within_a_thread_nor_run_ahead_in_many() -> None:
    wrong: list[tuple[str, str]] = []
    stop = time.time() + 2.2

    def look() -> None:
        while time.time() < stop:
            text, now = promptry.now_text(), time.time()
            if abs(datetime.datetime.fromisoformat(text).timestamp() - now) > 0.6:
                wrong.append((text, str(now)))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_another_thread_at_the_turn_of_a_second_does_not_change_this_ones_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that formats second 10 is interrupted by one that already formats second 11."""

    class Interrupted(tuple[int, str]):
        __slots__ = ()

        def __getitem__(self, index: Any) -> Any:
            if index == 0:
                found = tuple.__getitem__(self, 0)
                promptry._second = (11, "1970-01-01T00:00:11")
                return found
            return tuple.__getitem__(self, index)

    monkeypatch.setattr(promptry.time, "time", lambda: 10.9995)
    monkeypatch.setattr(promptry, "_second", Interrupted((10, "1970-01-01T00:00:10")))
    assert promptry.now_text() == "1970-01-01T00:00:10.999Z"


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00.001Z"),
        ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"),
        ("2024-02-28T23:59:59.999Z", "2024-02-29T00:00:00.000Z"),
    ],
)
def test_later_is_one_millisecond_later(text: str, later: str) -> None:
    assert promptry.later_text(text) == later > text


@pytest.mark.parametrize(
    "text", ["2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00", "2026-11-23 12:00:00", "2026-11-23T13:00:00+01:00"]
)
def test_the_age_of_a_time_is_in_seconds(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(promptry.time, "time", lambda: 1795435260.5)
    assert promptry.age_s(text) == 60.5


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "2026-99-99T00:00:00Z"])
def test_a_text_that_is_no_time_has_no_age(text: str) -> None:
    assert promptry.age_s(text) is None


def test_monotonic_seconds_do_not_go_back() -> None:
    seen = [promptry.monotonic_s() for _ in range(1000)]
    assert seen == sorted(seen)


def test_identifiers_are_unique_in_threads() -> None:
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.extend(promptry.make_uid() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 8000 and all(re.fullmatch("[0-9a-f]{24}", uid) for uid in seen)


def test_identifiers_are_unique_across_forks(run_python: Any) -> None:
    done = run_python(
        """
        import os, promptry
        promptry.make_uid()
        for _ in range(5):
            if os.fork() == 0:
                os.write(1, f"{promptry.make_uid()}\\n".encode())
                os._exit(0)
            os.wait()
        print(promptry.make_uid())
        """
    )
    assert len(set(done.stdout.split())) == 6
