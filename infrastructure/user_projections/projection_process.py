"""The process of a user's projection, as its supervisor sees it. The user's code runs there alone."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from application.user_projection_protocol import (
    END_S,
    MAX_MESSAGE_BYTES,
    Message,
    Order,
    PresentEvent,
    decode_message,
    noted_event,
)

STANDARD_ERROR = 2
"""Where all goes that users' code prints: a reader of the supervisor's standard output may leave."""
SILENCE_S = 60.0
"""A process that says nothing for so long is ended."""
LAST_WORDS_S = 1.0
"""How long after its end the socket is read: one that it has left with a session of its own may hold it open."""
CHANNEL = "{channel}"
"""In a command: the place of the socket's file descriptor."""
PRESENT = "{present}"
"""The place of the descriptor of the file in which the process notes its present event."""


class ProcessSilent(Exception):
    """It has said nothing for SILENCE_S seconds."""


class ProjectionProcess:
    """Made by `projection_process`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        present: int,
    ) -> None:
        self._process, self._reader, self._writer, self._present = process, reader, writer, present
        self._group_is_killed = False
        self._at_exit = asyncio.create_task(self._hang_up_at_exit(), name=f"exit of {process.pid}")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def receive(self) -> Message | None:
        """The next message; None when it has ended. Raises ProcessSilent, or MsgspecError or ValueError for what is no
        message."""
        try:
            async with asyncio.timeout(SILENCE_S):
                line = await self._reader.readline()
        except TimeoutError as error:
            raise ProcessSilent(f"the process said nothing for {SILENCE_S:g} s") from error
        except ConnectionError:
            return None
        return decode_message(line) if line.endswith(b"\n") else None

    def present_event(self) -> PresentEvent | None:
        """The event that it is processing, or was when it ended."""
        try:
            return noted_event(self._present)
        except msgspec.MsgspecError:  # it is the user's process that writes there
            return None

    async def order(self, order: Order) -> None:
        """Let it begin."""
        with contextlib.suppress(ConnectionError):  # it has ended, which `receive` tells
            self._writer.write(msgspec.json.encode(order) + b"\n")
            await self._writer.drain()

    async def exit_text(self) -> str:
        """How it ended: its exit code or signal; for a process of which `receive` has got None."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._process.wait()
        code = self._process.returncode
        if code is None:
            return "it closed its socket and did not end"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return f"it was ended by {name}"
        return f"it ended with exit code {code}"

    async def end(self) -> None:
        """Ask it to end after its present event, kill it when it doesn't, and kill what it has started."""
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if self._process.returncode is not None:
                    break
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_S):
                        await self._process.wait()
        finally:
            self._at_exit.cancel()
            self._kill_group()
            self._writer.close()

    async def _hang_up_at_exit(self) -> None:
        await self._process.wait()
        self._kill_group()
        await asyncio.sleep(LAST_WORDS_S)
        self._writer.transport.abort()

    def _kill_group(self) -> None:
        """Once: another group may have the number of one that is empty."""
        if not self._group_is_killed:
            self._group_is_killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


@asynccontextmanager
async def projection_process(
    command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[ProjectionProcess]:
    """Start the command, in the present folder and in a session of its own, so that a Ctrl-C in the terminal is for its
    supervisor; ended at the end of the block, with the processes of that session's first group. Raises OSError."""
    with os.fdopen(os.memfd_create("present event"), "rb") as file:
        ours, its = socket.socketpair()
        present = file.fileno()
        try:
            with its:
                process = await asyncio.create_subprocess_exec(
                    *[part.replace(CHANNEL, str(its.fileno())).replace(PRESENT, str(present)) for part in command],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=STANDARD_ERROR,
                    pass_fds=(its.fileno(), present),
                    env=dict(environment),
                    start_new_session=True,
                    cwd=os.getcwd(),  # noqa: PTH109
                )
            reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_MESSAGE_BYTES)
        except BaseException:
            ours.close()
            raise
        child = ProjectionProcess(process, reader, writer, present)
        try:
            yield child
        finally:
            await child.end()
