"""A blocking call that may hang, made by one thread for all who wait for it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SharedFetch(Generic[Result]):
    """Calls `fetch` in a daemon thread, once at a time: whoever comes meanwhile shares its outcome. A daemon, because
    the end of the process waits for the threads of every pool, and so for a call that hangs. Safe to use from many
    threads."""

    def __init__(self, fetch: Callable[[], Result], *, thread_name: str) -> None:
        self._fetch, self._thread_name = fetch, thread_name
        self._lock = threading.Lock()
        self._pending: Future[Result] | None = None

    def begin(self) -> Future[Result]:
        """The call under way, else a new one. It can't be cancelled."""
        with self._lock:
            if self._pending is None:
                future: Future[Result] = Future()
                future.set_running_or_notify_cancel()
                threading.Thread(target=self._run, args=(future,), name=self._thread_name, daemon=True).start()
                self._pending = future
            return self._pending

    def _run(self, future: "Future[Result]") -> None:
        try:
            result = self._fetch()
        except BaseException as error:  # noqa: BLE001  raised to whoever waits
            self._forget()
            future.set_exception(error)
        else:
            self._forget()
            future.set_result(result)

    def _forget(self) -> None:
        """Before the outcome is told, so that whoever asks afterwards gets a new call."""
        with self._lock:
            self._pending = None
