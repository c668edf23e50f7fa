"""The OpenAPI 3.1 document, made from the endpoints and their types."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from interfaces.http.edge.endpoint import STREAM_ID, Endpoint, Nothing
from interfaces.http.edge.examples import RecordedAnswer, recorded_answer
from interfaces.http.edge.problems import ProblemDocument
from interfaces.http.edge.schemas import Schemas, schemas_of
from interfaces.http_conventions.problems import MEDIA_TYPE
from interfaces.version import __version__

CALLER_ID = "[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}"
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$", "maxLength": 255},
}
_SERVERS = (
    {"url": "/", "description": "The server that serves this document."},
    {"url": "http://127.0.0.1:8080", "description": "As script/server starts it."},
)
_TAGS = {
    "probes": "Whether the server lives and works, and its metrics.",
    "housekeeping": "What also runs by the clock: stopping, removing, reconciling.",
    "session workers": "Sessions: their workers and their workspaces.",
    "runs": "Tasks given to agents.",
    "effects": "Side effects, and the process managers that want them.",
    "queue": "Runs that wait for their turn.",
    "callbacks": "What agents and other programs report about runs.",
    "todos": "Agents' todo lists.",
    "human loop": "Questions of agents to people.",
    "usage": "Tokens and cost.",
    "providers": "Agents that can be run.",
    "log": "Every event.",
    "chat history": "Sessions as the chats that clients of the system before know.",
    "history": "What changed, when, and from there another way.",
    "audit": "Proofs that the log is as it was written.",
}
_STATUS_TEXT = {
    200: "Done",
    201: "Made",
    202: "Accepted, still under way",
    204: "The run is over and all of it was seen",
    400: "Invalid input",
    401: "No valid API key",
    403: "Forbidden",
    404: "Not known",
    408: "The body did not arrive in time",
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
    schemas = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    tags = dict.fromkeys(endpoint.tag for endpoint in endpoints)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Fleetlog",
            "version": __version__,
            "description": "A self-hosted, event-sourced control plane for coding agents.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": _SERVERS,
        "security": [{"apiKey": []}],
        "tags": [{"name": tag, "description": _TAGS[tag]} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of FLEETLOG_API_KEYS. A server that has none takes requests without.",
                }
            },
        },
    }
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return decoded


def _schemas(endpoints: Iterable[Endpoint]) -> Schemas:
    requests: list[Any] = []
    answers: list[Any] = [ProblemDocument]
    queries: list[Any] = []
    for endpoint in endpoints:
        requests += [kind for kind in (endpoint.body, *endpoint.raw_body.values()) if kind not in {None, Nothing, str}]
        answers += [kind for kind in endpoint.answers.values() if kind not in {None, bytes}]
        queries.append(endpoint.query)
    return schemas_of(requests=requests, answers=answers, queries=queries)


def _operation(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": [
            *(_path_parameter(name, endpoint.example_path[name]) for name in endpoint.parameters),
            *_query_parameters(endpoint, schemas),
            *([_IDEMPOTENCY_KEY] if endpoint.command else ()),
        ],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.access == "open":
        operation["security"] = []
    body = _request_body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = body
    return operation


def _request_body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any] | None:
    example = {} if endpoint.example.body is None else {"example": endpoint.example.body}
    if endpoint.raw_body:
        content = {kind: {"schema": _raw(body, schemas)} for kind, body in endpoint.raw_body.items()}
        content["application/json"] |= example
        return {"required": True, "content": content}
    if endpoint.body in {None, Nothing}:
        return None
    content = {"application/json": {"schema": schemas.of(endpoint.body), **example}}
    return {"required": not endpoint.body_optional, "content": content}


def _raw(kind: Any, schemas: Schemas) -> dict[str, Any]:
    return {"type": "string"} if kind is str else schemas.of(kind)


def _responses(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in sorted(endpoint.answers.items()):
        response: dict[str, Any] = {"description": _STATUS_TEXT[status]}
        if kind is bytes:
            response["content"] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        elif kind is not None:
            response["content"] = {"application/json": {"schema": schemas.of(kind)}}
        elif status == 200:
            response["content"] = {endpoint.text_type: {"schema": {"type": "string"}}}
        responses[str(status)] = response
    if endpoint.streams:
        stream = responses.setdefault("200", {"description": _STATUS_TEXT[200], "content": {}})
        stream["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    problem = {"schema": schemas.of(ProblemDocument)}
    for status in sorted(problem_statuses(endpoint)):
        response = {"description": _STATUS_TEXT[status], "content": {MEDIA_TYPE: dict(problem)}}
        responses.setdefault(str(status), response)
    _show(recorded_answer(endpoint.name), responses)
    return responses


def _show(answer: RecordedAnswer | None, responses: dict[str, Any]) -> None:
    """Put the recorded answer beside its schema."""
    if answer is None or not answer.media_type:
        return
    content = responses.get(str(answer.status), {}).get("content", {})
    if answer.media_type in content:
        content[answer.media_type]["example"] = answer.body


def problem_statuses(endpoint: Endpoint) -> set[int]:
    """The statuses of the problems that an endpoint can answer with."""
    statuses = {400, *endpoint.errors}
    if endpoint.parameters:
        statuses.add(404)
    if endpoint.method != "GET":
        statuses |= {408, 409, 413, 415}
    if endpoint.access != "open":
        statuses |= {401, 403, 429, 503}
    return statuses


def _query_parameters(endpoint: Endpoint, schemas: Schemas) -> list[dict[str, Any]]:
    schema, shown = schemas.queries[endpoint.query.__name__], endpoint.example.query
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _of_parameter(property_schema),
            **({"example": shown[name]} if name in shown else {}),
        }
        for name, property_schema in schema.get("properties", {}).items()
    ]


def _of_parameter(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without its null: a query parameter is absent, never null; and without a default that says as much."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    shown = {name: value for name, value in schema.items() if name != "default" or value not in ("", None, ())}
    if "anyOf" in shown and len(choices) == 1:
        del shown["anyOf"]
        return {**choices[0], **shown}
    return shown


def _path_parameter(name: str, example: str) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "in": "path", "required": True}
    if name == "position":
        schema = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
        return told | {"schema": schema, "example": int(example)}
    pattern = STREAM_ID.pattern if name == "streamId" else CALLER_ID
    return told | {"schema": {"type": "string", "pattern": f"^{pattern}$"}, "example": example}
