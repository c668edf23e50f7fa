"""Rows of a projection are bounded by their bytes: those that are remembered, and those of one statement."""

from infrastructure.postgres.projector import row_tables
from infrastructure.postgres.projector.projected_version import RowCache
from infrastructure.postgres.projector.row_tables import MAX_STATEMENT_BYTES, body_size


def test_a_large_row_takes_the_place_of_many_others() -> None:
    cache = RowCache(complete=True, limit=100, max_bytes=1_000)
    cache.put({("t", f"r{number}"): number for number in range(10)}, [100] * 10)
    assert cache.complete
    cache.put({("t", "large"): "row"}, [850])
    assert not cache.complete
    known = [key for key in (*(f"r{number}" for number in range(10)), "large") if cache.get(("t", key)) is not None]
    assert known == ["r9", "large"]
    cache.put({("t", "large"): "smaller"}, [50])
    cache.put({("t", f"s{number}"): number for number in range(8)}, [100] * 8)
    assert cache.get(("t", "r9")) is not None, "what a row takes is counted anew each time"


def test_a_statement_writes_rows_up_to_its_bytes() -> None:
    def row(size: int) -> row_tables.EncodedRow:
        return (b"t", b"k", b"x" * size)

    half = MAX_STATEMENT_BYTES // 2 + 1
    parts = list(row_tables._parts([row(1), row(half), row(half), row(3 * half), row(1), row(1)]))
    assert [[body_size(each) for each in part] for part in parts] == [[1, half, half], [3 * half], [1, 1]]
    assert list(row_tables._parts([])) == []
