"""What executors get for the object store where the control plane serves it to them (store_proxy.py): keys of their
own, and this process's address."""

from collections.abc import Callable, Iterable

from application.sessions.worker_storage import worker_keys
from application.store_credentials import StoreCredentials
from domain.workspace.storage import StorageScope
from infrastructure.object_store.location import S3Credentials


class ProxyKeys:
    """`address`: the URL at which session workers reach the proxy of this process, "" while it does not serve. `learn`
    is told each key before it is passed on, so that it is kept out of logs."""

    def __init__(self, secret: bytes, *, address: Callable[[], str], learn: Callable[[Iterable[str]], None]) -> None:
        self._secret, self._address, self._learn = secret, address, learn

    @property
    def endpoint(self) -> str:
        return self._address()

    def current(self, session_id: str, generation: int, scope: StorageScope | None) -> S3Credentials:  # noqa: ARG002  the proxy looks it up
        keys = worker_keys(self._secret, session_id, generation)
        self._learn([keys.secret_key])
        return S3Credentials(access_key=keys.access_key, secret_key=keys.secret_key)

    async def headers(self, session_id: str, generation: int, scope: StorageScope | None) -> dict[str, str]:
        """For a call to this worker's executor; none while the proxy does not serve."""
        endpoint = self._address()
        if not endpoint:
            return {}
        keys = self.current(session_id, generation, scope)
        given = StoreCredentials(access_key=keys.access_key, secret_key=keys.secret_key, endpoint=endpoint)
        return given.headers()
