"""The providers of an installation, as its control plane knows them. Nothing is started to describe them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from application.ports.provider_descriptions import ProviderDescription, credentials_missing, provider_named
from application.ports.providers import NEEDS_NO_CLI, Installation, Installations, ProviderState, Readiness
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec


class ProviderCatalog:
    """Implements Providers. `variables`: the installation's, of which agents get what their providers need."""

    def __init__(
        self, providers: Sequence[ProviderDescription], installations: Installations, variables: Mapping[str, str]
    ) -> None:
        self._providers = providers
        self._installations = installations
        self._variables = variables

    def variables_of(self, spec: RunSpec) -> dict[str, str]:
        """What the agent of this run gets of them."""
        return provider_named(spec.provider, self._providers).variables_of(spec, self._variables)

    async def capabilities_of(self, spec: RunSpec) -> Capabilities:
        provider = provider_named(spec.provider, self._providers)
        provider.check(spec)
        installation = await self._installation(provider)
        return provider.capabilities(installation.version, spec.provider_options)

    def secret_options(self, provider: str) -> tuple[str, ...]:
        return provider_named(provider, self._providers).secret_options

    def holds_conversation(self, provider: str, provider_session_id: str, files: Iterable[str]) -> bool:
        known = provider_named(provider, self._providers)
        return any(known.keeps(provider_session_id, path) for path in files)

    async def all(self) -> tuple[ProviderState, ...]:
        return tuple(await asyncio.gather(*(self._state(provider) for provider in self._providers)))

    async def _state(self, provider: ProviderDescription) -> ProviderState:
        installation = await self._installation(provider)
        readiness: Readiness = "ready"
        reason = ""
        if installation.unhealthy:
            readiness, reason = "runtime_unhealthy", installation.unhealthy
        elif installation.missing:
            readiness, reason = "environment_not_ready", installation.missing
        elif provider.credentials and not self._variables.keys() & set(provider.credentials):
            readiness, reason = "environment_not_ready", credentials_missing(provider.name, provider.credentials)
        return ProviderState(
            name=provider.name,
            aliases=provider.aliases,
            capabilities=provider.capabilities(installation.version, {}),
            version=installation.version,
            readiness=readiness,
            reason=reason,
        )

    async def _installation(self, provider: ProviderDescription) -> Installation:
        return NEEDS_NO_CLI if provider.cli is None else await self._installations.of(provider.cli)
