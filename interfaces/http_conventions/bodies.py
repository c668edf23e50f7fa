"""Request bodies: bounded in size and time, decoded strictly. Errors are 4xx problems that name the field."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from starlette.requests import Request

from interfaces.http_conventions.field_paths import validation_problem
from interfaces.http_conventions.problems import Problem, invalid

Body = TypeVar("Body")
MAX_BODY_BYTES = 8 * 1024 * 1024
BODY_TIMEOUT_S = 60.0
_DISCARDED_BYTES = 32 * 1024 * 1024
_JSON = re.compile(r"application/(?:json|[\w.+-]+\+json)")


def too_large(limit: int) -> Problem:
    """Problem 413. The connection is closed, because the rest of the body is not read."""
    message = f"is larger than {limit} bytes"
    return Problem(
        413,
        "too-large",
        "Body too large",
        f"the body {message}",
        errors=invalid("body", message).errors,
        headers={"connection": "close"},
    )


def media_type(request: Request) -> str:
    """The body's media type in lower case without parameters; empty if there is none.

    Raises Problem 415 for a charset other than UTF-8.
    """
    name, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower().replace("_", "-") not in {"utf-8", "utf8", "us-ascii"}:
        raise _unsupported(f"charset {charset[1]!r} is not supported, only UTF-8")
    return name.strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON; an empty one counts as JSON."""
    return not kind or _JSON.fullmatch(kind) is not None


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytearray:
    """The whole body, in memory once. Raises Problem 413, 415 (compressed), or 408 after 60 s."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in body_chunks(request, limit):
                body += chunk
            return body
    except TimeoutError as error:
        raise _too_slow(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from error


async def with_chunk_timeout(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks of a large body. Raises Problem 408 if one takes longer than 60 s; the whole has no limit."""
    while True:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow(f"no more of the body came within {BODY_TIMEOUT_S:g} s") from error
        if chunk is None:
            return
        yield chunk


async def body_chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body's chunks, `limit` bytes in all at most. Raises Problem 413, 415 (compressed)."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("a compressed body is not supported")
    declared = request.headers.get("content-length", "")
    stream = request.stream()
    if declared.isdigit() and int(declared) > limit:
        if "expect" not in request.headers:
            await discard(stream)
        raise too_large(limit)
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            await discard(stream)
            raise too_large(limit)
        yield chunk


async def discard(stream: AsyncIterator[bytes]) -> None:
    """Read and discard up to 32 MiB: a client that is still sending would see a connection reset, not the response."""
    discarded = 0
    async for chunk in stream:
        discarded += len(chunk)
        if discarded > _DISCARDED_BYTES:
            return


def decode_body(raw: bytes | bytearray, decoder: msgspec.json.Decoder[Body], *, root: str = "") -> Body:
    """The decoded body. Raises Problem 400 naming the field by its JSON path below `root`."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise validation_problem(error, root) from error
    except msgspec.DecodeError as error:
        raise invalid(root or "body", f"is not valid JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise invalid(root or "body", f"is not valid UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise invalid(root or "body", "is nested too deeply") from error


def check_text(raw: bytes | bytearray) -> None:
    """Raises Problem 400 for what is not UTF-8, also where a decoder would ignore it."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise invalid("body", f"is not valid UTF-8: {error.reason} at byte {error.start}") from error


def check_json_content(request: Request) -> None:
    """Raises Problem 415 for a content type other than JSON."""
    kind = media_type(request)
    if not is_json(kind):
        raise _unsupported(f"content type {kind!r} is not supported; send application/json")


def _too_slow(detail: str) -> Problem:
    return Problem(408, "timeout", "Request timeout", detail, headers={"connection": "close"})


def _unsupported(detail: str) -> Problem:
    header = "content-encoding" if "compressed" in detail else "content-type"
    return Problem(
        415,
        "unsupported-media-type",
        "Unsupported media type",
        detail,
        errors=invalid(header, detail).errors,
    )
