"""A changed row or another set of events needs a new fold version: else live rows and rebuilt ones would differ."""

import hashlib
from typing import Any

import msgspec

from projections.catalogue import PROJECTIONS

GOLDEN: dict[str, tuple[int, str]] = {
    "session_workers": (4, "591fab410e6ef3a9"),
    "runs": (3, "1a0430add10c7d31"),
    "todos": (1, "8eda65a1ab05935b"),
    "human_loop": (2, "c7f8b8deaa9349a4"),
    "usage": (1, "2584c1740973c92c"),
    "sync_history": (1, "b22b41bf4daa334f"),
}


def test_a_changed_row_has_a_new_version() -> None:
    found = {}
    for projection in PROJECTIONS:
        schema = _shape(msgspec.json.schema(projection.row_type))
        fingerprint = msgspec.json.encode([sorted(projection.event_types), schema], order="sorted")
        found[projection.name] = (projection.version, hashlib.sha256(fingerprint).hexdigest()[:16])
    assert found == GOLDEN, "raise the projection's version with the change, then put both here"


def _shape(schema: Any) -> Any:
    """The schema without what is written for people."""
    if isinstance(schema, dict):
        return {key: _shape(value) for key, value in schema.items() if key not in {"description", "title"}}
    return [_shape(value) for value in schema] if isinstance(schema, list) else schema
