"""`fleetlog worker`, which dies of kill -9 at one point of one run's life: RUN_ID SESSION_ID RECORD FATAL_POINT.

SIGUSR1 makes it write the stacks of all its tasks to standard error.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from interfaces.bootstrap.processes import run_worker_alone
from interfaces.cli.console import print_json
from interfaces.settings import load_settings
from tests.support.fault_points import FaultPoints


def write_stacks() -> None:
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


async def work() -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, write_stacks)
    return await run_worker_alone(load_settings(os.environ), lambda url, _notes: print_json({"url": url}))


if __name__ == "__main__":
    run_id, session_id, record, fatal = sys.argv[1:]
    FaultPoints(run_id=run_id, session_id=session_id, fatal=fatal, record=Path(record)).install()
    sys.exit(uvloop.run(work()))
