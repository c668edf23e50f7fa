"""A root file system made of this Debian machine's own packages, as a tar on standard output.

`python3 host_root.py PACKAGE…`: the named packages, Debian's essential ones, and whatever these depend on; of each the
files that dpkg lists, without documentation and translations. Users are Debian's fresh ones: nobody of this machine,
and no file that belongs to no package, gets in. With `--names` it only prints the packages with their versions.
"""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

FORMAT = "${Package}\t${Essential}\t${Version}\t${db:Status-Abbrev}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
LEFT_OUT = re.compile(r"/usr/share/(doc|man|info|locale|lintian|bug|doc-base)/.")
MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
GENERATED = ("/etc/alternatives", "/etc/ssl/certs", "/usr/share/ca-certificates")
USERS = {"/etc/passwd": "/usr/share/base-passwd/passwd.master", "/etc/group": "/usr/share/base-passwd/group.master"}


class Packages:
    """The installed packages and who provides what."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.essential: list[str] = []
        self._depends: dict[str, str] = {}
        self._providers: dict[str, str] = {}
        listed = subprocess.run(["dpkg-query", "-W", "-f", FORMAT], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            name, essential, version, status, provides, depends = line.split("\t")
            if not status.startswith("ii"):
                continue
            self.versions[name] = version
            self._depends[name] = depends
            if essential == "yes":
                self.essential.append(name)
            for provided in _names(provides):
                self._providers.setdefault(provided, name)

    def closure(self, wanted: list[str]) -> list[str]:
        """The packages and all that they depend on, by name; an unknown one ends the program."""
        found: set[str] = set()
        waiting = [*wanted, *self.essential]
        while waiting:
            name = waiting.pop()
            installed = name if name in self.versions else self._providers.get(name)
            if installed is None:
                sys.exit(f"host_root: package {name} is not installed here")
            if installed not in found:
                found.add(installed)
                waiting += self._needed(installed)
        return sorted(found)

    def _needed(self, name: str) -> list[str]:
        needed = []
        for alternatives in self._depends[name].split(","):
            present = [each for each in _names(alternatives, "|") if each in self.versions or each in self._providers]
            needed += present[:1]
        return needed


def _names(text: str, separator: str = ",") -> list[str]:
    """The package names of a relation field, without versions and architectures."""
    parts = (re.split(r"[\s(:\[]", part.strip(), maxsplit=1)[0] for part in text.split(separator))
    return [part for part in parts if part]


def paths_of(packages: list[str]) -> set[str]:
    """All paths to copy, with their parents; the names under which the files really are (/bin may be a link)."""
    listed = subprocess.run(["dpkg", "-L", *packages], capture_output=True, text=True, check=True)
    raw = {line for line in listed.stdout.splitlines() if line.startswith("/") and not LEFT_OUT.match(line)}
    for folder in GENERATED:
        raw |= {folder, *(str(path) for path in Path(folder).rglob("*"))}
    for folder in ("/usr/bin", "/usr/sbin", "/usr/lib"):
        raw |= {str(link) for link in Path(folder).iterdir() if _by_alternatives(link)}
    found: set[str] = set()
    for path in raw - {"/."}:
        real = str(Path(path).parent.resolve() / Path(path).name)
        if os.path.lexists(real) and real not in MERGED:
            found.add(real)
            found.update(str(parent) for parent in Path(real).parents)
    return (found | {path for path in MERGED if os.path.lexists(path)}) - {"/"}


def _by_alternatives(path: Path) -> bool:
    return path.is_symlink() and str(path.readlink()).startswith("/etc/alternatives/")


def main() -> None:
    arguments = sys.argv[1:]
    packages = Packages()
    names = packages.closure([argument for argument in arguments if not argument.startswith("-")])
    if "--names" in arguments:
        print("\n".join(f"{name} {packages.versions[name]}" for name in names))
        return
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(paths_of(names) - set(USERS)):
            tar.add(path, arcname=path.lstrip("/"), recursive=False)
        for path, master in USERS.items():
            tar.add(master, arcname=path.lstrip("/"), recursive=False)


if __name__ == "__main__":
    main()
