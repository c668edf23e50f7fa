"""Conditions on a document, for bisect: `state == "failed" and tools.failed > 2`. Pure, and safe: an expression is
parsed into a tree, of which only the node types below are accepted and interpreted; nothing is executed as code.

    literals     "text" 'text' 12 -1.5 true false null [1, 2]
    fields       state   tools.failed   todos["t1"].status   warnings[0].code; null if missing
    comparisons  == != < <= > >= in, not in (a text in a text, a value in a list, a key in an object)
    logic        and or not ( )
    functions    len(text, list or object; 0 for null)  lower(text)  any(list or object, field): true in an element

Values of different JSON types are not equal, and every order between them is false.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

from domain.errors import InvalidInput

MAX_LENGTH = 1000
_NAMED = {"true": True, "false": False, "null": None}
_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS = {"len": 1, "lower": 1, "any": 2}


class Condition:
    """A parsed condition. `text`: as given; `fields`: the top-level fields that it reads. Raises InvalidInput (field
    `where`) if it can't be parsed."""

    def __init__(self, text: str) -> None:
        if not text.strip() or len(text) > MAX_LENGTH:
            raise InvalidInput("where", f"must be a condition of 1 to {MAX_LENGTH} characters")
        try:
            with warnings.catch_warnings():  # such as those about invalid escapes in strings
                warnings.simplefilter("ignore")
                self._tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise InvalidInput("where", f"can't be read: {_place(text.strip(), error)}") from error
        except (ValueError, MemoryError, RecursionError) as error:
            raise InvalidInput("where", f"can't be read: {error}") from error
        self.text = text
        self.fields: frozenset[str] = frozenset(_checked(self._tree))

    def check_fields(self, document: dict[str, Any]) -> None:
        """Raises InvalidInput if it reads a top-level field that a document does not have."""
        for field in sorted(self.fields - document.keys()):
            raise InvalidInput("where", f"there is no field {field!r}; there are {', '.join(sorted(document))}")

    def holds(self, document: dict[str, Any]) -> bool:
        """Whether it is true for a document. Values other than booleans are true unless empty, 0 or null."""
        return bool(_value(self._tree, document))


def _place(text: str, error: SyntaxError) -> str:
    """What is wrong, and where."""
    at = error.offset - 1 if error.offset else len(text)
    if re.match(r"=(?!=)", text[at:]):
        return f"equality is `==`, not `=`: {text[at:][:40]!r}"
    return f"{error.msg} at {text[at:][:40]!r}" if text[at:] else f"{error.msg} at the end"


def _checked(node: ast.expr) -> list[str]:  # noqa: C901  # one case for each kind of node
    """The top-level fields that a node reads. Raises InvalidInput for a node that is not allowed."""
    match node:
        case ast.Constant(value=str() | int() | float()):
            return []
        case ast.Name(id=name):
            return [] if name in _NAMED else [name]
        case ast.Attribute(value=value):
            return _checked(value)
        case ast.Subscript(value=value, slice=index):
            return _checked(value) + _checked(index)
        case ast.List(elts=values) | ast.BoolOp(values=values):
            return [name for value in values for name in _checked(value)]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=value):
            return _checked(value)
        case ast.Compare(left=left, ops=kinds, comparators=values):
            if all(isinstance(kind, (ast.Eq, ast.NotEq, ast.In, ast.NotIn, *_ORDERS)) for kind in kinds):
                return [name for value in (left, *values) for name in _checked(value)]
        case ast.Call(func=ast.Name(id=name), args=values, keywords=[]) if name in _FUNCTIONS:
            if len(values) == _FUNCTIONS[name]:
                read = [_checked(value) for value in values]
                return read[0]  # the names in the condition of any() are fields of the elements
            raise InvalidInput("where", f"{name}() takes {_FUNCTIONS[name]} values, not {len(values)}")
    raise InvalidInput("where", f"{ast.unparse(node)[:80]!r} is not possible in a condition")


def _value(node: ast.expr, document: Any) -> Any:  # noqa: C901  # one case for each kind of node
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return _NAMED[name] if name in _NAMED else _member(document, name)
        case ast.Attribute(value=inner, attr=name):
            return _member(_value(inner, document), name)
        case ast.Subscript(value=inner, slice=index):
            return _member(_value(inner, document), _value(index, document))
        case ast.List(elts=values):
            return [_value(value, document) for value in values]
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, document) for value in values)
        case ast.BoolOp(values=values):
            return any(_value(value, document) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _value(inner, document)
        case ast.UnaryOp(operand=inner):
            number = _value(inner, document)
            return -number if _is_number(number) else None
        case ast.Compare(left=left, ops=kinds, comparators=values):
            sides = [_value(side, document) for side in (left, *values)]
            return all(_compared(kind, a, b) for kind, a, b in zip(kinds, sides, sides[1:], strict=False))
        case ast.Call(func=ast.Name(id=name), args=values):
            return _called(name, values, document)
    raise AssertionError(ast.dump(node))


def _called(name: str, values: list[ast.expr], document: Any) -> Any:
    given = _value(values[0], document)
    if name == "len":
        return len(given) if isinstance(given, str | list | dict) else 0
    if name == "lower":
        return given.lower() if isinstance(given, str) else None
    elements = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    return any(_value(values[1], element) for element in elements if isinstance(element, dict))


def _member(value: Any, key: Any) -> Any:
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
        return value[key]
    return None


def _compared(kind: ast.cmpop, one: Any, other: Any) -> bool:
    if isinstance(kind, ast.Eq | ast.NotEq):
        equal = one == other and (isinstance(one, bool) == isinstance(other, bool))
        return bool(equal) == isinstance(kind, ast.Eq)
    if isinstance(kind, ast.In | ast.NotIn):
        return _contained(one, other) == isinstance(kind, ast.In)
    comparable = (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str))
    return comparable and _ORDERS[type(kind)](one, other)


def _contained(one: Any, other: Any) -> bool:
    if isinstance(other, str):
        return isinstance(one, str) and one in other
    if isinstance(other, dict):
        return isinstance(one, str) and one in other
    return isinstance(other, list) and one in other


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
