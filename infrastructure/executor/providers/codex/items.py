"""Translates Codex's items to tool calls and results: commands, file changes, calls of other tools."""

from collections.abc import Mapping
from typing import Any

import msgspec

SHELL, PATCH = "shell", "apply_patch"
_TEXT_CHARS = 48_000
"""Characters of a command or a diff that an event holds; a tool's output may be longer."""
NON_TOOL_ITEMS = frozenset({
    "userMessage", "hookPrompt", "agentMessage", "functionCallOutput", "plan", "reasoning", "subAgentActivity", "sleep",
    "enteredReviewMode", "exitedReviewMode", "contextCompaction",
})  # fmt: skip


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    input: Any


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """`duration_ms`: measured by Codex, without the time that a person took to allow it; None if Codex gives none."""

    output: Any
    ok: bool
    duration_ms: int | None


def tool_call(item: Mapping[str, Any]) -> ToolCall | None:
    """The tool call that an item describes; None for an unknown item type."""
    match item["type"]:
        case "commandExecution":
            return ToolCall(name=SHELL, input={"command": _cut(item["command"]), "cwd": item.get("cwd")})
        case "fileChange":
            return ToolCall(name=PATCH, input={"changes": _changes(item["changes"])})
        case "mcpToolCall":
            return ToolCall(name=f"{item['server']}.{item['tool']}", input=item.get("arguments"))
        case "dynamicToolCall":
            return ToolCall(name=item["tool"], input=item.get("arguments"))
        case "collabAgentToolCall":
            tool_input = {name: item.get(name) for name in ("prompt", "model", "receiverThreadIds") if item.get(name)}
            return ToolCall(name=item["tool"], input=tool_input)
        case "webSearch":
            return ToolCall(name="web_search", input={"query": item.get("query", ""), "action": item.get("action")})
        case "imageView":
            return ToolCall(name="view_image", input={"path": item.get("path")})
        case "imageGeneration":
            return ToolCall(name="image_generation", input=None)
    return None


def tool_result(item: Mapping[str, Any]) -> ToolResult:
    """The result of a completed item."""
    status = item.get("status") or "completed"
    ok = status == "completed" and item.get("success") is not False
    duration = item.get("durationMs")
    return ToolResult(output=_output(item, status), ok=ok, duration_ms=duration if isinstance(duration, int) else None)


def describe_changes(item: Mapping[str, Any]) -> str:
    """A file change as text: `add /workspace/a.txt, update /workspace/b.txt`."""
    return ", ".join(f"{_kind(change)} {change['path']}" for change in item["changes"])


def _output(item: Mapping[str, Any], status: str) -> Any:
    match item["type"]:
        case "commandExecution":
            output = str(item.get("aggregatedOutput") or "")
            if status == "declined":
                return "declined"
            return output if item.get("exitCode") in {0, None} else f"{output}\n[exit code {item['exitCode']}]"
        case "fileChange":
            return f"{status}: {describe_changes(item)}"
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
    shown = []
    for change in changes:
        diff = _cut(change.get("diff", ""), left)
        left = max(left - len(diff), 0)
        shown.append({"path": change["path"], "kind": _kind(change), "diff": diff})
    return shown


def _kind(change: Mapping[str, Any]) -> str:
    kind = change.get("kind")
    return str(kind.get("type", "")) if isinstance(kind, dict) else str(kind)


def _cut(text: str, limit: int = _TEXT_CHARS) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n[cut: {len(text) - limit} characters more]"
