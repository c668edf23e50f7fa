"""What both programs know of the `codex-cli` provider."""

from collections.abc import Mapping
from typing import Any

from application.ports.provider_descriptions import AgentCli, CliFiles, variables_of_all
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec
from infrastructure.executor.providers.codex.options import PROFILES, check_thread_id, options_of
from infrastructure.executor.providers.prompts import prompt_of
from infrastructure.executor.providers.version_table import capabilities_at

CLI = AgentCli(program="codex", label="codex", package="@openai/codex")
_WITHOUT_PLAN_MODE = Capabilities(
    provider="codex-cli",
    resume=True,
    human_loop=True,
    todo_stream=True,
    execution_profiles=tuple(name for name, profile in PROFILES.items() if not profile.plan),
)
_TABLE = (
    # Threads, turns, approvals, plan updates. The human loop is permissions only.
    ("0.80.0", _WITHOUT_PLAN_MODE),
    # Plan mode (a collaboration mode), and questions also outside of it.
    (
        "0.106.0",
        Capabilities(
            provider="codex-cli",
            resume=True,
            human_loop=True,
            todo_stream=True,
            build_plan_mode=True,
            execution_profiles=tuple(PROFILES),
        ),
    ),
)


class CodexDescription:
    """Codex as a provider."""

    name = "codex-cli"
    aliases: tuple[str, ...] = ("codex-app-server",)
    cli: AgentCli | None = CLI
    credentials: tuple[str, ...] = ("CODEX_API_KEY", "OPENAI_API_KEY")
    variables: tuple[str, ...] = ("OPENAI_BASE_URL", "HTTPS_PROXY", "NO_PROXY")
    secret_options: tuple[str, ...] = ("config", "mcpServers")
    files = CliFiles(
        links={".codex": "codex"},
        state_names={
            ".codex": (
                "auth.json", "sessions", "archived_sessions", "history.jsonl", "log", "logs", "shell_snapshots",
                "version.json", "models_cache.json", "installation_id", "tmp", "*.sqlite", "*.sqlite-wal",
                "*.sqlite-shm", "*.jsonl",
            ),
        },
        credential_files=("auth.json",),
        environment={"CODEX_HOME": "codex"},
    )  # fmt: skip

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:  # noqa: ARG002  none changes them
        return capabilities_at(_TABLE, version)

    def check(self, spec: RunSpec) -> None:
        options_of(spec)
        prompt_of(spec)
        check_thread_id(spec)

    def variables_of(self, spec: RunSpec, installation: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002  all the same
        return variables_of_all(self, installation)

    def keeps(self, provider_session_id: str, path: str) -> bool:
        return "/sessions/" in path and path.endswith(f"{provider_session_id}.jsonl")
