"""What real containers reach: the metadata address, the host and other workers never, what they need always, the world
as the policy says."""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.docker_host import address_for_containers
from infrastructure.runtimes.egress import HOOKS, HostFirewall, Policy, _run, bridge_of, chain_of
from tests.contract.worker_runtime_contract import SPEC
from tests.support.async_run import run
from tests.support.docker_runtime_harness import DockerRuntimeHarness
from tests.support.private_docker import required_root
from tests.support.world_outside import server_in_the_world

pytestmark = [pytest.mark.proof, pytest.mark.timeout(400), pytest.mark.usefixtures("root")]

OTHER = ContainerSpec(session_id="other-session", generation=1, token="its token")
METADATA = "http://169.254.169.254"
REFUSED = "Couldn't connect to server"
"""At once, as curl tells it; without an answer it would tell of a timeout."""


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server_of_the_host() -> Iterator[int]:
    """The port of a server on all addresses of this machine."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def root() -> None:
    required_root()


@pytest.fixture
def docker_harness(worker_image: str) -> Iterator[DockerRuntimeHarness]:
    harness = DockerRuntimeHarness()
    yield harness
    harness.clean_up()


Limited = Callable[..., DockerWorkerRuntime]


@pytest.fixture
def limited(docker_harness: DockerRuntimeHarness) -> Iterator[Limited]:
    """Makes a runtime whose containers are limited by a policy."""
    harness, made = docker_harness, list[HostFirewall]()

    def runtime(policy: Policy, urls: list[str]) -> DockerWorkerRuntime:
        firewall = HostFirewall(
            harness.installation, policy, urls=urls, host_gateway=lambda: address_for_containers({}), environment={}
        )
        made.append(firewall)
        bridge = None if policy == "open" else firewall.bridge
        return harness.another_process(bridge=bridge, firewall=firewall)

    yield runtime
    harness.clean_containers()
    for firewall in made:
        firewall.remove()


def up(runtime: DockerWorkerRuntime, spec: ContainerSpec = SPEC) -> None:
    run(runtime.prepare())
    run(runtime.start(spec, run(runtime.create(spec)).container_id))


def reaches(harness: DockerRuntimeHarness, url: str, spec: ContainerSpec = SPEC, user: str = "1000") -> str:
    """ "yes", or why not."""
    curl = ("curl", "--silent", "--show-error", "--output", "/dev/null", "--max-time", "4", url)
    code, output = harness.in_container(spec, *curl, user=user)
    return "yes" if code == 0 else output.strip()


def address(harness: DockerRuntimeHarness, spec: ContainerSpec) -> str:
    (network,) = harness.inspected(spec)["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def own_addresses(harness: DockerRuntimeHarness) -> set[str]:
    """Of this machine, as a container may try them: of its own bridge, of Docker's, of the network outside."""
    (network,) = harness.inspected(SPEC)["NetworkSettings"]["Networks"].values()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.254", 9))
        return {str(network["Gateway"]), address_for_containers({}), str(probe.getsockname()[0])}


def test_without_limits_a_container_reaches_the_host_and_the_world(
    docker_harness: DockerRuntimeHarness, limited: Limited
) -> None:
    up(limited("open", []))
    with server_of_the_host() as port, server_in_the_world() as world:
        found = {reaches(docker_harness, f"http://{each}:{port}") for each in own_addresses(docker_harness)}
        assert found == {"yes"}, "or the tests below would prove nothing"
        assert reaches(docker_harness, world) == "yes"


@pytest.mark.parametrize("user", ["1000", "0"])
def test_the_world_is_reached_and_neither_the_host_nor_other_workers_nor_the_metadata_address(
    docker_harness: DockerRuntimeHarness, limited: Limited, user: str
) -> None:
    harness, runtime = docker_harness, limited("internet", [])
    up(runtime)
    up(runtime, OTHER)
    with server_of_the_host() as port, server_in_the_world() as world:
        assert reaches(harness, world, user=user) == "yes"
        for host in own_addresses(harness):
            assert REFUSED in reaches(harness, f"http://{host}:{port}", user=user), host
        assert reaches(harness, f"http://{address(harness, OTHER)}:8700/health", OTHER) == "yes"
        assert REFUSED in reaches(harness, f"http://{address(harness, OTHER)}:8700/health", user=user)
        assert REFUSED in reaches(harness, METADATA, user=user)
        for private in ("10.0.0.1", "172.16.0.1", "192.168.255.1", "100.64.0.1"):
            assert REFUSED in reaches(harness, f"http://{private}", user=user), private
    assert packets(harness.installation, "169.254.0.0/16") > 0, "it was our rule that refused them"
    assert harness.in_container(SPEC, "cat", "/proc/net/if_inet6")[1] == "", "no address of IPv6 to go round the rules"


