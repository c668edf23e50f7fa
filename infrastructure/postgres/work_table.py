"""What tables of work have in common: waiting for rows to become due."""

from collections.abc import Awaitable, Callable

from infrastructure.postgres.listener import ChannelSignal


async def wait_until_due(
    signal: ChannelSignal, next_due: Callable[[], Awaitable[float | None]], timeout_s: float
) -> None:
    """Return on a notification, when the next row becomes due, or after `timeout_s` seconds.

    `next_due` gives the seconds until then; none or less means that rows are due which others are about to claim, so it
    counts as a short wait.
    """
    due = await next_due()
    patience = timeout_s if due is None else min(timeout_s, max(due, 0.05))
    await signal.wait(patience)
