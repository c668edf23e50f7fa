"""Log lines on their way to a collector that takes its time: bounded, and what has no room is counted."""

import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from application.observation.instruments import Instrument
from infrastructure.operations.otlp.logs import QUEUE, OtlpLogs
from infrastructure.operations.otlp.origin import resource_of

PATIENCE_S = 60


class Counted:
    def __init__(self) -> None:
        self.values: Counter[tuple[str, ...]] = Counter()

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        self.values[instrument.name, *labels] += int(value)


class SlowExporter(LogRecordExporter):
    """Answers once `goes_on` is set."""

    def __init__(self) -> None:
        self.asked, self.goes_on = threading.Event(), threading.Event()
        self.bodies: list[object] = []

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.asked.set()
        assert self.goes_on.wait(PATIENCE_S)
        self.bodies += [each.log_record.body for each in batch]
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_lines_that_find_the_queue_full_are_dropped_and_counted_and_all_others_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
    exporter, counted = SlowExporter(), Counted()
    logs = OtlpLogs(exporter, resource=resource_of("1", "one"), version="1", measurements=counted)
    try:
        logs.write(b'{"message": "the first"}')
        assert exporter.asked.wait(PATIENCE_S)
        for n in range(QUEUE + 7):
            logs.write(b'{"message": "%d"}' % n)
        dropped = dict(counted.values)
    finally:
        exporter.goes_on.set()
        logs.close()

    assert dropped == {("telemetry_dropped", "logs", "queue_full"): 7}
    assert exporter.bodies == ["the first", *(str(n) for n in range(QUEUE))]
    assert counted.values["telemetry_exported", "logs"] == QUEUE + 1


def test_room_that_an_export_has_made_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
    exporter, counted = SlowExporter(), Counted()
    exporter.goes_on.set()
    logs = OtlpLogs(exporter, resource=resource_of("1", "one"), version="1", measurements=counted)
    for _ in range(3):
        for n in range(QUEUE):
            logs.write(b'{"message": "%d"}' % n)
        assert logs._provider.force_flush()
    logs.close()

    assert counted.values == {("telemetry_exported", "logs"): 3 * QUEUE}
