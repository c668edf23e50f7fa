"""Keeps credentials out of whatever an agent reports: whole, cut by somebody on the way, or streamed in pieces."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from domain.event import Event, encode
from domain.run.events import MessageDelta, ReasoningDelta, RunWarning

SHORTEST_SECRET = 8
"""What is shorter is no credential, and would mangle ordinary text."""
SHORTEST_PART = 14
"""So much of a secret's beginning or end is as good as the secret. What all keys of one kind begin with is shorter."""
REPLACEMENT = "[secret]"

Kind = TypeVar("Kind", bound=Event)
_ESCAPINGS = 3
"""A secret is looked for as it is, as in a JSON string, and as in JSON that is within such a string."""


def secrets_in(variables: Mapping[str, str], credentials: Iterable[str]) -> tuple[str, ...]:
    """The values of the credentials among `variables`, and the passwords in the URLs among the others."""
    names = set(credentials)
    found = {value for name, value in variables.items() if name in names}
    for value in variables.values():
        if "://" in value and "@" in value:
            password = urlsplit(value).password or ""
            found |= {password, unquote(password)}
    return tuple(sorted(secret for secret in found if len(secret) >= SHORTEST_SECRET))


class Redactor:
    """Longer secrets first, so that one within another leaves no rest."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = frozenset(secrets)
        self._texts = sorted({each for secret in self._secrets for each in _escaped(secret)}, key=len, reverse=True)
        # Of a part, what is not escaped comes first: the end of a secret may be the same in all three.
        self._long = [text for text in reversed(self._texts) if len(text) > SHORTEST_PART]
        parts = {part for text in self._long for part in (text[:SHORTEST_PART], text[-SHORTEST_PART:])}
        self._signs = [sign.encode() for sign in parts | (set(self._texts) - set(self._long))]

    def also(self, secret: str) -> "Redactor":
        """One that keeps this out, too; an empty one is none."""
        return Redactor([*self._secrets, secret]) if secret else self

    def text(self, text: str) -> str:
        """The text without any secret, or a part of one that somebody has cut."""
        return self._without_parts(self.without_whole(text))

    def event(self, event: Kind) -> Kind:
        """The event with every secret in its texts replaced."""
        payload = encode(event)
        if not self._may_be_in(payload):
            return event
        return msgspec.json.decode(msgspec.json.encode(self._clean(payload)), type=type(event))

    def json(self, document: bytes) -> bytes:
        """The same for what should be JSON; it is JSON afterwards when it was before."""
        if not self._may_be_in(document):
            return document
        try:
            return msgspec.json.encode(self._clean(document))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.text(document.decode("utf-8", "replace")).encode()

    def without_whole(self, text: str) -> str:
        """The text without secrets that are there from beginning to end."""
        for secret in self._texts:
            text = text.replace(secret, REPLACEMENT)
        return text

    def possible_start(self, text: str) -> int:
        """How many characters at the end of `text` may begin a secret that goes on in the next piece."""
        longest = 0
        for secret in self._texts:
            for size in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:size]):
                    longest = size
                    break
        return longest

    def beginning_with(self, start: str) -> Iterator[str]:
        """The secrets that begin so."""
        return (secret for secret in self._texts if secret.startswith(start))

    def _may_be_in(self, document: bytes) -> bool:
        return any(sign in document for sign in self._signs)

    def _clean(self, document: bytes) -> Any:
        return _mapped(msgspec.json.decode(document), self.text)

    def _without_parts(self, text: str) -> str:
        for secret in self._long:
            text = _without_start(text, secret)
            text = _without_start(text[::-1], secret[::-1], REPLACEMENT[::-1])[::-1]
        return text


class StreamRedactor:
    """One streamed text. Its end is held back while it may begin a secret, until its next piece shows that it does
    not."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self._told = 0

    def feed(self, text: str) -> str:
        """What can be told by now."""
        if self._told:
            text = self._after_interruption(text)
            if self._told:
                return ""
        text = self._redactor.without_whole(self._held + text)
        keep = self._redactor.possible_start(text)
        self._held = text[len(text) - keep :]
        return self._redactor.text(text[: len(text) - keep])

    def rest(self) -> str:
        """What is held back, where the stream ends or is interrupted. What may be the rest of a secret that began in it
        is still known when the stream goes on."""
        fresh = self._held[self._told :]
        self._told = len(self._held)
        return REPLACEMENT if fresh and len(self._held) >= SHORTEST_PART else fresh

    def _after_interruption(self, text: str) -> str:
        """What is new, when the beginning in `_held` has been told, or replaced, up to `_told`."""
        whole = self._held + text
        for secret in self._redactor.beginning_with(self._held):
            if whole.startswith(secret):
                self._held, self._told = "", 0
                return REPLACEMENT + whole[len(secret) :]
        if any(self._redactor.beginning_with(whole)):
            self._held = whole
            return ""
        text, self._held, self._told = whole[self._told :], "", 0
        return text


class RedactedEvents:
    """Use for the events of one agent, in order. The end of a streamed text that may begin a secret is held back until
    its next piece, or whatever else happens but a warning."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._streams: dict[Any, StreamRedactor] = {}
        self._latest: MessageDelta | ReasoningDelta | None = None

    def take(self, event: Event) -> Iterator[Event]:
        if isinstance(event, RunWarning):
            # It may come in the middle of a text, and of a secret in it.
            yield self._redactor.event(event)
            return
        if not isinstance(event, MessageDelta | ReasoningDelta):
            yield from self.rest()
            yield self._redactor.event(event)
            return
        if self._latest is not None and _stream_of(self._latest) != _stream_of(event):
            yield from self.rest()
        self._latest = event
        text = self._stream(event).feed(event.text)
        if text:
            yield msgspec.structs.replace(event, text=text)

    def rest(self) -> Iterator[Event]:
        """What is held back."""
        latest, self._latest = self._latest, None
        if latest is not None and (text := self._stream(latest).rest()):
            yield msgspec.structs.replace(latest, text=text)

    def _stream(self, event: MessageDelta | ReasoningDelta) -> StreamRedactor:
        return self._streams.setdefault(_stream_of(event), StreamRedactor(self._redactor))


def _stream_of(event: MessageDelta | ReasoningDelta) -> str:
    return event.channel if isinstance(event, MessageDelta) else event.wire_name


def _escaped(secret: str) -> Iterator[str]:
    for _ in range(_ESCAPINGS):
        yield secret
        secret = msgspec.json.encode(secret)[1:-1].decode()


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    if isinstance(value, dict):
        return {change(name): _mapped(each, change) for name, each in value.items()}
    return value


def _without_start(text: str, secret: str, replacement: str = REPLACEMENT) -> str:
    """The text without each beginning of the secret that is long enough to count, in one pass over it."""
    start = secret[:SHORTEST_PART]
    told: list[str] = []
    after = 0
    while (at := text.find(start, after)) >= 0:
        size = SHORTEST_PART
        while size < len(secret) and text[at + size : at + size + 1] == secret[size]:
            size += 1
        told += (text[after:at], replacement)
        after = at + size
    return "".join((*told, text[after:])) if told else text
