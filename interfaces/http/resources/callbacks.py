"""Callbacks: events of a run, reported by its agent or by the program that executes an external run.

A body is one callback, an array, or NDJSON. All are checked before the first is recorded; each is idempotent by its
eventId.
"""

import re

import msgspec

from application.runs.callbacks import Callback, CallbackResult, callback_event
from domain.errors import InvalidInput
from domain.event import MAX_PAYLOAD_BYTES, encode
from domain.run.events import HumanLoopRequested, RunWarning
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.queries import YEAR_MS, Query
from interfaces.http.edge.stored_values import check_free_form, check_integers
from interfaces.http_conventions import bodies
from interfaces.http_conventions.field_paths import field_and_message
from interfaces.http_conventions.problems import Problem, invalid

MAX_CALLBACKS = 2000
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
MAX_NAME_BYTES = 400
MAX_UNKNOWN_BYTES = 16 * 1024
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_one = msgspec.json.Decoder(Callback)
_many = msgspec.json.Decoder(tuple[Callback, ...])


async def record(call: ApiCall[None, Query]) -> JsonAnswer:
    callbacks, single = decoded(call.raw, bodies.media_type(call.request))
    run_id = call.path["runId"]
    results = [await call.deps.callbacks.handle(run_id, callback, call.context) for callback in callbacks]
    return JsonAnswer(results[0] if single else results)


def decoded(raw: bytes, kind: str) -> tuple[tuple[Callback, ...], bool]:
    """The callbacks of a body, and whether the body is a single one. Raises Problem 400 naming the field, 415."""
    if kind in NDJSON:
        lines = [line for line in raw.split(b"\n") if line.strip()]
        _check_count(len(lines))
        callbacks = tuple(bodies.decode_body(line, _one, root=f"[{i}]") for i, line in enumerate(lines))
        single = False
    elif not bodies.is_json(kind):
        raise Problem(
            415,
            "unsupported-media-type",
            "Unsupported media type",
            f"content type {kind!r} is not supported; send application/json or application/x-ndjson",
            errors=invalid("content-type", f"{kind!r} is not supported").errors,
        )
    elif raw.lstrip()[:1] == b"[":
        callbacks, single = bodies.decode_body(raw, _many), False
        _check_count(len(callbacks))
    else:
        callbacks, single = (bodies.decode_body(raw, _one),), True
    for index, callback in enumerate(callbacks):
        _check(callback, "" if single else f"[{index}].")
    return callbacks, single


def _check_count(count: int) -> None:
    if count > MAX_CALLBACKS:
        raise invalid("body", f"has {count} callbacks; at most {MAX_CALLBACKS} are taken at once")


def _check(callback: Callback, prefix: str) -> None:
    check_name(f"{prefix}eventId", callback.event_id)
    check_name(f"{prefix}type", callback.type)
    check_free_form(f"{prefix}payload", callback.payload)
    check_integers(f"{prefix}payload", callback.payload)
    try:
        event = callback_event(callback)
    except InvalidInput as error:
        if isinstance(error.__cause__, msgspec.ValidationError):
            raise invalid(*field_and_message(error.__cause__, f"{prefix}payload")) from error
        raise invalid(f"{prefix}{error.field}", error.message) from error
    if isinstance(event, HumanLoopRequested) and not 0 <= (event.timeout_ms or 0) <= YEAR_MS:
        raise invalid(f"{prefix}payload.timeoutMs", f"must be between 0 and {YEAR_MS}")
    limit = MAX_UNKNOWN_BYTES if isinstance(event, RunWarning) else MAX_PAYLOAD_BYTES
    if len(encode(event)) > limit:
        raise invalid(f"{prefix}payload", f"is too large: {limit} bytes of a {callback.type} are stored at most")


def check_name(field: str, value: str) -> None:
    """Names are indexed by the log, so their length is bounded. Raises Problem 400."""
    if not _NAME.fullmatch(value) or len(value.encode()) > MAX_NAME_BYTES:
        raise invalid(
            field, f"must have 1 to 200 characters ({MAX_NAME_BYTES} bytes), none of them a control character"
        )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/runs/{runId}/callbacks",
        handler=record,
        tag="callbacks",
        summary="Report what happened in a run; once per eventId",
        raw_body={
            "application/json": Callback | tuple[Callback, ...],
            "application/x-ndjson": Callback,
        },
        answers={200: CallbackResult | tuple[CallbackResult, ...]},
        command=True,
        access="key or worker token",
        errors=(409,),
    ),
)
