"""What executors get for the object store where nothing narrower is to be had: the installation's own credentials, with
their configuration, and, where they expire, with calls."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from application.ports.object_store import ObjectStoreError
from application.store_credentials import StoreCredentials
from infrastructure.boto3_store.session import AwsSession
from infrastructure.object_store.location import S3Credentials

_WAIT_S = 10.0
_log = logging.getLogger("fleetlog.object_store")
LearnSecrets = Callable[[Iterable[str]], None]


class PassedOnCredentials:
    """`learn` is told each secret before it is passed on, so that it is kept out of logs."""

    def __init__(self, session: AwsSession, *, learn: LearnSecrets, wait_s: float = _WAIT_S) -> None:
        self._session, self._learn, self._wait_s = session, learn, wait_s
        self._last: S3Credentials | None = None

    def current(self, *_: object) -> S3Credentials:
        """Those of the moment, the same for all session workers. Blocks and raises as AwsSession.current."""
        return self._taken(self._session.current())

    def _taken(self, credentials: S3Credentials) -> S3Credentials:
        if credentials != self._last:
            self._learn(credentials.secrets)
            self._last = credentials
        return credentials

    async def headers(self, *_: object) -> dict[str, str]:
        """For a call to an executor; none when they have all they need from their configuration. When renewed ones
        can't be had within 10 s, the last ones, which still serve for a while: AWS's chain renews early."""
        last = self._last
        if last is not None and not last.renewed:
            return {}
        try:
            async with asyncio.timeout(self._wait_s):
                last = self._taken(await self._session.arrival())
        except (ObjectStoreError, TimeoutError) as error:
            _log.warning("no renewed credentials for executors: %s", error or f"none within {self._wait_s:g} s")
        if last is None or not last.renewed:
            return {}
        return StoreCredentials(
            access_key=last.access_key, secret_key=last.secret_key, session_token=last.session_token
        ).headers()
