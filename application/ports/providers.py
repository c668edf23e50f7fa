"""The port to the providers of this installation: what each can do, and whether it could run now."""

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from application.ports.provider_descriptions import AgentCli
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec

Readiness = Literal["ready", "environment_not_ready", "runtime_unhealthy"]


class ProviderState(msgspec.Struct, frozen=True, kw_only=True):
    """`version` of its CLI, where it has one and it is known. `reason`: what is missing and how to mend it; empty when
    ready."""

    name: str
    aliases: tuple[str, ...] = ()
    capabilities: Capabilities
    version: str = ""
    readiness: Readiness = "ready"
    reason: str = ""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """`version`: "" when it can't be known. `missing`: why the CLI can't run; `unhealthy`: why that can't be
    determined."""

    version: str = ""
    missing: str = ""
    unhealthy: str = ""


NEEDS_NO_CLI = Installation()


class Installations(Protocol):
    async def of(self, cli: AgentCli) -> Installation: ...


class Providers(Protocol):
    """Nothing is started to answer."""

    async def capabilities_of(self, spec: RunSpec) -> Capabilities:
        """What the run's provider can do for it. Raises InvalidInput for an unknown provider, and for messages and
        options that it can't accept."""
        ...

    def secret_options(self, provider: str) -> tuple[str, ...]:
        """The `providerOptions` in which there may be secrets."""
        ...

    def holds_conversation(self, provider: str, provider_session_id: str, files: Iterable[str]) -> bool:
        """Whether the provider's own conversation lies among the files of a workspace, given by their paths in it."""
        ...

    async def all(self) -> tuple[ProviderState, ...]: ...
