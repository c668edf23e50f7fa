"""The view of a user's projection is found from how the class is declared."""

from typing import Any, Generic, TypeVar

import pytest
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection

from application.ports.user_projections import SchemaRefused
from infrastructure.user_projections.view_settings import check_schema, libpq_variables, view_settings
from interfaces.python.projection_class import ClassRefused, view_of

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
