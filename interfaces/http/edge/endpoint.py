"""Endpoint: a method, a path, the types of its query, body and answers, and the handler.

The routes and the OpenAPI document are both made from endpoints, so that they cannot disagree.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from application.command_context import CommandContext
from domain.identifiers import check_id
from interfaces.http.edge.dependencies import ApiDependencies
from interfaces.http.edge.examples import PATH_VALUES, Example
from interfaces.http.edge.exchange import Exchange
from interfaces.http.edge.queries import Query
from interfaces.http_conventions.problems import Problem, invalid

BodyT_co = TypeVar("BodyT_co", covariant=True)
QueryT_co = TypeVar("QueryT_co", bound=Query, covariant=True)
Access = Literal["open", "key", "key or worker token"]
MAX_COMMAND_BYTES = 1024 * 1024
"""A command is at most 256 KiB in the log; escaped in JSON, its text may be three times as long."""
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class JsonAnswer:
    """A JSON response. `body` has the type that the endpoint declares for this status."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ApiCall(Generic[BodyT_co, QueryT_co]):
    """A handler's argument. `path`: the checked path parameters. `raw`: the body's bytes where the endpoint has a
    `raw_body`, else empty."""

    request: Request
    deps: ApiDependencies
    exchange: Exchange
    context: CommandContext
    path: Mapping[str, str]
    query: QueryT_co
    body: BodyT_co
    raw: bytearray = field(default_factory=bytearray)

    @property
    def wants_events(self) -> bool:
        """Whether the caller asks for a live stream (`Accept: text/event-stream`)."""
        return "text/event-stream" in self.request.headers.get("accept", "").lower()


Handler = Callable[[ApiCall[Any, Any]], Awaitable[JsonAnswer | Response]]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command that takes none: absent, or an empty object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Endpoint:
    """`name`: of the operation in the OpenAPI document, and so of a function of generated clients; it stays. `answers`:
    by status, the JSON type, `bytes` for a file, None for text, whose media type is `text_type`. `streams`: it can
    answer with server-sent events. `command`: it changes something, takes an Idempotency-Key, and is cancelled when its
    caller disconnects. `costly`: a GET that costs much. `max_body`: bytes that its body may have. `errors`: problem
    statuses besides those that every endpoint has. `raw_body`: for a body that the handler decodes itself, the schema's
    type by media type, `str` for a text."""

    name: str
    method: Literal["GET", "POST", "PUT"]
    path: str
    handler: Handler
    tag: str
    summary: str
    answers: Mapping[int, Any]
    body: type[Any] | None = None
    body_optional: bool = False
    raw_body: Mapping[str, Any] = field(default_factory=dict)
    query: type[Query] = Query
    command: bool = False
    streams: bool = False
    access: Access = "key"
    costly: bool = False
    max_body: int = MAX_COMMAND_BYTES
    errors: tuple[int, ...] = ()
    text_type: str = "text/plain"
    example: Example = field(default_factory=Example)

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Any]:
        """The decoder of its body."""
        return msgspec.json.Decoder(self.body or Nothing)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path parameters."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def example_path(self) -> Mapping[str, str]:
        """The path parameters of its example."""
        return {name: self.example.path.get(name, PATH_VALUES[name]) for name in self.parameters}


STREAM_ID = re.compile(r"[a-z][a-z_]{0,39}:[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}")


def checked_path(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The path parameters. Raises InvalidInput or Problem 400, naming the one that is no valid id."""
    for name, value in parameters.items():
        if name == "streamId":
            if not STREAM_ID.fullmatch(value):
                raise _bad_stream(value)
        else:
            check_id(name, value)
    return parameters


def _bad_stream(value: str) -> Problem:
    return invalid("streamId", f"{value[:140]!r} must be a kind, a colon and an id, such as run:my-run")
