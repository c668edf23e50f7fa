"""`fleetlog` whose agents' CLIs are those of the folder in BENCH_CLIS."""

import os
from pathlib import Path

from interfaces.bootstrap import agents
from interfaces.cli.main import main

if __name__ == "__main__":
    agents.CHECKOUT_CLIS = Path(os.environ["BENCH_CLIS"])
    main()
