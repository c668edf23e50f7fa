"""A process of this machine, told apart from every later one that gets its id. Linux."""

from pathlib import Path

import msgspec

from infrastructure.providers.process_tree import ProcessInfo, process_info

_ENDED = {"Z", "X"}


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`started` in clock ticks since `machine_boot`, the id of the machine's boot."""

    pid: int
    started: int
    machine_boot: str


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None when there is none, or only its zombie."""
    info = process_info(pid)
    if info is None or info.state in _ENDED:
        return None
    machine_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ProcessIdentity(pid=pid, started=info.started, machine_boot=machine_boot)


def alive(process: ProcessIdentity) -> bool:
    """Whether this very process lives; a zombie does not."""
    return identify(process.pid) == process


def still_there(info: ProcessInfo) -> bool:
    """Whether a process that was seen a moment ago lives."""
    now = process_info(info.pid)
    return now is not None and now.started == info.started and now.state not in _ENDED
