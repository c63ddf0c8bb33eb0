"""The form of a request, checked on the event loop before a thread is taken for it.

Who asks comes before how it is asked: a bad request with a token that a later sign-in ended is a 401, not a 400.
Whether a token has ended only the database knows, and that is asked in the handler's thread. So what is wrong with a
request of a secured operation is not told here, but carried along in its `Call` until that is known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
from connexion.operations import AbstractOperation
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.bodies import BodyMemory, HeldBody, JsonBody
from promo_api.contract.client_address import client_address
from promo_api.contract.parameters import Header, Parameter, Query
from promo_api.contract.schemas import VIOLATIONS_MAX
from promo_api.contract.sender import sender_of
from promo_api.errors import InvalidInput, Violation

_CALL = "promo_api_call"
_BODY_MEMORY = BodyMemory()


@dataclass
class Call:
    """A request on its way to its handler.

    Attributes:
        arguments: what api.yml declares, by name: checked and converted.
        refusal: what is wrong with the form of the request; None: nothing.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    refusal: Exception | None = None


def call_of(scope: Scope) -> Call:
    """Return the call that validation left in the scope of a request."""
    call: Call = scope["extensions"][_CALL]
    return call


class _Operation:
    """The form that requests of one operation must have."""

    def __init__(self, next_app: ASGIApp, operation: AbstractOperation) -> None:
        self._next_app = next_app
        parameters = [Parameter(declared) for declared in operation.parameters]
        unsupported = {parameter.place for parameter in parameters} - {"path", "query", "header"}
        if unsupported:
            raise ValueError(f"parameters in {', '.join(unsupported)} are not supported: {operation.operation_id}")
        self._path = [parameter for parameter in parameters if parameter.place == "path"]
        named = set(re.findall(r"\{([^}]*)\}", operation.path))
        if named != {parameter.name for parameter in self._path}:
            raise ValueError(f"{operation.operation_id} must declare the parameters of its path, {operation.path}")
        self._query = Query([parameter for parameter in parameters if parameter.place == "query"])
        self._headers = [Header(parameter) for parameter in parameters if parameter.place == "header"]
        self._body = JsonBody(operation.request_body) if operation.request_body else None
        self._secured = bool(operation.security)
        self._tells_address = bool(declaration_of(operation).get("x-client-address"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._body is None:
            await self._respond(scope, receive, send, None)
            return
        with HeldBody(_BODY_MEMORY, sender_of(scope)) as held:
            await self._respond(scope, receive, send, held)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, held: HeldBody | None) -> None:
        call = Call()
        try:
            await self._read(scope, receive, call, held)
        except ClientDisconnect:
            return
        except (InvalidInput, HTTPException) as refusal:
            if not self._secured:
                raise
            call.refusal = refusal
        if self._tells_address:
            call.arguments["client_address"] = client_address(scope)
        scope["extensions"][_CALL] = call
        await self._next_app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, call: Call, held: HeldBody | None) -> None:
        violations: list[Violation] = []
        for parameter in self._path:
            violations += parameter.read([scope["path_params"][parameter.name]], call.arguments)
        violations += self._query.read(scope["query_string"], call.arguments)
        for header in self._headers:
            violations += header.read(scope["headers"], call.arguments)
        if self._body is not None and held is not None:
            violations += await self._body.read(scope, receive, call.arguments, held)
        if violations:
            raise InvalidInput("The request is not valid: see the details.", violations[:VIOLATIONS_MAX])


def declaration_of(operation: AbstractOperation) -> Mapping[str, Any]:
    """Return an operation as api.yml declares it, with its extensions."""
    declaration: Mapping[str, Any] = operation._operation  # noqa: SLF001 Connexion has no public way to extensions
    return declaration


class _Api(RoutedAPI[_Operation]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_paths()

    def make_operation(self, operation: AbstractOperation) -> _Operation:
        return _Operation(self.next_app, operation)


class ValidationMiddleware(RoutedMiddleware[_Api]):
    """Takes the place of Connexion's RequestValidationMiddleware."""

    api_cls = _Api
