"""Compares two versions of an OpenAPI document, and finds the changes that break clients of the old one.

A change has one of three effects on clients:

- WIRE: it breaks clients that are in use. The new version accepts less in requests, or its responses contain values
  that the old version excluded, or lack documented ones. Generated clients refuse a new value of an `enum`, a new
  alternative of a `oneOf`, and a new member of an object without `additionalProperties: true`.
- SOURCE: it breaks programs when their client is generated again, because names or types in generated code change.
  Classes have the names of tags, of schemas, and of titles; methods have those of operationIds. Some languages pass
  parameters by position.
- NONE: it breaks nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from operator import gt, lt
from typing import Any

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# Keywords that are compared member by member, and keywords that do not affect clients.
_PARTS = ("properties", "required", "items", "oneOf", "anyOf", "additionalProperties")
_IGNORED = ("title", "description", "example", "examples", "externalDocs", "deprecated", "xml", "discriminator")
# Keywords that decide the types in generated code. Other keywords and formats do not.
_TYPES = ("type", "format", "nullable", "uniqueItems", "required")
_TYPE_FORMATS = ("int32", "int64", "float", "double", "date", "date-time", "uuid", "uri", "byte", "binary")
# By bound: whether its first value is stricter than its second.
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": gt, "minLength": gt, "minItems": gt, "minProperties": gt,
    "maximum": lt, "maxLength": lt, "maxItems": lt, "maxProperties": lt, "x-max-bytes": lt,
}  # fmt: skip
_WIDER = [("integer", "number"), ("int32", "int64"), ("float", "double")]
# Values that have the same effect as a missing keyword.
_NO_EFFECT: dict[str, list[Any]] = {
    "format": ["password"], "uniqueItems": [False], "exclusiveMinimum": [False], "exclusiveMaximum": [False],
}  # fmt: skip
_MAX_CHARS = 60


class Effect(IntEnum):
    """What a change does to clients; see the module."""

    NONE = 0
    SOURCE = 1
    WIRE = 2


@dataclass(frozen=True)
class Change:
    """A difference between two documents: the operation, the location, the kind, and the old and new value."""

    operation: str
    location: str
    kind: str
    old: str
    new: str
    effect: Effect


def compare(old: Any, new: Any) -> list[Change]:
    """Return the changes between two OpenAPI documents, by operation."""
    return list(_Comparison(resolve_references(old), resolve_references(new)).changes())


def breaks(old: Any, new: Any) -> bool:
    """Return whether any change between two OpenAPI documents breaks clients that are in use."""
    changes = _Comparison(resolve_references(old), resolve_references(new)).changes()
    return any(change.effect is Effect.WIRE for change in changes)


def resolve_references(document: Any) -> Any:
    """Return a document with all references replaced by their targets. A named schema gets its name as `title`."""
    return _resolved(document, document, {})


def _resolved(node: Any, document: Any, resolved: dict[str, Any]) -> Any:
    """Return a part of a document with all references replaced. `resolved` has the targets so far."""
    if isinstance(node, list):
        return [_resolved(part, document, resolved) for part in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return {name: _resolved(part, document, resolved) for name, part in node.items()}
    if reference not in resolved:
        target = document
        for name in reference.removeprefix("#/").split("/"):
            target = target[name.replace("~1", "/").replace("~0", "~")]
        target = _resolved(target, document, resolved)
        resolved[reference] = target | {"title": name} if reference.startswith("#/components/schemas/") else target
    return resolved[reference]


class _Comparison:
    """Walks through two documents together. `_request`: whether the current values are sent by the client."""

    def __init__(self, old: Any, new: Any) -> None:
        self._old, self._new = old, new
        self._operation, self._request = "", True

    def changes(self) -> Iterator[Change]:
        olds, news = ({each["url"]: each for each in part.get("servers", [])} for part in (self._old, self._new))
        yield from self._entries("", "server", olds, news)
        olds, news = _operations(self._old), _operations(self._new)
        yield from self._entries("", "operation", olds, news)
        for self._operation in _shared(olds, news):
            old, new = olds[self._operation], news[self._operation]
            self._request = True
            yield from self._names(old, new)
            yield from self._parameters(old["parameters"], new["parameters"])
            yield from self._body(old.get("requestBody"), new.get("requestBody"))
            self._request = False
            yield from self._responses(old["responses"], new["responses"])

    def _names(self, old: Any, new: Any) -> Iterator[Change]:
        """Compare the names that generated clients use, and the security requirements."""
        yield from self._exactly("", "operationId", old.get("operationId"), new.get("operationId"), Effect.SOURCE)
        tags = [[*each.get("tags", []), None][0] for each in (old, new)]
        yield from self._exactly("", "first tag", *tags, Effect.SOURCE)
        olds, news = _security(old, self._old), _security(new, self._new)
        if olds != news:  # additional alternatives are compatible
            effect = Effect.NONE if olds < news or "open" in news else Effect.WIRE
            yield self._change("", "security", " or ".join(sorted(olds)), " or ".join(sorted(news)), effect)

    def _parameters(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        yield from self._entries("", "parameter", olds, news, added=_effect_of_addition)
        yield from self._order("", "parameters", olds, news)
        for location in _shared(olds, news):
            old, new = olds[location], news[location]
            for kind in ("style", "explode", "allowReserved", "content"):
                yield from self._exactly(location, kind, old.get(kind), new.get(kind))
            yield from self._entry(location, old, new)

    def _body(self, old: Any, new: Any) -> Iterator[Change]:
        olds, news = ({} if each is None else {"body": each} for each in (old, new))
        yield from self._entries("", "request", olds, news, added=_effect_of_addition)
        if old is not None and new is not None:
            yield from self._entry("body", old, new)
            yield from self._content("body", old["content"], new["content"])

    def _responses(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        yield from self._entries("", "status", olds, news, added=_effect_of_status)
        for status in _shared(olds, news):
            old, new = (each[status].get("headers", {}) for each in (olds, news))
            yield from self._entries(status, "header", old, new)
            for name in _shared(old, new):
                yield from self._entry(f"{status} {name}", old[name], new[name])
            yield from self._content(status, *(each[status].get("content", {}) for each in (olds, news)))

    def _content(self, location: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        yield from self._entries(location, "media type", olds, news)
        for media in _shared(olds, news):
            yield from self._schema(location, olds[media].get("schema", {}), news[media].get("schema", {}))
            yield from self._size(location, *(each[media].get("x-max-bytes") for each in (olds, news)))

    def _size(self, location: str, old: Any, new: Any) -> Iterator[Change]:
        """Compare the limits of a streamed body."""
        if old != new:
            narrows, widens = (_excludes("x-max-bytes", *pair) for pair in ((old, new), (new, old)))
            yield self._values(location, "x-max-bytes", old, new, narrows=narrows, widens=widens)

    def _entry(self, location: str, old: Any, new: Any) -> Iterator[Change]:
        yield from self._required(location, _is_required(location, old), _is_required(location, new))
        yield from self._schema(location, old.get("schema", {}), new.get("schema", {}))

    def _schema(self, location: str, old: Any, new: Any) -> Iterator[Change]:
        for kind in _both(old, new):
            yield from self._keyword(location, kind, old, new)
        yield from self._class(location, old, new)
        yield from self._openness(location, old, new)
        yield from self._members(location, old, new)
        if "items" in old or "items" in new:
            yield from self._schema(f"{location}[]", old.get("items", {}), new.get("items", {}))
        for kind in ("oneOf", "anyOf"):
            olds, news = _variants(old, kind), _variants(new, kind)
            for name in _both(olds, news):
                was, now = (name if name in each else None for each in (olds, news))
                if was == now:
                    yield from self._schema(f"{location}<{name}>", olds[name], news[name])
                else:
                    yield self._values(location, kind, was, now, narrows=now is None, widens=was is None)

    def _keyword(self, location: str, kind: str, old: Any, new: Any) -> Iterator[Change]:
        was, now = old.get(kind), new.get(kind)
        # A list of values that will grow is compatible until it has grown.
        narrows, widens = _effect(kind, was, new.get("x-extensible-enum") if kind == "enum" and now is None else now)
        if narrows or widens or (kind == "enum" and (was is None) != (now is None)):
            yield self._values(location, kind, was, now, narrows=narrows, widens=widens)

    def _class(self, location: str, old: Any, new: Any) -> Iterator[Change]:
        """Compare the names of the generated classes. Other schemas become types of the language."""
        if any(keyword in each for keyword in ("properties", "oneOf", "anyOf", "enum") for each in (old, new)):
            yield from self._exactly(location, "name", old.get("title"), new.get("title"), Effect.SOURCE)
        yield from self._exactly(
            location, "discriminator", old.get("discriminator"), new.get("discriminator"), Effect.SOURCE
        )

    def _openness(self, location: str, old: Any, new: Any) -> Iterator[Change]:
        """Compare what objects accept besides their properties. By default, generated clients accept nothing more."""
        was, now = (each.get("additionalProperties", self._request) for each in (old, new))
        if isinstance(was, dict) and isinstance(now, dict):
            yield from self._schema(f"{location}/*", was, now)
        elif was != now:
            effect = Effect.NONE if now is True else Effect.WIRE if self._request else Effect.SOURCE
            yield self._change(location, "additionalProperties", was, now, effect)

    def _members(self, location: str, old: Any, new: Any) -> Iterator[Change]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        needed = new.get("required", [])
        if self._request:
            yield from self._order(location, "members", olds, news)
        for name in _both(olds, news):
            at = f"{location}/{name}"
            if name in olds and name in news:
                yield from self._required(at, name in old.get("required", []), name in needed)
                yield from self._schema(at, olds[name], news[name])
            elif name in olds:
                yield self._change(at, "member", "present", None, Effect.WIRE)
            else:
                is_new = "required" if name in needed else "optional"
                refused = name in needed if self._request else old.get("additionalProperties") is not True
                yield self._change(at, "member", None, is_new, Effect.WIRE if refused else Effect.NONE)

    def _order(self, location: str, kind: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        old, new = ([name for name in each if name in olds and name in news] for each in (olds, news))
        yield from self._exactly(location, f"order of {kind}", old, new, Effect.SOURCE)

    def _entries(
        self, location: str, kind: str, olds: Mapping[str, Any], news: Mapping[str, Any],
        added: Callable[[str, Any], Effect] = lambda _name, _entry: Effect.NONE,
    ) -> Iterator[Change]:  # fmt: skip
        """Yield removed and new entries, with the effect of a new one."""
        for name in _both(olds, news):
            at = f"{location} {name}".strip()
            if name not in news:
                yield self._change(at, kind, "present", None, Effect.WIRE)
            elif name not in olds:
                yield self._change(at, kind, None, "present", added(name, news[name]))

    def _exactly(self, location: str, kind: str, old: Any, new: Any, effect: Effect = Effect.WIRE) -> Iterator[Change]:
        if old != new:
            yield self._change(location, kind, old, new, effect)

    def _required(self, location: str, was: bool, now: bool) -> Iterator[Change]:
        if was != now:
            yield self._values(location, "required", was, now, narrows=now, widens=was)

    def _values(self, location: str, kind: str, old: Any, new: Any, *, narrows: bool, widens: bool) -> Change:
        if narrows if self._request else widens:
            effect = Effect.WIRE
        else:
            effect = Effect.SOURCE if _changes_code(kind, old, new) else Effect.NONE
        return self._change(location, kind, old, new, effect)

    def _change(self, location: str, kind: str, old: Any, new: Any, effect: Effect) -> Change:
        return Change(self._operation, location, kind, _shown(old), _shown(new), effect)


def _changes_code(kind: str, old: Any, new: Any) -> bool:
    """Return whether a change of a keyword, or of a part, changes names or types in generated code."""
    if kind == "format":
        return old in _TYPE_FORMATS or new in _TYPE_FORMATS
    if kind == "enum":  # a value that is removed is a constant that is missing
        return not old or not new or not set(old) <= set(new)
    return kind in _TYPES or (kind in ("oneOf", "anyOf") and new is None)


def _effect_of_addition(_name: str, entry: Any) -> Effect:
    """Return the effect of a new parameter or body: clients must send it, or methods have one more argument."""
    return Effect.WIRE if _is_required(_name, entry) else Effect.SOURCE


def _effect_of_status(status: str, _response: Any) -> Effect:
    """Return the effect of a new status: clients expect that there may be further errors, but no further success.

    Only clients that send a condition get 304.
    """
    return Effect.NONE if _is_expected(status) else Effect.WIRE


def _effect(kind: str, old: Any, new: Any) -> tuple[bool, bool]:
    """Return whether a change of a keyword excludes values that were allowed, and whether it allows others."""
    if kind == "nullable":  # the only keyword whose presence allows more
        old, new = (None if each else "no null" for each in (old, new))
    old, new = (None if each in _NO_EFFECT.get(kind, []) else each for each in (old, new))
    if old == new or kind in _PARTS or kind in _IGNORED or kind.startswith("x-"):
        return False, False
    if kind == "default":  # a changed default changes requests without the value
        return old is not None, False
    return _excludes(kind, old, new), _excludes(kind, new, old)


def _excludes(kind: str, old: Any, new: Any) -> bool:
    if new is None or old is False:
        return False
    if old is None or new is False:
        return True
    if kind == "enum":
        return not set(old) <= set(new)
    if kind in _BOUNDS:
        return _BOUNDS[kind](new, old)
    return (old, new) not in _WIDER


def _is_expected(status: str) -> bool:
    return status.startswith(("4", "5")) or status == "304"


def _is_required(_name: str, entry: Any) -> bool:
    return bool(entry.get("required"))


def _operations(document: Any) -> dict[str, Any]:
    operations = {}
    for path, item in document["paths"].items():
        for method in _shared(item, dict.fromkeys(_METHODS)):
            every = [*item.get("parameters", []), *item[method].get("parameters", [])]
            parameters = {f"{each['in']} {each['name']}": each for each in every}
            operations[f"{method.upper()} {path}"] = item[method] | {"parameters": parameters}
    return operations


def _security(operation: Any, document: Any) -> set[str]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    described = {
        name: [each.get(part, "") for part in ("type", "scheme", "in", "name")] for name, each in schemes.items()
    }
    alternatives = operation.get("security", document.get("security")) or [{}]
    return {
        " and ".join(" ".join([name, *described[name], *requirement[name]]).strip() for name in requirement) or "open"
        for requirement in alternatives
    }


def _variants(schema: Any, kind: str) -> dict[str, Any]:
    """Return the variants of a schema by the value of the discriminator, or else by their index."""
    member = schema.get("discriminator", {}).get("propertyName")
    variants = {}
    for index, variant in enumerate(schema.get(kind, [])):
        values = variant.get("properties", {}).get(member, {}).get("enum")
        variants[" ".join(values) if values else str(index)] = variant
    return variants


def _both(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    return [*olds, *(name for name in news if name not in olds)]


def _shared(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    return [name for name in olds if name in news]


def _shown(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 3]}..."
