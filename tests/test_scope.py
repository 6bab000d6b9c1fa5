"""SCOPE: a run fixes what is served in its code, its threads, its tasks and its child processes."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

import promptry


@pytest.fixture
def prompts(store: Any) -> None:
    promptry.save_prompt("p", "one", tag="prod")
    promptry.save_prompt("p", "two", tag="staging")
    promptry.save_prompt("p", "draft")
    promptry.save_prompt("q", "only")


def scope(version: int | None = None, env: str | None = None, prompt: str | None = None) -> promptry.RunScope:
    return promptry.make_scope("uid-1", prompt, version, env)


SERVED = [
    # (what the run fixes, the env in the code, what is served)
    ({}, None, "draft"),
    ({}, "prod", "draft"),
    ({"env": "prod"}, None, "one"),
    ({"env": "prod"}, "staging", "one"),
    ({"env": "staging"}, "prod", "two"),
    ({"version": 2}, None, "two"),
    ({"version": 1}, "staging", "one"),
    ({"version": 2, "prompt": "p"}, None, "two"),
    ({"version": 1, "prompt": "q"}, None, "draft"),
    ({"env": "nobody"}, None, "default"),
    ({"version": 9}, None, "default"),
]


@pytest.mark.parametrize(("fixed", "env", "text"), SERVED)
def test_a_run_serves_what_it_fixes_else_the_latest(
    prompts: None, fixed: dict[str, Any], env: str | None, text: str
) -> None:
    promptry.render_prompt("p", "default", env=env)
    with promptry.entered_scope(scope(**fixed)) as entered:
        assert promptry.render_prompt("p", "default", env=env) == text
        assert entered.missing == ({"p"} if text == "default" else set())


def test_outside_a_run_all_is_as_before(prompts: None) -> None:
    with promptry.entered_scope(scope(version=1)):
        assert promptry.render_prompt("p", "default", env="staging") == "one"
    assert promptry.run_scope() is None and "PROMPTRY_RUN" not in os.environ
    assert promptry.render_prompt("p", "default", env="staging") == "two"


def test_an_exception_leaves_the_scope_too(prompts: None) -> None:
    with pytest.raises(ZeroDivisionError), promptry.entered_scope(scope(version=1)):
        raise ZeroDivisionError
    assert promptry.run_scope() is None and "PROMPTRY_RUN" not in os.environ


def test_scopes_nest(prompts: None) -> None:
    with promptry.entered_scope(scope(version=1)):
        with promptry.entered_scope(scope(version=2)):
            assert promptry.render_prompt("p", "default") == "two"
        assert promptry.render_prompt("p", "default") == "one"


def test_threads_and_tasks_are_in_the_run(prompts: None) -> None:
    seen: list[str] = []

    async def work() -> str:
        return await asyncio.to_thread(promptry.render_prompt, "p", "default")

    with promptry.entered_scope(scope(version=1)):
        thread = threading.Thread(target=lambda: seen.append(promptry.render_prompt("p", "default")))
        thread.start()
        thread.join()
        seen.append(asyncio.run(work()))
    assert seen == ["one", "one"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["subprocess", "fork", "spawn"])
def test_child_processes_are_in_the_run(prompts: None, store: Any, run_python: Any, how: str) -> None:
    done = run_python(
        """
        import multiprocessing, subprocess, sys
        import promptry

        def show():
            promptry.use_store(sys.argv[1])
            found = promptry.render_prompt("p", "default", env="staging")
            id = promptry.track_invocation("p")
            facts = promptry.get_call(str(id))
            print(found, facts["metadata"]["run_uid"], facts["metadata"]["origin"], facts["prompt_version"], flush=True)

        if __name__ == "__main__":
            if sys.argv[2] == "show":
                show()
            else:
                with promptry.entered_scope(promptry.make_scope("uid-1", None, 1, None)):
                    if sys.argv[2] == "subprocess":
                        subprocess.run([sys.executable, __file__, sys.argv[1], "show"], check=True)
                    else:
                        child = multiprocessing.get_context(sys.argv[2]).Process(target=show)
                        child.start()
                        child.join()
        """,
        store,
        how,
    )
    assert done.stdout.split() == ["one", "uid-1", "eval", "1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["", "{", "5", "[]", '"x"', "null", '["uid"]', '{"uid": 1}', '["u", 1, "x", [], {}, 9]']
)
def test_an_odd_environment_never_breaks_the_import(run_python: Any, text: str) -> None:
    run_python(
        "import promptry\nassert promptry.track('A', 'p') == 'A'\nassert promptry.render_prompt('p', 'd') == 'A'\n",
        PROMPTRY_RUN=text,
        PROMPTRY_DB="scope.db",
    )


def test_a_run_notes_what_it_served_with_its_hash(prompts: None) -> None:
    with promptry.entered_scope(scope(env="prod")) as entered:
        promptry.render_prompt("p", "default")
        promptry.track("of the code", "coded")
        promptry.track("of the code", "coded")
        promptry.render_prompt("nobody", "default")
    assert entered.served == {"p": {1: promptry.hash_text("one")}, "coded": {1: promptry.hash_text("of the code")}}
    assert entered.rendered == {"p"} and entered.missing == {"nobody"}


def test_the_version_served_last_is_the_one_noted_on_a_call_also_when_it_was_served_before(prompts: None) -> None:
    with promptry.entered_scope(scope()):
        for text in ("one", "two", "one"):
            promptry.track(text, "p")
        assert promptry.served_version("p") == 1
        seen: list[int | None] = []
        thread = threading.Thread(target=lambda: seen.append(promptry.served_version("p")))
        thread.start()
        thread.join()
        assert seen == [1]


def test_a_call_in_a_run_says_so(store: Any) -> None:
    with promptry.entered_scope(scope()):
        promptry.track_invocation("p")
        promptry.track_invocation("p", {"origin": "judge"})
    promptry.track_invocation("p")
    found = [promptry.get_call(row["id"])["metadata"] for row in promptry.list_calls()["items"]][::-1]
    assert [facts.get("origin") for facts in found] == ["eval", "judge", None]
    assert [facts.get("run_uid") for facts in found] == ["uid-1", "uid-1", None]


@pytest.mark.parametrize(
    ("fixed", "name", "is_fixed"),
    [
        ({}, "p", False),
        ({"version": 1}, "p", True),
        ({"env": "prod"}, "p", True),
        ({"env": "prod", "prompt": "p"}, "p", True),
        ({"env": "prod", "prompt": "p"}, "q", False),
        ({"prompt": "p"}, "p", False),
    ],
)
def test_a_run_fixes_a_version_or_a_tag_of_its_prompt(fixed: dict[str, Any], name: str, is_fixed: bool) -> None:
    assert promptry.is_fixed(scope(**fixed), name) is is_fixed


@pytest.mark.parametrize("name", ["", " ", "\t\n", None, 5, b"x", ["x"]])
def test_a_name_that_is_none_is_wrong_use(name: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="takes a text that is not empty"):
        promptry.check_name(name)


def test_a_block_says_what_its_calls_are_made_for_and_is_told_their_facts(store: Any) -> None:
    def track(name: str, **more: Any) -> None:
        promptry.track_invocation(name, {"cost_usd": 0.5, **more})

    with promptry.entered_scope(scope()):
        track("a")
        with promptry.calls_for("playground") as outer:
            track("b")
            with promptry.calls_for("judge") as inner:
                track("c")
                track("d", origin="app")
                thread = threading.Thread(target=track, args=("e",))
                thread.start()
                thread.join()
        track("f")
    track("g")
    assert [facts["cost_usd"] for facts in inner] == [0.5, 0.5]
    assert [facts["origin"] for facts in outer] == ["playground", "judge", "app"], "those of a block inside come last"
    origins = {row["prompt_name"]: row["origin"] for row in promptry.list_calls(limit=9)["items"]}
    assert origins == {"a": "eval", "b": "playground", "c": "judge", "d": "app", "e": "eval", "f": "eval", "g": "app"}


def test_a_block_outside_of_a_run_counts_too_and_tasks_are_told_apart(store: Any) -> None:
    async def ask(origin: str) -> list[str]:
        with promptry.calls_for(origin) as calls:
            await asyncio.sleep(0)
            promptry.track_invocation("p")
            await asyncio.sleep(0)
            return [facts["origin"] for facts in calls]

    async def both() -> list[list[str]]:
        return await asyncio.gather(ask("judge"), ask("eval"))

    assert asyncio.run(both()) == [["judge"], ["eval"]]


def test_a_judge_is_remembered_by_the_run_it_judges_in() -> None:
    promptry.note_judge("nobody's")
    with promptry.entered_scope(scope()) as entered:
        promptry.note_judge("openai:m")
        thread = threading.Thread(target=promptry.note_judge, args=("m.f",))
        thread.start()
        thread.join()
    assert entered.judges == {"openai:m", "m.f"}
