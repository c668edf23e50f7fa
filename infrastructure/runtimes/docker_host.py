"""The address at which containers reach servers of this machine: the gateway of Docker's default bridge."""

import ipaddress
import socket
from collections.abc import Mapping

import docker
import requests.exceptions
from docker.errors import DockerException

_CALL_S = 30


class ContainersCannotCall(Exception):
    """Containers can't reach a server of this machine; the message says why and what to do."""


def address_for_containers(environment: Mapping[str, str]) -> str:
    """The address on which a server must listen so that containers and this machine, and no others, reach it.
    `environment` is this process's, for DOCKER_HOST. Blocks. Raises ContainersCannotCall."""
    where = environment.get("DOCKER_HOST") or "the local socket"
    try:
        client = docker.from_env(environment=dict(environment), timeout=_CALL_S)
        try:
            address = _gateway(client.api.inspect_network("bridge"))
        finally:
            client.close()
    except (DockerException, requests.exceptions.RequestException) as error:
        raise ContainersCannotCall(
            f"no Docker daemon answers at {where} ({error}). Start it, or set WORKER_RUNTIME=process."
        ) from error
    if not _is_ours(address):
        raise ContainersCannotCall(
            f"containers of the Docker daemon at {where} are on another machine (bridge {address or 'unknown'}): "
            "they can't reach the embedded S3 server. Set S3_ENDPOINT to one that they reach."
        )
    return address


def _gateway(network: Mapping[str, object]) -> str:
    # Some versions list the gateway only once a container is on the bridge, but the subnet always.
    ipam = network.get("IPAM")
    ranges = (ipam.get("Config") if isinstance(ipam, dict) else None) or []
    for each in ranges:
        subnet = ipaddress.ip_network(each["Subnet"])
        if subnet.version == 4:
            return str(each.get("Gateway") or subnet[1]).split("/")[0]
    return ""


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return bool(address)
