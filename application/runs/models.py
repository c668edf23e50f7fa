"""What runs show of their providers' models: whether one is down, and with it all runs that need it."""

from collections.abc import Sequence

from application.outages import Outages, model_of
from domain.event import Event
from domain.run import events as e
from domain.run.state import Finishing, Run
from domain.run.values import TRANSIENT_ERRORS, RunSpec

SPOKEN = (e.MessageDelta, e.ReasoningDelta, e.ToolStarted)


def note_model(outages: Outages, run: Run, events: Sequence[Event]) -> None:
    """What an agent has just said shows that its model works, or how it ended that it does not."""
    if run.spec is None:
        return
    name = model_of(run.spec.provider)
    for event in events:
        if isinstance(event, SPOKEN) or (isinstance(event, e.RunAgentFinished) and event.outcome == "succeeded"):
            outages.models.worked(name, user_of(run.spec))
        elif isinstance(event, e.RunAgentFinished) and event.error and event.error.error_class in TRANSIENT_ERRORS:
            outages.models.failed(name, user_of(run.spec), event.error.message)


def model_is_down(outages: Outages, run: Run) -> bool:
    """Whether the run's agent has ended because its model is down for its user."""
    if run.spec is None or not isinstance(run.stage, Finishing) or run.stage.error is None:
        return False
    if run.stage.error.error_class not in TRANSIENT_ERRORS:
        return False
    return outages.models.excuses(model_of(run.spec.provider), user_of(run.spec))


def await_model(outages: Outages, spec: RunSpec) -> None:
    """Return if an agent with this spec may begin. Raises DependencyDown while its model is down."""
    outages.models.attempt(model_of(spec.provider), user_of(spec))


def user_of(spec: RunSpec) -> str:
    """Whose evidence a run's is: that of all runs of its user in its app."""
    return f"{spec.app_id}/{spec.user_login_name}"
