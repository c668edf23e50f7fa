"""The table of contents: which handler performs which kind of effect."""

from application.content_collection import ContentCollector
from application.effects import containers, runs, workspaces
from application.effects.collection import CollectContent
from application.effects.effect import EffectHandler
from application.effects.forks import CopyWorkspace
from application.effects.workers import Workers
from application.effects.workspace_syncs import WorkspaceSyncs
from application.forked_workspaces import WorkspaceCopier
from application.ports import EventStore
from application.reactions import EffectKind
from application.run_commands import Runs


def effect_handlers(
    *,
    run_aggregates: Runs,
    workers: Workers,
    store: EventStore,
    collector: ContentCollector,
    copier: WorkspaceCopier,
    syncs: WorkspaceSyncs,
) -> dict[EffectKind, EffectHandler]:
    sync = workspaces.SyncWorkspace(workers, syncs)
    return {
        "container.create": containers.CreateContainer(workers),
        "container.start": containers.StartContainer(workers),
        "container.start_maintenance": containers.StartMaintenance(workers),
        "container.stop": containers.StopContainer(workers),
        "container.remove": containers.RemoveContainer(workers),
        "workspace.restore": workspaces.RestoreWorkspace(workers),
        "workspace.sync": sync,
        "workspace.sync_before_remove": sync,
        "workspace.validate": workspaces.ValidateWorkspace(workers),
        "workspace.collect": CollectContent(workers=workers, store=store, collector=collector),
        "workspace.copy": CopyWorkspace(sessions=workers.sessions, copier=copier),
        "agent_data.link": workspaces.LinkAgentData(workers),
        "session.request_sync": runs.RequestSyncOfRun(runs=run_aggregates, workers=workers),
        "session.detach_run": runs.DetachRunFromSession(runs=run_aggregates, workers=workers),
        "human_loop.deliver_reply": runs.DeliverReply(runs=run_aggregates, workers=workers),
    }
