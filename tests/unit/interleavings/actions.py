"""What can happen to one session, and what each of it does to the model."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from domain.errors import DomainError
from domain.session.commands import DiscardWorkspace, RemoveSession, StopSession
from tests.unit.interleavings.message import Message
from tests.unit.interleavings.model import Effect, Model

Action = tuple[str, Callable[[Model], None]]
"""Its name, and what it does to a model."""


def internal(model: Model) -> Iterator[Action]:
    """What happens without anybody's doing: effects, messages on their way, agents that come to their end."""
    yield from _claims(model)
    for effect in model.effects:
        if effect.held is not None:
            yield _named(effect), _step_effect(effect.wanted.effect_id)
    for message in model.messages:
        if message.stage == "done":
            continue
        if message.held is None:
            if any(other.stage not in {"finished", "done"} for other in _before(message, model)):
                continue  # one run at a time per session; others wait in the queue
            yield f"{message.name} is taken up", _take_up(message.name)
        elif message.held.at.kind != "wait" or message.held.at.call(model):
            yield f"{message.name}: {message.held.at.name}", _step_message(message.name)
    for box in model.world.boxes:
        if box.agent:
            yield f"the agent of {box.agent} ends", _agent_ends(box.generation)


def external(model: Model) -> Iterator[Action]:
    """What may happen from outside, as long as the budget lasts."""
    left = model.budget
    if left.get("message"):
        yield "a message", arrive
    if left.get("idle"):
        yield "idle workers are listed", _list_idle
    if model.idle_before is not None:
        yield "an idle stop", _stop_idle
    if left.get("close"):
        yield "a user close", close
    if left.get("remove"):
        yield "stopped workers are listed", list_stopped
    if model.stopped_before is not None:
        yield "a removal", remove
    if left.get("discard"):
        yield "an operator DISCARDS the workspace", _discard
    if left.get("crash") and (any(e.held for e in model.effects) or any(m.held for m in model.messages)):
        yield "CRASH", _crash
    for box in model.world.boxes:
        if left.get("kill") and box.status == "running":
            yield f"container {box.generation} is KILLED", _kill(box.generation)
        if left.get("rm") and box.status != "created":
            yield f"container {box.generation} is REMOVED BY HAND", _rm(box.generation)
    if left.get("fault"):
        yield from _faults(model)


def _before(message: Message, model: Model) -> tuple[Message, ...]:
    return model.messages[: model.messages.index(message)]


def _claims(model: Model) -> Iterator[Action]:
    """Of the session's key the oldest effect that is due, when none is being performed; a late one may not be."""
    if any(effect.held for effect in model.effects):
        return
    for effect in model.effects:
        yield f"{effect.wanted.kind} is claimed", _claim(effect.wanted.effect_id)
        if not effect.late:
            return


def _faults(model: Model) -> Iterator[Action]:
    for effect in model.effects:
        if effect.held is not None and effect.held.answered is None and effect.held.at.name != "settle":
            for moment in ("before", "after") if effect.held.at.kind == "act" else ("before",):
                yield f"{_named(effect)} FAILS {moment} it is done", _step_effect(effect.wanted.effect_id, moment)


def _named(effect: Effect) -> str:
    assert effect.held is not None
    back = " comes back" if effect.held.answered is not None else ""
    return f"{effect.wanted.kind}: {effect.held.at.name}{back}"


def _find(model: Model, effect_id: str) -> Effect:
    return next(effect for effect in model.effects if effect.wanted.effect_id == effect_id)


def _claim(effect_id: str) -> Callable[[Model], None]:
    return lambda model: model.begin(_find(model, effect_id))


def _step_effect(effect_id: str, fault: str = "") -> Callable[[Model], None]:
    def step(model: Model) -> None:
        if fault:
            model.budget["fault"] -= 1
        model.step(_find(model, effect_id), fault)

    return step


def _take_up(name: str) -> Callable[[Model], None]:
    return lambda model: model.take_up(model.message(name))


def _step_message(name: str) -> Callable[[Model], None]:
    return lambda model: model.step(model.message(name))


def _agent_ends(generation: int) -> Callable[[Model], None]:
    """It leaves another workspace behind than it found."""

    def end(model: Model) -> None:
        box, version = model.world.box(generation), model.world.versions + 1
        assert box is not None
        assert box.agent in (model.state.attached_runs if model.state else ()), "an agent runs that is not attached"
        model.world = replace(model.world.with_box(replace(box, agent="", content=version)), versions=version)

    return end


def arrive(model: Model) -> None:
    model.budget["message"] -= 1
    model.now += 1
    model.messages += (Message(model.new_name("m")),)


def _list_idle(model: Model) -> None:
    model.budget["idle"] -= 1
    model.idle_before = model.time + timedelta(seconds=30)


def _stop_idle(model: Model) -> None:
    before, model.idle_before = model.idle_before, None
    _try(model, StopSession(reason="idle", sync_id=model.new_name("sync"), idle_before=before))


def close(model: Model) -> None:
    model.budget["close"] -= 1
    _try(model, StopSession(reason="user_close", sync_id=model.new_name("sync")))


def list_stopped(model: Model) -> None:
    model.budget["remove"] -= 1
    model.stopped_before = model.time + timedelta(seconds=30)


def remove(model: Model) -> None:
    before, model.stopped_before = model.stopped_before, None
    _try(model, RemoveSession(sync_id=model.new_name("sync"), stopped_before=before))


def _discard(model: Model) -> None:
    model.budget["discard"] -= 1
    _try(model, DiscardWorkspace(reason="it can't be synced"))


def _try(model: Model, command: object) -> None:
    try:
        model.handle(command)
    except DomainError:
        return


def _crash(model: Model) -> None:
    model.budget["crash"] -= 1
    model.crash()


def _kill(generation: int) -> Callable[[Model], None]:
    def kill(model: Model) -> None:
        model.budget["kill"] -= 1
        box = model.world.box(generation)
        assert box is not None
        if box.agent:
            version = model.world.versions + 1
            box = replace(box, agent="", content=version)
            model.world = replace(model.world, versions=version)
        model.world = model.world.with_box(replace(box, status="exited"))

    return kill


def _rm(generation: int) -> Callable[[Model], None]:
    def rm(model: Model) -> None:
        model.budget["rm"] -= 1
        model.world = model.world.without(generation)

    return rm
