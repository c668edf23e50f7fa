"""A server that goes away takes its sockets along: whoever gets their numbers next must be heard."""

import asyncio
import os
import socket
from contextlib import ExitStack, suppress

import psycopg
import pytest
import uvloop

from infrastructure.postgres.connections import connect
from infrastructure.postgres.event_store.prepared_append import AsyncAppendConnection
from infrastructure.postgres.notifications import Notifications
from tests.support.backends import kill_backends


async def heard(number: int) -> bytes:
    """What a new socket of this number hears."""
    with ExitStack() as stack:
        while True:
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            if number in {ours.fileno(), theirs.fileno()}:
                break
        if theirs.fileno() == number:
            ours, theirs = theirs, ours
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.sendall(b"hello")
        async with asyncio.timeout(90):
            said = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return said


def test_the_number_of_a_lost_listener_s_socket_is_free(database: str) -> None:
    async def scenario() -> bytes:
        connection = await connect(database)
        number = connection.pgconn.socket
        watching = asyncio.create_task(Notifications(connection.pgconn, lambda *_: None).arrive(30))
        await asyncio.to_thread(kill_backends, database)
        with pytest.raises(psycopg.OperationalError):
            await watching
        said = await heard(number)
        await connection.close()
        return said

    assert uvloop.run(scenario()) == b"hello"


def sockets() -> set[int]:
    """The numbers of this process's open sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # what listed them
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
    return found


def test_the_numbers_of_a_lost_committer_s_sockets_are_free(database: str) -> None:
    async def scenario() -> list[bytes]:
        before = sockets()
        connection = await AsyncAppendConnection.open(database)
        numbers = sockets() - before
        await asyncio.to_thread(kill_backends, database)
        async with asyncio.timeout(90):
            while numbers & sockets():
                await asyncio.sleep(0.01)
        said = [await heard(number) for number in numbers]
        connection.close()
        return said

    assert set(uvloop.run(scenario())) == {b"hello"}
