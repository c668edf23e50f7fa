"""What containers have written, where Docker's storage driver has no quotas. Blocking."""

import time

from application.ports.worker_runtime import OversizedContainer
from infrastructure.runtimes.container_settings import LABEL_GENERATION, LABEL_SESSION
from infrastructure.runtimes.docker_engine import DockerEngine

_ROUND_S = 30.0
"""How long one round may take; Docker adds up the files of each container."""


class ContainerDisks:
    """`limit`: bytes that a container may write; 0: no limit."""

    def __init__(self, engine: DockerEngine, limit: int) -> None:
        self._engine, self._limit = engine, limit
        self._measured_at: dict[str, float] = {}

    def oversized(self) -> list[OversizedContainer]:
        """The running containers past the limit, of those that this round has come to; those that were measured longest
        ago are first. Raises RuntimeUnavailable."""
        if not self._limit or self._engine.has_quotas:
            return []
        running = {each["Id"]: each["Labels"] for each in self._engine.own() if each["State"] == "running"}
        self._measured_at = {container: self._measured_at.get(container, 0.0) for container in running}
        until, found = time.monotonic() + _ROUND_S, list[OversizedContainer]()
        for container in sorted(running, key=self._measured_at.__getitem__):
            used = self._engine.written_bytes(container)
            self._measured_at[container] = time.monotonic()
            if used > self._limit:
                labels = running[container]
                found.append(
                    OversizedContainer(
                        session_id=labels.get(LABEL_SESSION, ""),
                        generation=int(labels.get(LABEL_GENERATION, 0)),
                        used_bytes=used,
                        limit_bytes=self._limit,
                    )
                )
            if self._measured_at[container] > until:
                break
        return found
