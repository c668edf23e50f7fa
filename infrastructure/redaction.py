"""Replaces credentials in what agents report: whole ones, truncated ones, and those that arrive in pieces of a
stream."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

import msgspec

from domain.event import Event, encode
from domain.run.events import MessageDelta, ReasoningDelta, RunWarning

SHORTEST_SECRET = 8
"""Characters. Shorter values are not redacted: they would match ordinary text."""
SHORTEST_PART = 14
"""Characters. That much of a secret's beginning or end is redacted, too; prefixes that all keys of one kind share are
shorter."""
LEARNT = 32
"""Secrets that a redactor learns and remembers at most: ten or more renewals of credentials."""
REPLACEMENT = "[secret]"

Kind = TypeVar("Kind", bound=Event)
_ESCAPINGS = 3
"""A secret is searched for as it is, JSON-escaped, and JSON-escaped twice."""


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
    """Replaces secrets by `[secret]`; longer ones first, so that a secret within another leaves no remainder."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._learnt: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._derived: WeakSet[Redactor] = WeakSet()
        self._set(frozenset(secrets))

    def _set(self, secrets: frozenset[str]) -> None:
        self._secrets = secrets
        self._texts = sorted({each for secret in self._secrets for each in _escaped(secret)}, key=len, reverse=True)
        # Shortest, so unescaped, forms first: the end of a secret may be the same in all three forms.
        self._long = [text for text in reversed(self._texts) if len(text) > SHORTEST_PART]
        parts = {part for text in self._long for part in (text[:SHORTEST_PART], text[-SHORTEST_PART:])}
        self._signs = [sign.encode() for sign in parts | (set(self._texts) - set(self._long))]

    def with_secret(self, secret: str) -> "Redactor":
        """A redactor that replaces `secret`, too, and learns what this one learns; itself if `secret` is empty."""
        if not secret:
            return self
        with self._lock:
            derived = Redactor([*self._secrets, secret])
            derived._learnt = self._learnt
            self._derived.add(derived)
        return derived

    def learn(self, secrets: Iterable[str]) -> None:
        """Replace these from now on, too, such as credentials that were renewed; of learnt ones, the last LEARNT.
        Safe to call from many threads."""
        told = tuple(secrets)
        with self._lock:
            derived = tuple(self._derived)
            fresh = [each for each in told if len(each) >= SHORTEST_SECRET and each not in self._secrets]
            if fresh:
                learnt = tuple(dict.fromkeys((*self._learnt, *fresh)))[-LEARNT:]
                given = self._secrets - set(self._learnt)
                self._learnt = learnt
                self._set(given | set(learnt))
        for each in derived:
            each.learn(told)

    def text(self, text: str) -> str:
        """The text with every secret, and every truncated one, replaced."""
        return self._without_parts(self.without_whole_secrets(text))

    def event(self, event: Kind) -> Kind:
        """The event with every secret in its texts replaced."""
        payload = encode(event)
        if not self._may_be_in(payload):
            return event
        return msgspec.json.decode(msgspec.json.encode(self._clean(payload)), type=type(event))

    def json(self, document: bytes) -> bytes:
        """The document with every secret in its strings and keys replaced; redacted as plain text if it is not JSON."""
        if not self._may_be_in(document):
            return document
        try:
            return msgspec.json.encode(self._clean(document))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.text(document.decode("utf-8", "replace")).encode()

    def without_whole_secrets(self, text: str) -> str:
        """The text with complete secrets replaced, but not parts of secrets."""
        for secret in self._texts:
            text = text.replace(secret, REPLACEMENT)
        return text

    def possible_start(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a secret that continues in the next
        piece."""
        longest = 0
        for secret in self._texts:
            for size in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:size]):
                    longest = size
                    break
        return longest

    def secrets_starting_with(self, start: str) -> Iterator[str]:
        """The secrets, escaped forms included, that begin with `start`."""
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
    """Redacts one streamed text. Its end is held back while it may be the beginning of a secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self._emitted = 0

    def feed(self, text: str) -> str:
        """Add a piece; returns the text that can be passed on."""
        if self._emitted:
            text = self._after_flush(text)
            if self._emitted:
                return ""
        text = self._redactor.without_whole_secrets(self._held + text)
        keep = self._redactor.possible_start(text)
        self._held = text[len(text) - keep :]
        return self._redactor.text(text[: len(text) - keep])

    def flush(self) -> str:
        """The text that is held back, at the end or an interruption of the stream. It is remembered, so that a secret
        that began in it is still recognised if the stream goes on."""
        fresh = self._held[self._emitted :]
        self._emitted = len(self._held)
        return REPLACEMENT if fresh and len(self._held) >= SHORTEST_PART else fresh

    def _after_flush(self, text: str) -> str:
        """The text to go on with after `flush`, which passed on (or replaced) the first `_emitted` characters of
        `_held`."""
        whole = self._held + text
        for secret in self._redactor.secrets_starting_with(self._held):
            if whole.startswith(secret):
                self._held, self._emitted = "", 0
                return REPLACEMENT + whole[len(secret) :]
        if any(self._redactor.secrets_starting_with(whole)):
            self._held = whole
            return ""
        text, self._held, self._emitted = whole[self._emitted :], "", 0
        return text


class RedactedEvents:
    """Redacts the events of one agent, in order. The end of a streamed text that may be the beginning of a secret is
    held back until the next piece or another event comes; a warning does not count."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._streams: dict[Any, StreamRedactor] = {}
        self._latest: MessageDelta | ReasoningDelta | None = None

    def take(self, event: Event) -> Iterator[Event]:
        if isinstance(event, RunWarning):
            # A warning may come in the middle of a streamed text, and of a secret in it.
            yield self._redactor.event(event)
            return
        if not isinstance(event, MessageDelta | ReasoningDelta):
            yield from self.flush()
            yield self._redactor.event(event)
            return
        if self._latest is not None and _stream_of(self._latest) != _stream_of(event):
            yield from self.flush()
        self._latest = event
        text = self._stream(event).feed(event.text)
        if text:
            yield msgspec.structs.replace(event, text=text)

    def flush(self) -> Iterator[Event]:
        """The event with the text that is held back, if any."""
        latest, self._latest = self._latest, None
        if latest is not None and (text := self._stream(latest).flush()):
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
    """The text with each beginning of the secret of at least SHORTEST_PART characters replaced, in linear time."""
    start = secret[:SHORTEST_PART]
    pieces: list[str] = []
    after = 0
    while (at := text.find(start, after)) >= 0:
        size = SHORTEST_PART
        while size < len(secret) and text[at + size : at + size + 1] == secret[size]:
            size += 1
        pieces += (text[after:at], replacement)
        after = at + size
    return "".join((*pieces, text[after:])) if pieces else text
