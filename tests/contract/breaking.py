"""What changed between two versions of a contract, and which of it breaks a client that was made for the first one.

A request breaks where the new contract takes less than the old one; an answer, where it may hold what the old one ruled
out, or lacks what the old one told of. A new member of an answer breaks nobody: clients pass over what they don't know.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import gt, lt
from typing import Any

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# What is compared member by member, and what nobody needs who sends or reads values.
_PARTS = ("properties", "required", "items", "oneOf", "anyOf")
_WORDS = ("title", "description", "example", "examples", "externalDocs", "deprecated", "xml", "discriminator")
# A bound, and how a value of it compares to one that takes more.
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": gt, "minLength": gt, "minItems": gt, "minProperties": gt,
    "maximum": lt, "maxLength": lt, "maxItems": lt, "maxProperties": lt,
}  # fmt: skip
_WIDER = [("integer", "number"), ("int32", "int64"), ("float", "double")]
# Values of a keyword that rule out nothing, as if it were not there.
_UNSAID: dict[str, list[Any]] = {
    "format": ["password"], "uniqueItems": [False], "exclusiveMinimum": [False], "exclusiveMaximum": [False],
    "additionalProperties": [True, {}],
}  # fmt: skip
_LONGEST = 60


@dataclass(frozen=True)
class Change:
    """A difference: in which operation, at what place, of which kind, how it was and how it is."""

    operation: str
    place: str
    kind: str
    old: str
    new: str
    breaks: bool


def compare(old: Any, new: Any) -> list[Change]:
    """Return what changed between two OpenAPI documents, operation by operation."""
    return list(_Comparison(_resolved(old, old, {}), _resolved(new, new, {})).changes())


def breaks(old: Any, new: Any) -> bool:
    """Return whether any change between two OpenAPI documents breaks clients."""
    changes = _Comparison(_resolved(old, old, {}), _resolved(new, new, {})).changes()
    return any(change.breaks for change in changes)


def _resolved(node: Any, document: Any, resolved: dict[str, Any]) -> Any:
    """Return a part of a document with all references replaced by their targets, each resolved once."""
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
        resolved[reference] = _resolved(target, document, resolved)
    return resolved[reference]


class _Comparison:
    """A walk through two documents at once; it knows in which operation it is, and which way the values at hand go."""

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
        """Compare what a generated client calls an operation by, in which module it is, and who may call it."""
        yield from self._exactly("", "operationId", old.get("operationId"), new.get("operationId"))
        yield from self._exactly("", "first tag", *([*each.get("tags", []), None][0] for each in (old, new)))
        olds, news = _ways_in(old, self._old), _ways_in(new, self._new)
        if olds != news:  # a further way in breaks nobody, and neither does an open door
            breaks = not (olds < news or "open" in news)
            yield self._change("", "security", " or ".join(sorted(olds)), " or ".join(sorted(news)), breaks=breaks)

    def _parameters(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        yield from self._entries("", "parameter", olds, news, needed=_is_required)
        for place in _shared(olds, news):
            old, new = olds[place], news[place]
            for kind in ("style", "explode", "allowReserved", "content"):
                yield from self._exactly(place, kind, old.get(kind), new.get(kind))
            yield from self._entry(place, old, new)

    def _body(self, old: Any, new: Any) -> Iterator[Change]:
        olds, news = ({} if each is None else {"body": each} for each in (old, new))
        yield from self._entries("", "request", olds, news, needed=_is_required)
        if old is not None and new is not None:
            yield from self._entry("body", old, new)
            yield from self._content("body", old["content"], new["content"])

    def _responses(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        # Clients expect that there may be further errors, but no success of another kind.
        yield from self._entries("", "status", olds, news, needed=lambda status, _: not status.startswith(("4", "5")))
        for status in _shared(olds, news):
            old, new = (each[status].get("headers", {}) for each in (olds, news))
            yield from self._entries(status, "header", old, new)
            for name in _shared(old, new):
                yield from self._entry(f"{status} {name}", old[name], new[name])
            yield from self._content(status, *(each[status].get("content", {}) for each in (olds, news)))

    def _content(self, place: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[Change]:
        yield from self._entries(place, "media type", olds, news)
        for media in _shared(olds, news):
            yield from self._schema(place, olds[media].get("schema", {}), news[media].get("schema", {}))

    def _entry(self, place: str, old: Any, new: Any) -> Iterator[Change]:
        yield from self._required(place, _is_required(place, old), _is_required(place, new))
        yield from self._schema(place, old.get("schema", {}), new.get("schema", {}))

    def _schema(self, place: str, old: Any, new: Any) -> Iterator[Change]:
        for kind in _both(old, new):
            narrows, widens = _effect(kind, old.get(kind), new.get(kind))
            if narrows or widens:
                yield self._values(place, kind, old.get(kind), new.get(kind), narrows=narrows, widens=widens)
        yield from self._members(place, old, new)
        if "items" in old or "items" in new:
            yield from self._schema(f"{place}[]", old.get("items", {}), new.get("items", {}))
        for kind in ("oneOf", "anyOf"):
            olds, news = _variants(old, kind), _variants(new, kind)
            for name in _both(olds, news):
                was, now = (name if name in each else None for each in (olds, news))
                if was == now:
                    yield from self._schema(f"{place}<{name}>", olds[name], news[name])
                else:
                    yield self._values(place, kind, was, now, narrows=now is None, widens=was is None)

    def _members(self, place: str, old: Any, new: Any) -> Iterator[Change]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        needed = new.get("required", [])
        for name in _both(olds, news):
            at = f"{place}/{name}"
            if name in olds and name in news:
                yield from self._required(at, name in old.get("required", []), name in needed)
                yield from self._schema(at, olds[name], news[name])
            elif name in olds:
                yield self._change(at, "member", "there", None, breaks=True)
            else:
                is_new = "required" if name in needed else "optional"
                yield self._change(at, "member", None, is_new, breaks=self._request and name in needed)

    def _entries(
        self, place: str, kind: str, olds: Mapping[str, Any], news: Mapping[str, Any],
        needed: Callable[[str, Any], bool] = lambda _name, _entry: False,
    ) -> Iterator[Change]:  # fmt: skip
        """Yield the entries that are gone, and those that are new: these break clients if each has to send them."""
        for name in _both(olds, news):
            at = f"{place} {name}".strip()
            if name not in news:
                yield self._change(at, kind, "there", None, breaks=True)
            elif name not in olds:
                yield self._change(at, kind, None, "there", breaks=needed(name, news[name]))

    def _exactly(self, place: str, kind: str, old: Any, new: Any) -> Iterator[Change]:
        if old != new:
            yield self._change(place, kind, old, new, breaks=True)

    def _required(self, place: str, was: bool, now: bool) -> Iterator[Change]:
        if was != now:
            yield self._values(place, "required", was, now, narrows=now, widens=was)

    def _values(self, place: str, kind: str, old: Any, new: Any, *, narrows: bool, widens: bool) -> Change:
        return self._change(place, kind, old, new, breaks=narrows if self._request else widens)

    def _change(self, place: str, kind: str, old: Any, new: Any, *, breaks: bool) -> Change:
        return Change(self._operation, place, kind, _shown(old), _shown(new), breaks)


def _effect(kind: str, old: Any, new: Any) -> tuple[bool, bool]:
    """Tell whether a change of a keyword rules out values that were allowed, and whether it allows others."""
    if kind == "nullable":  # the only one that allows more where it stands
        old, new = (None if each else "no null" for each in (old, new))
    old, new = (None if each in _UNSAID.get(kind, []) else each for each in (old, new))
    if old == new or kind in _PARTS or kind in _WORDS or kind.startswith("x-"):
        return False, False
    if kind == "default":  # what happens to those who leave it out
        return old is not None, False
    return _rules_out(kind, old, new), _rules_out(kind, new, old)


def _rules_out(kind: str, old: Any, new: Any) -> bool:
    if new is None or old is False:
        return False
    if old is None or new is False:
        return True
    if kind == "enum":
        return not set(old) <= set(new)
    if kind in _BOUNDS:
        return _BOUNDS[kind](new, old)
    return (old, new) not in _WIDER


def _is_required(_name: str, entry: Any) -> bool:
    return bool(entry.get("required"))


def _operations(document: Any) -> dict[str, Any]:
    found = {}
    for path, item in document["paths"].items():
        for method in _shared(item, dict.fromkeys(_METHODS)):
            every = [*item.get("parameters", []), *item[method].get("parameters", [])]
            parameters = {f"{each['in']} {each['name']}": each for each in every}
            found[f"{method.upper()} {path}"] = item[method] | {"parameters": parameters}
    return found


def _ways_in(operation: Any, document: Any) -> set[str]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    told = {name: [each.get(part, "") for part in ("type", "scheme", "in", "name")] for name, each in schemes.items()}
    ways = operation.get("security", document.get("security")) or [{}]
    return {" and ".join(" ".join([name, *told[name], *way[name]]).strip() for name in way) or "open" for way in ways}


def _variants(schema: Any, kind: str) -> dict[str, Any]:
    """Return the variants of a schema by the value that tells them apart, or else by their place."""
    member = schema.get("discriminator", {}).get("propertyName")
    named = {}
    for place, variant in enumerate(schema.get(kind, [])):
        values = variant.get("properties", {}).get(member, {}).get("enum")
        named[" ".join(values) if values else str(place)] = variant
    return named


def _both(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    return [*olds, *(name for name in news if name not in olds)]


def _shared(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    return [name for name in olds if name in news]


def _shown(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
