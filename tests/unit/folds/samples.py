"""Sample events, made of nothing but their types: the same on every machine, each choice of a literal at least once."""

import types
from datetime import timedelta
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from domain.event import Event
from tests.support.specification import T0

MOST_VARIANTS = 6
KNOWN: dict[str, tuple[Any, ...]] = {
    "question_id": ("q1", "q2"),
    "attached_run_id": ("r1", "r2"),
    "detached_run_id": ("r1", "r2"),
    "sync_id": ("final", "gate", "remove-gate"),
    "reason": ("timeout", "idle"),
    "attempt": (1, 2),
    "lease_generation": (1, 2, 0),
    "effect_id": ("effect-1", "effect-2"),
    "at_position": (7, 8),
    "version": (1, 2),
    "fold_version": (1, 2),
}
"""Values of the fields by which events find what the histories have begun."""


def samples(event_type: type[Event]) -> list[Event]:
    """The event without its optional fields, and then with all of them, with other values each time."""
    wanted = min(MOST_VARIANTS, max(2, _choices(event_type)))
    return [_instance(event_type, 0, whole=False), *(_instance(event_type, n, whole=True) for n in range(wanted))]


def _choices(of: type[msgspec.Struct]) -> int:
    hints = get_type_hints(of)
    literals = [len(get_args(hint)) for hint in hints.values() if get_origin(hint) is Literal]
    known = [len(KNOWN[name]) for name in hints if name in KNOWN and get_origin(hints[name]) is not Literal]
    return max([*literals, *known], default=1)


def _instance(of: type[Any], number: int, *, whole: bool) -> Any:
    hints = get_type_hints(of)
    fields = [field for field in msgspec.structs.fields(of) if whole or field.required]
    return of(**{field.name: _value(field.name, hints[field.name], number) for field in fields})


def _value(name: str, hint: Any, number: int) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return args[number % len(args)]
    if name in KNOWN:
        return KNOWN[name][number % len(KNOWN[name])]
    if origin in {Union, types.UnionType}:
        return _value(name, next(arg for arg in args if arg is not type(None)), number)
    if origin is tuple:
        return tuple(_value(name, args[0], number + index) for index in range(2))
    if origin is dict:
        return {f"{name}-{number}": _value(name, args[1], number)}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _instance(hint, number, whole=True)
    return _scalar(name, hint, number)


def _scalar(name: str, hint: Any, number: int) -> Any:
    values = {str: f"{name}-{number}", int: 100 + number, float: 0.5 + number, bool: number % 2 == 0}
    if hint in values:
        return values[hint]
    if hint is type(T0):
        return T0 + timedelta(days=1, minutes=number)
    if hint is Any:
        return {"text": f"{name}-{number}"}
    raise TypeError(f"no sample of {hint!r} for {name}; teach tests/unit/folds/samples.py")
