"""Callbacks: events of a run, reported by its agent or by the program that executes an external run.

A body is one callback, an array, or NDJSON. All are checked before the first is recorded; each is idempotent by its
eventId.
"""

import re
from collections.abc import Iterator, Sequence

import msgspec

from application.runs.callbacks import Callback, CallbackResult, Report, callback_event
from application.turns import LARGE_BODIES, Turn
from domain.errors import InvalidInput
from domain.event import JSON_STRING, MAX_PAYLOAD_BYTES, encode
from domain.run.events import HumanLoopRequested, HumanLoopResolved, RunAgentFinished, RunWarning
from interfaces.http.compatibility import flat_callbacks
from interfaces.http.compatibility.flat_callbacks import in_todays_form, with_timeout
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import YEAR_MS, Query
from interfaces.http.edge.stored_values import check_free_form, check_integers, check_usage
from interfaces.http_conventions import bodies
from interfaces.http_conventions.field_paths import field_and_message
from interfaces.http_conventions.problems import Problem, invalid

MAX_CALLBACKS = 2000
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
MAX_NAME_BYTES = 400
MAX_UNKNOWN_BYTES = 16 * 1024
MAX_VALUES = 200_000
BYTES_AT_ONCE = 1024 * 1024
"""Of a body, looked through at a stretch: some milliseconds."""
MOST_STRINGS = 2 * MAX_VALUES + 1
"""In a body of that many values: each may be a string, and have another as its name."""
_ARRAY = re.compile(rb"\s*\[")
_STRING = re.compile(JSON_STRING, re.DOTALL)
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_one = msgspec.json.Decoder(Callback)
_many = msgspec.json.Decoder(list[Callback])
_items = msgspec.json.Decoder(list[msgspec.Raw])


async def record(call: ApiCall[None, Query]) -> JsonAnswer:
    turn = Turn(share=LARGE_BODIES)
    await check_values(call.raw, turn)
    sent = await decoded(call.raw, bodies.media_type(call.request), turn)
    reports: list[Report] = []
    for index, callback in enumerate(sent.callbacks):
        reports.append(_checked(callback, "" if sent.single else f"[{index}].", flat=index in sent.flat))
        if turn.over:
            await turn.next()
    if call.exchange.of_worker:
        _refuse_answers(reports, single=sent.single)
    run_id, token = call.path["runId"], call.exchange.token
    results = await call.deps.callbacks.handle(run_id, reports, call.context, token=token)
    return JsonAnswer(results[0] if sent.single else results)


class SentCallbacks(msgspec.Struct, kw_only=True):
    """The callbacks of a body in today's form. `single`: it is no list. `flat`: the indexes of those whose payload's
    fields stood beside their type."""

    callbacks: list[Callback] = []
    single: bool = False
    flat: set[int] = set()

    def add(self, raw: bytes | bytearray | msgspec.Raw, root: str) -> None:
        """Raises Problem 400 with the field as it was sent."""
        try:
            callback, flat = _one.decode(raw), False
        except msgspec.ValidationError:
            callback, flat = in_todays_form(raw, root)
        except (msgspec.DecodeError, RecursionError, ValueError):
            callback, flat = bodies.decode_body(bytes(raw), _one, root=root), False
        if flat:
            self.flat.add(len(self.callbacks))
        self.callbacks.append(callback)


async def decoded(raw: bytearray, kind: str, turn: Turn) -> SentCallbacks:
    """Raises Problem 400 naming the field, 415."""
    sent = SentCallbacks()
    if kind in NDJSON:
        for number, line in enumerate(_lines(raw)):
            sent.add(line, f"[{number}]")
            if turn.over:
                await turn.next()
    elif not bodies.is_json(kind):
        raise Problem(
            415,
            "unsupported-media-type",
            "Unsupported media type",
            f"content type {kind!r} is not supported; send application/json or application/x-ndjson",
            errors=invalid("content-type", f"{kind!r} is not supported").errors,
        )
    elif _ARRAY.match(raw):
        await _add_all(sent, raw, turn)
    else:
        sent.single = True
        sent.add(raw, "")
    return sent


async def _add_all(sent: SentCallbacks, raw: bytearray, turn: Turn) -> None:
    try:
        sent.callbacks = _many.decode(raw)
    except msgspec.DecodeError:
        items = bodies.decode_body(raw, _items)
        _check_count(len(items))
        for index, item in enumerate(items):
            sent.add(item, f"[{index}]")
            if turn.over:
                await turn.next()
    _check_count(len(sent.callbacks))


def _lines(raw: bytearray) -> Iterator[bytearray]:
    """The lines that are not blank, one at a time."""
    start, count = 0, 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        line = raw[start : len(raw) if end < 0 else end]
        start += len(line) + 1
        if line.strip():
            count += 1
            _check_count(count)
            yield line


