"""`fleetlog worker` without the task that claims runs: whatever claims one then does so on request."""

import sys
from collections.abc import Coroutine
from typing import Any
from unittest.mock import patch

from interfaces.bootstrap.background_tasks import background_tasks
from interfaces.bootstrap.control_plane import ControlPlane
from interfaces.cli import processes
from interfaces.cli.main import main


def tasks_without_runs(plane: ControlPlane) -> dict[str, Coroutine[Any, Any, None]]:
    tasks = background_tasks(plane)
    tasks.pop("runs").close()
    return tasks


if __name__ == "__main__":
    with patch.object(processes, "background_tasks", tasks_without_runs):
        code = main(["worker", "--json"])
    sys.exit(code)
