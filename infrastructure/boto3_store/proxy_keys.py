"""What executors get for the object store where the control plane serves it to them (store_proxy.py): keys of their
own, and this process's address."""

from collections.abc import Callable

from application.sessions.worker_storage import worker_keys
from application.store_credentials import StoreCredentials
from domain.workspace.storage import StorageScope
from infrastructure.object_store.location import S3Credentials


class ProxyKeys:
    """`address`: the URL at which session workers reach the proxy of this process, "" while it does not serve. The keys
    are not told to the redactor of this process, which remembers few secrets: like the tokens of executors, each is
    known to its own executor, which keeps it out of what its agents report."""

    def __init__(self, secret: bytes, *, address: Callable[[], str]) -> None:
        self._secret, self._address = secret, address

    @property
    def endpoint(self) -> str:
        return self._address()

    def current(self, session_id: str, generation: int, scope: StorageScope | None) -> S3Credentials:  # noqa: ARG002  the proxy looks it up
        keys = worker_keys(self._secret, session_id, generation)
        return S3Credentials(access_key=keys.access_key, secret_key=keys.secret_key)

    async def headers(self, session_id: str, generation: int, scope: StorageScope | None) -> dict[str, str]:
        """For a call to this worker's executor; none while the proxy does not serve."""
        endpoint = self._address()
        if not endpoint:
            return {}
        keys = self.current(session_id, generation, scope)
        given = StoreCredentials(access_key=keys.access_key, secret_key=keys.secret_key, endpoint=endpoint)
        return given.headers()
