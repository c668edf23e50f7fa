"""Where a forked session comes from, and what of its past it takes along."""

from domain.run.values import Wire
from domain.workspace.sync import SyncRef


class ForkOrigin(Wire, frozen=True, kw_only=True):
    """The point: event `at_seq` of run `run_id`, at `position` in the log, in session `session_id`. `sync`: the
    recorded sync of that session, by the event at `sync_position`, whose files are taken along; None: there was none
    before the point. `provider` and `provider_session_id`: the agent's own conversation, where it ends at that very
    point and lies among those files; else both are empty, and the conversation can only be told again."""

    run_id: str
    session_id: str
    at_seq: int
    position: int
    sync: SyncRef | None = None
    sync_position: int = 0
    provider: str = ""
    provider_session_id: str = ""
