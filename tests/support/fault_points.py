"""Points of a run's life at which a process can be made to die: right before and right after every effect and commit.

A point is named by what is done and which time this process does it for the run, such as `append run.started #1 after`.
Only what concerns the run or its session counts. Calls that only look (health, state, inspect) are no points. Of the
folds into the read models the first few are: each is one transaction, and projections have crash proofs of their own.
"""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from application.process_managers.outcomes import RunDetached, SendToSession, WantedEffect
from domain.identifiers import run_stream, session_stream
from infrastructure.executor_client.http_executor import HttpExecutor
from infrastructure.postgres.effect_ledger.ledger import PostgresEffectLedger
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.process_managers import runner
from infrastructure.postgres.projector import projector
from infrastructure.postgres.run_queue import PostgresRunQueue
from infrastructure.runtimes.process import ProcessWorkerRuntime

EXECUTOR_CALLS = ("restore", "link_agent_data", "validate", "sync", "start_run", "stop_run", "reply")
RUNTIME_CALLS = ("create", "start", "stop", "remove")
FOLDS = 3


@dataclass
class FaultPoints:
    """Writes the name of every point it comes by to `record`, one a line, and kills the process -9 at `fatal`."""

    run_id: str
    session_id: str
    fatal: str
    record: Path
    _times: Counter[str] = field(default_factory=Counter)

    def concerns(self, stream: str) -> bool:
        return stream in {run_stream(self.run_id), session_stream(self.session_id)}

    def concerns_params(self, params: dict[str, Any]) -> bool:
        return params.get("runId") == self.run_id or params.get("sessionId") == self.session_id

    def count(self, what: str) -> str:
        """The name of this doing of `what`."""
        self._times[what] += 1
        return f"{what} #{self._times[what]}"

    def reached(self, name: str, moment: str) -> None:
        point = f"{name} {moment}"
        with self.record.open("a", encoding="utf-8") as record:
            record.write(point + "\n")
        if point == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap the adapters of this process."""
        self._wrap_appends()
        self._wrap_calls(HttpExecutor, "executor", EXECUTOR_CALLS, lambda self_: self_._calls._target.session_id)
        self._wrap_journal()
        self._wrap_calls(ProcessWorkerRuntime, "runtime", RUNTIME_CALLS, lambda _, spec, *_rest: spec.session_id)
        self._wrap_ledger()
        self._wrap_queue()
        self._wrap_process_managers()
        self._wrap_projections()

    def _wrap_appends(self) -> None:
        """An append is one commit; so are appends in turn, unless one of them is refused."""
        append, append_sequence = GroupCommitEventStore.append, GroupCommitEventStore.append_sequence

        async def committed(events: Iterable[Any], commit: Awaitable[Any]) -> Any:
            names = [self.count(f"append {kind}") for kind in dict.fromkeys(event.event.wire_name for event in events)]
            for name in names:
                self.reached(name, "before")
            result = await commit
            for name in names:
                self.reached(name, "after")
            return result

        async def one(store: Any, stream: str, expected_seq: int, events: Sequence[Any]) -> Any:
            concerned = events if self.concerns(stream) else ()
            return await committed(concerned, append(store, stream, expected_seq, events))

        async def in_turn(store: Any, appends: Sequence[Any]) -> Any:
            concerned = [event for each in appends if self.concerns(each.stream) for event in each.events]
            return await committed(concerned, append_sequence(store, appends))

        GroupCommitEventStore.append = one  # type: ignore[method-assign, assignment]
        GroupCommitEventStore.append_sequence = in_turn  # type: ignore[method-assign, assignment]

    def _wrap_calls(self, owner: type, title: str, methods: Iterable[str], session_of: Callable[..., str]) -> None:
        def wrap(method: str, original: Any) -> Any:
            async def wrapped(self_: Any, *arguments: Any, **named: Any) -> Any:
                subject = session_of(self_, *arguments) if owner is ProcessWorkerRuntime else session_of(self_)
                if subject != self.session_id:
                    return await original(self_, *arguments, **named)
                name = self.count(f"{title} {method}")
                self.reached(name, "before")
                result = await original(self_, *arguments, **named)
                self.reached(name, "after")
                return result

            return wrapped

        for method in methods:
            setattr(owner, method, wrap(method, getattr(owner, method)))

    def _wrap_journal(self) -> None:
        follow = HttpExecutor.follow

        async def wrapped(executor: HttpExecutor, run_id: str, cursor: int) -> AsyncIterator[Any]:
            if run_id != self.run_id:
                async for batch in follow(executor, run_id, cursor):
                    yield batch
                return
            self.reached(self.count("executor follow"), "before")
            async for batch in follow(executor, run_id, cursor):
                self.reached(self.count(f"executor entries to {batch[-1].type}"), "after")
                yield batch

        HttpExecutor.follow = wrapped  # type: ignore[method-assign, assignment]

    def _wrap_ledger(self) -> None:
        claim, settle = PostgresEffectLedger.claim, PostgresEffectLedger.settle

        async def claimed(ledger: Any, **named: Any) -> Any:
            leases = await claim(ledger, **named)
            for lease in leases:
                if self.concerns_params(lease.effect.params):
                    self.reached(self.count(f"claim of {lease.effect.kind}"), "after")
            return leases

        async def settled(ledger: Any, lease: Any, outcome: str, **named: Any) -> None:
            if not self.concerns_params(lease.effect.params):
                return await settle(ledger, lease, outcome, **named)  # type: ignore[arg-type]
            name = self.count(f"settling of {lease.effect.kind} {outcome}")
            self.reached(name, "before")
            await settle(ledger, lease, outcome, **named)  # type: ignore[arg-type]
            self.reached(name, "after")
            return None

        PostgresEffectLedger.claim = claimed  # type: ignore[method-assign, assignment]
        PostgresEffectLedger.settle = settled  # type: ignore[method-assign, assignment]

    def _wrap_queue(self) -> None:
        claim = PostgresRunQueue.claim

        async def claimed(queue: Any, **named: Any) -> Any:
            leases = await claim(queue, **named)
            for lease in leases:
                if lease.run_id == self.run_id:
                    self.reached(self.count("claim of the run"), "after")
            return leases

        PostgresRunQueue.claim = claimed  # type: ignore[method-assign, assignment]

    def _wrap_process_managers(self) -> None:
        record = runner.record  # type: ignore[attr-defined]
        advance = runner.ProcessManagerRunner._advance
        committing: list[str] = []

        async def recorded(connection: Any, outcomes: Any) -> None:
            """The commit with the checkpoint; the commands, which were sent before it, are among the appends."""
            for event, outcome in outcomes:
                if self.concerns(event.stream) and not isinstance(outcome, SendToSession | RunDetached):
                    kind = outcome.kind if isinstance(outcome, WantedEffect) else type(outcome).__name__
                    committing.append(self.count(f"outcome {kind}"))
            for name in committing:
                self.reached(name, "before")
            await record(connection, outcomes)

        async def advanced(*arguments: Any) -> int:
            """The number of events, as the original gives it."""
            events = await advance(*arguments)
            while committing:
                self.reached(committing.pop(0), "after")
            return events

        runner.record = recorded  # type: ignore[attr-defined]
        runner.ProcessManagerRunner._advance = advanced  # type: ignore[method-assign, assignment]

    def _wrap_projections(self) -> None:
        fold = projector.fold_page  # type: ignore[attr-defined]
        commit = projector.commit  # type: ignore[attr-defined]
        concerned: list[bool] = []

        async def folding(connection: Any, tables: Any, versions: Any, page: Any) -> Any:
            concerned[:] = [any(self.concerns(getattr(entry, "stream", "")) for entry in page.events)]
            return await fold(connection, tables, versions, page)

        async def committed(connection: Any, tables: Any, folded: Any) -> None:
            if concerned != [True] or self._times["fold into the read models"] >= FOLDS:
                return await commit(connection, tables, folded)
            concerned.clear()
            name = self.count("fold into the read models")
            self.reached(name, "before")
            await commit(connection, tables, folded)
            self.reached(name, "after")
            return None

        projector.fold_page = folding  # type: ignore[attr-defined]
        projector.commit = committed  # type: ignore[attr-defined]
