"""The quotas per session and hour: what its runs record, callbacks and journals alike, is counted as it is recorded."""

from collections.abc import Sequence

import msgspec

from application.command_context import CommandContext
from application.ports.session_traffic import SessionTraffic, Traffic
from application.runs.commands import Runs
from domain.event import Event, encode
from domain.run.commands import ExceedQuota
from domain.run.state import Run


class HourlyQuotas(msgspec.Struct, frozen=True, kw_only=True):
    """Of a session's runs in an hour. `bytes`: of the events' payloads."""

    events: int = 1_000_000
    bytes: int = 1024 * 1024 * 1024


class SessionQuotas:
    def __init__(self, *, runs: Runs, traffic: SessionTraffic, quotas: HourlyQuotas) -> None:
        self._runs, self._traffic, self._quotas = runs, traffic, quotas

    async def count(self, run_id: str, run: Run, recorded: Sequence[Event], context: CommandContext) -> Run:
        """The run after `recorded` was counted: it is over a quota if its session is."""
        added = Traffic(events=len(recorded), bytes=sum(len(encode(event)) for event in recorded))
        now = await self._traffic.add(run.session_id, added)
        if now.events > self._quotas.events:
            over = ExceedQuota(quota="events_per_session_hour", limit=self._quotas.events, reached=now.events)
        elif now.bytes > self._quotas.bytes:
            over = ExceedQuota(quota="bytes_per_session_hour", limit=self._quotas.bytes, reached=now.bytes)
        else:
            return run
        return (await self._runs.handle(run_id, over, context)).state
