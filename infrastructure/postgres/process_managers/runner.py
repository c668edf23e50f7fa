"""Runs the process managers over the log: exactly once per event, each by one process at a time.

The outcomes of an event are recorded in the transaction that moves the checkpoint past it. Commands are sent before it:
if the process dies between the two they are sent again, and each counts once, by its id. What a busy session has not
answered within a second becomes a row in that transaction, and is sent beside the pages (pending.py). Each
process manager has a lock; usually one process, the leader, holds all of them, by its connection: when it dies, another
takes over within a poll interval. A leader that is merely stopped (SIGSTOP, a frozen machine) is silent on its
connection, and loses it after 10 seconds: by the server's idle_session_timeout, or by a process that waits for a lock.

An event that a process manager can't take, or whose command fails in an unexpected way, stops that one alone, until a
person says retry or skip. One that newer code has written is left to a process of that code: this process releases
that process manager every few seconds, so that the other can take it. While the log is out of reach the page is
tried again, after pauses that grow.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg

import sql
from application.operations.consumer_control import ProcessManagerControl
from application.process_managers.commands import (
    CausedCommand,
    CommandsUnavailable,
    ProcessManagerCommands,
    SentPage,
    to_send,
)
from application.task_cancellation import cancel_and_wait
from domain.operations.log_consumer import BlockingEvent, blocking_event
from domain.operations.process_managers import PROCESS_MANAGER
from infrastructure.postgres.connections import connect
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import LogDiscontinued
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal
from infrastructure.postgres.process_managers.cursor import Caused, OutcomesOf, ProcessManagerCursor
from infrastructure.postgres.process_managers.pending import (
    MAX_PENDING,
    PendingCommand,
    PendingCommands,
    pending_command,
)
from infrastructure.postgres.process_managers.recording import record

log = logging.getLogger(__name__)
LOCK = 5067271820452103
"""Held by every leader: shared, beside the locks of its process managers. A process of the version before, which leads
all of them or none, holds it alone."""
TAKING = 5067271820452104
"""Held while locks are taken, so that one process gets all that are free."""
BATCH = 500
POLL_S = 1.0
GATHER_S = 0.004
"""Rounds begin no closer together than this: under load, one of them takes what several commits have written."""
BUSY_GATHER_S, BUSY_EVENTS_PER_S = 0.02, 2000
"""In a busy log rounds are longer: one costs about the same for many events as for one, and a delayed effect whose
fulfilment is in the same page needs no row."""
LOOK_S = 0.5
GIVE_UP_AFTER_S, TAKE_AGAIN_AFTER_S = 5.0, 2.0
"""Of a process manager that newer code is needed for."""
FIRST_RETRY_DELAY_S, LAST_RETRY_DELAY_S = 0.1, 5.0
"""Of a page whose commands can't be sent. The longest is well below SILENCE."""
SILENCE = timedelta(seconds=10)
# Commits don't wait for the disk: what a crash of the server loses is recorded again, under the same ids.
SESSION = {"synchronous_commit": "off", "idle_session_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}
Connection = psycopg.AsyncConnection[Any]


class ProcessManagerRunner:
    """`run` works until it is cancelled, or raises LogDiscontinued. `managers`: by name, the wire names that each waits
    for. `continuity`: of the process's log."""

    def __init__(
        self,
        *,
        dsn: str,
        store: GroupCommitEventStore,
        position: PositionSignal,
        outcomes_of: OutcomesOf,
        managers: Mapping[str, Sequence[str]],
        control: ProcessManagerControl,
        commands: ProcessManagerCommands,
        continuity: LogContinuity | None = None,
    ) -> None:
        self._dsn, self._store, self._position, self._continuity = dsn, store, position, continuity
        self._outcomes_of, self._managers = outcomes_of, managers
        self._control, self._commands = control, commands
        self._given_up: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            try:
                async with await connect(self._dsn, self._continuity, **SESSION) as connection:
                    await self._lead(connection)
            except LogDiscontinued:
                raise
            except (psycopg.Error, TimeoutError) as error:
                log.warning("the process managers lost their connection, connecting again: %s", error)
            except Exception:
                log.exception("the process managers stopped at an error; trying again")
            await asyncio.sleep(POLL_S)

    async def _lead(self, connection: Connection) -> None:
        cursors: list[ProcessManagerCursor] = []
        pending = PendingCommands(
            self._commands,
            self._store,
            self._outcomes_of,
            lambda name, position: any(cursor.name == name and position in cursor.skips for cursor in cursors),
        )
        try:
            await self._process(connection, cursors, pending)
        finally:
            await pending.close()

    async def _process(
        self, connection: Connection, cursors: list[ProcessManagerCursor], pending: PendingCommands
    ) -> None:
        """`cursors`: of the process managers that this process holds; they are taken, and given up, here."""
        loop = asyncio.get_running_loop()
        next_take = next_look = last_began = loop.time()
        retry_delay = FIRST_RETRY_DELAY_S
        while True:
            if len(cursors) < len(self._managers) and loop.time() >= next_take:
                await self._take(connection, cursors, pending)
                next_take = loop.time() + POLL_S
            if not cursors:
                await asyncio.sleep(POLL_S)  # nothing notifies of the death of a process that holds the locks
                continue
            await self._settle(connection, cursors, pending)
            if any(cursor.blocking for cursor in cursors) and loop.time() >= next_look:
                await self._look_at_stopped(connection, cursors, pending)
                next_look = loop.time() + LOOK_S
            last = await self._position.wait_for(_lowest_position(cursors), POLL_S)
            if _lowest_position(cursors) >= last:
                await connection.execute("SELECT 1")
            while _lowest_position(cursors) < last:
                began = loop.time()
                try:
                    events = await self._advance(connection, cursors, pending, last)
                except CommandsUnavailable as error:
                    log.warning("commands can't be sent now; the page is tried again in %g s: %s", retry_delay, error)
                    await asyncio.sleep(retry_delay)
                    retry_delay = min(2 * retry_delay, LAST_RETRY_DELAY_S)
                    continue
                await self._settle(connection, cursors, pending)
                retry_delay = FIRST_RETRY_DELAY_S
                busy = events > BUSY_EVENTS_PER_S * (began - last_began)
                last_began = began
                await asyncio.sleep(began + (BUSY_GATHER_S if busy else GATHER_S) - loop.time())

    async def _settle(
        self, connection: Connection, cursors: Sequence[ProcessManagerCursor], pending: PendingCommands
    ) -> None:
        """Follow what has become of the pending commands."""
        await pending.delete_answered(connection)
        for cursor in cursors:
            if cursor.blocking is None and cursor.name in pending.failed:
                await self._stop(connection, cursor, pending.failed.pop(cursor.name))
            if cursor.full != pending.too_many(cursor.name):
                cursor.full = not cursor.full
                await _show_status(connection, cursor)

    async def _take(
        self, connection: Connection, cursors: list[ProcessManagerCursor], pending: PendingCommands
    ) -> None:
        """Take the process managers that no process holds, and end the connections of frozen holders."""
        now, held = asyncio.get_running_loop().time(), {cursor.name for cursor in cursors}
        names = [name for name in self._managers if name not in held and self._given_up.get(name, 0) <= now]
        if not names:
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (TAKING,))
            taken = []
            if held or await _one(connection, "SELECT pg_try_advisory_lock_shared(%s)", LOCK):
                rows = await connection.execute(sql.query("take_process_managers"), {"names": names})
                taken = [name for (name,) in await rows.fetchall()]
                if not held and not taken:
                    await connection.execute("SELECT pg_advisory_unlock_shared(%s)", (LOCK,))
        if len(taken) < len(names):
            await connection.execute(sql.query("end_silent_holder"), {"locks": [LOCK], "silence": SILENCE})
        if taken:
            cursors += await self._cursors(connection, taken)
            await pending.load(connection, taken)

    async def _give_up(
        self,
        connection: Connection,
        cursors: list[ProcessManagerCursor],
        pending: PendingCommands,
        cursor: ProcessManagerCursor,
    ) -> None:
        """Let a process of newer code take it; this one tries again after TAKE_AGAIN_AFTER_S."""
        cursors.remove(cursor)
        await pending.leave(cursor.name)
        self._given_up[cursor.name] = asyncio.get_running_loop().time() + TAKE_AGAIN_AFTER_S
        await connection.execute(sql.query("leave_process_manager"), {"name": cursor.name})
        if not cursors:
            await connection.execute("SELECT pg_advisory_unlock_shared(%s)", (LOCK,))

    async def _cursors(self, connection: Connection, names: Sequence[str]) -> list[ProcessManagerCursor]:
        declared = await connection.execute(sql.query("declare_process_managers"), {"names": list(names)})
        cursors = []
        for name, position, status in await declared.fetchall():
            control = await self._control.load(name)
            stop = control.stopped.get(0)
            cursor = ProcessManagerCursor(
                name, self._managers[name], self._outcomes_of, position=position, skips=control.skips()
            )
            if stop is not None:
                cursor.blocking = BlockingEvent(position=stop.at_position, type="", error="")
            elif status != "running":
                await _show_status(connection, cursor)
            cursors.append(cursor)
        return cursors

    async def _advance(
        self, connection: Connection, cursors: Sequence[ProcessManagerCursor], pending: PendingCommands, last: int
    ) -> int:
        """Process one page for the running process managers with the lowest position, up to the position of the next
        ones. Returns the number of events. Raises CommandsUnavailable: then nothing has moved."""
        running = [cursor for cursor in cursors if cursor.runs]
        after = _lowest_position(cursors)
        together = [cursor for cursor in running if cursor.position == after]
        ahead = min((cursor.position for cursor in running if cursor.position > after), default=None)
        types = sorted(frozenset().union(*(cursor.types for cursor in together)))
        rows, more = await self._store.read_all_page(after=after, limit=BATCH, types=types)
        reached = rows[-1].position if more else max(last, rows[-1].position if rows else 0)
        if ahead is not None:
            reached = min(reached, ahead)
        rows = [row for row in rows if row.position <= reached]
        outcomes, unanswered, blocked = await self._outcomes(connection, together, rows, pending)
        new_positions = {
            cursor.name: blocked[cursor.name].position - 1 if cursor.name in blocked else reached for cursor in together
        }
        async with connection.pipeline(), connection.transaction():
            await record(connection, outcomes)
            if unanswered:
                await pending.keep(connection, unanswered)
            await connection.execute(
                sql.query("advance_process_managers"),
                {"names": list(new_positions), "positions": list(new_positions.values())},
            )
        pending.start(unanswered)
        for cursor in together:
            cursor.position = new_positions[cursor.name]
            if cursor.name in blocked:
                await self._stop(connection, cursor, blocked[cursor.name])
        return len(rows)

    async def _outcomes(
        self,
        connection: Connection,
        together: Sequence[ProcessManagerCursor],
        rows: Sequence[StoredRow],
        pending: PendingCommands,
    ) -> tuple[list[Caused], list[PendingCommand], dict[str, BlockingEvent]]:
        """Send the page's commands. Returns the outcomes still to be recorded, the commands without an answer, and the
        blocking event of each process manager that stops. Raises CommandsUnavailable."""
        by_name: dict[str, list[Caused]] = {}
        unanswered: list[PendingCommand] = []
        blocked: dict[str, BlockingEvent] = {}
        for cursor in together:
            by_name[cursor.name], blocking = cursor.outcomes(rows)
            if blocking is not None:
                blocked[cursor.name] = blocking
        page = [caused for outcomes in by_name.values() for caused in outcomes]
        for name, outcomes in by_name.items():
            sent = await self._send(connection, name, to_send(outcomes, page), pending)
            unanswered += [pending_command(name, each) for each in sent.unanswered]
            if sent.failed is not None:
                event = sent.failed.event
                blocked[name] = blocking_event(event.position, event.event.wire_name, sent.failed.error)
                by_name[name] = [each for each in outcomes if each[0].position < event.position]
        return [caused for outcomes in by_name.values() for caused in outcomes], unanswered, blocked

    async def _send(
        self, connection: Connection, name: str, commands: Sequence[CausedCommand], pending: PendingCommands
    ) -> SentPage:
        """Send a page's commands. The connection shows that it lives meanwhile, or it would lose the lock."""
        if not commands:
            return SentPage()
        page = self._commands.send_page(name, commands, pending.sessions)
        sending = asyncio.create_task(page, name=f"commands of {name}")
        try:
            while not (await asyncio.wait({sending}, timeout=POLL_S))[0]:
                await connection.execute("SELECT 1")
            return sending.result()
        finally:
            await cancel_and_wait([sending])

    async def _stop(self, connection: Connection, cursor: ProcessManagerCursor, blocking: BlockingEvent) -> None:
        """Record the stop in the log, then in the status; an event of newer code is no stop for the log."""
        if not blocking.newer:
            await self._control.stop(cursor.name, blocking)
        cursor.blocking, cursor.blocked_at = blocking, asyncio.get_running_loop().time()
        await _show_status(connection, cursor)
        log.error(
            "the process manager %s is stopped at position %d: %s", cursor.name, blocking.position, blocking.error
        )

    async def _look_at_stopped(
        self, connection: Connection, cursors: list[ProcessManagerCursor], pending: PendingCommands
    ) -> None:
        """Resume those that the log no longer calls stopped, and give up those that have needed newer code for
        GIVE_UP_AFTER_S."""
        for cursor in tuple(cursors):
            if cursor.blocking is None:
                continue
            if cursor.blocking.newer:
                if asyncio.get_running_loop().time() > cursor.blocked_at + GIVE_UP_AFTER_S:
                    await self._give_up(connection, cursors, pending, cursor)
                continue
            control = await self._control.load(cursor.name)
            if not control.stopped:
                cursor.blocking, cursor.skips = None, control.skips()
                await _show_status(connection, cursor)
                pending.resume()


def _lowest_position(cursors: Sequence[ProcessManagerCursor]) -> int:
    """The lowest position of the running ones; 2**62 when none runs."""
    return min((cursor.position for cursor in cursors if cursor.runs), default=2**62)


async def _show_status(connection: Connection, cursor: ProcessManagerCursor) -> None:
    blocking = cursor.blocking
    if blocking is None and cursor.full:
        error = f"TooManyPendingCommands: more than {MAX_PENDING} commands wait for sessions that do not answer"
        # Shown as waiting, as at an event of newer code: nobody has to decide anything.
        blocking = BlockingEvent(position=cursor.position + 1, type="", error=error, newer=True)
    await connection.execute(
        sql.query("process_manager_status"),
        {
            "name": cursor.name,
            "status": PROCESS_MANAGER.status(blocking),
            "error_position": blocking.position if blocking else None,
            "error_type": blocking.type if blocking else None,
            "error": blocking.error if blocking else None,
        },
    )


async def _one(connection: Connection, statement: str, argument: object) -> Any:
    row = await (await connection.execute(statement, (argument,))).fetchone()
    return row[0] if row else None
