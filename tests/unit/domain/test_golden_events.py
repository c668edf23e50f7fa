"""Event names and schemas are stored data: they change deliberately or not at all."""

import json
from typing import Any

from tests.support.domain_events import domain_events
from tests.unit.domain.regenerate_golden import GOLDEN, describe

HOW = (
    "Events are stored data. If this change is meant (after 1.0: with a new schema version and an upcast), run\n"
    "    python -m tests.unit.domain.regenerate_golden\n"
    "and commit the golden file with it."
)
# Names that callers and stored logs rely on.
FIXED_NAMES = [
    "session.activation_requested",
    "session.container_created",
    "session.container_started",
    "session.workspace_restored",
    "session.agent_data_linked",
    "session.workspace_validated",
    "session.activated",
    "session.activation_failed",
    "session.touched",
    "session.run_attached",
    "session.run_detached",
    "session.sync_requested",
    "session.synced",
    "session.sync_failed",
    "session.stop_requested",
    "session.stop_canceled",
    "session.stopping",
    "session.stopped",
    "session.remove_requested",
    "session.removed",
    "session.container_lost",
    "run.queued",
    "run.blocked",
    "run.warning",
    "run.claimed",
    "run.retry_scheduled",
    "run.phase",
    "run.started",
    "message.delta",
    "message.stop",
    "reasoning.delta",
    "tool.start",
    "tool.end",
    "todo.update",
    "todo.snapshot",
    "human_loop.requested",
    "human_loop.resolved",
    "human_loop.canceled",
    "human_loop.expired",
    "run.cancel_requested",
    "run.agent_finished",
    "run.syncing",
    "run.exported",
    "run.finished",
]


def differences(golden: Any, present: Any, path: str = "") -> list[str]:
    if isinstance(golden, dict) and isinstance(present, dict):
        return [
            line
            for key in sorted(golden.keys() | present.keys())
            for line in differences(golden.get(key, "(nothing)"), present.get(key, "(nothing)"), f"{path}/{key}")
        ]
    return [] if golden == present else [f"{path}: was {golden}, is {present}"]


def test_no_event_has_changed_unnoticed():
    changed = differences(json.loads(GOLDEN.read_text(encoding="utf-8")), json.loads(json.dumps(describe())))
    assert not changed, "\n".join([*changed, HOW])


def test_a_change_of_a_name_a_type_a_default_or_a_value_is_noticed():
    before = {"events": {"a": {"version": 1, "properties": {"x": {"type": "string", "default": ""}}}}}
    after = {"events": {"b": {"version": 1}, "a": {"version": 1, "properties": {"x": {"type": "integer"}}}}}
    assert differences(before, after) == [
        "/events/a/properties/x/default: was , is (nothing)",
        "/events/a/properties/x/type: was string, is integer",
        "/events/b: was (nothing), is {'version': 1}",
    ]


def test_the_fixed_names_are_all_there():
    assert sorted(set(FIXED_NAMES) - domain_events().keys()) == []
