"""ACTION and action.yml: the steps themselves, run by bash against a fake of GitHub on the loopback.

tests/composite.py runs them. What `uses:` another action is taken over by stand-ins: the cache is a list of files, an
artifact a copy of a folder. The released executable is a script that runs the source with this Python; the test marked
`binary` takes the built one.
"""

from __future__ import annotations

import contextlib
import html
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from composite import Outcome, Runner, evaluate, read_commands, read_outputs
from fake_github import FakeGitHub, serve_github
from served import ROOT

import promptry

TAG = f"v{promptry.__version__}"
FILE = "promptry-linux-x64"
CALL = "import promptry; promptry.main()"
SCRIPT = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -c "{CALL}" "$@"\n'.encode()

EVALS = """
import os
from pathlib import Path
from promptry import assert_contains, render_prompt, suite, track

TEXT = track(Path(__file__).with_name("prompt.txt").read_text(), "support/answer")

def answer(item):
    prompt = render_prompt("support/answer", TEXT)
    return "a refund" if "Answer" in prompt or item["id"] < "c02" else "no idea"

ITEMS = [{"id": f"c{number:02}"} for number in range(100)]

@suite("qa", prompt="support/answer", dataset=ITEMS)
def qa(item):
    if item["id"] == "c00":
        print("::set-output name=verdict::improved")
    assert "INPUT_TOKEN" not in os.environ
    assert_contains(answer(item), "refund")
"""
TONE = """
@suite("tone", prompt="support/answer", dataset=ITEMS)
def tone(item):
    answer(item)
    assert_contains("polite", "polite")
"""


