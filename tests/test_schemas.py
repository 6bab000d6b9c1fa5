"""SCHEMAS: every fault with its place, in every draft; no pattern, reference or depth ends more than its own case."""

from __future__ import annotations

import dataclasses
import doctest
import enum
import json
import sys
import time
from collections import namedtuple
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest

import promptry
from promptry import assert_schema, collect

DRAFTS = {
    "3": "http://json-schema.org/draft-03/schema#",
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema#",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}
CATASTROPHE, VICTIM = "^(a|aa)+$", "a" * 50 + "!"


def check_of(data: Any, schema: Any) -> promptry.Check:
    with collect() as checks:
        try:
            assert_schema(data, schema)
        except promptry.CheckFailed as error:
            assert str(error) == checks[0].details["reason"]
    (check,) = checks
    assert check.assertion_type == "schema" and check.score == float(bool(check.passed))
    json.dumps(promptry.plain_json(check.details))
    return check


def paths_of(check: promptry.Check) -> list[str]:
    return [row["path"] for row in check.details["faults"]]


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for found in finder.find(assert_schema, "assert_schema", globs=vars(promptry).copy()):
        runner.run(found)
    assert runner.summarize() == (0, 1)


# --- JSON Schema --------------------------------------------------------------------------------

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "items": {"type": "array", "items": {"properties": {"price": {"type": "number", "minimum": 0}}}},
        "a b": {"const": 1},
    },
    "required": ["id"],
}


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ('{"id": 1}', []),
        ({"id": 1, "items": [{"price": 2}, {"price": 0.5}]}, []),
        ({"id": "1"}, ["$.id"]),
        ({"id": True}, ["$.id"]),
        ({"id": 1, "items": [{"price": 2}, {"price": -1}, {"price": "x"}]}, ["$.items[1].price", "$.items[2].price"]),
        ({"a b": 2}, ["$['a b']", "$"]),
        ("[]", ["$"]),
        (b'{"id": 1}', []),
        (b'{"id": "\xff"}', ["$"]),
    ],
)
def test_each_fault_has_its_place(data: Any, paths: list[str]) -> None:
    check = check_of(data, ORDER)
    assert sorted(paths_of(check)) == sorted(paths) and check.details["count"] == len(paths)
    assert check.passed is not bool(paths)
    for path in paths[:3]:
        assert path in check.details["reason"]


def test_a_fault_says_what_is_wrong_with_which_value() -> None:
    check = check_of({"id": "seven"}, ORDER)
    assert check.details["faults"] == [
        {"path": "$.id", "message": "'seven' is not of type 'integer'", "value": "'seven'"}
    ]
    assert check.details["reason"] == "$.id: 'seven' is not of type 'integer'"
    assert check.details["expected"] == ORDER and check.details["actual"] == {"id": "seven"}


def test_of_many_faults_twenty_are_listed_and_all_counted() -> None:
    check = check_of(["x"] * 1_000, {"items": {"type": "integer"}})
    assert check.details["count"] == 1_000 and len(check.details["faults"]) == 20
    assert check.details["reason"].endswith("$[2]: 'x' is not of type 'integer'; 997 more")


def test_a_choice_that_fails_says_what_the_nearest_alternative_lacks() -> None:
    deep = {"properties": {"b": {"properties": {"c": {"type": "string"}}}}}
    check = check_of({"b": {"c": 1}}, {"anyOf": [{"type": "string"}, deep]})
    assert "(nearest: $.b.c: 1 is not of type 'string')" in check.details["faults"][0]["message"]


def test_a_message_and_a_value_are_cut() -> None:
    (row,) = check_of({"a": "x" * 100_000}, {"properties": {"a": {"type": "integer"}}}).details["faults"]
    assert len(row["message"]) <= 310 and len(row["value"]) <= 120
    assert row["message"].endswith("is not of type 'integer'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON: Expecting value at line 1, column 1"),
        ('{"a": 1', "no JSON: Expecting ',' delimiter at line 1, column 8"),
        ('{\n"a": tru}', "at line 2, column 6"),
        ("[NaN]", "no JSON: NaN is no JSON"),
        ("1 2", "Extra data at line 1, column 3"),
        ('```json\n{"a": 1}\n```', "clean_json(text) takes it out"),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ("9" * 5_000, "no JSON: Exceeds the limit"),
    ],
)
def test_text_that_is_no_json_fails_with_its_place(text: str, said: str) -> None:
    check = check_of(text, {})
    assert not check.passed and said in check.details["reason"]
    assert paths_of(check) == ["$"]


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_draft_is_the_one_that_the_schema_names(draft: str) -> None:
    rule: dict[str, Any] = {"maximum": 5, "exclusiveMaximum": True} if draft in {"3", "4"} else {"exclusiveMaximum": 5}
    for name in {DRAFTS[draft], DRAFTS[draft].rstrip("#"), DRAFTS[draft].replace("http:", "https:")}:
        assert check_of("4", {"$schema": name, **rule}).passed
        assert not check_of("5", {"$schema": name, **rule}).passed


