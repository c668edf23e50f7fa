"""A proxy between an agent's CLI and its caller that records when the CLI prints each time stamp.

Called as `_stamping_cli.py PROGRAM FILE ARGUMENTS…`. The CLI's output goes on as it comes; for each number of 19 digits
in it (the model's time stamps) FILE gets a line `number nanoseconds`. opencode answers HTTP clients instead: its port
is relayed. This process raises its own priority if it may, so that its times are those of the output.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

_STAMP = re.compile(rb"\d{19}")
_BYTES = 65536


def main() -> int:
    program, file, *arguments = sys.argv[1:]
    asked = next((argument for argument in arguments if argument.startswith("--port=")), "")
    real_port = _free_port() if asked else 0
    given = [f"--port={real_port}" if argument == asked else argument for argument in arguments]
    cli = subprocess.Popen([program, *given], stdout=subprocess.PIPE, close_fds=False)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    assert cli.stdout is not None
    with open(file, "ab", buffering=0) as log:  # noqa: PTH123
        if asked:
            port = int(asked.partition("=")[2])
            threading.Thread(target=_relay, args=(port, real_port, log), daemon=True).start()
            for line in cli.stdout:
                _write(1, line.replace(str(real_port).encode(), str(port).encode()))
        else:
            printed = cli.stdout.fileno()
            _pass_on(lambda: os.read(printed, _BYTES), lambda chunk: _write(1, chunk), log)
    return cli.wait()


def _pass_on(read: Callable[[], bytes], write: Callable[[bytes], None], log: IO[bytes] | None) -> None:
    while chunk := read():
        now = time.time_ns()
        write(chunk)
        if log is not None and (stamps := _STAMP.findall(chunk)):
            log.write(b"".join(b"%b %d\n" % (stamp, now) for stamp in stamps))


def _relay(port: int, real_port: int, log: IO[bytes]) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", real_port))
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_pump, args=(client, server, None), daemon=True).start()
        threading.Thread(target=_pump, args=(server, client, log), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, log: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        _pass_on(lambda: source.recv(_BYTES), target.sendall, log)
        target.shutdown(socket.SHUT_WR)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    sys.exit(main())
