"""What a process tells of itself begins and ends with it."""

import logging

from interfaces.bootstrap.telemetry import telemetry

NOBODY = "http://127.0.0.1:1"


def test_only_inside_what_the_process_logs_is_exported() -> None:
    root = logging.getLogger()
    before = list(root.handlers)

    with telemetry({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": NOBODY}):
        inside = list(root.handlers)

    assert len(inside) == len(before) + 1
    assert root.handlers == before
