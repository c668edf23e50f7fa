"""Which texts in a run's provider options are secrets, and their replacement by placeholders and back.

The options of a run are in the log. What a provider says may hold secrets (settings, MCP servers) is searched for texts
that are one by their name, their place or their look; the rest stays readable.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from domain.errors import InvalidInput
from domain.run.values import RunSpec

MAX_SECRETS = 64
"""Of one run: more than any agent has servers."""
SHORTEST = 8
"""Characters, as what is redacted at all."""
PLACEHOLDER = re.compile(r"\[secret [0-9a-f]{24}\]")
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|api[-_]?key|auth|credential|cookie|signature|private|bearer|(^|[-_])key$", re.IGNORECASE
)
_NAME_OF_A_VARIABLE = re.compile(r"env[-_]?var$", re.IGNORECASE)
_OF_VARIABLES = frozenset({"env_http_headers", "envHttpHeaders"})
"""Their values are names of variables."""
_LOOKS = re.compile(
    r"\b(sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeprs]-[\w-]{10,}|AKIA[A-Z0-9]{16}|glpat-[\w-]{16,}"
    r"|(?<!-)eyJ[\w-]{10,}+\.[\w-]{10,}+\.[\w-])|\b(Bearer|Basic) \S{8,}"
)
"""Callers choose the texts, so a search must take linear time: what looks on to its end begins at no other's middle."""
_REFERENCE = re.compile(r"\$\{\w+(:-[^}]*)?\}|\{(env|file):[^}]+\}")
_FLAG = re.compile(r"--?([\w-]+)(?:=(.*))?", re.DOTALL)
_RANDOM = re.compile(r"(?![./])(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_\-+/=.]{20,}")
_PLACES = frozenset({"env", "environment", "headers", "http_headers", "httpHeaders", "oauth"})


def withheld(
    spec: RunSpec, options: Sequence[str], placeholder: Callable[[str], str]
) -> tuple[RunSpec, tuple[str, ...]]:
    """The spec with placeholders for the secrets in these of its options, and the secrets. Raises InvalidInput when
    there are more than MAX_SECRETS."""
    found: dict[str, None] = {}

    def replaced(value: str) -> str:
        found[value] = None
        return placeholder(value)

    changed = {
        name: _mapped(value, (name,), replaced) if name in options else value
        for name, value in spec.provider_options.items()
    }
    if len(found) > MAX_SECRETS:
        raise InvalidInput("providerOptions", f"holds {len(found)} secrets; {MAX_SECRETS} are allowed")
    return (msgspec.structs.replace(spec, provider_options=changed) if found else spec), tuple(found)


def placeholders(spec: RunSpec) -> set[str]:
    """Those in the spec's options."""
    if not spec.provider_options:
        return set()
    return set(PLACEHOLDER.findall(msgspec.json.encode(spec.provider_options).decode()))


def filled(spec: RunSpec, secrets: Mapping[str, str]) -> RunSpec:
    """The spec with the secrets in the place of their placeholders."""
    changed = {name: _filled(value, secrets) for name, value in spec.provider_options.items()}
    return msgspec.structs.replace(spec, provider_options=changed)


def to_redact(secrets: Sequence[str]) -> tuple[str, ...]:
    """The secrets, and the parts of them that are secret by themselves."""
    each = (part for secret in secrets for part in (secret, *_parts(secret)))
    return tuple(dict.fromkeys(part for part in each if len(part) >= SHORTEST))


def _mapped(value: Any, path: tuple[str, ...], replaced: Callable[[str], str], after: str = "") -> Any:
    """`after`: the text before it in a list of arguments."""
    if isinstance(value, str):
        return replaced(value) if _is_secret(value, path, after) else value
    if isinstance(value, dict):
        return {name: _mapped(each, (*path, name), replaced) for name, each in value.items()}
    if isinstance(value, list):
        before = ("", *(each if isinstance(each, str) else "" for each in value[:-1]))
        return [_mapped(each, path, replaced, previous) for each, previous in zip(value, before, strict=True)]
    return value


def _is_secret(value: str, path: tuple[str, ...], after: str) -> bool:
    if len(value) < SHORTEST or _REFERENCE.fullmatch(value) or _OF_VARIABLES & set(path):
        return False
    name = path[-1]
    if _SECRET_NAME.search(name) and not _NAME_OF_A_VARIABLE.search(name):
        return True
    in_its_place = bool(_PLACES & set(path[:-1])) and _RANDOM.fullmatch(value) is not None
    return in_its_place or _LOOKS.search(value) is not None or any(_parts(value)) or _is_flagged(after)


def _parts(value: str) -> Iterator[str]:
    """The secrets within a text: a header's, an argument's, a URL's."""
    head, _, rest = value.partition(" ")
    if head.lower() in {"bearer", "basic", "token"} and rest:
        yield rest
    argument = _FLAG.fullmatch(value)
    if argument and argument[2] and _SECRET_NAME.search(argument[1]):
        yield argument[2]
    if "://" in value:
        try:
            parts = urlsplit(value)
            password, pairs = parts.password, parse_qsl(parts.query)
        except ValueError:
            return
        if password:
            yield from (password, unquote(password))
        yield from (each for name, each in pairs if _SECRET_NAME.search(name))


def _is_flagged(after: str) -> bool:
    argument = _FLAG.fullmatch(after)
    return argument is not None and argument[2] is None and _SECRET_NAME.search(argument[1]) is not None


def _filled(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return secrets.get(value, value)
    if isinstance(value, dict):
        return {name: _filled(each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, secrets) for each in value]
    return value
