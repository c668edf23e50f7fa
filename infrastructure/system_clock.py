"""The clock and the source of new ids."""

import time
import uuid
from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds, for durations alone."""
    return time.monotonic()


def new_id() -> str:
    return uuid.uuid4().hex
