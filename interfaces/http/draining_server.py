"""A uvicorn server that ends its streams when it begins to shut down, instead of waiting for their clients to leave."""

import socket
from collections.abc import Callable

import uvicorn


class DrainingServer(uvicorn.Server):
    """`end_streams` is called once no new connections are taken."""

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)
