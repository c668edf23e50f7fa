"""The kinds of effects on the outside world, as the ledger names them, and the slots that they are performed in."""

from typing import Final, Literal

EffectKind = Literal[
    "container.create",
    "container.start",
    "container.start_maintenance",
    "container.stop",
    "container.remove",
    "workspace.restore",
    "workspace.sync",
    "workspace.sync_before_remove",
    "workspace.validate",
    "workspace.collect",
    "workspace.copy",
    "agent_data.link",
    "human_loop.deliver_reply",
]
FormerKind = Literal["session.request_sync", "session.detach_run"]
"""Kinds that only rows of earlier versions have (application/effects/former_kinds.py)."""
LedgerKind = EffectKind | FormerKind
FIRST_KINDS: tuple[EffectKind, ...] = ("container.create", "container.start")
"""The first effect of an activation is one of these: it waits for a worker slot (MAX_WORKERS, MAX_STARTING)."""
Slot = Literal["short", "long", "stop"]
"""Each kind of slot has a number of its own, so that work that takes long delays no other. `long`: syncs, copies,
collections. `stop`: the syncs that stops wait for: they take as long, and a person may be waiting."""
SLOTS: Final[tuple[Slot, ...]] = ("short", "long", "stop")
LONG_KINDS: tuple[EffectKind, ...] = (
    "workspace.sync",
    "workspace.sync_before_remove",
    "workspace.copy",
    "workspace.collect",
)
BEFORE_STOP: Final = "beforeStop"
"""The parameter, true, of a sync that a stop waits for."""
