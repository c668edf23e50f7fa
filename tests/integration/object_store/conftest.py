"""Both S3 clients, each against every real server that there is."""

import os
from collections.abc import Callable

import msgspec
import pytest

from application.ports.object_store import ObjectStore
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.store import Boto3ObjectStore
from infrastructure.object_store.s3 import S3ObjectStore
from tests.support.object_stores import CONFIGURED_ENDPOINT, ConfiguredBuckets, location_of, running_seaweedfs
from tests.support.servers import running_object_store


def boto3_store(location, **settings):
    return Boto3ObjectStore(AwsSession(location), **settings)


CLIENTS: dict[str, Callable[..., ObjectStore]] = {"small": S3ObjectStore, "boto3": boto3_store}


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory):
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory):
    with running_object_store(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def configured():
    server = ConfiguredBuckets(os.environ)
    yield server
    server.remove_buckets()


@pytest.fixture(scope="session", params=["rclone", "seaweedfs", *(["configured"] if CONFIGURED_ENDPOINT else [])])
def object_store_server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def location(object_store_server):
    """Of an empty bucket."""
    return location_of(object_store_server, object_store_server.create_bucket())


@pytest.fixture(params=CLIENTS)
def client(request):
    """Makes a client of one kind: from a location, with the client's settings."""
    made = []

    def make(location, **settings):
        made.append(CLIENTS[request.param](location, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def store(client, location):
    return client(location)


@pytest.fixture
def changed(location):
    """The same location with other fields."""
    return lambda **fields: msgspec.structs.replace(location, **fields)
