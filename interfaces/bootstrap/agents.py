"""What agents are given of this installation: their CLIs on the PATH, and the credentials of their models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from infrastructure.providers.registry import PROVIDERS, credential_names, variable_names
from interfaces.settings import SettingsError

CHECKOUT_CLIS = Path(__file__).resolve().parents[2] / "build/agent-clis/bin"
"""Where script/agent-clis installs them; an installed wheel has no such folder."""


def declared_variables() -> Mapping[str, tuple[Sequence[str], Sequence[str]]]:
    """What each provider's agents may get of this process's environment: (secrets, other variables) by provider."""
    return {provider.name: (provider.credentials, provider.variables) for provider in PROVIDERS}


def agents_path(environ: Mapping[str, str]) -> str:
    """The PATH of the `process` runtime's agents: the pinned CLIs of a checkout come first."""
    path = environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return f"{CHECKOUT_CLIS}:{path}" if CHECKOUT_CLIS.is_dir() else path


def agent_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The credentials that are set, or whose `{NAME}_FILE` names a file that holds them, and the other variables that
    providers declare. Raises SettingsError for a file that can't be read."""
    found = {name: environ[name] for name in variable_names() if environ.get(name)}
    for name in credential_names():
        file = environ.get(f"{name}_FILE", "")
        if environ.get(name):
            found[name] = environ[name]
        elif file:
            found[name] = _secret(f"{name}_FILE", Path(file))
    return found


def _secret(variable: str, file: Path) -> str:
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(variable, f"{file} can't be read: {error}") from error
    if not secret or "\n" in secret or "\0" in secret:
        raise SettingsError(variable, f"{file} must hold the secret in one line, and nothing else")
    return secret
