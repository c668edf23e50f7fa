"""Finds and ends processes on Linux: /proc, pidfds, subreaper.

The executor is a subreaper: a process that an agent starts is reparented to the executor when its parent ends, even if
it has called setsid. So the executor's descendants are all processes of its agents.
"""

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterable

import msgspec

_PR_SET_CHILD_SUBREAPER = 36
_STOP_ROUNDS = 12
_LAST_LOOKS = 2
"""A process that forks and ends while /proc is read can hide its child from one look."""


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `started`, in clock ticks since the machine's boot, tells it from a later one with the same pid.
    `has_ended`: no thread of it is left, and its parent has not asked for its exit code yet (a zombie). One whose first
    thread alone has ended is shown as a zombie by Linux, and lives."""

    pid: int
    parent: int
    group: int
    has_ended: bool
    started: int


def become_subreaper() -> None:
    """Become the parent of orphaned descendants from now on. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def process_info(pid: int) -> ProcessInfo | None:
    """None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  read thousands of times: plain is fastest
            line = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = line[line.rfind(b")") + 2 :].split()
    return ProcessInfo(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        has_ended=fields[0] == b"X" or (fields[0] == b"Z" and int(fields[17]) <= 1),
        started=int(fields[19]),
    )


def all_processes() -> dict[int, ProcessInfo]:
    found: dict[int, ProcessInfo] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  plain is fastest
        if name.isdigit() and (info := process_info(int(name))) is not None:
            found[info.pid] = info
    return found


def descendants(roots: Iterable[int]) -> list[ProcessInfo]:
    """All descendants of `roots`, without the roots themselves and zombies. Reads the descendants alone, not all of
    /proc: a process that forks and ends within milliseconds would be gone by the end of that."""
    found: dict[int, ProcessInfo] = {}
    waiting = list(roots)
    children = _children if os.path.exists("/proc/thread-self/children") else _children_in_one_look()  # noqa: PTH110
    while waiting:
        for pid in children(waiting.pop()):
            if pid not in found and (info := process_info(pid)) is not None:
                found[pid] = info
                waiting.append(pid)
    return [info for info in found.values() if not info.has_ended]


def _children(pid: int) -> list[int]:
    """Each thread has its list; an orphan is in that of any thread of its new parent."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  plain is fastest
            with (
                contextlib.suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{pid}/task/{thread}/children", "rb") as file,  # noqa: PTH123
            ):
                found += map(int, file.read().split())
    return found


def _children_in_one_look() -> Callable[[int], list[int]]:
    """For a Linux that was built without lists of children."""
    found: dict[int, list[int]] = {}
    for info in all_processes().values():
        found.setdefault(info.parent, []).append(info.pid)
    return lambda pid: found.get(pid, [])


def marked(marker: str) -> list[ProcessInfo]:
    """Processes, without this one and zombies, whose environment holds `marker` (NAME=value)."""
    wanted = marker.encode()
    found: list[ProcessInfo] = []
    for info in all_processes().values():
        if info.pid == os.getpid() or info.has_ended:
            continue
        try:
            with open(f"/proc/{info.pid}/environ", "rb") as file:  # noqa: PTH123
                environment = file.read()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.append(info)
    return found


def in_group(group: int, leader_started: int) -> list[ProcessInfo]:
    """Processes of a group, without zombies; none unless its leader is still the process that was started at
    `leader_started` (clock ticks)."""
    leader = process_info(group)
    if leader is None or leader.started != leader_started:
        return []
    return [info for info in all_processes().values() if info.group == group and not info.has_ended]


def send(processes: Iterable[ProcessInfo], number: signal.Signals) -> None:
    """Signal these processes by pidfd; skips one that has ended or whose pid was reused."""
    for info in processes:
        try:
            pidfd = os.pidfd_open(info.pid)
        except OSError:
            continue
        try:
            now = process_info(info.pid)
            if now is not None and now.started == info.started:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def wait_for_end(processes: Iterable[ProcessInfo], timeout_s: float) -> None:
    """Block until all have ended (zombies included), or `timeout_s` is over."""
    poll = select.poll()
    waiting: set[int] = set()
    try:
        for info in processes:
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(info.pid)
                waiting.add(pidfd)
                poll.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        ended: set[int] = set()
        while ended != waiting and (left := deadline - time.monotonic()) > 0:
            for pidfd, _ in poll.poll(left * 1000):
                ended.add(pidfd)
                poll.unregister(pidfd)
    finally:
        for pidfd in waiting:
            os.close(pidfd)


def kill_below(roots: Iterable[int], extra: Iterable[ProcessInfo] = ()) -> None:
    """SIGKILL all descendants of `roots`, and `extra` with theirs. They get SIGSTOP first, so that none can fork while
    the others are killed. Blocks until they have ended, 5 s at most."""
    roots = list(roots)
    frozen: dict[tuple[int, int], ProcessInfo] = {(info.pid, info.started): info for info in extra}
    in_vain = 0
    for _ in range(_STOP_ROUNDS):
        found = {(info.pid, info.started): info for info in descendants([*roots, *(key[0] for key in frozen)])}
        fresh = [info for key, info in found.items() if key not in frozen]
        in_vain = 0 if fresh else in_vain + 1
        if in_vain == _LAST_LOOKS:
            break
        send(fresh, signal.SIGSTOP)
        frozen.update(found)
    send(frozen.values(), signal.SIGKILL)
    wait_for_end(frozen.values(), 5.0)
