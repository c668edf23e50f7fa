"""What opencode may have said while its event stream was broken."""

from collections.abc import Awaitable, Callable
from typing import Any


async def missed_events(
    call: Callable[[str, str], Awaitable[Any]], session_id: str, since_ms: float
) -> list[dict[str, Any]]:
    """The present state of a conversation as events of the stream: its messages from `since_ms` on (Unix time), todos,
    open requests and status. `call(method, path)` asks opencode and raises what it raises.

    The status is asked for first, so that an idle one means whole messages: a turn that ends later says so itself on
    the stream, which is connected again by now."""
    statuses = await call("GET", "/session/status")
    status = statuses.get(session_id, {"type": "idle"})
    found: list[dict[str, Any]] = []
    for message in await call("GET", f"/session/{session_id}/message"):
        if message["info"]["time"]["created"] >= since_ms:
            found.append({"type": "message.updated", "properties": {"info": message["info"]}})
            found += [{"type": "message.part.updated", "properties": {"part": part}} for part in message["parts"]]
    todos = await call("GET", f"/session/{session_id}/todo")
    if todos:
        found.append({"type": "todo.updated", "properties": {"sessionID": session_id, "todos": todos}})
    for kind in ("permission", "question"):
        asked = await call("GET", f"/{kind}")
        found += [{"type": f"{kind}.asked", "properties": request} for request in asked]
    return [*found, {"type": "session.status", "properties": {"sessionID": session_id, "status": status}}]
