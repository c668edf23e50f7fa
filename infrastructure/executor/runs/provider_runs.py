"""All runs of one session worker: at most one is active; of the others the journal can be read."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from application.executor_protocol import ReplyRequest, ReplyResult, RunState, StartRequest
from application.ports.provider_descriptions import provider_named
from domain.errors import Conflict, InvalidInput, NotFound
from domain.run.events import HumanLoopExpired, RunAgentFinished
from domain.run.values import RunError
from infrastructure.executor.journal.run_folders import AttemptIdentity, RunFolders
from infrastructure.executor.journal.run_journal import RunJournal
from infrastructure.executor.providers.contract import AgentFailed, AgentTask
from infrastructure.executor.providers.descriptions import credential_names, variable_names
from infrastructure.executor.providers.registry import PROVIDERS
from infrastructure.executor.providers.run_folder import clear_run_folders
from infrastructure.executor.runs.active_run import ActiveRun, PutOutput
from infrastructure.executor.runs.agent_processes import AgentProcesses
from infrastructure.redaction import Redactor, secrets_in

_OPEN_JOURNALS = 8
_CLEAR_UP_S = 10.0
_log = logging.getLogger("fleetlog.executor.runs")
Result = TypeVar("Result")


class RunEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs share. `folder` is where agents work, `private_folder` their home. `admit` raises Conflict while no
    run may start; `prepare`, which blocks, is called before each start. `agent_variables` is the environment of every
    agent; what a provider needs is added to it from the call that starts the run, else from `executor_variables`, the
    executor's own environment."""

    folder: str
    admit: Callable[[], None]
    prepare: Callable[[], None]
    agent_variables: Callable[[], dict[str, str]]
    private_folder: str
    put_output: PutOutput
    executor_variables: Mapping[str, str]


