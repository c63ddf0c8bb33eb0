"""Answers keep the contract too: each is held against api.yml before it leaves, where that is asked for.

It costs as much as the checks of the request, so production leaves it off; with it, a broken answer is a 500 that
says in the log what is wrong, and not a surprise for a client.
"""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from connexion.middleware.abstract import ROUTING_CONTEXT, SpecMiddleware
from connexion.spec import Specification
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promo_api.contract.compression import decompress
from promo_api.contract.responses import FAILURE
from promo_api.contract.schemas import compile_schema
from promo_api.errors import Violation

_log = logging.getLogger(__name__)

_MEDIA_TYPE = "application/json"
_FAILED = 500
_TOLD_MAX = 10


class _Header:
    """One header of an answer, as api.yml declares it."""

    def __init__(self, name: str, declared: Mapping[str, Any]) -> None:
        self.name = name
        self._required: bool = declared.get("required", False)
        self._is_integer = declared["schema"]["type"] == "integer"
        self._checker = compile_schema(declared["schema"])

    def violations(self, text: str | None) -> list[Violation]:
        """Return what is wrong with the header; None: the answer has none of this name."""
        if text is None:
            return [Violation("header", f"/{self.name}", "is required")] if self._required else []
        value = int(text) if self._is_integer and text.isdecimal() else text
        return self._checker.violations(value, "header", f"/{self.name}")


class _Answer:
    """One answer of an operation, as api.yml declares it."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._body = compile_schema(declared["content"][_MEDIA_TYPE]["schema"])
        self._headers = [_Header(name, header) for name, header in declared.get("headers", {}).items()]

    def violations(self, headers: Headers, content: bytes) -> list[Violation]:
        """Return what is wrong with an answer."""
        if headers.get("content-type") != _MEDIA_TYPE:
            return [Violation("header", "/content-type", f"must be {_MEDIA_TYPE}")]
        if headers.get("content-encoding") == "gzip":
            content = decompress(content)
        violations = self._body.violations(orjson.loads(content), "body")
        for header in self._headers:
            violations += header.violations(headers.get(header.name))
        return violations


class ConformanceMiddleware(SpecMiddleware):
    """Holds answers against the contract; outside of the error handlers, whose answers are among them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answers: dict[str, dict[int, _Answer]] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Compile the answers of the contract."""
        for operations in specification["paths"].values():
            for operation in operations.values():
                self._answers[operation["operationId"]] = {
                    int(status): _Answer(declared) for status, declared in operation["responses"].items()
                }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with a 500 in place of an answer that breaks the contract."""
        held: list[Message] = []

        async def checked(message: Message) -> None:
            operation_id = scope.get("extensions", {}).get(ROUTING_CONTEXT, {}).get("operation_id")
            if operation_id is None:
                await send(message)
                return
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                for judged in self._judged(operation_id, held):
                    await send(judged)

        await self._app(scope, receive, checked)

    def _judged(self, operation_id: str, messages: list[Message]) -> list[Message]:
        status = messages[0]["status"]
        answer = self._answers[operation_id].get(status)
        if answer is None:
            violations = [] if status >= _FAILED else [Violation("status", "", "is not documented")]
        else:
            content = b"".join(message.get("body", b"") for message in messages[1:])
            violations = answer.violations(Headers(raw=messages[0]["headers"]), content)
        if not violations:
            return messages
        told = [f"{each.place} {each.pointer} {each.message}" for each in violations[:_TOLD_MAX]]
        _log.error("answer_breaks_contract", extra={"operation": operation_id, "status": status, "violations": told})
        headers = [(b"content-type", _MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(FAILURE))]
        return [
            {"type": "http.response.start", "status": _FAILED, "headers": headers},
            {"type": "http.response.body", "body": FAILURE},
        ]
