"""The title of a session, which may be given before the session has a worker, or any event.

It is an aggregate of its own over the session's stream. To the session worker a title means nothing, so that one that
is activated later begins as if there was none.
"""

import re
from collections.abc import Sequence

import msgspec

from domain.errors import InvalidInput
from domain.event import Event
from domain.identifiers import check_id, check_new_id
from domain.record import Occurrence
from domain.session.events import SessionTitled

MAX_TITLE_CHARS = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SessionTitle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The title of a session that is in the log; empty if it has none."""

    title: str = ""


class TitleSession(msgspec.Struct, frozen=True, kw_only=True):
    """Give a session a title on one line; None leaves the one that it has. App, project and user are those of a session
    of which the log knows nothing else."""

    session_id: str
    title: str | None
    app_id: str
    project_name: str
    user_login_name: str


def decide(state: SessionTitle | None, command: TitleSession) -> Sequence[Event]:
    """No event if it has this title. Even one without a title makes a new session known. Raises InvalidInput."""
    title = command.title or ""
    if len(title) > MAX_TITLE_CHARS:
        raise InvalidInput("title", f"has {len(title)} characters; at most {MAX_TITLE_CHARS}")
    if _CONTROL.search(title):
        raise InvalidInput("title", "holds a control character; it has one line of text")
    if state is not None and (command.title is None or state.title == title):
        return ()
    check_id("appId", command.app_id)
    check_id("projectName", command.project_name)
    check_id("userLoginName", command.user_login_name)
    if state is None:
        check_new_id("sessionId", command.session_id)
        check_new_id("userLoginName", command.user_login_name)
    return (
        SessionTitled(
            title=title,
            app_id=command.app_id,
            project_name=command.project_name,
            user_login_name=command.user_login_name,
        ),
    )


def evolve(state: SessionTitle | None, occurrence: Occurrence) -> SessionTitle | None:
    """Any event of a session makes it known."""
    event = occurrence.event
    if isinstance(event, SessionTitled):
        return SessionTitle(title=event.title)
    return state or SessionTitle()
