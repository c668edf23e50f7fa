"""The client process of the sse benchmark: many SSE connections read by one epoll loop.

Arguments: port, number of runs, number of clients, a file for the arrivals (or `-`). Client i follows run i modulo
runs. It prints `ready` when all streams have begun. Each line on its standard input ends a measurement, whose frames
and seconds are printed, and begins the next one. The file holds the arrivals of the last measurement that ended: for
each an unsigned 32-bit run, an unsigned 32-bit seq and a double of monotonic seconds.
"""

import re
import select
import socket
import struct
import sys
import time
from pathlib import Path

_ID = re.compile(rb"\nid: (\d+)\n")
_ARRIVAL = struct.Struct("=IId")


def connect(port: int, run: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(
        f"GET /api/runs/run-{run}/stream HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    return client


def wait_for_beginning(client: socket.socket) -> None:
    """Read until `caught-up`, which both servers send when live events begin."""
    begin = b""
    while b"event: caught-up" not in begin:
        part = client.recv(65536)
        if not part:
            raise ConnectionError(f"the server closed a connection: {begin!r}")
        begin += part
    client.settimeout(0)


def follow(port: int, runs: int, clients: int, arrivals_file: str) -> None:
    sockets = [connect(port, number % runs) for number in range(clients)]
    for client in sockets:
        wait_for_beginning(client)
    epoll = select.epoll()
    run_of = {}
    rest_of = {}
    by_descriptor = {}
    for number, client in enumerate(sockets):
        epoll.register(client.fileno(), select.EPOLLIN)
        run_of[client.fileno()], rest_of[client.fileno()] = number % runs, b""
        by_descriptor[client.fileno()] = client
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    frames, began = 0, time.monotonic()
    arrivals: list[tuple[int, int, float]] = []
    in_detail = arrivals_file != "-"
    while True:
        for descriptor, _ in epoll.poll(10):
            if descriptor == sys.stdin.fileno():
                seconds = time.monotonic() - began
                if not sys.stdin.readline():
                    return
                if in_detail:
                    Path(arrivals_file).write_bytes(b"".join([_ARRIVAL.pack(*arrival) for arrival in arrivals]))
                print(frames, seconds, flush=True)
                frames, began, arrivals = 0, time.monotonic(), []
                continue
            part = by_descriptor[descriptor].recv(65536)
            now = time.monotonic()
            if not part:
                raise ConnectionError("the server closed a connection")
            data = rest_of[descriptor] + part
            # The data may end within an id line.
            cut = data.rfind(b"\n", max(0, len(data) - 24))
            cut = cut if cut > 0 else len(data)
            rest_of[descriptor] = data[cut:]
            if in_detail:
                run = run_of[descriptor]
                seqs = _ID.findall(data, 0, cut + 1)
                frames += len(seqs)
                arrivals += [(run, int(seq), now) for seq in seqs]
            else:
                frames += data.count(b"\nid: ", 0, cut + 1)


if __name__ == "__main__":
    follow(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
