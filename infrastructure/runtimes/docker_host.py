"""The address at which containers reach servers of this machine: the gateway of Docker's default bridge, or this
machine's own address in the containers' network."""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

import docker
import requests.exceptions
from docker.errors import DockerException, NotFound

_CALL_S = 30


class ContainersCannotCall(Exception):
    """Containers can't reach a server of this machine; the message says why and what to do. `lasting`: not before the
    settings are others."""

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


def address_for_containers(environment: Mapping[str, str], network: str | None = None) -> str:
    """The address on which a server must listen so that containers and this machine, and no others, reach it.
    `network`: the containers' own, "bridge" by default. `environment` is this process's, for DOCKER_HOST. Blocks.
    Raises ContainersCannotCall."""
    where = environment.get("DOCKER_HOST") or "the local socket"
    try:
        client = docker.from_env(environment=dict(environment), timeout=_CALL_S)
        try:
            address = _address_in(client.api.inspect_network(network or "bridge"))
        finally:
            client.close()
    except NotFound as error:
        raise ContainersCannotCall(f"Docker has no network {network}; WORKER_NETWORK names it", lasting=True) from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise ContainersCannotCall(
            f"no Docker daemon answers at {where} ({error}). Start it, or set WORKER_RUNTIME=process.", lasting=False
        ) from error
    if not address:
        raise ContainersCannotCall(
            f"containers of the Docker daemon at {where} are on another machine: they can't reach the object store "
            "through this one. Set S3_ENDPOINT to one that they reach, and S3_WORKER_ROLE_ARN so that they get "
            "credentials of their own.",
            lasting=True,
        )
    return address


def address_for_containers_now(environment: Mapping[str, str], network: str | None = None) -> str:
    """The same, but "" while no daemon answers."""
    try:
        return address_for_containers(environment, network)
    except ContainersCannotCall as error:
        if error.lasting:
            raise
        return ""


def _address_in(network: Mapping[str, Any]) -> str:
    """This machine's, "" if it has none there."""
    gateway, subnet = _gateway(network)
    if _is_ours(gateway):
        return gateway
    if subnet is None:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # sends nothing: it asks for the route
        try:
            probe.connect((str(subnet[1]), 9))
        except OSError:
            return ""
        own = str(probe.getsockname()[0])
    return own if ipaddress.ip_address(own) in subnet else ""


def _gateway(network: Mapping[str, Any]) -> tuple[str, ipaddress.IPv4Network | None]:
    # Some versions list the gateway only once a container is on the bridge, but the subnet always.
    ipam = network.get("IPAM")
    ranges = (ipam.get("Config") if isinstance(ipam, dict) else None) or []
    for each in ranges:
        subnet = ipaddress.ip_network(each["Subnet"])
        if isinstance(subnet, ipaddress.IPv4Network):
            return str(each.get("Gateway") or subnet[1]).split("/")[0], subnet
    return "", None


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return bool(address)
