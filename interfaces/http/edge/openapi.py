"""The OpenAPI 3.1 document, made from the endpoints and their types."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from interfaces.http.edge.endpoint import STREAM_ID, Endpoint
from interfaces.http.edge.problems import ProblemDocument
from interfaces.http.edge.queries import Query
from interfaces.http_conventions.problems import MEDIA_TYPE
from interfaces.version import __version__

_TEMPLATE = "#/components/schemas/{name}"
CALLER_ID = "[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}"
_COMMAND_HEADERS = ("Idempotency-Key",)
_STATUS_TEXT = {
    200: "Done",
    201: "Made",
    202: "Accepted, still under way",
    204: "The run is over and all of it was seen",
    400: "Invalid input",
    401: "No valid API key",
    403: "Forbidden",
    404: "Not known",
    409: "Conflict with the present state",
    413: "Body over 1 MiB; of callbacks and of chats, over 8 MiB",
    415: "Unsupported media type",
    422: "Required paths are missing, or the stored workspace can't be read",
    429: "Too many requests or streams of this caller; Retry-After says when to come again",
    502: "The object store refused the call",
    503: "Not available now; Retry-After says when",
}


@cache
def openapi_document(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The document as JSON values."""
    types = _types(endpoints)
    schemas, components = msgspec.json.schema_components(types, schema_hook=_no_schema, ref_template=_TEMPLATE)
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}

    def schema_of(kind: Any) -> Mapping[str, Any]:
        return by_type[id(kind)]

    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of, components)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Fleetlog",
            "version": __version__,
            "description": "A self-hosted, event-sourced control plane for coding agents.",
        },
        "security": [{"apiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return decoded


def _types(endpoints: Iterable[Endpoint]) -> list[Any]:
    types: list[Any] = [ProblemDocument]
    for endpoint in endpoints:
        types += [kind for kind in endpoint.answers.values() if kind not in {None, bytes}]
        types += endpoint.raw_body.values()
        types += [kind for kind in (endpoint.body, endpoint.query) if kind is not None]
    return list({id(kind): kind for kind in types}.values())


def _operation(endpoint: Endpoint, schema_of: Any, components: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": [
            *(_path_parameter(name) for name in endpoint.parameters),
            *_query_parameters(endpoint.query, components),
            *(
                {"name": name, "in": "header", "schema": {"type": "string", "maxLength": 255}}
                for name in (_COMMAND_HEADERS if endpoint.command else ())
            ),
        ],
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.access == "open":
        operation["security"] = []
    body = _request_body(endpoint, schema_of)
    if body is not None:
        operation["requestBody"] = body
    return operation


def operation_id(endpoint: Endpoint) -> str:
    """A stable name for generated clients: `getApiRunsByRunIdTodos`."""
    parts = endpoint.path.replace("{", "by-").replace("}", "").replace("/", "-").replace(".", "-").split("-")
    return endpoint.method.lower() + "".join(part[:1].upper() + part[1:] for part in parts if part)


def _request_body(endpoint: Endpoint, schema_of: Any) -> dict[str, Any] | None:
    if endpoint.raw_body:
        content = {kind: {"schema": schema_of(body)} for kind, body in endpoint.raw_body.items()}
        return {"required": True, "content": content}
    if endpoint.body is None:
        return None
    content = {"application/json": {"schema": schema_of(endpoint.body)}}
    return {"required": not endpoint.body_optional, "content": content}


def _responses(endpoint: Endpoint, schema_of: Any) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in sorted(endpoint.answers.items()):
        response: dict[str, Any] = {"description": _STATUS_TEXT[status]}
        if kind is bytes:
            response["content"] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        elif kind is not None:
            response["content"] = {"application/json": {"schema": schema_of(kind)}}
        elif status == 200:
            response["content"] = {"text/plain": {"schema": {"type": "string"}}}
        responses[str(status)] = response
    if endpoint.streams:
        stream = responses.setdefault("200", {"description": _STATUS_TEXT[200], "content": {}})
        stream["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    problem = {"schema": schema_of(ProblemDocument)}
    for status in sorted(problem_statuses(endpoint)):
        responses.setdefault(str(status), {"description": _STATUS_TEXT[status], "content": {MEDIA_TYPE: problem}})
    return responses


def problem_statuses(endpoint: Endpoint) -> set[int]:
    """The statuses of the problems that an endpoint can answer with."""
    statuses = {400, *endpoint.errors}
    if endpoint.method != "GET":
        statuses |= {409, 413, 415}
    if endpoint.access != "open":
        statuses |= {401, 403, 429, 503}
    return statuses


def _query_parameters(query: type[Query], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    schema = components[query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _without_null(property_schema),
        }
        for name, property_schema in schema.get("properties", {}).items()
    ]


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without its null: a query parameter is absent, never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    shown = {name: value for name, value in schema.items() if name != "default" or value is not None}
    if "anyOf" in shown and len(choices) == 1:
        del shown["anyOf"]
        return {**choices[0], **shown}
    return shown


def _path_parameter(name: str) -> dict[str, Any]:
    pattern = STREAM_ID.pattern if name == "streamId" else CALLER_ID
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{pattern}$"}}


def _no_schema(kind: type) -> dict[str, Any]:
    """The schema hook of msgspec: stored JSON that is passed through undecoded may be anything."""
    if kind is msgspec.Raw:
        return {}
    raise NotImplementedError(f"{kind!r} has no JSON schema")
