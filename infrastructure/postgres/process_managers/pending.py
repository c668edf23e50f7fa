"""The commands that their session had not answered when the checkpoint moved past their event.

They are rows of `pending_commands`, written in the transaction of that checkpoint, so that a process that dies leaves
them to the next leader. Beside the runner they are sent again, after pauses that grow: those to one session in the
order of the log, each session in a task of its own. An answered one is deleted a moment later; if its process dies
between the two it is sent again, and counts once, by its id.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

import sql
from application.ports.event_store import EventStore
from application.process_managers.commands import (
    CommandsUnavailable,
    CommandToSession,
    ProcessManagerCommands,
    SessionBusy,
)
from application.process_managers.outcomes import SendToSession
from application.task_cancellation import cancel_and_wait
from domain.event import WrittenByNewerVersion
from domain.operations.log_consumer import BlockingEvent, blocking_event
from infrastructure.postgres.process_managers.cursor import OutcomesOf

log = logging.getLogger(__name__)
MAX_PENDING = 1000
"""A process manager with more of them waits until there are fewer; its last page may exceed this."""
SESSIONS_AT_ONCE = 64
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
Connection = psycopg.AsyncConnection[Any]


class PendingCommand(msgspec.Struct, kw_only=True):
    """A row. `sent` is None until the event of a row that a former leader wrote is read again."""

    command_id: str
    process_manager: str
    session_id: str
    position: int
    sent: CommandToSession | None = None


def pending_command(process_manager: str, sent: CommandToSession) -> PendingCommand:
    return PendingCommand(
        command_id=sent.command.command_id,
        process_manager=process_manager,
        session_id=sent.session_id,
        position=sent.event.position,
        sent=sent,
    )


class PendingCommands:
    """Of one leader. `skips`: whether a process manager leaves the event at a position out. `sessions`: those that
    commands wait for. `failed`: the process managers whose commands have failed in an unexpected way, and the event;
    such a command, and those behind it to its session, rest until `resume`."""

    def __init__(
        self,
        commands: ProcessManagerCommands,
        store: EventStore,
        outcomes_of: OutcomesOf,
        skips: Callable[[str, int], bool],
    ) -> None:
        self._commands, self._store, self._outcomes_of, self._skips = commands, store, outcomes_of, skips
        self._turns = asyncio.Semaphore(SESSIONS_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._counts: Counter[str] = Counter()
        self._answered: list[str] = []
        self.sessions: dict[str, deque[PendingCommand]] = {}
        self.failed: dict[str, BlockingEvent] = {}

    async def load(self, connection: Connection, process_managers: Sequence[str]) -> None:
        """Go on with what former leaders have left."""
        cursor = connection.cursor(row_factory=class_row(PendingCommand))
        rows = await cursor.execute(sql.query("pending_commands"), {"names": list(process_managers)})
        self._append(await rows.fetchall())

    async def leave(self, process_manager: str) -> None:
        """Leave the commands of a process manager to whoever leads it next."""
        left = [
            session_id
            for session_id, waiting in self.sessions.items()
            if any(each.process_manager == process_manager for each in waiting)
        ]
        await cancel_and_wait([self._tasks[session_id] for session_id in left if session_id in self._tasks])
        for session_id in left:
            others = [each for each in self.sessions.pop(session_id, ()) if each.process_manager != process_manager]
            if others:
                self.sessions[session_id] = deque(others)
                self._send_beside(session_id)
        self._counts.pop(process_manager, None)
        self.failed.pop(process_manager, None)

    async def close(self) -> None:
        await cancel_and_wait(self._tasks.values())

    def too_many(self, process_manager: str) -> bool:
        return self._counts[process_manager] > MAX_PENDING

    async def keep(self, connection: Connection, pending: Sequence[PendingCommand]) -> None:
        """Write the rows, in the caller's transaction; `start` follows its commit."""
        await connection.execute(
            sql.query("keep_pending_commands"),
            {
                "command_ids": [each.command_id for each in pending],
                "process_managers": [each.process_manager for each in pending],
                "session_ids": [each.session_id for each in pending],
                "positions": [each.position for each in pending],
            },
        )

    def start(self, pending: Sequence[PendingCommand]) -> None:
        for each in pending:
            log.warning("%s waits for session %s, which does not answer", each.command_id, each.session_id)
        self._append(pending)

    async def delete_answered(self, connection: Connection) -> None:
        answered, self._answered = self._answered, []
        if answered:
            await connection.execute(sql.query("delete_pending_commands"), {"command_ids": answered})

    def resume(self) -> None:
        """Send the commands again that have failed."""
        self.failed.clear()
        for session_id in self.sessions:
            self._send_beside(session_id)

    def _append(self, pending: Sequence[PendingCommand]) -> None:
        for each in pending:
            self.sessions.setdefault(each.session_id, deque()).append(each)
            self._counts[each.process_manager] += 1
            self._send_beside(each.session_id)

    def _send_beside(self, session_id: str) -> None:
        if session_id not in self._tasks:
            self._tasks[session_id] = asyncio.create_task(
                self._send_in_order(session_id), name=f"commands {session_id}"
            )

    async def _send_in_order(self, session_id: str) -> None:
        pause = FIRST_PAUSE_S
        waiting = self.sessions[session_id]
        try:
            while waiting:
                pending = waiting[0]
                try:
                    async with self._turns:
                        await self._deliver(pending)
                except (SessionBusy, CommandsUnavailable, WrittenByNewerVersion) as error:
                    log.warning("%s is sent again in %g s: %s", pending.command_id, pause, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LAST_PAUSE_S)
                except Exception as error:  # noqa: BLE001  # whatever it is, it stops this process manager alone
                    type_ = pending.sent.event.event.wire_name if pending.sent else ""
                    self.failed.setdefault(pending.process_manager, blocking_event(pending.position, type_, error))
                    return
                else:
                    waiting.popleft()
                    self._counts[pending.process_manager] -= 1
                    self._answered.append(pending.command_id)
                    pause = FIRST_PAUSE_S
            del self.sessions[session_id]
        finally:
            del self._tasks[session_id]

    async def _deliver(self, pending: PendingCommand) -> None:
        if self._skips(pending.process_manager, pending.position):
            return
        if pending.sent is None:
            pending.sent = await self._read(pending)
        if pending.sent is not None:
            await self._commands.deliver(pending.process_manager, pending.sent)

    async def _read(self, pending: PendingCommand) -> CommandToSession | None:
        """The command, as its event leads to it; None when this code has another answer to the event."""
        try:
            (event,) = await self._store.read_all(after=pending.position - 1, limit=1)
        except psycopg.Error as error:
            raise CommandsUnavailable(str(error)) from error
        for outcome in self._outcomes_of(event):
            if isinstance(outcome, SendToSession) and outcome.command_id == pending.command_id:
                return CommandToSession(event=event, command=outcome, session_id=pending.session_id)
        log.warning("%s is not sent: its event no longer leads to it", pending.command_id)
        return None
