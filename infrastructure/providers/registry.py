"""All providers there are: the one line of each."""

from collections.abc import Mapping

from domain.errors import InvalidInput
from infrastructure.providers.claude_code import ClaudeCodeProvider
from infrastructure.providers.codex_cli import CodexProvider
from infrastructure.providers.contract import Provider
from infrastructure.providers.opencode import OpencodeProvider
from infrastructure.providers.scripted import ScriptedProvider

PROVIDERS: tuple[Provider, ...] = (
    ScriptedProvider(),
    ClaudeCodeProvider(),
    CodexProvider(),
    OpencodeProvider(),
)  # fmt: skip

_BY_NAME: Mapping[str, Provider] = {
    name: provider for provider in PROVIDERS for name in (provider.name, *provider.aliases)
}


def provider_named(name: str) -> Provider:
    """By its name or an alias. Raises InvalidInput for `provider`."""
    provider = _BY_NAME.get(name)
    if provider is None:
        known = ", ".join(sorted(_BY_NAME))
        raise InvalidInput("provider", f"{name!r} is not a provider of this installation; known are: {known}")
    return provider


def credential_names() -> tuple[str, ...]:
    """The variables that hold a secret of any provider."""
    return tuple(dict.fromkeys(name for provider in PROVIDERS for name in provider.credentials))


def variable_names() -> tuple[str, ...]:
    """The other variables that any provider's agents get."""
    return tuple(dict.fromkeys(name for provider in PROVIDERS for name in provider.variables))
