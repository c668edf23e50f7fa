"""The title of a session: given events, when it is titled, then."""

import pytest

from domain.errors import InvalidInput
from domain.session.events import SessionTitled
from domain.session.title import MAX_TITLE_CHARS, TitleSession, decide, evolve
from tests.support import sessions
from tests.support.specification import Specification, fold

title = Specification(decide, evolve)


def titled(text: str) -> SessionTitled:
    return SessionTitled(title=text, app_id="shop", project_name="web", user_login_name="ann")


def to(text: str | None, session_id: str = "s1", user: str = "ann") -> TitleSession:
    return TitleSession(session_id=session_id, title=text, app_id="shop", project_name="web", user_login_name=user)


def test_a_session_of_which_nothing_is_known_gets_its_first_event() -> None:
    title.given().when(to("Taxes")).then(titled("Taxes"))
    title.given().when(to(None)).then(titled(""))


def test_a_worker_makes_no_difference() -> None:
    title.given(*sessions.RUNNING).when(to("Taxes")).then(titled("Taxes"))
    title.given(*sessions.RUNNING).when(to(None)).then_nothing()


def test_the_same_title_again_is_no_news() -> None:
    title.given(titled("Taxes"), *sessions.RUNNING).when(to("Taxes")).then_nothing()
    title.given(titled("Taxes")).when(to(None)).then_nothing()
    title.given(titled("Taxes"), titled("Rent")).when(to("Taxes")).then(titled("Taxes"))
    title.given(titled("Taxes")).when(to("")).then(titled(""))


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (to("x" * (MAX_TITLE_CHARS + 1)), "title"),
        (to("two\nlines"), "title"),
        (to("Taxes", session_id="cleanup"), "sessionId"),
        (to("Taxes", session_id="/"), "sessionId"),
        (to("Taxes", user="kb"), "userLoginName"),
        (to("Taxes", user=""), "userLoginName"),
    ],
)
def test_what_can_never_be_is_refused_by_field(command: TitleSession, field: str) -> None:
    title.given().when(command).then_error(InvalidInput, field=field)


def test_an_activation_after_it_is_as_one_of_a_session_that_is_new() -> None:
    assert fold(sessions.session.evolve, title.given(titled("Taxes")).history) is None
    sessions.session.given(titled("Taxes")).when(sessions.ACTIVATE).then(sessions.activation())
    later = sessions.session.given(titled("Taxes"), *sessions.RUNNING).state
    assert later == sessions.session.given(*sessions.RUNNING).state
