"""The validation of requests, on the event loop.

If an operation needs an account, its thread authenticates it before it raises the refusal: 401 outranks 400.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.bodies import BodyMemory, MemoryShare, make_body
from promo_api.contract.media_types import JSON, ResponseTypes
from promo_api.contract.operations import Operation, operation_id_of, operations_of
from promo_api.contract.parameters import Header, Parameter, Query
from promo_api.contract.schemas import MAX_VIOLATIONS
from promo_api.contract.sender import sender_of
from promo_api.contract.streams import StreamedBody
from promo_api.errors import InvalidInput, Violation

_CALL = "contract.call"
_BODY_MEMORY = BodyMemory()


@dataclass
class Call:
    """A validated request.

    Attributes:
        arguments: valid values by name, converted.
        refusal: None if the request is valid.
        is_streamed: whether its body, or that of its response, is streamed.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    refusal: Exception | None = None
    is_streamed: bool = False


def call_of(scope: Scope) -> Call:
    """Return the call of a request."""
    call: Call = scope["extensions"][_CALL]
    return call


class ValidationMiddleware(SpecMiddleware):
    """Validates requests, and stores the `Call` in the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._validators: dict[str, _RequestValidator] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Compile the schemas; ValueError if one is not supported."""
        for operation in operations_of(specification):
            self._validators[operation.id] = _RequestValidator(operation)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Validate a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        validator = self._validators[operation_id_of(scope)]
        with MemoryShare(_BODY_MEMORY, sender_of(scope)) as share:
            try:
                scope["extensions"][_CALL] = await validator.validate(scope, receive, share)
            except ClientDisconnect:
                return
            await self._app(scope, receive, send)


class _RequestValidator:
    """Validates the requests of one operation."""

    def __init__(self, operation: Operation) -> None:
        parameters = [Parameter(declared) for declared in operation.parameters]
        unsupported = {parameter.location for parameter in parameters} - {"path", "query", "header"}
        if unsupported:
            raise ValueError(f"parameters in {', '.join(unsupported)} are not supported: {operation.id}")
        self._path = [parameter for parameter in parameters if parameter.location == "path"]
        if {*re.findall(r"\{([^}]*)\}", operation.path)} != {parameter.name for parameter in self._path}:
            raise ValueError(f"{operation.id} must declare the parameters of its path, {operation.path}")
        self._query = Query([parameter for parameter in parameters if parameter.location == "query"])
        self._headers = [Header(parameter) for parameter in parameters if parameter.location == "header"]
        self._body = make_body(operation.request_body) if operation.request_body else None
        self._response_types = ResponseTypes(operation.responses)
        self._needs_account = bool(operation.schemes)

    async def validate(self, scope: Scope, receive: Receive, share: MemoryShare) -> Call:
        """Return the validated request; raises InvalidInput, HTTPException and Overloaded."""
        call = Call()
        try:
            await self._read(scope, receive, share, call.arguments)
        except (InvalidInput, HTTPException) as refusal:
            if not self._needs_account:
                raise
            call.refusal = refusal
        else:
            self._select(scope, call)
        return call

    def _select(self, scope: Scope, call: Call) -> None:
        """Choose the media type of the response, and find out whether anything is streamed."""
        if self._response_types.has_streams:
            media_type = self._response_types.choose(scope["headers"])
            call.is_streamed = media_type != JSON
            if self._response_types.has_several:
                call.arguments["media_type"] = media_type
        if isinstance(call.arguments.get("body"), StreamedBody):
            call.is_streamed = True

    async def _read(self, scope: Scope, receive: Receive, share: MemoryShare, arguments: dict[str, Any]) -> None:
        violations: list[Violation] = []
        for parameter in self._path:
            violations += parameter.read([scope["path_params"][parameter.name]], arguments)
        violations += self._query.read(scope["query_string"], arguments)
        for header in self._headers:
            violations += header.read(scope["headers"], arguments)
        if self._body is not None:
            violations += await self._body.read(scope, receive, arguments, share)
        if violations:
            raise InvalidInput("The request is not valid. See `details`.", violations[:MAX_VIOLATIONS])
