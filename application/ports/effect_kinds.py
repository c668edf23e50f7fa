"""The kinds of effects on the outside world, as the ledger names them."""

from typing import Literal

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
