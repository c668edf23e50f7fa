"""`fleetlog`, whose executors of the `process` runtime are reached through the proxy that TEST_EXECUTOR_PROXY names."""

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from infrastructure.runtimes.process import ProcessWorkerRuntime
from interfaces.cli.main import main


def reach_through(proxy: str) -> None:
    start = ProcessWorkerRuntime.start

    async def proxied(*arguments: Any, **named: Any) -> Any:
        info = await start(*arguments, **named)
        return replace(info, url=f"{proxy}/to/{urlsplit(info.url).port}")

    ProcessWorkerRuntime.start = proxied  # type: ignore[method-assign]


if __name__ == "__main__":
    reach_through(os.environ["TEST_EXECUTOR_PROXY"])
    sys.exit(main(sys.argv[1:]))
