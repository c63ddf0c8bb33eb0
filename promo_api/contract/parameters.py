"""Parameters of a request, read strictly and once: what was checked is what the handler gets.

Python's own readers are generous: `int` takes `1_0` and `+5`, a query that is no UTF-8 becomes one that is, of a
parameter given twice the last counts. Each of these would be a request that api.yml does not describe.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

from promo_api.contract.schemas import VIOLATIONS_MAX, compile_schema
from promo_api.errors import Violation

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,30})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NAME_MAX_CHARACTERS = 60
_BOOLEANS = {"true": True, "false": False}


class Unreadable(ValueError):
    """A text that is none of the values of its type."""


class Parameter:
    """One parameter of an operation, as api.yml declares it."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        schema = declared["schema"]
        self.name: str = declared["name"]
        self.place: str = declared["in"]
        # The name of a header in any case is one name, and no identifier.
        self._argument = self.name.lower().replace("-", "_") if self.place == "header" else self.name
        self._required: bool = declared.get("required", False)
        self._default = schema.get("default")
        self._is_array = schema["type"] == "array"
        self._type: str = schema["items"]["type"] if self._is_array else schema["type"]
        if self._type not in _READERS:
            raise ValueError(f"parameters of type {self._type} are not supported: {self.name}")
        self._is_uuid = schema.get("format") == "uuid"
        self._checker = compile_schema(schema)

    def read(self, texts: list[str], arguments: dict[str, Any]) -> list[Violation]:
        """Put the value of the parameter into the arguments, and return what is wrong with it.

        Args:
            texts: what was sent under its name, in order; empty: nothing.
            arguments: gets the value, or the default, or nothing if there is neither; that of the header `X-Name` as
                `x_name`.
        """
        if not texts:
            if self._default is not None:
                arguments[self._argument] = self._default
            return [self._violation("is required")] if self._required else []
        if len(texts) > 1 and not self._is_array:
            return [self._violation("must be given once")]
        try:
            value = self._value(texts)
        except Unreadable as error:
            return [self._violation(str(error))]
        violations = self._checker.violations(value, self.place, f"/{self.name}")
        if not violations:
            arguments[self._argument] = UUID(value) if self._is_uuid else value
        return violations

    def _value(self, texts: list[str]) -> Any:
        read = _READERS[self._type]
        if self._is_array:
            return [read(part) for text in texts for part in text.split(",")]
        return read(texts[0])

    def _violation(self, message: str) -> Violation:
        return Violation(self.place, f"/{self.name}", message)


class Header:
    """A header parameter of an operation."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._name = parameter.name.lower().encode("ascii")

    def read(self, headers: Iterable[tuple[bytes, bytes]], arguments: dict[str, Any]) -> list[Violation]:
        """Put the value of the header into the arguments, and return what is wrong with it."""
        texts = [value.decode("latin-1") for name, value in headers if name == self._name]
        return self._parameter.read(texts, arguments)


class Query:
    """The query parameters of an operation."""

    def __init__(self, parameters: list[Parameter]) -> None:
        self._parameters = parameters
        self._names = {parameter.name for parameter in parameters}

    def read(self, query: bytes, arguments: dict[str, Any]) -> list[Violation]:
        """Put the values of the query into the arguments, and return what is wrong with it."""
        try:
            sent = _split(query)
        except Unreadable as error:
            return [Violation("query", "", str(error))]
        unknown = islice((name for name in sent if name not in self._names), VIOLATIONS_MAX)
        violations = [Violation("query", _pointer(name), "is not known here") for name in unknown]
        for parameter in self._parameters:
            violations += parameter.read(sent.get(parameter.name, []), arguments)
        return violations[:VIOLATIONS_MAX]


def _pointer(name: str) -> str:
    return f"/{name}" if name.isidentifier() and len(name) <= _NAME_MAX_CHARACTERS else ""


def _split(query: bytes) -> dict[str, list[str]]:
    sent: dict[str, list[str]] = {}
    for pair in filter(None, query.split(b"&")):
        name, _, value = pair.partition(b"=")
        sent.setdefault(_decoded(name), []).append(_decoded(value))
    return sent


def _decoded(part: bytes) -> str:
    if _BROKEN_ESCAPE.search(part):
        raise Unreadable("must be percent-encoded")
    try:
        return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("must be percent-encoded UTF-8") from None


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise Unreadable("must be of type integer")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise Unreadable("must be true or false")
    return _BOOLEANS[text]


_READERS: dict[str, Callable[[str], Any]] = {"string": str, "integer": _integer, "boolean": _boolean}
