"""A session worker uses its own prefix and its layers of the object store, and nothing else, however it asks: with
credentials of a role, which SeaweedFS's token service limits, and through the store proxy, in front of each server."""

from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from application.ports.object_store import ObjectMissing, ObjectStoreError, ObjectStoreRefused, ObjectStoreUnavailable
from application.store_credentials import CREDENTIALS_HEADER, STORE_HEADER, StoreCredentials
from domain.workspace.storage import StorageScope
from infrastructure.boto3_store import store_proxy, worker_usage
from infrastructure.boto3_store.assumed_role import LIFETIME, MARGIN, AssumedRoles, session_policy
from infrastructure.boto3_store.proxy_keys import ProxyKeys
from infrastructure.boto3_store.session import AwsSession
from infrastructure.object_store.s3 import S3ObjectStore
from tests.support.async_run import run
from tests.support.object_stores import ROLE, location_of
from tests.support.served_proxy import SECRET, ServedProxy

OWN, OTHER, LAYER = "app/a/session/s1/workspace/", "app/a/session/s2/workspace/", "templates/t/"
SCOPE = StorageScope(own=OWN, layers=(LAYER,))
PART = b"x" * 5 * 1024 * 1024


@pytest.fixture(scope="module")
def servers(rclone, seaweedfs):
    return {"rclone": rclone, "seaweedfs": seaweedfs}


def new_bucket(server):
    return location_of(server, server.create_bucket())


@contextmanager
def as_worker(location, credentials, endpoint=""):
    """The executor's client with what its session worker was given."""
    given = msgspec.structs.replace(
        location, endpoint=endpoint or location.endpoint, access_key=credentials.access_key,
        secret_key=credentials.secret_key, session_token=credentials.session_token,
    )  # fmt: skip
    with closing(S3ObjectStore(given, retry_delay_s=0.01)) as store:
        yield store


def roles(location, server, **options):
    return AssumedRoles(
        AwsSession(location),
        sts_endpoint=server.endpoint,
        role=ROLE,
        learn=options.pop("learn", lambda _: None),
        **options,
    )


@pytest.fixture(scope="module", params=["role", "proxy of rclone", "proxy of seaweedfs"])
def given(request, servers):
    """What a worker was given (`worker`), beside the installation's own view (`store`) of a bucket with objects."""
    kind, _, name = request.param.partition(" of ")
    server = servers[name or "seaweedfs"]
    location = new_bucket(server)
    with ExitStack() as stack:
        store = stack.enter_context(closing(S3ObjectStore(location)))
        for key in (f"{OWN}a", f"{OTHER}a", f"{LAYER}a", "templates/tx/a"):
            store.put(key, key.encode(), metadata={"mode": "644"})
        if kind == "role":
            assumed = stack.enter_context(closing(roles(location, server)))
            worker = stack.enter_context(as_worker(location, assumed.current("s1", 3, SCOPE)))
        else:
            proxy = stack.enter_context(ServedProxy(location, OWN, (LAYER,)))
            worker = stack.enter_context(as_worker(location, proxy.keys().current("s1", 3, SCOPE), proxy.url))
        yield SimpleNamespace(worker=worker, store=store, kind=kind)


def test_it_does_with_its_own_prefix_what_executors_do(given):
    worker = given.worker
    worker.put(f"{OWN}objects/ü b", b"small")
    assert worker.put_parts(f"{OWN}large", [PART, b"end"])
    assert not worker.put_parts(f"{OWN}changed", [PART], confirm=lambda: False)

    assert worker.get(f"{OWN}objects/ü b") == b"small"
    assert worker.get(f"{OWN}large", start=len(PART) - 1, length=3) == b"xen"
    assert worker.head(f"{OWN}large").size == len(PART) + 3
    assert [item.key for item in worker.list_objects(OWN)] == [f"{OWN}a", f"{OWN}large", f"{OWN}objects/ü b"]
    taken = []
    worker.copy_out(f"{OWN}large", taken.append)
    assert b"".join(taken) == PART + b"end"
    assert given.store.head(f"{OWN}changed") is None


def test_it_reads_its_layers(given):
    fetched = given.worker.fetch(f"{LAYER}a")
    assert (fetched.body, fetched.metadata) == (f"{LAYER}a".encode(), {"mode": "644"})
    assert [item.key for item in given.worker.list_objects(LAYER)] == [f"{LAYER}a"]


def test_what_is_missing_is_missing(given):
    assert given.worker.head(f"{OWN}missing") is None
    with pytest.raises(ObjectMissing):
        given.worker.get(f"{OWN}missing")


