"""COMMENTS: the comment of each suite on a pull request, against a fake of GitHub's API on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_github import BOT, FakeGitHub, serve_github

import promptry
from promptry import save_comments

MARK = "<!-- promptry report of qa -->"
PERSON = {"login": "somebody", "type": "User"}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the waits instead of waiting."""
    found: list[float] = []
    monkeypatch.setattr(promptry.time, "sleep", found.append)
    monkeypatch.setenv("no_proxy", "*")
    return found


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    """Run the fake."""
    with serve_github() as fake:
        yield fake


def save(github: FakeGitHub, **texts: str) -> str:
    """Save comments on pull request 7 and return the note."""
    here = Path()
    facts = ("pull_request", "refs/pull/7/merge", "main", 7, "acme/app", github.url, f"{github.url}/api/v3")
    job = promptry.Workflow(*facts, "1", "1", "0" * 40, "Linux", here, here)
    return save_comments(job, "token", texts)


def bodies(github: FakeGitHub) -> list[str]:
    return [row["body"] for row in github.comments]


def test_a_comment_is_written_once_and_corrected_from_then_on(github: FakeGitHub) -> None:
    assert save(github, qa="one", tone="two") == ""
    assert save(github, qa="three", tone="two") == ""
    assert bodies(github) == [f"{MARK}\nthree", "<!-- promptry report of tone -->\ntwo"]
    assert github.tokens == {"Bearer token"}


def test_without_a_text_nothing_is_asked(github: FakeGitHub) -> None:
    assert save(github) == "" and github.requests == []


@pytest.mark.parametrize("place", [0, 99, 100, 199, 200, 305])
def test_the_mark_is_found_on_whichever_page_it_stands(github: FakeGitHub, place: int) -> None:
    for number in range(306):
        github.add_comment(f"{MARK}\nold" if number == place else f"{number}: {MARK}")
    assert save(github, qa="new") == "" and len(github.comments) == 306
    assert github.comments[place]["body"] == f"{MARK}\nnew"
    assert len(github.asked("GET")) == 4


NOT_OURS = {
    "quoted": (f"> {MARK}", BOT, "NONE"),
    "further down": (f"Look:\n{MARK}\nold", BOT, "NONE"),
    "of another suite": ("<!-- promptry report of qa2 -->\nold", BOT, "NONE"),
    "of an outsider": (f"{MARK}\nold", PERSON, "NONE"),
    "of a contributor": (f"{MARK}\nold", PERSON, "CONTRIBUTOR"),
}


@pytest.mark.parametrize(("body", "user", "association"), NOT_OURS.values(), ids=NOT_OURS)
def test_what_only_looks_like_ours_is_left_alone(
    github: FakeGitHub, body: str, user: dict[str, str], association: str
) -> None:
    github.add_comment(body, user, association)
    assert save(github, qa="new") == "" and bodies(github) == [body, f"{MARK}\nnew"]


def test_a_comment_in_the_name_of_somebody_who_may_write_is_ours(github: FakeGitHub) -> None:
    github.add_comment(f"{MARK}\nold", PERSON, "MEMBER")
    assert save(github, qa="new") == "" and bodies(github) == [f"{MARK}\nnew"]


def test_a_name_that_would_end_the_mark_does_not(github: FakeGitHub) -> None:
    name = "a --> b <!-- ü/\n"
    assert save(github, **{name: "one"}) == save(github, **{name: "two"}) == ""
    (body,) = bodies(github)
    first, rest = body.split("\n", 1)
    assert rest == "two" and first.count("-->") == 1 and first.endswith(" -->")


def test_a_comment_that_is_deleted_between_search_and_correction_is_written_anew(
    github: FakeGitHub, waits: list[float]
) -> None:
    github.add_comment(f"{MARK}\nold")
    github.after_search = github.comments.clear
    assert save(github, qa="new") == "" and bodies(github) == [f"{MARK}\nnew"] and waits == [0.0]


PASSING = {
    "a fault": ("POST", 502, {}, "Bad Gateway", [1.0]),
    "a limit that says when": ("POST", 403, {"Retry-After": "9"}, "slow down", [9.0]),
    "a limit that does not": ("POST", 403, {}, "You have exceeded a secondary rate limit.", [1.0]),
    "too many": ("POST", 429, {"Retry-After": "2"}, "slow down", [2.0]),
}


@pytest.mark.parametrize(("method", "status", "headers", "message", "waited"), PASSING.values(), ids=PASSING)
def test_what_passes_is_waited_for(
    github: FakeGitHub,
    waits: list[float],
    method: str,
    status: int,
    headers: dict[str, str],
    message: str,
    waited: list[float],
) -> None:
    github.refusals.append((method, status, headers, message))
    assert save(github, qa="new") == "" and bodies(github) == [f"{MARK}\nnew"] and waits == waited


def test_a_comment_that_arrived_behind_a_fault_is_not_written_twice(github: FakeGitHub) -> None:
    github.refusals.append(("POST", 504, {}, "Gateway Timeout"))
    github.after_search = lambda: github.add_comment(f"{MARK}\narrived") and None
    assert save(github, qa="new") == "" and bodies(github) == [f"{MARK}\nnew"]


def test_a_wait_beyond_a_minute_and_a_fault_that_stays_are_told(github: FakeGitHub, waits: list[float]) -> None:
    github.refusals.append(("POST", 429, {"Retry-After": "3600"}, "slow down"))
    assert save(github, qa="new").startswith("There is no comment with the report: 127.0.0.1:") and waits == []
    github.refusals += [("POST", 500, {}, "broken")] * 4
    assert "answered 500: broken" in save(github, qa="new") and waits == [1.0, 2.0, 4.0] and github.comments == []


@pytest.mark.parametrize(("method", "status"), [("GET", 403), ("GET", 404), ("POST", 403), ("POST", 404), ("GET", 401)])
def test_a_token_that_may_not_write_is_told_at_once(
    github: FakeGitHub, waits: list[float], method: str, status: int
) -> None:
    github.refusals.append((method, status, {}, "Resource not accessible by integration"))
    assert save(github, qa="new").startswith("This token cannot write comments") and waits == []
    assert github.comments == []


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ('<http://evil.test/repos/evil/evil/issues/7/comments?page=2>; rel="next"', "issues/7/comments?page=2"),
        ('<http://evil.test/steal?page=2>; rel="next"', None),
        ('<https://x/issues/7/comments?page=1>; rel="prev", <https://x/issues/7/comments?page=9>; rel="last"', None),
        ("", None),
    ],
)
def test_whatever_a_page_points_to_is_asked_of_our_own_address(link: str, path: str | None) -> None:
    assert promptry._next_page(link) == path
