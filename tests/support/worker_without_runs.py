"""`fleetlog worker` without the task that claims runs: whatever claims one then does so on request."""

import sys
from collections.abc import Coroutine
from typing import Any
from unittest.mock import patch

from interfaces.bootstrap import processes
from interfaces.bootstrap.control_plane import ControlPlane
from interfaces.bootstrap.residents import residents
from interfaces.cli.main import main


def residents_without_runs(plane: ControlPlane) -> dict[str, Coroutine[Any, Any, None]]:
    tasks = residents(plane)
    tasks.pop("runs").close()
    return tasks


if __name__ == "__main__":
    with patch.object(processes, "residents", residents_without_runs):
        code = main(["worker", "--json"])
    sys.exit(code)
