"""Makes the settings of an environment, and refuses what is unknown, malformed or contradicts itself."""

import difflib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from interfaces import setting_values as values
from interfaces.settings import OF_THE_LIBRARY, OWN_PREFIX, Settings, SettingsError, declarations


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` gives; an empty value counts as not set.

    Raises SettingsError for an unknown `FLEETLOG_*` variable, a malformed value, and values that contradict each
    other. Its message never contains the value of a secret.
    """
    known = declarations()
    _refuse_unknown(environ, [declaration.variable for declaration in known.values()])
    chosen: dict[str, Any] = {}
    for field, declaration in known.items():
        text = environ.get(declaration.variable, "").strip()
        if text:
            try:
                chosen[field] = declaration.read(text)
            except ValueError as error:
                raise SettingsError(declaration.variable, str(error)) from None
    settings = Settings(**chosen)
    _refuse_contradictions(settings)
    return settings


def _refuse_unknown(environ: Mapping[str, str], variables: list[str]) -> None:
    for variable in sorted(environ):
        if variable.startswith(OWN_PREFIX) and variable not in variables and variable not in OF_THE_LIBRARY:
            own = [name for name in variables if name.startswith(OWN_PREFIX)]
            close = difflib.get_close_matches(variable, own, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(own)}."
            raise SettingsError(variable, f"there is no such setting; {hint}")


def _refuse_contradictions(settings: Settings) -> None:
    if not settings.api_keys and not values.is_loopback(settings.host):
        raise SettingsError(
            "FLEETLOG_HOST",
            f"`{settings.host}` can be reached from other machines, and no FLEETLOG_API_KEYS are set, so anyone there "
            "could run code here. Set FLEETLOG_API_KEYS, or listen on 127.0.0.1.",
        )
    if settings.allowed_origins and not settings.api_keys:
        raise SettingsError(
            "FLEETLOG_ALLOWED_ORIGINS",
            "pages of other origins need an API key, and no FLEETLOG_API_KEYS are set: without keys any such page "
            "could run code here. Set FLEETLOG_API_KEYS, or allow no origins.",
        )
    if settings.database_url is not None and settings.secret is None:
        raise SettingsError(
            "FLEETLOG_SECRET",
            "it is required with DATABASE_URL, because every process on one database needs the same. "
            "Make one with `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`.",
        )
    if settings.executor_base_url is not None and settings.executor_auth_token is None:
        raise SettingsError("EXECUTOR_AUTH_TOKEN", "it is required with EXECUTOR_BASE_URL.")
    if not settings.embedded_object_store:
        _refuse_half_credentials(settings)
    _refuse_useless_role(settings)
    if settings.worker_runtime == "docker" and settings.worker_network is not None and settings.worker_egress != "open":
        raise SettingsError(
            "FLEETLOG_WORKER_EGRESS",
            f"`{settings.worker_egress}` can't be enforced in WORKER_NETWORK={settings.worker_network}, a network of "
            "your own: limit that yourself, and set FLEETLOG_WORKER_EGRESS=open.",
        )


def _refuse_half_credentials(settings: Settings) -> None:
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    if secret is None and (key or settings.aws_session_token):
        raise SettingsError("AWS_SECRET_ACCESS_KEY", "it is required with AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN.")
    if key is None and secret:
        raise SettingsError("AWS_ACCESS_KEY_ID", "it is required with AWS_SECRET_ACCESS_KEY.")


def _refuse_useless_role(settings: Settings) -> None:
    if settings.s3_worker_role_arn is None:
        if settings.s3_sts_endpoint is not None:
            raise SettingsError("S3_WORKER_ROLE_ARN", "it is required with S3_STS_ENDPOINT.")
        return
    if settings.embedded_object_store:
        raise SettingsError("S3_WORKER_ROLE_ARN", "the embedded S3 server has no token service; name an S3_ENDPOINT.")
    in_docker = settings.worker_runtime == "docker"
    if settings.s3_endpoint and in_docker and values.is_loopback(urlsplit(settings.s3_endpoint).hostname or ""):
        raise SettingsError(
            "S3_ENDPOINT",
            f"`{settings.s3_endpoint}` means the container itself inside a container (WORKER_RUNTIME=docker); "
            "name an address at which both this process and containers reach the server, or no S3_WORKER_ROLE_ARN.",
        )
