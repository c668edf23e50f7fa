"""The effect ledger: dead letters can be retried or dropped. And pausing the run queue."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.ports.effect_records import EffectRecord, EffectState, EffectTry
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import MAX_INT64, Number, PageLimit, Query, ReadQuery, Text
from interfaces.http.resources.reading import found, within_log, work_caught_up
from interfaces.http.resources.views import AnswerBody


class EffectsQuery(ReadQuery, frozen=True, kw_only=True):
    """`state` may be repeated. `before`: the `nextBefore` of the previous page."""

    state: tuple[EffectState, ...] = ()
    kind: Text = ""
    before: Number = MAX_INT64
    limit: PageLimit = 100


class EffectList(AnswerBody, frozen=True, kw_only=True):
    """Newest first. `nextBefore`: pass it as `?before=` for the next page; null at the end. A page may exceed its
    limit, because it holds all effects of its last event."""

    effects: tuple[EffectRecord, ...]
    next_before: int | None
    as_of_position: int


class EffectRead(EffectRecord, frozen=True, kw_only=True):
    """`history`: every attempt. The ledger is read as it is now; `asOfPosition` is the end of the log at that time."""

    history: tuple[EffectTry, ...]
    as_of_position: int


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`reason` is recorded in the log."""

    reason: Annotated[str, Meta(max_length=2000)] = ""


class Decided(AnswerBody, frozen=True, kw_only=True):
    """`position`: of the decision's event in the log; the ledger and the queue follow asynchronously."""

    position: int


class QueueRead(AnswerBody, frozen=True, kw_only=True):
    paused: bool
    as_of_position: int


async def list_effects(call: ApiCall[None, EffectsQuery]) -> JsonAnswer:
    query = call.query
    await work_caught_up(call)
    position = await call.deps.store.last_position()
    effects = tuple(
        await call.deps.operator_commands.records.list(
            states=query.state, kind=query.kind, before=query.before, limit=query.limit
        )
    )
    more = len(effects) >= query.limit
    return JsonAnswer(
        EffectList(effects=effects, next_before=effects[-1].caused_by if more else None, as_of_position=position)
    )


async def get_effect(call: ApiCall[None, ReadQuery]) -> JsonAnswer:
    key = call.path["effectKey"]
    await work_caught_up(call)
    position = await call.deps.store.last_position()
    record = found(await call.deps.operator_commands.records.get(key), f"no effect {key!r} is known")
    history = tuple(await call.deps.operator_commands.records.tries(record.effect_id))
    return JsonAnswer(EffectRead(**msgspec.structs.asdict(record), history=history, as_of_position=position))


async def retry_effect(call: ApiCall[ReasonBody, Query]) -> JsonAnswer:
    return JsonAnswer(
        Decided(
            position=await call.deps.operator_commands.retry(call.path["effectKey"], call.body.reason, call.context)
        )
    )


async def drop_effect(call: ApiCall[ReasonBody, Query]) -> JsonAnswer:
    return JsonAnswer(
        Decided(position=await call.deps.operator_commands.drop(call.path["effectKey"], call.body.reason, call.context))
    )


async def pause_queue(call: ApiCall[ReasonBody, Query]) -> JsonAnswer:
    return JsonAnswer(Decided(position=await call.deps.operator_commands.pause_queue(call.body.reason, call.context)))


async def resume_queue(call: ApiCall[ReasonBody, Query]) -> JsonAnswer:
    return JsonAnswer(Decided(position=await call.deps.operator_commands.resume_queue(call.body.reason, call.context)))


async def get_queue(call: ApiCall[None, ReadQuery]) -> JsonAnswer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    position = await call.deps.store.last_position()
    return JsonAnswer(QueueRead(paused=await call.deps.operator_commands.queue_is_paused(), as_of_position=position))


ENDPOINTS = (
    Endpoint(
        name="listEffects",
        method="GET",
        path="/api/effects",
        handler=list_effects,
        tag="effects",
        summary="Effects, newest first; `?state=dead`: dead letters, which wait for a person",
        query=EffectsQuery,
        answers={200: EffectList},
        example=Example(query={"state": ["dead"], "limit": 1}),
    ),
    Endpoint(
        name="getEffect",
        method="GET",
        path="/api/effects/{effectKey}",
        handler=get_effect,
        tag="effects",
        summary="One effect with all its attempts",
        query=ReadQuery,
        answers={200: EffectRead},
        errors=(404,),
    ),
    Endpoint(
        name="retryEffect",
        method="POST",
        path="/api/effects/{effectKey}/retry",
        handler=retry_effect,
        tag="effects",
        summary="Retry a dead letter",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
        example=Example(body={"reason": "the disk has room again"}),
    ),
    Endpoint(
        name="dropEffect",
        method="POST",
        path="/api/effects/{effectKey}/drop",
        handler=drop_effect,
        tag="effects",
        summary="Drop a dead letter: it is never retried",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
        example=Example(body={"reason": "its session is not needed"}),
    ),
    Endpoint(
        name="getQueue",
        method="GET",
        path="/api/queue",
        handler=get_queue,
        tag="queue",
        summary="Whether the run queue is paused",
        query=ReadQuery,
        answers={200: QueueRead},
    ),
    Endpoint(
        name="pauseQueue",
        method="POST",
        path="/api/queue/pause",
        handler=pause_queue,
        tag="queue",
        summary="Pause the queue: no run is claimed until it is resumed; claimed runs go on",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        example=Example(body={"reason": "maintenance"}),
    ),
    Endpoint(
        name="resumeQueue",
        method="POST",
        path="/api/queue/resume",
        handler=resume_queue,
        tag="queue",
        summary="Resume the queue",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        example=Example(body={"reason": "maintenance is over"}),
    ),
)
