"""A `docker` runtime of its own installation on a real daemon, and what tests do to its containers from outside."""

import io
import json
import os
import secrets
import signal
import tarfile
from dataclasses import replace
from typing import Any

import docker
from docker.api.client import APIClient

from application.ports.worker_runtime import ContainerSpec
from infrastructure.object_store.location import S3Location
from infrastructure.runtimes.container_settings import ContainerSettings, docker_name
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.egress import HostFirewall
from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.polling import wait_until
from tests.support.process_runtime_harness import UNREACHABLE_STORE
from tests.support.worker_image import IMAGE


class DockerRuntimeHarness:
    def __init__(self, store: S3Location = UNREACHABLE_STORE) -> None:
        self.installation = f"test-{secrets.token_hex(4)}"
        self.settings = ContainerSettings(image=IMAGE, pull="never", agent_variables={"ANTHROPIC_API_KEY": "key"})
        self.setup = ExecutorSetup(object_store=store)
        self.api: APIClient = docker.from_env(timeout=60).api
        self._runtimes: list[DockerWorkerRuntime] = []
        self.runtime = self.another_process()

    def another_process(self, firewall: HostFirewall | None = None, **changes: Any) -> DockerWorkerRuntime:
        runtime = DockerWorkerRuntime(
            self.installation,
            replace(self.settings, **changes),
            self.setup,
            environment=os.environ,
            firewall=firewall,
            start_timeout_s=120,
            stop_timeout_s=5,
        )
        self._runtimes.append(runtime)
        return runtime

    def name(self, spec: ContainerSpec) -> str:
        return docker_name(self.installation, spec)

    def inspected(self, spec: ContainerSpec) -> dict[str, Any]:
        return dict(self.api.inspect_container(self.name(spec)))

    def write(self, spec: ContainerSpec, name: str, content: bytes = b"") -> None:
        self._put(spec, "/workspace", tarfile.TarInfo(name), content)

    def written(self, spec: ContainerSpec, name: str) -> bool:
        try:
            self.api.get_archive(self.name(spec), f"/workspace/{name}")
        except docker.errors.NotFound:
            return False
        return True

    def break_start(self, spec: ContainerSpec) -> str:
        obstacle = tarfile.TarInfo("lock")
        obstacle.type = tarfile.DIRTYPE
        self._put(spec, "/var/lib/fleetlog", obstacle)
        return "Is a directory"

    def kill_executor(self, spec: ContainerSpec) -> None:
        before = self.inspected(spec)["State"]
        for process in self.api.top(self.name(spec), "-o pid,comm")["Processes"]:
            if process[1].startswith("python"):
                os.kill(int(process[0]), signal.SIGKILL)
        assert wait_until(lambda: self.inspected(spec)["State"]["Pid"] != before["Pid"], 90)

    def delete_by_hand(self, spec: ContainerSpec) -> None:
        self.api.remove_container(self.name(spec), force=True)

    def visible_to_others(self, spec: ContainerSpec) -> str:
        return json.dumps(self.inspected(spec)) + json.dumps(self.api.top(self.name(spec), "-ef"))

    def in_container(self, spec: ContainerSpec, *command: str, user: str = "1000") -> tuple[int, str]:
        """Exit code and output of a command that is run in it as `user`."""
        execution = self.api.exec_create(self.name(spec), list(command), user=user)
        output = self.api.exec_start(execution["Id"])
        return self.api.exec_inspect(execution["Id"])["ExitCode"], output.decode(errors="replace")

    def clean_containers(self) -> None:
        for container in self.api.containers(all=True, filters=self._label):
            self.api.remove_container(container["Id"], force=True, v=True)

    @property
    def _label(self) -> dict[str, list[str]]:
        return {"label": [f"fleetlog.installation={self.installation}"]}

    def clean_up(self) -> None:
        self.clean_containers()
        HostFirewall(self.installation, "internet", environment={}).remove()
        for network in self.api.networks(filters=self._label):
            self.api.remove_network(network["Id"])
        for runtime in self._runtimes:
            runtime.close()
        self.api.close()

    def _put(self, spec: ContainerSpec, folder: str, member: tarfile.TarInfo, content: bytes = b"") -> None:
        archive = io.BytesIO()
        member.mode, member.size = 0o755, len(content)
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(member, io.BytesIO(content))
        self.api.put_archive(self.name(spec), folder, archive.getvalue())
