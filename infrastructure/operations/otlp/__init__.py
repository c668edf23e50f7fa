"""Export to a collector by OTLP over HTTP, with OpenTelemetry's SDK. Imported only where something is exported."""
