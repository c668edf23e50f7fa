"""All providers, one line for each, as both programs know them."""

from application.ports.provider_descriptions import CliFiles, ProviderDescription
from infrastructure.executor.providers.claude_code.description import ClaudeCodeDescription
from infrastructure.executor.providers.codex.description import CodexDescription
from infrastructure.executor.providers.opencode.description import OpencodeDescription
from infrastructure.executor.providers.scripted.description import ScriptedDescription

DESCRIPTIONS: tuple[ProviderDescription, ...] = (
    ScriptedDescription(),
    ClaudeCodeDescription(),
    CodexDescription(),
    OpencodeDescription(),
)  # fmt: skip


def credential_names() -> tuple[str, ...]:
    """The environment variables that hold secrets, of all providers."""
    return tuple(dict.fromkeys(name for provider in DESCRIPTIONS for name in provider.credentials))


def variable_names() -> tuple[str, ...]:
    """The other environment variables that agents get, of all providers."""
    return tuple(dict.fromkeys(name for provider in DESCRIPTIONS for name in provider.variables))


def cli_files() -> CliFiles:
    """What the CLIs of all providers keep."""
    return CliFiles.of_all(provider.files for provider in DESCRIPTIONS)
