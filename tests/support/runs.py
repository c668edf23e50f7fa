"""Histories of run r1, up to each state of its life, for specifications to start from."""

from domain.event import Event
from domain.run import events as e
from domain.run.capabilities import Capabilities
from domain.run.commands import QueueRun
from domain.run.decide import decide
from domain.run.evolve import evolve
from domain.run.values import Message, RunError, RunSpec, Usage
from domain.workspace.sync import SyncRef
from tests.support.specification import T0, Specification, minutes

run = Specification(decide, evolve)

SPEC = RunSpec(
    session_id="s1",
    user_login_name="ann",
    provider="scripted",
    messages=(Message(role="user", content="echo hello"),),
    max_attempts=3,
)
SCRIPTED = Capabilities(
    provider="scripted", todo_stream=True, human_loop_hint="set providerOptions.interactive to true"
)
QUEUE = QueueRun(spec=SPEC, capabilities=SCRIPTED)
RETRY_AT = T0 + minutes(1)
EXPORTED_TO = SyncRef(manifest_key="p/manifests/1-1-0.json", manifest_hash="0" * 64)
USAGE = Usage(input_tokens=100, output_tokens=7, cost_usd=0.5)

QUEUED_NOW = e.RunQueued(spec=SPEC)
RUN_STARTED = e.RunStarted(lease_generation=1, attempt=1, generation=1, boot_id="b1")
ASKED = e.HumanLoopRequested(question_id="q1", prompt="Deploy?", timeout_ms=3_600_000)
ASKED_BY_AGENT = e.HumanLoopRequested(lease_generation=1, question_id="q1", prompt="Deploy?", timeout_ms=3_600_000)
ANSWERED = e.HumanLoopReplyAccepted(question_id="q1", answer="yes")
RESOLVED = e.HumanLoopResolved(question_id="q1", answer="yes")
AGENT_DONE = e.RunAgentFinished(lease_generation=1, outcome="succeeded", usage=USAGE, provider_session_id="ps1")
SYNCING_NOW = e.RunSyncing(lease_generation=1, sync_id="final")
EXPORTED_NOW = e.RunExported(lease_generation=1, sync=EXPORTED_TO)
CANCEL_REQUESTED = e.RunCancelRequested()


def claimed(lease: int = 1, attempt: int = 1, *, resumed: bool = False) -> e.RunClaimed:
    return e.RunClaimed(lease_generation=lease, owner="w1", attempt=attempt, resumed=resumed)


def error(error_class: str, message: str = "it broke") -> RunError:
    return RunError(error_class=error_class, message=message)  # type: ignore[arg-type]


QUEUED: tuple[Event, ...] = (QUEUED_NOW,)
CLAIMED: tuple[Event, ...] = (*QUEUED, claimed())
PREPARING: tuple[Event, ...] = (*CLAIMED, e.RunPhaseEntered(lease_generation=1, phase="preparing"))
RUNNING: tuple[Event, ...] = (*PREPARING, RUN_STARTED)
WAITING: tuple[Event, ...] = (*RUNNING, ASKED_BY_AGENT)
ANSWERING: tuple[Event, ...] = (*WAITING, ANSWERED)
ENDED: tuple[Event, ...] = (*RUNNING, AGENT_DONE)
SYNCING: tuple[Event, ...] = (*ENDED, SYNCING_NOW)
EXPORTED: tuple[Event, ...] = (*SYNCING, EXPORTED_NOW)
FINISHED_NOW = e.RunFinished(
    lease_generation=1, outcome="succeeded", exported=True, usage=USAGE, provider_session_id="ps1"
)
FINISHED: tuple[Event, ...] = (*EXPORTED, FINISHED_NOW)
RETRYING: tuple[Event, ...] = (
    *CLAIMED,
    e.RunRetryScheduled(lease_generation=1, attempt=1, error=error("network"), available_at=RETRY_AT),
)
BLOCKED: tuple[Event, ...] = (e.RunBlocked(spec=SPEC, capability="humanLoop", reason="no human loop"),)
BOUND: tuple[Event, ...] = (e.RunBound(bound_session_id="s1"),)

HISTORIES: dict[str, tuple[Event, ...]] = {
    "queued": QUEUED,
    "claimed": CLAIMED,
    "preparing": PREPARING,
    "running": RUNNING,
    "waiting_human": WAITING,
    "answering": ANSWERING,
    "ended": ENDED,
    "syncing": SYNCING,
    "exported": EXPORTED,
    "finished": FINISHED,
    "retrying": RETRYING,
    "blocked": BLOCKED,
    "bound": BOUND,
}
