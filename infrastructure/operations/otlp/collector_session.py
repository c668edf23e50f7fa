"""The HTTP session with a collector: it reads little of an answer, and not for long. Of what a collector says only the
status counts; one that never comes to an end would otherwise fill the memory, or hold up the export for ever."""

import time
from typing import Any

import requests

ANSWER_BYTES = 64 * 1024
"""Of an answer, which OTLP leaves empty or nearly so. After more the connection is closed."""
ANSWER_S = 10.0


class CollectorSession(requests.Session):
    def __init__(self, answer_s: float = ANSWER_S) -> None:
        super().__init__()
        self._answer_s = answer_s

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Raises requests.ReadTimeout for an answer that takes too long."""
        response = super().send(request, **{**options, "stream": True})
        with response:
            deadline, left = time.monotonic() + self._answer_s, ANSWER_BYTES
            while left > 0 and (read := response.raw.read1(min(left, 8192))):
                left -= len(read)
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout(f"the answer did not end within {self._answer_s:g} s")
        return response
