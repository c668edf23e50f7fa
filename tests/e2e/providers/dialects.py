"""How the model of each CLI asks for the same things, and what leads each CLI to the stub model server.

A new provider joins the proofs by a dialect here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support.model_server import ToolCall

SECRET = "sk-planted-c0ffee-5ec4e7-0123456789"
"""The model credential of every test server: nothing of it may be seen anywhere."""


class Dialect(Protocol):
    @property
    def name(self) -> str:
        """The provider's."""
        ...

    @property
    def asking_profile(self) -> str:
        """The execution profile in which a tool that changes files needs a permission."""
        ...

    @property
    def free_profile(self) -> str:
        """The one in which it needs none."""
        ...

    @property
    def tries_of_one_attempt(self) -> int:
        """How many requests a run makes that has `few_retries`."""
        ...

    def few_retries(self) -> Mapping[str, Any]:
        """What makes the CLI itself repeat a failed request as rarely as it can."""
        ...

    def variables(self, model_url: str) -> Mapping[str, str]:
        """The installation's settings, with SECRET as the credential."""
        ...

    def mcp_server(self, script: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
        """The `providerOptions` with one MCP server, which is that shell script."""
        ...

    def write_file(self, folder: str, name: str, content: str) -> ToolCall: ...
    def run_command(self, command: str) -> ToolCall: ...
    def todos(self, *items: tuple[str, str]) -> ToolCall:
        """(content, todo | doing | done)."""
        ...

    def question(self, prompt: str, labels: Sequence[str]) -> ToolCall: ...


@dataclass(frozen=True)
class ClaudeDialect:
    name: str = "claude-code"
    asking_profile: str = "default"
    free_profile: str = "build"
    tries_of_one_attempt: int = 2

    def few_retries(self) -> Mapping[str, Any]:
        return {"providerOptions": {"maxRetries": 1}}

    def variables(self, model_url: str) -> Mapping[str, str]:
        return {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": SECRET}

    def mcp_server(self, script: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
        return {"mcpServers": {"probe": {"command": "sh", "args": ["-c", script], "env": dict(variables)}}}

    def write_file(self, folder: str, name: str, content: str) -> ToolCall:
        return ToolCall("Write", {"file_path": f"{folder}/{name}", "content": content})

    def run_command(self, command: str) -> ToolCall:
        return ToolCall("Bash", {"command": command})

    def todos(self, *items: tuple[str, str]) -> ToolCall:
        words = {"todo": "pending", "doing": "in_progress", "done": "completed"}
        todos = [{"content": text, "status": words[status], "activeForm": text} for text, status in items]
        return ToolCall("TodoWrite", {"todos": todos})

    def question(self, prompt: str, labels: Sequence[str]) -> ToolCall:
        options = [{"label": label, "description": f"the {label} one"} for label in labels]
        question = {"question": prompt, "header": "Choice", "options": options, "multiSelect": False}
        return ToolCall("AskUserQuestion", {"questions": [question]})


@dataclass(frozen=True)
class CodexDialect:
    name: str = "codex-cli"
    asking_profile: str = "default"
    free_profile: str = "build"
    tries_of_one_attempt: int = 1

    def few_retries(self) -> Mapping[str, Any]:
        return {"providerOptions": {"maxRetries": 0}}

    def variables(self, model_url: str) -> Mapping[str, str]:
        return {"OPENAI_BASE_URL": f"{model_url}/v1", "OPENAI_API_KEY": SECRET}

    def mcp_server(self, script: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
        return {"mcpServers": {"probe": {"command": "sh", "args": ["-c", script], "env": dict(variables)}}}

    def write_file(self, folder: str, name: str, content: str) -> ToolCall:
        lines = "".join(f"+{line}\n" for line in content.splitlines())
        patch = f"*** Begin Patch\n*** Add File: {folder}/{name}\n{lines}*** End Patch"
        return self.run_command(f"apply_patch <<'EOF'\n{patch}\nEOF\n")

    def run_command(self, command: str) -> ToolCall:
        return ToolCall("exec_command", {"cmd": command})

    def todos(self, *items: tuple[str, str]) -> ToolCall:
        words = {"todo": "pending", "doing": "in_progress", "done": "completed"}
        return ToolCall("update_plan", {"plan": [{"step": text, "status": words[status]} for text, status in items]})

    def question(self, prompt: str, labels: Sequence[str]) -> ToolCall:
        options = [{"label": label, "description": f"the {label} one"} for label in labels]
        question = {"id": "choice", "header": "Choice", "question": prompt, "options": options}
        return ToolCall("request_user_input", {"questions": [question]})


@dataclass(frozen=True)
class OpencodeDialect:
    name: str = "opencode"
    asking_profile: str = "default"
    free_profile: str = "build"
    tries_of_one_attempt: int = 6
    """opencode's own: an earlier end would race with its next request, as the rate limit wants no pause."""

    def few_retries(self) -> Mapping[str, Any]:
        return {"providerOptions": {"maxRetries": 5}}

    def variables(self, model_url: str) -> Mapping[str, str]:
        return {"OPENAI_COMPATIBLE_BASE_URL": f"{model_url}/v1", "OPENAI_COMPATIBLE_API_KEY": SECRET}

    def mcp_server(self, script: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
        server = {"type": "local", "command": ["sh", "-c", script], "environment": dict(variables)}
        return {"mcp": {"probe": server}}

    def write_file(self, folder: str, name: str, content: str) -> ToolCall:
        return ToolCall("write", {"filePath": f"{folder}/{name}", "content": content})

    def run_command(self, command: str) -> ToolCall:
        return ToolCall("bash", {"command": command, "description": "runs it"})

    def todos(self, *items: tuple[str, str]) -> ToolCall:
        words = {"todo": "pending", "doing": "in_progress", "done": "completed"}
        todos = [{"content": text, "status": words[status], "priority": "medium"} for text, status in items]
        return ToolCall("todowrite", {"todos": todos})

    def question(self, prompt: str, labels: Sequence[str]) -> ToolCall:
        options = [{"label": label, "description": f"the {label} one"} for label in labels]
        return ToolCall("question", {"questions": [{"question": prompt, "header": "Choice", "options": options}]})


DIALECTS: tuple[Dialect, ...] = (ClaudeDialect(), CodexDialect(), OpencodeDialect())
