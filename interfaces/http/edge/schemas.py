"""The JSON schemas of the OpenAPI document, in the form from which generators of clients make good types.

What msgspec says of a type is true of its decoder: it fills in a field with a default. A client has two views instead.
It may leave such a field out of a request: there the field is optional, and the default is told in words, because
generators make a field with a `default` one that every caller must give. In an answer the field is always there.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

import msgspec
from msgspec import inspect

_TEMPLATE = "#/components/schemas/{name}"
_PAGE = re.compile(r"Page_(\w+)_$")
Schema = dict[str, Any]


@dataclass(frozen=True)
class Schemas:
    """`components`: the named types, by name. `queries`: the properties of each query, by its type's name."""

    components: Mapping[str, Schema]
    queries: Mapping[str, Schema]
    _by_type: Mapping[int, Schema]

    def of(self, kind: Any) -> Schema:
        """The schema of one of the types that these were made from."""
        return self._by_type[id(kind)]


def schemas_of(*, requests: Iterable[Any], answers: Iterable[Any], queries: Iterable[Any]) -> Schemas:
    """The schemas of these types."""
    sent, answered, asked = list(requests), list(answers), list(queries)
    types = list({id(kind): kind for kind in (*sent, *answered, *asked)}.values())
    found, components = msgspec.json.schema_components(types, schema_hook=_no_schema, ref_template=_TEMPLATE)
    by_type = {id(kind): _shown(schema) for kind, schema in zip(types, found, strict=True)}
    named = {_name(name): _shown(schema) | {"title": _name(name)} for name, schema in components.items()}
    in_requests = set(_reached([by_type[id(kind)] for kind in sent], named))
    in_answers = set(_reached([by_type[id(kind)] for kind in answered], named))
    structs = list(_structs(answered))
    sparse = {struct.__name__ for struct, _ in structs if struct.__struct_config__.omit_defaults}
    times = {(struct.__name__, field.encode_name) for struct, fields in structs for field in fields if _is_time(field)}
    kept = {
        name: _of_request(schema)
        if name in in_requests
        else _of_answer(schema, sparse=name in sparse, times={field for owner, field in times if owner == name})
        for name, schema in named.items()
        if name in in_requests | in_answers
    }
    return Schemas(kept, {kind.__name__: named[kind.__name__] for kind in asked}, by_type)


def _of_request(schema: Schema) -> Schema:
    return schema | {"properties": {name: _in_words(each) for name, each in _properties(schema).items()}}


def _in_words(schema: Schema) -> Schema:
    """The schema of a field, its default told in words."""
    if "default" not in schema:
        return schema
    default = schema["default"]
    told = {} if default in ("", None, (), {}) else {"description": f"Default: {msgspec.json.encode(default).decode()}"}
    return told | {name: value for name, value in schema.items() if name != "default"}


def _of_answer(schema: Schema, *, sparse: bool, times: Collection[str]) -> Schema:
    """`sparse`: what has its default is left out. A field with no default that is not required is unset at times."""
    properties, required = {}, list(schema.get("required", []))
    for name, each in _properties(schema).items():
        told = {key: value for key, value in each.items() if key != "default"}
        properties[name] = _as_time(told) if name in times else told
        if "default" in each and not sparse:
            required.append(name)
    return schema | {"properties": properties, "required": required}


def _is_time(field: inspect.Field) -> bool:
    parts = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    return any(isinstance(part, inspect.DateTimeType) for part in parts)


def _as_time(schema: Schema) -> Schema:
    """All of our times have a zone, which msgspec can't know and so says nothing of the format."""
    if "anyOf" in schema:
        return schema | {"anyOf": [_as_time(choice) for choice in schema["anyOf"]]}
    return schema | {"format": "date-time"} if schema == {"type": "string"} else schema


def _properties(schema: Schema) -> Mapping[str, Schema]:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    return properties


def _name(name: str) -> str:
    """`RunSummaryPage` for msgspec's `Page_RunSummary_`."""
    return _PAGE.sub(r"\1Page", name)


def _shown(schema: Any) -> Any:
    """The schema with references by our names, choices with their type, and free-form objects that say so."""
    if isinstance(schema, list):
        return [_shown(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    shown = {name: _shown(value) for name, value in schema.items()}
    if isinstance(shown.get("$ref"), str):
        shown["$ref"] = _name(shown["$ref"])
    if shown.get("type") == "object" and not {"properties", "additionalProperties"} & set(shown):
        shown["additionalProperties"] = True  # else openapi-typescript takes it for an empty one
    choices = shown.get("enum")
    if isinstance(choices, list):
        if choices == [True]:
            del shown["enum"]
            return {"type": "boolean", "const": True} | shown
        if all(isinstance(choice, str) for choice in choices):
            return {"type": "string"} | shown
    return shown


def _reached(schemas: Iterable[Schema], components: Mapping[str, Schema]) -> Iterator[str]:
    """The names of the components that these schemas need."""
    seen: set[str] = set()
    pending: list[Any] = list(schemas)
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and (name := reference.rpartition("/")[2]) not in seen:
                seen.add(name)
                yield name
                pending.append(components[name])
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _structs(types: Iterable[Any]) -> Iterator[tuple[Any, tuple[inspect.Field, ...]]]:
    """All struct classes within these types, with their fields."""
    seen: set[Any] = set()
    pending: list[Any] = list(inspect.multi_type_info(list(types)))
    while pending:
        info = pending.pop()
        match info:
            case inspect.StructType(cls=struct, fields=fields):
                if struct not in seen:
                    seen.add(struct)
                    yield get_origin(struct) or struct, fields
                    pending.extend(field.type for field in fields)
            case inspect.UnionType(types=parts) | inspect.TupleType(item_types=parts):
                pending.extend(parts)
            case inspect.VarTupleType(item_type=part) | inspect.ListType(item_type=part):
                pending.append(part)
            case inspect.DictType(value_type=part) | inspect.Metadata(type=part):
                pending.append(part)
            case _:
                pass


def _no_schema(kind: type) -> Schema:
    """The schema hook of msgspec: stored JSON that is passed through undecoded may be anything."""
    if kind is msgspec.Raw:
        return {}
    raise NotImplementedError(f"{kind!r} has no JSON schema")
