"""SUITES: what a suite is, the items of its dataset, and how a module of suites is found."""

from __future__ import annotations

import itertools
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


def broken_items() -> Any:
    yield {"id": "a"}
    raise RuntimeError("the source is gone")


RING: dict[str, Any] = {"id": "ring"}
RING["itself"] = RING


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
        (
            [{"id": "a"}, {"id": {"b": 1}}],
            promptry.WrongUse,
            "item 2 is {'b': 1}; it takes a text or a number",
        ),
        ([{"id": ["a"]}], promptry.WrongUse, "the id of item 1 is"),
        ([{"id": True}], promptry.WrongUse, "the id of item 1 is True"),
        ([{"id": " "}], promptry.WrongUse, "the id of item 1 is ' '"),
        (
            [{"id": "a"}, {"id": "b", "x": object()}],
            promptry.WrongUse,
            "JSON, number 2: Object of type object",
        ),
        ([{"id": "a", "x": float("nan")}], promptry.WrongUse, "cannot be written as JSON, number 1"),
        ([{("a", 1): 2}], promptry.WrongUse, "cannot be written as JSON, number 1"),
        ([RING], promptry.WrongUse, "number 1: Circular reference"),
        (({"id": number} for number in itertools.count()), promptry.WrongUse, "more than 3 items"),
    ],
)
def test_a_dataset_that_cannot_be_meant_is_refused_before_a_case_ran(
    dataset: Any, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_ITEMS", 3)
    save_dataset("qa", [{"id": "a"}])
    ran: list[Any] = []

    @suite("refused", dataset=dataset)
    def check(item: Any) -> None:
        ran.append(item)

    with pytest.raises(error, match=words):
        run_suite("refused")
    assert ran == [] and promptry.list_runs()["total"] == 0


@pytest.mark.parametrize("dataset", [5, broken_items, {"a": 1}, b"ab"])
def test_what_has_no_items_is_refused_where_it_is_given(dataset: Any) -> None:
    kind = type(dataset).__name__
    with pytest.raises(promptry.WrongUse, match=f"Suite 'refused': its dataset is of type {kind}. It takes a list"):
        suite("refused", dataset=dataset)


def test_a_dataset_that_raises_while_it_is_read_is_refused_each_time() -> None:
    suite("refused", dataset=broken_items())(lambda item: assert_exact(1, 1))
    for _ in range(2):
        with pytest.raises(promptry.WrongUse, match="cannot be read: RuntimeError: the source is gone") as found:
            run_suite("refused")
        assert "test_suites.py" in found.value.hint
    assert promptry.list_runs()["total"] == 0


def test_an_iterator_is_read_once_for_repeats_tries_and_later_runs() -> None:
    called: list[str] = []
    outcome, read = {"b": 1}, []

    def items() -> Any:
        for name in "abc":
            read.append(name)
            yield {"id": name}

    promptry.save_prompt("p", "text", tag="prod")

    @suite("s", prompt="p", dataset=items())
    def check(item: Any) -> None:
        promptry.render_prompt("p", "")
        called.append(item["id"])
        assert_exact(outcome.get(item["id"], 1), 1)

    assert read == [], "it is read when it is needed"
    assert [row["repeat"] for row in run_suite("s", repeats=2).cases] == [0, 0, 0, 1, 1, 1]
    run_suite("s")
    called.clear()
    outcome["b"] = 0
    result = run_suite("s", compare="prod")
    assert called == ["a", "b", "c", "b", "b"] and result.counts["cases"] == 3
    assert read == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ("def check(): pass", "too many positional arguments"),
        ("def check(item, other): pass", "missing a required argument: 'other'"),
        ("def check(item, *, key): pass", "missing a required argument: 'key'"),
        ("def check(item): yield", "it holds yield, so that a call of it runs nothing"),
        ("async def check(item): yield", "it holds yield, so that a call of it runs nothing"),
    ],
)
def test_a_function_that_cannot_take_its_items_is_refused_at_load_with_its_line(
    function: str, fault: str, tmp_path: Path
) -> None:
    (tmp_path / "evals.py").write_text(f"from promptry import suite\n\n@suite('s', dataset=[1])\n{function}\n")
    with pytest.raises(promptry.WrongUse) as found:
        promptry.load_suites("evals")
    told = (
        f"evals.py:3: Suite 's' is called with one item of its dataset, and its function does not take that: {fault}."
    )
    assert found.value.message == told


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


def test_two_suites_of_one_name_in_two_files_are_refused_with_both_places(tmp_path: Path) -> None:
    text = "from promptry import suite\n@suite('x')\ndef one():\n    pass\n"
    (tmp_path / "other.py").write_text(text)
    (tmp_path / "evals.py").write_text("import other\n" + text)
    with pytest.raises(promptry.ConfigError, match="the name 'x': other.py, line 2 and evals.py, line 3. Give each"):
        promptry.load_suites("evals")
    (tmp_path / "evals.py").write_text("import other\n")
    for _ in range(2):
        assert list(promptry.load_suites("evals")) == ["x"]


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


def test_a_case_that_changes_its_item_keeps_its_name() -> None:
    items: list[dict[str, Any]] = [{"x": 1}, {"x": 2}]
    names = [promptry.item_id(item) for item in items]

    @suite("changed", dataset=items, repeats=2)
    def check(item: dict[str, Any]) -> None:
        item["seen"] = item.get("seen", 0) + 1
        assert_exact(item["x"], item["x"])

    found = run_suite("changed")
    assert [(row["repeat"], row["case"]) for row in found.cases] == [(n, name) for n in (0, 1) for name in names]
    assert [item["seen"] for item in items] == [2, 2]


def test_the_items_of_a_suite_are_a_sequence_under_their_case_ids() -> None:
    @suite("items", dataset=[{"id": f"c{number}"} for number in range(2500)])
    def check(item: Any) -> None:
        assert_exact(1, 1)

    chosen = promptry.require_suite("items")
    items, dataset = promptry.suite_cases(chosen)
    assert items is not None and dataset is not None
    assert len(items) == 2500 and items[7] == ("c7", {"id": "c7"}) and items[-1][0] == "c2499"
    assert [name for name, _ in items[1:3]] == ["c1", "c2"] and [name for name, _ in items] == [
        f"c{number}" for number in range(2500)
    ]
    text = promptry.json.dumps(chosen.dataset, sort_keys=True)
    assert dataset.hash == promptry.hash_text(text), "the hash is that of the whole text"
