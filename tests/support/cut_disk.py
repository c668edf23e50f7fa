"""A disk that can lose its power: an ext4 file system on a loop device. What of it was not flushed is in memory alone,
so a copy of the device's file is what the disk would hold after a power cut."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024
SIZE = 512 * MIB


def required_loop_devices() -> None:
    """Skip the test where none can be made; fail it there with CI=true."""
    if os.geteuid() == 0 and Path("/dev/loop-control").exists():
        return
    if os.environ.get("CI") == "true":
        pytest.fail("a disk of the test's own needs root and loop devices")
    pytest.skip("a disk of the test's own needs root and loop devices")


class CutDisk:
    """`path`: where it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._folder, self._image = folder, folder / "disk.image"

    @contextmanager
    def mounted(self) -> Iterator["CutDisk"]:
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", self._image)
        with _mounted(self._image, self.path, "commit=300"):  # nothing is flushed by the clock
            yield self

    @contextmanager
    def after_a_power_cut(self) -> Iterator[Path]:
        """The same disk as it would be if its power had gone now: a folder of its own, while inside."""
        cut = self._folder / "cut.image"
        _run("cp", "--sparse=always", self._image, cut)
        with _mounted(cut, self._folder / "cut"):
            yield self._folder / "cut"
        cut.unlink()


@contextmanager
def _mounted(image: Path, place: Path, *options: str) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", ",".join(["loop", *options]), image, place)
    try:
        yield
    finally:
        _run("umount", place)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
