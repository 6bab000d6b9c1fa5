"""OPENAPI: the document says what the routes take, and a validator of others agrees that it is one."""

from __future__ import annotations

from typing import Any

import pytest
from served import Served

import promptry


@pytest.fixture
def document(dashboard: Served) -> dict[str, Any]:
    answer = dashboard.get("/api/openapi.json")
    assert answer.status == 200
    return answer.json  # type: ignore[no-any-return]


@pytest.mark.slow
def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert document["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_document_and_the_list_tell_of_the_same_routes(document: dict[str, Any], dashboard: Served) -> None:
    listed = {
        (row["method"].lower(), row["path"].replace("<", "{").replace(">", "}")): {
            parameter["name"]: (parameter["type"], parameter["required"]) for parameter in row["parameters"]
        }
        for row in dashboard.get("/api").json["items"]
    }
    told = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            taken = {row["name"]: (row["schema"]["type"], row["required"]) for row in operation["parameters"]}
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            for name, kind in schema.get("properties", {}).items():
                taken[name] = (kind["type"][0], name in schema.get("required", []))
            told[method, path] = taken
    assert told == listed


def test_names_of_operations_are_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for row in document["paths"].values() for operation in row.values()]
    assert len(names) == len(set(names)) > 60 and all(name.isascii() and name.isidentifier() for name in names)


def test_lists_and_errors_are_as_the_document_says(document: dict[str, Any], dashboard: Served) -> None:
    import jsonschema

    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        get = operations.get("get")
        if get is None or any(row["required"] for row in get["parameters"]):
            continue
        answer = dashboard.get(path)
        schema = get["responses"]["200"]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            jsonschema.validate(answer.json, schemas["List"])
            assert answer.json.keys() >= {"items", "total", "next"}
        else:
            assert isinstance(answer.json, dict) and not ({"items", "total", "next"} <= set(answer.json)), path
        jsonschema.validate(dashboard.get(f"{path}?nonsense=1").json, schemas["Error"])


def test_a_server_with_a_token_says_so(store: Any) -> None:
    routes = promptry.read_routes()
    assert promptry.openapi_of(routes, True)["security"] == [{"token": []}]
    assert promptry.openapi_of(routes, False)["security"] == []
