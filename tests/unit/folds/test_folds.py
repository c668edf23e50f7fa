"""What stored events fold to changes with a raised version or not at all: live rows and rebuilt ones would differ."""

import json
import sys
from types import CodeType, FrameType
from typing import Any

import msgspec
import pytest

import domain.event
from domain.event import event_types
from domain.operations import queue_switch
from domain.record import RecordedEvent
from domain.run.events import TodoUpdated
from projections.todos import TODOS
from tests.unit.domain.regenerate_golden import GOLDEN as GOLDEN_EVENTS
from tests.unit.folds import corpus, golden, regenerate_golden

EVENTS = json.loads(GOLDEN_EVENTS.read_text(encoding="utf-8"))["events"]
FOLDS = {fold.name: fold for fold in golden.folds()}
WITHOUT_EFFECT = {
    "aggregate run": {"run.lease_lost", "run.tail_lost"},
    "aggregate session": {
        "session.workspace_validated",
        "session.sync_progress",
        "session.orphan_removed",
        "session.workspace_discarded",
        "session.titled",
    },
}
"""Events that are there for people and read models; no decision depends on them."""
READ_WHOLE = {
    "domain.run.evolve",
    "domain.session.evolve",
    "domain.session.title",
    "projections.chats",
    "projections.human_loop",
    "projections.runs",
    "projections.session_workers",
    "projections.usage",
}
"""The modules with folds that branch."""


@pytest.fixture(scope="module")
def stored() -> corpus.Corpus:
    return corpus.load()


def test_no_fold_has_changed_without_a_new_version(stored: corpus.Corpus) -> None:
    kept, found = golden.load(), golden.present(stored)

    unraised = golden.unraised(kept, found)

    assert not unraised, "\n".join(unraised)
    assert found == kept, f"a fold has a new version, or the corpus was edited: run\n    {golden.COMMAND}"


def test_the_corpus_has_every_event_in_every_version(stored: corpus.Corpus) -> None:
    wanted = {(name, version) for name, known in EVENTS.items() for version in range(1, known["version"] + 1)}
    missing = wanted - corpus.versions(stored)
    assert not missing, f"the corpus lacks {sorted(missing)}: run\n    {golden.COMMAND}"


@pytest.mark.parametrize("fold", FOLDS.values(), ids=FOLDS.keys())
def test_each_event_that_a_fold_takes_makes_a_difference(fold: golden.Fold, stored: corpus.Corpus) -> None:
    whole = list(golden.folded(fold, stored))

    def is_silent(name: str) -> bool:
        without = golden.folded(fold, stored, ignored=event_types()[name])
        return all(one == other for one, other in zip(whole, without, strict=True))

    silent = set(filter(is_silent, _taken_by(fold)))
    assert silent == WITHOUT_EFFECT.get(fold.name, set()), "add a history to corpus.py in which it makes one"


def _taken_by(fold: golden.Fold) -> set[str]:
    if fold.name.startswith("projection "):
        return set(fold.shape[0])
    if not fold.name.startswith("aggregate "):
        return set()
    known = [prefixes for stream, prefixes in corpus.STREAMS.items() if stream.startswith(fold.streams)]
    return {name for name in EVENTS if name.startswith(sum(known, ()))}


def test_the_corpus_reaches_every_line_of_the_folds(stored: corpus.Corpus) -> None:
    reached: dict[CodeType, set[int]] = {}

    def line(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            reached[frame.f_code].add(frame.f_lineno)
        return line

    def call(frame: FrameType, _event: str, _argument: Any) -> Any:
        name = frame.f_globals.get("__name__", "")
        if name not in READ_WHOLE:
            return None
        reached.setdefault(frame.f_code, {frame.f_code.co_firstlineno})
        return line

    before = sys.gettrace()
    sys.settrace(call)
    try:
        golden.present(stored)
    finally:
        sys.settrace(before)

    missed = {
        f"{code.co_filename}:{number}"
        for code, lines in reached.items()
        for _, _, number in code.co_lines()
        if number is not None and number not in lines
    }
    assert len(reached) > 50
    assert missed == set(), "add a history to corpus.py that leads there"


def test_a_changed_fold_is_told_what_to_do(stored: corpus.Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = golden.present(stored)
    monkeypatch.setattr(queue_switch, "evolve", lambda state, _occurrence: state)
    monkeypatch.setattr(TODOS, "fold", lambda row, _recorded: row)

    switch, todos = golden.unraised(kept, golden.present(stored))

    assert switch.startswith("aggregate queue switch: stored events fold to something else than before.")
    where = "`queue switch` of AGGREGATES in tests/unit/folds/golden.py"
    assert f"Raise {where} (1), then run\n    {golden.COMMAND}" in switch
    assert f"Raise `version` in projections/todos.py (2), then run\n    {golden.COMMAND}" in todos


def test_the_golden_file_is_not_written_for_a_fold_without_a_new_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = golden.GOLDEN.read_bytes()
    monkeypatch.setattr(queue_switch, "evolve", lambda state, _occurrence: state)

    assert regenerate_golden.main() == 1

    assert "Raise `queue switch` of AGGREGATES in tests/unit/folds/golden.py" in capsys.readouterr().err
    assert golden.GOLDEN.read_bytes() == written


def test_an_event_of_an_older_version_stays_in_the_corpus(
    stored: corpus.Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TodoUpdated, "schema_version", 2)
    monkeypatch.setitem(domain.event._upcasts, ("todo.update", 1), lambda fields: fields)

    renewed = corpus.renewed(stored)

    assert {version for name, version in corpus.versions(renewed) if name == "todo.update"} == {1, 2}
    old = [event for event in stored["run:r1"].events if event.type == "todo.update"]
    assert [event for event in renewed["run:r1"].events if event.type == "todo.update"][: len(old)] == old


def test_a_stored_event_is_read_as_the_log_would_give_it(stored: corpus.Corpus) -> None:
    past, following = next(iter(stored["run:r1"].branches("run:r1")))

    assert past == []
    assert all(isinstance(recorded, RecordedEvent) and recorded.seq == 1 for recorded in following)
    assert msgspec.json.decode(corpus.written(stored), type=corpus.Corpus) == stored


def test_the_name_of_a_class_is_no_part_of_its_stored_shape_but_its_tag_is() -> None:
    def shape(name: str, tag: str) -> Any:
        part = msgspec.defstruct(name, [("count", int)], tag=tag)
        return golden.shape(msgspec.json.schema(msgspec.defstruct(f"Whole{name}", [("part", part | None)])))

    assert shape("Old", "Part") == shape("New", "Part")
    assert shape("Old", "Part") != shape("Old", "Other")
