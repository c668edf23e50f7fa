"""What a scripted model answers, whatever protocol it is asked in."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GATE_TIMEOUT_S = 200.0


class Gate:
    """Where a reply waits until the test opens it; `reached` tells the test that it waits there."""

    def __init__(self) -> None:
        self._open, self.reached = threading.Event(), threading.Event()

    def open(self) -> None:
        self._open.set()

    def wait(self) -> None:
        self.reached.set()
        self._open.wait(GATE_TIMEOUT_S)


@dataclass(frozen=True)
class Text:
    """Streamed in `pieces`, with `pause_s` between them; at `gate` the stream waits after the first piece."""

    text: str
    pieces: int = 4
    pause_s: float = 0.0
    gate: Gate | None = None
    stamped: bool = False

    def told(self, piece: str) -> str:
        """The piece as it is sent now: when `stamped`, with the time (nanoseconds since 1970) and a space behind it."""
        return f"{piece}{time.time_ns()} " if self.stamped else piece


@dataclass(frozen=True)
class Reasoning:
    text: str
    pieces: int = 3


@dataclass(frozen=True)
class ToolCall:
    """A call of one of the CLI's own tools."""

    name: str
    input: Mapping[str, Any]


Part = Text | Reasoning | ToolCall


class Turn:
    """One model answer of several parts, with the tokens that it reports."""

    def __init__(self, *parts: Part, input_tokens: int = 11, output_tokens: int = 7, cached_tokens: int = 0) -> None:
        self.parts = parts
        self.input_tokens, self.output_tokens, self.cached_tokens = input_tokens, output_tokens, cached_tokens


@dataclass(frozen=True)
class HttpError:
    """Instead of a stream: a status with the protocol's own error body."""

    status: int
    kind: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CutOff:
    """The stream breaks off after this text: the connection is closed without an end."""

    text: str = "half a"


@dataclass(frozen=True)
class Garbage:
    """A 200 whose body is no event stream of any kind."""

    body: bytes = b"<html>this is not a model</html>\x00\xff{]"


Reply = Text | Turn | HttpError | CutOff | Garbage


def refused_key() -> HttpError:
    return HttpError(401, "authentication_error", "invalid x-api-key")


def rate_limited(retry_after_s: int = 0) -> HttpError:
    return HttpError(429, "rate_limit_error", "Number of requests has exceeded your rate limit",
                     {"retry-after": str(retry_after_s)})  # fmt: skip


def server_error() -> HttpError:
    return HttpError(500, "api_error", "Internal server error")


def context_exceeded() -> HttpError:
    """As Anthropic's API says it."""
    return HttpError(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum")


def slow_text(text: str = "slowly ", count: int = 600, pause_s: float = 0.05) -> Text:
    """A stream of half a minute: long enough to be canceled or killed in its middle."""
    return Text(text * count, pieces=count, pause_s=pause_s)


def pieces_of(text: str, count: int) -> list[str]:
    """The text in `count` pieces or fewer, none of them empty."""
    size = max(1, -(-len(text) // max(1, count)))
    return [text[start : start + size] for start in range(0, len(text), size)]
