"""How often and after which delay each kind of effect is tried again."""

from datetime import timedelta

import msgspec

from application.ports.effect_kinds import LedgerKind


class RetrySchedule(msgspec.Struct, frozen=True, kw_only=True):
    """`delay` doubles with each attempt, up to `longest`."""

    max_attempts: int
    first_delay: timedelta
    longest: timedelta = timedelta(minutes=1)

    def delay(self, attempt: int) -> timedelta:
        grown: timedelta = self.first_delay * 2 ** min(attempt - 1, 16)
        return min(grown, self.longest)


_QUICK = RetrySchedule(max_attempts=5, first_delay=timedelta(milliseconds=500))
_PATIENT = RetrySchedule(max_attempts=10, first_delay=timedelta(seconds=5))
_STUBBORN = RetrySchedule(max_attempts=1000, first_delay=timedelta(seconds=1))
RETRY_SCHEDULES: dict[LedgerKind, RetrySchedule] = {
    "container.create": _QUICK,
    "container.start": _QUICK,
    "container.start_maintenance": _QUICK,
    "container.stop": _STUBBORN,
    "container.remove": _STUBBORN,
    "workspace.restore": _QUICK,
    "workspace.sync": _QUICK,
    "workspace.sync_before_remove": _QUICK,
    "workspace.validate": _QUICK,
    "workspace.collect": _PATIENT,
    "workspace.copy": _QUICK,
    "agent_data.link": _QUICK,
    "session.request_sync": _STUBBORN,
    "session.detach_run": _STUBBORN,
    "human_loop.deliver_reply": _QUICK,
}
