"""Every fold of stored events with its version, and a hash of all that the corpus folds to."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from domain.event import Event, encode
from domain.operations import dead_letters, log_consumer, queue_switch, refused_commands
from domain.operations.process_managers import PROCESS_MANAGER
from domain.operations.projections import PROJECTION
from domain.operations.user_projections import USER_PROJECTION
from domain.record import RecordedEvent
from domain.run import quotas
from domain.run.state import Run
from domain.session import evolve as session
from domain.session import title
from domain.session.state import SessionWorker
from projections import search_terms
from projections.catalogue import PROJECTIONS
from projections.projection import Projection
from tests.unit.folds.corpus import Corpus, written

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).with_name("golden_folds.json")
DEFINITIONS = "#/$defs/"
COMMAND = "python -m tests.unit.folds.regenerate_golden"
AGGREGATES = {
    "run": 3,
    "session": 3,
    "session title": 1,
    "dead letters": 2,
    "queue switch": 1,
    "refused commands": 1,
    "process manager control": 2,
    "projection control": 2,
    "user's projection control": 1,
}
"""The versions of the aggregates' folds. Raising one confirms that its fold is meant to change, and does no more:
snapshots are kept by a hash of the sources, and rows by the versions of the projections, which are compared as well."""
Step = Callable[[Any, RecordedEvent], Any]
Seen = Callable[[Any, RecordedEvent], bytes]


def _encode(value: Any) -> bytes:
    """As JSON, with sets and the keys of objects in order."""
    return msgspec.json.encode(msgspec.to_builtins(value, str_keys=True, order="deterministic"))


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """`declared`: where its version stands. `shape`: the schema of its state, and which events it takes. `step`: the
    state after one more event. `seen`: what that event may have changed in the state, as bytes to compare."""

    name: str
    version: int
    declared: str
    streams: tuple[str, ...]
    shape: Any
    step: Step
    seen: Seen
    begin: Any = None


class GoldenFold(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    sha256: str


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """`corpus`: the hash of the corpus that the folds were compared on."""

    corpus: str
    folds: dict[str, GoldenFold]


def folds() -> list[Fold]:
    """All of them: the aggregates', the projections', and the search index's."""
    aggregates = (
        _aggregate("run", quotas.evolve_counting, Run, "run:"),
        _aggregate("session", session.evolve, SessionWorker, "session:"),
        _aggregate("session title", title.evolve, title.SessionTitle, "session:"),
        _aggregate("dead letters", dead_letters.evolve, dead_letters.DeadLetters, "effects:"),
        _aggregate("queue switch", queue_switch.evolve, queue_switch.QueueSwitch, "queue:"),
        _aggregate("refused commands", refused_commands.evolve, refused_commands.RefusedCommands, "refused_commands:"),
        *(
            _aggregate(f"{kind.title} control", kind.evolve, log_consumer.ConsumerState, kind.stream(""))
            for kind in (PROCESS_MANAGER, PROJECTION, USER_PROJECTION)
        ),
    )
    return [*aggregates, *map(_projection, PROJECTIONS), _words()]


def _aggregate(name: str, evolve: Step, state: Any, prefix: str) -> Fold:
    return Fold(
        name=f"aggregate {name}",
        version=AGGREGATES[name],
        declared=f"`{name}` of AGGREGATES in {Path(__file__).relative_to(ROOT)}",
        streams=(prefix,),
        shape=shape(msgspec.json.schema(state)),
        step=evolve,
        seen=lambda after, _recorded: _encode(after),
    )


