"""Process managers: their checkpoints, and how to retry or skip an event that stops one."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.ports.process_manager_records import ProcessManagerStatus
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import Query, ReadQuery
from interfaces.http.resources.effects import Decided, ReasonBody
from interfaces.http.resources.reading import within_log
from interfaces.http.resources.views import AnswerBody


class ProcessManagersRead(AnswerBody, frozen=True, kw_only=True):
    process_managers: tuple[ProcessManagerStatus, ...]
    as_of_position: int


class SkipBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`position`: of the event to skip, as shown by the list."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reason: Annotated[str, Meta(max_length=1000)] = ""


async def list_process_managers(call: ApiCall[None, ReadQuery]) -> JsonAnswer:
    """`minPosition` is only checked against the log: the answer shows how far each has got, so it waits for none."""
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    position = await call.deps.store.last_position()
    statuses = tuple(await call.deps.process_manager_records.status())
    return JsonAnswer(ProcessManagersRead(process_managers=statuses, as_of_position=position))


async def retry(call: ApiCall[ReasonBody, Query]) -> JsonAnswer:
    name, controls = call.path["managerName"], call.deps.process_managers
    return JsonAnswer(Decided(position=await controls.retry(name, call.body.reason, call.context)))


async def skip(call: ApiCall[SkipBody, Query]) -> JsonAnswer:
    name, controls = call.path["managerName"], call.deps.process_managers
    return JsonAnswer(Decided(position=await controls.skip(name, call.body.position, call.body.reason, call.context)))


ENDPOINTS = (
    Endpoint(
        name="listProcessManagers",
        method="GET",
        path="/api/process-managers",
        handler=list_process_managers,
        tag="effects",
        summary="The checkpoint of each process manager, and what stops it",
        query=ReadQuery,
        answers={200: ProcessManagersRead},
    ),
    Endpoint(
        name="retryProcessManager",
        method="POST",
        path="/api/process-managers/{managerName}/retry",
        handler=retry,
        tag="effects",
        summary="Retry the event at which a process manager has stopped",
        body=ReasonBody,
        body_optional=True,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
        example=Example(body={"reason": "the new version knows the event"}),
    ),
    Endpoint(
        name="skipProcessManagerEvent",
        method="POST",
        path="/api/process-managers/{managerName}/skip",
        handler=skip,
        tag="effects",
        summary="Skip the event at which a process manager has stopped: its outcomes are lost",
        body=SkipBody,
        answers={200: Decided},
        command=True,
        errors=(404, 409),
        example=Example(body={"position": 12, "reason": "its session is gone"}),
    ),
)
