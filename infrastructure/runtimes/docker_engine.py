"""The Docker Engine over its API. Connects when first needed; all failures to reach it are one error. Blocking."""

import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

import docker
import requests.exceptions
from docker.api.client import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig

from application.ports.worker_runtime import ContainerSpec, RuntimeDown, RuntimeUnavailable, StartFailed
from infrastructure.runtimes.container_settings import (
    EXECUTOR_PORT,
    LABEL_INSTALLATION,
    LABEL_PROTOCOL,
    PORT_KEY,
    ContainerSettings,
    docker_name,
    labels,
)

_CALL_S = 60
_LOG_LINES = 40
Status = Literal["created", "running", "exited"]


class DockerEngine:
    """`environment` may hold DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH. Methods raise RuntimeUnavailable if
    the daemon can't be reached or fails, StartFailed if it refuses to make or start a container."""

    def __init__(self, environment: Mapping[str, str], *, installation: str, connections: int = 16) -> None:
        self._environment = dict(environment)
        self._installation = installation
        self._connections = connections
        self._connecting = threading.Lock()
        self._connected: APIClient | None = None
        self._has_quotas: bool | None = None

    def daemon_id(self) -> str:
        """The daemon's id and data folder: up to Docker 20.10, all daemons of one machine have the same id."""
        with self._reached() as api:
            info = api.info()
            return f"{info['ID']} {info['DockerRootDir']}"

    def find(self, container: str) -> dict[str, Any] | None:
        """What `docker inspect` shows of a container, by id or name; None if there is none."""
        with self._reached() as api:
            try:
                return dict(api.inspect_container(container))
            except NotFound:
                return None

    def image_labels(self, image: str) -> dict[str, str] | None:
        """None when there is no such image."""
        with self._reached() as api:
            try:
                found: dict[str, Any] = api.inspect_image(image)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None
            return dict(found["Config"].get("Labels") or {})

    def own(self) -> list[dict[str, Any]]:
        """All containers of this installation, as `docker ps -a` lists them."""
        with self._reached() as api:
            found = api.containers(all=True, filters={"label": [f"{LABEL_INSTALLATION}={self._installation}"]})
            return [dict(each) for each in found]

    def create(self, spec: ContainerSpec, settings: ContainerSettings) -> None:
        """Make the container; if there is one of this name, keep it."""
        if settings.pull == "always":
            self._pull(settings.image)
        try:
            self._create(spec, settings)
        except ImageNotFound as error:
            if settings.pull == "never":
                raise StartFailed(f"there is no image {settings.image}; script/worker-image builds it") from error
            self._pull(settings.image)
            self._create(spec, settings)

    @property
    def has_quotas(self) -> bool:
        """Whether the daemon's storage driver has taken a limit for the last container."""
        return self._has_quotas is True

    def written_bytes(self, container: str) -> int:
        """What it has written over its image; 0 when it is gone. The daemon adds up its files, which takes long where
        there are many."""
        with self._reached() as api:
            found = api.containers(all=True, size=True, filters={"id": container})
            return int(found[0].get("SizeRw", 0)) if found else 0

    def put_file(self, container: str, folder: str, name: str, content: bytes) -> None:
        """Write a file into a container, running or not; only root in it may read the file."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
        with self._reached() as api:
            try:
                api.put_archive(container, folder, archive.getvalue())
            except APIError as error:
                raise StartFailed(f"can't write {folder}/{name} into {container}: {error.explanation}") from error

    def file(self, container: str, path: str) -> bytes | None:
        """The content of a small file in a container; None when there is none."""
        with self._reached() as api:
            try:
                chunks, _ = api.get_archive(container, path)
                archive = io.BytesIO(b"".join(chunks))
            except NotFound:
                return None
        with tarfile.open(fileobj=archive) as tar:
            member = tar.next()
            extracted = tar.extractfile(member) if member and member.isfile() else None
            return extracted.read() if extracted else None

    def start(self, container: str) -> None:
        """Start it; nothing happens to one that runs."""
        with self._reached() as api:
            try:
                api.start(container)
            except APIError as error:
                raise StartFailed(f"{container} did not start: {error.explanation}") from error

    def stop(self, container: str, *, patience_s: int) -> None:
        """SIGTERM to its first process, SIGKILL to all after `patience_s` seconds; no error if stopped or gone."""
        with self._reached() as api:
            try:
                api.stop(container, timeout=patience_s)
            except NotFound:
                return

    def remove(self, container: str) -> None:
        """No error if it is gone or is being removed already."""
        with self._reached() as api:
            try:
                api.remove_container(container, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                if "already in progress" not in str(error.explanation):
                    raise

    def log_tail(self, container: str) -> str:
        """The last lines of its output; empty when there is none."""
        with self._reached() as api:
            try:
                return bytes(api.logs(container, tail=_LOG_LINES)).decode(errors="replace").strip()
            except APIError:
                return ""

    def close(self) -> None:
        if self._connected:
            self._connected.close()

    def _create(self, spec: ContainerSpec, settings: ContainerSettings) -> None:
        network = settings.network or self.own_network(settings.bridge)
        known = self.image_labels(settings.image)
        predecessor = known is not None and not known.get(LABEL_PROTOCOL)
        options = settings.host_options()
        options["log_config"] = LogConfig(**options["log_config"])
        if settings.disk_bytes and self._has_quotas is not False:
            options["storage_opt"] = {"size": str(settings.disk_bytes)}
        with self._reached() as api:
            try:
                api.create_container(
                    settings.image,
                    name=docker_name(self._installation, spec),
                    labels=labels(self._installation, spec),
                    environment=dict(settings.agent_variables) if predecessor else {},
                    ports=[EXECUTOR_PORT] if settings.network is None else [],
                    host_config=api.create_host_config(**options, network_mode=network),
                )
            except ImageNotFound:
                raise
            except APIError as error:
                if "storage_opt" in options and "storage-opt" in str(error.explanation).lower():
                    self._has_quotas = False  # the storage driver has none: the containers are watched instead
                    self._create(spec, settings)
                elif error.status_code != 409:
                    raise StartFailed(f"no container for {spec.session_id}: {error.explanation}") from error
            else:
                self._has_quotas = "storage_opt" in options

    def own_network(self, bridge: str | None) -> str:
        """The name of this installation's own network, made if missing: its containers don't reach each other. With a
        `bridge`, it is the one on that network interface; containers of earlier releases stay on the other."""
        name = self._network_name(bridge)
        options = {"com.docker.network.bridge.enable_icc": "false"}
        if bridge:
            options["com.docker.network.bridge.name"] = bridge
        with self._reached() as api:
            try:
                api.inspect_network(name)
            except NotFound:
                try:
                    api.create_network(
                        name,
                        driver="bridge",
                        options=options,
                        labels={LABEL_INSTALLATION: self._installation},
                        check_duplicate=True,
                    )
                except APIError as error:
                    if error.status_code != 409:
                        raise
        return name

    def remove_unused_network(self, bridge: str) -> bool:
        """Remove the installation's network on this interface, unless containers are on it, stopped ones included.
        Whether there is none now."""
        name = self._network_name(bridge)
        with self._reached() as api:
            if api.containers(all=True, filters={"network": name}):
                return False
            with suppress(NotFound):
                api.remove_network(name)
            return True

    def _network_name(self, bridge: str | None) -> str:
        return f"fleetlog-{self._installation}{'-limited' if bridge else ''}"

    def _pull(self, image: str) -> None:
        with self._reached() as api:
            try:
                api.pull(image)
            except (APIError, ImageNotFound) as error:
                raise StartFailed(
                    f"image {image} can't be pulled ({error.explanation}); script/worker-image builds one"
                ) from error

    @contextmanager
    def _reached(self) -> Iterator[APIClient]:
        try:
            yield self._client()
        except (APIError, DockerException, requests.exceptions.RequestException) as error:
            if isinstance(error, ImageNotFound):
                raise
            # One call that takes too long, such as the removal of a container with a million files, says nothing of the
            # others; whether the daemon hangs, its regular check finds (Presence).
            if isinstance(error, APIError | requests.exceptions.ReadTimeout):
                raise RuntimeUnavailable(f"Docker: {error}") from error
            raise RuntimeDown(f"Docker can't be reached: {error}") from error

    def _client(self) -> APIClient:
        with self._connecting:
            if self._connected is None:
                self._connected = docker.from_env(
                    environment=self._environment, timeout=_CALL_S, max_pool_size=self._connections
                ).api
            return self._connected


def published_url(found: Mapping[str, Any], network: str | None) -> str:
    """The URL of a running container's executor; empty if it has none yet."""
    if network is not None:
        address = found["NetworkSettings"]["Networks"].get(network, {}).get("IPAddress")
        return f"http://{address}:{EXECUTOR_PORT}" if address else ""
    bindings = found["NetworkSettings"]["Ports"].get(PORT_KEY) or []
    return f"http://127.0.0.1:{bindings[0]['HostPort']}" if bindings else ""


def status_of(found: Mapping[str, Any]) -> Status:
    """The status of a container that `find` has found."""
    return public_status(found["State"]["Status"])


def public_status(state: str) -> Status:
    """By Docker's word for it."""
    if state == "created":
        return "created"
    return "running" if state in {"running", "restarting", "paused"} else "exited"
