"""A message to a session makes its worker run, whatever state it is in."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, Fenced, IdentityConflict, InvalidInput, NotFound
from domain.session import commands as c
from domain.session import events as e
from domain.session.state import Boot
from domain.workspace.manifest import RuntimeManifest
from tests.support.sessions import (
    ACTIVATE,
    ACTIVATING,
    BOOT,
    CONTAINER,
    DELETED,
    FAILED,
    HISTORIES,
    IN_MAINTENANCE,
    LINKED,
    MANIFEST,
    NEWER,
    NEXT_BOOT,
    PREFIX,
    READY,
    REMOVING,
    RESTORED,
    RUNNING,
    STARTED,
    STARTING_AGAIN,
    STOP_PENDING,
    STOPPED,
    STOPPED_NOW,
    STOPPING,
    UP,
    VALIDATED,
    activation,
    created,
    session,
    started,
    sync_ref,
)
from tests.support.specification import T0, minutes

WITH_NEWER = replace(ACTIVATE, manifest=NEWER)
REACTIVATION = e.ReactivationRequested(generation=1)
TOUCHED = e.SessionTouched(generation=1)


def test_an_unknown_session_gets_its_first_container():
    session.given().when(ACTIVATE).then(activation("create", generation=1))


def test_its_workspace_prefix_is_fixed_by_the_first_activation():
    state = session.given(*RUNNING).state
    assert state.workspace_prefix == PREFIX == "app/shop/project/web/ann/session/s1/workspace"


def test_an_empty_project_name_means_default():
    requested = session.given().when(replace(ACTIVATE, project_name="")).events[0]
    assert isinstance(requested, e.ActivationRequested)
    assert requested.project_name == "default"
    session.given(requested).when(replace(ACTIVATE, project_name="default")).then_nothing()


@pytest.mark.parametrize(
    ("field", "wire_field"),
    [
        ("session_id", "sessionId"),
        ("app_id", "appId"),
        ("project_name", "projectName"),
        ("user_login_name", "userLoginName"),
    ],
)
@pytest.mark.parametrize("value", ["-x", "a/b", "ä", "x" * 121, "a b", "a\n"])
def test_a_malformed_id_is_refused_by_its_name(field, wire_field, value):
    session.given().when(replace(ACTIVATE, **{field: value})).then_error(
        InvalidInput, field=wire_field, saying=repr(value)[1:-1]
    )


@pytest.mark.parametrize("field", ["app_id", "project_name", "user_login_name"])
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_a_known_session_keeps_its_identity_in_every_state(field, history):
    session.given(*history).when(replace(ACTIVATE, **{field: "other"})).then_error(
        IdentityConflict, reason="identity_conflict", saying="'other'"
    )


def test_a_deleted_worker_gets_a_new_generation_with_the_last_recorded_sync():
    session.given(*DELETED).when(ACTIVATE).then(activation("create", generation=2, last_sync=sync_ref(2)))


def test_a_stopped_worker_is_started_in_its_own_container():
    session.given(*STOPPED).when(ACTIVATE).then(activation("start", last_sync=sync_ref(1)))


def test_a_running_worker_is_touched():
    given = session.given(*RUNNING).when(ACTIVATE, at=T0 + minutes(3)).then(TOUCHED)
    assert given.state.last_active_at == T0 + minutes(3)


def test_a_pending_stop_gives_way_to_a_message():
    canceled = e.StopCanceled(generation=1, reason="activated")
    given = session.given(*STOP_PENDING).when(ACTIVATE).then(canceled, TOUCHED)
    assert given.state.public_state == "running"
    # and the gate sync of that stop, when it comes late, stops nothing
    given.when(c.RecordSynced(generation=1, sync_id="gate", sync=sync_ref(1))).then_nothing()


def test_while_activating_there_is_nothing_more_to_ask_for():
    session.given(*ACTIVATING).when(ACTIVATE).then_nothing()


@pytest.mark.parametrize("history", [STOPPING, REMOVING, FAILED], ids=["stopping", "removing", "failed"])
def test_on_the_way_down_the_message_waits(history):
    given = session.given(*history).when(ACTIVATE).then(REACTIVATION)
    given.when(ACTIVATE).then_nothing()


def test_it_is_started_as_soon_as_it_has_stopped():
    session.given(*STOPPING, REACTIVATION).when(c.RecordStopped(generation=1)).then(
        STOPPED_NOW, activation("start", last_sync=sync_ref(1))
    )


def test_it_is_created_as_soon_as_it_is_removed():
    session.given(*REMOVING, REACTIVATION).when(c.RecordRemoved(generation=1)).then(
        e.SessionRemoved(generation=1), activation("create", generation=2, last_sync=sync_ref(2))
    )


def test_a_discarded_container_makes_room_for_a_new_one():
    session.given(*FAILED, REACTIVATION).when(c.RecordRemoved(generation=1)).then(
        e.SessionRemoved(generation=1, discarded=True), activation("create", generation=2)
    )


def test_a_message_in_maintenance_calls_the_removal_off():
    given = (
        session.given(*IN_MAINTENANCE)
        .when(ACTIVATE)
        .then(e.RemoveCanceled(generation=1, reason="activated", in_maintenance=True), REACTIVATION)
    )
    assert given.state.public_state == "stopped"
    given.when(c.RecordStopped(generation=1)).then(
        e.SessionStopped(generation=1, reason="maintenance"), activation("start", last_sync=sync_ref(1))
    )


class TestTheManifest:
    def test_comes_with_the_plan_that_is_used(self):
        session.given().when(replace(ACTIVATE, manifest=MANIFEST)).then(activation(manifest=MANIFEST))

    def test_is_remembered_when_a_later_call_brings_none(self):
        history = [activation(manifest=MANIFEST), *DELETED[1:]]
        session.given(*history).when(ACTIVATE).then(
            activation("create", generation=2, manifest=MANIFEST, last_sync=sync_ref(2))
        )

    @pytest.mark.parametrize("history", [RUNNING, ACTIVATING], ids=["running", "activating"])
    def test_of_a_worker_that_is_up_is_remembered_for_its_next_container(self, history):
        given = session.given(*history).when(WITH_NEWER).then(e.SessionTouched(generation=1, manifest=NEWER))
        assert given.state.manifest == NEWER

    def test_the_last_one_wins_on_the_way_down_too(self):
        first = replace(ACTIVATE, manifest=MANIFEST)
        given = session.given(*STOPPING).when(first).then(replace(REACTIVATION, manifest=MANIFEST))
        given = given.when(WITH_NEWER).then(e.SessionTouched(generation=1, manifest=NEWER))
        given.when(c.RecordStopped(generation=1)).then(
            STOPPED_NOW, activation("start", manifest=NEWER, last_sync=sync_ref(1))
        )

    def test_must_be_of_the_runtime_version_that_is_asked_for(self):
        session.given().when(replace(ACTIVATE, manifest=MANIFEST, runtime_version="9")).then_error(
            InvalidInput, field="runtimeVersion", saying="'9' does not equal the manifest's, '1'"
        )

    def test_and_so_must_the_remembered_one(self):
        given = session.given(activation(manifest=MANIFEST), *RUNNING[1:])
        given.when(replace(ACTIVATE, runtime_version="2")).then_error(InvalidInput, field="runtimeVersion")
        given.when(replace(ACTIVATE, runtime_version="1")).then(TOUCHED)

    def test_is_checked_before_anything_happens(self):
        bad = RuntimeManifest(
            app_id="shop", runtime_version="1", workspace_template_prefix="t/", required_paths=("/workspaceX",)
        )
        session.given(*STOPPED).when(replace(ACTIVATE, manifest=bad)).then_error(
            InvalidInput, field="manifest.requiredPaths[0]", saying="'/workspaceX'"
        )


class TestTheSteps:
    """create → start → restore → link → validate: each is recorded once, and none before the one before it."""

    START = c.RecordContainerStarted(generation=1, boot=BOOT, purpose="activation")
    RESTORE = c.RecordWorkspaceRestored(generation=1, files=0, bytes=0, sync=None)
    LINK = c.RecordAgentDataLinked(generation=1)
    VALIDATE = c.RecordWorkspaceValidated(generation=1)

    def test_lead_to_a_running_worker(self):
        given = session.given(*ACTIVATING)
        given = given.when(c.RecordContainerCreated(generation=1, container=CONTAINER)).then(created())
        given = given.when(self.START).then(started())
        given = given.when(self.RESTORE).then(RESTORED)
        given = given.when(self.LINK).then(LINKED)
        assert given.state.public_state == "deleted"
        given = given.when(self.VALIDATE).then(VALIDATED, UP)
        assert given.state.public_state == "running"
        assert given.state.boot == BOOT

    @pytest.mark.parametrize(
        ("history", "command"),
        [
            (ACTIVATING, START),
            (ACTIVATING, RESTORE),
            ((*ACTIVATING, created()), RESTORE),
            (STARTED, LINK),
            (STARTED, VALIDATE),
            ((*STARTED, RESTORED), VALIDATE),
            (STARTING_AGAIN, LINK),
            (STARTING_AGAIN, VALIDATE),
        ],
    )
    def test_can_not_be_skipped(self, history, command):
        session.given(*history).when(command).then_error(Conflict, reason="activation_step_out_of_order")

    @pytest.mark.parametrize(
        "command", [c.RecordContainerCreated(generation=1, container=CONTAINER), START, RESTORE, LINK]
    )
    def test_repeated_change_nothing(self, command):
        session.given(*READY).when(command).then_nothing()

    @pytest.mark.parametrize("command", [START, RESTORE, LINK, VALIDATE])
    def test_repeated_after_the_end_change_nothing(self, command):
        session.given(*RUNNING).when(command).then_nothing()

    def test_restore_nothing_but_the_last_recorded_sync(self):
        history = (
            *DELETED,
            activation(generation=2, last_sync=sync_ref(2)),
            created(generation=2),
            started(generation=2),
        )
        command = c.RecordWorkspaceRestored(generation=2, files=0, bytes=0, sync=None)
        session.given(*history).when(command).then_error(Conflict, reason="other_sync_restored")
        session.given(*history).when(replace(command, sync=sync_ref(2))).then(
            e.WorkspaceRestored(generation=2, sync=sync_ref(2))
        )

    def test_a_start_of_a_stopped_worker_keeps_what_was_restored(self):
        given = session.given(*STARTING_AGAIN)
        given = given.when(c.RecordContainerStarted(generation=1, boot=NEXT_BOOT, purpose="activation")).then(
            started(NEXT_BOOT, restored=True)
        )
        given = given.when(self.RESTORE).then_nothing()
        given = given.when(self.LINK).then(LINKED)
        given = given.when(self.VALIDATE).then(VALIDATED, e.SessionActivated(generation=1, action="started"))
        assert given.state.generation == 1

    def test_an_executor_that_comes_up_again_in_between_links_again(self):
        given = session.given(*READY)
        given = given.when(c.RecordContainerStarted(generation=1, boot=NEXT_BOOT, purpose="activation")).then(
            started(NEXT_BOOT, restored=True)
        )
        given.when(self.VALIDATE).then_error(Conflict, reason="activation_step_out_of_order")
        given.when(self.LINK).then(LINKED).when(self.VALIDATE).then(VALIDATED, UP)

    def test_an_executor_that_comes_up_again_is_known_by_its_boot(self):
        revived = replace(started(NEXT_BOOT, purpose="revival", restored=True), exit_log="out of memory")
        record = c.RecordContainerStarted(generation=1, boot=NEXT_BOOT, purpose="revival", exit_log="out of memory")
        given = session.given(*RUNNING).when(record).then(revived)
        assert given.state.boot == NEXT_BOOT

    @pytest.mark.parametrize(
        ("history", "purpose"),
        [
            (STOPPED, "activation"),
            (STOPPED, "maintenance"),
            (STOPPED, "revival"),
            (STOPPING, "revival"),
            (RUNNING, "maintenance"),
            (DELETED, "activation"),
        ],
    )
    def test_a_start_that_nobody_wants_any_more_is_fenced(self, history, purpose):
        late = Boot(boot_id="late", url="http://127.0.0.1:9")
        session.given(*history).when(c.RecordContainerStarted(generation=1, boot=late, purpose=purpose)).then_error(
            Fenced
        )


class TestAFailure:
    def test_names_the_missing_required_paths(self):
        command = c.RecordWorkspaceValidated(generation=1, missing_required_paths=("/workspace/a", "/workspace/b"))
        session.given(*READY).when(command).then(
            e.ActivationFailed(
                generation=1,
                step="validate",
                error="required paths are missing: /workspace/a, /workspace/b",
                missing_required_paths=("/workspace/a", "/workspace/b"),
                discard=True,
            )
        )

    def test_of_a_new_container_discards_it(self):
        given = (
            session.given(*STARTED)
            .when(c.FailActivation(generation=1, step="restore", error="S3 is away"))
            .then(e.ActivationFailed(generation=1, step="restore", error="S3 is away", discard=True))
        )
        assert given.state.public_state == "deleted"
        assert given.state.last_error == "restore: S3 is away"
        given.when(c.RecordRemoved(generation=1)).then(e.SessionRemoved(generation=1, discarded=True))

    def test_of_a_container_that_was_active_keeps_it(self):
        at = T0 + minutes(9)
        given = (
            session.given(*STARTING_AGAIN)
            .when(c.FailActivation(generation=1, step="start", error="no memory"), at=at)
            .then(e.ActivationFailed(generation=1, step="start", error="no memory"))
        )
        assert given.state.public_state == "stopped"
        given = given.when(c.RecordStopped(generation=1)).then(
            e.SessionStopped(generation=1, reason="activation_failed")
        )
        assert given.state.public_state == "stopped"

    @pytest.mark.parametrize("history", [RUNNING, STOPPED, DELETED], ids=["running", "stopped", "deleted"])
    def test_that_comes_late_changes_nothing(self, history):
        session.given(*history).when(c.FailActivation(generation=1, step="link", error="late")).then_nothing()


class TestFencing:
    COMMANDS = (
        c.RecordContainerCreated(generation=1, container=CONTAINER),
        c.RecordContainerStarted(generation=1, boot=BOOT, purpose="activation"),
        c.RecordWorkspaceRestored(generation=1, files=0, bytes=0, sync=None),
        c.RecordAgentDataLinked(generation=1),
        c.RecordWorkspaceValidated(generation=1),
        c.FailActivation(generation=1, step="start", error="x"),
        c.RecordSynced(generation=1, sync_id="gate", sync=sync_ref(1)),
        c.RecordSyncFailed(generation=1, sync_id="gate", error="x", attempt=1, final=True),
        c.RecordStopped(generation=1),
        c.CancelRemove(generation=1, reason="x"),
        c.RecordRemoved(generation=1),
        c.RecordContainerLost(generation=1, detail="x"),
    )

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
    def test_an_effect_of_an_older_generation_is_refused(self, command):
        session.given(*DELETED, activation(generation=2, last_sync=sync_ref(2))).when(command).then_error(
            Fenced, saying="generation 1 is not the current one, 2"
        )

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
    def test_nothing_but_an_activation_makes_a_session_known(self, command):
        session.given().when(command).then_error(NotFound)
