"""The embedded S3 server, for real, as other clients see it."""

import os
import socket
import stat
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infrastructure.embedded.errors import ServerFailedToStart
from infrastructure.embedded.home_lock import HomeLock
from infrastructure.embedded.object_store import EmbeddedObjectStore, bucket_request
from tests.support.async_run import run
from tests.support.killed_starter import all_command_lines, kill_and_wait, start_and_kill


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    yield folder
    run(EmbeddedObjectStore(folder).stop())


@pytest.fixture
def client():
    """Makes S3 clients, each with connections of its own."""
    made = []

    def connect(access):
        made.append(
            boto3.client(
                "s3",
                endpoint_url=access.endpoint,
                region_name=access.region,
                aws_access_key_id=access.access_key_id,
                aws_secret_access_key=access.secret_access_key,
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, proxies={}),
            )
        )
        return made[-1]

    yield connect
    for each in made:
        each.close()


def keys(client, bucket, prefix=""):
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def recorded_pid(home):
    return int((home / "s3.pid").read_text())


def test_what_one_client_writes_every_other_sees_at_once(bucket, client):
    writer, reader, name = client(bucket), client(bucket), bucket.bucket
    assert keys(reader, name, "objects/") == []

    for content in (b"first", b"second, longer", b""):
        writer.put_object(Bucket=name, Key="objects/ab/file", Body=content)

        head = reader.head_object(Bucket=name, Key="objects/ab/file")
        assert head["ContentLength"] == len(content)
        assert head["ETag"].strip('"') == md5(content).hexdigest()
        assert reader.get_object(Bucket=name, Key="objects/ab/file")["Body"].read() == content
        assert keys(reader, name, "objects/") == ["objects/ab/file"]

    writer.delete_object(Bucket=name, Key="objects/ab/file")
    assert keys(reader, name, "objects/") == []
    with pytest.raises(ClientError, match="NoSuchKey"):
        reader.get_object(Bucket=name, Key="objects/ab/file")


@pytest.mark.parametrize("key", ["ü/日本 +&%.txt", "a b/c\td", "q?x=1#y", "back\\slash", "tail.", "x" * 200 + "/y"])
def test_keys_come_back_as_they_were_given(bucket, client, key):
    store = client(bucket)
    store.put_object(Bucket=bucket.bucket, Key=key, Body=key.encode())

    assert keys(store, bucket.bucket) == [key]
    assert store.get_object(Bucket=bucket.bucket, Key=key)["Body"].read() == key.encode()


def test_long_listings_and_large_objects(bucket, client, tmp_path):
    store = client(bucket)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * 20)
    store.upload_file(str(large), bucket.bucket, "large")
    store.download_file(bucket.bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()

    wanted = sorted(f"many/{number:03}" for number in range(25))
    for key in wanted:
        store.put_object(Bucket=bucket.bucket, Key=key, Body=b"x")
    pages = store.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.bucket, Prefix="many/", PaginationConfig={"PageSize": 10}
    )
    assert [found["Key"] for page in pages for found in page["Contents"]] == wanted


def test_objects_keys_and_address_survive_a_restart(home, client):
    async def scenario():
        async with EmbeddedObjectStore(home) as first:
            client(first).put_object(Bucket=first.bucket, Key="kept", Body=b"42")
        server = EmbeddedObjectStore(home)
        async with server as second:
            assert not server.adopted
            assert second == first
            found = client(second).get_object(Bucket=second.bucket, Key="kept")
            assert found["Body"].read() == b"42"

    run(scenario())
    assert stat.S_IMODE((home / "s3.credentials").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "s3").stat().st_mode) == 0o700


def test_a_put_that_was_answered_survives_a_killed_server(home, client):
    async def scenario():
        server = EmbeddedObjectStore(home)
        access = await server.start()
        client(access).put_object(Bucket=access.bucket, Key="kept", Body=b"42")
        kill_and_wait(recorded_pid(home))
        async with server as access:
            assert not server.adopted
            assert client(access).get_object(Bucket=access.bucket, Key="kept")["Body"].read() == b"42"

    run(scenario())


@pytest.mark.proof
def test_after_the_starter_was_killed_the_next_start_adopts_the_running_server(home):
    start_and_kill("object_store", home)
    pid = recorded_pid(home)
    assert os.getsid(pid) == pid

    async def scenario():
        server = EmbeddedObjectStore(home)
        async with server as access:
            assert server.adopted
            assert recorded_pid(home) == pid
            assert await bucket_request("HEAD", access) == 200

    with HomeLock(home):
        run(scenario())
    assert not (home / "s3.pid").exists()


class OfAnEarlierRelease(EmbeddedObjectStore):
    """Containers reached it on an address of their network."""

    def _listening(self, access):
        port = access.endpoint.rpartition(":")[2]
        return f"--addr=127.0.0.1:{port} --addr=127.0.0.2:{port} --config="


def test_one_that_listens_elsewhere_too_is_not_adopted(home):
    async def scenario():
        both = OfAnEarlierRelease(home)
        access = await both.start()
        assert listening(access.endpoint) == ["127.0.0.1", "127.0.0.2"]

        alone = EmbeddedObjectStore(home)
        async with alone as access:
            assert not alone.adopted
            assert listening(access.endpoint) == ["127.0.0.1"]
        await both.stop()  # takes the result of its ended child

    run(scenario())


def listening(endpoint):
    """The addresses on which somebody listens at the endpoint's port (IPv4)."""
    port = f"{int(endpoint.rpartition(':')[2]):04X}"
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        if state == "0A" and address.endswith(f":{port}"):
            found.append(socket.inet_ntoa(bytes.fromhex(address[:8])[::-1]))
    return sorted(found)


def test_a_stale_pid_file_is_no_obstacle_and_its_process_is_left_alone(home):
    home.mkdir()
    (home / "s3.pid").write_text(f"{os.getpid()}\n")

    async def scenario():
        server = EmbeddedObjectStore(home)
        async with server as access:
            assert not server.adopted
            assert await bucket_request("HEAD", access) == 200

    run(scenario())


def test_a_port_that_was_taken_meanwhile_is_replaced(home):
    async def scenario():
        async with EmbeddedObjectStore(home) as first:
            pass
        with socket.create_server(("127.0.0.1", int(first.endpoint.rpartition(":")[2]))):
            async with EmbeddedObjectStore(home) as second:
                assert second.endpoint != first.endpoint
                assert await bucket_request("HEAD", second) == 200

    run(scenario())


def test_strangers_are_refused_and_the_secret_is_in_no_command_line(object_store_server, bucket):
    stranger = replace(bucket, access_key_id="FL" + "0" * 18)
    guesser = replace(bucket, secret_access_key="0" * 40)

    assert run(bucket_request("HEAD", bucket)) == 200
    assert run(bucket_request("HEAD", stranger)) == 403
    assert run(bucket_request("HEAD", guesser)) == 403
    assert object_store_server.secret_key not in all_command_lines()
    assert object_store_server.secret_key not in repr(bucket)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(home, monkeypatch):
    monkeypatch.setattr("infrastructure.embedded.object_store.OPTIONS", ("--no-such-option",))

    with pytest.raises(ServerFailedToStart, match=r"exited with \d+(.|\n)*no-such-option"):
        run(EmbeddedObjectStore(home).start())
