"""Processes of this machine, told apart from later ones that got the same id.

Reads /proc. Where there is none (macOS) `ps` gives start times and parents, and processes can't be found by their HOME.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

PROC = Path("/proc")
_HAS_PROC = (PROC / "self" / "stat").exists()
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One process, never a later one with its id: `started` is unique per boot of the machine and start time."""

    pid: int
    started: str


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    identity: ProcessIdentity
    parent: int


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None when there is none, or only its zombie."""
    entry = _entry(pid)
    return entry.identity if entry else None


def alive(process: ProcessIdentity) -> bool:
    """Whether this very process lives; a zombie does not."""
    return identify(process.pid) == process


def descendants(process: ProcessIdentity) -> set[ProcessIdentity]:
    """All living processes that this one started, directly or through others that still live."""
    if not alive(process):
        return set()
    children: dict[int, list[ProcessIdentity]] = {}
    for entry in _entries():
        children.setdefault(entry.parent, []).append(entry.identity)
    found: set[ProcessIdentity] = set()
    waiting = [process.pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child.pid)
    return found


def processes_with_home(home: Path) -> set[ProcessIdentity]:
    """All living processes whose environment said `HOME={home}` when they started; empty where there is no /proc."""
    if not _HAS_PROC:
        return set()
    wanted = b"HOME=" + os.fsencode(home)
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            if wanted in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                identity = identify(pid)
                if identity:
                    found.add(identity)
    return found


def send(process: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal to this very process; nothing happens when it is gone."""
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Ask again and again, at least once, until the condition holds; False after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    pause = _SHORTEST_PAUSE_S
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
    return True


def kill_all(find: Callable[[], Iterable[ProcessIdentity]], *, timeout_s: float) -> bool:
    """Kill what `find` finds until it finds nothing living (killed processes may just have started others).

    False when something still lives after `timeout_s` seconds.
    """

    def none_left() -> bool:
        living = [process for process in find() if alive(process)]
        for process in living:
            send(process, signal.SIGKILL)
        return not living

    return wait_until(none_left, timeout_s)


def _pids() -> Iterator[int]:
    own = os.getpid()
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != own:
            yield int(entry.name)


def _entries() -> Iterator[_Entry]:
    if not _HAS_PROC:
        yield from _listed_by_ps("-ax")
        return
    for pid in _pids():
        entry = _entry(pid)
        if entry:
            yield entry


def _entry(pid: int) -> _Entry | None:
    if not _HAS_PROC:
        return next(iter(_listed_by_ps("-p", str(pid))), None)
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in brackets and may hold anything, brackets too; after it come state, parent, …
    state, parent, *rest = stat[stat.rindex(b")") + 2 :].split()
    if state in {b"Z", b"X", b"x"}:
        return None
    started = f"{_machine_boot()}:{rest[17].decode()}"
    return _Entry(identity=ProcessIdentity(pid=pid, started=started), parent=int(parent))


def _machine_boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _listed_by_ps(*selection: str) -> Iterator[_Entry]:
    listed = subprocess.run(
        ["ps", *selection, "-o", "pid=,ppid=,stat=,lstart="], capture_output=True, timeout=10, check=False
    )
    for line in listed.stdout.decode(errors="replace").splitlines():
        pid, parent, state, started = line.split(None, 3)
        if not state.startswith("Z"):
            yield _Entry(identity=ProcessIdentity(pid=int(pid), started=started.strip()), parent=int(parent))
