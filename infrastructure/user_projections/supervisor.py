"""Keeps a user's projection running: its process is started, watched, restarted; one for each name at a time.

The holder of a projection has its lock, by a connection on which it also writes the status. A holder that dies loses
both at once; one that is merely stopped (SIGSTOP, a frozen machine) loses its connection after 10 seconds. Another
supervisor of the same name waits for the lock, and takes over. For a moment the processes of both may work: the view
tracks each position once, so that one of them is refused.

An event that the projection can't process stops it, by an event in the log, until a person says retry or skip. Its
process has ended by then, so that the next one has the user's mended code. So does one on which the process crashes
CRASHES times in a row. Whatever else ends the process (a lost database) is followed by a restart after a pause, which
grows while restarts don't help.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import psycopg

from application.operations.consumer_control import ConsumerControl
from application.ports.user_projections import ProjectionRefused
from application.task_cancellation import cancel_and_wait
from application.user_projection_protocol import (
    BlockedAtEvent,
    ClassRejected,
    Described,
    Failed,
    Order,
    PositionReached,
    PresentEvent,
)
from domain.operations.log_consumer import LONGEST_ERROR, BlockingEvent, describe
from infrastructure.postgres.connections import connect
from infrastructure.postgres.user_projections import HolderStatus, create_schema, try_lock, write_status
from infrastructure.user_projections.projection_process import (
    ProcessSilent,
    ProjectionProcess,
    projection_process,
)
from infrastructure.user_projections.view_settings import (
    libpq_variables,
    lies_elsewhere,
    log_settings,
    view_settings,
)

log = logging.getLogger(__name__)
HEARTBEAT_S = 1.0
LOCK_POLL_S = 1.0
LOOK_S = 0.2
"""How often the log is asked whether a stopped projection may go on."""
FIRST_RESTART_S, LAST_RESTART_S = 0.2, 30.0
CRASHES = 3
STEADY_S = 30.0
"""A process that has worked for so long ends the growth of the pauses."""
LAST_STATUS_S = 2.0
"""How long the last status may take to be written; with END_S it fits into the time that tasks have to end."""
SESSION = {"idle_session_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}
Connection = psycopg.AsyncConnection[Any]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a process. `blocking`: the event that it can't process. `present`: the event at which it crashed."""

    error: str = ""
    blocking: BlockingEvent | None = None
    present: PresentEvent | None = None


