"""What containers of session workers reach, by rules in the firewall of Docker's host.

The containers of an installation are on a bridge of its own. What comes from it goes through two chains of ours: what
is forwarded (to the world, to other networks) by a jump in Docker's chain DOCKER-USER, and what is meant for the host
itself by one in INPUT. `internet` lets the world through and no private range, `none` nothing; both let through what a
worker needs, by address and port. All of it is idempotent, and kept apart by the installation's id.
"""

import ipaddress
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from application.repairs.kinds import EGRESS_RULES, ORPHAN_RULES
from application.repairs.said import UNCOUNTED, Found, Repairs

Policy = Literal["open", "internet", "none"]

PRIVATE: Final = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8", "0.0.0.0/8",
    "192.0.0.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    "168.63.129.16/32",  # Azure's host, by an address that only looks public
)  # fmt: skip
HOOKS: Final = (("DOCKER-USER", ""), ("INPUT", "-IN"))
"""Chains from which ours are entered, and the ends of their names."""
_BINARIES = ("iptables", "iptables-nft", "iptables-legacy")
_RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_TIMEOUT_S = 20
_LOCK_S = 10
_SURE_S = 50.0
"""How long rules that were seen in force are not looked at again."""
_LISTENS_S = 0.2
_log = logging.getLogger("fleetlog.egress")


class EgressNotEnforceable(Exception):
    """The policy can't be enforced here; the message says why."""

    def __init__(self, policy: str, why: str) -> None:
        super().__init__(
            f"FLEETLOG_WORKER_EGRESS={policy} can't be enforced: {why}. Set FLEETLOG_WORKER_EGRESS=open to let "
            "containers reach whatever this machine reaches, and limit that yourself"
        )


class Need(msgspec.Struct, frozen=True, order=True):
    """An IPv4 address and a TCP port that containers must reach, whatever the policy."""

    address: str
    port: int


def bridge_of(installation: str) -> str:
    """The name of the installation's network interface; Linux allows 15 characters."""
    return f"fl{installation[:13]}"


def chain_of(installation: str) -> str:
    """The name of its chains but for their ends; iptables allows 28 characters."""
    return f"FLEETLOG-{installation[:14]}"


def forwarded_rules(policy: Policy, needs: Iterable[Need], resolvers: Iterable[str]) -> list[str]:
    """For what is not meant for the host itself. Docker's own rules follow after a RETURN."""
    rules = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
    rules += [f"-d {need.address}/32 -p tcp -m tcp --dport {need.port} -j RETURN" for need in sorted(needs)]
    rules += [rule for each in resolvers for rule in _to_resolver(each, "RETURN")]
    refused = [f"-d {each} " for each in PRIVATE] if policy == "internet" else [""]
    return rules + [f"{each}-j REJECT --reject-with icmp-admin-prohibited" for each in refused]


def host_rules(needs: Iterable[Need], resolvers: Iterable[str]) -> list[str]:
    """For what is meant for the host: nothing but what is needed."""
    rules = ["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
    rules += [_to_host(need) for need in sorted(needs)]
    rules += [rule for each in resolvers for rule in _to_resolver(each, "ACCEPT")]
    return [*rules, "-j REJECT --reject-with icmp-admin-prohibited"]


def _to_host(need: Need) -> str:
    return f"-d {need.address}/32 -p tcp -m tcp --dport {need.port} -j ACCEPT"


def _to_resolver(address: str, verdict: str) -> list[str]:
    return [f"-d {address}/32 -p {kind} -m {kind} --dport 53 -j {verdict}" for kind in ("udp", "tcp")]


def needed(urls: Iterable[str], *, host_gateway: str = "") -> set[Need]:
    """The addresses of these URLs now. `host_gateway`: what containers know as host.docker.internal. A name that can't
    be resolved now is logged and left out. Blocks."""
    found = set[Need]()
    for url in urls:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if host == "host.docker.internal":
            host = host_gateway
        try:
            answers = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM) if host else []
        except OSError as error:
            _log.warning("session workers may not reach %s: %s", host, error)
            continue
        found |= {Need(str(address[0]), port) for *_, address in answers if not _is_loopback(str(address[0]))}
    return found


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def resolvers() -> list[str]:
    """The IPv4 name servers that Docker gives containers: those of this machine, but on loopback."""
    for file in _RESOLVERS:
        try:
            lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        named = [words[1] for words in map(str.split, lines) if words[:1] == ["nameserver"] and len(words) > 1]
        found = [each for each in named if _is_ipv4(each) and not _is_loopback(each)]
        if found:
            return found
    return []


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False


