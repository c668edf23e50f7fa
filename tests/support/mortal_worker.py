"""`fleetlog worker`, which dies of kill -9 at one point of one run's life: RUN_ID SESSION_ID RECORD FATAL_POINT."""

import os
import sys
from pathlib import Path

import uvloop

from interfaces.bootstrap.processes import run_worker_alone
from interfaces.cli.console import print_json
from interfaces.settings import load_settings
from tests.support.fault_points import FaultPoints

if __name__ == "__main__":
    run_id, session_id, record, fatal = sys.argv[1:]
    FaultPoints(run_id=run_id, session_id=session_id, fatal=fatal, record=Path(record)).install()
    sys.exit(uvloop.run(run_worker_alone(load_settings(os.environ), lambda url, notes: print_json({"url": url}))))
