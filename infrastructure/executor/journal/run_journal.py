"""The journal of one attempt of one run: a file of NDJSON, one entry per event, in the attempt's own folder.

Entries are numbered from 1. They are written and flushed (fdatasync) in groups; only flushed entries count in `entries`
and are served. When a journal is opened again, a torn last line is cut off: it was never flushed, so never served.
"""

import asyncio
import errno
import os
from array import array
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from application.executor_protocol import JournalEntry
from domain.errors import Conflict, InvalidInput
from domain.event import MAX_PAYLOAD_BYTES, Event, encode
from domain.run.events import (
    HumanLoopCanceled,
    HumanLoopExpired,
    HumanLoopRequested,
    HumanLoopResolved,
    RunAgentFinished,
)
from infrastructure.durable_file import flush_directory

HEARTBEAT_S = 15.0
_READ_BYTES = 256 * 1024
_MAX_PENDING_BYTES = 1024 * 1024
_JOURNAL = "journal.ndjson"
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_encoder = msgspec.json.Encoder()


class JournalFailed(Exception):
    """The journal can't be written (a full or broken disk). The run can't go on: what it does would not be recorded."""


class JournalDamaged(Conflict):
    """The journal's file was deleted or is shorter than what was written to it."""

    reason = "journal_damaged"


class _Head(msgspec.Struct, frozen=True):
    """The fields of an entry that are read back when a journal is opened again."""

    type: str
    payload: msgspec.Raw


class _Question(msgspec.Struct, frozen=True, rename="camel"):
    question_id: str