class HostFirewall:
    """The rules of one installation. All calls block. Safe to use from many threads.

    `urls`: what containers must reach, whatever the policy; `more_urls` gives another one as it is now.
    `host_gateway` gives the address that containers know as host.docker.internal. `environment` is this process's, for
    DOCKER_HOST.
    """

    def __init__(
        self,
        installation: str,
        policy: Policy,
        *,
        urls: Sequence[str] = (),
        more_urls: Callable[[], str] = str,
        host_gateway: Callable[[], str] = str,
        environment: Mapping[str, str],
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self.policy, self.bridge = policy, bridge_of(installation)
        self._chain = chain_of(installation)
        self._urls, self._more_urls, self._host_gateway = tuple(urls), more_urls, host_gateway
        self._environment = environment
        self._lock = threading.Lock()
        self._seen_at = float("-inf")

    def complaint(self) -> str:
        """Why rules can't be made here; empty if they can."""
        where = self._environment.get("DOCKER_HOST", "")
        if where and not where.startswith("unix://"):
            return f"the Docker daemon is at {where}, and its host's firewall can't be reached from here"
        return "" if self._binary() else _why_not()

    def told(self) -> str:
        """The policy, for people."""
        return {
            "open": "open: containers reach whatever this machine reaches",
            "internet": "internet: containers reach the world, and no private address but what they need",
            "none": "none: containers reach nothing but what they need",
        }[self.policy]

    def bridge_is_missing(self) -> bool:
        return self.policy != "open" and not Path("/sys/class/net", self.bridge).exists()

    def enforce(self, *, anew: bool = False) -> None:
        """Put the rules in force if they are not; `anew`: do not trust what was seen seconds ago. Raises
        EgressNotEnforceable."""
        with self._lock:
            if self.policy == "open" or (not anew and time.monotonic() - self._seen_at < _SURE_S):
                return
            if why := self.complaint():
                raise EgressNotEnforceable(self.policy, why)
            if self.bridge_is_missing():
                raise EgressNotEnforceable(
                    self.policy,
                    f"the containers' bridge {self.bridge} is not on this machine (rootless, in another VM?)",
                )
            try:
                were_gone = self._apply()
            except _Refused as error:
                raise EgressNotEnforceable(self.policy, str(error)) from error
            self._seen_at = time.monotonic()
        if were_gone and not anew:
            self._repairs.made(EGRESS_RULES, Found(about={"bridge": self.bridge}))

    def remove(self) -> None:
        """Take all of it away; no error if there is nothing."""
        binary = self._binary()
        if binary:
            _remove(binary, self.bridge, self._chain)
        self._seen_at = float("-inf")

    def _apply(self) -> bool:
        """Whether a chain was empty, or none was entered."""
        binary = self._binary()
        wanted = self._wanted(binary)
        found = {chain: _rules_of(binary, chain) for chain in wanted}
        were_gone = not all(found.values())
        if found != wanted:
            lines = ["*filter", *(f":{chain} - [0:0]" for chain in wanted)]
            lines += [f"-A {chain} {rule}" for chain, rules in wanted.items() for rule in rules]
            _run([f"{binary}-restore", "--noflush", "-w", str(_LOCK_S)], "\n".join([*lines, "COMMIT", ""]))
        for hook, end in HOOKS:
            jump = [hook, "-i", self.bridge, "-j", f"{self._chain}{end}"]
            if not _holds(binary, "-C", *jump):
                _run([binary, "-w", str(_LOCK_S), "-I", hook, "1", *jump[1:]])
                were_gone = True
        removed = [Found(about={"bridge": bridge}) for bridge in _remove_orphans(binary)]
        self._repairs.made(ORPHAN_RULES, *removed)
        return were_gone

    def _wanted(self, binary: str) -> dict[str, list[str]]:
        gateway = self._host_gateway()
        needs, names = needed([*self._urls, self._more_urls()], host_gateway=gateway), resolvers()
        # Another process of this installation on this host serves its containers, too.
        others = {need for need in _host_needs(_rules_of(binary, f"{self._chain}-IN")) - needs if _listens(need)}
        own = {
            "": forwarded_rules(self.policy, needs, names),
            "-IN": host_rules(needs | others, names),
        }
        return {f"{self._chain}{end}": rules for end, rules in own.items()}

    def _binary(self) -> str:
        """The iptables that sees Docker's chain; "" if none does."""
        return next((each for each in _BINARIES if shutil.which(each) and _holds(each, "-S", "DOCKER-USER")), "")


class _Refused(Exception):
    """iptables refused; the message is its own."""


def _why_not() -> str:
    if not any(shutil.which(each) for each in _BINARIES):
        return "there is no iptables on this machine"
    try:
        _run(["iptables", "-w", str(_LOCK_S), "-S", "DOCKER-USER"])
    except _Refused as error:
        wanted = "its rules need root or CAP_NET_ADMIN on Docker's host, and a Docker that keeps its own there"
        return f"{wanted} (iptables says: {error})"
    return "iptables shows no rules of Docker's"


def _host_needs(rules: Iterable[str]) -> set[Need]:
    found = set[Need]()
    for rule in rules:
        words = rule.split()
        if rule.endswith("-j ACCEPT") and "--dport" in words and "-d" in words:
            need = Need(words[words.index("-d") + 1].partition("/")[0], int(words[words.index("--dport") + 1]))
            if rule == _to_host(need) and need.port != 53:
                found.add(need)
    return found


def _listens(need: Need) -> bool:
    try:
        with socket.create_connection((need.address, need.port), timeout=_LISTENS_S):
            return True
    except OSError:
        return False


def _rules_of(binary: str, chain: str) -> list[str]:
    """As `iptables -S` writes them, without the chain's name; empty if there is no such chain."""
    try:
        shown = _run([binary, "-w", str(_LOCK_S), "-S", chain])
    except _Refused:
        return []
    return [line.removeprefix(f"-A {chain} ") for line in shown.splitlines() if line.startswith(f"-A {chain} ")]


def _remove_orphans(binary: str) -> list[str]:
    """The rules of installations whose bridge is gone; the bridges' names."""
    removed = []
    for rule in _rules_of(binary, "DOCKER-USER"):
        words = rule.split()
        is_ours = words[:1] == ["-i"] and words[2:3] == ["-j"] and words[3].startswith("FLEETLOG-")
        if is_ours and not Path("/sys/class/net", words[1]).exists():
            _remove(binary, words[1], words[3])
            removed.append(words[1])
    return removed


def _remove(binary: str, bridge: str, chain: str) -> None:
    for hook, end in HOOKS:
        jump = [hook, "-i", bridge, "-j", f"{chain}{end}"]
        while _holds(binary, "-D", *jump):
            pass
        for action in ("-F", "-X"):
            _holds(binary, action, f"{chain}{end}")


def _holds(binary: str, *arguments: str) -> bool:
    """Whether iptables does this, or says that it is so."""
    try:
        _run([binary, "-w", str(_LOCK_S), *arguments])
    except _Refused:
        return False
    return True


def _run(command: Sequence[str], content: str = "") -> str:
    try:
        done = subprocess.run(
            list(command), input=content, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Refused(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise _Refused(" ".join(done.stderr.split())[:500] or f"{command[0]} ended with {done.returncode}")
    return done.stdout
