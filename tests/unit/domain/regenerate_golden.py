"""`python -m tests.unit.domain.regenerate_golden` writes golden_events.json: a deliberate change of stored data.

After version 1.0 a change of an existing event needs a new schema version and an upcast as well.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.support.domain_events import domain_events

GOLDEN = Path(__file__).with_name("golden_events.json")


def describe() -> dict[str, Any]:
    """Events by wire name: schema version and JSON schema; and the values that they are made of."""
    types = domain_events()
    _, components = msgspec.json.schema_components(types.values(), ref_template="{name}")
    names = {event_type.__name__ for event_type in types.values()}
    return {
        "events": {
            wire_name: {"version": event_type.schema_version, **_plain(components[event_type.__name__])}
            for wire_name, event_type in types.items()
        },
        "values": {name: _plain(schema) for name, schema in sorted(components.items()) if name not in names},
    }


def _plain(schema: Any) -> Any:
    """Without class names and docstrings, which are no stored data, and with bytes and tuples as JSON has them."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if not _is_prose(key, value)}
    if isinstance(schema, list | tuple):
        return [_plain(item) for item in schema]
    return schema


def _is_prose(key: str, value: Any) -> bool:
    # A field may be called `title` or `description` too: its schema is a dict, prose is a string.
    return key in {"title", "description"} and isinstance(value, str)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(describe(), indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")  # noqa: T201 - it is a command
