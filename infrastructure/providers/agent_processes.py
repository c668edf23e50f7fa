"""Starts an agent's process in a session of its own and ends it with everything that it left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from infrastructure.providers import process_tree
from infrastructure.providers.ownership import hand_over
from infrastructure.providers.process_tree import ProcessInfo

TERM_GRACE_S = 3.0
_PIPE_BYTES = 64 * 1024
_WRITE_TIMEOUT_S = 10.0


class PipeClosed(Exception):
    """The agent doesn't read its stdin (any more)."""


class AgentProcess:
    """A running process. `stdout` and `stderr` are read in chunks; both must be read, or it blocks."""

    def __init__(
        self, popen: "subprocess.Popen[bytes]", stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self._popen = popen
        self.stdout = stdout
        self.stderr = stderr
        self.transports: list[asyncio.BaseTransport] = []
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        info = process_tree.process_info(popen.pid)
        self.started = info.started if info is not None else 0

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._popen.pid

    def poll(self) -> bool:
        """Whether it has ended; then `exited` has its code (negative: the signal)."""
        code = self._popen.poll()
        if code is not None and not self.exited.done():
            self.exited.set_result(code)
        return code is not None

    async def write(self, data: bytes) -> None:
        """Write all of `data` to its stdin, within 10 s. Raises PipeClosed."""
        if self._popen.stdin is None or self._popen.stdin.closed:
            raise PipeClosed("the agent takes no input")
        fd = self._popen.stdin.fileno()
        os.set_blocking(fd, False)
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT_S):
                while view:
                    try:
                        view = view[os.write(fd, view) :]
                    except BlockingIOError:
                        writable = asyncio.Event()
                        loop.add_writer(fd, writable.set)
                        try:
                            await writable.wait()
                        finally:
                            loop.remove_writer(fd)
        except TimeoutError as error:
            raise PipeClosed(f"the agent did not read its input within {_WRITE_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise PipeClosed(f"the agent has closed its input: {error.strerror}") from error

    def close_stdin(self) -> None:
        """Tell it that no more input comes."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def close(self) -> None:
        """Let go of its pipes, whoever else may hold them open."""
        for transport in self.transports:
            transport.close()
        self.close_stdin()


class AgentProcesses:
    """All agents' processes of this executor. `marker` (NAME=value) is put into their environment, so that the next
    boot finds what a killed executor leaves behind. `user`: their numeric user and group id; None: ours."""

    def __init__(self, marker: str, pool: Executor, *, user: int | None = None) -> None:
        self._marker = marker
        self._user = user
        self._pool = pool
        self._own: dict[int, AgentProcess] = {}

    def adopt_orphans(self) -> None:
        """Become the parent of whatever loses its own below this process, and reap it. Call in the main thread."""
        process_tree.become_subreaper()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    async def start(
        self,
        arguments: Sequence[str],
        *,
        folder: str,
        environment: Mapping[str, str],
        with_stdin: bool,
        pass_fds: tuple[int, ...] = (),
    ) -> AgentProcess:
        """Raises OSError when the program can't be started."""
        name, _, value = self._marker.partition("=")
        loop = asyncio.get_running_loop()
        if self._user is not None:
            folders = (folder, environment["HOME"])
            await loop.run_in_executor(self._pool, partial(hand_over, folders, self._user))
            for descriptor in pass_fds:
                os.fchown(descriptor, self._user, self._user)
        popen = subprocess.Popen(  # noqa: ASYNC220  it forks and returns; nothing waits
            list(arguments),
            cwd=folder,
            env={**environment, name: value},
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
            bufsize=0,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )
        if self._user is not None:
            # Its own, or `echo >/dev/stderr` would be refused: that opens the pipe anew.
            for pipe in (popen.stdin, popen.stdout, popen.stderr):
                if pipe is not None:
                    os.fchown(pipe.fileno(), self._user, self._user)
        process = AgentProcess(popen, asyncio.StreamReader(_PIPE_BYTES), asyncio.StreamReader(_PIPE_BYTES))
        self._own[popen.pid] = process
        for pipe, reader in ((popen.stdout, process.stdout), (popen.stderr, process.stderr)):
            transport, _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), pipe)
            process.transports.append(transport)
        self._reap()
        return process

    def forget(self, process: AgentProcess) -> None:
        process.close()
        self._own.pop(process.pid, None)

    async def end_all(self, grace_s: float = TERM_GRACE_S) -> None:
        """End every process below this one: SIGTERM, and after the grace SIGKILL."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, partial(_end_below, os.getpid(), grace_s))
        self._reap()

    async def end_leftovers(self, groups: Sequence[tuple[int, int]]) -> int:
        """Kill what an earlier boot left: processes with the marker, and the groups (id, leader's start). How many."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(_kill_leftovers, self._marker, groups))

    def _reap(self) -> None:
        # Look at each ended child before taking its status: that of our own goes to whoever waits for it.
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                own = self._own.get(ended.si_pid)
                if own is None or own.exited.done():
                    os.waitpid(ended.si_pid, os.WNOHANG)
                elif not own.poll():
                    return


def _end_below(root: int, grace_s: float) -> None:
    found = process_tree.descendants([root])
    if not found:
        return
    if grace_s > 0:
        process_tree.send(found, signal.SIGTERM)
        process_tree.wait_for_end(found, grace_s)
    process_tree.kill_below([root])


def _kill_leftovers(marker: str, groups: Sequence[tuple[int, int]]) -> int:
    found: dict[int, ProcessInfo] = {info.pid: info for info in process_tree.marked(marker)}
    for group, started in groups:
        found.update({info.pid: info for info in process_tree.in_group(group, started)})
    found.update({info.pid: info for info in process_tree.descendants(list(found))})
    process_tree.kill_below([], found.values())
    return len(found)
