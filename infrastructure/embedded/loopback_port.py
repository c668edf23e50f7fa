"""A random port that is kept in a file, so that clients find the server again after a restart."""

import contextlib
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def remembered_port(path: Path) -> int:
    """The port stored in `path` if it is free on loopback; else another one that is, which is stored."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        port = int(path.read_text(encoding="ascii"))
        if 0 < port < 2**16 and _is_free(port):
            return port
    port = _free_port()
    path.write_text(f"{port}\n", encoding="ascii")
    return port


def is_free_again(path: Path) -> bool:
    """Whether the port stored in `path` is free on loopback."""
    return _is_free(int(path.read_text(encoding="ascii")))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers set it: connections in TIME_WAIT don't make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
