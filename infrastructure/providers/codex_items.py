"""Codex's items that are tool calls: commands, file changes and the calls of other tools, with their results."""

from collections.abc import Mapping
from typing import Any

import msgspec

SHELL, PATCH = "shell", "apply_patch"
_TEXT_CHARS = 48_000
"""Of a command or a diff in an event; what a tool put out may be longer."""
NO_TOOLS = frozenset({
    "userMessage", "hookPrompt", "agentMessage", "functionCallOutput", "plan", "reasoning", "subAgentActivity", "sleep",
    "enteredReviewMode", "exitedReviewMode", "contextCompaction",
})  # fmt: skip


class Called(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    input: Any


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """`duration_ms`: what Codex measured, without the time that people took to allow it; None when it did not."""

    output: Any
    ok: bool
    duration_ms: int | None


def called(item: Mapping[str, Any]) -> Called | None:
    """The call that an item is; None for an item of an unknown type."""
    match item["type"]:
        case "commandExecution":
            return Called(name=SHELL, input={"command": _cut(item["command"]), "cwd": item.get("cwd")})
        case "fileChange":
            return Called(name=PATCH, input={"changes": _changes(item["changes"])})
        case "mcpToolCall":
            return Called(name=f"{item['server']}.{item['tool']}", input=item.get("arguments"))
        case "dynamicToolCall":
            return Called(name=item["tool"], input=item.get("arguments"))
        case "collabAgentToolCall":
            told = {name: item.get(name) for name in ("prompt", "model", "receiverThreadIds") if item.get(name)}
            return Called(name=item["tool"], input=told)
        case "webSearch":
            return Called(name="web_search", input={"query": item.get("query", ""), "action": item.get("action")})
        case "imageView":
            return Called(name="view_image", input={"path": item.get("path")})
        case "imageGeneration":
            return Called(name="image_generation", input=None)
    return None


def returned(item: Mapping[str, Any]) -> Returned:
    """The result of a completed item."""
    status = item.get("status") or "completed"
    ok = status == "completed" and item.get("success") is not False
    duration = item.get("durationMs")
    return Returned(output=_output(item, status), ok=ok, duration_ms=duration if isinstance(duration, int) else None)


def what_changes(item: Mapping[str, Any]) -> str:
    """A file change in words: `add /workspace/a.txt, update /workspace/b.txt`."""
    return ", ".join(f"{_kind(change)} {change['path']}" for change in item["changes"])


def _output(item: Mapping[str, Any], status: str) -> Any:
    match item["type"]:
        case "commandExecution":
            output = str(item.get("aggregatedOutput") or "")
            if status == "declined":
                return "declined"
            return output if item.get("exitCode") in {0, None} else f"{output}\n[exit code {item['exitCode']}]"
        case "fileChange":
            return f"{status}: {what_changes(item)}"
        case "mcpToolCall":
            error = item.get("error")
            return error["message"] if error else (item.get("result") or {}).get("content")
        case "dynamicToolCall":
            return item.get("contentItems")
        case "collabAgentToolCall":
            return item.get("agentsStates")
        case "webSearch":
            return item.get("results")
    return status


def _changes(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    left = _TEXT_CHARS
    told = []
    for change in changes:
        diff = _cut(change.get("diff", ""), left)
        left = max(left - len(diff), 0)
        told.append({"path": change["path"], "kind": _kind(change), "diff": diff})
    return told


def _kind(change: Mapping[str, Any]) -> str:
    kind = change.get("kind")
    return str(kind.get("type", "")) if isinstance(kind, dict) else str(kind)


def _cut(text: str, limit: int = _TEXT_CHARS) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n[cut: {len(text) - limit} characters more]"
