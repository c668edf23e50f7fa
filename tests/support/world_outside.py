"""A server with a public address, as containers on this machine see one: in a network namespace of its own, behind a
cable to this machine."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@contextmanager
def server_in_the_world() -> Iterator[str]:
    """Its URL; the address is one of those that are reserved for documentation, so nobody has it."""
    name = f"w{secrets.token_hex(4)}"
    base = 4 * secrets.randbelow(60)
    here, there = f"198.51.100.{base + 1}", f"198.51.100.{base + 2}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}w", "netns", name)
        _run("ip", "addr", "add", f"{here}/30", "dev", f"{name}h")
        _run("ip", "link", "set", f"{name}h", "up")
        inside = ("ip", "netns", "exec", name)
        _run(*inside, "ip", "addr", "add", f"{there}/30", "dev", f"{name}w")
        _run(*inside, "ip", "link", "set", f"{name}w", "up")
        _run(*inside, "ip", "route", "add", "default", "via", here)
        with subprocess.Popen(
            [*inside, sys.executable, "-m", "http.server", "80", "--directory", "/sys/module/tcp_cubic"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                _await(f"http://{there}")
                yield f"http://{there}"
            finally:
                server.kill()
    finally:
        _run("ip", "netns", "del", name)


def _await(url: str) -> None:
    transport = httpx.HTTPTransport(retries=50)
    with httpx.Client(transport=transport, trust_env=False, timeout=5) as client:
        assert client.get(url).status_code == 200
