"""One lock per container, for what this process does with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class ContainerLocks:
    """A lock is kept while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[Lock, int]] = {}
        self._guard = Lock()

    @contextmanager
    def alone(self, container_id: str) -> Iterator[None]:
        """Blocks until nobody else is inside with this container."""
        with self._guard:
            lock, users = self._locks.get(container_id, (Lock(), 0))
            self._locks[container_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[container_id]
                if users == 1:
                    del self._locks[container_id]
                else:
                    self._locks[container_id] = (lock, users - 1)
