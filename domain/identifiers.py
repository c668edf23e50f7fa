"""Ids that callers choose, the names derived from them, and where a session's workspace lives in the object store."""

import hashlib
import hmac
import re

from domain.errors import InvalidInput

DEFAULT_TENANT = "default"
DEFAULT_PROJECT = "default"
DEFAULT_APP = "default"
RESERVED = {
    "userLoginName": frozenset({"kb"}),
    "runId": frozenset({"drain", "enqueue", "queue", "restore-plan", "start"}),
    "sessionId": frozenset({"cleanup"}),
}
"""By field, the words that stand in the place of such a name: `kb` beside users in the object store
(`app/{app}/project/{project}/kb/`), the others beside ids in the API's paths (`/api/runs/start`)."""
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}")


def check_id(field: str, value: str) -> str:
    """`value`, if it is a valid id. Raises InvalidInput for `field` otherwise."""
    if not _ALLOWED.fullmatch(value):
        raise InvalidInput(
            field,
            f"{value[:140]!r} must start with a letter or digit and hold only letters, digits and . _ : @ -, "
            "120 characters at most",
        )
    return value


def is_reserved(field: str, value: str) -> bool:
    """Whether nothing new may have this name; what has it already goes on."""
    return value in RESERVED.get(field, ())


def check_new_id(field: str, value: str) -> str:
    """As check_id, of something new. Raises InvalidInput also for a reserved name."""
    check_id(field, value)
    if is_reserved(field, value):
        raise InvalidInput(field, f"{value!r} is reserved, because a fixed path has this name; choose another")
    return value


def session_stream(session_id: str) -> str:
    return f"session:{session_id}"


def run_stream(run_id: str) -> str:
    return f"run:{run_id}"


def unmatched_stream(run_id: str) -> str:
    return f"unmatched:{run_id}"


def workspace_prefix(app_id: str, project_name: str, user_login_name: str, session_id: str) -> str:
    """The key prefix of a session's workspace, without a trailing slash."""
    return f"app/{app_id}/project/{project_name}/{user_login_name}/session/{session_id}/workspace"


_OF_A_USER = ("app", None, "project", None, None)
"""The parts of the prefix that holds a user's sessions and files in a project; None stands for any id."""


def holds_what_is_a_users(prefix: str) -> bool:
    """Whether a key prefix lies in, or above, a user's sessions or files: whoever reads it would read those."""
    parts = prefix.rstrip("/").split("/")
    if any(fixed not in {None, part} for part, fixed in zip(parts, _OF_A_USER, strict=False)):
        return False
    if parts[4:] == ["kb"]:  # a project's knowledge, which lies where a user of that name would
        return False
    return len(parts) <= len(_OF_A_USER) or parts[len(_OF_A_USER)] in {"session", "files"}


def short_hash(session_id: str, tenant: str = DEFAULT_TENANT) -> str:
    """Twelve hex digits that name a session's containers and folders."""
    return hashlib.sha256(f"{tenant}\0{session_id}".encode()).hexdigest()[:12]


def container_name(session_id: str, generation: int) -> str:
    """The name of one generation of a session's worker: `{short hash}-g{generation}`."""
    return f"{short_hash(session_id)}-g{generation}"


def worker_token(secret: bytes, session_id: str, generation: int, purpose: str) -> str:
    """The bearer token of one generation of a session's worker; derived, never stored. `purpose` is `executor` or
    `callback`, so that the agent's token for callbacks opens nothing else."""
    message = f"{purpose}\0{DEFAULT_TENANT}\0{session_id}\0{generation}".encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
