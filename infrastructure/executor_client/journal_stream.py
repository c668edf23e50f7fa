"""A run's journal as an executor streams it: lines of JSON, blank ones in between as heartbeats."""

from collections.abc import AsyncIterator

import httpx
import msgspec

from application.executor_protocol import JournalEntry
from domain.run.events import RunAgentFinished

LONGEST_LINE = 1024 * 1024
_decoder = msgspec.json.Decoder(JournalEntry)


class StreamCut(Exception):
    """The stream ended before the run did. `timed_out`: not even a heartbeat came any more. `garbled`: what came is no
    journal; it will not be one the next time."""

    def __init__(self, why: str, *, timed_out: bool = False, garbled: bool = False) -> None:
        super().__init__(why)
        self.timed_out, self.garbled = timed_out, garbled


async def entries(response: httpx.Response) -> AsyncIterator[list[JournalEntry]]:
    """All entries that have come whole, as they come, to the run's last; StreamCut when the stream ends before it."""
    rest = b""
    try:
        async for chunk in response.aiter_raw():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise StreamCut(f"a line of more than {LONGEST_LINE} bytes", garbled=True)
            batch = [_decoder.decode(line) for line in lines if line.strip()]
            if batch:
                yield batch
                if batch[-1].type == RunAgentFinished.wire_name:
                    return
    except msgspec.MsgspecError as error:
        raise StreamCut(f"a line that is no journal entry: {error}", garbled=True) from error
    except httpx.TimeoutException as error:
        raise StreamCut("no entry and no heartbeat came any more", timed_out=True) from error
    except httpx.HTTPError as error:
        raise StreamCut(f"{type(error).__name__}: {error}") from error
    raise StreamCut("the stream ended before the run did")
