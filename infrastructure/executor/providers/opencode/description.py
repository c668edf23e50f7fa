"""What both programs know of the `opencode` provider."""

import re
from collections.abc import Mapping
from typing import Any

from application.ports.provider_descriptions import AgentCli, CliFiles, variables_of_all
from domain.errors import InvalidInput
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec
from infrastructure.executor.providers.opencode.model_apis import CREDENTIALS, MODEL_APIS, OF_MODEL_APIS, variables_for
from infrastructure.executor.providers.opencode.options import PROFILES, OpencodeOptions
from infrastructure.executor.providers.prompts import prompt_of
from infrastructure.executor.providers.provider_options import options_as
from infrastructure.executor.providers.version_table import capabilities_at

NAME = "opencode"
CLI = AgentCli(program="opencode", label="opencode", package="opencode-ai")
_TABLE = (
    # Earlier versions used other paths for permissions and questions: no human loop.
    ("0.1.0", Capabilities(provider=NAME, resume=True, todo_stream=True, execution_profiles=tuple(PROFILES))),
    (
        "1.18.0",
        Capabilities(
            provider=NAME,
            resume=True,
            human_loop=True,
            todo_stream=True,
            build_plan_mode=True,
            execution_profiles=tuple(PROFILES),
        ),
    ),
)
_SESSION_ID = re.compile(r"ses_[A-Za-z0-9]{8,64}")


class OpencodeDescription:
    """opencode as a provider."""

    name = NAME
    aliases: tuple[str, ...] = ()
    cli: AgentCli | None = CLI
    credentials: tuple[str, ...] = CREDENTIALS
    variables: tuple[str, ...] = (
        *(api.base_url for api in MODEL_APIS if api.base_url),
        "HTTPS_PROXY",
        "NO_PROXY",
    )
    secret_options: tuple[str, ...] = ("mcp", "modelConfig")
    files = CliFiles(
        links={".opencode": "opencode"},
        state_names={
            ".opencode": (
                "auth.json", "storage", "log", "snapshot", "share", "state", "cache", "bin", "*.db", "*.db-wal",
                "*.db-shm",
            ),
        },
        credential_files=("auth.json",),
        environment={
            "XDG_DATA_HOME": "opencode/share",
            "XDG_STATE_HOME": "opencode/state",
            "XDG_CONFIG_HOME": "opencode/config",
        },
    )  # fmt: skip

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:  # noqa: ARG002  none changes them
        return capabilities_at(_TABLE, version)

    def check(self, spec: RunSpec) -> None:
        options_as(OpencodeOptions, spec)
        prompt_of(spec)
        if spec.resume_session_id and not _SESSION_ID.fullmatch(spec.resume_session_id):
            raise InvalidInput("resumeSessionId", f"{spec.resume_session_id!r} is no id of an opencode session")

    def variables_of(self, spec: RunSpec, installation: Mapping[str, str]) -> dict[str, str]:
        """Of the models' APIs those that the run names: its own model's and the small one's."""
        small = options_as(OpencodeOptions, spec).small_model
        needed = variables_for([spec.model, *([small] if small else [])], installation)
        return {
            name: value
            for name, value in variables_of_all(self, installation).items()
            if name in needed or name not in OF_MODEL_APIS
        }

    def keeps(self, provider_session_id: str, path: str) -> bool:  # noqa: ARG002  one database holds them all
        return "/opencode/" in path and path.endswith(".db")
