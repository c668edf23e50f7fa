"""Replaces credentials in what agents and callers report: whole ones, truncated ones, those that arrive in pieces of a
stream, and those in base64, hex or percent-encoding."""

import base64
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote, urlsplit
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
Value = TypeVar("Value", bound=msgspec.Struct)
_ESCAPINGS = 3
"""A secret is searched for as it is, JSON-escaped, and JSON-escaped twice."""
_LINE_ENDS = "\r\n"
_SURE_START = 4
"""Characters of a secret that are looked for at once; ordinary text has fewer of them by chance."""


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
        forms = {form for secret in secrets for form in forms_of(secret)}
        self._texts = sorted(forms, key=len, reverse=True)
        # Shortest, so unescaped, forms first: the end of a secret may be the same in all three forms.
        self._long = [text for text in reversed(self._texts) if len(text) > SHORTEST_PART]
        parts = {part for text in self._long for part in (text[:SHORTEST_PART], text[-SHORTEST_PART:])}
        self._signs = [sign.encode() for sign in parts | (set(self._texts) - set(self._long))]

    def with_secret(self, secret: str) -> "Redactor":
        """A redactor that replaces `secret`, too, and learns what this one learns; itself if `secret` is empty."""
        return self.with_secrets((secret,))

    def with_secrets(self, secrets: Iterable[str]) -> "Redactor":
        """The same for several; the empty ones among them don't count."""
        more = [secret for secret in secrets if secret]
        if not more:
            return self
        with self._lock:
            derived = Redactor([*self._secrets, *more])
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

    def value(self, value: Value) -> Value:
        """As `event`, for any struct; the very same if there is no secret in it."""
        document = msgspec.json.encode(value)
        if not self._may_be_in(document):
            return value
        return msgspec.json.decode(msgspec.json.encode(self._clean(document)), type=type(value))

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
        return max((_shared(text, secret) for secret in self._texts), default=0)

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


def forms_of(secret: str) -> set[str]:
    """The texts that a secret is looked for as."""
    return {*_escaped(secret), *_encoded(secret)}


def _escaped(secret: str) -> Iterator[str]:
    for _ in range(_ESCAPINGS):
        yield secret
        secret = msgspec.json.encode(secret)[1:-1].decode()


def _shared(text: str, secret: str) -> int:
    """How many characters the end of `text` and the beginning of `secret` have in common, short of all of it."""
    first = secret[:_SURE_START]
    at = max(0, len(text) - len(secret) + 1)
    while (at := text.find(first, at)) >= 0:
        if secret.startswith(text[at:]):
            return len(text) - at
        at += 1
    return next((size for size in range(_SURE_START - 1, 0, -1) if text.endswith(secret[:size])), 0)


def _encoded(secret: str) -> Iterator[str]:
    """The secret in base64 at each of the three places that it can have in an encoded text, without the digits at both
    ends that depend on what is around it; in hex; percent-encoded. Forms that are too short to be looked for are left
    out."""
    raw = secret.encode()
    for before in range(3):
        digits = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        whole = digits[(0, 2, 3)[before] : len(digits) - ((before + len(raw)) % 3 != 0)]
        yield from (form for form in (whole, whole.translate(_URL_SAFE)) if len(form) >= SHORTEST_SECRET)
    yield from (raw.hex(), raw.hex().upper())
    for percent in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield from (percent, _lower_percents(percent))


_URL_SAFE = str.maketrans("+/", "-_")


def _lower_percents(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join((head, *(part[:2].lower() + part[2:] for part in rest)))


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    if isinstance(value, dict):
        return {change(name): _mapped(each, change) for name, each in value.items()}
    return value


def _without_start(text: str, secret: str, replacement: str = REPLACEMENT) -> str:
    """The text with each beginning of the secret of at least SHORTEST_PART characters replaced, in linear time. After
    those it may go on in further lines, as what `base64` and `xxd` print does."""
    start = secret[:SHORTEST_PART]
    pieces: list[str] = []
    after = 0
    while (at := text.find(start, after)) >= 0:
        pieces += (text[after:at], replacement)
        after = at + SHORTEST_PART
        size, end = SHORTEST_PART, after
        while size < len(secret) and end < len(text):
            if text[end] == secret[size]:
                size, end = size + 1, end + 1
                after = end
            elif text[end] in _LINE_ENDS:
                end += 1
            else:
                break
    return "".join((*pieces, text[after:])) if pieces else text
