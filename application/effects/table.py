"""The table of contents: which handler performs which kind of effect."""

from application.effects import containers, runs, workspaces
from application.effects.collection import CollectContent
from application.effects.forks import CopyWorkspace
from application.effects.former_kinds import SendCommand
from application.ports.content_collection import ContentCollector
from application.ports.effect_handler import EffectHandler
from application.ports.effect_kinds import LedgerKind
from application.ports.event_store import EventStore
from application.ports.workspace_copier import WorkspaceCopier
from application.process_managers.commands import ProcessManagerCommands
from application.runs.commands import Runs
from application.sessions.session_workers import SessionWorkers
from application.sessions.workspace_syncs import WorkspaceSyncs


def effect_handlers(
    *,
    run_aggregates: Runs,
    workers: SessionWorkers,
    store: EventStore,
    collector: ContentCollector,
    copier: WorkspaceCopier,
    syncs: WorkspaceSyncs,
    commands: ProcessManagerCommands,
) -> dict[LedgerKind, EffectHandler]:
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
        "session.request_sync": SendCommand(commands),
        "session.detach_run": SendCommand(commands),
        "human_loop.deliver_reply": runs.DeliverReply(runs=run_aggregates, workers=workers),
    }
