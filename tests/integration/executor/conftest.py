"""Real S3 servers for these tests, and real executor processes."""

import os

import pytest

from infrastructure.object_store.s3 import S3ObjectStore
from tests.integration.executor.worker import Worker
from tests.support.object_stores import CONFIGURED_ENDPOINT, ConfiguredBuckets, location_of
from tests.support.servers import running_object_store

EMBEDDED, CONFIGURED = "embedded", "configured"


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
    return location_of(object_store_server, object_store_server.create_bucket())


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