def test_without_a_draft_it_is_2020_12() -> None:
    assert not check_of([1, "x"], {"prefixItems": [{}, {"type": "integer"}]}).passed


def test_a_schema_may_be_false() -> None:
    assert not check_of({"a": 1}, False).passed


VOID = [
    (True, "assert_json_valid asks for JSON alone"),
    ({}, "assert_json_valid asks for JSON alone"),
    ({"title": "An order", "$defs": {"a": {"type": "string"}}}, "asks for nothing"),
    ({"propertys": {"a": {"type": "string"}}}, "Did you mean 'properties'"),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [{"type": "string"}]}, "asks for nothing"),
    (Any, "Every value fits"),
    (object, "Every value fits object"),
]


@pytest.mark.parametrize(("schema", "said"), VOID, ids=[str(schema) for schema, _ in VOID])
def test_a_schema_that_asks_for_nothing_is_refused(schema: Any, said: str, tmp_path: Path) -> None:
    with promptry.collect() as checks, pytest.raises(promptry.WrongUse, match=said):
        assert_schema({"a": 1}, schema)
    if isinstance(schema, (dict, bool)):
        (tmp_path / "schema.json").write_text(json.dumps(schema))
        with pytest.raises(promptry.WrongUse, match=said):
            assert_schema({"a": 1}, tmp_path / "schema.json")
    assert checks == []


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "objekt"}, "The schema is none: at $.type 'objekt'"),
        ({"properties": {"a": {"minimum": "x"}}}, "at $.properties.a.minimum 'x' is not of type 'number'"),
        ({"pattern": "("}, "at $.pattern '(' is not a 'regex'"),
        ({"$schema": "http://example.com/mine"}, "$schema is 'http://example.com/mine'; it takes one of http"),
        ({"$schema": 5}, "$schema is 5"),
        ({"$ref": "https://example.com/order.json"}, "refers to 'https://example.com/order.json', which is not in it"),
        ({"$ref": "other.json"}, "refers to 'other.json', which is not in it. Nothing is fetched"),
        ({"$ref": "#/$defs/order"}, "refers to '/$defs/order', which is not in it"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "without end"),
        ({"enum": {1, 2}}, "must be JSON: Object of type set"),
    ],
)
def test_a_schema_that_decides_nothing_is_wrong_use_that_says_where(schema: Any, said: str) -> None:
    with pytest.raises(promptry.WrongUse) as caught:
        assert_schema({"a": 1}, schema)
    assert said in str(caught.value)


