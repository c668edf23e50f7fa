"""The settings of how much is done at the same time reach what does it."""

from pathlib import Path
from typing import Any

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from interfaces.bootstrap import background_tasks, control_plane
from interfaces.bootstrap.backing import BackingServices
from interfaces.settings_reading import load_settings
from tests.support.async_run import run

GIVEN = {
    "MAX_RUNS": "9",
    "MAX_RUNS_PER_PROCESS": "8",
    "MAX_RUNS_PER_USER": "7",
    "MAX_RUNS_PER_APP": "6",
    "EFFECT_SLOTS": "5",
    "LONG_EFFECT_SLOTS": "4",
}


def test_each_reaches_what_it_bounds(
    database: str, bucket: ObjectStoreAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, dict[str, Any]] = {}

    def recorded(module: Any, name: str) -> None:
        original = getattr(module, name)

        def make(*arguments: Any, **named: Any) -> Any:
            made[name] = named
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, make)

    recorded(control_plane, "PostgresRunQueue")
    recorded(control_plane, "RunWorker")
    recorded(background_tasks, "EffectWorker")
    settings = load_settings({**GIVEN, "FLEETLOG_HOME": str(tmp_path), "WORKER_RUNTIME": "process"})
    backing = BackingServices(
        settings=settings, dsn=database, object_store=bucket.location, installation="i", secret=b"secret" * 8
    )

    async def scenario() -> None:
        async with control_plane.control_plane(backing) as plane:
            for task in background_tasks.background_tasks(plane).values():
                task.close()

    run(scenario())
    queue = made["PostgresRunQueue"]
    assert (queue["max_running"], queue["max_per_user"], queue["max_per_app"]) == (9, 7, 6)
    assert made["RunWorker"]["concurrency"] == 8
    assert made["EffectWorker"]["slots"] == {"short": 5, "long": 4, "stop": 4}