class UserProjectionSupervisor:
    """`describe` first, then `run`, which works until it is cancelled. `command`: of the process, as
    `projection_process` takes it; `projection_class`: MODULE:CLASS; `environment`: of the process."""

    def __init__(
        self,
        *,
        dsn: str,
        control: ConsumerControl,
        command: Sequence[str],
        projection_class: str,
        schema: str,
        environment: Mapping[str, str],
        holder: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._dsn, self._control, self._command = dsn, control, command
        self._class, self._schema, self._environment = projection_class, schema, environment
        self._holder, self._jitter = holder, jitter
        self._has_looked, self._holds = asyncio.Event(), False
        self._status = HolderStatus(name="", projection_class=projection_class, view_class="", topics=(), holder=holder)

    async def describe(self) -> Described:
        """What the class says of itself. Raises ProjectionRefused."""
        try:
            async with projection_process(self._command, self._environment) as child:
                described = await self._described(child)
        except (OSError, ProcessSilent, ValueError) as error:
            raise ProjectionRefused(f"{self._class} can't be looked at: {error}") from error
        if isinstance(described, Ended):
            raise ProjectionRefused(described.error)
        self._status.name = described.name
        self._status.view_class, self._status.topics = described.view_class, described.topics
        return described

    async def holds(self) -> bool:
        """As soon as `run` has asked for the lock: whether it holds the projection, or waits for another process."""
        await self._has_looked.wait()
        return self._holds

    async def run(self) -> None:
        while True:
            try:
                async with await connect(self._dsn, **SESSION) as connection:
                    await self._take_lock(connection)
                    await self._hold(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.warning("the projection %s lost its database, connecting again: %s", self._status.name, error)
            except ProjectionRefused:
                raise
            except Exception:
                log.exception("the supervisor of %s stopped at an error; trying again", self._status.name)
            await asyncio.sleep(LOCK_POLL_S * (0.5 + self._jitter()))

    async def _take_lock(self, connection: Connection) -> None:
        name, waits = self._status.name, False
        while not await try_lock(connection, name):
            if not waits:
                log.info("another process runs the projection %s: waiting to take over", name)
                waits = True
                self._has_looked.set()
            await asyncio.sleep(LOCK_POLL_S)
        self._holds = True
        self._has_looked.set()
        log.info("runs the projection", extra={"projection": name, "class": self._class, "took_over": waits})

    async def _hold(self, connection: Connection) -> None:
        """Keep it running and its status written, as long as the connection lives."""
        if not lies_elsewhere(self._status.name, self._environment):
            try:
                await create_schema(connection, self._schema)
            except psycopg.errors.InsufficientPrivilege as error:
                raise ProjectionRefused(f"the schema {self._schema!r} can't be made, so make it: {error}") from error
        stop = (await self._control.load(self._status.name)).stopped.get(0)
        self._status.status, self._status.restarts = "restarting", 0
        if stop is not None:
            self._show_stopped(stop.at_position)
        keeping = asyncio.create_task(self._keep_running(), name=f"projection {self._status.name}")
        try:
            while not keeping.done():
                await write_status(connection, self._status)
                await asyncio.wait({keeping}, timeout=HEARTBEAT_S)
            keeping.result()
        finally:
            await cancel_and_wait([keeping], again_after_s=30.0)
            self._status.status = "not running"
            # An error here, of a database that is away, would take the place of a cancellation.
            with suppress(psycopg.Error, OSError, TimeoutError):
                async with asyncio.timeout(LAST_STATUS_S):
                    await write_status(connection, self._status)

    async def _keep_running(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_RESTART_S
        crashed_at, crashes = 0, 0
        while True:
            state = await self._control.load(self._status.name)
            if state.stopped:
                self._show_stopped(state.stopped[0].at_position)
                await asyncio.sleep(LOOK_S)
                continue
            began = loop.time()
            try:
                ended = await self._run_process(tuple(sorted(state.skips())))
            except (OSError, ProcessSilent, msgspec.MsgspecError, ValueError) as error:
                ended = Ended(error=describe(error))
            position = ended.present.position if ended.present else 0
            crashed_at, crashes = position, crashes + 1 if position == crashed_at else 1
            if ended.present is not None and crashes >= CRASHES:
                text = f"{ended.error}, {crashes} times in a row at this event"
                ended = Ended(
                    error=text, blocking=BlockingEvent(position=position, type=ended.present.event_type, error=text)
                )
                crashed_at = 0
            if ended.blocking is not None and not ended.blocking.newer:
                await self._stop(ended.blocking)
                pause = FIRST_RESTART_S
                continue
            if loop.time() - began > STEADY_S:
                pause = FIRST_RESTART_S
            self._show_restarting(ended)
            pause_s = pause * (0.5 + self._jitter())
            log.warning("the process of %s ended, restarting in %.1f s: %s", self._status.name, pause_s, ended.error)
            await asyncio.sleep(pause_s)
            pause = min(2 * pause, LAST_RESTART_S)
            self._status.restarts += 1

    async def _stop(self, blocking: BlockingEvent) -> None:
        await self._control.stop(self._status.name, blocking)
        self._status.error_type, self._status.error = blocking.type, blocking.error
        self._status.status, self._status.error_position = "stopped", blocking.position
        log.error(
            "the projection %s is stopped at position %d (%s): %s",
            self._status.name, blocking.position, blocking.type, blocking.error,
        )  # fmt: skip

    def _show_stopped(self, position: int) -> None:
        if self._status.status != "stopped":
            log.info("%s stays stopped at position %d until a retry or skip", self._status.name, position)
        self._status.status, self._status.error_position = "stopped", position

    def _show_restarting(self, ended: Ended) -> None:
        blocking, present = ended.blocking, ended.present
        self._status.status = "waiting" if blocking else "restarting"
        self._status.error = ended.error
        self._status.error_position = blocking.position if blocking else present.position if present else None
        self._status.error_type = blocking.type if blocking else present.event_type if present else None

    def _show_progress(self, position: int) -> None:
        self._status.position = position
        waits_at = self._status.error_position if self._status.status == "waiting" else None
        if waits_at is not None and position < waits_at:
            return  # each restart begins before that event
        if self._status.status != "running":
            self._status.status = "running"
            if self._status.error_position is not None:  # it is past that event, or about to try it again
                self._status.error_position = self._status.error_type = self._status.error = None

    async def _run_process(self, skips: tuple[int, ...]) -> Ended:
        """One life of the process."""
        name = self._status.name
        async with projection_process(self._command, self._environment) as child:
            described = await self._described(child)
            if isinstance(described, Ended):
                return described
            if described.name != name:
                raise ProjectionRefused(f"{self._class} is named {described.name!r} now, and was {name!r} before")
            self._status.view_class, self._status.topics = described.view_class, described.topics
            await child.order(
                Order(
                    environment={
                        **log_settings(self._dsn),
                        **view_settings(name, self._dsn, self._schema, self._environment),
                    },
                    libpq={} if lies_elsewhere(name, self._environment) else libpq_variables(self._dsn),
                    skips=skips,
                )
            )
            try:
                return await self._followed(child)
            except ProcessSilent as error:
                return Ended(error=describe(error), present=child.present_event())

    async def _followed(self, child: ProjectionProcess) -> Ended:
        """Show what it tells, until its end. Raises ProcessSilent."""
        while (message := await child.receive()) is not None:
            match message:
                case PositionReached(position=position):
                    self._show_progress(position)
                case BlockedAtEvent():
                    event = BlockingEvent(
                        position=message.position, type=message.event_type, error=message.error, newer=message.newer
                    )
                    return Ended(error=message.error, blocking=event)
                case Failed(error=error):
                    return Ended(error=error[:LONGEST_ERROR])
                case _:
                    raise ValueError(f"{message} was not expected")
        return Ended(error=await child.exit_text(), present=child.present_event())

    async def _described(self, child: ProjectionProcess) -> Described | Ended:
        match await child.receive():
            case Described() as described:
                return described
            case ClassRejected(error=error):
                return Ended(error=error[:LONGEST_ERROR])
            case None:
                return Ended(error=f"the process that imports {self._class} told nothing: {await child.exit_text()}")
            case message:
                raise ValueError(f"{message} was not expected")
