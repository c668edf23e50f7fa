"""A hostile script, run as an agent in a container: it gets neither at its executor nor at anybody else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import hostile_agent
from tests.support.docker_containers import docker
from tests.support.docker_fleetlog import DockerFleetlog, running_docker_fleetlog

pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]

AT_ITS_EXECUTOR = {
    "its token and S3 keys",
    "its token and S3 keys, through /proc",
    "its journals",
    "its environment",
    "its open files",
    "its memory",
    "the map of its memory",
    "tracing it",
    "a signal to it",
    "its executor without the token",
}
AT_MORE_RIGHTS = {
    "another user or group",
    "a program that gives rights",
    "a right of its own",
    "a file outside its workspace",
    "a device",
    "a raw socket",
    "the Docker socket",
}


@pytest.fixture
def fleetlog(worker_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerFleetlog]:
    with running_docker_fleetlog(tmp_path_factory.mktemp("hostile") / "home", worker_image, first="victim") as server:
        yield server


def network_of(container: str) -> tuple[str, str, str]:
    """A container's own address, its gateway's, and the port of this machine at which its executor is published."""
    found = json.loads(docker("inspect", container))[0]["NetworkSettings"]
    (network,) = found["Networks"].values()
    return network["IPAddress"], network["Gateway"], found["Ports"]["8700/tcp"][0]["HostPort"]


def secrets_of(container: str) -> dict[str, Any]:
    """The configuration of its executor, which root alone can read."""
    return dict(json.loads(docker("exec", "-u", "0", container, "cat", "/etc/fleetlog/executor.json")))


def database_port(server: DockerFleetlog) -> str:
    """The fourth line of what Postgres writes down of itself."""
    return (server.home / "postgres/data/postmaster.pid").read_text().splitlines()[3]


def test_a_hostile_agent_gets_at_nothing_but_its_own_workspace(fleetlog: DockerFleetlog) -> None:
    victim = fleetlog.container("victim")
    fleetlog.activate("hostile")
    own = fleetlog.container("hostile")
    address, gateway, port = network_of(victim)
    _, own_gateway, own_port = network_of(own)
    configuration = secrets_of(own)
    store = urlsplit(configuration["s3Endpoint"]).netloc
    places = {
        "another session's executor": f"{address}:8700",
        "another session's executor, by its published port": f"{gateway}:{port}",
        "another session's executor, by the host's name": f"host.docker.internal:{port}",
        "its own published port": f"{own_gateway}:{own_port}",
        "the API, by the gateway": f"{gateway}:{fleetlog.port}",
        "the API, by the host's name": f"host.docker.internal:{fleetlog.port}",
        "the API, on its own loopback": f"127.0.0.1:{fleetlog.port}",
        "the database, by the gateway": f"{gateway}:{database_port(fleetlog)}",
        "the object store without a key": store,
    }
    program = Path(hostile_agent.__file__).read_text()
    arguments = " ".join(f'"{name}={place}"' for name, place in places.items())

    output = fleetlog.output_of(f"python3 - {arguments} <<'END'\n{program}\nEND", "hostile")

    lines = [line.split("|") for line in output.splitlines()]
    came_of = {line[0]: "|".join(line[1:]) for line in lines if line[0] != "seen"}
    assert came_of == dict.fromkeys(AT_ITS_EXECUTOR | AT_MORE_RIGHTS | {*places}, "held")
    assert ["seen", "2 processes attacked"] in lines
    for name in ("token", "s3AccessKey", "s3SecretKey"):
        assert configuration[name] not in output, f"{name} can be read in an environment or a command line"
    assert docker("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", own, victim) == "running 0\nrunning 0"
    assert fleetlog.output_of("ls -A | grep -v '^[.]'; id -u", "hostile") == "1000\n"
