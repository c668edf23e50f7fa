"""Classifies the error of a failed Codex turn, and adds what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from domain.run.values import RunError
from infrastructure.executor.providers.model_errors import model_error

_STATUS: Mapping[str, int] = {
    "contextWindowExceeded": 413,
    "sessionBudgetExceeded": 429,
    "usageLimitExceeded": 429,
    "rateLimitExceeded": 429,
    "serverOverloaded": 503,
    "flexUnavailable": 503,
    "policyCapacityUnavailable": 503,
    "internalServerError": 500,
    "modelNotFound": 404,
    "unauthorized": 401,
    "badRequest": 400,
    "cyberPolicy": 400,
    "misalignmentPolicyViolation": 400,
}
"""Codex's error code → the HTTP status that it stands for."""


def turn_error(provider: str, credentials: Sequence[str], error: Mapping[str, Any]) -> RunError:
    """The error for a turn's `error` field, or that of an `error` notification."""
    said = str(error.get("message") or "")
    if error.get("additionalDetails"):
        said = f"{said}: {error['additionalDetails']}"
    said, status = _unpacked(said, _status_of(error.get("codexErrorInfo")))
    return model_error(provider, credentials, said, status)


def _status_of(info: Any) -> int | None:
    if isinstance(info, str):
        return _STATUS.get(info)
    if isinstance(info, dict):
        for detail in info.values():
            if isinstance(detail, dict) and isinstance(detail.get("httpStatusCode"), int):
                return int(detail["httpStatusCode"])
    return None


def _unpacked(said: str, status: int | None) -> tuple[str, int | None]:
    """The message of the model API's error body, with its status or else 400, if `said` is such a body."""
    try:
        body = msgspec.json.decode(said)
        return str(body["error"]["message"]), status or 400
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
        return said, status
