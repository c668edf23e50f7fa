"""The address of a bucket and the credentials for it."""

from urllib.parse import urlsplit

import msgspec


class S3Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Temporary ones have a `session_token`, sent with each request. `renewed`: whoever gave them has others before
    they expire."""

    access_key: str
    secret_key: str
    session_token: str = ""
    renewed: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in logs."""
        return tuple(secret for secret in (self.secret_key, self.session_token) if secret)

    def __repr__(self) -> str:
        return "S3Credentials(not shown)"


class S3Location(msgspec.Struct, frozen=True, kw_only=True):
    """With an `endpoint`, objects are addressed by path (`{endpoint}/{bucket}/{key}`). An empty one means AWS, where
    the bucket is part of the host name unless it holds a dot. Without an `access_key` the location says only where the
    bucket is, and whoever uses it has the credentials from elsewhere."""

    endpoint: str
    bucket: str
    region: str
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""

    @property
    def credentials(self) -> S3Credentials:
        return S3Credentials(access_key=self.access_key, secret_key=self.secret_key, session_token=self.session_token)

    @property
    def server(self) -> str:
        """The URL of the S3 server; AWS's own where there is no endpoint."""
        if self.endpoint:
            return self.endpoint
        return f"https://s3.{self.region}.{'amazonaws.com.cn' if self.region.startswith('cn-') else 'amazonaws.com'}"

    @property
    def port(self) -> int:
        """That of the endpoint, 0 if it names none."""
        return urlsplit(self.endpoint).port or 0

    @property
    def bucket_url(self) -> str:
        """The URL to which a slash and a key are appended."""
        if self.endpoint or "." in self.bucket:
            return f"{self.server.rstrip('/')}/{self.bucket}"
        return self.server.replace("://", f"://{self.bucket}.", 1)

    @property
    def address(self) -> str:
        """The server and the bucket, for people."""
        return f"{self.server}/{self.bucket}"

    def __repr__(self) -> str:
        return f"S3Location({self.endpoint}/{self.bucket})"  # without the keys: a location may be logged
