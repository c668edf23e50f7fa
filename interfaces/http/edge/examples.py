"""Examples of operations: a request that stands beside its endpoint, and the answer that a server gave to it.

`python -m tests.e2e.record_examples` sends every request to a server and records the answers in
`interfaces/http/examples`, one file for each operation. All of them are parts of one story, the one that README tells:
ada's session `s1` of the app `shop`, with the runs `r1` and `r2`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import msgspec

PATH_VALUES: Mapping[str, str] = {
    "chatId": "s1",
    "effectKey": "3f2c9a7be01d4c5f8a6b7c8d9e0f1a2b",
    "managerName": "run_life",
    "position": "12",
    "runId": "r2",
    "sessionId": "s1",
    "streamId": "run:r2",
}
"""Of the path parameters, where an example gives no others."""
_FOLDER = files("interfaces.http") / "examples"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request. `path`: what differs from PATH_VALUES."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None


class RecordedAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a server answered. `media_type`: empty if there was no body; `body`: a text if it is not JSON."""

    status: int
    media_type: str
    body: Any


def recorded_answer(name: str) -> RecordedAnswer | None:
    """The answer to the example of the operation with this name; None if none has been recorded."""
    recorded = _FOLDER / f"{name}.json"
    if not recorded.is_file():
        return None
    return msgspec.json.decode(recorded.read_bytes(), type=RecordedAnswer)
