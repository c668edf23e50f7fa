"""A scrape gives what is known, whatever the part on users' projections does."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from application.ports.operations import Metric
from application.ports.user_projections import UserProjectionStatus
from infrastructure.operations import metrics
from infrastructure.operations.metrics import ControlPlaneMetrics
from infrastructure.postgres.work_statistics import WorkAges, WorkStatistics
from tests.support.async_run import run


def status(name: str, **more: Any) -> UserProjectionStatus:
    fields: dict[str, Any] = {
        "projection": name, "status": "running", "position": 1, "lag_events": 2, "lag_is_more": False,
        "lag_seconds": 1.0, "holder": "h", "restarts": 4, "error": None, "error_position": None, "error_type": None,
        "projection_class": "m:C", "view_class": "m:V", "heartbeat_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return UserProjectionStatus(**(fields | more))


def scraped(of_users: Any) -> dict[str, Metric]:
    """By name, where the status of users' projections comes from `of_users`."""

    async def none() -> Sequence[Any]:
        return ()

    async def work() -> WorkStatistics:
        return WorkStatistics(effects=(), queued_runs=(), alerts=WorkAges(), index_lag_events=0, index_lag_seconds=0.0)

    async def alive() -> Sequence[dict[str, str]]:
        return [{"docker": "away"}, {}, {"docker": "away", "object store": "full"}]

    parts: dict[str, Any] = {
        "workers": SimpleNamespace(alive=alive),
        "work": SimpleNamespace(read=work),
        "projections": SimpleNamespace(status=none),
        "process_managers": SimpleNamespace(status=none),
        "user_projections": SimpleNamespace(status=of_users),
        "executors": SimpleNamespace(circuit_states=dict),
        "streams": SimpleNamespace(open_streams=3),
        "log": SimpleNamespace(position=SimpleNamespace(last_position=7)),
    }
    return {metric.name: metric for metric in run(ControlPlaneMetrics(**parts).collect())}


async def _failing() -> Sequence[UserProjectionStatus]:
    raise OSError("the database is away")


async def _silent() -> Sequence[UserProjectionStatus]:
    await asyncio.Event().wait()
    return ()


@pytest.mark.parametrize("of_users", [_failing, _silent])
def test_a_status_of_users_that_fails_or_does_not_come_leaves_the_others(
    of_users: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "USERS_TIMEOUT_S", 0.01)
    found = scraped(of_users)
    assert [sample.value for sample in found["open_streams"].samples] == [3.0]
    assert found["user_projection_running"].samples == ()


def test_restarts_are_counted_and_no_lag_for_one_that_has_not_run_for_long() -> None:
    async def of_users() -> Sequence[UserProjectionStatus]:
        return (status("Works"), status("Ended", status="not running", lag_is_counted=False, lag_events=0))

    found = scraped(of_users)
    shown = {
        name: [(sample.labels["projection"], sample.value) for sample in metric.samples]
        for name, metric in found.items()
        if name.startswith("user_")
    }
    assert shown["user_projection_restarts"] == [("Works", 4.0), ("Ended", 4.0)]
    assert shown["user_projection_lag_events"] == [("Works", 2.0)]
    assert shown["user_projection_running"] == [("Works", 1.0), ("Ended", 0.0)]


def test_what_is_down_is_counted_by_the_processes_that_find_it_so() -> None:
    async def none() -> Sequence[UserProjectionStatus]:
        return ()

    found = scraped(none)
    assert [sample.value for sample in found["worker_processes"].samples] == [3]
    assert {sample.labels["dependency"]: sample.value for sample in found["outages"].samples} == {
        "docker": 2,
        "object store": 1,
    }
