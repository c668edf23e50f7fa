"""Anthropic Messages, streaming: `POST /v1/messages`."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.model_server.replies import HttpError, Reasoning, Text, ToolCall, Turn, pieces_of


def error_body(error: HttpError) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error.kind, "message": error.message}}


def complete(model: str, turn: Turn, serial: int) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    texts = [{"type": "text", "text": part.text} for part in turn.parts if isinstance(part, Text)]
    return {**_message(model, serial, turn), "content": texts, "stop_reason": "end_turn"}


def stream(model: str, turn: Turn, serial: int, *, cut: bool = False) -> Iterator[bytes]:
    """The events of a turn; with `cut` they end in the middle of its last block."""
    yield _event("message_start", message=_message(model, serial, turn))
    for index, part in enumerate(turn.parts):
        last = index == len(turn.parts) - 1
        yield from _block(index, part, serial, open_ended=cut and last)
    if cut:
        return
    used_tool = any(isinstance(part, ToolCall) for part in turn.parts)
    yield _event(
        "message_delta",
        delta={"stop_reason": "tool_use" if used_tool else "end_turn", "stop_sequence": None},
        usage={"output_tokens": turn.output_tokens},
    )
    yield _event("message_stop")


def _block(index: int, part: Text | Reasoning | ToolCall, serial: int, *, open_ended: bool) -> Iterator[bytes]:
    match part:
        case Text():
            yield _event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            for number, piece in enumerate(pieces_of(part.text, part.pieces)):
                if number and part.pause_s:
                    time.sleep(part.pause_s)
                yield _delta(index, {"type": "text_delta", "text": part.told(piece)})
                if number == 0 and part.gate is not None:
                    part.gate.wait()
        case Reasoning():
            yield _event(
                "content_block_start", index=index, content_block={"type": "thinking", "thinking": "", "signature": ""}
            )
            for piece in pieces_of(part.text, part.pieces):
                yield _delta(index, {"type": "thinking_delta", "thinking": piece})
            yield _delta(index, {"type": "signature_delta", "signature": "c2lnbmVk"})
        case ToolCall():
            block = {"type": "tool_use", "id": f"toolu_{serial:06d}{index}", "name": part.name, "input": {}}
            yield _event("content_block_start", index=index, content_block=block)
            for piece in pieces_of(json.dumps(dict(part.input)), 2):
                yield _delta(index, {"type": "input_json_delta", "partial_json": piece})
    if not open_ended:
        yield _event("content_block_stop", index=index)


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)


def _message(model: str, serial: int, turn: Turn) -> dict[str, Any]:
    usage = {
        "input_tokens": turn.input_tokens,
        "output_tokens": 1,
        "cache_read_input_tokens": turn.cached_tokens,
        "cache_creation_input_tokens": 0,
    }
    return {
        "id": f"msg_{serial:06d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()
