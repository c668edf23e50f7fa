"""One listening thread for all of a factory's subscriptions, with a timed poll behind it.

The listeners are woken by each NOTIFY, after each reconnect and once per poll interval: a wake-up means "look again".
"""

import logging
import threading

import psycopg
from psycopg import sql as identifiers

from infrastructure.postgres.connections import connect_thread
from infrastructure.postgres.listener import EVENTS_CHANNEL, LAST_RETRY_DELAY_SECONDS, POLL_SECONDS

_logger = logging.getLogger(__name__)


class ThreadNotifier:
    """The thread runs from the first listener to `close`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._listeners: set[threading.Event] = set()
        self._changing = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, listener: threading.Event) -> None:
        with self._changing:
            self._listeners = self._listeners | {listener}
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="fleetlog-notifier", daemon=True)
                self._thread.start()

    def remove(self, listener: threading.Event) -> None:
        with self._changing:
            self._listeners = self._listeners - {listener}

    def close(self, *, wait: bool = True) -> None:
        """Without `wait` the thread ends by itself, within a quarter of a poll interval."""
        self._closed.set()
        if wait and self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        delay = 0.0
        while not self._closed.wait(delay):
            try:
                with connect_thread(self._dsn) as connection:
                    connection.execute(identifiers.SQL("LISTEN {}").format(identifiers.Identifier(EVENTS_CHANNEL)))
                    delay = 0.0
                    self._listen(connection)
            except psycopg.Error as error:
                _logger.warning("the LISTEN connection was lost, connecting again", extra={"error": str(error)})
            delay = min(2 * delay + 0.05, LAST_RETRY_DELAY_SECONDS)

    def _listen(self, connection: psycopg.Connection) -> None:
        while not self._closed.is_set():
            connection.execute("SELECT")  # a dead connection shows here at the latest
            self._wake()
            for _ in connection.notifies(timeout=POLL_SECONDS / 4, stop_after=1):
                pass

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()
