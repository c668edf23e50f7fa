"""`fleetlog up` whose workers are Docker containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.docker_containers import LABEL, docker, remove_everything
from tests.support.fleetlog_server import FleetlogServer
from tests.support.session_history import removed


class DockerFleetlog(FleetlogServer):
    """`fleetlog up` with WORKER_RUNTIME=docker."""

    def container(self, session_id: str) -> str:
        return str(self.ok("GET", f"/api/session-workers/{session_id}")["containerId"])

    def installation(self, session_id: str) -> str:
        return docker("inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', self.container(session_id))

    def output_of(self, script: str, session_id: str) -> str:
        events = self.finished(script, sessionId=session_id)["events"]
        return "".join(event["payload"]["text"] for event in events if event["type"] == "message.delta")

    def removed(self, session_id: str) -> None:
        """Stop it and remove it, each through its gate."""
        self.ok("POST", f"/api/session-workers/{session_id}/stop")
        assert removed(self)["failed"] == 0, self.log_tail()


@contextmanager
def running_docker_fleetlog(home: Path, image: str, *, first: str, **settings: str) -> Iterator[DockerFleetlog]:
    """One with an active session `first`. Whatever its installation has left in Docker is removed at the end."""
    with DockerFleetlog(home, WORKER_RUNTIME="docker", WORKER_IMAGE=image, **settings) as server:
        server.activate(first)
        installation = server.installation(first)
        try:
            yield server
        finally:
            remove_everything(installation)
