"""Real S3 servers for these tests, and real executor processes."""

import os
from contextlib import closing
from uuid import uuid4

import pytest

from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from tests.integration.executor.worker import Worker
from tests.support.servers import running_object_store

EMBEDDED, CONFIGURED = "embedded", "configured"
CONFIGURED_ENDPOINT = os.environ.get("S3_ENDPOINT", "").rstrip("/")


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
        with closing(S3ObjectStore(_location(self, name))) as store:
            store._rest.call("PUT")
        self._made.append(name)
        return name

    def remove_buckets(self):
        for name in self._made:
            with closing(S3ObjectStore(_location(self, name))) as store:
                store.delete([item.key for item in store.list_objects("")])
                store._rest.call("DELETE")


def _location(server, bucket):
    return S3Location(
        endpoint=server.endpoint,
        bucket=bucket,
        region=server.region,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


@pytest.fixture(scope="session", params=[EMBEDDED, CONFIGURED] if CONFIGURED_ENDPOINT else [EMBEDDED])
def object_store_server(request, tmp_path_factory):
    """The embedded server and, where `S3_ENDPOINT` is set, that one too."""
    if request.param == EMBEDDED:
        with running_object_store(tmp_path_factory.mktemp("s3")) as server:
            yield server
    else:
        configured = ConfiguredBuckets(os.environ)
        yield configured
        configured.remove_buckets()


def _new_bucket(object_store_server):
    return _location(object_store_server, object_store_server.create_bucket())


@pytest.fixture(scope="module")
def shared_location(object_store_server):
    return _new_bucket(object_store_server)


@pytest.fixture(scope="module")
def shared_worker(shared_location, tmp_path_factory):
    """One executor for all tests of a module, its empty workspace restored."""
    worker = Worker(tmp_path_factory.mktemp("shared") / "w", shared_location)
    worker.start()
    worker.restore()
    yield worker
    worker.end()


@pytest.fixture(scope="module")
def shared_store(shared_location):
    store = S3ObjectStore(shared_location)
    yield store
    store.close()


@pytest.fixture
def location(object_store_server):
    return _new_bucket(object_store_server)


@pytest.fixture
def store(location):
    store = S3ObjectStore(location)
    yield store
    store.close()


@pytest.fixture
def make_worker(location, tmp_path):
    made = []

    def make(**settings):
        worker = Worker(tmp_path / f"worker-{len(made)}", location, **settings)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.end()


@pytest.fixture
def worker(make_worker):
    """An executor that serves, its empty workspace restored."""
    worker = make_worker()
    worker.start()
    worker.restore()
    return worker
