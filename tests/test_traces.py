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


# --- read back


def test_traces_are_listed_newest_first_with_their_sums(store: Path) -> None:
    for number in range(5):
        with promptry.trace(f"agent-{number}"):
            promptry.track_invocation("a", {"cost_usd": 0.5, "tokens_in": 10, "tokens_out": 1})
            if number % 2:
                promptry.track_invocation("b", {"status": "error"})
                promptry.track_invocation("b", {"tokens_in": 5})
    promptry.track_invocation("outside")
    found = promptry.list_traces(limit=2)
    rows = list(found["items"])
    while found["next"]:
        found = promptry.list_traces(limit=2, before=found["next"])
        rows += found["items"]
    assert [row["name"] for row in rows] == [f"agent-{number}" for number in (4, 3, 2, 1, 0)] and found["total"] == 5
    assert (rows[1]["calls"], rows[1]["errors"], rows[1]["unpriced"], rows[1]["cost_usd"]) == (3, 1, 1, 0.5)
    assert (rows[0]["calls"], rows[0]["tokens_in"]) == (1, 10)


def test_a_trace_is_a_tree_with_cost_and_time(store: Path) -> None:
    with promptry.trace("agent") as id:
        promptry.track_invocation("plan", {"cost_usd": 1, "latency_ms": 100})
        with promptry.trace("tool"):
            promptry.track_invocation("answer", {"cost_usd": 2, "latency_ms": 10}, model="m")
            promptry.track_invocation("answer", {"latency_ms": 10})
    found = promptry.get_trace(id)
    shape = [(span["depth"], span["kind"], span["name"], span["cost_usd"]) for span in found["spans"]]
    assert shape == [
        (0, "span", "agent", 3),
        (1, "call", "plan", 1),
        (1, "span", "tool", 2),
        (2, "call", "answer", 2),
        (2, "call", "answer", None),
    ]
    assert (found["name"], found["calls"], found["unpriced"], found["cost_usd"]) == ("agent", 3, 1, 3)
    by_id = {span["id"]: span for span in found["spans"]}
    for span in found["spans"]:
        outer = by_id.get(span["parent_id"])
        if outer is not None:
            assert outer["start_ms"] <= span["start_ms"]
            assert outer["start_ms"] + outer["duration_ms"] >= span["start_ms"] + span["duration_ms"] - 0.01
    assert min(span["start_ms"] for span in found["spans"]) == 0 and found["duration_ms"] >= 100
    assert promptry.run_command(["traces", id]) == 0


def test_a_call_in_a_trace_says_when_it_spoke_and_why_it_failed(store: Path) -> None:
    with promptry.trace("agent") as id:
        facts = {"ttft_ms": 40, "latency_ms": 100}
        promptry.track_invocation("plan", facts, prompt_version=3, request_id="r-1")
        promptry.track_invocation("plan", {"status": "error", "error": "429 too many"}, request_id="r-2")
    calls = [span for span in promptry.get_trace(id)["spans"] if span["kind"] == "call"]
    assert [(call["ttft_ms"], call["error"], call["request_id"]) for call in calls] == [
        (40, None, "r-1"),
        (None, "429 too many", "r-2"),
    ]
    assert [call["prompt_version"] for call in calls] == [3, None]


def test_a_trace_tells_what_was_said_of_its_requests(store: Path) -> None:
    with promptry.trace("agent") as id:
        promptry.track_invocation("plan", request_id="r-1")
        promptry.track_invocation("answer", request_id="r-1")
    promptry.track_invocation("outside", request_id="r-2")
    promptry.record_feedback("r-1", 0.25, "too late", "app")
    promptry.record_feedback("r-2", 1)
    (said,) = promptry.get_trace(id)["feedback"]
    assert (said["request_id"], said["rating"], said["comment"], said["source"]) == ("r-1", 0.25, "too late", "app")


def test_a_trace_of_others_without_our_spans_is_flat(store: Path) -> None:
    for spans in (None, 5, [1, {"id": 7}], [{"id": "s", "name": None}]):
        promptry.track_invocation("p", {"trace_id": "theirs", "spans": spans})
    found = promptry.get_trace("theirs")
    assert found["calls"] == 4 and sum(span["kind"] == "call" for span in found["spans"]) == 4
    assert promptry.list_traces()["total"] == 1


def test_a_trace_that_is_not_there_is_said(store: Path) -> None:
    with pytest.raises(promptry.NotFound, match="no trace 'x'"):
        promptry.get_trace("x")