ATTEMPTS = {
    "read": lambda worker: worker.get(f"{OTHER}a"),
    "ask for": lambda worker: worker.head(f"{OTHER}a"),
    "list": lambda worker: list(worker.list_objects(OTHER)),
    "list all": lambda worker: list(worker.list_objects("")),
    "list above": lambda worker: list(worker.list_objects("app/a/session/")),
    "list beside": lambda worker: list(worker.list_objects(OWN.rstrip("/"))),
    "write": lambda worker: worker.put(f"{OTHER}b", b""),
    "overwrite": lambda worker: worker.put(f"{OTHER}a", b""),
    "write in parts": lambda worker: worker.put_parts(f"{OTHER}b", [PART, b""]),
    "write a layer": lambda worker: worker.put(f"{LAYER}b", b""),
    "write anywhere": lambda worker: worker.put("b", b""),
    "copy from": lambda worker: worker.copy(f"{OTHER}a", f"{OWN}stolen"),
    "delete": lambda worker: worker.delete([f"{OTHER}a"]),
    "delete its own": lambda worker: worker.delete([f"{OWN}a"]),
    "read beside a layer": lambda worker: worker.get("templates/tx/a"),
    "read by a detour": lambda worker: worker.get(f"{OWN}../../s2/workspace/a"),
    "write by a detour": lambda worker: worker.put(f"{OWN}../../s2/workspace/b", b""),
    "read by a detour without end": lambda worker: worker.get(f"{OWN}x/../../../s2/workspace/a"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_it_can_not(given, attempt):
    before = {item.key: item.size for item in given.store.list_objects("")}
    with pytest.raises(ObjectStoreError, match=r"AccessDenied|InvalidRequest|: 403"):
        ATTEMPTS[attempt](given.worker)
    assert {item.key: item.size for item in given.store.list_objects("")} == before


@pytest.fixture
def proxied(rclone):
    location = new_bucket(rclone)
    with closing(S3ObjectStore(location)) as store, ServedProxy(location, OWN, (LAYER,)) as proxy:
        store.put(f"{OWN}a", b"mine")
        yield SimpleNamespace(proxy=proxy, location=location, store=store)


def worker_of(proxied, generation=3, secret=SECRET, session_id="s1"):
    return as_worker(
        proxied.location, proxied.proxy.keys(secret).current(session_id, generation, None), proxied.proxy.url
    )


def test_keys_open_nothing_once_the_next_generation_has_begun(proxied):
    with worker_of(proxied) as worker, worker_of(proxied, 4) as successor:
        assert worker.get(f"{OWN}a") == b"mine"
        with pytest.raises(ObjectStoreRefused, match="AccessDenied"):
            successor.get(f"{OWN}a")
        proxied.proxy.sessions.generation = 4
        proxied.proxy.now += 10
        assert successor.get(f"{OWN}a") == b"mine"
        with pytest.raises(ObjectStoreRefused, match="AccessDenied"):
            worker.get(f"{OWN}a")


@pytest.mark.parametrize("changes", [{"secret": b"a guess"}, {"session_id": "s2"}])
def test_keys_that_are_guessed_or_of_no_session_open_nothing(proxied, changes):
    with worker_of(proxied, **changes) as worker, pytest.raises(ObjectStoreRefused, match="403"):
        worker.get(f"{OWN}a")


def test_the_store_s_own_keys_are_for_those_that_an_earlier_release_has_started(rclone):
    location = new_bucket(rclone)
    for predecessors in (True, False):
        with (
            ServedProxy(location, OWN, predecessors=predecessors) as proxy,
            as_worker(location, location.credentials, proxy.url) as worker,
        ):
            if predecessors:
                worker.put(f"{OTHER}a", b"1")
                assert worker.get(f"{OTHER}a") == b"1"
            else:
                with pytest.raises(ObjectStoreRefused, match="403"):
                    worker.get(f"{OTHER}a")


def test_a_store_or_a_log_that_is_away_is_told_as_passing(proxied):
    with worker_of(proxied) as worker:
        proxied.proxy.sessions.broken = True
        with pytest.raises(ObjectStoreUnavailable):
            worker.get(f"{OWN}a")
        proxied.proxy.sessions.broken = False
        assert worker.get(f"{OWN}a") == b"mine"
    nowhere = msgspec.structs.replace(proxied.location, endpoint="http://127.0.0.1:9")
    with (
        ServedProxy(nowhere, OWN) as proxy,
        as_worker(nowhere, proxy.keys().current("s1", 3, None), proxy.url) as worker,
        pytest.raises(ObjectStoreUnavailable, match="ServiceUnavailable"),
    ):
        worker.get(f"{OWN}a")


def test_one_session_has_its_share_in_an_hour_and_the_others_theirs(proxied, monkeypatch):
    monkeypatch.setattr(worker_usage, "BYTES_AN_HOUR", 10)
    with worker_of(proxied) as worker:
        worker.put(f"{OWN}b", b"12345678")
        with pytest.raises(ObjectStoreUnavailable, match=r"SlowDown.*8 bytes in this hour"):
            worker.put(f"{OWN}c", b"12345678")
        assert worker.get(f"{OWN}a") == b"mine"
        monkeypatch.setattr(worker_usage, "REQUESTS_AN_HOUR", 2)
        with pytest.raises(ObjectStoreUnavailable, match="SlowDown"):
            worker.get(f"{OWN}a")
        monkeypatch.setattr(worker_usage, "HOUR_S", 0.0)
        assert worker.get(f"{OWN}a") == b"mine"


def test_one_session_has_its_share_of_requests_at_once(proxied, monkeypatch):
    monkeypatch.setattr(worker_usage, "AT_ONCE", 0)
    monkeypatch.setattr(worker_usage, "WAIT_S", 0.01)
    with worker_of(proxied) as worker, pytest.raises(ObjectStoreUnavailable, match="SlowDown"):
        worker.get(f"{OWN}a")
    monkeypatch.setattr(store_proxy, "_MOST_AT_ONCE", 0)
    with worker_of(proxied) as worker, pytest.raises(ObjectStoreUnavailable, match="SlowDown"):
        worker.get(f"{OWN}a")


def test_a_call_brings_the_address_of_the_proxy_of_its_caller(proxied):
    keys = proxied.proxy.keys()
    headers = run(keys.headers("s1", 3, None))
    brought = StoreCredentials.of_header(headers[STORE_HEADER])
    assert brought.endpoint == proxied.proxy.url
    with as_worker(proxied.location, keys.current("s1", 3, None), "http://127.0.0.1:9") as worker:
        worker.renew(keys.current("s1", 3, None), brought.endpoint)
        assert worker.get(f"{OWN}a") == b"mine"
    assert run(ProxyKeys(SECRET, address=lambda: "").headers("s1", 3, None)) == {}


def test_credentials_of_a_role_are_kept_until_shortly_before_their_end(seaweedfs):
    location = new_bucket(seaweedfs)
    learnt: list[str] = []
    now = datetime.now(UTC)
    with closing(roles(location, seaweedfs, learn=learnt.extend, clock=lambda: now)) as assumed:
        first = assumed.current("s1", 3, SCOPE)
        assert assumed.current("s1", 3, SCOPE) == first
        assert assumed.current("s1", 4, SCOPE) != first
        now += LIFETIME - MARGIN / 2
        headers = run(assumed.headers("s1", 3, SCOPE))
        renewed = StoreCredentials.of_header(headers[CREDENTIALS_HEADER])
        assert renewed.session_token != first.session_token
        assert {first.session_token, renewed.session_token} <= set(learnt)


def test_the_last_credentials_of_a_role_are_passed_on_while_its_service_is_away(seaweedfs, caplog):
    location = new_bucket(seaweedfs)
    now = datetime.now(UTC)
    with closing(roles(location, seaweedfs, clock=lambda: now)) as assumed:
        last = run(assumed.headers("s1", 3, SCOPE))
        assumed._client = AwsSession(location).sts_client(endpoint="http://127.0.0.1:9")
        now += LIFETIME - MARGIN / 2
        assert run(assumed.headers("s1", 3, SCOPE)) == last
        assert "no new credentials for session s1" in caplog.text
        with pytest.raises(ObjectStoreUnavailable):
            assumed.current("s1", 3, SCOPE)
        now += MARGIN
        assert run(assumed.headers("s1", 3, SCOPE)) == {}


def test_a_role_that_may_not_be_assumed_is_final(seaweedfs):
    location = new_bucket(seaweedfs)
    unknown = AssumedRoles(
        AwsSession(location), sts_endpoint=seaweedfs.endpoint, role="arn:aws:iam::role/nobody", learn=lambda _: None
    )
    with closing(unknown), pytest.raises(ObjectStoreRefused, match="session s1"):
        unknown.current("s1", 3, SCOPE)


def test_a_prefix_is_no_pattern(seaweedfs):
    location = new_bucket(seaweedfs)
    with closing(S3ObjectStore(location)) as store, closing(roles(location, seaweedfs)) as assumed:
        store.put("templates/tx/a", b"another's")
        scope = StorageScope(own=OWN, layers=("templates/t*/",))
        with (
            as_worker(location, assumed.current("s1", 3, scope)) as worker,
            pytest.raises(ObjectStoreRefused, match="AccessDenied"),
        ):
            worker.get("templates/tx/a")
    assert "arn:aws-cn:s3:::b/templates/t${*}/*" in session_policy("b", "cn-north-1", scope)


def test_a_policy_that_is_too_long_is_refused_before_it_is_sent():
    assert len(session_policy("b", "cn-north-1", SCOPE)) < 2048
    long = StorageScope(own="a" * 500 + "/", layers=("b" * 500 + "/", "c" * 500 + "/"))
    with pytest.raises(ObjectStoreRefused, match=r"2048 are allowed: use shorter ids"):
        session_policy("b", "eu-central-1", long)
