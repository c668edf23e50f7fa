"""Work that loses its first cancellation, as libraries do with one that arrives together with their result (see
application/task_cancellation.py)."""

import asyncio


class LosesOneCancellation:
    """`begun` is set once `wait` has begun; `lost` counts the cancellations that it went on after."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.lost = 0

    async def wait(self) -> None:
        """Until the second cancellation."""
        self.begun.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.lost:
                    raise
                self.lost += 1


async def ends_in_time(task: "asyncio.Task[None]") -> bool:
    """Whether it ends within 20 s; cancelled if not. A timeout around it would be the second cancellation."""
    ended, _ = await asyncio.wait({task}, timeout=20)
    task.cancel()
    return bool(ended)
