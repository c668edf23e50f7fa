"""Which user runs Postgres: the one that runs Fleetlog or, since Postgres refuses to run as root, an ordinary user.

That is the owner of the data if there is any, else `fleetlog` if that account exists, else `nobody`. The home and the
programs may lie below a folder that only root may enter; changing the modes of parent folders is not ours to do, and
copying the programs would not make the data reachable. So a user that can't enter keeps one capability:
DAC_READ_SEARCH (enter any folder, write nowhere), or DAC_OVERRIDE where a container lacks the first. Postgres checks
its programs with access(2), which ignores the capabilities of an ordinary user unless the secure bit
`no_setuid_fixup` is set.
"""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infrastructure.embedded.errors import NoUsableAccount

PREFERRED_ACCOUNTS = ("fleetlog", "nobody")
REACH = 'test -x "$1" && test -w "$2"'


@dataclass(frozen=True)
class ServerAccount:
    """How to run a command as the account: with `user` and `group` (None: no change), and `prefix` put before it.
    `means`: the same in words, for error messages. `owner`: the uid and gid for its files; None: no change."""

    name: str
    means: str = "as it is"
    user: int | None = None
    group: int | None = None
    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def own(self, path: Path) -> None:
        """Make the account the owner of a file or folder."""
        if self.owner is not None:
            os.chown(path, *self.owner)


def choose_account(program: Path, folder: Path) -> ServerAccount:
    """The account that can run `program` (absolute) with its data in `folder`, whose owner it becomes. Raises
    NoUsableAccount."""
    if os.geteuid() != 0:
        return ServerAccount(name=str(os.geteuid()))
    entry = _ordinary_entry(folder)
    uid, gid, name = entry.pw_uid, entry.pw_gid, entry.pw_name
    os.chown(folder, uid, gid)
    candidates = [ServerAccount(name, user=uid, group=gid, owner=(uid, gid))]
    candidates += [
        ServerAccount(name, f"with {capability}", prefix=_keeping(capability, uid, gid), owner=(uid, gid))
        for capability in ("dac_read_search", "dac_override")
    ]
    complaints: list[str] = []
    for candidate in candidates:
        complaint = _complaint(candidate, [str(program), str(folder)])
        if complaint is None:
            return candidate
        complaints.append(complaint)
    raise NoUsableAccount(name, folder, "; ".join(complaints))


def _ordinary_entry(folder: Path) -> pwd.struct_passwd:
    owner = folder.stat().st_uid
    if owner != 0:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise NoUsableAccount(f"number {owner}", folder, "the owner of the data has no account here") from None
    for name in PREFERRED_ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoUsableAccount(PREFERRED_ACCOUNTS[0], folder, "there is no such account, nor `nobody`")


def _keeping(capability: str, uid: int, gid: int) -> tuple[str, ...]:
    only = f"-all,+{capability}"
    return (
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        "--no-new-privs",
        "--securebits=+no_setuid_fixup",
        f"--inh-caps={only}",
        f"--ambient-caps={only}",
        f"--bounding-set={only}",
        "--",
    )


def _complaint(account: ServerAccount, paths: Sequence[str]) -> str | None:
    try:
        tried = subprocess.run(
            [*account.prefix, "sh", "-c", REACH, "sh", *paths],
            cwd="/",
            user=account.user,
            group=account.group,
            extra_groups=None if account.user is None else [],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{account.means}: {error}"
    if tried.returncode == 0:
        return None
    return f"{account.means}: {tried.stderr.decode(errors='replace').strip() or 'not permitted'}"
