"""Prints TypeScript declarations for the console: the API's responses, and the events' payloads by wire name.

Generated from the types of the server's responses, so that `tsc` fails on a field that the API does not have.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

import domain.operations.events
import domain.operations.projection_events
import domain.run.events
import domain.session.events  # noqa: F401  # imported so that all wire names are registered
from domain.event import event_types
from interfaces.http.edge.openapi import openapi_document
from interfaces.http.routes import ENDPOINTS


def type_of(schema: Mapping[str, Any]) -> str:
    """The TypeScript type of a JSON schema, in the subset that msgspec writes."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(type_of(each) for each in schema["anyOf"])
    match schema.get("type"):
        case "string":
            return "string"
        case "integer" | "number":
            return "number"
        case "boolean" | "null" as name:
            return str(name)
        case "array":
            return f"({type_of(schema.get('items') or {})})[]"
        case "object" if "properties" in schema:
            return fields(schema)
        case "object":
            values = schema.get("additionalProperties")
            return f"Record<string, {type_of(values) if isinstance(values, Mapping) else 'unknown'}>"
        case _:
            return "unknown"


def fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    each = (
        f"{json.dumps(name)}{'' if name in required else '?'}: {type_of(field)};"
        for name, field in schema["properties"].items()
    )
    return "{ " + " ".join(each) + " }"


def namespace(name: str, components: Mapping[str, Any]) -> str:
    types = (f"  type {each} = {type_of(schema)};" for each, schema in components.items())
    return "\n".join([f"declare namespace {name} {{", *types, "}"])


def event_union() -> tuple[dict[str, Any], str]:
    """The components of all payloads, and `LogEvent`: an event of the API whose `type` tells its `payload`."""
    known = event_types()
    schemas, components = msgspec.json.schema_components(known.values(), ref_template="#/{name}")
    members = (
        f"  | (EventOf & {{ type: {json.dumps(name)}; payload: EventPayloads.{type_of(schema)} }})"
        for name, schema in zip(known, schemas, strict=True)
    )
    of = 'type EventOf = Omit<Api.EventView, "type" | "payload">;'
    return components, "\n".join([of, "type LogEvent =", *members]) + ";"


if __name__ == "__main__":
    payloads, union = event_union()
    print(namespace("Api", openapi_document(ENDPOINTS)["components"]["schemas"]))
    print(namespace("EventPayloads", payloads))
    print(union)
