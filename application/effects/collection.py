"""The effect that deletes stored content of a session's workspace which no kept sync names."""

from application.aggregates.stream_pages import events_of
from application.ports.content_collection import ContentCollector
from application.ports.effect_handler import EffectFailed, EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.ports.event_store import EventStore
from application.sessions.session_workers import SessionWorkers
from domain.identifiers import session_stream
from domain.session.collection import OF_SYNCS, kept_syncs
from domain.session.commands import FailCollection, RecordCollected
from domain.session.state import Running, SessionWorker, Stopped


class CollectContent:
    """Its effect key is the session's, so no sync of the session is performed at the same time. A sync that waits for
    its next try goes first, since its executor may still be uploading."""

    def __init__(self, *, workers: SessionWorkers, store: EventStore, collector: ContentCollector) -> None:
        self._workers, self._store, self._collector = workers, store, collector

    async def perform(self, effect: ClaimedEffect) -> None:
        session_id, collection_id = effect.params["sessionId"], effect.params["collectionId"]
        state = (await self._workers.find(session_id)).state
        if state.collection_id != collection_id or state.kept_since is None:
            raise EffectObsolete("this collection has ended")
        if _sync_is_under_way(state):
            raise EffectFailed("a sync of the session is under way")
        history = events_of(self._store, session_stream(session_id))
        kept = kept_syncs([each async for each in history if isinstance(each.event, OF_SYNCS)], state.kept_since)
        collected = await self._collector.collect(state.workspace_prefix, kept)
        await self._workers.sessions.handle(
            session_id,
            RecordCollected(
                collection_id=collection_id,
                kept_syncs=len(kept),
                manifests=collected.manifests,
                contents=collected.contents,
                bytes=collected.bytes,
                more=collected.more,
            ),
            effect.context("collected"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        command = FailCollection(collection_id=effect.params["collectionId"], error=error)
        await self._workers.sessions.handle(effect.params["sessionId"], command, effect.context("given_up"))


def _sync_is_under_way(state: SessionWorker) -> bool:
    match state.lifecycle:
        case Running(stop=stop) if stop is not None:
            return True
        case Stopped(remove=remove) if remove is not None:
            return True
        case _:
            return bool(state.pending_syncs)
