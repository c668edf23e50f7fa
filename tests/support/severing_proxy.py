"""A proxy in front of Postgres that loses connections at the worst moment."""

import asyncio
import tempfile
from pathlib import Path
from typing import Literal, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

READY_FOR_QUERY_BYTES = 6

Loss = Literal["answer", "end", "request"]


class SeveringProxy:
    """Passes everything on, until `lose` names what to lose next: an `answer`, after the server has given it; the `end`
    of an answer, which says that the commit is done; or a `request`, before the server has got it. The connection is
    cut with it, and later ones are fine."""

    def __init__(self, dsn: str) -> None:
        parts = conninfo_to_dict(dsn)
        self._socket = f".s.PGSQL.{parts.get('port', 5432)}"
        self._target = Path(str(parts["host"])) / self._socket
        self._folder = tempfile.TemporaryDirectory()
        self.dsn = make_conninfo(dsn, host=self._folder.name)
        self.lose: Loss | None = None
        self.lost = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, Path(self._folder.name) / self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._folder.cleanup()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._target)
        try:
            await asyncio.wait(
                [
                    asyncio.create_task(self._pass_on(client, to_server, "request")),
                    asyncio.create_task(self._pass_on(server, to_client, "answer")),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            to_client.close()
            to_server.close()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, kind: Loss) -> None:
        while data := await source.read(65536):
            if self.lose == kind:
                self._cut()
                return
            if self.lose == "end" and kind == "answer":
                target.write(data[:-READY_FOR_QUERY_BYTES])
                self._cut()
                return
            target.write(data)
            await target.drain()

    def _cut(self) -> None:
        self.lose = None
        self.lost += 1
