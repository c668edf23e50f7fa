"""What a server said of its repairs, in its log and at /metrics."""

import re
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.support.fleetlog_server import FleetlogServer

PATIENCE_S = 60
COUNTED = re.compile(r'^fleetlog_repairs_total\{kind="(\w+)"\} (\S+)', re.MULTILINE)


def lines_of(log: Path) -> list[dict[str, Any]]:
    """The whole lines of JSON of a server's log; others print text into it, too."""
    found = []
    for line in log.read_bytes().splitlines():
        try:
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.MsgspecError:
            continue
    return found


def repaired(server: FleetlogServer, kind: str, *, log: str = "server.log", **ids: str) -> list[dict[str, Any]]:
    """The lines about repairs of this kind with these ids, once there is one. `log`: the name of the file."""
    deadline, path = time.monotonic() + PATIENCE_S, server.home.parent / log
    while True:
        found = [
            line
            for line in lines_of(path)
            if line.get("repair") == kind and all(line.get(name) == value for name, value in ids.items())
        ]
        if found:
            return found
        assert time.monotonic() < deadline, (kind, ids, path.read_text(errors="replace")[-4000:])
        time.sleep(0.05)


def counted(server: FleetlogServer, kind: str) -> float:
    """How many repairs of this kind the process that serves the API has counted."""
    return {name: float(value) for name, value in COUNTED.findall(server.client.get("/metrics").text)}.get(kind, 0.0)
