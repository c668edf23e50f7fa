"""How containers of session workers are made: limits, capabilities, labels, network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from application.ports.worker_runtime import ContainerSpec
from domain.identifiers import container_name

EXECUTOR_PORT: Final = 8700
CONFIG_FOLDER: Final = "/etc/fleetlog"
CONFIG_FILE: Final = "executor.json"
AGENT_USER: Final = 1000
PORT_KEY: Final = f"{EXECUTOR_PORT}/tcp"

LABEL_INSTALLATION: Final = "fleetlog.installation"
LABEL_SESSION: Final = "fleetlog.session"
LABEL_GENERATION: Final = "fleetlog.generation"
LABEL_PROTOCOL: Final = "fleetlog.protocol"
"""Of an image: the protocol of its executor. Images of protocol 1 have none."""

EXECUTOR_CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
"""What the executor, root in its container, needs to own the workspace and to start and end agents as another user.
Agents run as an ordinary user under no-new-privileges and have none of them."""


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """`network`: None publishes the executor's port on this machine's loopback; a name attaches the container to that
    Docker network instead, and the executor is called at its address there. `bridge`: the network interface of the
    installation's own network, whose traffic the host's firewall limits; None for one without limits.
    `agent_variables`: what agents need for their models. An executor of protocol 1 has them in its environment; a later
    one is sent those of a run with the run. `disk_bytes`: what a container may write; 0: no limit."""

    image: str
    pull: Literal["missing", "never", "always"] = "missing"
    cpus: float = 1.0
    memory_bytes: int = 2 * 1024**3
    pids: int = 512
    network: str | None = None
    bridge: str | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=lambda: {"host.docker.internal": "host-gateway"})
    agent_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    disk_bytes: int = 0
    log_bytes: int = 10 * 1024**2

    def host_options(self) -> dict[str, Any]:
        """Arguments of `APIClient.create_host_config`."""
        options: dict[str, Any] = {
            "nano_cpus": int(self.cpus * 1_000_000_000),
            "mem_limit": self.memory_bytes,
            "memswap_limit": self.memory_bytes,
            "pids_limit": self.pids,
            "restart_policy": {"Name": "unless-stopped"},
            "auto_remove": False,
            "security_opt": ["no-new-privileges"],
            "cap_drop": ["ALL"],
            "cap_add": list(EXECUTOR_CAPABILITIES),
            "ipc_mode": "private",
            "extra_hosts": dict(self.extra_hosts),
            "log_config": {
                "type": "json-file",
                "config": {"max-size": str(self.log_bytes), "max-file": "2"},
            },
        }
        if self.network is None:
            options["port_bindings"] = {EXECUTOR_PORT: ("127.0.0.1", None)}
        return options


def labels(installation: str, spec: ContainerSpec) -> dict[str, str]:
    return {
        LABEL_INSTALLATION: installation,
        LABEL_SESSION: spec.session_id,
        LABEL_GENERATION: str(spec.generation),
    }


def docker_name(installation: str, spec: ContainerSpec) -> str:
    """The container's name: one per installation, session and generation."""
    return f"fleetlog-{installation}-{container_name(spec.session_id, spec.generation)}"
