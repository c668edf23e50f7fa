"""Server processes that outlive the process that started them, and can be found, watched and ended by a later one."""

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
    """How to start a server: `user` and `group` are numeric ids to change to, None to stay as we are."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    user: int | None = None
    group: int | None = None


def start_detached(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, out of reach of our terminal's Ctrl-C; its output goes to `log`."""
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
    """The command line of a process, its arguments joined by spaces; empty when there is none or it is a zombie."""
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
    """Whether the process runs nothing any more but has its id yet: it is dying, or nobody asks for its result."""
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
    """Take the result of a child that ended, so that its id is free; one that still runs is left alone."""
    if child is not None and not command_line(child.pid):
        await asyncio.to_thread(child.wait, 5)


def works_in(folder: Path) -> list[int]:
    """The processes whose working folder it is, as far as we may see (Linux only)."""
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
    """Send the signals in turn, each followed by its wait in seconds, until the process is gone; False when it stays.

    `marker` is a part of its command line: a process without it is another one that got the same id, and is left alone.
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
