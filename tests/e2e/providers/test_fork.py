"""A fork goes on with the conversation: resumed at the end of a run, replayed as text anywhere else."""

import pytest

from tests.e2e.providers.agents import Agents
from tests.support.fleetlog_server import new_id
from tests.support.model_server import Text


@pytest.mark.proof
def test_the_model_hears_what_was_said_before_the_fork(agents: Agents) -> None:
    first = agents.finished(Text("my favourite word is zephyr"), prompt="which word do you like?")
    own = first.snapshot["providerSessionId"]
    end = first.events[-1]["seq"]
    spoken = next(event["seq"] for event in first.events if event["type"] == "message.stop")

    for at_seq, how in ((end, "resumed"), (spoken, "retold")):
        fork = new_id("fork")
        made = agents.server.ok("POST", f"/api/runs/{first.run_id}/fork", json={"atSeq": at_seq, "sessionId": fork})
        assert made["origin"]["conversation"] == how
        run = agents.finished(Text("it was zephyr"), prompt="which one was it?", sessionId=fork)

        assert run.outcome == ("succeeded", ""), run.snapshot
        request = agents.models.requests(run.model)[-1]
        assert "my favourite word is zephyr" in request.text
        assert "which one was it?" in request.text
        (carried,) = run.of("run.conversation_carried")
        assert carried["how"] == how
        assert (run.snapshot["providerSessionId"] == own) == (how == "resumed")
        codes = {warning["code"] for warning in run.snapshot["warnings"]}
        assert ("conversation_retold" in codes) == (how == "retold")
