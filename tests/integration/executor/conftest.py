"""A real S3 server for these tests, and real executor processes."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from tests.integration.executor.worker import Worker

ACCESS_KEY, SECRET_KEY = "fleetlog-test", "fleetlog-test-secret"


class ServedBuckets:
    def __init__(self, endpoint):
        self.endpoint, self.access_key, self.secret_key, self.region = endpoint, ACCESS_KEY, SECRET_KEY, "us-east-1"

    def create_bucket(self):
        name = f"bucket-{uuid4().hex[:12]}"
        store = S3ObjectStore(
            S3Location(
                endpoint=self.endpoint, bucket=name, region=self.region, access_key=ACCESS_KEY, secret_key=SECRET_KEY
            )
        )
        store._rest.call("PUT")
        store.close()
        return name


@pytest.fixture(scope="session")
def object_store_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    rclone = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    server = subprocess.Popen(
        [rclone, "serve", "s3", "--addr", address, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", str(folder)],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                httpx.get(f"http://{address}/", timeout=1)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "rclone does not answer"
                time.sleep(0.02)
        yield ServedBuckets(f"http://{address}")
    finally:
        server.terminate()
        server.wait(10)


def _new_bucket(object_store_server):
    return S3Location(
        endpoint=object_store_server.endpoint,
        bucket=object_store_server.create_bucket(),
        region=object_store_server.region,
        access_key=object_store_server.access_key,
        secret_key=object_store_server.secret_key,
    )


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
