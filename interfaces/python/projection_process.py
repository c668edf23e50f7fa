"""The process of a user's projection, under `fleetlog project`: the user's code, the library's ProjectionRunner.

python -P -m interfaces.python.projection_process FD FILE VIEW MODULE:CLASS     VIEW: MODULE:CLASS, or empty

What it says and is told on the socket FD, and notes in the file with the descriptor FILE, is in
application/user_projection_protocol.py. It ends with its supervisor: when the socket is closed it finishes its event,
and after END_S it is ended with all that it has started.
"""

import importlib
import os
import signal
import socket
import sys
import threading
import traceback
from typing import Any

import msgspec
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic

from application.user_projection_protocol import (
    END_S,
    MAX_MESSAGE_BYTES,
    PROGRESS_S,
    BlockedAtEvent,
    ClassRejected,
    Described,
    Failed,
    Message,
    Order,
    PositionReached,
)
from domain.operations.log_consumer import describe
from interfaces.python.process_group import end_group_with
from interfaces.python.projection_class import OUR_PACKAGES, ClassRefused, projection_named, view_named, view_of
from interfaces.python.supervised_projection import EventBlocks, Progressing, SupervisedLog, is_newer, supervised
from interfaces.terminal_text import harmless

_decode_order = msgspec.json.Decoder(Order).decode


class Supervisor:
    """The other end of the socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._lines = channel.makefile("rb")
        self._channel, self._sending = channel, threading.Lock()

    def tell(self, message: Message) -> bool:
        """False when the supervisor has ended."""
        try:
            with self._sending:
                self._channel.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:
            return False
        return True

    def order(self) -> Order | None:
        """None when it has closed the socket."""
        try:
            line = self._lines.readline(MAX_MESSAGE_BYTES)
        except OSError:
            return None
        return _decode_order(line) if line.endswith(b"\n") else None

    def wait_for_end(self) -> None:
        """Until it has closed the socket; one that dies with unread messages resets it."""
        try:
            while self._lines.read(1):
                pass
        except OSError:
            return


def main(arguments: list[str]) -> int:
    descriptor, file, view_topic, topic = arguments
    end_group_with(int(descriptor), within_s=END_S)
    supervisor = Supervisor(socket.socket(fileno=int(descriptor)))
    for package in OUR_PACKAGES:  # so that modules of the user's folder take no name from ours
        importlib.import_module(package)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        projection_class = projection_named(topic)
        view_class = view_named(view_topic) if view_topic else view_of(projection_class)
    except ClassRefused as refused:
        if refused.raised_by_module and refused.__cause__ is not None:
            _print(refused.__cause__)
        supervisor.tell(ClassRejected(error=str(refused)))
        return 2
    described = Described(
        name=projection_class.name, topics=tuple(projection_class.topics), view_class=get_topic(view_class)
    )
    supervisor.tell(described)
    order = supervisor.order()
    return 0 if order is None else _run(supervisor, order, int(file), projection_class, view_class)


def _run(
    supervisor: Supervisor,
    order: Order,
    file: int,
    projection_class: type[Projection[Any]],
    view_class: type[TrackingRecorder],
) -> int:
    os.environ.update(order.libpq)
    progress, tracked = Progressing(file), 0

    def reached() -> PositionReached:
        return PositionReached(position=max(progress.position, tracked))

    signal.signal(signal.SIGTERM, lambda *_: progress.stopping.set())
    threading.Thread(target=_stop_with, args=(supervisor, progress), name="supervisor", daemon=True).start()
    try:
        with ProjectionRunner(
            application_class=SupervisedLog,
            projection_class=supervised(projection_class, skips=order.skips, progress=progress),
            view_class=view_class,
            env=order.environment,
        ) as runner:
            tracked = runner.view.max_tracking_id(runner.app_name) or 0
            while not runner.is_interrupted.is_set() and not progress.stopping.is_set():
                if not supervisor.tell(reached()):
                    break
                runner.is_interrupted.wait(PROGRESS_S)
            progress.stopping.set()
        supervisor.tell(reached())
    except EventBlocks as blocked:
        _print(blocked.error)
        supervisor.tell(reached())
        supervisor.tell(
            BlockedAtEvent(
                position=blocked.position,
                event_type=blocked.event_type,
                error=describe(blocked.error),
                newer=is_newer(blocked.error),
            )
        )
    except BaseException as error:  # noqa: BLE001  whatever ends it is told
        _print(error)
        supervisor.tell(Failed(error=describe(error)))
        return 1
    return 0


def _print(error: BaseException) -> None:
    sys.stderr.write(harmless("".join(traceback.format_exception(error))))


def _stop_with(supervisor: Supervisor, progress: Progressing) -> None:
    supervisor.wait_for_end()
    progress.stopping.set()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # whatever threads a user's code has left
