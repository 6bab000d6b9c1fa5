"""SUITES: what a case is, what its id is, how it ends, and how a module of suites is found."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_contains, assert_exact, case, run_suite, save_dataset, suite


@pytest.fixture(autouse=True)
def own_registry(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a store and an import path of its own."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in ("evals", "pkg", "pkg.evals", "helpers"):
        sys.modules.pop(name, None)


def states_of(result: promptry.RunResult) -> dict[str, str]:
    return {row["case"]: row["state"] for row in result.cases}


def test_a_function_without_blocks_is_one_case_named_as_its_suite() -> None:
    @suite("greet")
    def check() -> None:
        assert_exact(1, 1)
        assert_contains("ab", "a")

    result = run_suite("greet")
    assert states_of(result) == {"greet": "pass"}
    counts = {"cases": 1, "pass": 1, "fail": 0, "error": 0, "skipped": 0, "checks": 2, "scored": 1}
    assert result.counts.items() >= counts.items()
    assert result.passed and result.score == 1.0


def test_each_block_is_a_case_and_one_that_fails_does_not_end_the_suite() -> None:
    @suite("blocks")
    def check() -> None:
        for number in range(4):
            with case(f"n{number}"):
                assert_exact(number % 2, 0)

    assert states_of(run_suite("blocks")) == {"n0": "pass", "n1": "fail", "n2": "pass", "n3": "fail"}


def test_what_is_asserted_outside_of_the_blocks_is_a_case_too() -> None:
    @suite("both")
    def check() -> None:
        with case("inner"):
            assert_exact(1, 1)
        assert_exact(1, 2)

    result = run_suite("both")
    assert states_of(result) == {"inner": "pass", "both": "fail"}
    assert not result.passed


def test_each_item_of_a_dataset_is_a_case_named_by_its_id() -> None:
    save_dataset("qa", [{"id": "a", "x": 1}, {"id": 7, "x": 2}, {"x": 3}])

    @suite("items", dataset="qa")
    def check(item: dict[str, Any]) -> None:
        assert_exact(item["x"] < 3, True)

    states = states_of(run_suite("items"))
    assert list(states.values()) == ["pass", "pass", "fail"]
    assert list(states)[:2] == ["a", "7"]
    assert len(list(states)[2]) == 8, "an item without an id goes by the hash of its content"


def test_the_case_id_of_an_item_without_an_id_survives_its_neighbours_and_the_order_of_its_keys() -> None:
    assert promptry.item_id({"q": "x", "a": 1}) == promptry.item_id({"a": 1, "q": "x"})
    assert promptry.item_id({"q": "x"}) != promptry.item_id({"q": "y"})
    assert promptry.item_id({"id": 0, "q": "x"}) == "0"
    assert promptry.item_id("plain") == promptry.item_id("plain")


def test_a_dataset_is_pinned_by_its_number() -> None:
    for last in (1, 2, 3):
        save_dataset("qa", [{"id": "a", "x": last}])

    def seen(dataset: str) -> list[int]:
        found: list[int] = []

        @suite("pinned", dataset=dataset)
        def check(item: dict[str, Any]) -> None:
            found.append(item["x"])
            assert_exact(1, 1)

        result = run_suite("pinned")
        manifest = promptry.get_run(result.run_id)["manifest"]
        assert manifest["dataset"] == f"qa@{found[0]}" and len(manifest["dataset_hash"]) == 64
        return found

    assert seen("qa@2") == [2]
    assert seen("qa") == [3]


@pytest.mark.parametrize(
    ("dataset", "error", "words"),
    [
        ("nothing", promptry.NotFound, "no dataset 'nothing'"),
        ("qa@9", promptry.NotFound, "no version 9"),
        ("qa@x", promptry.WrongUse, "no version number"),
        ("qa@", promptry.WrongUse, "no version number"),
        ([{"id": "a"}, {"id": "a"}], promptry.WrongUse, "two items have the id 'a'"),
        ([{"id": 1}, {"id": "1"}], promptry.WrongUse, "two items have the id '1'"),
        (["same", "same"], promptry.WrongUse, "two items have the id"),
    ],
)
def test_a_dataset_that_cannot_be_meant_is_refused_before_a_case_ran(
    dataset: Any, error: type[Exception], words: str
) -> None:
    save_dataset("qa", [{"id": "a"}])
    ran: list[Any] = []

    @suite("refused", dataset=dataset)
    def check(item: Any) -> None:
        ran.append(item)

    with pytest.raises(error, match=words):
        run_suite("refused")
    assert ran == [] and promptry.list_runs()["total"] == 0


def test_blocks_below_an_item_are_named_below_it() -> None:
    @suite("nested", dataset=[{"id": "de"}, {"id": "fr"}])
    def check(item: dict[str, str]) -> None:
        for part in ("short", "long"):
            with case(part):
                assert_exact(item["id"], "de")

    assert states_of(run_suite("nested")) == {
        "de/short": "pass",
        "de/long": "pass",
        "fr/short": "fail",
        "fr/long": "fail",
    }


def test_two_blocks_of_one_name_stay_two_cases() -> None:
    @suite("twice")
    def check() -> None:
        for number in range(3):
            with case("same"):
                assert_exact(number, 0)

    assert states_of(run_suite("twice")) == {"same": "pass", "same#2": "fail", "same#3": "fail"}


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_a_case_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="case id"), case(name):
        pass


def test_outside_of_a_run_a_block_is_only_a_block() -> None:
    with pytest.raises(ZeroDivisionError), case("x"):
        _ = 1 / 0


async def answer(text: str) -> str:
    await asyncio.sleep(0.001)
    return text


def test_an_async_suite_really_runs() -> None:
    done: list[str] = []

    @suite("async")
    async def check() -> None:
        with case("one"):
            assert_exact(await answer("a"), "b")
        with case("two"):
            done.append(await answer("a"))
            assert_exact(1, 1)

    assert states_of(run_suite("async")) == {"one": "fail", "two": "pass"}
    assert done == ["a"]


def test_an_async_suite_over_a_dataset_has_one_loop_for_all_its_cases() -> None:
    loops: set[int] = set()

    @suite("loops", dataset=[{"id": str(number)} for number in range(5)])
    async def check(item: Any) -> None:
        loops.add(id(asyncio.get_running_loop()))
        assert_exact(await answer(item["id"]), item["id"])

    assert run_suite("loops").counts["pass"] == 5
    assert len(loops) == 1


def test_cases_that_run_as_tasks_at_once_keep_their_own_checks() -> None:
    @suite("tasks")
    async def check() -> None:
        async def one(number: int) -> None:
            with case(f"t{number}"):
                await answer("x")
                assert_exact(number % 2, 0)

        await asyncio.gather(*(one(number) for number in range(6)))

    result = run_suite("tasks")
    assert states_of(result) == {f"t{number}": "fail" if number % 2 else "pass" for number in range(6)}
    assert result.counts["checks"] == 6


def test_an_async_suite_runs_where_a_loop_is_already_running() -> None:
    @suite("inside")
    async def check() -> None:
        assert_exact(await answer("a"), "a")

    async def main() -> promptry.RunResult:
        return run_suite("inside")

    assert asyncio.run(main()).passed


def test_assertions_in_worker_threads_belong_to_their_case() -> None:
    @suite("threads")
    def check() -> None:
        for name in ("a", "b"):
            with case(name):
                thread = threading.Thread(target=assert_exact, args=(1, 1))
                thread.start()
                thread.join()

    result = run_suite("threads")
    assert states_of(result) == {"a": "pass", "b": "pass"}
    assert result.counts["checks"] == 2


def test_cases_in_worker_threads_are_cases_of_their_own() -> None:
    """The usual way to ask a slow model many questions at once."""

    @suite("pool")
    def check() -> None:
        def one(number: int) -> None:
            with case(f"n{number}"):
                assert_exact(number % 3 == 0, True)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(60)))

    result = run_suite("pool")
    assert states_of(result) == {f"n{number}": "fail" if number % 3 else "pass" for number in range(60)}
    assert result.counts["checks"] == 60


def raise_it(error: BaseException) -> Callable[[], None]:
    def go() -> None:
        raise error

    return go


def compare_plainly() -> None:
    left = 1
    assert left == 2


ENDINGS: list[tuple[str, Callable[[], Any], str, str | None, str]] = [
    # what it does, how, state, assertion type of the last row, a word of the reason
    ("pytest.skip", lambda: pytest.skip("no key"), "skipped", "skipped", "no key"),
    ("SkipTest", raise_it(unittest.SkipTest("not today")), "skipped", "skipped", "not today"),
    ("a plain assert", compare_plainly, "fail", "assert", "== 2"),
    ("a plain assert with words", raise_it(AssertionError("too rude")), "fail", "assert", "too rude"),
    ("an exception", raise_it(RuntimeError("crashed")), "error", "error", "RuntimeError: crashed"),
    ("SystemExit", raise_it(SystemExit(0)), "error", "error", "SystemExit"),
    ("pytest.fail", lambda: pytest.fail("says the author"), "fail", None, "says the author"),
    ("nothing asserted", lambda: None, "fail", "no_assertion", "asserted nothing"),
    ("a failed check", lambda: assert_exact(1, 2), "fail", "exact", "expected 2"),
    ("a wrong argument", lambda: assert_contains(3, "a"), "error", "error", "int"),  # type: ignore[arg-type]
    ("StopIteration", raise_it(StopIteration()), "error", "error", "StopIteration"),
]


@pytest.mark.parametrize("row", ENDINGS, ids=[row[0] for row in ENDINGS])
@pytest.mark.parametrize("form", ["block", "function", "async"])
def test_each_way_a_case_ends_has_its_state_and_reason(row: tuple[Any, ...], form: str) -> None:
    _, go, state, kind, words = row
    if form == "block":

        @suite("ends")
        def check() -> None:
            with case("it"):
                go()
            with case("next"):
                assert_exact(1, 1)
    elif form == "function":

        @suite("ends", dataset=[{"id": "it"}, {"id": "next"}])
        def check(item: Any) -> None:
            assert_exact(1, 1) if item["id"] == "next" else go()
    else:

        @suite("ends", dataset=[{"id": "it"}, {"id": "next"}])
        async def check(item: Any) -> None:
            await answer("x")
            assert_exact(1, 1) if item["id"] == "next" else go()

    result = run_suite("ends")
    if form == "async" and row[0] == "StopIteration":
        words = "StopIteration"  # Python wraps it in a RuntimeError that names it
    assert states_of(result) == {"it": state, "next": "pass"}
    found = promptry.get_run(result.run_id)["cases"][0]
    assert found["checks"][-1]["assertion_type"] == (kind or found["checks"][-1]["assertion_type"])
    assert words in found["checks"][-1]["details"]["reason"]
    if state in {"error", "skipped"}:
        assert found["score"] is None and found["checks"][-1]["passed"] is None
    assert result.passed is (state == "skipped")


def test_a_failed_check_that_the_author_swallowed_still_fails_the_case() -> None:
    @suite("swallow")
    def check() -> None:
        with contextlib.suppress(AssertionError):
            assert_exact(1, 2)
        assert_exact(1, 1)

    result = run_suite("swallow")
    assert states_of(result) == {"swallow": "fail"} and result.score == 0.5


def test_an_error_after_checks_has_no_score_and_the_reason_is_stored() -> None:
    @suite("late")
    def check() -> None:
        assert_exact(1, 1)
        raise RuntimeError("connection lost")

    result = run_suite("late")
    assert result.score is None and not result.passed
    assert result.cases[0]["reason"] == "RuntimeError: connection lost"


def test_an_empty_dataset_does_not_pass() -> None:
    @suite("empty", dataset=[])
    def check(item: Any) -> None:
        assert_exact(1, 1)

    result = run_suite("empty")
    assert not result.passed and result.reasons == ("no case ran",)


def test_a_suite_in_which_all_is_skipped_does_not_pass() -> None:
    @suite("skips")
    def check() -> None:
        pytest.skip("no key")

    assert not run_suite("skips").passed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gate": "banana"}, "statistical"),
        ({"min_pass_rate": 1.5}, "share"),
        ({"min_pass_rate": -0.1}, "share"),
        ({"repeats": 0}, "repeats"),
        ({"confirm": -1}, "confirm"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"margin": 0}, "margin"),
    ],
)
def test_a_suite_that_cannot_be_meant_is_refused_where_it_is_written(options: dict[str, Any], words: str) -> None:
    with pytest.raises(promptry.WrongUse, match=words):
        suite("s", **options)


@pytest.mark.parametrize("name", ["", " ", None, 3])
def test_a_suite_needs_a_name(name: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="suite name"):
        suite(name)


def test_two_suites_of_one_name_in_a_module_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path, "evals.py", "from promptry import suite\n@suite('a')\ndef one(): pass\n@suite('a')\ndef two(): pass\n"
    )
    with pytest.raises(promptry.PromptryError, match="'a'"):
        promptry.load_suites("evals")


def test_the_decorator_returns_the_function_itself() -> None:
    def check() -> None: ...

    assert suite("s")(check) is check


def test_a_description_is_the_one_given_or_the_first_line_of_the_docstring() -> None:
    @suite("a")
    def check() -> None:
        """Says hello.

        And more."""

    suite("b", "Given.")(check)
    assert [found.description for found in promptry.known_suites().values()] == ["Says hello.", "Given."]


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    suite("greeting")(lambda: None)
    with pytest.raises(promptry.NotFound, match="Did you mean 'greeting'"):
        run_suite("greting")


# --- modules


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


SUITE = "from promptry import assert_exact, suite\n@suite('s')\ndef check(): assert_exact(1, 1)\n"


@pytest.mark.parametrize(
    ("module", "file"),
    [("evals", "evals.py"), ("evals.py", "evals.py"), ("pkg.evals", "pkg/evals.py"), ("pkg/evals.py", "pkg/evals.py")],
)
def test_each_form_of_a_module_is_found_in_the_current_folder(module: str, file: str, tmp_path: Path) -> None:
    write(tmp_path, file, SUITE)
    assert list(promptry.load_suites(module)) == ["s"]
    assert run_suite("s", module=module).passed


def test_a_package_with_relative_imports_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, "pkg/__init__.py", "")
    write(tmp_path, "pkg/model.py", "NAME = 'rel'\n")
    write(tmp_path, "pkg/evals.py", "from promptry import suite\nfrom .model import NAME\nsuite(NAME)(lambda: None)\n")
    assert list(promptry.load_suites("pkg.evals")) == ["rel"]


def test_a_module_finds_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "sub/helpers.py", "NAME = 'n'\n")
    write(tmp_path, "sub/evals.py", "from promptry import suite\nfrom helpers import NAME\nsuite(NAME)(lambda: None)\n")
    assert list(promptry.load_suites("sub/evals.py")) == ["n"]


def test_a_module_that_was_edited_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "evals.py", SUITE)
    promptry.load_suites("evals")
    write(tmp_path, "evals.py", SUITE.replace("'s'", "'other'"))
    assert list(promptry.load_suites("evals")) == ["other"]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("evals", "There is no module 'evals'"),
        ("evals.py", "There is no file evals.py"),
        ("pkg.evals", "There is no module 'pkg.evals'"),
        ("no/such.py", "There is no file"),
        ("a b", "no module name"),
        ("", "no module name"),
        ("../evals", "no module name"),
    ],
)
def test_a_module_that_is_not_there_is_one_sentence_that_names_it(module: str, words: str) -> None:
    with pytest.raises(promptry.ConfigError, match=words) as caught:
        promptry.load_suites(module)
    assert caught.value.exit_code == 2 and caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_package\n", "no_such_package"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("from promptry import nothing_like_this\n", "nothing_like_this"),
        ("from promptry import suite\nsuite('')\n", "suite name"),
        ("x = '\udcff'\n".encode("utf-8", "surrogateescape").decode("latin-1"), ""),
    ],
)
def test_a_module_that_fails_shows_its_traceback_and_our_reason(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "evals.py", text)
    if not words:
        assert promptry.load_suites("evals") == {}
        return
    with pytest.raises(promptry.ConfigError, match=words) as caught:
        promptry.load_suites("evals")
    said = capsys.readouterr()
    assert said.out == ""
    assert "evals.py" in said.err and ("Traceback" in said.err or "SyntaxError" in said.err)
    assert "\n" not in str(caught.value)
    assert "evals" in str(caught.value)


def test_what_a_module_prints_while_it_loads_is_no_result(tmp_path: Path, run_cli: Callable[..., Any]) -> None:
    write(tmp_path, "evals.py", f"print('noise')\n{SUITE}")
    done = run_cli("run", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.lstrip().startswith("{"), done.stdout[:200]
    assert "noise" in done.stderr
