"""The map in docs/explanation/architecture.md is what the imports say."""

from tests.architecture import room_map
from tests.support.import_graph import project_imports


def test_the_map_of_rooms_is_drawn_from_the_imports():
    page = room_map.PAGE.read_text(encoding="utf-8")

    assert room_map.between_marks(page) == room_map.drawn(project_imports()), "python -m tests.architecture.room_map"


def test_no_rooms_import_each_other():
    assert room_map.circles(room_map.imports_between_rooms(project_imports())) == []


def test_rooms_that_import_each_other_are_found_however_long_the_way_back_is():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e"}, "g": set()}

    assert room_map.circles(imports) == [("a", "b", "c"), ("e", "f")]


def test_every_room_says_what_it_is_for():
    graph = project_imports()

    assert [room for room in {*room_map.rooms_of(graph).values()} if not room_map.purpose_of(graph, room)] == []


def test_an_arrow_that_a_longer_way_implies_is_left_out():
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": set()}

    assert room_map.without_shortcuts(arrows) == {"a": {"b"}, "b": {"c"}, "c": set()}
