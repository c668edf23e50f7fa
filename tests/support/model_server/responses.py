"""OpenAI Responses, streaming: `POST /v1/responses`."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.model_server.replies import HttpError, Reasoning, Text, ToolCall, Turn, pieces_of


def error_body(error: HttpError) -> dict[str, Any]:
    return {"error": {"type": error.kind, "code": error.kind, "message": error.message, "param": None}}


def stream(model: str, turn: Turn, serial: int, *, cut: bool = False) -> Iterator[bytes]:
    """The events of a turn; with `cut` they end without `response.completed`."""
    response = {"id": f"resp_{serial:06d}", "object": "response", "model": model, "status": "in_progress", "output": []}
    yield _event("response.created", response=response)
    done: list[dict[str, Any]] = []
    for index, part in enumerate(turn.parts):
        item = _item(part, serial, index)
        yield _event("response.output_item.added", output_index=index, item=_begun(item))
        yield from _deltas(part, item["id"], index)
        if cut and index == len(turn.parts) - 1:
            return
        yield _event("response.output_item.done", output_index=index, item=item)
        done.append(item)
    usage = {
        "input_tokens": turn.input_tokens,
        "input_tokens_details": {"cached_tokens": turn.cached_tokens},
        "output_tokens": turn.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": turn.input_tokens + turn.output_tokens,
    }
    yield _event("response.completed", response={**response, "status": "completed", "output": done, "usage": usage})


def _item(part: Text | Reasoning | ToolCall, serial: int, index: int) -> dict[str, Any]:
    name = f"{serial:06d}{index}"
    match part:
        case Text():
            content = [{"type": "output_text", "text": part.text, "annotations": []}]
            item = {"id": f"msg_{name}", "type": "message", "role": "assistant", "content": content}
        case Reasoning():
            summary = [{"type": "summary_text", "text": part.text}]
            item = {"id": f"rs_{name}", "type": "reasoning", "summary": summary, "encrypted_content": "c2lnbmVk"}
        case ToolCall():
            item = {
                "id": f"fc_{name}",
                "type": "function_call",
                "call_id": f"call_{name}",
                "name": part.name,
                "arguments": json.dumps(dict(part.input)),
            }
    return {**item, "status": "completed"}


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"content": [], "summary": [], "arguments": ""}
    return {**item, **{name: value for name, value in empty.items() if name in item}, "status": "in_progress"}


def _deltas(part: Text | Reasoning | ToolCall, item_id: str, index: int) -> Iterator[bytes]:
    place: dict[str, Any] = {"item_id": item_id, "output_index": index}
    match part:
        case Text():
            for number, piece in enumerate(pieces_of(part.text, part.pieces)):
                if number and part.pause_s:
                    time.sleep(part.pause_s)
                yield _event("response.output_text.delta", **place, content_index=0, delta=part.told(piece))
                if number == 0 and part.gate is not None:
                    part.gate.wait()
        case Reasoning():
            yield _event(
                "response.reasoning_summary_part.added",
                **place,
                summary_index=0,
                part={"type": "summary_text", "text": ""},
            )
            for piece in pieces_of(part.text, part.pieces):
                yield _event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=piece)
        case ToolCall():
            arguments = json.dumps(dict(part.input))
            yield _event("response.function_call_arguments.delta", **place, delta=arguments)
            yield _event("response.function_call_arguments.done", **place, arguments=arguments)


def _event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()
