"""Finds a user's projection and its view, by name."""

import difflib
import importlib
import re
import sys
from typing import Any, ForwardRef, get_args, get_origin

from eventsourcing.persistence import TrackingRecorder
from eventsourcing.projection import Projection

from application import every_event  # noqa: F401  the wire names that `topics` may have
from domain.event import event_types
from domain.operations.log_consumer import describe
from projections.catalogue import PROJECTIONS
from projections.ports import EVENT_INDEX, WORK

_TOPIC = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
OUR_PACKAGES = ("domain", "application", "projections", "infrastructure", "interfaces", "sql")
TAKEN = frozenset({"fleetlog", WORK, EVENT_INDEX, *(projection.name for projection in PROJECTIONS)})


class ClassRefused(Exception):
    """There is no such class, or it is no projection that can be run. The message is for people. `raised_by_module`:
    the cause is an error of the module's own code, whose traceback its author wants to see."""

    def __init__(self, message: str, *, raised_by_module: bool = False) -> None:
        super().__init__(message)
        self.raised_by_module = raised_by_module


def projection_named(topic: str) -> type[Projection[Any]]:
    """The class of MODULE:CLASS. Raises ClassRefused."""
    found = _class(topic)
    if not (isinstance(found, type) and issubclass(found, Projection)):
        raise ClassRefused(f"{topic} is no `eventsourcing.projection.Projection`")
    if getattr(found, "__abstractmethods__", None):
        raise ClassRefused(f"{topic} has no `process_event`")
    name: Any = found.name
    if not isinstance(name, str):
        raise ClassRefused(f"{topic} has {_of_type(name)} as its `name`; write `name = {found.__name__!r}`")
    if not _NAME.fullmatch(name):
        raise ClassRefused(
            f"{topic} has the name {name[:80]!r}; a name has letters, digits and _, 40 characters at most: it is "
            "part of the names of settings and tables"
        )
    if name.lower() in TAKEN:
        raise ClassRefused(
            f"{topic} has the name {name!r}, which is a projection of Fleetlog's own: give it another one"
        )
    _check_topics(topic, found.topics)
    return found


def _check_topics(topic: str, topics: Any) -> None:
    """Raises ClassRefused for topics of which no event is: the projection would run and process nothing."""
    if isinstance(topics, str):
        raise ClassRefused(f"{topic} has the text {topics[:80]!r} as its `topics`; write `topics = ({topics[:80]!r},)`")
    if not isinstance(topics, tuple | list | set | frozenset):
        raise ClassRefused(f"{topic} has {_of_type(topics)} as its `topics`; write `topics = ('run.queued',)`")
    known = event_types()
    for each in topics:
        if not isinstance(each, str):
            raise ClassRefused(
                f"{topic} has {_of_type(each)} among its `topics`, which are wire names such as 'run.queued'"
            )
        if each not in known and ":" not in each:
            closest = difflib.get_close_matches(each, known, n=1, cutoff=0.0)
            raise ClassRefused(
                f"{topic} has {each[:80]!r} among its `topics`, and no event has that wire name; the closest one is "
                f"{closest[0]!r}"
            )


def _of_type(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__qualname__!r}"


def view_named(topic: str) -> type[TrackingRecorder]:
    """The class of MODULE:CLASS. Raises ClassRefused."""
    found = _class(topic)
    if not (isinstance(found, type) and issubclass(found, TrackingRecorder)):
        raise ClassRefused(f"{topic} is no view: no `eventsourcing.persistence.TrackingRecorder`")
    return found


def view_of(projection_class: type[Projection[Any]]) -> type[TrackingRecorder]:
    """The View of a class that is declared as a Projection[View]. Raises ClassRefused."""
    for cls in projection_class.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            origin = get_origin(base)
            if not (isinstance(origin, type) and issubclass(origin, Projection)):
                continue
            for argument in get_args(base):
                view = argument
                if isinstance(argument, ForwardRef):
                    view = getattr(sys.modules[cls.__module__], argument.__forward_arg__, None)
                view = get_origin(view) or view
                if isinstance(view, type) and issubclass(view, TrackingRecorder):
                    return view
    raise ClassRefused(
        f"{projection_class.__qualname__} doesn't say what its view is: declare it as a Projection[View], or give "
        "`--view MODULE:CLASS`"
    )


def _class(topic: str) -> Any:
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise ClassRefused(f"{topic[:200]!r} is not of the form MODULE:CLASS")
    module_name, path = match.groups()
    package = module_name.partition(".")[0]
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            hint = f"; write {module_name.removesuffix('.py')}:{path}" if module_name.endswith(".py") else ""
            raise ClassRefused(
                f"there is no module {module_name!r} in this folder or this Python's environment{hint}{_taken(package)}"
            ) from error
        raise ClassRefused(f"the module {module_name!r} imports {missing!r}, which there is not") from error
    except AttributeError as error:
        if module_name in sys.modules:
            raise ClassRefused(f"the module {module_name!r} has no {path!r}{_taken(package)}") from error
        raise _not_importable(module_name, error) from error
    except (Exception, SystemExit) as error:
        raise _not_importable(module_name, error) from error
    return found


def _not_importable(module_name: str, error: BaseException) -> ClassRefused:
    return ClassRefused(f"the module {module_name!r} can't be imported: {describe(error)}", raised_by_module=True)


def _taken(package: str) -> str:
    return f" ({package} is a package of Fleetlog's own: name your module otherwise)" if package in OUR_PACKAGES else ""