async def check_values(raw: bytearray, turn: Turn) -> None:
    """Raises Problem 400 for a body of so many small values that it would be many times as large once it is decoded."""
    marks = 0
    for begin in range(0, len(raw), BYTES_AT_ONCE):
        marks += _marks(raw, begin, begin + BYTES_AT_ONCE)
        if turn.over:
            await turn.next()
    if marks <= MAX_VALUES:
        return  # even with those within strings
    count = start = 0
    for strings, string in enumerate(_STRING.finditer(raw)):
        count += _marks(raw, start, string.start())
        start = string.end()
        if count > MAX_VALUES or strings > MOST_STRINGS:
            raise _too_many_values()
        if turn.over:
            await turn.next()
    if count + _marks(raw, start, len(raw)) > MAX_VALUES:
        raise _too_many_values()


def _too_many_values() -> Problem:
    return invalid("body", f"has more than {MAX_VALUES:,} values; send fewer callbacks at once")


def _marks(raw: bytearray, start: int, end: int) -> int:
    return sum(raw.count(mark, start, end) for mark in (b",", b"[", b"{"))


def _refuse_answers(reports: Sequence[Report], *, single: bool) -> None:
    """Raises Problem 403: a question is a person's to answer, and an agent could otherwise permit itself what it asked
    for."""
    for index, report in enumerate(reports):
        if isinstance(report.event, HumanLoopResolved):
            field = "type" if single else f"[{index}].type"
            message = f"a worker's token can't report {report.callback.type!r}: a person answers, with an API key"
            errors = invalid(field, message).errors
            extra = {"reason": "answer_by_worker"}
            raise Problem(403, "forbidden", "Forbidden", f"{field}: {message}", errors=errors, extra=extra)


def _check_count(count: int) -> None:
    if count > MAX_CALLBACKS:
        raise invalid("body", f"has more than {MAX_CALLBACKS} callbacks; at most so many are taken at once")


def _checked(callback: Callback, prefix: str, *, flat: bool) -> Report:
    """`flat`: what its payload has stood beside its type."""
    root = prefix.removesuffix(".") if flat else f"{prefix}payload"
    check_name(f"{prefix}eventId", callback.event_id)
    check_name(f"{prefix}type", callback.type)
    check_free_form(root or "body", callback.payload)
    check_integers(root or "body", callback.payload)
    callback = with_timeout(callback, root)
    try:
        event = callback_event(callback)
    except InvalidInput as error:
        if isinstance(error.__cause__, msgspec.ValidationError):
            raise invalid(*field_and_message(error.__cause__, root)) from error
        raise invalid(f"{prefix}{error.field}", error.message) from error
    if isinstance(event, HumanLoopRequested) and not 0 <= (event.timeout_ms or 0) <= YEAR_MS:
        raise invalid(f"{root}.timeoutMs".removeprefix("."), f"must be between 0 and {YEAR_MS}")
    if isinstance(event, RunAgentFinished):
        check_usage(f"{root}.usage".removeprefix("."), event.usage)
    limit = MAX_UNKNOWN_BYTES if isinstance(event, RunWarning) else MAX_PAYLOAD_BYTES
    size = len(encode(event))
    if size > limit:
        raise invalid(root or "body", f"is too large: {limit} bytes of a {callback.type} are stored at most")
    return Report(callback=callback, event=event, size=size)


def check_name(field: str, value: str) -> None:
    """Names are indexed by the log, so their length is bounded. Raises Problem 400."""
    if not _NAME.fullmatch(value) or len(value.encode()) > MAX_NAME_BYTES:
        raise invalid(
            field, f"must have 1 to 200 characters ({MAX_NAME_BYTES} bytes), none of them a control character"
        )


ENDPOINTS = (
    Endpoint(
        name="recordCallbacks",
        method="POST",
        path="/api/runs/{runId}/callbacks",
        handler=record,
        tag="callbacks",
        summary="Report what happened in a run; once per eventId",
        raw_body={
            "application/json": flat_callbacks.Callback | tuple[flat_callbacks.Callback, ...],
            "application/x-ndjson": str,
        },
        answers={200: CallbackResult | tuple[CallbackResult, ...]},
        command=True,
        access="key or worker token",
        errors=(409,),
        max_body=bodies.MAX_BODY_BYTES,
        example=Example(
            path={"runId": "r3"},
            body={
                "eventId": "e1",
                "type": "todo.update",
                "payload": {"todo": {"todoId": "t1", "content": "Read the code", "status": "doing"}},
            },
        ),
    ),
)
