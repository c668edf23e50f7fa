"""The walk along the hash chain: checks each event's payload, predecessor in its stream, and position.

sql/migrations/0001_event_log.sql says what a hash is made of. Pure: it takes pages as Postgres's COPY gives them in
binary (sql/queries/audit/chain_page.sql).
"""

import hashlib
import struct
from typing import Literal

from application.ports.log_audit import BrokenEvent

BreakKind = Literal["missing", "payload", "sequence", "time", "chain"]
_FILE_HEAD = 19
_FILE_TAIL = 2
_HASH = 32
_FIRST = struct.pack(">iii", 12, 17, 0)
_FURTHER = struct.pack(">iii", 12, 17, _HASH)
_length = struct.Struct(">i").unpack_from
_numbers = struct.Struct(">hiqiqiqi").unpack_from
_big = struct.Struct(">q").pack

_DETAILS = {
    "missing": "the event at this position is missing",
    "payload": "the payload is not the one whose hash was recorded",
    "sequence": "its seq does not follow from the event before it in its stream",
    "time": "it was recorded before the event in front of it",
    "chain": "its hash does not follow from its fields and from the event before it in its stream",
}


class ChainWalk:
    """Walks from the log's first event, page by page. After the first break (`broken`) it goes no further."""

    def __init__(self) -> None:
        self.position = 0
        self.recorded_at = -(2**63)
        self.broken: BrokenEvent | None = None
        self._heads: dict[bytes, tuple[int, bytes]] = {}

    @property
    def streams(self) -> int:
        return len(self._heads)

    def page(self, data: bytes, up_to: int) -> None:
        """Check the events after `position` and up to `up_to`, all of which must be in `data`."""
        offset, end = _FILE_HEAD, len(data) - _FILE_TAIL
        sha256, heads, expected, time = hashlib.sha256, self._heads, self.position + 1, self.recorded_at
        while offset < end:
            _, _, position, _, seq, _, recorded_at, size = _numbers(data, offset)
            if position != expected:
                self._break("missing", expected)
                return
            offset += 42
            stream = data[offset : offset + size]
            offset += size
            (size,) = _length(data, offset)
            # Without the record's own head: the number of fields and the empty hash in front are put in below.
            record = data[offset + 16 : offset + 4 + size]
            offset += 4 + size
            (size,) = _length(data, offset)
            chain_hash = data[offset + 4 : offset + 4 + size]
            offset += 4 + size
            (size,) = _length(data, offset)
            payload = data[offset + 4 : offset + 4 + size]
            offset += 4 + size
            last_seq, last_hash = heads.get(stream, (0, b""))
            hashed = (_FURTHER if last_hash else _FIRST) + last_hash + record
            if sha256(hashed).digest() != chain_hash or seq != last_seq + 1 or recorded_at < time:
                self._break(self._kind(seq, last_seq, recorded_at, payload, record), position, stream, seq)
                return
            if sha256(payload).digest() != record[-_HASH:]:
                self._break("payload", position, stream, seq)
                return
            heads[stream] = seq, chain_hash
            time = recorded_at
            self.position, self.recorded_at, expected = position, time, position + 1
        if expected <= up_to:
            self._break("missing", expected)

    def root(self) -> str:
        """The Merkle root over the heads of all streams so far, in hex."""
        return merkle_root([
            hashlib.sha256(b"\0" + stream + b"\0" + _big(seq) + chain_hash).digest()
            for stream, (seq, chain_hash) in self._heads.items()
        ])  # fmt: skip

    def _kind(self, seq: int, last_seq: int, recorded_at: int, payload: bytes, record: bytes) -> BreakKind:
        if hashlib.sha256(payload).digest() != record[-_HASH:]:
            return "payload"
        if seq != last_seq + 1:
            return "sequence"
        return "time" if recorded_at < self.recorded_at else "chain"

    def _break(self, kind: BreakKind, position: int, stream: bytes = b"", seq: int = 0) -> None:
        name = stream.partition(b"\0")[2].decode("utf-8", "backslashreplace")
        self.broken = BrokenEvent(position=position, stream=name, seq=seq, kind=kind, detail=_DETAILS[kind])


def merkle_root(leaves: list[bytes]) -> str:
    """Over the leaves in the order of their bytes; a node is sha256(1, left, right), one that is left alone moves up.
    Of no leaves it is sha256 of nothing."""
    level = sorted(leaves)
    if not level:
        return hashlib.sha256().hexdigest()
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0].hex()
