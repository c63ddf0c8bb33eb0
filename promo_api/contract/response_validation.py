"""The validation of responses against api.yml, for tests.

It is stricter than api.yml: clients must expect new members and new values, but the server must not send any that are
not described. An invalid response is logged and becomes a 500. This doubles the cost of validation.
"""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promo_api.contract.compression import decompress
from promo_api.contract.error_responses import INTERNAL_ERROR
from promo_api.contract.media_types import JSON
from promo_api.contract.operations import find_operation_id, operations_of
from promo_api.contract.schemas import compile_schema
from promo_api.errors import Violation

_log = logging.getLogger(__name__)

_FIRST_ERROR, _INTERNAL_ERROR = 400, 500
_MAX_LOGGED = 10


class _Header:
    def __init__(self, name: str, declared: Mapping[str, Any]) -> None:
        self.name = name
        self._required: bool = declared.get("required", False)
        self._is_integer = declared["schema"]["type"] == "integer"
        self._validator = compile_schema(declared["schema"])

    def violations(self, text: str | None) -> list[Violation]:
        """Return violations; None: the header is missing."""
        if text is None:
            return [Violation("header", f"/{self.name}", "is required")] if self._required else []
        value = int(text) if self._is_integer and text.isdecimal() else text
        return self._validator.violations(value, "header", f"/{self.name}")


def closed(schema: Any) -> Any:
    """Return a copy of a schema that refuses members and values that are not described."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {keyword: closed(value) for keyword, value in schema.items()}
    if copy.get("type") == "object" and copy.get("additionalProperties", True) is True:
        copy["additionalProperties"] = False
    if "x-extensible-enum" in copy:
        copy["enum"] = copy["x-extensible-enum"]
    return copy


class _Response:
    """The responses of an operation with one status."""

    def __init__(self, status: int, declared: Mapping[str, Any]) -> None:
        # A 304 has no body.
        content = declared.get("content", {}).get(JSON, {})
        self.streamed_types = declared.get("content", {}).keys() - {JSON}
        self._body = compile_schema(closed(content["schema"])) if content else None
        # The examples of an error response are its codes.
        examples = [example["value"] for example in content.get("examples", {}).values()]
        self._codes = {value["code"] for value in examples if status >= _FIRST_ERROR and "code" in value}
        self._headers = [_Header(name, header) for name, header in declared.get("headers", {}).items()]

    def violations(self, headers: Headers, content: bytes) -> list[Violation]:
        violations = self._violations_of_body(headers, content)
        for header in self._headers:
            violations += header.violations(headers.get(header.name))
        return violations

    def _violations_of_body(self, headers: Headers, content: bytes) -> list[Violation]:
        if self._body is None:
            return [Violation("body", "", "must be empty")] if content else []
        if headers.get("content-type") != JSON:
            return [Violation("header", "/content-type", f"must be {JSON}")]
        if headers.get("content-encoding") == "gzip":
            content = decompress(content)
        body = orjson.loads(content)
        violations = self._body.violations(body, "body")
        if self._codes and not violations and body["code"] not in self._codes:
            violations.append(Violation("body", "/code", "is not in the examples"))
        return violations


class ResponseValidationMiddleware(SpecMiddleware):
    """The outermost middleware, because it validates error responses too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._responses: dict[str, dict[int, _Response]] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Compile the schemas."""
        for operation in operations_of(specification):
            self._responses[operation.id] = {
                int(status): _Response(int(status), declared) for status, declared in operation.responses.items()
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Validate the response, if the request has an operation."""
        messages: list[Message] = []
        passes = False

        async def send_valid(message: Message) -> None:
            nonlocal passes
            operation_id = find_operation_id(scope)
            passes = passes or not operation_id or self._is_streamed(operation_id, message)
            if passes:
                await send(message)
                return
            messages.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                for each in self._validated(operation_id, messages):
                    await send(each)

        await self._app(scope, receive, send_valid)

    def _is_streamed(self, operation_id: str, message: Message) -> bool:
        """Return whether a response begins that is documented as a stream; nothing else of it is validated."""
        if message["type"] != "http.response.start":
            return False
        response = self._responses[operation_id].get(message["status"])
        media_type = Headers(raw=message["headers"]).get("content-type", "").partition(";")[0]
        return response is not None and media_type in response.streamed_types

    def _validated(self, operation_id: str, messages: list[Message]) -> list[Message]:
        status = messages[0]["status"]
        violations = self._violations(operation_id, status, messages)
        if not violations:
            return messages
        described = [f"{each.location} {each.pointer} {each.message}" for each in violations[:_MAX_LOGGED]]
        _log.error("response_invalid", extra={"operation": operation_id, "status": status, "violations": described})
        headers = [(b"content-type", JSON.encode()), (b"content-length", b"%d" % len(INTERNAL_ERROR))]
        return [
            {"type": "http.response.start", "status": _INTERNAL_ERROR, "headers": headers},
            {"type": "http.response.body", "body": INTERNAL_ERROR},
        ]

    def _violations(self, operation_id: str, status: int, messages: list[Message]) -> list[Violation]:
        response = self._responses[operation_id].get(status)
        if response is None:
            # No operation documents 500.
            return [] if status == _INTERNAL_ERROR else [Violation("status", "", "is not documented")]
        content = b"".join(message.get("body", b"") for message in messages[1:])
        return response.violations(Headers(raw=messages[0]["headers"]), content)
