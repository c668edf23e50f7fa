"""What an endpoint is: a method, a path, the types of its query, body and answers, and the handler.

The routes and the OpenAPI document are both made from endpoints, so neither can say what the other doesn't know.
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
from interfaces.http.dependencies import ApiDependencies
from interfaces.http.exchange import Exchange
from interfaces.http.problems import Problem, invalid
from interfaces.http.queries import Query

BodyT_co = TypeVar("BodyT_co", covariant=True)
QueryT_co = TypeVar("QueryT_co", bound=Query, covariant=True)
Access = Literal["open", "key", "key or worker token"]
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Answer:
    """A JSON answer. `body` is of the type that the endpoint declares for this status."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Call(Generic[BodyT_co, QueryT_co]):
    """What a handler gets. `path` holds the checked path parameters; `raw` the body's bytes where the endpoint declares
    no type for it."""

    request: Request
    deps: ApiDependencies
    exchange: Exchange
    context: CommandContext
    path: Mapping[str, str]
    query: QueryT_co
    body: BodyT_co
    raw: bytes = b""

    @property
    def wants_events(self) -> bool:
        """Whether the caller asks for a live stream (`Accept: text/event-stream`)."""
        return "text/event-stream" in self.request.headers.get("accept", "").lower()


Handler = Callable[[Call[Any, Any]], Awaitable[Answer | Response]]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command that takes none: absent, or an empty object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Endpoint:
    """`answers`: JSON type by status, `bytes` for a file's, None for text; `streams`: it can answer with server-sent
    events. `command`: it changes something, takes an Idempotency-Key, and stops waiting when its caller goes away.
    `errors`: the problem statuses beside those that every endpoint has. `raw_body` names the media types of a body that
    the handler decodes itself, and its schema's type."""

    method: Literal["GET", "POST"]
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
    errors: tuple[int, ...] = ()

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Any]:
        """The strict decoder of its body."""
        return msgspec.json.Decoder(self.body or Nothing)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path parameters."""
        return tuple(_PARAMETER.findall(self.path))


STREAM_ID = re.compile(r"[a-z][a-z_]{0,39}:[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}")


def checked_path(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The path parameters. Raises InvalidInput, or Problem 400, naming the one that can't be an id."""
    for name, value in parameters.items():
        if name == "streamId":
            if not STREAM_ID.fullmatch(value):
                raise _bad_stream(value)
        else:
            check_id(name, value)
    return parameters


def _bad_stream(value: str) -> Problem:
    return invalid("streamId", f"{value[:140]!r} must be a kind, a colon and an id, such as run:my-run")
