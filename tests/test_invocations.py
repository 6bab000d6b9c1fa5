"""INVOCATIONS: a call is durable when its id comes back, and no store and no value ever breaks the caller."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import enum
import json
import logging
import sqlite3
import threading
import time
import uuid
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import promptry


def only_call() -> dict[str, Any]:
    """Return the one recorded call."""
    (row,) = promptry.list_calls()["items"]
    return promptry.get_call(row["id"])


def facts_of(id: int | None) -> dict[str, Any]:
    assert id is not None
    return promptry.get_call(str(id))["metadata"]


def finding(name: str) -> dict[str, str]:
    return next(found for found in promptry.diagnose() if found["name"] == name)


# --- what is stored


def test_a_call_is_there_for_any_other_process_when_its_id_comes_back(store: Path) -> None:
    id = promptry.track_invocation("answer", {"cost_usd": 0.25, "model": "m"}, request_id="r1")
    other = sqlite3.connect(store)
    found = other.execute("SELECT id, prompt_name, cost_usd, model, request_id FROM invocations").fetchall()
    other.close()
    assert found == [(id, "answer", 0.25, "m", "r1")]


def test_an_id_is_durable_although_the_process_is_killed_at_once(store: Path, run_python: Any) -> None:
    code = """
    import os, signal, sys, promptry
    promptry.use_store(sys.argv[1])
    assert promptry.track_invocation("answer") == 1
    os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_python(code, store, check=False).returncode == -9
    assert promptry.list_calls()["total"] == 1


def test_a_call_is_stored_as_it_was_told(store: Path) -> None:
    id = promptry.track_invocation(
        "support/answer",
        {"tokens_in": 10, "tokens_out": 3, "latency_ms": 12.5, "team": "blue", "nested": {"a": [1, None, True]}},
        prompt_version=7,
        model="gpt-x",
        provider="openai",
        request_id="r1",
        response_id="resp1",
    )
    call = promptry.get_call(str(id))
    assert (call["prompt_name"], call["prompt_version"], call["request_id"]) == ("support/answer", 7, "r1")
    assert (call["input_text"], call["output_text"]) == (None, None)
    facts = call["metadata"]
    assert facts.pop("uid")
    assert facts == {
        "tokens_in": 10,
        "tokens_out": 3,
        "latency_ms": 12.5,
        "team": "blue",
        "nested": {"a": [1, None, True]},
        "model": "gpt-x",
        "provider": "openai",
        "response_id": "resp1",
        "buckets": {"input_uncached": 10, "output_visible": 3},
        "cost_source": "unpriced",
    }
    (row,) = promptry.list_calls()["items"]
    assert (row["model"], row["tokens_in"], row["tokens_out"], row["latency_ms"]) == ("gpt-x", 10, 3, 12.5)
    assert (row["origin"], row["status"], row["cost_usd"]) == ("app", "ok", None)


def test_the_callers_metadata_stays_as_it_was(store: Path) -> None:
    metadata = {"a": 1}
    promptry.track_invocation("answer", metadata, model="m")
    assert metadata == {"a": 1}


@pytest.mark.parametrize(
    ("metadata", "cost", "source"),
    [
        (None, None, "unpriced"),
        ({"cost_usd": 0.5}, 0.5, "given"),
        ({"cost_usd": 0}, 0, "given"),
        ({"cost": 0.125}, 0.125, "given"),
        ({"cost_usd": None}, None, "unpriced"),
        ({"cost_usd": 1e-9}, 1e-9, "given"),
        ({"cost_usd": decimal.Decimal("0.000003")}, 0.000003, "given"),
    ],
)
def test_a_cost_is_kept_unrounded_with_its_source(store: Path, metadata: Any, cost: Any, source: str) -> None:
    facts = facts_of(promptry.track_invocation("answer", metadata))
    (row,) = promptry.list_calls()["items"]
    assert (row["cost_usd"], facts["cost_source"]) == (cost, source)


def test_equal_calls_are_never_one(store: Path) -> None:
    ids = {promptry.track_invocation("answer", {"a": 1}, request_id="r", response_id="x") for _ in range(3)}
    assert len(ids) == 3 and len({facts_of(id)["uid"] for id in ids}) == 3