class Ci:
    """A repository on the fake, and fresh runners for its jobs; only caches, comments and artifacts outlive a job."""

    def __init__(self, folder: Path, fake: FakeGitHub, byte_code: str) -> None:
        self.folder, self.fake = folder, fake
        self.workspace, self.temporary = folder / "work" / "app", folder / "work" / "_temp"
        self.caches: list[tuple[str, bytes]] = []
        self.paths: dict[str, str] = {}
        self.artifacts: dict[str, dict[str, str]] = {}
        self.github = {"action_repository": "acme/promptry", "action_ref": TAG, "repository": "acme/app"}
        self.github |= {"server_url": fake.url, "token": "s3cret-token"}
        self.environment = {"PYTHONPYCACHEPREFIX": byte_code}
        self.path = "/usr/local/bin:/usr/bin:/bin"
        self.workspace.mkdir(parents=True)
        (self.workspace / "promptry.toml").write_text("")
        (self.workspace / "evals.py").write_text(EVALS)
        self.say("Answer politely: $question")

    def say(self, text: str) -> None:
        """Change the prompt in the code."""
        (self.workspace / "prompt.txt").write_text(text)

    def restore(self, given: dict[str, str]) -> dict[str, str]:
        """Stand in for actions/cache/restore: the newest file of this very path whose key begins with the prefix."""
        found = [
            data
            for key, data in self.caches
            if key.startswith(given["restore-keys"]) and self.paths[key] == given["path"]
        ]
        assert given["key"] not in dict(self.caches)
        if found:
            file = self.workspace / given["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(found[-1])
        return {}

    def save(self, given: dict[str, str]) -> dict[str, str]:
        """Stand in for actions/cache/save: just the file, as it is, from the workspace on; a key is written once."""
        assert given["key"] not in dict(self.caches)
        self.paths[given["key"]] = given["path"]
        self.caches.append((given["key"], (self.workspace / given["path"]).read_bytes()))
        return {}

    def upload(self, given: dict[str, str]) -> dict[str, str]:
        """Stand in for actions/upload-artifact, which takes a name once and refuses some signs in it."""
        assert given["name"] not in self.artifacts and not set(given["name"]) & set('":<>|*?\r\n\\/')
        self.artifacts[given["name"]] = {file.name: file.read_text() for file in Path(given["path"]).iterdir()}
        return {}

    def fresh(self) -> None:
        """Begin a job on a new runner."""
        for folder in (self.workspace / ".promptry", self.temporary, self.folder / "home"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir() if folder != self.workspace / ".promptry" else None

    def step(self, event: str = "push", ref: str = "refs/heads/main", **given: str) -> Outcome:
        """Run the action as one more step of the job."""
        payload = {"repository": {"default_branch": "main"}}
        if event.startswith("pull_request"):
            payload["pull_request"] = {"number": 7}  # type: ignore[dict-item]
        (self.folder / "event.json").write_text(json.dumps(payload))
        environment = {"PATH": self.path, "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "no_proxy": "*"}
        environment |= {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event, "GITHUB_REF": ref, "GITHUB_JOB": "evals"}
        environment |= {"GITHUB_EVENT_PATH": str(self.folder / "event.json"), "GITHUB_REPOSITORY": "acme/app"}
        environment |= {"GITHUB_SERVER_URL": self.fake.url, "GITHUB_API_URL": f"{self.fake.url}/api/v3"}
        environment |= {"GITHUB_RUN_ID": "1234", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SHA": "0123456789abcdef"}
        environment |= {"GITHUB_WORKSPACE": str(self.workspace), "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64"}
        environment |= {"RUNNER_TEMP": str(self.temporary), **self.environment}
        stand_ins = {"actions/cache/restore": self.restore, "actions/cache/save": self.save}
        stand_ins |= {"actions/upload-artifact": self.upload}
        runner = Runner(self.workspace, self.temporary, environment, self.github, stand_ins)
        return runner.run(ROOT, {name.replace("_", "-"): value for name, value in given.items()})

    def job(self, event: str = "push", ref: str = "refs/heads/main", **given: str) -> Outcome:
        """Run the action as the only step of a job on a new runner."""
        self.fresh()
        return self.step(event, ref, **given)

    def pull(self, **given: str) -> Outcome:
        """Run the action for the pull request."""
        return self.job("pull_request", "refs/pull/7/merge", **given)

    def alter(self, sql: str) -> None:
        """Change the newest file of the cache, as it is found by the next job."""
        copy, (key, data) = self.folder / "altered.db", self.caches.pop()
        copy.write_bytes(data)
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.execute(sql)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.caches.append((key, copy.read_bytes()))

    def cached(self, sql: str) -> list[Any]:
        """Ask the newest file of the cache, which is all there is of the store."""
        copy = self.folder / "cached.db"
        copy.write_bytes(self.caches[-1][1])
        connection = sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def byte_code(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a folder for byte code, so that the source is compiled once for all jobs."""
    return str(tmp_path_factory.mktemp("pycache"))


@pytest.fixture
def ci(tmp_path: Path, byte_code: str) -> Iterator[Ci]:
    """Give a repository whose action has a release of this source."""
    with serve_github() as fake:
        fake.add_release("acme/promptry", TAG, {FILE: SCRIPT})
        yield Ci(tmp_path, fake, byte_code)


PROD = {"compare": "prod", "promote": "prod"}
TAGS = "SELECT name, version, tag FROM prompt_tags JOIN prompts ON prompts.id = prompt_id"


def checked(found: Outcome, code: int) -> Outcome:
    """Hold what is so of each run: its exit code, and that the runner was told nothing but annotations, ten at most."""
    assert found.code == code, found.log
    assert found.commands == found.annotations and len(found.annotations) <= 10
    assert len(found.summary.encode()) < 2**20 and "s3cret-token" not in found.log + found.summary
    return found


# --- pushes and pull requests ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_first_push_is_the_baseline_that_the_second_on_a_fresh_runner_is_judged_by(ci: Ci) -> None:
    first = checked(ci.job(**PROD), 0)
    assert first.outputs["verdict"] == "no baseline" and first.outputs["score"] == "1.0" and not first.outputs["p"]
    assert [one.name for one in first.annotations] == ["warning"] and "NO BASELINE" in first.annotations[0].message
    assert "support/answer@1 has the tag prod" in first.log and len(ci.caches) == 1
    assert ci.cached(TAGS) == [("support/answer", 1, "prod")]
    ci.say("Answer very politely: $question")
    second = checked(ci.job(**PROD), 0)
    assert second.outputs["verdict"] == "tied" and float(second.outputs["delta"]) == 0 and second.outputs["p"] == "1.0"
    assert second.annotations == [] and "**Passed: tied.**" in second.summary
    assert ci.cached(TAGS) == [("support/answer", 2, "prod")]
    assert ci.cached("SELECT count(*) FROM eval_runs") == [(2,)]
    assert ci.fake.asked("POST") == [] and len(dict(ci.caches)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"working_directory": "sub", "store": "#store.db"}], ids=["kept", "named"])
def test_a_runner_with_another_work_folder_finds_the_store_of_the_first(ci: Ci, given: dict[str, str]) -> None:
    (ci.workspace / "sub").mkdir()
    told = {**PROD, **given, "module": "../evals.py" if given else "evals.py"}
    path = checked(ci.job(**told), 0).steps["prepare"]["store"]
    assert path == ("./sub/#store.db" if given else "./.promptry/store.db"), "no pattern that is a comment"
    other = ci.folder / "other [1]" / "app"
    shutil.copytree(ci.workspace, other, ignore=shutil.ignore_patterns("*store.db*"))
    ci.workspace = other
    assert checked(ci.pull(**told), 0).outputs["verdict"] == "tied"


@pytest.mark.slow
def test_a_store_outside_of_the_workspace_is_kept_by_its_whole_path(ci: Ci) -> None:
    place = ci.folder / "home" / "store.db"
    assert checked(ci.job(**PROD, store=str(place)), 0).steps["prepare"]["store"] == str(place)
    assert checked(ci.pull(**PROD, store=str(place)), 0).outputs["verdict"] == "tied"


@pytest.mark.slow
def test_a_pull_request_that_breaks_something_says_so_in_each_place_and_keeps_nothing(ci: Ci) -> None:
    ci.job(**PROD)
    ci.say("Be friendly.")
    found = checked(ci.pull(**PROD), 1)
    assert found.outputs["verdict"] == "regressed" and float(found.outputs["delta"]) == pytest.approx(-98 / 100)
    assert len(found.annotations) == 10 and {one.name for one in found.annotations} == {"error"}
    first, last = found.annotations[0], found.annotations[-1]
    assert first.properties["title"] == "qa: broken" and first.message.startswith("c02: ")
    assert first.properties["file"] == "evals.py" and first.properties["line"] == str(
        EVALS[: EVALS.index("@suite")].count("\n") + 1
    )
    assert last.message == "89 more: see the summary."
    assert "**Failed: regressed.**" in found.summary and "+Be friendly." in found.summary
    (comment,) = ci.fake.comments
    assert comment["body"].startswith("<!-- promptry report of qa -->\n**Failed: regressed.**")
    assert f"({ci.fake.url}/acme/app/actions/runs/1234) of 0123456789ab" in comment["body"]
    assert ci.fake.tokens == {"Bearer s3cret-token"}
    assert len(ci.caches) == 1, "what a pull request does stays in it"
    assert ci.cached(TAGS) == [("support/answer", 1, "prod")]
    ((name, files),) = [pair for pair in ci.artifacts.items() if pair[0] == found.steps["run"]["artifact"]]
    assert name.startswith("promptry-qa-") and set(files) == {"report.html", "junit.xml"}
    assert Path(found.outputs["report"]).read_text() == files["report.html"]
    ci.say("Answer politely: $question")
    again = checked(ci.pull(**PROD), 0)
    assert again.outputs["verdict"] == "tied" and len(ci.fake.comments) == 1
    assert comment["body"].startswith("<!-- promptry report of qa -->\n**Passed: tied.**")


@pytest.mark.slow
def test_a_push_that_breaks_something_is_kept_but_moves_no_tag(ci: Ci) -> None:
    ci.job(**PROD)
    ci.say("Be friendly.")
    found = checked(ci.job(**PROD), 1)
    assert "prod stays where it is on support/answer: qa did not pass." in html.unescape(found.summary)
    assert len(ci.caches) == 2 and ci.cached(TAGS) == [("support/answer", 1, "prod")]
    assert checked(ci.job(**PROD), 1).outputs["verdict"] == "regressed", "a bad run is no baseline"


@pytest.mark.slow
def test_a_fork_whose_token_cannot_write_has_the_report_in_the_summary(ci: Ci) -> None:
    ci.fake.may_write = False
    ci.say("Be friendly.")
    found = checked(ci.pull(compare="prod"), 1)
    assert "This token cannot write comments" in found.summary and "**Failed: no baseline.**" in found.summary
    assert ci.fake.comments == [] and len(ci.artifacts) == 1


@pytest.mark.slow
def test_the_comment_is_found_behind_hundreds_of_others(ci: Ci) -> None:
    for number in range(250):
        ci.fake.add_comment(f"Comment {number}", {"login": "a", "type": "User"})
    ci.fake.comments[220] |= {"body": "<!-- promptry report of qa -->\nold", "user": {"type": "Bot"}}
    checked(ci.pull(), 0)
    assert len(ci.fake.comments) == 250 and "**Passed.**" in ci.fake.comments[220]["body"]
    assert len(ci.fake.asked("GET")) >= 3 and ci.fake.asked("PATCH") == ["/api/v3/repos/acme/app/issues/comments/221"]


@pytest.mark.slow
def test_a_first_run_without_a_promotion_says_how_there_comes_to_be_a_baseline(ci: Ci) -> None:
    found = checked(ci.job(compare="prod"), 0)
    assert "With the input `promote: prod` a run on main that passes gives its version that tag" in found.log
    assert "promote&#58; prod" in found.summary and ci.cached(TAGS) == []
    strict = checked(ci.job(**PROD, require_baseline="true"), 3)
    assert "support/answer@1 has the tag prod" in strict.log
    assert checked(ci.job(**PROD, require_baseline="true"), 0).outputs["verdict"] == "tied"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "ref"),
    [
        ("pull_request", "refs/pull/7/merge"),
        ("pull_request_target", "refs/heads/main"),
        ("workflow_run", "refs/heads/main"),
        ("push", "refs/heads/next"),
        ("push", "refs/tags/main"),
    ],
)
def test_only_what_the_default_branch_holds_is_kept_and_promoted(ci: Ci, event: str, ref: str) -> None:
    found = checked(ci.job(event, ref, **PROD), 0)
    assert (
        ci.caches == [] and "answer@1 has the tag" not in found.log and "Keep the store in the cache" not in found.ran
    )


def test_a_night_s_run_is_of_the_default_branch_also_where_its_payload_names_none(ci: Ci) -> None:
    ci.fresh()
    (ci.folder / "night.json").write_text('{"schedule": "0 3 * * *"}')
    ci.environment |= {"GITHUB_EVENT_PATH": str(ci.folder / "night.json")}
    assert "has the tag prod" in checked(ci.step("schedule", **PROD), 0).log and len(ci.caches) == 1


@pytest.mark.slow
def test_a_run_of_a_part_of_its_suite_promotes_nothing_and_says_that_this_is_why(ci: Ci) -> None:
    part = "Only a part of qa ran, which is never a baseline. "
    found = checked(ci.job(**PROD, args="-k c03"), 0)
    for told in (found.log, html.unescape(found.summary)):
        assert "prod stays where it is on support/answer: only a part of qa ran." in told and "did not pass" not in told
        assert f"{part}The first run of a whole suite on main that passes gives the version the tag prod" in told
    bare = checked(ci.job(compare="prod", args="-k c03"), 0)
    assert f"{part}With the input `promote: prod` a run of a whole suite on main that passes gives its" in bare.log
    assert ci.cached(TAGS) == []


@pytest.mark.parametrize("less", [{"complete": False}, {"partial": {"selected": "-k c03"}}])
def test_what_failed_and_what_ran_in_part_are_told_apart(less: dict[str, Any]) -> None:
    whole = promptry.RunResult("1", "qa", True, 1.0, {}, [], None, prompt="support/answer", prompt_version=1)
    failed, part = whole._replace(passed=False), whole._replace(suite="tone", **less)
    (note,) = promptry._promote([(failed, 1), (part, 0)], "prod", own=True)
    assert note == "prod stays where it is on support/answer: qa did not pass, and only a part of tone ran."


@pytest.mark.slow
def test_a_tag_that_cannot_be_moved_costs_neither_the_report_nor_the_exit_code(ci: Ci) -> None:
    checked(ci.job(**PROD), 0)
    full = "CREATE TRIGGER t BEFORE INSERT ON prompt_tags BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    ci.alter(full)
    ci.say("Answer very politely: $question")
    found = checked(ci.job(**PROD), 0)
    for told in (found.log, html.unescape(found.summary)):
        assert "prod stays where it is on support/answer: " in told and "store.db is full. Free some space" in told
    assert found.annotations == [] and found.outputs["verdict"] == "tied" and "**Passed: tied.**" in found.summary
    assert set(ci.artifacts[found.steps["run"]["artifact"]]) == {"report.html", "junit.xml"}
    assert ci.cached(TAGS) == [("support/answer", 1, "prod")]
    assert ci.cached("SELECT count(*) FROM eval_runs") == [(2,)], "the run is kept for all that"


# --- several suites -------------------------------------------------------------------------------


@pytest.mark.slow
def test_several_suites_have_a_comment_each_and_the_worst_is_told(ci: Ci) -> None:
    (ci.workspace / "evals.py").write_text(EVALS + TONE)
    checked(ci.job(**PROD, suite="qa\ntone\n"), 0)
    ci.say("Be friendly.")
    found = checked(ci.pull(**PROD), 1)
    assert found.outputs["verdict"] == "regressed"
    rows = json.loads(found.outputs["results"])
    assert [(row["suite"], row["code"], row["verdict"]) for row in rows] == [
        ("qa", 1, "regressed"),
        ("tone", 0, "tied"),
    ]
    assert [row["body"].split("\n")[0] for row in ci.fake.comments] == [
        "<!-- promptry report of qa -->",
        "<!-- promptry report of tone -->",
    ]
    pushed = checked(ci.job(**PROD), 1)
    assert "prod stays where it is on support/answer: qa did not pass." in pushed.log
    assert ci.cached(TAGS) == [("support/answer", 1, "prod")], "what one suite finds bad another does not promote"


@pytest.mark.slow
def test_several_steps_of_a_job_share_the_store_and_keep_their_own_reports(ci: Ci) -> None:
    (ci.workspace / "evals.py").write_text(EVALS + TONE)
    ci.fresh()
    first, second = ci.step(**PROD, suite="qa"), ci.step(**PROD, suite="tone")
    assert checked(first, 0) and checked(second, 0) and "is here already" in second.log
    assert "Take the store from the cache" in first.ran and "Take the store from the cache" not in second.ran
    assert ci.cached("SELECT suite_name FROM eval_runs") == [("qa",), ("tone",)]
    assert len(ci.artifacts) == 2 and len(dict(ci.caches)) == 2
    downloads = [path for path in ci.fake.asked("GET") if path.endswith(FILE)]
    assert len(downloads) == 1, "the executable of the first step is verified anew, and not fetched"


@pytest.mark.slow
def test_a_folder_of_a_large_repository_has_comments_and_places_of_its_own(ci: Ci) -> None:
    shutil.copytree(ci.workspace, ci.folder / "answers")
    shutil.move(ci.folder / "answers", ci.workspace / "services" / "answers")
    ci.say("Be friendly.")
    (ci.workspace / "services" / "answers" / "prompt.txt").write_text("Be friendly.")
    found = checked(ci.pull(working_directory="services/answers", python=sys.executable), 1)
    assert found.annotations[0].properties["file"] == "services/answers/evals.py"
    assert ci.fake.comments[0]["body"].startswith("<!-- promptry report of services%2Fanswers%3A%20qa -->")


# --- the release ----------------------------------------------------------------------------------


def test_what_is_not_what_was_released_is_not_run(ci: Ci) -> None:
    ci.fake.releases["acme/promptry"][TAG][FILE] = b"#!/bin/sh\ntouch harm\n" + SCRIPT
    found = checked(ci.job(), 3)
    assert "it is not what was released, and nothing is installed" in found.annotations[0].message
    assert found.ran == ["Fetch promptry"] and not [*ci.folder.rglob("harm")]


def test_without_a_release_there_is_one_sentence(ci: Ci) -> None:
    ci.fake.releases.clear()
    found = checked(ci.job(), 3)
    assert [one.message for one in found.annotations] == [
        f"There is no release {TAG} of acme/promptry at {ci.fake.url}, or it cannot be reached."
    ]


REFS = {
    "a branch": ("acme/promptry", "main", ""),
    "a commit": ("acme/promptry", "0123456789abcdef0123456789abcdef01234567", ""),
    "a moving tag": ("acme/promptry", "v0", ""),
    "another release": ("acme/promptry", "v9.9.9", TAG),
    "a number": ("acme/promptry", "main", promptry.__version__),
    "the latest": ("acme/promptry", "main", "latest"),
    "a checkout, uses: ./": ("", "", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize(("repository", "ref", "version"), REFS.values(), ids=REFS)
def test_the_release_is_that_of_the_ref_or_what_its_source_states(
    ci: Ci, repository: str, ref: str, version: str
) -> None:
    ci.fake.add_release("acme/app", TAG, {FILE: SCRIPT})
    ci.github |= {"action_repository": repository, "action_ref": ref}
    checked(ci.job(version=version), 0)
    assert any(path == f"/{repository or 'acme/app'}/releases/download/{TAG}/{FILE}" for path in ci.fake.asked("GET"))


@pytest.mark.slow
def test_a_program_that_is_here_already_is_taken_in_place_of_a_release(ci: Ci) -> None:
    ci.fake.releases.clear()
    program = ci.workspace / "bin" / "promptry"
    program.parent.mkdir()
    program.write_bytes(SCRIPT)
    program.chmod(0o755)
    checked(ci.job(executable="bin/promptry", working_directory="bin", module=str(ci.workspace / "evals.py")), 0)
    ci.path = f"{program.parent}:{ci.path}"
    checked(ci.job(executable="promptry"), 0)
    missing = checked(ci.job(executable="bin/absent"), 2)
    assert missing.annotations[0].message == "There is no program at the path that the input executable names."
    assert ci.fake.asked("GET") == []


# --- what the inputs hold -------------------------------------------------------------------------

HOSTILE = [
    "$(touch harm)",
    "`touch harm`",
    "; touch harm; '",
    '"; touch harm; "',
    "a\nverdict=improved\n::set-output name=verdict::improved",
    "::error::made up",
    "--help",
    "--format=json",
    "%0A::error::made up",
    "../../../etc/passwd",
    "${{ github.token }}",
    "-",
]
FREE = ("suite", "module", "compare", "min_score", "repeats", "require_baseline", "comment", "args", "python")


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text_in_every_input(ci: Ci, text: str) -> None:
    outputs = {"verdict", "score", "delta", "p", "cost", "report", "results", "folder", "artifact", "code", "save"}
    ci.fresh()
    for name in FREE:
        found = ci.step(**{name: text})
        assert found.commands == found.annotations and found.code in {0, 1, 2, 3}, found.log
        assert found.code == 2 or (name, text) in {("args", "-"), ("compare", text)}, (name, found.log)
        assert found.outputs["verdict"] in {"", "no baseline"} and found.steps.get("run", {}).keys() <= outputs
        assert not any(one.message.startswith("made up") for one in found.annotations)
    assert [*ci.folder.rglob("harm")] == [] and ci.fake.asked("POST") == []


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_names_no_program_and_no_release(ci: Ci, text: str) -> None:
    for name in ("executable", "version"):
        found = checked(ci.job(**{name: text}), 2 if name == "executable" else found_code(text))
        assert found.ran == ["Fetch promptry"] and len(found.annotations) == 1
    assert [*ci.folder.rglob("harm")] == []


def found_code(text: str) -> int:
    """Return 3 for what may be the name of a release that is not there, and 2 for what is none."""
    return 3 if set(text) <= set("-abcdefghijklmnopqrstuvwxyz") else 2


WRONG = {
    "a form": ({"args": "--format json"}, "The input args holds --format, which the action has its own way for."),
    "JSON": ({"args": "--json"}, "The input args holds --json"),
    "a plan": ({"args": "--plan"}, "The input args holds --plan"),
    "a recovery": ({"args": "--discard"}, "The input args holds --recover or --discard"),
    "an open quote": ({"args": "--tag 'smoke"}, 'The input args is "--tag \'smoke": No closing quotation.'),
    "help": ({"args": "--help"}, "No such option '--help'"),
    "a word": ({"repeats": "often"}, "'often' is not a valid integer range"),
    "a switch": ({"comment": "yes"}, "The input comment is 'yes'; it takes true or false."),
    "a baseline of nothing": ({"require_baseline": "true"}, "--require-baseline says nothing without --compare"),
    "a pattern": ({"store": "store[1].db"}, "has a sign that the cache takes for a pattern"),
    "no such suite": ({"suite": "qaa"}, "Did you mean 'qa'?"),
    "a suite called as an option": ({"suite": "--max-usd=1"}, "There is no suite '--max-usd=1'"),
    "no such module": ({"module": "evil.py"}, "There is no file evil.py"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_input_is_one_sentence_in_log_summary_and_annotation(ci: Ci, given: dict[str, str], said: str) -> None:
    found = checked(ci.job(**given), 2)
    assert len(found.annotations) == 1 and said in found.annotations[0].message
    assert found.summary.startswith("**Not decided.** ") and found.outputs["verdict"] == "" and ci.caches == []


def test_further_options_of_run_are_taken(ci: Ci) -> None:
    found = checked(ci.job(args="-k 'c03 or c04' --model-version \"gpt 4\"", store="other/store.db", **PROD), 0)
    assert "2 cases: 2 pass" in found.summary and "gpt 4" in found.summary
    assert ci.cached("SELECT model_version FROM eval_runs") == [("gpt 4",)]
    assert ci.cached(TAGS) == [], "a part of a suite promotes nothing"


ARGS = {
    "a path": (r"--db C:\x\y.db -k c03", ["--db", "C:xy.db", "-k", "c03"], ["--db", r"C:\x\y.db", "-k", "c03"]),
    "quotes": ("""--tag 'a b' "-k=c 'd" #e""", ["--tag", "a b", "-k=c 'd", "#e"], ["--tag", "a b", "-k=c 'd", "#e"]),
    "a quoted path": (r'"C:\My files\"', None, ["C:\\My files\\"]),
    "an escaped blank": (r"a\ b", ["a b"], ["a\\", "b"]),
    "nothing": ("", [], []),
}


@pytest.mark.parametrize("system", ["posix", "nt"])
@pytest.mark.parametrize(("args", "posix", "windows"), ARGS.values(), ids=ARGS)
def test_backslashes_of_args_are_as_the_shell_of_the_system_has_them(
    args: str, posix: list[str] | None, windows: list[str], system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # no longer than this: pathlib asks too
        patch.setattr("os.name", system)
        try:
            found = promptry._split_args(args)
        except promptry.WrongUse as error:
            found, said = None, str(error)
    assert found == (windows if system == "nt" else posix)
    assert found is not None or "No closing quotation" in said


def test_texts_of_cases_and_models_steer_neither_runner_nor_page(ci: Ci) -> None:
    ids = [
        "a\n::error::made up",
        "b%0A::warning::made up",
        "<!-- promptry report of qa -->",
        "c,title=d::e",
        "##[error]f",
    ]
    (ci.workspace / "evals.py").write_text(
        "import sys\nfrom promptry import case, assert_exact, suite\n"
        "@suite('q-->a::b')\ndef qa():\n"
        f"    for name in {ids!r}:\n        with case(name):\n"
        "            print('::stop-commands::x', flush=True)\n            print('::error::made up', file=sys.stderr)\n"
        "            assert_exact('<img src=x> @everyone ' + name, 'b')\n"
    )
    found = checked(ci.pull(), 1)
    assert [one.properties["title"] for one in found.annotations] == ["q-->a::b: failing"] * 5
    assert {one.message.split(": ")[0].splitlines()[0] for one in found.annotations} == {*ids[1:], "a"}
    (comment,) = ci.fake.comments
    assert comment["body"].startswith("<!-- promptry report of q%2D%2D%3Ea%3A%3Ab -->\n**Failed")
    assert comment["body"].count("-->") - comment["body"].count("`q-->a::b`") - comment["body"].count("of qa -->") == 1


# --- how it ends ----------------------------------------------------------------------------------


def test_the_job_ends_with_the_code_of_the_run_once_all_is_kept(ci: Ci) -> None:
    (ci.workspace / "evals.py").write_text(
        "from promptry import suite\n@suite('ugly')\ndef ugly():\n    raise RuntimeError('crashed')\n"
    )
    found = checked(ci.job(promote="prod"), 3)
    assert found.ran[-3:] == ["Keep the store in the cache", "Keep the reports", "End as the run did"]
    assert found.annotations[0].properties["title"] == "ugly: in error" and "crashed" in found.annotations[0].message
    assert "served no one prompt" in found.log or "ugly did not pass" in found.log


@pytest.mark.slow
def test_a_comment_that_cannot_be_written_changes_no_exit_code(ci: Ci) -> None:
    ci.fresh()
    ci.step(comment="false")  # the release is here now
    ci.fake.refusals += [("POST", 429, {"Retry-After": "3600"}, "slow down")]
    found = checked(ci.step("pull_request", "refs/pull/7/merge"), 0)
    assert "There is no comment with the report" in found.summary and ci.fake.comments == []


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", "half\nof one", "ü"])
def test_a_token_that_cannot_be_sent_changes_no_exit_code(ci: Ci, token: str) -> None:
    ci.fake.may_write = bool(token)
    assert "comment" in checked(ci.pull(token=token), 0).summary and ci.fake.comments == []


@pytest.mark.slow
def test_a_store_that_another_process_reads_is_not_kept_half(ci: Ci) -> None:
    ci.fresh()
    checked(ci.step(suite="qa"), 0)
    reader = sqlite3.connect(ci.workspace / ".promptry" / "store.db", isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM eval_runs").fetchone()
        found = checked(ci.step(suite="qa"), 0)
    finally:
        reader.close()
    assert len(ci.caches) == 1 and "Keep the store in the cache" not in found.ran
    assert "The store is not kept in the cache: another process uses it" in found.log


def test_no_comment_is_written_where_none_is_wanted(ci: Ci) -> None:
    checked(ci.pull(comment="false"), 0)
    assert ci.fake.tokens == set()


@pytest.mark.binary
def test_the_built_executable_does_the_same(ci: Ci) -> None:
    built = ROOT / "dist" / "promptry"
    if not built.is_file():
        pytest.fail("python3 build.py binary makes it")
    ci.fake.add_release("acme/promptry", TAG, {FILE: built.read_bytes()})
    ci.environment |= {"PROMPTRY_PYTHON": sys.executable}
    checked(ci.job(**PROD), 0)
    ci.say("Be friendly.")
    assert checked(ci.pull(**PROD), 1).outputs["verdict"] == "regressed" and len(ci.fake.comments) == 1


def test_the_command_is_for_the_action_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    assert promptry.run_command(["action", "run"]) == 2
    assert "GITHUB_OUTPUT is not set: this is a step of the GitHub Action" in capsys.readouterr().err
    promptry.run_command(["--help"])
    assert "\n  action " not in capsys.readouterr().out


# --- the runner of these tests --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.a", "1"),
        ("inputs.absent || 'b'", "b"),
        ("inputs.a == '1' && github.x != 'Y'", False),
        ("(inputs.a == '2' || always()) && 'c''d'", "c'd"),
    ],
)
def test_the_runner_reads_expressions(text: str, value: Any) -> None:
    contexts = {"inputs": {"a": "1"}, "github": {"x": "y"}, "functions": {"always": True}}
    assert evaluate(text, contexts) == value


@pytest.mark.parametrize("text", ["inputs.a + 1", "hashFiles('x')", "a ? b", "inputs.a inputs.b", "secrets.token"])
def test_the_runner_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        evaluate(text, {"inputs": {"a": "1"}, "functions": {}})


def test_the_runner_reads_outputs_and_commands_as_github_does(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a=1\nb<<END\nx\na=2\nEND\n")
    assert read_outputs(tmp_path / "output") == {"a": "1", "b": "x\na=2"}
    log = (
        " ::error file=a%3Ab,line=2::c%0Ad\n::stop-commands::w\n::error::no\n::w::\n::warning::yes\ntext ::error::no\n"
    )
    found = read_commands(log)
    assert [(one.name, one.properties, one.message) for one in found] == [
        ("error", {"file": "a:b", "line": "2"}, "c\nd"),
        ("warning", {}, "yes"),
    ]