def _projection(projection: Projection[Any]) -> Fold:
    def step(rows: dict[str, Any], recorded: RecordedEvent) -> dict[str, Any]:
        return {**rows, **_row(projection, rows, recorded)}

    def seen(rows: dict[str, Any], recorded: RecordedEvent) -> bytes:
        key = projection.key(recorded)
        row = rows.get(key)
        return b"" if row is None else b"%b %b" % (projection.encode(row), _encode([key, projection.columns(row)]))

    return Fold(
        name=f"projection {projection.name}",
        version=projection.version,
        declared=f"`version` in {projection.columns.__module__.replace('.', '/')}.py",
        streams=("run:", "session:"),
        shape=[sorted(projection.event_types), shape(msgspec.json.schema(projection.row_type))],
        step=step,
        seen=seen,
        begin={},
    )


def _row(projection: Projection[Any], rows: dict[str, Any], recorded: RecordedEvent) -> dict[str, Any]:
    """The row of the event's key, if it makes or changes one."""
    if recorded.event.wire_name not in projection.event_types:
        return {}
    key = projection.key(recorded)
    row = projection.fold(rows.get(key), recorded)
    return {} if row is None else {key: row}


def _words() -> Fold:
    return Fold(
        name="search index",
        version=search_terms.VERSION,
        declared="VERSION in projections/search_terms.py",
        streams=("",),
        shape=[],
        step=lambda _before, recorded: search_terms.terms_of_payload(encode(recorded.event)),
        seen=lambda words, _recorded: _encode(words),
    )


def shape(schema: dict[str, Any]) -> Any:
    """The schema without what is written for people, and with its definitions by number: what is stored holds the tags
    of classes, not their names."""
    numbers: dict[str, int] = {}

    def plain(part: Any) -> Any:
        match part:
            case dict():
                return {key: plain(value) for key, value in part.items() if not _is_for_people(key, value)}
            case list():
                return [plain(value) for value in part]
            case str() if part.startswith(DEFINITIONS):
                return numbers.setdefault(part.removeprefix(DEFINITIONS), len(numbers))
        return part

    shapes = [plain({key: value for key, value in schema.items() if key != "$defs"})]
    while len(shapes) <= len(numbers):
        shapes.append(plain(schema["$defs"][list(numbers)[len(shapes) - 1]]))
    return shapes


def _is_for_people(key: str, value: Any) -> bool:
    return key in {"description", "title"} and isinstance(value, str)


def sha256(fold: Fold, corpus: Corpus) -> str:
    digest = hashlib.sha256(_encode(fold.shape))
    for part in folded(fold, corpus):
        digest.update(part + b"\n")
    return digest.hexdigest()


def folded(fold: Fold, corpus: Corpus, *, ignored: type[Event] | None = None) -> Iterator[bytes]:
    """What each event of the corpus leads to. `ignored`: as if the fold left out events of this type."""

    def step(state: Any, recorded: RecordedEvent) -> Any:
        return state if type(recorded.event) is ignored else fold.step(state, recorded)

    for stream, part in corpus.items():
        if not stream.startswith(fold.streams):
            continue
        for past, following in part.branches(stream):
            state = fold.begin
            for recorded in past:
                state = step(state, recorded)
                yield fold.seen(state, recorded)
            for recorded in following:
                yield fold.seen(step(state, recorded), recorded)


def present(corpus: Corpus) -> Golden:
    return Golden(
        corpus=hashlib.sha256(written(corpus).encode()).hexdigest(),
        folds={fold.name: GoldenFold(version=fold.version, sha256=sha256(fold, corpus)) for fold in folds()},
    )


def unraised(golden: Golden, found: Golden) -> list[str]:
    """What to do about each fold that has changed under its old version. Both are of the same corpus."""
    changed = [
        fold
        for fold in folds()
        if fold.name in golden.folds
        and golden.folds[fold.name].version == found.folds[fold.name].version
        and golden.folds[fold.name].sha256 != found.folds[fold.name].sha256
    ]
    return [
        f"{fold.name}: stored events fold to something else than before. "
        f"Raise {fold.declared} ({fold.version}), then run\n    {COMMAND}"
        for fold in changed
    ]


def load() -> Golden:
    return msgspec.json.decode(GOLDEN.read_bytes(), type=Golden)