class Model:
    """A response object as SDKs have it."""

    def __init__(self) -> None:
        self.input_tokens = 5

    def model_dump(self) -> dict[str, Any]:
        return {"input_tokens": 5, "details": {"cached": 2}}


class WithDict(dict):  # type: ignore[type-arg]
    """A dict of another class."""


class Broken:
    """An object that can neither be dumped nor shown."""

    def model_dump(self) -> dict[str, Any]:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("usage", "kept"),
    [
        ({"prompt_tokens": 1}, {"prompt_tokens": 1}),
        (WithDict(a=1), {"a": 1}),
        (Model(), {"input_tokens": 5, "details": {"cached": 2}}),
        (SimpleNamespace(input_tokens=5), {"input_tokens": 5}),
        (SimpleNamespace(a=SimpleNamespace(b=1)), None),
        (17, None),
    ],
    ids=["dict", "dict subclass", "object with model_dump", "plain object", "nested plain object", "a number"],
)
def test_the_usage_object_is_kept(store: Path, usage: Any, kept: Any) -> None:
    found = facts_of(promptry.track_invocation("answer", usage=usage))["usage"]
    assert found == kept if kept is not None else found


# --- whose version


def test_the_version_that_this_process_last_tracked_or_served_is_noted(store: Path) -> None:
    promptry.track("one", "answer")
    promptry.track("two", "answer")
    assert promptry.get_call(str(promptry.track_invocation("answer")))["prompt_version"] == 2
    promptry.track("one", "answer")
    assert promptry.get_call(str(promptry.track_invocation("answer")))["prompt_version"] == 1
    promptry.promote("answer", 2, "prod")
    promptry.render_prompt("answer", "default", env="prod")
    assert promptry.get_call(str(promptry.track_invocation("answer")))["prompt_version"] == 2
    assert promptry.get_call(str(promptry.track_invocation("another")))["prompt_version"] is None
    assert promptry.get_call(str(promptry.track_invocation("answer", prompt_version=1)))["prompt_version"] == 1


def test_each_context_notes_the_version_that_it_was_served(store: Path) -> None:
    promptry.save_prompt("answer", "one", tag="prod")
    promptry.save_prompt("answer", "two", tag="staging")

    async def request(env: str, turn: asyncio.Event, next_turn: asyncio.Event) -> Any:
        promptry.render_prompt("answer", "default", env=env)
        next_turn.set()
        await turn.wait()
        return promptry.get_call(str(promptry.track_invocation("answer")))["prompt_version"]

    async def serve() -> list[Any]:
        first, second = asyncio.Event(), asyncio.Event()
        prod = asyncio.create_task(request("prod", second, first))
        await first.wait()
        staging = asyncio.create_task(request("staging", second, second))
        return [await prod, await staging]

    assert asyncio.run(serve()) == [1, 2]


# --- what None means


def test_none_means_sampled_out_or_kept_and_nothing_else(store: Path, locked: Any) -> None:
    assert promptry.track_invocation("answer", sample_rate=0.0) is None
    assert promptry.list_calls()["total"] == 0
    with locked():
        assert promptry.track_invocation("answer") is None
    assert promptry.flush_kept_rows() == 0
    assert promptry.list_calls()["total"] == 1


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0, 0), (0.25, 180, 320), (1.0, 1000, 1000)])
def test_sampling_keeps_about_its_share(store: Path, rate: float, low: int, high: int) -> None:
    kept = sum(promptry.track_invocation("answer", sample_rate=rate) is not None for _ in range(1000))
    assert low <= kept <= high and promptry.list_calls()["total"] == kept


WRONG_CALLS = [
    (("",), {}),
    (("  ",), {}),
    ((None,), {}),
    ((["answer"],), {}),
    (("answer", "not a dict"), {}),
    (("answer", [("a", 1)]), {}),
    (("answer",), {"prompt_version": True}),
    (("answer",), {"prompt_version": "two"}),
    (("answer",), {"prompt_version": 1.5}),
    (("answer",), {"sample_rate": "half"}),
    (("answer",), {"sample_rate": None}),
    (("answer",), {"max_capture_chars": "ten", "capture": True, "input_text": "x"}),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG_CALLS)
