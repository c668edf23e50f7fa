"""A session's workspace goes back in time: only without a container, so that nothing is lost by it."""

import pytest

from domain.errors import Conflict, InvalidInput, RunAttached
from domain.session import commands as c
from domain.session import events as e
from domain.workspace.sync import SyncRef
from tests.support.sessions import (
    ACTIVATE,
    ATTACHED,
    BUSY,
    DELETED,
    HISTORIES,
    LOST,
    RUNNING,
    activation,
    session,
    sync_ref,
)

REWIND = c.RewindWorkspace(sync=sync_ref(1), sync_position=17)
REWOUND = e.WorkspaceRewound(sync=sync_ref(1), sync_position=17)


def test_the_next_container_restores_the_rewound_sync():
    session.given(*DELETED).when(REWIND).then(REWOUND)
    session.given(*DELETED, REWOUND).when(ACTIVATE).then(activation("create", generation=2, last_sync=sync_ref(1)))


def test_what_is_the_workspace_already_changes_nothing():
    session.given(*DELETED, REWOUND).when(REWIND).then_nothing()


@pytest.mark.parametrize("name", sorted(set(HISTORIES) - {"deleted", "busy"}))
def test_no_rewind_while_there_may_be_a_container(name):
    session.given(*HISTORIES[name]).when(REWIND).then_error(Conflict)


@pytest.mark.parametrize("history", [BUSY, (*RUNNING, ATTACHED, LOST)], ids=["busy", "busy, then lost"])
def test_no_rewind_while_a_run_is_attached(history):
    session.given(*history).when(REWIND).then_error(RunAttached)


def test_no_rewind_to_another_sessions_sync():
    other = SyncRef(manifest_key="app/other/manifests/1-1-x.json", manifest_hash="0" * 64)
    session.given(*DELETED).when(c.RewindWorkspace(sync=other, sync_position=17)).then_error(InvalidInput)