class RunJournal:
    """Append from the event loop's thread; disk work runs in `pool`."""

    def __init__(self, folder: Path, *, attempt: int, boot_id: str, pool: Executor) -> None:
        """Opens the folder's journal, or makes an empty one. Blocks: it reads the whole file."""
        self._path = folder / _JOURNAL
        self._attempt = attempt
        self._boot_id = boot_id
        self._pool = pool
        self._ends = array("Q", [0])
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._appended = 0
        self._finish_appended = False
        self._flushing: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._closed = False
        self._changed = asyncio.Event()
        self.entries = 0
        self.finished = False
        self.open_questions: dict[str, None] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read_back()
        flush_directory(folder)
        flush_directory(folder.parent)

    def append(self, event: Event) -> int:
        """Queue the event for the disk; returns its entry's number. Raises JournalFailed once a write has failed,
        ValueError for a payload over 256 KiB or an event after run.agent_finished."""
        self._check_writable()
        if self._finish_appended:
            raise ValueError(f"{event.wire_name} after run.agent_finished")
        payload = encode(event)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"the payload of {event.wire_name} has {len(payload)} bytes, over {MAX_PAYLOAD_BYTES}")
        self._appended += 1
        line = _encoder.encode(
            JournalEntry(
                n=self._appended,
                boot_id=self._boot_id,
                attempt=self._attempt,
                type=event.wire_name,
                payload=msgspec.Raw(payload),
                ts=datetime.now(UTC),
            )
        )
        self._pending.append(line + b"\n")
        self._pending_bytes += len(line) + 1
        self._finish_appended = isinstance(event, RunAgentFinished)
        self._note_question(event)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
        return self._appended

    async def durable(self, number: int) -> None:
        """Wait until entry `number` is on the disk. Raises JournalFailed."""
        while self.entries < number:
            self._check_writable()
            await self._changed.wait()

    async def room(self) -> None:
        """Wait while more than 1 MiB is queued for the disk, which in turn slows down an agent that floods its
        output."""
        while self._pending_bytes > _MAX_PENDING_BYTES and self._failure is None and not self._closed:
            await self._changed.wait()

    async def follow(self, cursor: int) -> AsyncIterator[bytes]:
        """The NDJSON of all entries after number `cursor`, as they become durable, until run.agent_finished; an empty
        line every 15 s in between. Raises before the first line: InvalidInput for a cursor beyond the end;
        JournalDamaged; JournalFailed when the journal failed and has no entry after the cursor."""
        if not 0 <= cursor <= self.entries:
            raise InvalidInput("cursor", f"{cursor} is not between 0 and {self.entries}, the journal's last entry")
        written = self._ends[self.entries]  # now: the journal may grow while its file is looked at
        await asyncio.get_running_loop().run_in_executor(self._pool, self._check_intact, written)
        if cursor == self.entries and self._failure is not None:
            raise self._failed()
        return self._lines(self._ends[cursor])

    async def _lines(self, position: int) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while True:
            changed = self._changed
            end = self._ends[self.entries]
            while position < end:
                size = min(_READ_BYTES, end - position)
                chunk = await loop.run_in_executor(self._pool, partial(self._read, position, size))
                position += len(chunk)
                yield chunk
            if position < self._ends[self.entries]:
                continue
            if self.finished or self._failure is not None or self._closed:
                return
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await changed.wait()
            except TimeoutError:
                yield b"\n"

    async def close(self) -> None:
        """Wait until the queue is written, then end all followers."""
        if self._flushing is not None:
            await self._flushing
        self._closed = True
        self._notify()

    def give_up(self, error: BaseException) -> None:
        """The run has ended without run.agent_finished: `follow` raises JournalFailed with `error` from now on, and
        present followers end."""
        if not self.finished and self._failure is None:
            self._failure = error
        self._notify()

    def _check_writable(self) -> None:
        if self._failure is not None or self._closed:
            raise self._failed() from self._failure

    def _failed(self) -> JournalFailed:
        if isinstance(self._failure, OSError) and self._failure.errno in _DISK_FULL:
            return JournalFailed(
                f"the worker's disk is full ({self._failure.strerror}), so what the agent did could not be recorded; "
                "delete what is not needed in its workspace, or give workers more room, and start a new run"
            )
        return JournalFailed(f"the journal can't be written: {self._failure or 'it is closed'}")

    def _check_intact(self, written: int) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError as error:
            raise JournalDamaged(f"the journal is gone: {self._path}") from error
        if size < written:
            raise JournalDamaged(f"the journal was cut to {size} bytes, it had {written}: {self._path}")

    def _read(self, position: int, size: int) -> bytes:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.pread(fd, size, position)
        finally:
            os.close(fd)
        if not found:
            raise JournalDamaged(f"the journal was cut: {self._path}")
        return found

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                lines, self._pending = self._pending, []
                body = b"".join(lines)
                finishes = self._finish_appended
                await loop.run_in_executor(self._pool, partial(self._write, body, self._ends[-1]))
                for line in lines:
                    self._ends.append(self._ends[-1] + len(line))
                self._pending_bytes -= len(body)
                self.entries += len(lines)
                self.finished = finishes
                self._notify()
        except OSError as error:
            self._failure = error
            self._notify()
        finally:
            self._flushing = None
            if self.finished or self._failure is not None:
                self._release()

    def _write(self, body: bytes, position: int) -> None:
        # At the end of our last entry, not of the file: bytes that something else appended are overwritten.
        view = memoryview(body)
        while view:
            written = os.pwrite(self._fd, view, position)
            view, position = view[written:], position + written
        os.fdatasync(self._fd)

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _note_question(self, event: Event) -> None:
        if isinstance(event, HumanLoopRequested):
            self.open_questions[event.question_id] = None
        elif isinstance(event, HumanLoopResolved | HumanLoopCanceled | HumanLoopExpired):
            self.open_questions.pop(event.question_id, None)

    def _read_back(self) -> None:
        last_type = ""
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    head = msgspec.json.decode(line, type=_Head)
                except msgspec.DecodeError:
                    break
                last_type = head.type
                self._note_recorded_question(head)
                self._ends.append(self._ends[-1] + len(line))
        if os.fstat(self._fd).st_size != self._ends[-1]:
            os.ftruncate(self._fd, self._ends[-1])
        os.fsync(self._fd)
        self.entries = self._appended = len(self._ends) - 1
        self.finished = self._finish_appended = last_type == RunAgentFinished.wire_name
        if self.finished:
            self._release()

    def _note_recorded_question(self, head: _Head) -> None:
        if head.type == HumanLoopRequested.wire_name:
            self.open_questions[msgspec.json.decode(head.payload, type=_Question).question_id] = None
        elif head.type in {
            HumanLoopResolved.wire_name, HumanLoopCanceled.wire_name, HumanLoopExpired.wire_name,
        }:  # fmt: skip
            self.open_questions.pop(msgspec.json.decode(head.payload, type=_Question).question_id, None)
