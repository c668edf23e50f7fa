"""Times of events are written in one form by every answer."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.record import time_text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), "2026-03-04T05:06:07Z"),
        (datetime(2026, 3, 4, 5, 6, 10, tzinfo=UTC), "2026-03-04T05:06:10Z"),
        (datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC), "2026-03-04T05:06:07.89Z"),
        (datetime(2026, 3, 4, 5, 6, 7, 1, tzinfo=UTC), "2026-03-04T05:06:07.000001Z"),
        (datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=2))), "2026-03-04T03:06:07Z"),
    ],
)
def test_a_time_is_utc_and_has_no_zeros_at_the_end_of_its_fraction(moment: datetime, text: str) -> None:
    assert time_text(moment) == text
    assert datetime.fromisoformat(text) == moment
