"""Wanted effects and what became of them; those given up can be retried or dropped. And the switch of the queue."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.work_control import EffectRecord, EffectState, EffectTry
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import BIGGEST, Number, PageLimit, Query, ReadQuery, Text
from interfaces.http.reading import found, within_log, work_caught_up
from interfaces.http.views import View


class EffectsQuery(ReadQuery, frozen=True, kw_only=True):
    """`state` may be given several times. `before`: the `nextBefore` of the page before."""

    state: tuple[EffectState, ...] = ()
    kind: Text = ""
    before: Number = BIGGEST
    limit: PageLimit = 100


class EffectList(View, frozen=True, kw_only=True):
    """Newest first. `nextBefore`: go on with `?before=` this; null at the end. A page may be a little longer than its
    limit: it holds all effects of its last event."""

    effects: tuple[EffectRecord, ...]
    next_before: int | None
    as_of_position: int


class EffectRead(EffectRecord, frozen=True, kw_only=True):
    """`history`: every try. The ledger is read as it is now; `asOfPosition` is where the log stood."""

    history: tuple[EffectTry, ...]
    as_of_position: int


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`reason` is kept in the log."""

    reason: Annotated[str, Meta(max_length=2000)] = ""


class Decided(View, frozen=True, kw_only=True):
    """The decision is in the log; the ledger and the queue follow at once."""

    position: int


class QueueRead(View, frozen=True, kw_only=True):
    paused: bool
    as_of_position: int


async def list_effects(call: Call[None, EffectsQuery]) -> Answer:
    query = call.query
    await work_caught_up(call)
    position = await call.deps.store.last_position()
    effects = tuple(
        await call.deps.work.records.list(states=query.state, kind=query.kind, before=query.before, limit=query.limit)
    )
    more = len(effects) >= query.limit
    return Answer(
        EffectList(effects=effects, next_before=effects[-1].caused_by if more else None, as_of_position=position)
    )


async def get_effect(call: Call[None, ReadQuery]) -> Answer:
    key = call.path["effectKey"]
    await work_caught_up(call)
    position = await call.deps.store.last_position()
    record = found(await call.deps.work.records.get(key), f"no effect {key!r} is known")
    history = tuple(await call.deps.work.records.tries(record.effect_id))
    return Answer(EffectRead(**msgspec.structs.asdict(record), history=history, as_of_position=position))


async def retry_effect(call: Call[ReasonBody, Query]) -> Answer:
    return Answer(Decided(position=await call.deps.work.retry(call.path["effectKey"], call.body.reason, call.context)))


async def drop_effect(call: Call[ReasonBody, Query]) -> Answer:
    return Answer(Decided(position=await call.deps.work.drop(call.path["effectKey"], call.body.reason, call.context)))


async def pause_queue(call: Call[ReasonBody, Query]) -> Answer:
    return Answer(Decided(position=await call.deps.work.pause_queue(call.body.reason, call.context)))


async def resume_queue(call: Call[ReasonBody, Query]) -> Answer:
    return Answer(Decided(position=await call.deps.work.resume_queue(call.body.reason, call.context)))


async def get_queue(call: Call[None, ReadQuery]) -> Answer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    position = await call.deps.store.last_position()
    return Answer(QueueRead(paused=await call.deps.work.queue_is_paused(), as_of_position=position))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/effects",
        handler=list_effects,
        tag="effects",
        summary="Wanted effects, newest first; `?state=dead` are those that wait for a person",
        query=EffectsQuery,
        answers={200: EffectList},
    ),
    Endpoint(
        method="GET",
        path="/api/effects/{effectKey}",
        handler=get_effect,
        tag="effects",
        summary="One effect with the history of its tries",
        query=ReadQuery,
        answers={200: EffectRead},
        errors=(404,),
    ),
    Endpoint(
        method="POST",
        path="/api/effects/{effectKey}/retry",
        handler=retry_effect,
        tag="effects",
        summary="Try an effect once more that was given up",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/api/effects/{effectKey}/drop",
        handler=drop_effect,
        tag="effects",
        summary="Never try an effect again that was given up",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
    ),
    Endpoint(
        method="GET",
        path="/api/queue",
        handler=get_queue,
        tag="queue",
        summary="Whether the run queue is paused",
        query=ReadQuery,
        answers={200: QueueRead},
    ),
    Endpoint(
        method="POST",
        path="/api/queue/pause",
        handler=pause_queue,
        tag="queue",
        summary="Claim no run until the queue is resumed; those that run go on",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
    ),
    Endpoint(
        method="POST",
        path="/api/queue/resume",
        handler=resume_queue,
        tag="queue",
        summary="Claim runs again",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
    ),
)