def test_a_wrong_argument_raises_at_once(store: Path, arguments: Any, named: Any) -> None:
    with pytest.raises(ValueError) as caught:
        promptry.track_invocation(*arguments, **named)
    assert isinstance(caught.value, promptry.WrongUse)
    assert promptry.list_calls()["total"] == 0


# --- values nobody thought of


class Colour(enum.Enum):
    """A value that JSON does not know."""

    RED = "red"


ODD_VALUES = {
    "object": object(),
    "enum": Colour.RED,
    "bytes": b"\x00\xff",
    "set": {1, 2},
    "nan": float("nan"),
    "infinity": float("-inf"),
    "decimal": decimal.Decimal("1.5"),
    "complex": 1j,
    "path": Path("/tmp"),
    "exception": ValueError("x"),
    "generator": (n for n in range(3)),
    "surrogate": "\ud83d half",
    "zero byte": "a\x00b",
    "wide integer": 2**200,
    "long integer": 10**5000,
    "tuple keys": {(1, 2): 3},
    "none keys": {None: 1},
    "no repr": Broken(),
    "deep": json.loads("[" * 200 + "]" * 200),
    "recursion": [],
}
ODD_VALUES["recursion"].append(ODD_VALUES["recursion"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ODD_VALUES)
def test_a_value_that_json_cannot_say_never_loses_the_row(store: Path, name: str) -> None:
    id = promptry.track_invocation("answer", {"odd": ODD_VALUES[name], "kept": 1, "cost_usd": 0.5})
    facts = facts_of(id)
    assert facts["kept"] == 1 and facts["cost_usd"] == 0.5 and "odd" in facts
    assert promptry.list_calls()["items"][0]["cost_usd"] == 0.5


def test_metadata_deeper_than_sqlite_reads_never_blocks_the_calls_after_it(store: Path) -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    promptry.track_invocation("answer", {"odd": deep, "kept": 1})
    assert promptry.track_invocation("answer", {"after": 1}) is not None
    assert promptry.list_calls()["total"] == 2


@pytest.mark.parametrize("key", ["tokens_in", "tokens_out", "cost_usd", "latency_ms"])
@pytest.mark.parametrize("value", ["abc", "12", [1], {"a": 1}, True, None, ""])
def test_a_number_of_the_wrong_type_reads_as_null(store: Path, key: str, value: Any) -> None:
    assert promptry.track_invocation("answer", {key: value}) is not None
    (row,) = promptry.list_calls()["items"]
    assert row[key] is None


@pytest.mark.parametrize(("key", "default"), [("model", None), ("origin", "app"), ("status", "ok")])
@pytest.mark.parametrize("value", [5, 1.5, [1], {"a": 1}, True, None])
def test_a_text_of_the_wrong_type_reads_as_its_default(store: Path, key: str, default: Any, value: Any) -> None:
    assert promptry.track_invocation("answer", {key: value}) is not None
    (row,) = promptry.list_calls()["items"]
    assert row[key] == default


ODD_ARGUMENTS: list[dict[str, Any]] = [
    {"request_id": uuid.UUID(int=7)},
    {"response_id": uuid.UUID(int=7)},
    {"request_id": 12345},
    {"request_id": object()},
    {"request_id": "\ud800"},
    {"prompt_version": 2**70},
    {"model": object()},
    {"model": "\ud800"},
    {"provider": b"openai"},
    {"usage": Broken()},
    {"usage": object()},
    {"input_text": b"bytes", "capture": True},
    {"input_text": Broken(), "capture": True},
    {"output_text": "\ud83d half of a face", "capture": True},
    {"output_text": {"role": "assistant"}, "capture": True},
]


@pytest.mark.parametrize("named", ODD_ARGUMENTS, ids=lambda named: "-".join(map(str, named)))
def test_an_odd_argument_is_stored_or_refused_and_never_blocks_the_calls_after_it(
    store: Path, named: dict[str, Any]
) -> None:
    try:
        id = promptry.track_invocation("answer", {"n": 1}, **named)
    except promptry.WrongUse:
        id = 0
    assert id is not None, "the row was lost or waits for ever"
    after = promptry.track_invocation("answer", {"n": 2})
    assert after is not None and promptry.flush_kept_rows() == 0
    assert len(promptry.list_calls()["items"]) == 1 + bool(id)
    promptry.get_call(str(after))
    if id:
        assert promptry.get_call(str(id))["metadata"]["n"] == 1


@pytest.mark.parametrize("name", ["\ud800", "ü" * 5000, "a\x00b", "a\nb", "support/answer", "'; DROP TABLE prompts"])
def test_any_text_can_be_the_name_of_a_prompt(store: Path, name: str) -> None:
    assert promptry.track_invocation(name) is not None
    assert promptry.list_calls()["total"] == 1 and len(promptry.list_calls()["items"]) == 1


def test_rows_that_wait_in_memory_are_stored_although_one_of_them_is_odd(store: Path, locked: Any) -> None:
    with locked():
        assert promptry.track_invocation("answer", {"n": 1}) is None
        assert promptry.track_invocation("answer", {"n": 2}, output_text="\ud800", capture=True) is None
        assert promptry.track_invocation("answer", {"n": 3}) is None
    assert promptry.track_invocation("answer", {"n": 4}) is not None
    assert promptry.flush_kept_rows() == 0
    assert promptry.list_calls()["total"] == 4


def test_a_kept_row_that_the_store_refuses_does_not_hold_up_the_others(store: Path, locked: Any) -> None:
    with locked():
        for n in range(3):
            assert promptry.track_invocation("answer", {"n": n}) is None
        row = promptry._kept[1]
        promptry._kept[1] = (row[0], row[1], "no JSON", *row[3:])
    assert promptry.track_invocation("answer", {"n": 3}) is not None
    assert promptry.list_calls()["total"] == 3
    assert finding("rows")["state"] == "fault" and "1 call was lost" in finding("rows")["detail"]


# --- kept in memory, bounded, and counted as lost


@pytest.mark.slow
def test_what_does_not_fit_into_memory_is_counted_as_lost_and_doctor_says_so(
    store: Path, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_KEPT_ROWS", 10)
    with locked():
        for n in range(25):
            assert promptry.track_invocation("answer", {"n": n}) is None
        assert len(promptry._kept) == 10
    assert promptry.track_invocation("answer", {"n": 25}) is not None
    stored = [promptry.get_call(row["id"])["metadata"]["n"] for row in promptry.list_calls()["items"]]
    assert sorted(stored) == list(range(15, 26))
    assert finding("rows")["state"] == "fault" and "15 calls were lost" in finding("rows")["detail"]


def test_a_row_greater_than_all_that_is_kept_is_counted_as_lost(
    store: Path, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_KEPT_BYTES", 10_000)
    with locked():
        assert promptry.track_invocation("answer", {"big": "x" * 20_000}) is None
        assert promptry._kept_bytes <= 10_000
    assert promptry.track_invocation("answer") is not None
    assert finding("rows")["state"] == "fault" and "1 call was lost" in finding("rows")["detail"]


def test_the_bytes_kept_are_bounded_and_come_back_to_nothing(
    store: Path, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_KEPT_BYTES", 10_000)
    with locked():
        for _ in range(12):
            promptry.track_invocation("answer", {"text": "x" * 2_000})
            assert promptry._kept_bytes <= 10_000
    promptry.track_invocation("answer")
    assert promptry._kept_bytes == 0 and not promptry._kept


def test_doctor_says_what_was_lost_also_before_the_next_call(
    store: Path, locked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "MAX_KEPT_ROWS", 2)
    with locked():
        for _ in range(3):
            promptry.track_invocation("answer")
    assert finding("rows")["state"] == "fault" and "1 call was lost" in finding("rows")["detail"]


def test_doctor_says_how_many_calls_wait_in_memory(store: Path, locked: Any) -> None:
    with locked():
        promptry.track_invocation("answer")
        assert "waiting in memory: 1" in finding("rows")["detail"]


def test_real_bounds_are_those_that_were_promised() -> None:
    assert (promptry.MAX_KEPT_ROWS, promptry.MAX_KEPT_BYTES) == (10_000, 16 * 1024 * 1024)


def test_a_long_lock_is_complained_of_to_logging_and_not_once_per_call(
    store: Path, locked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(), warnings.catch_warnings(), caplog.at_level(logging.DEBUG, "promptry"):
        warnings.simplefilter("error")
        for _ in range(20):
            promptry.track_invocation("answer")
    complaints = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(complaints) <= 2 and "wait in memory" in complaints[0].getMessage()


def test_kept_rows_come_in_their_order_with_their_own_times(store: Path, locked: Any) -> None:
    with locked():
        for n in range(3):
            promptry.track_invocation("answer", {"n": n})
            time.sleep(0.005)
    promptry.track_invocation("answer", {"n": 3})
    items = promptry.list_calls()["items"][::-1]
    assert [promptry.get_call(row["id"])["metadata"]["n"] for row in items] == [0, 1, 2, 3]
    assert len({row["created_at"] for row in items}) == 4


# --- captured text


SECRET = "sk-" + "a1B2" * 8


def test_text_is_captured_only_when_asked(store: Path) -> None:
    promptry.track_invocation("answer", input_text="question", output_text="reply")
    assert (only_call()["input_text"], only_call()["output_text"]) == (None, None)


def test_captured_text_is_masked_and_then_cut(store: Path) -> None:
    text = "x" * 10 + " " + SECRET
    promptry.track_invocation("answer", input_text=text, output_text="é" * 100, capture=True, max_capture_chars=20)
    call = only_call()
    assert call["input_text"] == ("x" * 10 + " [key removed]")[:20]
    assert call["output_text"] == "é" * 20
    assert SECRET[:9] not in json.dumps(call)


@pytest.mark.parametrize(("limit", "length"), [(None, 50_000), (100, 100), (0, 60_000)])
def test_captured_text_has_a_bound(store: Path, limit: int | None, length: int) -> None:
    promptry.track_invocation("answer", input_text="x " * 30_000, capture=True, max_capture_chars=limit)
    assert len(only_call()["input_text"]) == length


# --- request ids


def test_a_request_id_is_made_and_remembered(store: Path) -> None:
    assert promptry.last_request_id() is None
    promptry.track_invocation("answer")
    assert only_call()["request_id"] == promptry.last_request_id() is not None


@pytest.mark.parametrize(
    ("named", "known_as"),
    [
        ({"request_id": "r"}, "r"),
        ({"response_id": "p"}, "p"),
        ({"request_id": "r", "response_id": "p"}, "r"),
        ({"request_id": uuid.UUID(int=7)}, str(uuid.UUID(int=7))),
    ],
)
def test_the_request_id_is_the_one_given_else_that_of_the_response(store: Path, named: Any, known_as: str) -> None:
    promptry.track_invocation("answer", **named)
    assert only_call()["request_id"] == promptry.last_request_id() == known_as


def test_the_last_request_id_belongs_to_its_context(store: Path) -> None:
    promptry.track_invocation("answer", request_id="outer")
    contextvars.copy_context().run(promptry.track_invocation, "answer", request_id="inner")
    thread = threading.Thread(target=promptry.track_invocation, args=("answer",), kwargs={"request_id": "thread"})
    thread.start()
    thread.join()
    assert promptry.last_request_id() == "outer"


def test_a_kept_row_has_its_request_id_too(store: Path, locked: Any) -> None:
    with locked():
        promptry.track_invocation("answer", request_id="r")
        assert promptry.last_request_id() == "r"
    promptry.flush_kept_rows()
    assert only_call()["request_id"] == "r"


# --- the reads


def test_calls_are_listed_newest_first_in_pages_that_miss_none(store: Path) -> None:
    for n in range(25):
        promptry.track_invocation("answer" if n % 2 else "other", {"n": n})
    seen, cursor = [], None
    while True:
        page = promptry.list_calls(limit=10, before=cursor)
        assert page["total"] == 25
        seen += [int(row["id"]) for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == list(range(25, 0, -1))
    assert promptry.list_calls("answer")["total"] == 12
    assert {row["prompt_name"] for row in promptry.list_calls("answer")["items"]} == {"answer"}
    with pytest.raises(promptry.NotFound, match="There is no prompt 'nobody'"):
        promptry.list_calls("nobody")


def test_the_last_full_page_has_no_next(store: Path) -> None:
    for _ in range(4):
        promptry.track_invocation("answer")
    page = promptry.list_calls(limit=2)
    assert promptry.list_calls(limit=2, before=page["next"])["next"] is None


def test_reserved_money_is_no_call(store: Path) -> None:
    promptry.track_invocation("answer", {"status": "reserved", "cost_usd": 1.0})
    assert promptry.list_calls() == {"items": [], "total": 0, "next": None}


@pytest.mark.parametrize("id", ["999", "0"])
def test_an_unknown_call_is_not_found(store: Path, id: str) -> None:
    with pytest.raises(promptry.NotFound, match=rf"There is no call {id}"):
        promptry.get_call(id)


@pytest.mark.parametrize("id", ["x", "-1", "", "1.5", "9" * 30, "٣", "²"])
def test_an_id_that_is_none_is_wrong_use(store: Path, id: str) -> None:
    with pytest.raises((promptry.WrongUse, promptry.NotFound)):
        promptry.get_call(id)


@pytest.mark.parametrize("limit", [0, -1, 1001, "ten", None, True, 1.5])
def test_a_limit_that_is_none_is_wrong_use(store: Path, limit: Any) -> None:
    with pytest.raises(promptry.WrongUse):
        promptry.list_calls(limit=limit)


@pytest.mark.parametrize("cursor", ["x", "-1", "²", "9" * 40])
def test_a_cursor_that_is_none_of_ours_is_wrong_use(store: Path, cursor: Any) -> None:
    with pytest.raises(promptry.WrongUse):
        promptry.list_calls(before=cursor)


def test_rows_that_others_insert_are_listed(raw: sqlite3.Connection) -> None:
    raw.execute("INSERT INTO invocations (prompt_name) VALUES ('answer')")
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('answer', '[1, 2]')")
    raw.execute("INSERT INTO invocations (prompt_name, metadata) VALUES ('answer', '\"text\"')")
    listed = promptry.list_calls()
    assert listed["total"] == len(listed["items"]) == 3
    assert {row["origin"] for row in listed["items"]} == {"app"} and {row["status"] for row in listed["items"]} == {
        "ok"
    }
    for row in listed["items"]:
        promptry.get_call(row["id"])
    assert finding("rows")["state"] == "ok"


def test_what_the_calls_of_a_run_say_is_summed(store: Path) -> None:
    with promptry.entered_scope(promptry.make_scope("run-1")):
        for cost in (0.1, 0.2, None):
            facts = {"cost_usd": cost, "parameters": {"temperature": 0}}
            promptry.track_invocation("answer", facts, model="m", prompt_version=3)
        judging = {"origin": "judge", "parameters": {"temperature": 1}}
        promptry.track_invocation("judge", judging, model="j", prompt_version=9)
    promptry.track_invocation("answer", {"cost_usd": 9.0})
    facts = promptry.call_facts("run-1")
    assert facts["models"] == {"m": 3} and facts["prompts"] == {"answer": [3]}
    assert facts["cost_usd"] == pytest.approx(0.3, abs=1e-12) and facts["unpriced"] == 2
    assert facts["parameters"] == [{"temperature": 0}]
    origins = {row["prompt_name"]: row["origin"] for row in promptry.list_calls(limit=4, before="5")["items"]}
    assert origins == {"answer": "eval", "judge": "judge"}


@pytest.mark.parametrize("rate", [-1, 2, 1.01, float("nan")])
def test_a_sample_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes a share from 0 to 1"):
        promptry.track_invocation("p", sample_rate=rate)
