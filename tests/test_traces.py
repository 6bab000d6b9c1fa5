"""TRACES: spans nest, a call carries the way from the outermost span to its own, and tasks do not mix."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from pathlib import Path
from typing import Any

import pytest

import promptry


def facts_of(id: int | None) -> dict[str, Any]:
    return dict(promptry.get_call(str(id))["metadata"])


def test_a_call_outside_a_span_says_nothing_of_spans(store: Path) -> None:
    assert facts_of(promptry.track_invocation("a")).keys().isdisjoint({"trace_id", "span_id", "parent_id", "spans"})


def test_spans_nest_and_calls_have_parents(store: Path) -> None:
    with promptry.trace("agent") as outer:
        first = facts_of(promptry.track_invocation("plan"))
        with promptry.trace("tool") as inner:
            second = facts_of(promptry.track_invocation("answer"))
        third = facts_of(promptry.track_invocation("plan"))
    assert outer == inner == first["trace_id"] == second["trace_id"] == third["trace_id"]
    assert [span["name"] for span in first["spans"]] == ["agent"] and first["span_name"] == "agent"
    assert [span["name"] for span in second["spans"]] == ["agent", "tool"] and second["span_name"] == "tool"
    assert first["parent_id"] == third["parent_id"] == second["spans"][0]["id"]
    assert second["parent_id"] == second["spans"][1]["id"] != first["parent_id"]
    assert len({first["span_id"], second["span_id"], third["span_id"]}) == 3


def test_a_span_ends_with_its_block_also_when_that_raises(store: Path) -> None:
    with pytest.raises(ZeroDivisionError), promptry.trace("agent"):
        _ = 1 / 0
    assert "trace_id" not in facts_of(promptry.track_invocation("a"))


def test_two_traces_have_two_ids(store: Path) -> None:
    with promptry.trace("a") as one:
        pass
    with promptry.trace("a") as other:
        pass
    assert one != other


def test_tasks_of_one_loop_do_not_mix_their_spans(store: Path) -> None:
    async def work(name: str) -> dict[str, Any]:
        with promptry.trace(name):
            await asyncio.sleep(0.01)
            id = promptry.track_invocation(name)
            await asyncio.sleep(0.01)
        return facts_of(id)

    async def both() -> list[dict[str, Any]]:
        return list(await asyncio.gather(work("one"), work("two")))

    one, two = asyncio.run(both())
    assert (one["span_name"], two["span_name"]) == ("one", "two") and one["trace_id"] != two["trace_id"]


def test_a_thread_with_a_copied_context_is_in_the_span_and_a_bare_one_is_not(store: Path) -> None:
    found: dict[str, dict[str, Any]] = {}

    def work(key: str) -> None:
        found[key] = facts_of(promptry.track_invocation("a"))

    with promptry.trace("agent") as id:
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=context.run, args=(work, "copied")),
            threading.Thread(target=work, args=("bare",)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found["copied"]["trace_id"] == id and "trace_id" not in found["bare"]


@pytest.mark.parametrize("name", ["", "  ", None, 7])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="span name"), promptry.trace(name):
        pass
