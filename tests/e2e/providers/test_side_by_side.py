"""Several providers at once on one server: what breaks one is nothing to the others."""

from dataclasses import replace

import pytest

from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import DIALECTS
from tests.support.fleetlog_server import new_id
from tests.support.model_server import Garbage, Gate, Text, slow_text


@pytest.mark.proof
def test_a_provider_that_breaks_in_two_ways_leaves_the_others_alone(agents: Agents) -> None:
    gates = [Gate() for _ in DIALECTS]
    sound = [
        replace(agents, dialect=dialect).started(Text("all is well ", pieces=3, gate=gate))
        for dialect, gate in zip(DIALECTS, gates, strict=True)
        if dialect.name != agents.dialect.name
    ]
    for run in sound:
        run.until("message.delta")

    session_id = new_id("session")
    killed = agents.started(slow_text(), sessionId=session_id)
    killed.until("message.delta")
    agents.environment.kill_agents(agents.server, session_id)
    assert killed.end().outcome == ("failed", "cli_crashed")
    assert agents.finished(*[Garbage()] * 12, retryPolicy="never").outcome[0] == "failed"

    for gate in gates:
        gate.open()
    for run in sound:
        ended = run.end()
        assert (ended.outcome, ended.text) == (("succeeded", ""), "all is well ")
