"""The final sync of a run: asked for in the log, done at once by whoever executes the run.

The ledger has it too, a moment later, for when this process dies at it or the executor does not answer: what it wants
is obsolete as soon as the sync is recorded.
"""

import logging

from application.aggregates import Aggregates
from application.effects.effect import EffectObsolete
from application.effects.workers import Workers
from application.effects.workspace_syncs import WorkspaceSyncs
from application.ports import ExecutorError, LogTail
from application.run_queue import RunLease, run_context
from application.waiting import wait_for_state
from domain.errors import DomainError, NotFound
from domain.identifiers import session_stream
from domain.session.commands import RequestSync, SessionCommand
from domain.session.state import Running, SessionWorker
from domain.workspace.sync import SyncRef

log = logging.getLogger(__name__)
TIMEOUT_S = 900.0


class NotExported(Exception):
    """The workspace could not be synced after the run; the text says why."""


async def final_sync(
    *,
    sessions: Aggregates[SessionWorker, SessionCommand],
    workers: Workers,
    syncs: WorkspaceSyncs,
    tail: LogTail,
    lease: RunLease,
    session_id: str,
    sync_id: str,
) -> SyncRef:
    """What was synced. Raises NotExported, NotFound, or Conflict when the worker does not run."""
    state = (await sessions.recent(session_id)).state
    if state is None:
        raise NotFound(f"no session {session_id} is known")
    if state.settled_sync(sync_id) is None and all(sync.sync_id != sync_id for sync in state.pending_syncs):
        request = RequestSync(sync_id=sync_id, reason="run.finished", run_id=lease.run_id)
        state = (await sessions.handle(session_id, request, run_context(lease, "request_sync"))).state
    if state.settled_sync(sync_id) is None:
        try:
            worker = await workers.recent(session_id)
            await syncs.sync(worker, sync_id, lambda step: run_context(lease, step))
        except (ExecutorError, EffectObsolete, DomainError) as error:
            log.info("run %s: its final sync is left to the effect worker: %s", lease.run_id, error)
    loaded = await wait_for_state(
        sessions,
        tail,
        key=session_id,
        stream=session_stream(session_id),
        reached=lambda state: (
            state is not None and (state.settled_sync(sync_id) is not None or not isinstance(state.lifecycle, Running))
        ),
        timeout_s=TIMEOUT_S,
        seen=True,
    )
    if loaded is None or loaded.state is None:
        raise NotExported("the final sync did not end in time")
    settled = loaded.state.settled_sync(sync_id)
    if settled is None:
        raise NotExported(f"the session's worker is {loaded.state.public_state}")
    if settled.sync is None:
        raise NotExported(settled.error)
    return settled.sync
