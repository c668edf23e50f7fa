"""Every operation of the OpenAPI document has an example whose request and answer are what the document says."""

from typing import Any

import pytest

from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.examples import recorded_answer
from interfaces.http.routes import ENDPOINTS
from tests.support.openapi_schemas import document, misfits, operation, schema_of_answer

each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


@each_endpoint
def test_its_request_is_one_that_the_document_allows(endpoint: Endpoint) -> None:
    told = operation(endpoint.name)
    for parameter in told["parameters"]:
        assert "example" in parameter or parameter["in"] != "path"
        if "example" in parameter:
            assert misfits(parameter["example"], parameter["schema"]) == [], parameter["name"]
    assert set(endpoint.example.query) <= {parameter["name"] for parameter in told["parameters"]}
    body = told.get("requestBody")
    if body is None:
        assert endpoint.example.body is None
        return
    content = body["content"]["application/json"]
    assert "example" in content or not body["required"]
    if "example" in content:
        assert misfits(content["example"], content["schema"]) == []


@each_endpoint
def test_its_answer_is_recorded_and_fits_its_schema(endpoint: Endpoint) -> None:
    """`python -m tests.e2e.record_examples` records those that are missing or not the same any more."""
    answer = recorded_answer(endpoint.name)

    assert answer is not None
    assert 200 <= answer.status < 300
    schema = schema_of_answer(endpoint.name, answer.status, answer.media_type)
    assert schema is not None, f"{answer.status} {answer.media_type} is not in the document"
    assert misfits(answer.body, schema) == []
    shown = operation(endpoint.name)["responses"][str(answer.status)]["content"][answer.media_type]
    assert shown["example"] == answer.body


def test_no_field_with_a_default_is_required_of_a_caller() -> None:
    """Nor has a default in a request's schema: from it openapi-typescript makes a field that every caller must give."""
    for name, schema in document()["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            assert "default" not in told, f"{name}.{field}"
    start = document()["components"]["schemas"]["StartBody"]
    assert start["required"] == ["provider"]
    assert start["properties"]["retryPolicy"]["description"] == 'Default: "transient"'


def test_every_field_of_an_answer_is_there_unless_its_type_leaves_out_defaults() -> None:
    schemas = document()["components"]["schemas"]

    assert set(schemas["Pending"]["required"]) == {"pending", "position"}
    assert set(schemas["WorkspaceEntry"]["required"]) == set(schemas["WorkspaceEntry"]["properties"])
    assert "reason" not in schemas["ProblemDocument"]["required"]
    assert set(schemas["PatchOperation"]["required"]) == {"op", "path"}  # a removal has no value


def test_times_of_answers_are_times() -> None:
    run = document()["components"]["schemas"]["RunSummary"]["properties"]

    assert run["createdAt"] == {"type": "string", "format": "date-time"}
    assert run["finishedAt"] == {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}


def test_choices_say_of_which_type_they_are() -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert "enum" not in value or value.get("type") == "string" or not isinstance(value["enum"], list), value
            value = list(value.values())
        for inner in value if isinstance(value, list) else ():
            check(inner)

    check(document()["components"]["schemas"])
    pending = document()["components"]["schemas"]["Pending"]["properties"]["pending"]
    assert pending == {"type": "boolean", "const": True}


def test_tags_and_servers_are_described() -> None:
    assert all(tag["description"] for tag in document()["tags"])
    assert [server["url"] for server in document()["servers"]] == ["/", "http://127.0.0.1:8080"]
