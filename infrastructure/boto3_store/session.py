"""Where the control plane's S3 credentials come from: the settings, else AWS's chain as boto3 follows it (environment,
profiles, SSO, processes, web identity, container and instance roles)."""

from typing import Any

from application.ports.object_store import ObjectStoreError, ObjectStoreRefused, ObjectStoreUnavailable
from infrastructure.object_store.attempts import CONNECT_S, READ_S
from infrastructure.object_store.location import S3Credentials, S3Location

DEFAULT_REGION = "us-east-1"


class NoCredentials(ObjectStoreRefused):
    """Neither the settings nor AWS's chain have credentials."""


class AwsSession:
    """Credentials for `location`: its own, if it has an access key; else those of AWS's chain, which are looked for
    once, and renewed before they expire within the call that needs them. Loads boto3. Safe to use from many threads.
    Raises ObjectStoreRefused for an unknown profile."""

    def __init__(self, location: S3Location) -> None:
        import boto3
        from botocore.exceptions import BotoCoreError

        self.location = location
        own = location.access_key != ""
        try:
            self._session: boto3.session.Session = boto3.session.Session(
                aws_access_key_id=location.access_key if own else None,
                aws_secret_access_key=location.secret_key if own else None,
                aws_session_token=location.session_token or None if own else None,
                region_name=location.region,
            )
        except BotoCoreError as error:
            raise ObjectStoreRefused(f"AWS's configuration can't be used: {error}") from error

    def current(self) -> S3Credentials:
        """The credentials to use now. Blocks, for as long as a source takes that has to be asked. Raises NoCredentials,
        ObjectStoreRefused, ObjectStoreUnavailable."""
        from botocore.credentials import RefreshableCredentials
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found is not None else None
        except (BotoCoreError, ClientError) as error:
            raise self._unusable(error) from error
        if frozen is None or not frozen.access_key:
            raise NoCredentials(
                "there are no AWS credentials: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a profile "
                "(AWS_PROFILE), a web identity, a container's or an instance's role"
            )
        return S3Credentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            session_token=frozen.token or "",
            renewed=isinstance(found, RefreshableCredentials),
        )

    @property
    def source(self) -> str:
        """Where the credentials are from: the settings, or the part of AWS's chain in boto3's words. Blocks."""
        if self.location.access_key:
            return "the settings"
        found = self._session.get_credentials()
        return f"AWS's chain ({found.method})" if found is not None else "nobody"

    def s3_client(self, *, connections: int) -> Any:
        """A client of S3 that does not repeat calls. With an endpoint, it uses no proxy of the environment, as
        executors don't."""
        from botocore.config import Config

        with_endpoint = self.location.endpoint != ""
        return self._session.client(
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

    def _unusable(self, error: Exception) -> ObjectStoreError:
        from infrastructure.boto3_store.errors import judged

        verdict = judged(error, "to give AWS credentials", "")
        return verdict or ObjectStoreUnavailable(f"AWS credentials can't be had now: {error}")


def region_of_chain() -> str:
    """The region that AWS's chain names (AWS_DEFAULT_REGION, the profile), else us-east-1. Loads botocore."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        return botocore.session.get_session().get_config_variable("region") or DEFAULT_REGION
    except BotoCoreError:  # an unknown profile: whoever needs its credentials says so
        return DEFAULT_REGION
