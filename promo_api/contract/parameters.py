"""The parameters of a request, parsed once and strictly.

Common parsers accept more than api.yml: `1_0`, `+5`, invalid UTF-8, a second value.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from keyword import iskeyword
from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

from promo_api.contract.pointers import is_harmless, unknown
from promo_api.contract.schemas import MAX_VIOLATIONS, compile_schema
from promo_api.errors import Violation

# Python refuses to parse more digits.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,4000})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BOOLEANS = {"true": True, "false": False}


class ParseError(ValueError):
    """A text that is not a value of its type, or not well encoded; `name` is that of the parameter, if it is known."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class Parameter:
    """A parameter of an operation; ValueError if its type is not supported."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        schema = declared["schema"]
        self.name: str = declared["name"]
        self.location: str = declared["in"]
        # The handler's argument for the header `X-Name` is `x_name`, and for `from`, a keyword of Python, `from_`.
        argument = self.name.lower().replace("-", "_") if self.location == "header" else self.name
        self._argument = f"{argument}_" if iskeyword(argument) else argument
        self._required: bool = declared.get("required", False)
        self._default = schema.get("default")
        self._is_array = schema["type"] == "array"
        self._type: str = schema["items"]["type"] if self._is_array else schema["type"]
        if self._type not in _PARSERS:
            raise ValueError(f"parameters of type {self._type} are not supported: {self.name}")
        self._is_uuid = schema.get("format") == "uuid"
        self._validator = compile_schema(schema)

    def read(self, texts: list[str], arguments: dict[str, Any]) -> list[Violation]:
        """Put the value or default into the arguments; return the violations of an invalid value."""
        if not texts:
            if self._default is not None:
                arguments[self._argument] = self._default
            return [self._violation("is required")] if self._required else []
        if len(texts) > 1 and not self._is_array:
            return [self._violation("must be given once")]
        try:
            value = self._parse(texts)
        except ParseError as error:
            return [self._violation(str(error))]
        violations = self._validator.violations(value, self.location, f"/{self.name}")
        if not violations:
            arguments[self._argument] = UUID(value) if self._is_uuid else value
        return violations

    def _parse(self, texts: list[str]) -> Any:
        parse = _PARSERS[self._type]
        if self._is_array:
            return [parse(part) for text in texts for part in text.split(",")]
        return parse(texts[0])

    def _violation(self, message: str) -> Violation:
        return Violation(self.location, f"/{self.name}", message)


class Header:
    """A header parameter of an operation."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._name = parameter.name.lower().encode("ascii")

    def read(self, headers: Iterable[tuple[bytes, bytes]], arguments: dict[str, Any]) -> list[Violation]:
        """Put a valid value into the arguments; return violations."""
        texts = [value.decode("latin-1") for name, value in headers if name == self._name]
        return self._parameter.read(texts, arguments)


class Query:
    """The query parameters of an operation."""

    def __init__(self, parameters: list[Parameter]) -> None:
        self._parameters = parameters
        self._names = [parameter.name for parameter in parameters]

    def read(self, query: bytes, arguments: dict[str, Any]) -> list[Violation]:
        """Put valid values into the arguments; return violations, also of unknown parameters."""
        try:
            sent = _split(query)
        except ParseError as error:
            return [Violation("query", f"/{error.name}" if is_harmless(error.name) else "", str(error))]
        others = islice((name for name in sent if name not in self._names), MAX_VIOLATIONS)
        violations = [*dict.fromkeys(self._unknown(name) for name in others)]
        for parameter in self._parameters:
            violations += parameter.read(sent.get(parameter.name, []), arguments)
        return violations[:MAX_VIOLATIONS]

    def _unknown(self, name: str) -> Violation:
        return unknown("query", "", name, kind="parameter", allowed=self._names)


def _split(query: bytes) -> dict[str, list[str]]:
    sent: dict[str, list[str]] = {}
    for pair in filter(None, query.split(b"&")):
        encoded_name, _, encoded_value = pair.partition(b"=")
        name = _decode(encoded_name)
        sent.setdefault(name, []).append(_decode(encoded_value, name))
    return sent


def _decode(part: bytes, name: str = "") -> str:
    if _BROKEN_ESCAPE.search(part):
        raise ParseError("has a % without two hexadecimal digits; write % as %25", name)
    try:
        return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError("must be percent-encoded UTF-8", name) from None


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ParseError("must be an integer, written as in JSON, such as 10")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise ParseError("must be true or false")
    return _BOOLEANS[text]


_PARSERS: dict[str, Callable[[str], Any]] = {"string": str, "integer": _integer, "boolean": _boolean}
