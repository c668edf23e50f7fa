"""What agents get from this process: the PATH to their CLIs, and the credentials of their models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from infrastructure.executor.providers.descriptions import DESCRIPTIONS, credential_names, variable_names
from interfaces.agent_variables import read_agent_variables

CHECKOUT_CLIS = Path(__file__).resolve().parents[2] / "build/agent-clis/bin"
"""Where script/agent-clis installs the CLIs in a checkout; an installed wheel has no such folder."""


def declared_variables() -> Mapping[str, tuple[Sequence[str], Sequence[str]]]:
    """What each provider's agents may get of this process's environment: (secrets, other variables) by provider."""
    return {provider.name: (provider.credentials, provider.variables) for provider in DESCRIPTIONS}


def agents_path(environ: Mapping[str, str]) -> str:
    """The PATH of the `process` runtime's agents: a checkout's pinned CLIs, then this process's own PATH."""
    path = environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return f"{CHECKOUT_CLIS}:{path}" if CHECKOUT_CLIS.is_dir() else path


def agent_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the providers' credentials and other variables that are set. Raises SettingsError."""
    return read_agent_variables(environ, credentials=credential_names(), variables=variable_names())
