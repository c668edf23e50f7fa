"""The providers of an installation, as its control plane sees them: nothing is started to know what they can do."""

import asyncio
from collections.abc import Collection, Iterable

from application.providers import ProviderState, Readiness
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec
from infrastructure.providers.contract import Provider
from infrastructure.providers.installations import ON_BOARD, Installation, Installations
from infrastructure.providers.model_errors import no_credentials
from infrastructure.providers.registry import PROVIDERS, provider_named


class RegisteredProviders:
    """Implements application's Providers. `configured`: the names of the variables that workers are given."""

    def __init__(self, installations: Installations, configured: Collection[str]) -> None:
        self._installations = installations
        self._configured = frozenset(configured)

    async def capabilities_of(self, spec: RunSpec) -> Capabilities:
        provider = provider_named(spec.provider)
        provider.check(spec)
        installation = await self._installation(provider)
        return provider.capabilities(installation.version, spec.provider_options)

    def holds_conversation(self, provider: str, provider_session_id: str, files: Iterable[str]) -> bool:
        known = provider_named(provider)
        return any(known.keeps(provider_session_id, path) for path in files)

    async def all(self) -> tuple[ProviderState, ...]:
        return tuple(await asyncio.gather(*(self._state(provider) for provider in PROVIDERS)))

    async def _state(self, provider: Provider) -> ProviderState:
        installation = await self._installation(provider)
        readiness: Readiness = "ready"
        reason = ""
        if installation.unhealthy:
            readiness, reason = "runtime_unhealthy", installation.unhealthy
        elif installation.missing:
            readiness, reason = "environment_not_ready", installation.missing
        elif provider.credentials and not self._configured & set(provider.credentials):
            readiness, reason = "environment_not_ready", no_credentials(provider.name, provider.credentials)
        return ProviderState(
            name=provider.name,
            aliases=provider.aliases,
            capabilities=provider.capabilities(installation.version, {}),
            version=installation.version,
            readiness=readiness,
            reason=reason,
        )

    async def _installation(self, provider: Provider) -> Installation:
        return ON_BOARD if provider.cli is None else await self._installations.of(provider.cli)
