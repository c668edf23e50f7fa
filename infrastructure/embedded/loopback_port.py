"""A random port on loopback that is remembered, so that clients find the server again after a restart."""

import contextlib
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def remembered_port(path: Path) -> int:
    """The port stored in `path` when nobody listens on it; else a free one, stored there."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        port = int(path.read_text(encoding="ascii"))
        if 0 < port < 2**16 and _is_free(port):
            return port
    port = _free_port()
    path.write_text(f"{port}\n", encoding="ascii")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port whose last connections are still winding down is free.
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
