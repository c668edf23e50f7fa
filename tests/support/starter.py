"""`python -m tests.support.starter postgres|object_store HOME`: starts a server, says so, waits to be killed."""

import asyncio
import signal
import sys
from pathlib import Path

from infrastructure.embedded.home_lock import HomeLock
from infrastructure.embedded.object_store import EmbeddedObjectStore
from infrastructure.embedded.postgres import EmbeddedPostgres


async def main(kind: str, home: Path) -> None:
    HomeLock(home).acquire()
    server = EmbeddedPostgres(home) if kind == "postgres" else EmbeddedObjectStore(home)
    await server.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    # Ctrl-C ends it at once, also when it is a job in the background, which inherits to ignore it; nobody waits for the
    # thread that reads stdin.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
