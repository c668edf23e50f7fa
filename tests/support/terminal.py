"""A real terminal (a pty) of a given size, with one command in it, as a person would run it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

TIMEOUT_S = 180
CTRL_C = b"\x03"
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# The terminal becomes the command's controlling one; a parent that ignores Ctrl-C, as background jobs do, is not heir.
_LEADER = """import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])"""


class Terminal:
    """As a context manager: the command runs; at the end it is gone. `output` is all that came out of it so far."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], *, columns: int, lines: int = 40) -> None:
        self._command, self._environment, self._size = command, environment, (lines, columns)
        self.output = b""

    def __enter__(self) -> Self:
        self._screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        environment = self._environment | {"TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "CI"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LEADER, *self._command],
            env=environment,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(TIMEOUT_S)
        os.close(self._screen)

    def until(self, text: str) -> None:
        """Wait until the command has written this."""
        while text not in self.text:
            assert self._read(), f"the command ended without {text!r}:\n{self.text}"

    def press(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def end(self) -> int:
        """Wait for the command's end; its exit code."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT_S)

    @property
    def text(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return _CONTROLS.sub("", self.output.decode(errors="replace"))

    def _read(self) -> bool:
        deadline = time.monotonic() + TIMEOUT_S
        ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing came for {TIMEOUT_S} s:\n{self.text}"
        try:
            read = os.read(self._screen, 65_536)
        except OSError:  # its last process has closed it
            return False
        self.output += read
        return bool(read)
