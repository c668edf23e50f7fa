"""A collector of OpenTelemetry's protocol over HTTP: it decodes what it gets by the published definitions, strictly."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")


class OtlpCollector:
    """As a context manager it serves on a free port of loopback, at `url`. `refuses`: answers everything with a 503."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self.logs: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        self.schema_urls: set[str] = set()
        self.refuses = False
        self.requests = 0
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def until(self, condition: Any, timeout_s: float = 60.0) -> None:
        """Wait until `condition` holds of this collector."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout_s), (
                sorted({span["name"] for span in self.spans}),
                sorted(self.metrics),
                len(self.logs),
            )

    def until_traced(self, trace_id: str, *names: str) -> None:
        """Wait until this trace has a span of each of these names."""
        self.until(lambda got: {*names} <= {span["name"] for span in got.of_trace(trace_id)})

    def of_trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Its spans. One that came again, after a kill between its export and the checkpoint, is the same."""
        found: dict[str, dict[str, Any]] = {}
        for span in self.spans:
            if span["trace_id"] == trace_id:
                assert found.setdefault(span["span_id"], span) == span
        return list(found.values())

    def take(self, path: str, body: bytes) -> None:
        with self._changed:
            match path:
                case "/v1/traces":
                    self._take_spans(ExportTraceServiceRequest.FromString(body))
                case "/v1/metrics":
                    self._take_metrics(ExportMetricsServiceRequest.FromString(body))
                case "/v1/logs":
                    self._take_logs(ExportLogsServiceRequest.FromString(body))
                case _:
                    raise AssertionError(path)
            self.requests += 1
            self._changed.notify_all()

    def _take_spans(self, request: ExportTraceServiceRequest) -> None:
        for of_resource in request.resource_spans:
            self.resources.append(_attributes(of_resource.resource.attributes))
            for of_scope in of_resource.scope_spans:
                self.schema_urls.add(of_scope.schema_url)
                for span in of_scope.spans:
                    assert len(span.trace_id) == 16
                    assert len(span.span_id) == 8
                    assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
                    attributes = _attributes(span.attributes)
                    self.spans.append(
                        {
                            "trace_id": span.trace_id.hex(),
                            "span_id": span.span_id.hex(),
                            "parent_id": span.parent_span_id.hex(),
                            "name": span.name,
                            "kind": KINDS[span.kind],
                            "start": span.start_time_unix_nano,
                            "end": span.end_time_unix_nano,
                            "attributes": attributes,
                            "error": attributes.get("error.type", "") if span.status.code == 2 else "",
                        }
                    )

    def _take_metrics(self, request: ExportMetricsServiceRequest) -> None:
        for of_resource in request.resource_metrics:
            self.resources.append(_attributes(of_resource.resource.attributes))
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    self.metrics[metric.name] = metric

    def _take_logs(self, request: ExportLogsServiceRequest) -> None:
        for of_resource in request.resource_logs:
            self.resources.append(_attributes(of_resource.resource.attributes))
            for of_scope in of_resource.scope_logs:
                for record in of_scope.log_records:
                    self.logs.append(
                        {
                            "body": record.body.string_value,
                            "severity": record.severity_text,
                            "trace_id": record.trace_id.hex(),
                            "span_id": record.span_id.hex(),
                            "attributes": _attributes(record.attributes),
                        }
                    )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                status = 503 if collector.refuses else 200
                if status == 200:
                    assert self.headers["content-type"] == "application/x-protobuf"
                    collector.take(self.path, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        return Handler


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}
