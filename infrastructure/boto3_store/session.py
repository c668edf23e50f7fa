"""Where the control plane's S3 credentials come from: the settings, else AWS's chain as boto3 follows it (environment,
profiles, SSO, processes, web identity, container and instance roles)."""

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from application.ports.object_store import ObjectStoreError, ObjectStoreRefused, ObjectStoreUnavailable
from infrastructure.boto3_store.shared_fetch import SharedFetch
from infrastructure.object_store.attempts import CONNECT_S, READ_S
from infrastructure.object_store.location import S3Credentials, S3Location

DEFAULT_REGION = "us-east-1"
CREDENTIALS_S = 30.0
"""Seconds that a source of credentials may take."""
_STS_READ_S = 10.0
_OF_NO_FILE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
_WITH_AWS_REGION = {"region": ("region", ["AWS_DEFAULT_REGION", "AWS_REGION"], None, None)}
"""AWS_REGION is what AWS sets in containers and functions; botocore alone does not read it."""


class NoCredentials(ObjectStoreRefused):
    """Neither the settings nor AWS's chain have credentials."""


class AwsSession:
    """Credentials for `location`: its own, if it has an access key, and then no profile or configuration file of AWS's
    is read; else those of AWS's chain, which are looked for once, and renewed before they expire within the call that
    needs them. A source that hangs keeps nobody longer than `timeout_s`, and the end of the process not at all. Loads
    boto3. Safe to use from many threads. Raises ObjectStoreRefused for an unknown profile."""

    def __init__(self, location: S3Location, *, timeout_s: float = CREDENTIALS_S) -> None:
        import boto3
        import botocore.session
        from botocore.exceptions import BotoCoreError

        self.location = location
        self._timeout_s = timeout_s
        self._source = "the settings" if location.access_key else ""
        self._shared = SharedFetch(self._fetch, thread_name="aws-credentials")
        self._found: Any = None
        self._last: S3Credentials | None = None
        self._learn: Callable[[Iterable[str]], None] | None = None
        own = location.access_key != ""
        try:
            self._session: boto3.session.Session = boto3.session.Session(
                aws_access_key_id=location.access_key if own else None,
                aws_secret_access_key=location.secret_key if own else None,
                aws_session_token=location.session_token or None if own else None,
                region_name=location.region,
                botocore_session=botocore.session.Session(session_vars=_OF_NO_FILE if own else None),
            )
        except BotoCoreError as error:
            raise _unusable_configuration(error) from error

    def tell(self, learn: Callable[[Iterable[str]], None]) -> None:
        """From now on `learn` is told the secrets of credentials that are fetched, before anybody uses them, so that
        they are kept out of logs; and at once those that are known."""
        self._learn = learn
        known = self.location.credentials if self.location.access_key else self._last
        if known is not None:
            learn(known.secrets)

    def current(self) -> S3Credentials:
        """The credentials to use now. Blocks, `timeout_s` at most. Raises NoCredentials, ObjectStoreRefused,
        ObjectStoreUnavailable."""
        if (known := self._known()) is not None:
            return known
        try:
            return self._shared.begin().result(self._timeout_s)
        except TimeoutError as error:
            raise self._too_late() from error

    async def arrival(self) -> S3Credentials:
        """As `current`, without a thread that waits, so that it can be cancelled at any time."""
        if (known := self._known()) is not None:
            return known
        pending: Future[S3Credentials] = self._shared.begin()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(pending)
        except TimeoutError as error:
            raise self._too_late() from error

    @property
    def source(self) -> str:
        """Where the credentials are from: the settings, or the part of AWS's chain in boto3's words. "" before the
        first ones have come."""
        return self._source

    def _known(self) -> S3Credentials | None:
        """Those that can be had without asking a source."""
        if self.location.access_key:
            return self.location.credentials
        found, last = self._found, self._last
        if found is None or (last is not None and last.renewed and found.refresh_needed()):
            return None
        return last

    def _fetch(self) -> S3Credentials:
        from botocore.credentials import RefreshableCredentials

        try:
            found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found is not None else None
        except Exception as error:
            raise _unusable(error) from error
        if found is None or frozen is None or not frozen.access_key:
            raise NoCredentials(
                "there are no AWS credentials: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a profile "
                "(AWS_PROFILE), a web identity, a container's or an instance's role"
            )
        self._source = f"AWS's chain ({found.method})"
        fetched = S3Credentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            session_token=frozen.token or "",
            renewed=isinstance(found, RefreshableCredentials),
        )
        if self._learn is not None and fetched != self._last:
            self._learn(fetched.secrets)
        self._last, self._found = fetched, found
        return fetched

    def _signing_session(self) -> Any:
        """A session whose clients sign with `current`, so that a source that hangs doesn't keep their callers."""
        import boto3
        import botocore.session

        if self.location.access_key:
            return self._session
        signing = botocore.session.Session()
        signing.register_component("credential_provider", _CurrentCredentials(self))
        return boto3.session.Session(region_name=self.location.region, botocore_session=signing)

    def _too_late(self) -> ObjectStoreUnavailable:
        return ObjectStoreUnavailable(
            f"AWS credentials did not come within {self._timeout_s:g} s; a credential_process must end by itself"
        )

    def s3_client(self, *, connections: int) -> Any:
        """A client of S3 that does not repeat calls. With an endpoint, it uses no proxy of the environment, as
        executors don't. Raises ObjectStoreRefused for a region or a variable of AWS's that makes no sense."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        with_endpoint = self.location.endpoint != ""
        try:
            return self._signing_session().client(
                "s3",
                endpoint_url=self.location.endpoint or None,
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=CONNECT_S,
                    read_timeout=READ_S,
                    max_pool_connections=connections,
                    retries={"mode": "standard", "total_max_attempts": 1},
                    s3={"addressing_style": "path" if with_endpoint else "auto"},
                    proxies={} if with_endpoint else None,
                    # Not every S3 server takes AWS's newer checksums; Content-MD5 goes with every upload instead.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    ignore_configured_endpoint_urls=True,  # executors would not follow them
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise _unusable_configuration(error) from error

    def sts_client(self, *, endpoint: str) -> Any:
        """A client of a security token service; AWS's own where `endpoint` is empty. Raises as `s3_client`."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            return self._signing_session().client(
                "sts",
                endpoint_url=endpoint or None,
                config=Config(
                    connect_timeout=CONNECT_S,
                    read_timeout=_STS_READ_S,
                    retries={"mode": "standard", "total_max_attempts": 2},
                    proxies={} if endpoint else None,
                    ignore_configured_endpoint_urls=endpoint != "",
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise _unusable_configuration(error) from error


class _CurrentCredentials:
    """In the place of botocore's chain of providers and of what that finds."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    def load_credentials(self) -> "_CurrentCredentials":
        return self

    def get_frozen_credentials(self) -> Any:
        from botocore.credentials import ReadOnlyCredentials

        now = self._session.current()
        return ReadOnlyCredentials(now.access_key, now.secret_key, now.session_token or None)

    def get_deferred_property(self, _: str) -> Any:
        return lambda: None


def region_of_chain() -> str:
    """The region that AWS's chain names (AWS_DEFAULT_REGION, AWS_REGION, the profile), else us-east-1. Loads
    botocore."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        chain = botocore.session.Session(session_vars=_WITH_AWS_REGION)
        return chain.get_config_variable("region") or DEFAULT_REGION
    except BotoCoreError:  # an unknown profile: whoever needs its credentials says so
        return DEFAULT_REGION


def _unusable_configuration(error: Exception) -> ObjectStoreRefused:
    return ObjectStoreRefused(f"AWS's configuration can't be used: {error}")


def _unusable(error: Exception) -> ObjectStoreError:
    """What a failed look for credentials means. AWS's chain also raises what its sources do: of a file that is missing,
    of a process that prints no JSON, of credentials that are renewed and expired already."""
    from botocore.exceptions import BotoCoreError, ClientError

    from infrastructure.boto3_store.errors import judged

    if isinstance(error, BotoCoreError | ClientError):
        verdict = judged(error, "to give AWS credentials", "")
        return verdict or ObjectStoreUnavailable(f"AWS credentials can't be had now: {error}")
    said = f"AWS's chain: {type(error).__name__}: {error}"
    return ObjectStoreUnavailable(said) if isinstance(error, OSError | RuntimeError) else ObjectStoreRefused(said)
