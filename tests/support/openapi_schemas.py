"""Checks of JSON values against the schemas of the OpenAPI document."""

from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from interfaces.http.edge.openapi import openapi_document
from interfaces.http.routes import ENDPOINTS


@cache
def document() -> dict[str, Any]:
    return openapi_document(ENDPOINTS)


def operation(name: str) -> dict[str, Any]:
    """The operation with this id."""
    operations = (each for methods in document()["paths"].values() for each in methods.values())
    return next(each for each in operations if each["operationId"] == name)


def misfits(value: Any, schema: dict[str, Any]) -> list[str]:
    """What does not fit the schema, whose references are those of the document."""
    validator = Draft202012Validator(_absolute(schema), registry=_registry(), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


_URI = "urn:fleetlog:openapi"


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resource(_URI, DRAFT202012.create_resource(_absolute(document()))).crawl()


def _absolute(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with references that lead to the document from everywhere."""
    text = msgspec.json.encode(schema).replace(b'"#/components/', f'"{_URI}#/components/'.encode())
    return dict(msgspec.json.decode(text))


def schema_of_answer(name: str, status: int, media_type: str) -> dict[str, Any] | None:
    """What the document says of such an answer of the operation; None: there is no such answer."""
    response = operation(name)["responses"].get(str(status))
    if response is None:
        return None
    if not media_type:
        return None if response.get("content") else {}
    content = response.get("content", {}).get(media_type)
    return None if content is None else content["schema"]
