"""A projection: name, version, the events that it folds, the key of the row that each event changes, and the fold.

Rows are frozen msgspec structs, stored as JSON. Raise `version` with every change of a fold or its row type: the next
start then rebuilds the read model, while readers use the old one.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from domain.event import Event
from domain.record import RecordedEvent

Row = TypeVar("Row", bound=msgspec.Struct)
Column = str | int | float | bool | datetime | None


class RowStruct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of rows: JSON without defaults."""


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what reads return to the API: camelCase, with every field, defaults included."""


class Projection(Generic[Row]):
    """`fold`: the row after one more event, the very row it was given if nothing changes, None while there is no row.
    `columns`: the values of the table's further columns, for filters and order, in the table's order.
    """

    def __init__(
        self,
        *,
        name: str,
        version: int,
        row_type: Any,
        events: Iterable[type[Event]],
        key: Callable[[RecordedEvent], str],
        fold: Callable[[Row | None, RecordedEvent], Row | None],
        columns: Callable[[Row], tuple[Column, ...]],
        row_per_stream: bool = False,
    ) -> None:
        """`row_per_stream`: each stream has one row, whose key is the stream's id."""
        self.name, self.version, self.row_type = name, version, row_type
        self.event_types = frozenset(event.wire_name for event in events)
        self.key, self.fold, self.columns = key, fold, columns
        self.row_per_stream = row_per_stream
        self._decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(row_type)

    def encode(self, row: Row) -> bytes:
        """The row as stored: UTF-8 JSON."""
        return _encode(row)

    def decode(self, body: bytes | str) -> Row:
        """The inverse of `encode`. Raises msgspec.ValidationError for a row of another type."""
        return self._decoder.decode(body)

    def fold_all(self, events: Iterable[RecordedEvent]) -> dict[str, Row]:
        """The rows that these events fold to, by key: what time travel does."""
        rows: dict[str, Row] = {}
        for recorded in events:
            if recorded.event.wire_name in self.event_types:
                key = self.key(recorded)
                row = self.fold(rows.get(key), recorded)
                if row is not None:
                    rows[key] = row
        return rows


def id_of_stream(recorded: RecordedEvent) -> str:
    """`run-1` of the stream `run:run-1`."""
    return recorded.stream.partition(":")[2]


_encode = msgspec.json.Encoder().encode
