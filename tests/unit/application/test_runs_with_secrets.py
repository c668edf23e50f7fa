"""Secrets in a run's options: the agent gets them, the log has placeholders."""

import asyncio
from dataclasses import replace
from typing import Any

from application.runs.execution import RunExecutions
from domain.run.events import RunFinished
from tests.support.async_run import run
from tests.support.world_in_memory import World, world
from tests.unit.application.test_run_executions import execute, last, speaks_and_ends


class KeptSecrets:
    def __init__(self, **kept: str) -> None:
        self.kept = {f"[secret {name}]": value for name, value in kept.items()}

    def placeholder(self, value: str) -> str:
        raise NotImplementedError

    async def forget(self, run_id: str) -> None: ...

    async def keep(self, run_id: str, values: Any) -> None:
        raise NotImplementedError

    async def of(self, run_id: str) -> dict[str, str]:
        return self.kept


NAME = "0123456789abcdef01234567"


def executed_with(secrets: KeptSecrets) -> World:
    async def scene() -> World:
        async with world() as made:
            options = {"mcpServers": {"crm": {"env": {"KEY": f"[secret {NAME}]"}}}}
            lease = await made.queued(provider_options=options)
            made.executions = RunExecutions(replace(made.execution_ports, run_secrets=secrets))
            playing = asyncio.create_task(speaks_and_ends(made))
            await execute(made, lease)
            playing.cancel()
            return made

    return run(scene())


def test_an_agent_gets_the_secrets_that_the_log_has_placeholders_for_and_its_executor_is_told_to_hide_them() -> None:
    made = executed_with(KeptSecrets(**{NAME: "Bearer k3y-0123456789"}))

    (request,) = made.executor(session_id="s").requests
    assert request.spec.provider_options["mcpServers"]["crm"]["env"] == {"KEY": "Bearer k3y-0123456789"}
    assert request.secrets == ("Bearer k3y-0123456789", "k3y-0123456789")
    assert last(made, RunFinished).outcome == "succeeded"
    assert "k3y-" not in str(made.log.events)


def test_a_run_whose_secrets_are_not_kept_any_more_says_so_and_is_final() -> None:
    made = executed_with(KeptSecrets())

    assert made.executor(session_id="s").starts == []
    finished = last(made, RunFinished)
    assert (finished.outcome, finished.error.error_class) == ("failed", "bad_input")
    assert "start it again as a new run" in finished.error.message
