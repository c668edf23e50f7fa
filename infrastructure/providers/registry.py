"""The providers of this executor."""

from collections.abc import Mapping

from domain.errors import InvalidInput
from infrastructure.providers.contract import Provider
from infrastructure.providers.scripted import ScriptedProvider

PROVIDERS: Mapping[str, Provider] = {
    "scripted": ScriptedProvider(),
}


def provider_named(name: str) -> Provider:
    """Raises InvalidInput for `spec.provider`."""
    provider = PROVIDERS.get(name)
    if provider is None:
        raise InvalidInput("spec.provider", f"{name!r} is not one of {', '.join(sorted(PROVIDERS))}")
    return provider
