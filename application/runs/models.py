"""What runs show of their providers' models: whether one is down, and with it all runs that need it."""

from collections.abc import Sequence

from application.outages import Outages, model_of
from domain.event import Event
from domain.run import events as e
from domain.run.state import Finishing, Run
from domain.run.values import TRANSIENT_ERRORS

SPOKEN = (e.MessageDelta, e.ReasoningDelta, e.ToolStarted)


def note_model(outages: Outages, run: Run, events: Sequence[Event]) -> None:
    """What an agent has just said shows that its model works, or how it ended that it does not."""
    if run.spec is None:
        return
    name = model_of(run.spec.provider)
    for event in events:
        if isinstance(event, SPOKEN) or (isinstance(event, e.RunAgentFinished) and event.outcome == "succeeded"):
            outages.worked(name)
        elif isinstance(event, e.RunAgentFinished) and event.error and event.error.error_class in TRANSIENT_ERRORS:
            outages.failed(name, event.error.message)


def model_is_down(outages: Outages, run: Run) -> bool:
    """Whether the run's agent has ended because its model is down for everybody."""
    if run.spec is None or not isinstance(run.stage, Finishing) or run.stage.error is None:
        return False
    return run.stage.error.error_class in TRANSIENT_ERRORS and outages.excuses(model_of(run.spec.provider))
