"""What the log tells an observer: spans of traces, and measurements. Pure folds; docs/decisions/observability.md."""
