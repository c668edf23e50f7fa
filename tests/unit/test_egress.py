"""What the rules for containers say."""

import pytest

from infrastructure.runtimes.egress import (
    EgressNotEnforceable,
    HostFirewall,
    Need,
    bridge_of,
    chain_of,
    forwarded_rules,
    host_rules,
    needed,
    resolvers,
)

NEEDS = {Need("10.1.2.3", 443), Need("10.0.0.9", 8000)}
REJECT = "-j REJECT --reject-with icmp-admin-prohibited"


def test_names_fit_what_the_kernel_allows():
    assert len(bridge_of("x" * 40)) <= 15
    assert len(f"{chain_of('x' * 40)}-IN") <= 28


def test_the_world_is_let_through_and_no_private_range_but_for_what_is_needed():
    rules = forwarded_rules("internet", NEEDS, ["10.9.9.9"])
    allowed = [rule for rule in rules if rule.endswith("RETURN")]
    assert rules[: len(allowed)] == allowed
    assert "-d 10.1.2.3/32 -p tcp -m tcp --dport 443 -j RETURN" in allowed
    assert "-d 10.9.9.9/32 -p udp -m udp --dport 53 -j RETURN" in allowed
    refused = {rule.split()[1] for rule in rules[len(allowed) :]}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"} <= refused


def test_nothing_is_let_through_but_what_is_needed():
    rules = forwarded_rules("none", NEEDS, [])
    assert rules[-1] == REJECT
    assert all(rule.endswith("RETURN") for rule in rules[:-1])


def test_of_the_host_nothing_is_reached_but_what_is_needed():
    assert host_rules({Need("172.17.0.1", 9000)}, []) == [
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-d 172.17.0.1/32 -p tcp -m tcp --dport 9000 -j ACCEPT",
        REJECT,
    ]


def test_needs_are_the_addresses_of_urls_without_our_loopback(caplog):
    urls = ["http://10.1.1.1:81", "https://10.1.1.2/v1", "http://host.docker.internal:8080", "http://127.0.0.1:1", ""]
    assert needed([*urls, "http://u:p@10.1.1.3", "http://no.such.host.invalid"], host_gateway="172.17.0.1") == {
        Need("10.1.1.1", 81),
        Need("10.1.1.2", 443),
        Need("172.17.0.1", 8080),
        Need("10.1.1.3", 80),
    }
    assert "no.such.host.invalid" in caplog.text


def test_resolvers_are_those_of_this_machine(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr("infrastructure.runtimes.egress._RESOLVERS", (str(first), str(second)))
    assert resolvers() == []
    first.write_text("search x\nnameserver 127.0.0.53\nnameserver ::1\n")
    second.write_text("nameserver 10.0.0.2 # the network's\nnameserver 10.0.0.3\n")
    assert resolvers() == ["10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize(
    ("environment", "why"),
    [({"DOCKER_HOST": "tcp://10.0.0.1:2375"}, "is at tcp://10.0.0.1:2375"), ({"DOCKER_HOST": "ssh://x"}, "ssh://x")],
)
def test_a_daemon_elsewhere_can_not_be_limited_from_here(environment, why):
    firewall = HostFirewall("of-the-tests", "internet", environment=environment)
    with pytest.raises(EgressNotEnforceable, match="Set FLEETLOG_WORKER_EGRESS=open") as no:
        firewall.enforce()
    assert why in str(no.value)


def test_without_iptables_nothing_can_be_limited(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    firewall = HostFirewall("of-the-tests", "none", environment={})
    with pytest.raises(EgressNotEnforceable, match="there is no iptables on this machine"):
        firewall.enforce()
    HostFirewall("of-the-tests", "open", environment={}).enforce()


def test_rules_that_this_user_may_not_make_are_told_so(monkeypatch, tmp_path):
    program = tmp_path / "iptables"
    program.write_text("#!/bin/sh\necho 'Permission denied (you must be root)' >&2; exit 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    firewall = HostFirewall("of-the-tests", "internet", environment={})
    with pytest.raises(EgressNotEnforceable, match="you must be root"):
        firewall.enforce()
