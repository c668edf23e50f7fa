"""A result is written as a whole, or not at all."""

import os
import signal
import stat
from pathlib import Path

import pytest

from interfaces.cli.replaced_file import replaced_file


def written(file: Path, content: bytes = b"new") -> None:
    with replaced_file(file) as target:
        target.write(content)


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 255)
    before = os.umask(0o027)
    try:
        written(file)
    finally:
        os.umask(before)
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_alone_in_its_folder(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"old")
    with pytest.raises(error), replaced_file(file) as target:  # noqa: PT012  the block is what fails
        target.write(b"new")
        raise error
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["log"]


def test_links_that_others_have_laid_beside_it_are_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"kept")
    (tmp_path / "log.part").symlink_to(theirs)
    written(tmp_path / "log")
    assert theirs.read_bytes() == b"kept"


def test_links_in_a_circle_are_an_error_of_the_system(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="symbolic links"):
        written(loop)
    assert loop.is_symlink()


def test_ctrl_c_ends_one_that_waits_for_a_reader(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = signal.getsignal(signal.SIGINT)

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    known = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            written(pipe)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, known)
    assert signal.getsignal(signal.SIGINT) is before