class ProviderRuns:
    """Starts, follows and ends runs. Use from the event loop's thread; call `recover` once, before anything else."""

    def __init__(
        self, *, state_dir: Path, boot_id: str, processes: AgentProcesses, pool: ThreadPoolExecutor,
        run_environment: RunEnvironment,
    ) -> None:  # fmt: skip
        self._folders = RunFolders(state_dir)
        self._boot_id = boot_id
        self._processes = processes
        self._pool = pool
        self._run_environment = run_environment
        known = {*credential_names(), *variable_names()}
        variables = {name: value for name, value in run_environment.executor_variables.items() if name in known}
        self._redactor = Redactor(secrets_in(variables, credential_names()))
        self._active: ActiveRun | None = None
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._closing = False
        self._started_at_seq = 0
        self._open_journals: OrderedDict[tuple[str, int], RunJournal] = OrderedDict()

    @property
    def redactor(self) -> Redactor:
        """Replaces the secrets that agents of this worker are given."""
        return self._redactor

    def learn_secrets(self, secrets: Iterable[str]) -> None:
        """Replace these in events and logs from now on, those of the active run included: its redactors are derived."""
        self._redactor.learn(secrets)

    @property
    def active_runs(self) -> tuple[str, ...]:
        active = self._active
        return (active.run_id,) if active is not None and not active.journal.finished else ()

    async def recover(self) -> None:
        """End processes that an earlier boot left running, and complete its journals with run.agent_finished (failed,
        executor_lost)."""
        left = await self._in_thread(self._folders.not_ended)
        await self._in_thread(partial(clear_run_folders, self._run_environment.private_folder))
        groups = [(run.process_group, run.process_started) for run in left if run.process_group]
        killed = await self._processes.end_leftovers(groups)
        if killed:
            _log.warning("ended %d processes of an earlier boot", killed)
        for identity in left:
            journal = await self._in_thread(partial(self._open, identity.run_id, identity.attempt))
            if not journal.finished:
                for question_id in tuple(journal.open_questions):
                    journal.append(HumanLoopExpired(question_id=question_id, reason="the executor has died"))
                error = RunError(error_class="executor_lost", message="the executor died while the agent was running")
                await journal.durable(journal.append(RunAgentFinished(outcome="failed", error=error)))
            await self._in_thread(partial(self._folders.mark_ended, identity.run_id, identity.attempt))

    async def start(self, request: StartRequest) -> RunState:
        """Start the run; for an attempt that was started before, return its state. Goes on when the caller is
        cancelled. Raises Conflict (busy, maintenance, workspace_not_restored, gate_under_way, older_attempt),
        InvalidInput."""
        task = asyncio.create_task(self._start(request))
        return await asyncio.shield(task)

    async def _start(self, request: StartRequest) -> RunState:
        async with self._starting:
            last = await self._in_thread(partial(self._folders.last_attempt, request.run_id))
            if self._active is not None and self._active.run_id == request.run_id:
                last = max(last, self._active.attempt)
            if last == request.attempt:
                return await self.state(request.run_id)
            if last > request.attempt:
                raise Conflict(
                    f"run {request.run_id} is at attempt {last} already, {request.attempt} is over", "older_attempt"
                )
            if self._closing:
                raise Conflict("the executor is going down", "busy")
            if self._active is not None and self._active.journal.finished and self._task is not None:
                # A caller that has read its last entry may start the next run while this one is still being cleaned up.
                await asyncio.wait([self._task], timeout=_CLEAR_UP_S)
            if self._active is not None:
                raise Conflict(f"run {self._active.run_id} is active; one run at a time", "busy")
            self._run_environment.admit()
            self._started_at_seq = max(self._started_at_seq, request.session_seq)
            return await self._begin(request)

    async def _begin(self, request: StartRequest) -> RunState:
        try:
            provider = provider_named(request.spec.provider, PROVIDERS)
            provider.check(request.spec)
        except InvalidInput as error:
            raise InvalidInput(f"spec.{error.field}", error.message) from error
        environment = self._run_environment.agent_variables() | {
            "FLEETLOG_RUN_ID": request.run_id,
            "FLEETLOG_SESSION_ID": request.session_id,
        }
        if request.callback_url:
            environment["FLEETLOG_CALLBACK_URL"] = request.callback_url
            environment["FLEETLOG_CALLBACK_TOKEN"] = request.callback_token
        given = {**self._run_environment.executor_variables, **request.variables}
        environment |= provider.variables_of(request.spec, given)
        self.learn_secrets(secrets_in(request.variables, credential_names()))
        task = AgentTask(
            run_id=request.run_id,
            attempt=request.attempt,
            spec=request.spec,
            folder=self._run_environment.folder,
            private_folder=self._run_environment.private_folder,
            environment=environment,
            human_loop_timeout_ms=request.human_loop_timeout_ms,
            redactor=self._redactor.with_secrets((request.callback_token, *request.secrets)),
        )
        identity = AttemptIdentity(run_id=request.run_id, attempt=request.attempt)
        await self._in_thread(partial(self._folders.record, identity))
        journal = await self._in_thread(partial(self._open, request.run_id, request.attempt))
        self._keep_open(request.run_id, request.attempt, journal)
        await self._in_thread(self._run_environment.prepare)
        try:
            session = await provider.start(task, self._processes)
        except AgentFailed as error:
            return await self._never_started(request, journal, error.error)
        except Exception as error:  # noqa: BLE001  logged, and the run ends as failed for it
            _log.exception("run %s could not be started", request.run_id)
            failure = RunError(error_class="environment", message=f"the agent could not be started: {error}")
            return await self._never_started(request, journal, failure)
        group, started = session.process_group
        active = ActiveRun(
            request.run_id,
            request.attempt,
            session=session,
            journal=journal,
            processes=self._processes,
            put_output=self._run_environment.put_output,
            redactor=task.redactor,
        )
        self._active = active
        self._task = asyncio.create_task(self._own(active))
        with_process = msgspec.structs.replace(identity, process_group=group, process_started=started)
        try:
            await self._in_thread(partial(self._folders.record, with_process))
        except OSError:
            # The agent runs, so this is no failed start. The next boot also finds its processes by their environment.
            _log.exception("the process of run %s could not be recorded", request.run_id)
        return active.state(self._boot_id)

    async def _never_started(self, request: StartRequest, journal: RunJournal, failure: RunError) -> RunState:
        finished = self._redactor.event(RunAgentFinished(outcome="failed", error=failure))
        await journal.durable(journal.append(finished))
        await self._in_thread(partial(self._folders.mark_ended, request.run_id, request.attempt))
        return _state(request.run_id, request.attempt, self._boot_id, journal)

    async def state(self, run_id: str) -> RunState:
        """Raises NotFound."""
        attempt, journal = await self._journal(run_id)
        return _state(run_id, attempt, self._boot_id, journal)

    async def follow(self, run_id: str, cursor: int) -> AsyncIterator[bytes]:
        """The NDJSON of the last attempt's journal after `cursor`. Raises NotFound, InvalidInput."""
        _, journal = await self._journal(run_id)
        return await journal.follow(cursor)

    async def stop(self, run_id: str) -> RunState:
        """Begin to end the run's agent, if it is active; does not wait. Raises NotFound."""
        if self._active is not None and self._active.run_id == run_id:
            self._active.stop()
        return await self.state(run_id)

    async def reply(self, run_id: str, request: ReplyRequest) -> ReplyResult:
        """Raises NotFound (run or question), Conflict (question_not_open, not_delivered)."""
        if self._active is not None and self._active.run_id == run_id and not self._active.journal.finished:
            return await self._active.reply(request.question_id, request.answer)
        await self._journal(run_id)
        raise Conflict(f"run {run_id} has ended; its questions are closed", "question_not_open")

    async def quiesce(self, session_seq: int) -> None:
        """End every agent's process before a gate sync; an active run fails. Raises Conflict (gate_overtaken) when a
        run was started by a request with a larger `session_seq`: the gate sync was asked for before that run."""
        async with self._starting:
            if session_seq and session_seq < self._started_at_seq:
                raise Conflict("a run was started since this gate sync was asked for", "gate_overtaken")
            await self._end_all("the worker's gate sync ended every process")

    async def _end_all(self, reason: str) -> None:
        if self._active is not None and self._task is not None:
            error = RunError(error_class="internal", message=reason)
            self._active.stop(RunAgentFinished(outcome="failed", error=error))
            await asyncio.wait([self._task])
        await self._processes.end_all()

    async def close(self) -> None:
        """Refuse new runs, end the active one, close the journals."""
        self._closing = True
        async with self._starting:
            await self._end_all("the executor was told to end")
        for journal in self._open_journals.values():
            await journal.close()

    async def _own(self, active: ActiveRun) -> None:
        try:
            await active.run()
            await self._in_thread(partial(self._folders.mark_ended, active.run_id, active.attempt))
        except Exception as error:  # noqa: BLE001  nothing awaits this task: it is logged here
            _log.exception("run %s ended without its last journal entry", active.run_id)
            active.journal.give_up(error)
        finally:
            self._active = None
            self._task = None

    async def _journal(self, run_id: str) -> tuple[int, RunJournal]:
        if self._active is not None and self._active.run_id == run_id:
            return self._active.attempt, self._active.journal
        attempt = await self._in_thread(partial(self._folders.last_attempt, run_id))
        if attempt == 0:
            raise NotFound(f"run {run_id!r} has never been started here")
        journal = self._open_journals.get((run_id, attempt))
        if journal is None:
            journal = await self._in_thread(partial(self._open, run_id, attempt))
            self._keep_open(run_id, attempt, journal)
        return attempt, journal

    def _keep_open(self, run_id: str, attempt: int, journal: RunJournal) -> None:
        self._open_journals[run_id, attempt] = journal
        while len(self._open_journals) > _OPEN_JOURNALS:
            ended = next(
                (key for key, kept in self._open_journals.items() if kept.finished and kept is not journal), None
            )
            if ended is None:
                return
            del self._open_journals[ended]

    def _open(self, run_id: str, attempt: int) -> RunJournal:
        folder = self._folders.folder(run_id, attempt)
        return RunJournal(folder, attempt=attempt, boot_id=self._boot_id, pool=self._pool)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _state(run_id: str, attempt: int, boot_id: str, journal: RunJournal) -> RunState:
    return RunState(
        run_id=run_id,
        attempt=attempt,
        boot_id=boot_id,
        entries=journal.entries,
        finished=journal.finished,
        open_questions=tuple(journal.open_questions),
    )
