"""What executors get for the object store where it has a security token service (STS): temporary credentials of a role,
which a policy of their own limits to what their session worker may use."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Lock

import msgspec

from application.ports.object_store import ObjectStoreError, ObjectStoreRefused, ObjectStoreUnavailable
from application.store_credentials import StoreCredentials
from domain.identifiers import container_name
from domain.workspace.storage import StorageScope
from infrastructure.boto3_store.session import AwsSession
from infrastructure.object_store.location import S3Credentials

LIFETIME = timedelta(hours=1)
"""The longest that AWS allows where one role assumes another."""
MARGIN = timedelta(minutes=20)
"""That long before their end credentials are replaced: a call brings new ones every minute."""
MAX_POLICY = 2048
"""Characters that AWS allows in a session's policy."""
_THREADS = 4
_WAIT_S = 30.0
_REMEMBERED = 4096
_log = logging.getLogger("fleetlog.object_store")

Who = tuple[str, int, StorageScope]


class _Held(msgspec.Struct, frozen=True):
    credentials: S3Credentials
    until: datetime

    def lasts(self, now: datetime, margin: timedelta) -> bool:
        return now < self.until - margin


class AssumedRoles:
    """`learn` is told each secret before it is passed on, so that it is kept out of logs. Close it when done."""

    def __init__(
        self,
        session: AwsSession,
        *,
        sts_endpoint: str,
        role: str,
        learn: Callable[[Iterable[str]], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = session.sts_client(endpoint=sts_endpoint)
        self._bucket, self._region = session.location.bucket, session.location.region
        self._role, self._learn, self._clock = role, learn, clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sts")
        self._lock = Lock()
        self._held: OrderedDict[Who, _Held] = OrderedDict()
        self._asked: dict[Who, Future[S3Credentials]] = {}

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def current(self, session_id: str, generation: int, scope: StorageScope | None) -> S3Credentials:
        """Those of the moment. Blocks, 30 s at most. Raises ObjectStoreRefused, ObjectStoreUnavailable."""
        who = _who(session_id, generation, scope)
        held = self._lasting(who)
        if held is not None:
            return held
        try:
            return self._ask(who).result(_WAIT_S)
        except TimeoutError as error:
            raise _too_late() from error

    async def headers(self, session_id: str, generation: int, scope: StorageScope | None) -> dict[str, str]:
        """For a call to this worker's executor. While no new credentials can be had, the last ones, as long as they
        serve."""
        who = _who(session_id, generation, scope)
        given = self._lasting(who)
        if given is None:
            try:
                async with asyncio.timeout(_WAIT_S):
                    given = await asyncio.shield(asyncio.wrap_future(self._ask(who)))
            except (ObjectStoreError, TimeoutError) as error:
                _log.warning("no new credentials for session %s: %s", session_id, error or _too_late())
                given = self._lasting(who, timedelta(0))
        if given is None:
            return {}
        return StoreCredentials(
            access_key=given.access_key, secret_key=given.secret_key, session_token=given.session_token
        ).headers()

    def _lasting(self, who: Who, margin: timedelta = MARGIN) -> S3Credentials | None:
        with self._lock:
            held = self._held.get(who)
        return held.credentials if held is not None and held.lasts(self._clock(), margin) else None

    def _ask(self, who: Who) -> Future[S3Credentials]:
        """One request for all who wait for the same."""
        with self._lock:
            under_way = self._asked.get(who)
            if under_way is None:
                under_way = self._asked[who] = self._threads.submit(self._assume, who)
                under_way.add_done_callback(lambda _: self._asked.pop(who, None))
        return under_way

    def _assume(self, who: Who) -> S3Credentials:
        from botocore.exceptions import BotoCoreError, ClientError

        from infrastructure.boto3_store.errors import judged

        session_id, generation, scope = who
        policy = session_policy(self._bucket, self._region, scope)
        doing = f"credentials of {self._role} for session {session_id}"
        try:
            answer = self._client.assume_role(
                RoleArn=self._role,
                RoleSessionName=f"fleetlog-{container_name(session_id, generation)}",
                Policy=policy,
                DurationSeconds=int(LIFETIME.total_seconds()),
            )
        except (BotoCoreError, ClientError) as error:
            raise judged(error, doing, "") or ObjectStoreUnavailable(f"{doing} can't be had now: {error}") from error
        given = answer["Credentials"]
        credentials = S3Credentials(
            access_key=given["AccessKeyId"],
            secret_key=given["SecretAccessKey"],
            session_token=given["SessionToken"],
            renewed=True,
        )
        self._learn(credentials.secrets)
        with self._lock:
            self._held[who] = _Held(credentials, given["Expiration"])
            self._held.move_to_end(who)
            if len(self._held) > _REMEMBERED:
                self._held.popitem(last=False)
        return credentials


def session_policy(bucket: str, region: str, scope: StorageScope) -> str:
    """What is left of the role's rights: read and write the session's own prefix, read its layers, list both; delete
    nothing. Raises ObjectStoreRefused when it is longer than AWS allows."""
    bucket_name = f"arn:{'aws-cn' if region.startswith('cn-') else 'aws'}:s3:::{bucket}"
    own = f"{_literal(scope.own)}*"
    layers = [f"{_literal(layer)}*" for layer in scope.layers]
    listed = {"StringLike": {"s3:prefix": [own, *layers]}}
    writing = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    statements = [
        {"Effect": "Allow", "Action": writing, "Resource": f"{bucket_name}/{own}"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_name, "Condition": listed},
    ]
    if layers:
        reading = [f"{bucket_name}/{layer}" for layer in layers]
        statements.append({"Effect": "Allow", "Action": "s3:GetObject", "Resource": reading})
    policy = msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()
    if len(policy) > MAX_POLICY:
        raise ObjectStoreRefused(
            f"the policy for {scope.own} has {len(policy)} characters, {MAX_POLICY} are allowed: use shorter ids, a "
            "shorter workspaceTemplatePrefix, or no S3_WORKER_ROLE_ARN"
        )
    return policy


def _literal(prefix: str) -> str:
    """A prefix without wildcards in a policy's sense."""
    return "".join(f"${{{each}}}" if each in "*?$" else each for each in prefix)


def _who(session_id: str, generation: int, scope: StorageScope | None) -> Who:
    if scope is None:
        raise ObjectStoreRefused(f"it is not known what session {session_id} may use of the object store")
    return session_id, generation, scope


def _too_late() -> ObjectStoreUnavailable:
    return ObjectStoreUnavailable(f"credentials did not come from the token service within {_WAIT_S:g} s")