def test_what_a_worker_needs_is_reached_and_on_that_port_alone(
    docker_harness: DockerRuntimeHarness, limited: Limited
) -> None:
    harness = docker_harness
    with server_of_the_host() as port, server_of_the_host() as another, server_in_the_world() as world:
        needs = [f"http://host.docker.internal:{port}/api", world]
        up(limited("none", needs))
        assert reaches(harness, f"http://host.docker.internal:{port}") == "yes"
        assert reaches(harness, world) == "yes"
        assert REFUSED in reaches(harness, f"http://host.docker.internal:{another}")


def test_with_none_the_world_is_out_of_reach(docker_harness: DockerRuntimeHarness, limited: Limited) -> None:
    up(limited("none", []))
    with server_in_the_world() as world:
        assert REFUSED in reaches(docker_harness, world)


def packets(installation: str, network: str) -> int:
    """How many the rule for a network has refused."""
    shown = _run(["iptables", "-w", "10", "-L", chain_of(installation), "-v", "-n", "-x"])
    (line,) = [line for line in shown.splitlines() if network in line.split()]
    return int(line.split()[0])


def rules(firewall_of: str) -> list[str]:
    """All of an installation, jumps and chains."""
    return [line for line in _run(["iptables", "-w", "10", "-S"]).splitlines() if chain_of(firewall_of) in line]


def test_rules_are_made_once_mended_when_they_are_gone_and_leave_nothing(
    docker_harness: DockerRuntimeHarness, limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    harness, runtime = docker_harness, limited("internet", ["http://10.1.2.3:80"])
    up(runtime)
    made = rules(harness.installation)
    assert len([line for line in made if f"-i {bridge_of(harness.installation)} " in line]) == 2
    run(limited("internet", ["http://10.1.2.3:80"]).prepare())
    assert rules(harness.installation) == made

    assert [line for line in caplog.records if vars(line).get("repair") == "egress_rules"] == []
    chain = chain_of(harness.installation)
    for hook, end in HOOKS:
        _run(["iptables", "-w", "10", "-D", hook, "-i", bridge_of(harness.installation), "-j", f"{chain}{end}"])
    _run(["iptables", "-w", "10", "-F", f"{chain}-IN"])
    run(limited("internet", ["http://10.1.2.3:80"]).own_containers())
    assert rules(harness.installation) == made
    (line,) = [vars(line) for line in caplog.records if vars(line).get("repair") == "egress_rules"]
    assert (line["levelname"], line["bridge"]) == ("WARNING", bridge_of(harness.installation))

    HostFirewall(harness.installation, "internet", environment={}).remove()
    assert rules(harness.installation) == []


def test_two_processes_of_an_installation_are_both_reached(
    docker_harness: DockerRuntimeHarness, limited: Limited
) -> None:
    with server_of_the_host() as first, server_of_the_host() as second:
        up(limited("internet", [f"http://host.docker.internal:{first}"]))
        run(limited("internet", [f"http://host.docker.internal:{second}"]).prepare())
        for port in (first, second):
            assert reaches(docker_harness, f"http://host.docker.internal:{port}") == "yes"
    run(limited("internet", []).prepare())
    assert not [line for line in rules(docker_harness.installation) if str(first) in line or str(second) in line]


def test_an_installation_without_a_network_leaves_no_rules_to_the_next(
    docker_harness: DockerRuntimeHarness, limited: Limited
) -> None:
    gone = f"gone-{docker_harness.installation[-8:]}"
    _run(["iptables", "-w", "10", "-N", chain_of(gone)])
    _run(["iptables", "-w", "10", "-N", f"{chain_of(gone)}-IN"])
    for hook, end in HOOKS:
        jump = ["-i", bridge_of(gone), "-j", f"{chain_of(gone)}{end}"]
        _run(["iptables", "-w", "10", "-I", hook, "1", *jump])
    run(limited("internet", []).prepare())
    assert rules(gone) == []


def test_a_policy_that_is_lifted_takes_its_rules_away_once_no_container_needs_them(
    docker_harness: DockerRuntimeHarness, limited: Limited
) -> None:
    up(limited("internet", []))
    lifted = limited("open", [])
    run(lifted.prepare())
    assert rules(docker_harness.installation) != [], "its container is still on the limited network"
    docker_harness.clean_containers()
    run(lifted.prepare())
    assert rules(docker_harness.installation) == []


def test_a_start_is_refused_where_the_policy_can_not_be_enforced(
    docker_harness: DockerRuntimeHarness, limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = limited("internet", [])
    up(runtime)
    monkeypatch.setattr(HostFirewall, "complaint", lambda _: "somebody took iptables away")
    monkeypatch.setattr("infrastructure.runtimes.egress._SURE_S", 0.0)
    with pytest.raises(RuntimeUnavailable, match="somebody took iptables away"):
        run(runtime.create(OTHER))
