"""`python -m interfaces.executor --config FILE`: run the executor of one worker."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from interfaces.executor.config import ConfigRefused, awaited_config
from interfaces.logging import configure_logging


def main() -> int:
    """0 after an ordinary end, 2 when the configuration can't be used."""
    parser = argparse.ArgumentParser(prog="python -m interfaces.executor", description="The executor of one worker.")
    parser.add_argument("--config", required=True, type=Path, help="its configuration file, mode 0600")
    parser.add_argument("--wait-s", default=0.0, type=float, help="how long to wait for that file")
    arguments = parser.parse_args()
    configure_logging(quiet=("asyncio", "uvicorn.error"))
    try:
        # Loaded while the file is still on its way.
        from interfaces.executor.bootstrap import serve

        config = awaited_config(arguments.config, arguments.wait_s)
        logging.getLogger().setLevel(config.log_level)
        asyncio.run(serve(config))
    except ConfigRefused as error:
        sys.stderr.write(f"executor: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
