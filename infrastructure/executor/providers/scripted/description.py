"""What both programs know of the `scripted` provider."""

from collections.abc import Mapping
from typing import Any

from application.ports.provider_descriptions import AgentCli, CliFiles, variables_of_all
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec
from infrastructure.executor.providers.scripted.options import script_of


class ScriptedDescription:
    """Shell scripts as a provider."""

    name = "scripted"
    aliases: tuple[str, ...] = ()
    cli: AgentCli | None = None
    credentials: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    secret_options: tuple[str, ...] = ()
    files = CliFiles()

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:  # noqa: ARG002  no CLI, no version
        """`human_loop` only with the option `interactive`."""
        return Capabilities(
            provider=self.name,
            todo_stream=True,
            human_loop=options.get("interactive") is True,
            human_loop_hint="set providerOptions.interactive to true",
        )

    def check(self, spec: RunSpec) -> None:
        """Raises InvalidInput for options of the wrong type, or without a script."""
        script_of(spec)

    def variables_of(self, spec: RunSpec, installation: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002  all the same
        return variables_of_all(self, installation)

    def keeps(self, provider_session_id: str, path: str) -> bool:  # noqa: ARG002  a script has no conversation
        return False
