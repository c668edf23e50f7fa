"""The counters and histograms of Fleetlog, all of them; gauges are read at each scrape (MetricsSource).

Labels have few values, all of them known before: no user, no session, no run, no model, no text that somebody wrote.
"""

from typing import Final, Literal

import msgspec

SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0)
LABELS: Final = frozenset(
    {
        "dependency",
        "error_class",
        "kind",
        "method",
        "operation",
        "outcome",
        "phase",
        "process_manager",
        "projection",
        "provider",
        "reason",
        "route",
        "signal",
        "state",
        "status",
    }
)
"""All labels that a metric may have; a test compares what is served with them."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """`name` without the prefix `fleetlog_`, and of a counter without `_total`. `buckets`: upper bounds; a counter has
    none."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Literal["counter", "histogram"]:
        return "histogram" if self.buckets else "counter"


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """`labels`: the values of the instrument's labels, in their order. `trace_id`: of the trace that it comes from, for
    an exemplar."""

    instrument: Instrument
    labels: tuple[str, ...] = ()
    value: float = 1.0
    trace_id: str = ""


RUNS_FINISHED = Instrument(
    name="runs_finished",
    help="Runs that have ended, by outcome, class of the error (none if there was none) and provider.",
    labels=("outcome", "error_class", "provider"),
)
RUN_SECONDS = Instrument(
    name="run_seconds", help="Seconds from a run's request to its end.", labels=("outcome",), buckets=LONG
)
RUN_PHASE_SECONDS = Instrument(
    name="run_phase_seconds",
    help="Seconds that a run has spent in a phase: queued, claimed, restoring, linking, preparing, running, parked, "
    "ending, syncing.",
    labels=("phase",),
    buckets=LONG,
)
RUN_CLAIM_DELAY_SECONDS = Instrument(
    name="run_claim_delay_seconds",
    help="Seconds from the moment when a run could be claimed to its claim.",
    buckets=(*SHORT, 60.0, 300.0, 1800.0),
)
RUN_RETRIES = Instrument(
    name="run_retries", help="Attempts of runs that failed and are repeated, by class.", labels=("error_class",)
)
RUN_TAKEOVERS = Instrument(
    name="run_takeovers", help="Runs that another run worker went on with, because a lease had run out."
)
ACTIVATION_SECONDS = Instrument(
    name="activation_seconds",
    help="Seconds from the request for a session worker until it is up or has failed; of a new container (create) or a "
    "stopped one (start).",
    labels=("kind", "outcome"),
    buckets=LONG,
)
SYNC_SECONDS = Instrument(
    name="sync_seconds",
    help="Seconds from the request for a sync to its record, waiting included.",
    labels=("reason", "outcome"),
    buckets=LONG,
)
SYNC_UPLOADED_BYTES = Instrument(name="sync_uploaded_bytes", help="Bytes that syncs have stored.", labels=("reason",))
SYNC_UPLOADED_FILES = Instrument(
    name="sync_uploaded_files", help="Files whose content syncs have stored.", labels=("reason",)
)
TOKENS = Instrument(
    name="tokens",
    help="Tokens of runs that have ended: input, output, and of the input what came from a cache (cached_input).",
    labels=("provider", "kind"),
)
COST_USD = Instrument(
    name="cost_usd",
    help="What runs that have ended have cost, in US dollars, where agents say it.",
    labels=("provider",),
)
EXECUTOR_CALL_SECONDS = Instrument(
    name="executor_call_seconds",
    help="Seconds of each attempt to call an executor, by how it ended.",
    labels=("operation", "outcome"),
    buckets=(*SHORT, 60.0, 300.0),
)
EXECUTOR_CALL_RETRIES = Instrument(
    name="executor_call_retries", help="Calls of executors that were repeated.", labels=("operation",)
)
EFFECT_ATTEMPTS = Instrument(
    name="effect_attempts",
    help="Attempts of effects, by how they ended: done, obsolete, failed, deferred, dead.",
    labels=("kind", "outcome"),
)
EFFECT_SECONDS = Instrument(
    name="effect_seconds",
    help="Seconds from the moment when an effect was wanted to its end: done, obsolete or dead.",
    labels=("kind", "outcome"),
    buckets=LONG,
)
STREAM_DELAY_SECONDS = Instrument(
    name="stream_delay_seconds",
    help="Seconds from the record of an event to its hand-over to the live streams of this process; once per batch.",
    buckets=SHORT,
)
REPAIRS = Instrument(
    name="repairs",
    help="What was found wrong, or left behind, and put right without anybody's help, by kind.",
    labels=("kind",),
)
TELEMETRY_EXPORTED = Instrument(
    name="telemetry_exported", help="Spans, metrics and log lines that a collector has taken.", labels=("signal",)
)
TELEMETRY_DROPPED = Instrument(
    name="telemetry_dropped",
    help="Spans, metrics and log lines that were dropped: the queue was full, the export failed, or an event could "
    "not be read.",
    labels=("signal", "reason"),
)
INSTRUMENTS: Final = (
    RUNS_FINISHED,
    RUN_SECONDS,
    RUN_PHASE_SECONDS,
    RUN_CLAIM_DELAY_SECONDS,
    RUN_RETRIES,
    RUN_TAKEOVERS,
    ACTIVATION_SECONDS,
    SYNC_SECONDS,
    SYNC_UPLOADED_BYTES,
    SYNC_UPLOADED_FILES,
    TOKENS,
    COST_USD,
    EXECUTOR_CALL_SECONDS,
    EXECUTOR_CALL_RETRIES,
    EFFECT_ATTEMPTS,
    EFFECT_SECONDS,
    STREAM_DELAY_SECONDS,
    REPAIRS,
    TELEMETRY_EXPORTED,
    TELEMETRY_DROPPED,
)
