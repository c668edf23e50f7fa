"""Process managers: what turns events into wanted effects, and what to do about one that stands still."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.process_manager_control import ProcessManagerStatus
from interfaces.http.effects import Decided, ReasonBody
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import Query, ReadQuery
from interfaces.http.reading import within_log
from interfaces.http.views import View


class ProcessManagersRead(View, frozen=True, kw_only=True):
    process_managers: tuple[ProcessManagerStatus, ...]
    as_of_position: int


class SkipBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`position`: of the event to go on without, as the list shows it."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reason: Annotated[str, Meta(max_length=1000)] = ""


async def list_process_managers(call: Call[None, ReadQuery]) -> Answer:
    """Where they stand is what is asked: nothing is waited for."""
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    position = await call.deps.store.last_position()
    statuses = tuple(await call.deps.process_manager_records.status())
    return Answer(ProcessManagersRead(process_managers=statuses, as_of_position=position))


async def retry(call: Call[ReasonBody, Query]) -> Answer:
    name, controls = call.path["managerName"], call.deps.process_managers
    return Answer(Decided(position=await controls.retry(name, call.body.reason, call.context)))


async def skip(call: Call[SkipBody, Query]) -> Answer:
    name, controls = call.path["managerName"], call.deps.process_managers
    return Answer(Decided(position=await controls.skip(name, call.body.position, call.body.reason, call.context)))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/process-managers",
        handler=list_process_managers,
        tag="effects",
        summary="Where each process manager stands, and what stops it",
        query=ReadQuery,
        answers={200: ProcessManagersRead},
    ),
    Endpoint(
        method="POST",
        path="/api/process-managers/{managerName}/retry",
        handler=retry,
        tag="effects",
        summary="Try the event again at which a process manager stands still",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/api/process-managers/{managerName}/skip",
        handler=skip,
        tag="effects",
        summary="Go on without that event: what it made wanted is not done",
        body=SkipBody,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
    ),
)
