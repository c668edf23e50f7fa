"""OpenAI chat completions, streaming: `POST /v1/chat/completions`."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.model_server.replies import Reasoning, Text, ToolCall, Turn, pieces_of
from tests.support.model_server.responses import error_body

__all__ = ["complete", "error_body", "stream"]


def complete(model: str, turn: Turn, serial: int) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    text = "".join(part.text for part in turn.parts if isinstance(part, Text))
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**_head(model, serial, "chat.completion"), "choices": [choice], "usage": _usage(turn)}


def stream(model: str, turn: Turn, serial: int, *, cut: bool = False) -> Iterator[bytes]:
    """The chunks of a turn; with `cut` they end without a `finish_reason`."""
    yield _chunk(model, serial, {"role": "assistant", "content": ""})
    tools = 0
    for part in turn.parts:
        match part:
            case Text():
                for number, piece in enumerate(pieces_of(part.text, part.pieces)):
                    if number and part.pause_s:
                        time.sleep(part.pause_s)
                    yield _chunk(model, serial, {"content": part.told(piece)})
                    if number == 0 and part.gate is not None:
                        part.gate.wait()
            case Reasoning():
                for piece in pieces_of(part.text, part.pieces):
                    yield _chunk(model, serial, {"reasoning_content": piece})
            case ToolCall():
                arguments = pieces_of(json.dumps(dict(part.input)), 2)
                head = {"index": tools, "id": f"call_{serial:06d}{tools}", "type": "function"}
                call = {**head, "function": {"name": part.name, "arguments": ""}}
                yield _chunk(model, serial, {"tool_calls": [call]})
                for piece in arguments:
                    rest = {"index": tools, "function": {"arguments": piece}}
                    yield _chunk(model, serial, {"tool_calls": [rest]})
                tools += 1
    if cut:
        return
    yield _chunk(model, serial, {}, finish_reason="tool_calls" if tools else "stop")
    yield _data({**_head(model, serial, "chat.completion.chunk"), "choices": [], "usage": _usage(turn)})
    yield b"data: [DONE]\n\n"


def _usage(turn: Turn) -> dict[str, Any]:
    return {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "total_tokens": turn.input_tokens + turn.output_tokens,
        "prompt_tokens_details": {"cached_tokens": turn.cached_tokens},
    }


def _chunk(model: str, serial: int, delta: dict[str, Any], *, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _data({**_head(model, serial, "chat.completion.chunk"), "choices": [choice]})


def _head(model: str, serial: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{serial:06d}", "object": kind, "created": 1_700_000_000, "model": model}


def _data(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
