"""A Docker daemon of a test's own, beside the machine's: it can be restarted, stopped, and run out of disk.

Its data folder is a file system in memory with chosen room. Its default bridge is a network that the machine's own
daemon makes, and it leaves the machine's firewall alone.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from infrastructure.runtimes.polling import wait_until
from tests.support.docker_containers import docker

START_TIMEOUT_S = 90
LOADING_MIB = 12_000
BTRFS_MIB = 6_000


class PrivateDocker:
    """As a context manager: started, with the workers' image loaded and `free_mib` left beside it. `host` is for
    DOCKER_HOST."""

    storage_driver = "overlay2"

    def __init__(self, image: str, *, free_mib: int) -> None:
        self._image = image
        self._name, self._free_mib = f"flt{secrets.token_hex(4)}", free_mib
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self._name}-"))
        self.host = f"unix://{self._folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        docker("network", "create", "-o", f"com.docker.network.bridge.name={self._name}", self._name)
        self._mount()
        try:
            self.start()
            saving = subprocess.Popen(["docker", "save", self._image], stdout=subprocess.PIPE)
            self._docker("load", stdin=saving.stdout)
            assert saving.stdout is not None
            saving.stdout.close()
            assert saving.wait(60) == 0
            self.make_room(self._free_mib)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            self.start()
        if left := self("ps", "-aq").split():
            self("rm", "-fv", *left)
        for network in self("network", "ls", "-q", "--filter", "name=^fleetlog-").split():
            self("network", "rm", network)
        self.stop()
        subprocess.run(["umount", "-l", self._data], check=True)
        docker("network", "rm", self._name)
        subprocess.run(["rm", "-rf", self._folder], check=True)

    def _mount(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LOADING_MIB}m", "tmpfs", self._data], check=True)

    @property
    def _data(self) -> Path:
        folder = self._folder / "data"
        folder.mkdir(exist_ok=True)
        return folder

    def __call__(self, *arguments: str) -> str:
        """What the docker command prints, about this daemon."""
        return self._docker(*arguments)

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("dockerd", "--host", self.host, "--bridge", self._name, "--shutdown-timeout", "10"),
                    *("--data-root", self._data, "--exec-root", self._folder / "exec"),
                    *("--pidfile", self._folder / "pid", "--storage-driver", self.storage_driver),
                    *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        asked = ["docker", "-H", self.host, "version"]

        def serves_or_ended() -> bool:
            ended = self._process is None or self._process.poll() is not None
            return ended or subprocess.run(asked, capture_output=True, check=False).returncode == 0

        assert wait_until(serves_or_ended, START_TIMEOUT_S), self._log_tail()
        assert self._process.poll() is None, self._log_tail()

    def _log_tail(self) -> str:
        return (self._folder / "log").read_text()[-4000:]

    def stop(self) -> None:
        """As the machine's shutdown does; its containers stop, those that are to restart do so at the next start."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def make_room(self, free_mib: int) -> None:
        """Let so much be free in its data folder."""
        found = os.statvfs(self._data)
        used_mib = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024**2
        subprocess.run(["mount", "-o", f"remount,size={used_mib + free_mib}m", self._data], check=True)

    @property
    def gateway(self) -> str:
        """Where its containers find servers of this machine."""
        return docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", self._name)

    def _docker(self, *arguments: str, stdin: object = None) -> str:
        done = subprocess.run(
            ["docker", "-H", self.host, *arguments],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class DockerWithQuotas(PrivateDocker):
    """One on btrfs, where Docker limits what a container writes, as it does with overlay2 on xfs with project quotas
    (which not every kernel has). It has all the room that there is."""

    storage_driver = "btrfs"

    def __init__(self, image: str) -> None:
        super().__init__(image, free_mib=0)

    def _mount(self) -> None:
        image = self._folder / "disk"
        with image.open("wb") as file:
            file.truncate(BTRFS_MIB * 1024**2)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self._data], check=True)

    def make_room(self, free_mib: int) -> None:
        """Do nothing."""


def required_btrfs() -> None:
    """Skip where such a file system can't be made; fail there with CI=true."""
    required_root()
    if "btrfs" not in Path("/proc/filesystems").read_text().split():
        pytest.skip("this kernel has no btrfs")
    if shutil.which("mkfs.btrfs") is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("there is no mkfs.btrfs; script/test-programs installs it")
    pytest.skip("there is no mkfs.btrfs; script/test-programs installs it")


def required_root() -> None:
    """Skip where no second daemon can be started; fail there with CI=true."""
    if os.geteuid() == 0:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("a Docker daemon of the test's own needs root")
    pytest.skip("a Docker daemon of the test's own needs root")