def test_no_reference_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **more: pytest.fail("this opens an address"))
    with pytest.raises(promptry.WrongUse, match="Nothing is fetched"):
        assert_schema(1, {"$ref": "http://127.0.0.1:9/schema.json"})
    assert check_of({"type": "string"}, {"$ref": DRAFTS["2020-12"]}).passed, "the drafts themselves are known"


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text(json.dumps(ORDER), encoding="utf-8-sig")
    assert check_of({"id": 1}, "order.json").passed
    check = check_of({"id": "x"}, file)
    assert paths_of(check) == ["$.id"] and check.details["expected"] == str(file)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.json", None, "'none.json' cannot be read: No such file"),
        ("broken.json", b"{", "broken.json is no JSON: Expecting property name"),
        ("latin.json", b'"\xff"', "'latin.json' cannot be read: 'utf-8' codec"),
        ("deep.json", b"[" * 100_000, "deep.json is no JSON"),
        ("a\0b", None, "cannot be read: embedded null byte"),
        ("list.json", b"[1]", "The schema is none"),
    ],
)
def test_a_schema_file_that_cannot_be_used_is_named(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(promptry.PromptryError) as caught:
        assert_schema({}, name)
    assert said in str(caught.value) and caught.value.exit_code == 2


# --- formats ------------------------------------------------------------------------------------

FORMATS = [
    ("date-time", "2026-11-24T10:00:00Z", "2026-11-24 10:00"),
    ("date-time", "2026-11-24T10:00:00.5+01:00", "2026-13-01T00:00:00Z"),
    ("date-time", "2024-02-29t23:59:60z", "2023-02-29T00:00:00Z"),
    ("date", "2026-11-24", "24.11.2026"),
    ("time", "10:00:00Z", "25:00:00Z"),
    ("duration", "P1DT2H", "P"),
    ("duration", "P2W", "PT"),
    ("email", "a@b.example", "ab"),
    ("hostname", "a-b.example", "-a.example"),
    ("hostname", "localhost", "a" * 64),
    ("ipv4", "127.0.0.1", "127.0.0.256"),
    ("ipv6", "::1", ":::1"),
    ("uri", "https://example.com/a?b=%20", "example.com/a"),
    ("uri", "urn:isbn:1", "https://exa mple.com"),
    ("uri-reference", "/a/b#c", "a b"),
    ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
    ("regex", r"^\p{L}+$", "("),
    ("json-pointer", "/a/~0b", "a/b"),
]


@pytest.mark.parametrize(("name", "good", "bad"), FORMATS)
def test_formats_are_checked(name: str, good: str, bad: str) -> None:
    assert check_of({"v": good}, {"properties": {"v": {"format": name}}}).passed
    check = check_of({"v": bad}, {"properties": {"v": {"format": name}}})
    assert paths_of(check) == ["$.v"] and f"is not a '{name}'" in check.details["reason"]
    assert check_of({"v": 5}, {"properties": {"v": {"format": name}}}).passed, "a format speaks of text"


def test_a_format_that_nothing_here_checks_is_said() -> None:
    check = check_of({"v": "x"}, {"properties": {"v": {"format": "credit-card"}, "w": {"format": "date"}}})
    assert check.passed and check.details["unchecked_formats"] == ["credit-card"]


# --- what could hang or crash a run -------------------------------------------------------------


def pattern_schemas(name: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return data and schemas of a draft that search a pattern which never ends, in each way there is."""
    here = {"$schema": DRAFTS[name]}
    bad, keyed = {"pattern": CATASTROPHE}, {VICTIM: 1}
    found: list[tuple[Any, dict[str, Any]]] = [
        ({"k": VICTIM}, {**here, "properties": {"k": bad}}),
        (keyed, {**here, "patternProperties": {CATASTROPHE: {}}}),
        (keyed, {**here, "patternProperties": {CATASTROPHE: {}}, "additionalProperties": False}),
    ]
    if name != "3":
        again = {"properties": {"k": {"$ref": "#"}}, "anyOf": [{"type": "object"}, bad]}
        found.append(({"k": VICTIM}, {**here, **again}))
    if name in {"6", "7", "2019-09", "2020-12"}:
        found.append((keyed, {**here, "propertyNames": bad}))
        inside = {"$id": "http://q.example/", "$schema": DRAFTS[name], **bad}
        found.append(({"k": VICTIM}, {**here, "properties": {"k": inside}}))
    if name in {"2019-09", "2020-12"}:
        inner = {"allOf": [{"patternProperties": {CATASTROPHE: {}}}]}
        found.append((keyed, {**here, **inner, "unevaluatedProperties": False}))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("draft", DRAFTS)
def test_a_pattern_that_never_ends_is_an_error_of_the_case_in_every_draft(
    draft: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "PATTERN_TIMEOUT_S", 0.02)
    for data, schema in pattern_schemas(draft):
        began = time.monotonic()
        with pytest.raises(promptry.WrongUse, match="found no answer in time"):
            assert_schema(data, schema)
        assert time.monotonic() - began < 20, "a busy machine is late, a hang is longer"


def test_many_slow_patterns_together_have_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptry, "_MAX_PATTERNS_S", 0.0)
    with pytest.raises(promptry.WrongUse, match="found no answer in time"):
        assert_schema([VICTIM] * 5, {"items": {"pattern": CATASTROPHE}})


def test_the_functions_of_jsonschema_itself_are_left_as_they_are() -> None:
    import re

    import jsonschema
    from jsonschema import _keywords, _legacy_keywords, _utils

    assert_schema({"a": "b"}, {"patternProperties": {"a": {"pattern": "b"}}})
    assert _keywords.re is _legacy_keywords.re is _utils.re is re
    assert jsonschema.Draft202012Validator.VALIDATORS["pattern"] is _keywords.pattern


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def test_what_is_nested_too_deep_is_an_error_of_the_case() -> None:
    inside: list[Any] = []
    inside.append(inside)
    for data, schema in (
        (inside, {}),
        (nested(100_000), {}),
        (nested(300), {"items": {"$ref": "#"}}),
        (1, {"allOf": [{"$ref": "#/allOf/0"}]}),
    ):
        with pytest.raises(promptry.WrongUse, match="too deep|without end"):
            assert_schema(data, schema)


# --- what data may be ---------------------------------------------------------------------------


@dataclasses.dataclass
class Item:
    price: float


@dataclasses.dataclass
class Order:
    id: int
    items: list[Item]


class OrderModel(pydantic.BaseModel):
    id: int
    items: list[dict[str, float]] = []


Pair = namedtuple("Pair", "id items")


class Plain:
    def __init__(self) -> None:
        self.id = 1


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (Order(1, [Item(2.0)]), {"id": 1, "items": [{"price": 2.0}]}),
        (OrderModel(id=1, items=[{"price": 2.0}]), {"id": 1, "items": [{"price": 2.0}]}),
        ({"id": 1, "items": (Item(2.0),)}, {"id": 1, "items": [{"price": 2.0}]}),
        (Pair(1, []), {"id": 1, "items": []}),
        (SimpleNamespace(id=1), {"id": 1}),
        (Plain(), {"id": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_are_read_as_their_fields(data: Any, plain: Any) -> None:
    assert check_of(data, {"const": plain}).passed
    assert check_of(data, ORDER).passed
    assert check_of(data, OrderModel).passed


@pytest.mark.parametrize("data", [object(), {"a": {1, 2}}, {"a": date(2026, 11, 24)}, Order])
def test_what_json_cannot_say_is_refused(data: Any) -> None:
    with pytest.raises(promptry.WrongUse):
        assert_schema(data, {})


def test_keys_that_are_no_text_are_checked_as_json_writes_them() -> None:
    assert paths_of(check_of({1: "x"}, {"patternProperties": {"^1$": {"type": "integer"}}})) == ["$['1']"]


# --- pydantic -----------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    on: date
    colour: Colour = Colour.RED


class Aliased(pydantic.BaseModel):
    full_name: str = pydantic.Field(alias="fullName")


@pytest.mark.parametrize(
    ("data", "model", "paths"),
    [
        ('{"id": 1}', OrderModel, []),
        ({"id": "x", "items": [{"a": "y"}]}, OrderModel, ["$.id", "$.items[0].a"]),
        ("{}", OrderModel, ["$.id"]),
        ('{"id": 1', OrderModel, ["$"]),
        ([{"id": 1}, {"id": None}], list[OrderModel], ["$[1].id"]),
        ("[1, 2]", list[int], []),
        ({"id": 1, "items": []}, Order, []),
        ('{"on": "2026-11-24", "colour": "red"}', Strict, []),
        ({"on": date(2026, 11, 24), "colour": Colour.RED}, Strict, []),
        ({"on": "2026-11-24"}, Strict, ["$.on"]),
        (Aliased(fullName="Ada"), Aliased, []),
        (OrderModel.model_construct(id="x"), OrderModel, ["$.id"]),
        ("5", int | None, []),
    ],
)
def test_a_model_or_type_of_pydantic_tells_each_fault_with_its_place(data: Any, model: Any, paths: list[str]) -> None:
    check = check_of(data, model)
    assert paths_of(check) == paths and check.passed is not bool(paths)
    assert check.details["expected"] == getattr(model, "__name__", None) or repr(model)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (5, "5 is no schema, model or type"),
        (None, ""),
        (Plain, "is no schema, model or type"),
        (OrderModel(id=1), "The model is an object of OrderModel; it takes the class"),
    ],
)
def test_what_is_no_model_is_refused(model: Any, said: str) -> None:
    if model is None:
        assert check_of("null", None).passed, "None is the type of null"
        return
    with pytest.raises(promptry.WrongUse, match=said):
        assert_schema({}, model)


@pytest.mark.parametrize(
    ("package", "schema", "said"),
    [("jsonschema", {}, "the package 'jsonschema'"), ("pydantic", list[int], "the package pydantic")],
)
def test_without_its_package_there_is_one_sentence(
    package: str, schema: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "_link", None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(promptry.HelperMissing, match=said) as caught:
        assert_schema([1], schema)
    assert caught.value.hint == f"pip install {package}"


def test_a_parent_answers_with_the_same_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    here = check_of({"id": "x"}, ORDER)
    asked: list[str] = []
    known = sys.modules["jsonschema"]

    def ask(message: dict[str, Any]) -> dict[str, Any]:
        asked.append(message["ask"])
        sent = json.loads(json.dumps(message["arguments"]))
        with monkeypatch.context() as parent:
            parent.setitem(sys.modules, "jsonschema", known)
            answer: dict[str, Any] = json.loads(json.dumps(promptry.answer_helper(message["ask"], sent)))
        return answer

    monkeypatch.setattr(promptry, "_link", (None, None))
    monkeypatch.setattr(promptry, "ask_parent", ask)
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    there = check_of({"id": "x"}, ORDER)
    assert there.details == here.details and asked == ["check_schema"]
