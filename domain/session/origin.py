"""Where a forked session comes from, and what it takes from there."""

from domain.run.values import Wire
from domain.workspace.sync import SyncRef


class ForkOrigin(Wire, frozen=True, kw_only=True):
    """The fork point is event `at_seq` of run `run_id` in session `session_id`, at `position` in the log. `sync`: the
    sync of that session whose files are copied, recorded by the event at `sync_position`; None if there was none before
    the fork point. `provider` and `provider_session_id`: the agent's own conversation, if it ends at the fork point and
    those files hold it; otherwise both are empty, and the agent can only get a transcript."""

    run_id: str
    session_id: str
    at_seq: int
    position: int
    sync: SyncRef | None = None
    sync_position: int = 0
    provider: str = ""
    provider_session_id: str = ""
