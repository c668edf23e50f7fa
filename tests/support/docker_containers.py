"""What a Docker daemon knows of one installation, by the docker command alone."""

import subprocess

from infrastructure.runtimes.egress import HostFirewall

LABEL = "fleetlog.installation"


def docker(*arguments: str) -> str:
    """What the docker command prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def containers(installation: str, *, state: str | None = None) -> list[str]:
    """Ids of all its containers, or of those in `state`."""
    filters = ["--filter", f"label={LABEL}={installation}"]
    if state is not None:
        filters += ["--filter", f"status={state}"]
    return docker("ps", "-aq", "--no-trunc", *filters).split()


def remove_everything(installation: str) -> None:
    """Containers and networks, as the end of a test."""
    if found := containers(installation):
        docker("rm", "-fv", *found)
    HostFirewall(installation, "internet", environment={}).remove()
    if networks := docker("network", "ls", "-q", "--filter", f"label={LABEL}={installation}").split():
        docker("network", "rm", *networks)
