"""The view of a user's projection is found from how the class is declared."""

from typing import Any, Generic, TypeVar

import pytest
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection

from application.ports.user_projections import SchemaRefused
from infrastructure.user_projections.view_settings import check_schema, libpq_variables, view_settings
from interfaces.python.projection_class import ClassRefused, projection_named, view_of

DSN = "postgresql://me:secret@db:6543/log?sslmode=require"


class View(POPOTrackingRecorder): ...


class Declared(Projection[View]):
    def process_event(self, domain_event: Any, tracking: Any) -> None: ...


class Inherited(Declared): ...


class Named(Projection["View"]):
    def process_event(self, domain_event: Any, tracking: Any) -> None: ...


Some = TypeVar("Some", bound=TrackingRecorder)


class Open(Projection[Some], Generic[Some]):
    def process_event(self, domain_event: Any, tracking: Any) -> None: ...


class Closed(Open[View]): ...


@pytest.mark.parametrize("projection", [Declared, Inherited, Named, Closed])
def test_it_is_the_parameter_of_the_class_or_of_one_that_it_inherits_from(projection: type[Projection[Any]]) -> None:
    assert view_of(projection) is View


def test_an_open_parameter_says_to_give_the_view() -> None:
    with pytest.raises(ClassRefused, match="--view MODULE:CLASS"):
        view_of(Open)


def test_a_view_lies_in_the_logs_database_unless_the_environment_says_where() -> None:
    ours = view_settings("Mine", DSN, "projections", {"MINE_POSTGRES_POOL_SIZE": "2"})
    assert ours["MINE_PERSISTENCE_MODULE"] == "eventsourcing.postgres"
    assert (ours["MINE_POSTGRES_HOST"], ours["MINE_POSTGRES_PORT"]) == ("db", "6543")
    assert (ours["MINE_POSTGRES_DBNAME"], ours["MINE_POSTGRES_SCHEMA"]) == ("log", "projections")
    assert libpq_variables(DSN) == {"PGSSLMODE": "require"}
    theirs = view_settings("Mine", DSN, "projections", {"MINE_PERSISTENCE_MODULE": "eventsourcing.sqlite"})
    assert theirs == {"MINE_PERSISTENCE_MODULE": "eventsourcing.sqlite"}
    for setting in ("MINE_POSTGRES_DBNAME", "MINE_POSTGRES_HOST"):  # no password of ours goes there
        assert view_settings("Mine", DSN, "projections", {setting: "own"}) == {
            "MINE_PERSISTENCE_MODULE": "eventsourcing.postgres"
        }


@pytest.mark.parametrize("schema", ["public", "pg_x", "past", "A", "a-b", "", "x" * 64])
def test_fleetlogs_schemas_and_what_is_no_name_are_refused(schema: str) -> None:
    with pytest.raises(SchemaRefused):
        check_schema(schema)


class OfInt(Declared):
    name = 5  # type: ignore[assignment]


class OfNone(Declared):
    name = None  # type: ignore[assignment]


class OfProperty(Declared):
    @property
    def name(self) -> str:  # type: ignore[override]
        return "OfProperty"


class TopicsNone(Declared):
    topics = None  # type: ignore[assignment]


class TopicsInt(Declared):
    topics = 5  # type: ignore[assignment]


class TopicsOfInts(Declared):
    topics = (5,)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (OfInt, "has a value of type 'int' as its `name`; write `name = 'OfInt'`"),
        (OfNone, "has None as its `name`"),
        (OfProperty, "has a value of type 'property' as its `name`"),
        (TopicsNone, "has None as its `topics`"),
        (TopicsInt, "has a value of type 'int' as its `topics`; write"),
        (TopicsOfInts, "has a value of type 'int' among its `topics`"),
    ],
)
def test_a_name_or_topics_of_another_type_are_refused(projection: type[Projection[Any]], message: str) -> None:
    with pytest.raises(ClassRefused, match=message):
        projection_named(f"{__name__}:{projection.__name__}")


def test_a_file_in_place_of_a_module_is_told_its_name() -> None:
    with pytest.raises(ClassRefused, match=r"there is no module 'nonesuch\.py' .*; write nonesuch:Counting"):
        projection_named("nonesuch.py:Counting")
