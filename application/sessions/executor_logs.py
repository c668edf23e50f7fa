"""The logs of executors: the last lines of one, for a person, and those of all, each once, for a collector."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from application.executor_protocol import LogLines
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import ExecutorError
from application.ports.worker_runtime import RuntimeUnavailable
from application.sessions.session_workers import LoadedWorker, SessionWorkers
from application.turns import Share, Turn
from domain.errors import NotFound

FORWARD_S = 10.0
AT_ONCE = 8
log = logging.getLogger(__name__)


class ExecutorLogs:
    def __init__(self, workers: SessionWorkers) -> None:
        self._workers = workers

    async def last(self, session_id: str, limit: int) -> LogLines:
        """The last lines of the session's executor: what it keeps in memory or, if it has ended, the end of its output,
        each line as JSON; none if there is neither. Raises NotFound, ExecutorError, RuntimeUnavailable."""
        try:
            worker = await self._workers.find(session_id)
        except EffectObsolete as error:
            raise NotFound(str(error)) from error
        try:
            found = await self._workers.executor(worker).log()
        except (EffectObsolete, ExecutorError) as error:
            found = await self._of_ended(worker, error)
        cut = max(len(found.lines) - limit, 0)
        return LogLines(lines=found.lines[cut:], lost=found.lost + cut)

    async def _of_ended(self, worker: LoadedWorker, error: Exception) -> LogLines:
        container = worker.state.container
        info = None
        if container is not None:
            spec = self._workers.spec(worker)
            info = await self._workers.runtime.inspect(spec, container.container_id, container.daemon_id)
        if info is not None and info.exit_log:
            return LogLines(lines=tuple(_as_json(line) for line in info.exit_log.splitlines()))
        if isinstance(error, ExecutorError):
            raise error
        return LogLines()


class ForwardExecutorLogs:
    """`run` passes each line of the executors in this installation's containers to `write`, with the session that it is
    of, until it is cancelled. Executors of earlier releases have no lines to give."""

    def __init__(
        self,
        workers: SessionWorkers,
        write: Callable[[bytes, str], None],
        interval_s: float = FORWARD_S,
    ) -> None:
        self._workers, self._write = workers, write
        self._interval_s, self._places, self._share = interval_s, asyncio.Semaphore(AT_ONCE), Share()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                containers = await self._workers.runtime.own_containers()
            except RuntimeUnavailable as error:
                log.debug("no log lines of executors: %s", error)
            except Exception:
                log.exception("the logs of executors could not be passed on; trying again")
            else:
                running = {each.session_id for each in containers if each.status == "running"}
                await asyncio.gather(*map(self._forward, sorted(running)))

    async def _forward(self, session_id: str) -> None:
        async with self._places:
            try:
                worker = await self._workers.recent(session_id)
                taken = await self._workers.executor(worker).take_log()
            except (EffectObsolete, ExecutorError, RuntimeUnavailable) as error:
                log.debug("no log lines of session %s: %s", session_id, error)
            except Exception:
                log.exception("the log of the executor of session %s could not be passed on", session_id)
            else:
                await self._pass_on(taken, session_id)

    async def _pass_on(self, taken: LogLines, session_id: str) -> None:
        if taken.lost:
            log.warning("session %s: %d lines of its executor's log were lost", session_id, taken.lost)
        turn = Turn(share=self._share)
        for line in taken.lines:
            self._write(bytes(line), session_id)
            if turn.over:
                await turn.next()


def _as_json(line: str) -> msgspec.Raw:
    try:
        msgspec.json.decode(line, type=dict)
    except msgspec.MsgspecError:
        return msgspec.Raw(msgspec.json.encode({"message": line}))
    return msgspec.Raw(line.encode())
