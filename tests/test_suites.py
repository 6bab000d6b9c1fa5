"""SUITES: what a suite is, the items of its dataset, and how a module of suites is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, run_suite, save_dataset, suite

pytestmark = pytest.mark.usefixtures("own_registry")


def states_of(result: promptry.RunResult) -> dict[str, str]:
    return {row["case"]: row["state"] for row in result.cases}


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


def test_a_dataset_that_is_none_is_refused_where_it_is_given() -> None:
    with pytest.raises(promptry.WrongUse, match="Suite 'x': the dataset is 3. It takes a list"):
        promptry.suite("x", dataset=3)


def test_a_dataset_that_can_be_read_once_is_kept() -> None:
    promptry.suite("once", dataset=({"id": name} for name in "ab"))(lambda item: None)
    chosen = promptry.require_suite("once")
    for _ in range(2):
        pairs, _ = promptry.suite_cases(chosen)
        assert [name for name, _ in pairs or []] == ["a", "b"]
