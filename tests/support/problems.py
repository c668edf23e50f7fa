"""Calling endpoints of the API wrongly, and what the answers must look like."""

from typing import Any

import httpx

from interfaces.http.edge.endpoint import Endpoint


def path_of(endpoint: Endpoint, **values: str) -> str:
    path = endpoint.path
    for name in endpoint.parameters:
        default = "run:nobody" if name == "streamId" else "nobody"
        path = path.replace("{" + name + "}", values.get(name, default))
    return path


def problem(response: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "error", "traceId"} <= body.keys()
    assert body["status"] == response.status_code
    assert body["error"] == body["detail"]
    assert body["traceId"] == response.headers["x-trace-id"]
    return body


def fields(response: httpx.Response, *statuses: int) -> list[str]:
    return [error["field"] for error in problem(response, *(statuses or (400,)))["errors"]]


def shown(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"
