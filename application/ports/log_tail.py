"""The end of the log, as one process follows it."""

from typing import Protocol


class LogTail(Protocol):
    """This process's reader of the end of the log, shared by all who wait for a stream."""

    async def wait_for_stream(self, stream: str, after_seq: int, timeout: float) -> int:
        """The last seq of the stream that is known here, as soon as it is greater than `after_seq`; 0 after `timeout`
        seconds."""
        ...
