"""Request bodies: read within bounds, decoded strictly. Whatever is wrong with one is a 4xx problem that says where."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from domain.event import MAX_PAYLOAD_BYTES
from domain.workspace.manifest import RuntimeManifest
from interfaces.http.field_paths import validation_problem
from interfaces.http.problems import Problem, invalid

Body = TypeVar("Body")
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_MANIFEST_BYTES = 100 * 1024
MAX_DEPTH = 100
BODY_TIMEOUT_S = 60.0
_DISCARDED_BYTES = 32 * 1024 * 1024
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_JSON = re.compile(r"application/(?:json|[\w.+-]+\+json)")


def too_large() -> Problem:
    """413; the connection is closed because the rest of the body is not read."""
    message = f"is larger than {MAX_BODY_BYTES} bytes"
    return Problem(
        413,
        "too-large",
        "Body too large",
        f"the body {message}",
        errors=invalid("body", message).errors,
        headers={"connection": "close"},
    )


def media_type(request: Request) -> str:
    """The body's media type in lower case without parameters; empty when the caller names none.

    Raises Problem 415 for a charset other than UTF-8.
    """
    name, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower().replace("_", "-") not in {"utf-8", "utf8", "us-ascii"}:
        raise _unsupported(f"charset {charset[1]!r} is not supported, only UTF-8")
    return name.strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON; none at all counts as JSON."""
    return not kind or _JSON.fullmatch(kind) is not None


async def read_body(request: Request) -> bytes:
    """The whole body, 8 MiB at most, however it is sent. Raises Problem 413, 415, 408."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("a compressed body is not supported")
    declared = request.headers.get("content-length", "")
    stream = request.stream()
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        if "expect" not in request.headers:
            await discard(stream)
        raise too_large()
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in stream:
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    chunks.clear()
                    await discard(stream)
                    raise too_large()
                chunks.append(chunk)
    except TimeoutError as error:
        raise Problem(
            408,
            "timeout",
            "Request timeout",
            f"the body did not arrive within {BODY_TIMEOUT_S:g} s",
            headers={"connection": "close"},
        ) from error
    return b"".join(chunks)


async def discard(stream: AsyncIterator[bytes]) -> None:
    """Read on for a while, and keep nothing: a client that is still sending would get a reset instead of the answer."""
    discarded = 0
    async for chunk in stream:
        discarded += len(chunk)
        if discarded > _DISCARDED_BYTES:
            return


def decode_body(raw: bytes, decoder: msgspec.json.Decoder[Body], *, root: str = "") -> Body:
    """The body's value. Raises Problem 400 naming the field by its JSON path below `root`."""
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


def check_json_content(request: Request) -> None:
    """Raises Problem 415 for a body that is declared as something else than JSON."""
    kind = media_type(request)
    if not is_json(kind):
        raise _unsupported(f"content type {kind!r} is not supported; send application/json")


def check_free_form(field: str, value: Any) -> None:
    """A caller's own JSON, as it will be stored: at most 256 KiB, 100 levels deep. Raises Problem 400 for `field`."""
    try:
        raw = msgspec.json.encode(value)
    except (RecursionError, OverflowError, ValueError) as error:
        raise invalid(field, f"can't be stored: {error}") from error
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise invalid(field, f"is {len(raw)} bytes of JSON; at most {MAX_PAYLOAD_BYTES} are stored")
    depth = 0
    for token in _STRUCTURE.finditer(raw):
        mark = token.group()
        depth += mark in b"[{"
        depth -= mark in b"]}"
        if depth > MAX_DEPTH:
            raise invalid(field, f"is nested deeper than {MAX_DEPTH} levels")


def check_integers(field: str, value: Any) -> None:
    """Raises Problem 400 for an integer somewhere in a caller's JSON that a database column could not hold."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise invalid(field, "holds an integer of more than 64 bits")


def check_manifest_size(manifest: RuntimeManifest | None) -> None:
    """The log keeps a manifest together with the plan that repeats it. Raises Problem 400."""
    size = len(msgspec.json.encode(manifest))
    if size > MAX_MANIFEST_BYTES:
        raise invalid("manifest", f"is {size} bytes of JSON; at most {MAX_MANIFEST_BYTES} are taken")


def _unsupported(detail: str) -> Problem:
    header = "content-encoding" if "compressed" in detail else "content-type"
    return Problem(
        415,
        "unsupported-media-type",
        "Unsupported media type",
        detail,
        errors=invalid(header, detail).errors,
    )
