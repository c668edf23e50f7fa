"""Where a command writes a result of many bytes: a file that is replaced as a whole, a device, or standard output."""

import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replaced_file(file: Path | None) -> Iterator[IO[bytes]]:
    """To be written within the block. A regular file has the new content at its end; if the block fails, the old one,
    and nothing lies beside it. None is standard output. Raises OSError.

    It blocks, in a coroutine too, and Ctrl-C raises KeyboardInterrupt in the midst of that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if file is None:
            with _standard_output() as target:
                yield target
        else:
            with _replaced(file) as target:
                yield target
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except (OSError, KeyboardInterrupt):
        # What is still in the buffer would fail, or block, again at the program's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


@contextmanager
def _replaced(file: Path) -> Iterator[IO[bytes]]:
    try:
        known = file.stat()
    except FileNotFoundError:
        known = None
    if known is not None and not stat.S_ISREG(known.st_mode):  # a device such as /dev/null
        with file.open("wb") as target:
            yield target
        return
    file = Path(os.path.realpath(file))  # of a link, what it names is replaced
    part = file.with_name(f".{os.urandom(8).hex()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as target:
            if known is not None:
                os.fchmod(descriptor, stat.S_IMODE(known.st_mode))
            yield target
            target.flush()
            os.fsync(descriptor)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
