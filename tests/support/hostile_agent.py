"""What an agent may try to get out of its container, run inside it: `python3 - ARGUMENTS` with this file on its input.

Arguments: `NAME=HOST:PORT` for each place of others that it knows of. Each line of its output is an attempt and what
came of it: `attempt|held`, or `attempt|ESCAPED|what was got`. What it may read without any right, it prints: `seen|…`.
"""

import ctypes
import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import which

PROC = Path("/proc")
CONFIG = "/etc/fleetlog/executor.json"
STATE = "/var/lib/fleetlog"
SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock")
LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def executors() -> list[int]:
    """The executor and the first process, which started it."""
    found = []
    for each in PROC.iterdir():
        with suppress(FileNotFoundError):
            if each.name.isdigit() and b"interfaces.executor" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    return found


EXECUTORS = executors()


def attempt(name: str, work: Callable[[], object]) -> None:
    """Held: it raises, or gets nothing."""
    try:
        got = work()
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.URLError):
            raise  # what it was to attack is not there
        got = None
    say(f"{name}|ESCAPED|{got!r}"[:400] if got else f"{name}|held")


def of_each(work: Callable[[int], object]) -> Callable[[], object]:
    """One success with any of them is enough."""

    def tried() -> list[object]:
        got: list[object] = []
        for pid in EXECUTORS:
            try:
                got.append((pid, work(pid)))
            except OSError:
                continue
        return got

    return tried


def output(*command: str) -> str:
    """What a command prints, when it succeeds."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout if done.returncode == 0 else ""


def signals() -> list[str]:
    got = []
    for pid in EXECUTORS:
        for number in (0, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
                got.append(f"{pid}: {number}")
            except PermissionError:
                continue
    return got


def traced(pid: int) -> None:
    if LIBC.ptrace(PTRACE_ATTACH, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def setuid_programs() -> list[str]:
    """Programs that would give their owner's rights."""
    found = []
    for folder, _, names in os.walk("/usr"):
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                found.append(path)
    return found


def gained() -> str:
    """Whatever one of them, or a namespace of our own, makes of us."""
    say(f"seen|{len(setuid_programs())} setuid programs")
    tries = (
        ("su", "root", "-c", "id -u"),
        ("sudo", "-n", "id", "-u"),
        ("unshare", "--user", "--map-root-user", "id", "-u"),
        ("mount", "-t", "tmpfs", "none", "/mnt"),
        ("chroot", "/", "id", "-u"),
        ("nsenter", "-t", "1", "-m", "id"),
    )
    return " ".join(" ".join(command) for command in tries if which(command[0]) and output(*command))


def rights() -> str:
    """Lines of our status that give us a right; no_new_privs must be set."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status[name], 16)]
    return ",".join(held + [name for name in ("NoNewPrivs",) if status[name] != "1"])


def ids() -> str:
    for change in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chroot("/")):
        try:
            change()
        except PermissionError:
            continue
        return f"{os.getuid()}"
    return "" if 0 not in {os.getuid(), os.geteuid(), os.getgid(), *os.getgroups()} else "group or user 0"


def written_outside() -> list[str]:
    got = []
    for place in ("/etc/passwd", "/usr/bin/env", "/opt/fleetlog/source/interfaces/executor/app.py", "/new", "/etc/new"):
        try:
            with open(place, "ab"):
                got.append(place)
        except OSError:
            continue
    return got


def device() -> str:
    os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    return "a block device"


def raw_socket() -> str:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    return "a raw socket"


def docker_socket() -> list[str]:
    return [path for path in SOCKETS if os.path.exists(path)]


def executor_without_token() -> list[str]:
    """Calls that an executor answers without its token, beside /health."""
    urllib.request.urlopen("http://127.0.0.1:8700/health", timeout=10).close()  # it is there
    got = []
    for method, path in (("GET", "/workspace/tree"), ("POST", "/workspace/sync"), ("POST", "/provider-runs/start")):
        connection = http.client.HTTPConnection("127.0.0.1", 8700, timeout=10)
        connection.request(method, path, body=b"{}", headers={"authorization": "Bearer guessed"})
        if (status := connection.getresponse().status) != 401:
            got.append(f"{method} {path}: {status}")
        connection.close()
    return got


def reached(host: str, port: int) -> str:
    socket.create_connection((host, port), timeout=3).close()
    return f"{host}:{port} answers"


def listed_unsigned(host: str, port: int) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.read(200).decode(errors="replace") if answer.status < 400 else ""


def main() -> None:
    for name, value in os.environ.items():
        say(f"seen|{name}={value}")
    for pid in EXECUTORS:
        say(f"seen|{(PROC / str(pid) / 'cmdline').read_bytes()!r}")
    attempt("its token and S3 keys", lambda: Path(CONFIG).read_text())
    attempt("its token and S3 keys, through /proc", of_each(lambda pid: Path(f"/proc/{pid}/root{CONFIG}").read_text()))
    attempt("its journals", lambda: os.listdir(STATE))
    attempt("its environment", of_each(lambda pid: Path(f"/proc/{pid}/environ").read_bytes()))
    attempt("its open files", of_each(lambda pid: os.listdir(f"/proc/{pid}/fd")))
    attempt("its memory", of_each(lambda pid: os.open(f"/proc/{pid}/mem", os.O_RDONLY)))
    attempt("the map of its memory", of_each(lambda pid: Path(f"/proc/{pid}/maps").read_text()))
    attempt("tracing it", of_each(traced))
    attempt("a signal to it", signals)
    attempt("another user or group", ids)
    attempt("a program that gives rights", gained)
    attempt("a right of its own", rights)
    attempt("a file outside its workspace", written_outside)
    attempt("a device", device)
    attempt("a raw socket", raw_socket)
    attempt("the Docker socket", docker_socket)
    attempt("its executor without the token", executor_without_token)
    for argument in sys.argv[1:]:
        name, _, address = argument.partition("=")
        host, _, port = address.rpartition(":")
        look = listed_unsigned if name.startswith("the object store") else reached
        attempt(name, partial(look, host, int(port)))
    say(f"seen|{len(EXECUTORS)} processes attacked")


if __name__ == "__main__":
    main()
