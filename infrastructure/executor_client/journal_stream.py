"""A run's journal as an executor streams it: one entry of JSON per line; blank lines are heartbeats."""

from collections.abc import AsyncIterator

import httpx
import msgspec

from application.executor_protocol import JournalEntry
from domain.run.events import RunAgentFinished

LONGEST_LINE = 1024 * 1024
BATCH_ENTRIES = 1000
"""That are recorded at once: a commit takes 10,000 events, and an entry may make a few."""
_decoder = msgspec.json.Decoder(JournalEntry)


class StreamCut(Exception):
    """The stream ended before the run's last entry. `timed_out`: no entry and no heartbeat came in time. `garbled`: the
    data is no journal, so that another try is pointless."""

    def __init__(self, why: str, *, timed_out: bool = False, garbled: bool = False) -> None:
        super().__init__(why)
        self.timed_out, self.garbled = timed_out, garbled


async def entries(response: httpx.Response) -> AsyncIterator[list[JournalEntry]]:
    """Complete entries as they arrive, in batches, up to the run's last one. Raises StreamCut."""
    rest = b""
    try:
        async for chunk in response.aiter_raw():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise StreamCut(f"a line of more than {LONGEST_LINE} bytes", garbled=True)
            entered = [line for line in lines if line.strip()]
            for start in range(0, len(entered), BATCH_ENTRIES):
                batch = [_decoder.decode(line) for line in entered[start : start + BATCH_ENTRIES]]
                yield batch
                if batch[-1].type == RunAgentFinished.wire_name:
                    return
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StreamCut(f"a line that is no journal entry: {error}", garbled=True) from error
    except httpx.TimeoutException as error:
        raise StreamCut("no entry and no heartbeat came any more", timed_out=True) from error
    except httpx.HTTPError as error:
        raise StreamCut(f"{type(error).__name__}: {error}") from error
    raise StreamCut("the stream ended before the run did")
