"""The settings that Claude Code is started with: a run's own, and the model's address, which is the installation's."""

import re
from collections.abc import Mapping
from typing import Any

from domain.errors import InvalidInput

BASE_URL = "ANTHROPIC_BASE_URL"
_DEFAULT_BASE_URL = "https://api.anthropic.com"
_OURS = re.compile(
    r"ANTHROPIC_(?!(\w+_)?MODEL(_\w+)?$)\w+"
    r"|CLAUDE_CODE_(USE|SKIP)_\w+|CLAUDE_CODE_(\w+_)?(TOKEN|KEY|URL|CERT|PASSPHRASE|FILE_DESCRIPTOR)|CLAUDE_CONFIG_DIR"
    r"|(AWS|GOOGLE|VERTEX|AZURE)_\w+|(ALL|HTTP|HTTPS|NO)_PROXY"
    r"|(NODE|BUN)_(EXTRA_CA_CERTS|TLS_REJECT_UNAUTHORIZED|OPTIONS)|SSL_CERT_(FILE|DIR)",
    re.IGNORECASE,
)
"""Variables that decide where the model's credentials go, whether that is verified, or which they are."""
_HELPERS = frozenset({"apiKeyHelper", "awsAuthRefresh", "awsCredentialExport", "gcpAuthRefresh", "proxyAuthHelper"})


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises InvalidInput for what the installation alone decides."""
    field = "providerOptions.settings"
    for name in settings:
        if name in _HELPERS:
            raise InvalidInput(f"{field}.{name}", "the installation sets the model's credentials, not a run")
    variables = settings.get("env", {})
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise InvalidInput(f"{field}.env", "must be an object of strings")
    for name in variables:
        if _OURS.fullmatch(name):
            message = "decides about the model's address or credentials; the installation sets those, not a run"
            raise InvalidInput(f"{field}.env.{name}", message)


def settings_with_address(settings: Mapping[str, Any] | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """The run's settings with the address of the model's API. It is said here because a workspace's own settings may
    name another, to which Claude Code would send the credentials; these here go before those."""
    own = dict(settings or {})
    return {**own, "env": {**own.get("env", {}), BASE_URL: environment.get(BASE_URL) or _DEFAULT_BASE_URL}}
