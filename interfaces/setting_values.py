"""The kinds of values that settings take: how each is parsed, and the text that says what is allowed."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Literal, TypeVar, cast
from urllib.parse import urlsplit

Value_co = TypeVar("Value_co", covariant=True)

YEAR_MS: Final = 365 * 24 * 3600 * 1000
SECRET_LENGTH: Final = 32
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NETLOC: Final = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
RATE: Final = (
    "in one process and second, after a pause four seconds' worth at once; further ones get a 429 with `Retry-After`. "
    "A session worker's token counts by itself; without keys, everybody together."
)
"""The end of what a setting means that is a rate of each caller."""
CONNECTIONS: Final = (
    "Connections of clients that one process has open, fewer where the system allows fewer open files. One more closes "
    "the one that has been idle longest; if none is idle, it gets a 503."
)


class InvalidValue(ValueError):  # errors are named after the broken rule
    """A malformed value. Its text says why, and never contains the value, which may be secret."""


@dataclass(frozen=True)
class Kind(Generic[Value_co]):
    """`parse` takes the trimmed text, which is never empty, and raises ValueError."""

    parse: Callable[[str], Value_co]
    allowed: str


@dataclass(frozen=True)
class ApiKey:
    """`name`: the actor in the log. `sha256`: the key's hash, in lower-case hexadecimal."""

    name: str
    sha256: str


def integer(lowest: int, highest: int) -> Kind[int]:
    """Whole numbers in ASCII digits, from `lowest` to `highest`, both included."""

    def parse(text: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,20}", text) is None:
            raise InvalidValue("not a whole number")
        number = int(text)
        if not lowest <= number <= highest:
            raise InvalidValue("out of range")
        return number

    return Kind(parse, f"a whole number from {lowest} to {highest}")


def _url(schemes: frozenset[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise InvalidValue("another scheme")
        if any(letter.isspace() for letter in text):
            raise InvalidValue("it holds a space")
        _ = parts.port  # raises ValueError when malformed
        return text

    return parse


def _http_url(text: str) -> str:
    url = _url(frozenset({"http", "https"}))(text)
    if not urlsplit(url).hostname:
        raise InvalidValue("it names no host")
    return url.rstrip("/")


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise InvalidValue("malformed")
        return text

    return parse


def _secret(text: str) -> str:
    if len(text) < SECRET_LENGTH:
        raise InvalidValue(f"it has {len(text)} characters")
    return text


def _api_keys(text: str) -> tuple[ApiKey, ...]:
    keys: dict[str, ApiKey] = {}
    for number, entry in enumerate((part.strip() for part in text.split(",")), start=1):
        name, _, digest = entry.partition(":")
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}", name) is None:
            raise InvalidValue(f"entry {number} has no usable name")
        if re.fullmatch(r"[0-9a-fA-F]{64}", digest) is None:
            raise InvalidValue(
                f"entry {number} has no SHA-256; make it with `printf %s KEY | sha256sum | cut -d' ' -f1`"
            )
        if name in keys:
            raise InvalidValue(f"entry {number} repeats a name")
        keys[name] = ApiKey(name, digest.lower())
    return tuple(keys.values())


def _origins(text: str) -> frozenset[str]:
    return frozenset(_origin(entry.strip(), number) for number, entry in enumerate(text.split(","), start=1))


def _origin(entry: str, number: int) -> str:
    parts = urlsplit(entry)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "*" in entry:
        raise InvalidValue(f"entry {number} is no origin; there are no wildcards")
    if entry != f"{parts.scheme}://{parts.netloc}" or entry != entry.lower() or "@" in entry:
        raise InvalidValue(f"entry {number} is more than an origin, or not in lower case")
    if _NETLOC.fullmatch(parts.netloc) is None:
        raise InvalidValue(f"entry {number} is not written as browsers do; a name in other letters begins with xn--")
    if parts.port == _DEFAULT_PORTS[parts.scheme]:
        raise InvalidValue(f"entry {number} names the port that browsers leave out")
    return entry


def _log_level(text: str) -> Literal["DEBUG", "INFO", "WARNING", "ERROR"]:
    if text.lower() not in {"debug", "info", "warning", "error"}:
        raise InvalidValue("unknown")
    return cast("Literal['DEBUG', 'INFO', 'WARNING', 'ERROR']", text.upper())


def _worker_runtime(text: str) -> Literal["process", "docker"]:
    if text not in {"process", "docker"}:
        raise InvalidValue("unknown")
    return cast("Literal['process', 'docker']", text)


def _pull_policy(text: str) -> Literal["missing", "never", "always"]:
    if text not in {"missing", "never", "always"}:
        raise InvalidValue("no pull policy")
    return cast("Literal['missing', 'never', 'always']", text)


def _switch(text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidValue("unknown")
    return text == "true"


def _egress(text: str) -> Literal["open", "internet", "none"]:
    if text not in {"open", "internet", "none"}:
        raise InvalidValue("no policy")
    return cast("Literal['open', 'internet', 'none']", text)


def _cpus(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) is None or not (cpus := float(text)):
        raise InvalidValue("no number of CPUs")
    return cpus


def _server_error_codes(text: str) -> frozenset[int]:
    parse = integer(500, 599).parse
    return frozenset(parse(part.strip()) for part in text.split(","))


def _folder(text: str) -> Path:
    return Path(text).expanduser()


TEXT: Final[Kind[str]] = Kind(str, "any text")
FOLDER: Final[Kind[Path]] = Kind(_folder, "a folder's path; it is made where it is missing")
COUNT: Final[Kind[int]] = integer(1, 1_000_000)
DURATION_MS: Final[Kind[int]] = integer(1, YEAR_MS)
HTTP_URL: Final[Kind[str]] = Kind(_http_url, "a URL that begins with http:// or https://")
DATABASE_URL: Final[Kind[str]] = Kind(
    _url(frozenset({"postgres", "postgresql"})), "a URL such as postgresql://user:password@host:5432/database"
)
BUCKET: Final[Kind[str]] = Kind(
    _matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "3 to 63 lower-case letters, digits, dots and hyphens"
)
SECRET: Final[Kind[str]] = Kind(_secret, f"any text of at least {SECRET_LENGTH} characters")
API_KEYS: Final[Kind[tuple[ApiKey, ...]]] = Kind(_api_keys, "`name:sha256-of-key`, several with commas between them")
ORIGINS: Final[Kind[frozenset[str]]] = Kind(
    _origins, "origins such as https://portal.example or http://localhost:3000, several with commas between them"
)
WORKER_RUNTIME: Final[Kind[Literal["process", "docker"]]] = Kind(_worker_runtime, "`process` or `docker`")
PULL_POLICY: Final[Kind[Literal["missing", "never", "always"]]] = Kind(_pull_policy, "`missing`, `never` or `always`")
LOG_LEVEL: Final[Kind[Literal["DEBUG", "INFO", "WARNING", "ERROR"]]] = Kind(
    _log_level, "`debug`, `info`, `warning` or `error`"
)
SWITCH: Final[Kind[bool]] = Kind(_switch, "`true` or `false`")
EGRESS: Final[Kind[Literal["open", "internet", "none"]]] = Kind(_egress, "`open`, `internet` or `none`")
CPUS: Final[Kind[float]] = Kind(_cpus, "a number of CPUs such as 1 or 0.5")
SERVER_ERROR_CODES: Final[Kind[frozenset[int]]] = Kind(
    _server_error_codes, "HTTP statuses from 500 to 599 with commas between them"
)


def is_loopback(host: str) -> bool:
    """Whether a server on `host` can be reached from this machine only; of names, only localhost counts."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
