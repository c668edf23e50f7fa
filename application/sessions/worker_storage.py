"""The object store as session workers use it through the control plane: with keys of their own, which open what a
session worker may use and nothing else (infrastructure/boto3_store/store_proxy.py serves it)."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from application.sessions.commands import Sessions
from domain.identifiers import worker_token
from domain.workspace.storage import StorageScope, storage_scope

_MARK = "FLW"
_WORKER = re.compile(r"([1-9][0-9]{0,8}):(.{1,120})")
_TRUSTED_S = 10.0
"""How long a session worker may go on after a later generation has replaced it."""
_REMEMBERED = 4096


class WorkerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The S3 keys of one generation of a session's worker. They are derived, never stored, and don't expire: they open
    nothing once the next generation has begun."""

    session_id: str
    generation: int
    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"WorkerKeys({self.session_id}, generation {self.generation}; not shown)"


def worker_keys(secret: bytes, session_id: str, generation: int) -> WorkerKeys:
    name = urlsafe_b64encode(f"{generation}:{session_id}".encode()).decode().rstrip("=")
    return WorkerKeys(
        session_id=session_id,
        generation=generation,
        access_key=f"{_MARK}{name}",
        secret_key=worker_token(secret, session_id, generation, "store"),
    )


class WorkerStorage:
    """Finds what a session worker may use. Whoever asks has verified that a request is signed with its keys: only then
    is the log read."""

    def __init__(self, *, sessions: Sessions, secret: bytes, clock: Callable[[], float]) -> None:
        self._sessions, self._secret, self._clock = sessions, secret, clock
        self._known: OrderedDict[tuple[str, int], tuple[float, StorageScope | None]] = OrderedDict()

    def keys_of(self, access_key: str) -> WorkerKeys | None:
        """The keys that begin with this one; None if it can't be a worker's."""
        name = access_key.removeprefix(_MARK)
        try:
            text = urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except (Base64Error, UnicodeError, ValueError):
            return None
        found = _WORKER.fullmatch(text)
        keys = worker_keys(self._secret, found[2], int(found[1])) if found else None
        return keys if keys is not None and keys.access_key == access_key else None

    async def scope_of(self, keys: WorkerKeys) -> StorageScope | None:
        """None if this generation is not the session's current one."""
        who = (keys.session_id, keys.generation)
        known = self._known.get(who)
        if known is not None and self._clock() - known[0] < _TRUSTED_S:
            return known[1]
        state = (await self._sessions.load(keys.session_id)).state
        current = state is not None and state.generation == keys.generation
        scope = storage_scope(state.workspace_prefix, state.plan) if state is not None and current else None
        self._known[who] = (self._clock(), scope)
        self._known.move_to_end(who)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return scope
