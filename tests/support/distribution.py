"""How the tests of a run are spread over its processes (pytest-xdist): which go to the same one, and which first.

A file's tests stay together, as they share what their module has made. Files that share a server of the test session
stay together in a few groups, so that few such servers are made. Long proofs go each by itself, and first.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

EACH_APART = (
    "tests/chaos/",
    "tests/e2e/test_any_order_of_calls.py",
    "tests/e2e/test_crashes.py",
    "tests/integration/eventstore/test_many_processes.py",
    "tests/integration/http/test_fuzz.py",
    "tests/integration/http/test_time_travel.py",
    "tests/integration/projections/test_crashes_and_takeover.py",
    "tests/integration/test_embedded_",
    "tests/unit/domain/run/test_any_order_of_commands.py",
    "tests/unit/domain/session/test_any_order_of_commands.py",
    "tests/unit/interleavings/",
    "tests/unit/scripts/test_bench.py",
)
DOCKER = (
    "tests/chaos/test_docker_faults.py",
    "tests/chaos/test_docker_interleavings.py",
    "tests/e2e/test_docker_workers.py",
    "tests/e2e/test_hostile_agent.py",
    "tests/e2e/test_many_docker_workers.py",
    "tests/integration/effects/test_orphans_in_docker.py",
    "tests/integration/runtimes/test_docker_runtime.py",
    "tests/integration/runtimes/test_executor_in_docker.py",
)
DOCKER_GROUPS = 2
"""More containers at a time than the machine has cores only wait for each other."""
SHARED_FLEETLOG = (
    "tests/e2e/console/",
    "tests/e2e/test_alerts.py",
    "tests/e2e/test_command_line.py",
    "tests/e2e/test_forks.py",
    "tests/e2e/test_history_commands.py",
    "tests/e2e/test_human_loop.py",
    "tests/e2e/test_external_runs.py",
    "tests/e2e/test_runs.py",
    "tests/e2e/test_sessions.py",
    "tests/e2e/test_terminal.py",
    "tests/e2e/test_why.py",
)
SHARED_GROUPS = 3
ORDER = ("tests/chaos/", "tests/e2e/", "tests/integration/", "tests/unit/", "tests/")


def scope_of(nodeid: str) -> str:
    """The tests of one scope go to one process, one after the other."""
    file = nodeid.partition("::")[0]
    if file.startswith("tests/e2e/providers/"):
        return f"agents in docker {_spread(file, 2)}" if "docker" in nodeid else file
    if file.startswith(DOCKER):
        return f"docker {_spread(file, DOCKER_GROUPS)}"
    if file.startswith("tests/e2e/console/"):
        return f"fleetlog {_spread('console', SHARED_GROUPS)}"
    if file.startswith(SHARED_FLEETLOG):
        return f"fleetlog {_spread(file, SHARED_GROUPS)}"
    return nodeid if file.startswith(EACH_APART) else file


def _spread(name: str, groups: int) -> int:
    return zlib.crc32(name.encode()) % groups


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """What takes long first, so that no process is left with it at the end; else as they are."""
    return sorted(items, key=_rank)


def _rank(item: pytest.Item) -> tuple[bool, int]:
    file = item.nodeid.partition("::")[0]
    long = file.startswith(EACH_APART) and item.get_closest_marker("proof") is not None
    return not long, next((rank for rank, start in enumerate(ORDER) if file.startswith(start)), len(ORDER))


class ByScope(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands out the tests of a scope together, the scopes in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
