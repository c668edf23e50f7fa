"""The credentials that executors get: with their configuration, and, where they expire, with every call."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from application.executor_protocol import StoreCredentials
from application.ports.object_store import ObjectStoreError
from infrastructure.boto3_store.session import AwsSession
from infrastructure.object_store.location import S3Credentials

_THREADS = 2
_WAIT_S = 10.0
_log = logging.getLogger("fleetlog.object_store")
LearnSecrets = Callable[[Iterable[str]], None]


class PassedOnCredentials:
    """`learn` is told each secret before it is passed on, so that it is kept out of logs. Close it when done."""

    def __init__(self, session: AwsSession, *, learn: LearnSecrets, wait_s: float = _WAIT_S) -> None:
        self._session, self._learn, self._wait_s = session, learn, wait_s
        self._last: S3Credentials | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="aws-credentials")

    def current(self) -> S3Credentials:
        """Those of the moment. Blocks. Raises as AwsSession.current."""
        credentials = self._session.current()
        if credentials != self._last:
            self._learn(credentials.secrets)
            self._last = credentials
        return credentials

    async def header(self) -> str:
        """The value of CREDENTIALS_HEADER; "" when executors have all they need from their configuration. When renewed
        ones can't be had within 10 s, the last ones, which still serve for a while: AWS's chain renews early."""
        last = self._last
        if last is not None and not last.renewed:
            return ""
        try:
            async with asyncio.timeout(self._wait_s):
                last = await asyncio.get_running_loop().run_in_executor(self._threads, self.current)
        except (ObjectStoreError, TimeoutError) as error:
            _log.warning("no renewed credentials for executors: %s", error or f"none within {self._wait_s:g} s")
        if last is None or not last.renewed:
            return ""
        return StoreCredentials(
            access_key=last.access_key, secret_key=last.secret_key, session_token=last.session_token
        ).header()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
