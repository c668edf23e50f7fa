"""Breaks the connections of another process, as a failing network would."""

import ctypes
import errno
import os
import socket
from pathlib import Path

_SYS_PIDFD_GETFD = 438
_LIBC = ctypes.CDLL(None, use_errno=True)


def sever_connections(pid: int) -> int:
    """Shut down every established TCP connection over loopback that a process has accepted; how many. Raises
    PermissionError where the kernel lets nobody at another process's descriptors."""
    pidfd = os.pidfd_open(pid)
    ports = _listening_ports(pid)
    severed = 0
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            severed += _sever(pidfd, int(name), ports)
    finally:
        os.close(pidfd)
    return severed


def _sever(pidfd: int, number: int, ports: set[int]) -> int:
    fd = _LIBC.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
    if fd < 0:
        code = ctypes.get_errno()
        if code == errno.EBADF:
            return 0  # closed meanwhile
        raise OSError(code, os.strerror(code))
    with socket.socket(fileno=fd) as duplicate:
        if duplicate.family != socket.AF_INET or duplicate.type != socket.SOCK_STREAM:
            return 0
        try:
            duplicate.getpeername()
        except OSError:
            return 0  # it listens
        if duplicate.getsockname()[1] not in ports:
            return 0  # its own connection to somebody else
        duplicate.shutdown(socket.SHUT_RDWR)
        return 1


def _listening_ports(pid: int) -> set[int]:
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[1].partition(":")[2], 16) for fields in lines if fields[3] == "0A"}
