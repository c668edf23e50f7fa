"""Chats: each session with its title and the time of what was last said in it. The messages are read from its runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run import events as r
from domain.run.values import Message, RunSpec
from domain.session import events as s
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

MAX_OPENING_CHARS = 120
Owner = Literal["nobody", "title", "run", "worker"]
_RANK: dict[Owner, int] = {"nobody": 0, "title": 1, "run": 2, "worker": 3}
"""What says whose a session is, the strongest last: an activation fixes it, and a run brings one about. Nobody does if
an external run was tied to a session that was not known."""


class ChatRow(RowStruct, frozen=True, kw_only=True):
    """`opening`: the beginning of the first thing that a user said. `updated_at`, `position`: of the last event that is
    of the conversation. `owner`: what the app, project and user were taken from."""

    session_id: str
    app_id: str
    project_name: str
    user_login_name: str
    owner: Owner
    title: str = ""
    opening: str = ""
    updated_at: datetime
    position: int


class ChatSummary(View, frozen=True, kw_only=True):
    """`chatId`: the session's id. `title`: as it was given, else the beginning of the first message. `updatedAt`: of
    the last message, title or end of a run; `position`: of that event."""

    chat_id: str
    title: str
    app_id: str
    project_name: str
    user_login_name: str
    updated_at: datetime
    position: int


def key(recorded: RecordedEvent) -> str:
    match recorded.event:
        case r.RunQueued(spec=spec) | r.RunBlocked(spec=spec):
            return spec.session_id
        case r.RunBound(bound_session_id=session_id):
            return session_id
        case _:
            return id_of_stream(recorded)


def fold(row: ChatRow | None, recorded: RecordedEvent) -> ChatRow | None:
    match recorded.event:
        case (s.ActivationRequested() | s.SessionForked()) as of:
            return _owned(row, recorded, "worker", of)
        case s.SessionTitled() as of:
            row = replace(_owned(row, recorded, "title", of), title=of.title)
        case r.RunQueued(spec=spec) | r.RunBlocked(spec=spec):
            row = _owned(row, recorded, "run", spec)
            row = row if row.opening else replace(row, opening=_opening(spec.messages))
        case r.RunBound() as of:
            row = _owned(row, recorded, "run" if of.user_login_name else "nobody", of)
    return None if row is None else replace(row, updated_at=recorded.occurred_at, position=recorded.position)


def _owned(
    row: ChatRow | None,
    recorded: RecordedEvent,
    owner: Owner,
    of: s.ActivationRequested | s.SessionForked | s.SessionTitled | r.RunBound | RunSpec,
) -> ChatRow:
    if row is not None and (_RANK[row.owner] >= _RANK[owner]):
        return row
    names = {"app_id": of.app_id, "project_name": of.project_name, "user_login_name": of.user_login_name}
    if row is not None:
        return replace(row, owner=owner, **names)
    at, position = recorded.occurred_at, recorded.position
    return ChatRow(session_id=key(recorded), owner=owner, updated_at=at, position=position, **names)


def _opening(messages: Sequence[Message]) -> str:
    said = next((message.content for message in messages if message.role == "user" and message.content.strip()), "")
    line = " ".join(said[: 8 * MAX_OPENING_CHARS].split())
    return line if len(line) <= MAX_OPENING_CHARS else f"{line[:MAX_OPENING_CHARS]}…"


def columns(row: ChatRow) -> tuple[Column, ...]:
    """In the order of the table."""
    return (row.position, row.project_name, row.user_login_name)


def view(row: ChatRow) -> ChatSummary:
    """The view of a row."""
    return ChatSummary(
        chat_id=row.session_id,
        title=row.title or row.opening,
        app_id=row.app_id,
        project_name=row.project_name,
        user_login_name=row.user_login_name,
        updated_at=row.updated_at,
        position=row.position,
    )


CHATS: Projection[ChatRow] = Projection(
    name="chats",
    version=2,
    row_type=ChatRow,
    events=[
        r.RunQueued,
        r.RunBlocked,
        r.RunBound,
        s.ActivationRequested,
        s.SessionForked,
        s.SessionTitled,
        s.SessionRunDetached,
    ],
    key=key,
    fold=fold,
    columns=columns,
)
