"""Starts an agent in a process session of its own (setsid) and ends it with every process that it started."""

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from infrastructure import process_tree
from infrastructure.executor.runs.ownership import give_to_user
from infrastructure.process_tree import ProcessInfo

_log = logging.getLogger("fleetlog.executor")
TERM_GRACE_S = 3.0
_KILL_S = 10.0
"""How long processes are killed again that others have started meanwhile."""
_PIPE_BYTES = 64 * 1024
_WRITE_TIMEOUT_S = 10.0


def worker_marker(session_id: str, container_id: str, state_dir: Path) -> str:
    """The environment variable that marks a worker's agents. It holds a hash of the state folder, because another
    installation on the machine may have a session of the same name."""
    folder_hash = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:16]
    return f"FLEETLOG_WORKER={session_id}/{container_id}/{folder_hash}"


class PipeClosed(Exception):
    """The agent has closed its stdin, or does not read it within 10 s."""


class AgentProcess:
    """A running process. Both `stdout` and `stderr` must be read, or it blocks on a full pipe."""

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
        """Whether it has ended; if so, `exited` holds its exit code (negative: the number of the signal)."""
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
        """Close its stdin: it reads end-of-file."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def close(self) -> None:
        """Close our ends of its pipes, even if processes that it left behind hold the other ends."""
        for transport in self.transports:
            transport.close()
        self.close_stdin()


class AgentProcesses:
    """All agents' processes of this executor. `marker` (NAME=value) is put into their environment, so that the next
    boot finds those that a killed executor left behind. `user`: numeric user and group id that they run as; None: our
    own."""

    def __init__(self, marker: str, pool: Executor, *, user: int | None = None) -> None:
        self._marker = marker
        self._user = user
        self._pool = pool
        self._own: dict[int, AgentProcess] = {}

    def adopt_orphans(self) -> None:
        """Become the parent of orphaned descendants (subreaper), and reap every child that ends. Call in the main
        thread."""
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
        """Start a program in `folder`; with a `user`, that folder and HOME are given to it first. Raises OSError."""
        name, _, value = self._marker.partition("=")
        loop = asyncio.get_running_loop()
        if self._user is not None:
            folders = (folder, environment["HOME"])
            await loop.run_in_executor(self._pool, partial(give_to_user, folders, self._user))
            for descriptor in pass_fds:
                os.fchown(descriptor, self._user, self._user)
        popen = subprocess.Popen(  # noqa: ASYNC220  returns right after the fork
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
            # Else `echo >/dev/stderr` would be refused: it opens the pipe by its path, which checks the owner.
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
        """End every descendant of this process: SIGTERM, SIGKILL after `grace_s` (at once if 0)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s + _KILL_S
        while loop.time() < deadline:
            await loop.run_in_executor(self._pool, partial(_end_below, os.getpid(), grace_s))
            self._reap()
            if not _has_children():
                return
            grace_s = 0
        _log.warning("processes of agents still live, or start others, after %g s of killing; they are left", _KILL_S)

    async def end_leftovers(self, groups: Sequence[tuple[int, int]]) -> int:
        """Kill what an earlier boot left: processes with the marker in their environment, the `groups` (id, start of
        the leader in clock ticks), and their descendants. Returns their number."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(_kill_leftovers, self._marker, groups))

    def _reap(self) -> None:
        # Peek (WNOWAIT) at each ended child first: the status of our own is taken by `poll`, which sets `exited`.
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                own = self._own.get(ended.si_pid)
                if own is None or own.exited.done():
                    os.waitpid(ended.si_pid, os.WNOHANG)
                elif not own.poll():
                    return


def _has_children() -> bool:
    """Whether this process has any child. Its descendants are its children at the latest when their parent ends, so
    without a child it has none: what a look at /proc can miss while they fork."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _end_below(root: int, grace_s: float) -> None:
    if grace_s > 0 and (found := process_tree.descendants([root])):
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
