"""The environment variables that agents get from this process: credentials of their models, and others they declare."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from interfaces.settings import SettingsError


def read_agent_variables(
    environ: Mapping[str, str], *, credentials: Iterable[str], variables: Iterable[str]
) -> dict[str, str]:
    """Values by name: of the `variables` that are set, and of the `credentials` that are set or whose `{NAME}_FILE`
    names a file with the value. Raises SettingsError for a file that can't be read."""
    found = {name: environ[name] for name in variables if environ.get(name)}
    for name in credentials:
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
