"""Hooks of Schemathesis, which loads this file by itself (SCHEMATHESIS_HOOKS), in its own environment.

It reads an answer to its end before it sends the next request. So commands don't wait for outcomes, and the stream of a
run is asked for as the replay of a finished one, at once. `EFFECT_KEY`: of an effect that the server has.
"""

import os
from typing import Any

import schemathesis

FRAME = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {"id": {"type": "string", "pattern": "^[0-9]+$"}, "event": {"type": "string"}},
}
"""Of an event stream, for whose frames OpenAPI 3.1 has no word; Schemathesis reads that of 3.2, and would else take the
schema of the stream, a text, for that of each frame."""


@schemathesis.hook
def before_load_schema(_context: Any, document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "effectKey" and "EFFECT_KEY" in os.environ:
                    parameter["example"] = os.environ["EFFECT_KEY"]
            for response in operation["responses"].values():
                stream = response.get("content", {}).get("text/event-stream")
                if stream is not None:
                    del stream["schema"]
                    stream["itemSchema"] = FRAME


@schemathesis.hook
def before_call(_context: Any, case: Any, _arguments: dict[str, Any]) -> None:
    parameters = {each.name for each in case.operation.query}
    if "waitMs" in parameters:
        _set(case, "waitMs", value=0)
    if "replay" in parameters:
        _set(case, "replay", value=True)
        _set(case, "speed", value=0)


def _set(case: Any, name: str, value: float) -> None:
    """A parameter that is absent or a number; one of another kind is what the request is about."""
    if isinstance(case.query.get(name, value), (int, float)):
        case.query[name] = value
