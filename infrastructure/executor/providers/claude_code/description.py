"""What both programs know of the `claude-code` provider."""

import re
from collections.abc import Mapping
from typing import Any

from application.ports.provider_descriptions import AgentCli, CliFiles, variables_of_all
from domain.errors import InvalidInput
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec
from infrastructure.executor.providers.claude_code.options import PERMISSION_MODES, ClaudeOptions
from infrastructure.executor.providers.claude_code.settings import check_settings
from infrastructure.executor.providers.prompts import prompt_of
from infrastructure.executor.providers.provider_options import options_as
from infrastructure.executor.providers.version_table import capabilities_at

CLI = AgentCli(program="claude", label="claude-code", package="@anthropic-ai/claude-code")
_PROFILES = tuple(PERMISSION_MODES)
_TABLE = (
    # Before 2.0.0 the control protocol did not ask for permissions over stdio: no human loop.
    ("1.0.0", Capabilities(provider="claude-code", resume=True, execution_profiles=_PROFILES[:4])),
    (
        "2.0.0",
        Capabilities(
            provider="claude-code",
            resume=True,
            human_loop=True,
            todo_stream=True,
            build_plan_mode=True,
            execution_profiles=_PROFILES,
        ),
    ),
)
_SESSION_ID = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f-]{7,63}")


class ClaudeCodeDescription:
    """Claude Code as a provider."""

    name = "claude-code"
    aliases: tuple[str, ...] = ()
    cli: AgentCli | None = CLI
    credentials: tuple[str, ...] = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
    variables: tuple[str, ...] = (
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",
        "HTTPS_PROXY",
        "NO_PROXY",
    )
    secret_options: tuple[str, ...] = ("settings", "mcpServers")
    files = CliFiles(
        links={".claude": "claude"},
        state_names={
            ".claude": (
                ".credentials.json", "projects", "todos", "statsig", "shell-snapshots", "history.jsonl", "session-env",
                "sessions", "file-history", "debug", "cache", "backups", "ide", "paste-cache", "telemetry",
                "stats-cache.json", "tasks",
            ),
        },
        credential_files=(".credentials.json",),
        environment={"CLAUDE_CONFIG_DIR": "claude"},
    )  # fmt: skip

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:  # noqa: ARG002  none changes them
        return capabilities_at(_TABLE, version)

    def check(self, spec: RunSpec) -> None:
        check_settings(options_as(ClaudeOptions, spec).settings or {})
        prompt_of(spec)
        if spec.resume_session_id and not _SESSION_ID.fullmatch(spec.resume_session_id):
            raise InvalidInput("resumeSessionId", f"{spec.resume_session_id!r} is no id of a Claude Code session")

    def variables_of(self, spec: RunSpec, installation: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002  all the same
        return variables_of_all(self, installation)

    def keeps(self, provider_session_id: str, path: str) -> bool:
        return path.endswith(f"/{provider_session_id}.jsonl")
