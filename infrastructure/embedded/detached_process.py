"""Server processes that outlive the process that started them; a later process can find, watch and end them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG_KEPT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to start a server. `user` and `group`: numeric ids to run as; None: those of this process."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    user: int | None = None
    group: int | None = None


def start_detached(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, which our terminal's Ctrl-C does not reach. Its output is appended to
    `log`, which is renamed to `{log}.1` first if it is larger than LOG_KEPT_BYTES."""
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_KEPT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=command.user,
            group=command.group,
            extra_groups=None if command.user is None else [],
        )
    finally:
        os.close(descriptor)


def log_tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        text = ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (empty)"


def command_line(pid: int) -> str:
    """The command line of a process, joined by spaces; empty if there is no such process or it is a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/cmdline").exists():
            return ""
    found = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, timeout=10, check=False
    )
    return found.stdout.decode(errors="replace").strip()


def is_ending(pid: int) -> bool:
    """Whether the process has ended but still has its id: it is exiting, or a zombie."""
    if command_line(pid):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True


async def reap_if_ended(child: subprocess.Popen[bytes] | None) -> None:
    """Reap a child that has ended, so that its process id is free; one that still runs is left alone."""
    if child is not None and not command_line(child.pid):
        await asyncio.to_thread(child.wait, 5)


def processes_in(folder: Path) -> list[int]:
    """The ids of the processes whose working folder is `folder`, as far as we may read them. Linux only."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.readlink() == folder:
                found.append(int(entry.parent.name))
    return found


async def end_process(
    pid: int,
    *,
    marker: str,
    child: subprocess.Popen[bytes] | None,
    signals: Sequence[tuple[signal.Signals, float]],
) -> bool:
    """Send each signal and wait its number of seconds, until the process has ended; False if it survives all of them.

    `marker`: a part of its command line. A process without it is another one with the same id, and is left alone.
    """
    for number, patience in signals:
        if marker not in command_line(pid):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if await _gone(pid, marker, child, patience):
            break
    return await _gone(pid, marker, child, 0)


async def _gone(pid: int, marker: str, child: subprocess.Popen[bytes] | None, patience: float) -> bool:
    deadline = time.monotonic() + patience
    pause = 0.01
    while True:
        if marker not in command_line(pid):
            await reap_if_ended(child)
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.2)
