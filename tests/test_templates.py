"""TEMPLATES: what is served is what was promoted or edited last, and nothing that fails reaches the caller."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

import promptry

# --- what is served


def test_without_a_version_the_default_is_served(store: Any) -> None:
    assert promptry.render_prompt("p", "Hello $who", who="Ada") == "Hello Ada"
    assert promptry.list_prompts()["total"] == 0, "rendering saves nothing"


def test_without_env_the_latest_is_served(store: Any, clock: Any) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two")
    assert promptry.render_prompt("p", "default") == "two"
    promptry.save_prompt("p", "one")
    clock(61)
    assert promptry.render_prompt("p", "default") == "one"


def test_with_env_the_version_that_carries_the_tag_is_served(store: Any) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two", tag="staging")
    promptry.save_prompt("p", "draft")
    assert promptry.render_prompt("p", "default", env="prod") == "one"
    assert promptry.render_prompt("p", "default", env="staging") == "two"


def test_with_an_env_that_nothing_carries_the_default_is_served_and_never_a_draft(store: Any) -> None:
    promptry.save_prompt("p", "draft")
    promptry.save_prompt("q", "other", tag="prod")
    assert promptry.render_prompt("p", "default", env="prod") == "default"


@pytest.mark.parametrize("env", [None, "prod"])
def test_another_callers_default_is_never_served(store: Any, env: str | None) -> None:
    assert promptry.render_prompt("p", "mine", env=env) == "mine"
    assert promptry.render_prompt("p", "yours", env=env) == "yours"
    assert promptry.get_prompt_template("p", "theirs", env=env) == "theirs"


def test_env_and_no_env_are_cached_apart(store: Any) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two")
    for _ in range(2):
        assert promptry.render_prompt("p", "default") == "two"
        assert promptry.render_prompt("p", "default", env="prod") == "one"


# --- for how long


def test_what_is_served_is_cached_about_ttl_seconds(store: Any, raw: sqlite3.Connection, clock: Any) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two")
    assert promptry.render_prompt("p", "default", env="prod") == "one"
    raw.execute("UPDATE prompt_tags SET prompt_id = 2")
    clock(55)
    assert promptry.render_prompt("p", "default", env="prod") == "one"
    clock(10)
    assert promptry.render_prompt("p", "default", env="prod") == "two"


def test_a_ttl_of_zero_looks_each_time_also_after_a_longer_one(store: Any, raw: sqlite3.Connection) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two")
    assert promptry.render_prompt("p", "default", env="prod", ttl=60) == "one"
    raw.execute("UPDATE prompt_tags SET prompt_id = 2")
    assert promptry.render_prompt("p", "default", env="prod", ttl=0) == "two"


def test_a_prompt_that_appears_after_a_miss_is_served_soon(store: Any, raw: sqlite3.Connection, clock: Any) -> None:
    assert promptry.render_prompt("p", "default") == "default"
    raw.execute("INSERT INTO prompts (name, version, content, hash) VALUES ('p', 1, 'saved elsewhere', 'h')")
    clock(5)
    assert promptry.render_prompt("p", "default") == "saved elsewhere"


@pytest.mark.parametrize("env", [None, "prod"])
def test_what_this_process_saves_or_promotes_it_serves_at_once(store: Any, env: str | None) -> None:
    assert promptry.render_prompt("p", "default", env=env) == "default"
    promptry.save_prompt("p", "one", tag="prod")
    assert promptry.render_prompt("p", "default", env=env) == "one"
    promptry.save_prompt("p", "two")
    promptry.promote("p", 2, "prod")
    assert promptry.render_prompt("p", "default", env=env) == "two"
    promptry.track("three", "p", tag="prod")
    assert promptry.render_prompt("p", "default", env=env) == "three"


def test_a_second_look_within_ttl_asks_no_store(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    promptry.save_prompt("p", "one")
    promptry.render_prompt("p", "default")
    monkeypatch.setattr(promptry, "fetch", lambda *_: pytest.fail("asked the store"))
    assert promptry.render_prompt("p", "default") == "one"


# --- placeholders


RENDERED: list[tuple[str, dict[str, Any], str]] = [
    ("Hello $who", {"who": "Ada"}, "Hello Ada"),
    ("Hello ${who}s", {"who": "Ada"}, "Hello Adas"),
    ("Hello $who", {}, "Hello $who"),
    ("costs $$5 and $5", {}, "costs $5 and $5"),
    ("a $ alone $", {}, "a $ alone $"),
    ('{"a": {"b": $n}, "c": "{who}"}', {"n": 1, "who": "x"}, '{"a": {"b": 1}, "c": "{who}"}'),
    ("%s %(a)s {0} {}", {"a": 1}, "%s %(a)s {0} {}"),
    ("$who", {"who": "$other", "other": "x"}, "$other"),
    ("$a$b", {"a": 1, "b": None}, "1None"),
    ("${not a name} $1", {}, "${not a name} $1"),
    ("$ünlaut $who", {"who": "Ada"}, "$ünlaut Ada"),
    ("Dear ${user-name} and ${naïve}", {"user-name": "Ada", "naïve": 1}, "Dear Ada and 1"),
    ("${first name}, ${a.b}", {"first name": "Ada", "a.b": 2}, "Ada, 2"),
    (
        "$user-name ${json: 1} ${-x} ${x }",
        {"user-name": 1, "json: 1": 2, "-x": 3, "x ": 4},
        "$user-name ${json: 1} ${-x} ${x }",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("template", "values", "text"), RENDERED)
@pytest.mark.parametrize("saved", [False, True], ids=["default", "saved"])
@pytest.mark.parametrize("way", ["keywords", "variables"])
def test_placeholders_are_filled_in_as_string_template_does_it_safely(
    store: Any, template: str, values: dict[str, Any], text: str, saved: bool, way: str
) -> None:
    if saved:
        promptry.save_prompt("p", template)
    default = "another default" if saved else template
    given: dict[str, Any] = values if way == "keywords" else {"variables": values}
    assert promptry.render_prompt("p", default, **given) == text


def test_names_that_are_parameters_go_through_variables(store: Any) -> None:
    names = ["name", "ttl", "env", "default_content", "variables", "self", "class", "kw"]
    template = " ".join(f"${name}" for name in names)
    assert promptry.render_prompt("p", template, variables=dict(zip(names, names, strict=True))) == " ".join(names)


def test_a_keyword_wins_over_variables(store: Any) -> None:
    assert promptry.render_prompt("p", "$a $b", variables={"a": 1, "b": 2}, b=3) == "1 3"


def test_the_template_is_given_as_it_is(store: Any) -> None:
    promptry.save_prompt("p", "Hello $who $$")
    assert promptry.get_prompt_template("p", "default") == "Hello $who $$"


class Unprintable:
    """A value that cannot become text."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_a_value_that_cannot_become_text_serves_the_default_and_is_counted(store: Any) -> None:
    promptry.save_prompt("p", "saved $x $y")
    text = promptry.render_prompt("p", "default $x $y", x=Unprintable(), y=1)
    assert text.startswith("default ") and text.endswith(" 1")
    assert promptry.count_untold_fallbacks() == 1


WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("", "default"), {}),
    ((None, "default"), {}),
    ((["p"], "default"), {}),
    (("p", None), {}),
    (("p", b"default"), {}),
    (("p", "default"), {"variables": [1]}),
    (("p", "default"), {"variables": "a"}),
    (("p", "default"), {"ttl": "long"}),
    (("p", "default"), {"ttl": None}),
    (("p", "default"), {"env": 5}),
    (("p", "default"), {"env": ["prod"]}),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG)
def test_a_wrong_argument_raises_wrong_use(store: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        promptry.render_prompt(*arguments, **named)
    assert isinstance(caught.value, promptry.WrongUse)


# --- a store in trouble


def test_a_bad_store_serves_the_default_is_counted_and_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.db").write_bytes(b"no database\n" * 100)
    promptry.use_store(tmp_path / "bad.db")
    with caplog.at_level(logging.DEBUG, "promptry"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert promptry.render_prompt("p", "Hello $who", ttl=0, who="Ada") == "Hello Ada"
    assert promptry.count_untold_fallbacks() == 3
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    promptry.use_store(tmp_path / "good.db")
    promptry.connect()
    found = next(found for found in promptry.diagnose() if found["name"] == "fallbacks")
    assert "3 times" in found["detail"]


def test_a_store_that_fails_later_goes_on_serving_what_it_served(store: Any, clock: Any, monkeypatch: Any) -> None:
    promptry.save_prompt("p", "saved")
    assert promptry.render_prompt("p", "default", ttl=60) == "saved"

    def fails(*_: Any) -> Any:
        raise promptry.StoreError("the store is gone.")

    monkeypatch.setattr(promptry, "fetch", fails)
    clock(61)
    served = promptry.render_prompt("p", "default", ttl=60)
    assert promptry.count_untold_fallbacks() == 1
    assert promptry.render_prompt("p", "default", ttl=60) == "saved"
    assert served in {"saved", "default"}
    monkeypatch.undo()


def test_a_bad_edit_never_breaks_the_caller(store: Any) -> None:
    for text in ("$", "${", "${}", "$$$", "{", "%", "\x00", "${a", "$1"):
        promptry.save_prompt("p", text)
        promptry.forget_templates()
        assert isinstance(promptry.render_prompt("p", "default", a=1), str)
    assert promptry.count_untold_fallbacks() == 0


def test_rows_of_others_are_served(raw: sqlite3.Connection) -> None:
    raw.execute("INSERT INTO prompts (name, version, content, hash) VALUES ('p', 1, 'plain', 'h')")
    assert promptry.render_prompt("p", "default") == "plain"


def test_threads_render_at_once(store: Any) -> None:
    promptry.save_prompt("p", "saved $n")
    seen: list[str] = []

    def work(number: int) -> None:
        seen.extend(promptry.render_prompt("p", "default", ttl=0, n=number) for _ in range(50))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(seen)) == [f"saved {number}" for number in range(4)] and len(seen) == 200


# --- seed_prompt


def test_seeding_saves_a_first_version_and_tags_it_prod(store: Any) -> None:
    promptry.seed_prompt("p", "default")
    assert promptry.find_prompt("p", tag="prod").content == "default"  # type: ignore[union-attr]
    assert promptry.render_prompt("p", "other", env="prod") == "default"


def test_seeding_a_prompt_that_exists_changes_nothing(store: Any) -> None:
    promptry.save_prompt("p", "one")
    promptry.save_prompt("p", "draft")
    promptry.seed_prompt("p", "default")
    assert promptry.list_prompts()["items"][0]["tags"] == {}
    assert promptry.find_prompt("p").content == "draft"  # type: ignore[union-attr]
    assert promptry.list_prompts()["items"][0]["versions"] == 2


@pytest.mark.parametrize("arguments", [("", "x"), ("p", None), (None, "x"), ("p", 5)])
def test_seeding_with_a_wrong_argument_raises(store: Any, arguments: Any) -> None:
    with pytest.raises(promptry.WrongUse):
        promptry.seed_prompt(*arguments)


@pytest.mark.slow
def test_processes_that_seed_at_once_make_one_version(store: Any, start_python: Any) -> None:
    code = """
    import sys, promptry
    promptry.use_store(sys.argv[1])
    promptry.seed_prompt("p", "default of " + sys.argv[2])
    """
    children = [start_python(code, store, number) for number in range(4)]
    assert [child.wait(30) for child in children] == [0] * 4
    (found,) = promptry.list_prompts()["items"]
    assert (found["versions"], found["tags"]) == (1, {"prod": 1})


# --- lint

LINTED: list[tuple[str, list[tuple[str, int, str]]]] = [
    ("Answer: $question", []),
    ("Costs $$5 for ${name}", []),
    ('{"answer": "$text", "list": [1, {"a": 2}]}', []),
    ("", [("error", 1, "the text is empty")]),
    (" \n", [("error", 1, "the text is empty")]),
    ("It costs $5.", [("hint", 1, "'$' is a plain dollar sign here; $$ says so for certain")]),
    ("a\nHello {name}", [("warning", 2, "'{name}' is plain text: placeholders are written $name")]),
    ("Hello {{ name }}", [("warning", 1, "'{{ name }}' is plain text: placeholders are written $name")]),
    ("Hello ${na-me}", []),
    ("Hello ${na:me}", [("warning", 1, "'${na:me}' is no placeholder and stays as it is: write ${name}")]),
    ("Hello ${name", [("warning", 1, "'${name' is no placeholder and stays as it is: write ${name}")]),
    ("Hello %(name)s and %s", [("warning", 1, "'%(name)s' is plain"), ("warning", 1, "'%s' is plain")]),
    ("100%sure", []),
]


@pytest.mark.parametrize(("text", "wanted"), LINTED)
def test_lint_names_the_traps_of_a_text(text: str, wanted: list[tuple[str, int, str]]) -> None:
    found = promptry.lint_prompt(text)
    assert [(row["level"], row["line"]) for row in found] == [(level, line) for level, line, _ in wanted]
    for row, (_, _, words) in zip(found, wanted, strict=True):
        assert row["message"].startswith(words)


def test_lint_names_placeholders_that_nobody_passes() -> None:
    found = promptry.lint_prompt("Hi $name,\n$qestion", ["name", "question"])
    assert [(row["level"], row["line"], row["message"]) for row in found] == [
        ("error", 2, "$qestion is passed by nobody. Did you mean 'question'?")
    ]


def test_lint_tells_what_changed_since_production(store: Any) -> None:
    promptry.save_prompt("p", "Hi $name, $question", tag="prod")
    found = promptry.lint_prompt("Hi\n$tone $name", against=promptry.find_prompt("p", tag="prod"))
    assert [(row["level"], row["line"]) for row in found] == [("warning", 1), ("warning", 2)]
    assert "$question of version 1" in found[0]["message"] and "$tone is new since version 1" in found[1]["message"]


def test_lint_says_that_a_name_with_other_signs_takes_braces() -> None:
    (found,) = promptry.lint_prompt("Dear $user-name", ["user-name", "users"])
    assert found["message"] == "$user is passed by nobody. Write ${user-name}: such a name takes braces."


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_edit_is_refused_and_one_made_elsewhere_serves_the_default(
    store: Any, raw: sqlite3.Connection, text: str, caplog: Any
) -> None:
    with pytest.raises(promptry.WrongUse, match="The text of prompt 'p' is empty"):
        promptry.save_prompt("p", text)
    promptry.save_prompt("p", "good")
    raw.execute(
        "INSERT INTO prompts (name, version, content, hash, created_at) VALUES ('p', 2, ?, 'h', ?)",
        (text, "2999-01-01T00:00:00.000Z"),
    )
    assert promptry.render_prompt("p", "default $a", a=1) == "default 1"
    assert "Version 2 of prompt 'p' is empty" in caplog.text and promptry.count_untold_fallbacks() == 1
    assert promptry.render_prompt("p", "", a=1) == text, "where the default is empty too, that is meant"


def test_a_store_that_is_locked_whole_holds_up_a_template_for_wait_ms_only(store: Path) -> None:
    promptry.save_prompt("p", "stored", tag="prod")
    promptry.close_store()
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE prompts SET metadata = metadata")
    other.execute("COMMIT")
    try:
        began = time.perf_counter()
        assert promptry.render_prompt("p", "default", env="prod") == "default"
        assert time.perf_counter() - began < 2, "it was 5 s"
    finally:
        other.close()


def test_fallbacks_are_told_to_the_store_when_it_can_be_used_again(store: Any, locked: Any, clock: Any) -> None:
    promptry.save_prompt("p", "stored")
    broken = store.with_name("broken.db")
    broken.write_text("no store" * 1000)
    promptry.use_store(broken)
    assert [promptry.render_prompt("p", "default") for _ in range(3)] == ["default"] * 3
    promptry.use_store(store)
    with locked():
        assert promptry.render_prompt("p", "default") == "stored"
        assert promptry.stored_fallbacks() == {} and promptry.count_untold_fallbacks() == 1
    clock(61)
    assert promptry.render_prompt("p", "default") == "stored"
    assert promptry.stored_fallbacks() == {"p": 1} and not promptry.count_untold_fallbacks()


def test_a_prompt_that_went_with_its_file_is_counted(store: Any, run_python: Any) -> None:
    promptry.save_prompt("p", "stored")
    told = run_python(
        """
        import os, promptry
        promptry._LOOK_EVERY_S = 0.0
        print(promptry.render_prompt("p", "default", ttl=0), promptry.render_prompt("new", "default", ttl=0))
        os.remove(promptry.store_path())
        print(promptry.render_prompt("p", "default", ttl=0), promptry.render_prompt("new", "default", ttl=0))
        """,
        PROMPTRY_DB=str(store),
    )
    assert told.stdout.split() == ["stored", "default", "default", "default"]
    assert "held it before and holds it no more" in told.stderr
    promptry.close_store()
    assert promptry.stored_fallbacks() == {"p": 1}


@pytest.mark.slow
def test_fallbacks_of_a_process_that_records_no_call_are_told_at_its_end(store: Any, run_python: Any) -> None:
    promptry.save_prompt("p", "stored")
    run_python(
        """
        import promptry, sys
        store, broken = promptry.store_path(), promptry.store_path().with_name("broken.db")
        broken.write_text("no store" * 1000)
        promptry.use_store(broken)
        for _ in range(2):
            promptry.render_prompt("p", "default")
        promptry.use_store(store)
        """,
        PROMPTRY_DB=str(store),
    )
    run_python("import promptry\npromptry._fall_back('p', ValueError())\n", PROMPTRY_DB=str(store))
    assert promptry.stored_fallbacks() == {"p": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "variables"),
    [
        ("\n".join(f"$a{number}" for number in range(30_000)), None),
        ("\n".join(f"$a{number}" for number in range(30_000)), [f"b{number}" for number in range(5000)]),
        ("$ " * 300_000, None),
        ("{a" * 300_000, None),
    ],
)
def test_no_text_takes_long_to_look_over_or_has_endless_hints(content: str, variables: list[str] | None) -> None:
    start = time.monotonic()
    found = promptry.lint_prompt(content, variables, promptry.PromptVersion(1, "p", 1, "$old", "h"))
    assert time.monotonic() - start < 10 and 1 <= len(found) <= 1001
    if len(found) == 1001:
        assert found[-1]["message"] == "and more, which is not listed"
