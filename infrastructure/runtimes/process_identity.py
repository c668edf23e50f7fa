"""A process of this machine, distinguished from later ones with the same process id. Linux only."""

from pathlib import Path

import msgspec

from infrastructure.process_tree import ProcessInfo, process_info


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`started`: clock ticks since the machine's boot. `machine_boot`: that boot's id."""

    pid: int
    started: int
    machine_boot: str


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None if there is none, or only a zombie."""
    info = process_info(pid)
    if info is None or info.has_ended:
        return None
    machine_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ProcessIdentity(pid=pid, started=info.started, machine_boot=machine_boot)


def alive(process: ProcessIdentity) -> bool:
    """Whether this process, and not another one with its id, lives; a zombie does not."""
    return identify(process.pid) == process


def still_there(info: ProcessInfo) -> bool:
    """Whether the process that `info` was read from still lives."""
    now = process_info(info.pid)
    return now is not None and now.started == info.started and not now.has_ended
