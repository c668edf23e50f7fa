"""Classifies opencode's errors, and adds what to do."""

from collections.abc import Sequence
from typing import Any

from domain.run.values import RunError
from infrastructure.executor.providers.model_errors import model_error
from infrastructure.executor.providers.opencode.server import OpencodeRefused

_STATUS = {"ProviderAuthError": 401, "ContextOverflowError": 413, "ContentFilterError": 400,
           "MessageOutputLengthError": 400, "StructuredOutputError": 400}  # fmt: skip
_HINTS = {
    "MessageOutputLengthError": "the answer exceeded the model's output limit (providerOptions.modelConfig.limit)",
    "ContentFilterError": "the model's content filter refused the answer",
}


def error_of(provider: str, credentials: Sequence[str], error: dict[str, Any]) -> RunError:
    """The error for a conversation's error `{name, data: {message, statusCode?, isRetryable?}}`."""
    name, data = str(error.get("name", "")), error.get("data") or {}
    said = str(data.get("message") or _HINTS.get(name) or name).partition("\n    at ")[0]
    if name == "MessageAbortedError":
        return RunError(error_class="cli_crashed", message="the turn was aborted inside opencode; start the run again")
    if said.startswith("Agent not found"):
        return RunError(error_class="bad_input", message=f"{said}: mend providerOptions.agent")
    status = data.get("statusCode", _STATUS.get(name))
    if status is None and data.get("isRetryable"):
        return retry_error(provider, credentials, said)
    return model_error(provider, credentials, said, status)


def retry_error(provider: str, credentials: Sequence[str], said: str) -> RunError:
    """The error for a model request that failed after all retries; opencode only retries transient errors."""
    found = model_error(provider, credentials, said)
    return found if found.error_class != "protocol" else model_error(provider, credentials, said, 503)


def never_ending(provider: str, credentials: Sequence[str], *, spoke: bool) -> RunError:
    """The error for model answers that end without a `finish_reason`; `spoke`: they had text."""
    if spoke:
        return model_error(provider, credentials, "the stream of the answer broke off without a finish_reason")
    return model_error(provider, credentials, "malformed: what came was no answer, and had no finish_reason")


def refusal(provider: str, credentials: Sequence[str], refused: OpencodeRefused) -> RunError:
    """The error for a request that opencode's server refused."""
    if refused.name == "ConfigInvalidError":
        message = f"opencode refuses its configuration: {refused}; mend providerOptions, or opencode.json"
        return RunError(error_class="bad_input", message=message)
    if refused.name == "NotFoundError":
        message = f"{refused}: start the run without resumeSessionId, or in the session in which it was made"
        return RunError(error_class="bad_input", message=message)
    if refused.status >= 500 or refused.status == 401:
        return RunError(error_class="cli_crashed", message=f"opencode failed: {refused}; start the run again")
    return model_error(provider, credentials, str(refused))
