"""When two models are the same: names that were made up on the way (boots, syncs, versions, places in the stream) count
by what they are equal to, and places by their order; what nothing will ever ask for again does not count."""

import re
from typing import Any

from application.ports.event_store import AppendResult
from application.ports.snapshots import Snapshot
from domain.session.state import SessionWorker, Stopped, Stopping
from tests.unit.interleavings.asking import Held
from tests.unit.interleavings.message import Message
from tests.unit.interleavings.model import Effect, Model

_MADE_UP = re.compile(r"\b(?:b|v|q|m|sync)\d+\b")
_HASH = re.compile(r"manifest_hash='0*([0-9a-f]+)'")


def identity(model: Model) -> str:
    parts = [
        _state(model.state, model),
        " ".join(_box(model, index) for index in range(len(model.world.boxes))),
        *(_effect(effect, model) for effect in model.effects),
        *(_message(message, model) for message in model.messages),
        repr(sorted(model.budget.items())),
        f"{_due(model, model.idle_before, idle=True)}{_due(model, model.stopped_before, idle=False)}",
        _reader(model),
    ]
    return _renamed("\n".join(parts))


def _state(state: SessionWorker | None, model: Model) -> str:
    if state is None:
        return "-"
    lifecycle = state.lifecycle
    stage = repr(lifecycle)
    if isinstance(lifecycle, Stopped):
        stage = f"Stopped {lifecycle.remove}"
    elif isinstance(lifecycle, Stopping):
        stage = f"Stopping {lifecycle.reason} {lifecycle.stopped_since is not None} {lifecycle.reactivation}"
    waiting = {f"sync-{message.name}" for message in model.messages if message.stage != "done"}
    settled = [(each.sync_id, each.sync) for each in state.settled_syncs if each.sync_id in waiting]
    return (
        f"{state.generation} {stage} {state.container} {state.restored} {state.ever_active} {state.attached_runs} "
        f"{state.pending_syncs} {settled} {state.last_sync} {state.last_sync_status} {bool(state.last_sync_error)} "
        f"{state.plan.session_sync}"
    )


def _box(model: Model, index: int) -> str:
    box = model.world.boxes[index]
    return (
        f"{box.generation} {box.status} b{box.boot} {box.maintenance} {box.restored} v{box.content:x} "
        f"{box.content in model.world.stored} {box.agent} {box.runs} q{box.last_start}"
    )


def _effect(effect: Effect, model: Model) -> str:
    own = effect.wanted.effect_id + ":"
    recorded = sorted(each.removeprefix(own) for each in model.event_ids if each.startswith(own))
    return f"{effect.wanted.kind} {effect.wanted.params} {effect.attempt} {effect.late} {recorded} " + _held(
        effect.held, model
    )


def _message(message: Message, model: Model) -> str:
    ran = message.name in model.world.ran
    return f"{message.name} {message.stage} {message.generation} {message.lost} {ran} {_held(message.held, model)}"


def _held(held: Held | None, model: Model) -> str:
    if held is None:
        return "-"
    answers = [_answer(answer, model) for answer in (*held.answers, *(held.answered or ()))]
    return f"{held.at.name} {held.answered is not None} {answers}"


def _answer(answer: Any, model: Model) -> str:
    match answer:
        case Snapshot(state=state, seq=seq):
            return f"{_state(state, model)} q{seq}"
        case AppendResult(duplicate=duplicate, last_seq=seq):
            return f"appended {duplicate} q{seq}"
        case [catchup]:
            return f"{_state(catchup.state, model)} q{catchup.seq}"
        case Exception():
            return f"{type(answer).__name__} {getattr(answer, 'reason', '')}"
        case _:
            return repr(answer)


def _due(model: Model, before: Any, *, idle: bool) -> str:
    if before is None or model.state is None:
        return "-"
    if idle:
        return str(model.state.last_active_at >= before)
    return str(isinstance(model.state.lifecycle, Stopped) and model.state.lifecycle.since >= before)


def _reader(model: Model) -> str:
    known = model.reader
    return (
        f"{known.stop_gate} {known.remove_gate} {known.passed} {known.may_stop} {known.may_remove} {known.may_discard} "
        f"{known.given_up}"
    )


def _renamed(text: str) -> str:
    text = _HASH.sub(r"v\1", text)
    places = {each: f"Q{rank}" for rank, each in enumerate(sorted(set(re.findall(r"\bq\d+\b", text)), key=_number))}
    names: dict[str, str] = {}

    def name(found: "re.Match[str]") -> str:
        word = found.group()
        return places[word] if word in places else names.setdefault(word, f"{word[0]}!{len(names)}")

    return _MADE_UP.sub(name, text)


def _number(word: str) -> int:
    return int(word[1:])
