"""The bearer tokens of callbacks: derived from the installation's secret, so that nothing has to be stored."""

import hmac

from application.runs.commands import Runs
from application.sessions.commands import Sessions
from domain.identifiers import worker_token


class CallbackTokens:
    """A token is valid for one session and generation; those of earlier generations are refused."""

    def __init__(self, *, runs: Runs, sessions: Sessions, secret: bytes) -> None:
        self._runs, self._sessions, self._secret = runs, sessions, secret

    async def actor_of(self, run_id: str, token: str) -> str | None:
        """`worker/{sessionId}`, or None when this is not the callback token of the run's worker."""
        run = (await self._runs.load(run_id)).state
        session_id = run.session_id if run else ""
        session = (await self._sessions.load(session_id)).state if run else None
        generation = session.generation if session else 0
        expected = worker_token(self._secret, session_id, generation, "callback")
        if session is None or not hmac.compare_digest(expected.encode(), token.encode()):
            return None
        return f"worker/{session_id}"
