"""Recording the steps of an activation: created, started, restored, linked, validated, in this order."""

from collections.abc import Sequence

from domain.errors import Conflict, Fenced
from domain.event import Event
from domain.session import commands as c
from domain.session import events as e
from domain.session.state import Activating, Running, SessionWorker, Stopped

OUT_OF_ORDER = "activation_step_out_of_order"


def record_created(state: SessionWorker, command: c.RecordContainerCreated) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Activating) or state.container is not None:
        return ()
    container = command.container
    return (
        e.ContainerCreated(
            generation=state.generation,
            container_id=container.container_id,
            runtime=container.runtime,
            daemon_id=container.daemon_id,
        ),
    )


def record_started(state: SessionWorker, command: c.RecordContainerStarted) -> Sequence[Event]:
    if state.boot == command.boot:
        return ()
    expected = {
        "activation": isinstance(state.lifecycle, Activating),
        "revival": isinstance(state.lifecycle, Running),
        "maintenance": isinstance(state.lifecycle, Stopped) and state.lifecycle.remove is not None,
    }
    if not expected[command.purpose]:
        raise Fenced(f"the worker is {type(state.lifecycle).__name__}, a start for {command.purpose} is not wanted")
    if state.container is None:
        raise Conflict("no container of this generation is recorded", OUT_OF_ORDER)
    return (
        e.ContainerStarted(
            generation=state.generation,
            boot_id=command.boot.boot_id,
            url=command.boot.url,
            purpose=command.purpose,
            restored=state.restored,
            exit_log=command.exit_log,
        ),
    )


def record_restored(state: SessionWorker, command: c.RecordWorkspaceRestored) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Activating) or state.restored:
        return ()
    if state.lifecycle.boot is None:
        raise Conflict("the container of this activation has not started", OUT_OF_ORDER)
    if command.sync != state.plan.session_sync:
        raise Conflict("what was restored is not the session's last recorded sync", "other_sync_restored")
    return (
        e.WorkspaceRestored(generation=state.generation, files=command.files, bytes=command.bytes, sync=command.sync),
    )


def record_linked(state: SessionWorker, command: c.RecordAgentDataLinked) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Activating) or state.lifecycle.linked:
        return ()
    _check_restored(state, state.lifecycle)
    return (e.AgentDataLinked(generation=state.generation, linked=command.linked, migrated=command.migrated),)


def _check_restored(state: SessionWorker, lifecycle: Activating) -> None:
    if lifecycle.boot is None or not state.restored:
        raise Conflict("the workspace of this container is not restored", OUT_OF_ORDER)


def record_validated(state: SessionWorker, command: c.RecordWorkspaceValidated) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Activating):
        return ()
    _check_restored(state, state.lifecycle)
    if not state.lifecycle.linked:
        raise Conflict("the agent data is not linked", OUT_OF_ORDER)
    if command.missing_required_paths:
        names = ", ".join(command.missing_required_paths)
        return (failed(state, state.lifecycle, "validate", f"required paths are missing: {names}", command),)
    kind = state.lifecycle.kind
    return (
        e.WorkspaceValidated(generation=state.generation, required_paths=state.plan.required_paths),
        e.SessionActivated(
            generation=state.generation, action="created_and_started" if kind == "create" else "started"
        ),
    )


def fail_activation(state: SessionWorker, command: c.FailActivation) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Activating):
        return ()
    return (failed(state, state.lifecycle, command.step, command.error, None),)


def failed(
    state: SessionWorker,
    lifecycle: Activating,
    step: e.ActivationStep,
    error: str,
    validated: c.RecordWorkspaceValidated | None,
) -> e.ActivationFailed:
    return e.ActivationFailed(
        generation=state.generation,
        step=step,
        error=error,
        missing_required_paths=validated.missing_required_paths if validated else (),
        discard=lifecycle.kind == "create" and not state.ever_active,
    )
