"""Small APIs for tests: their specifications, and the applications that serve them."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.types import ASGIApp

from promo_api.contract.application import build_application
from promo_api.contract.fair_queue import Source
from promo_api.contract.security import BearerScheme, KeyScheme
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import Admit, RequestInfo
from promo_api.errors import ScopeMissing, Unauthenticated

HANDLERS = "tests.contract.handlers"
BEARER = {"type": "http", "scheme": "bearer"}
API_KEY = {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
GOOD_KEY, REVOKED_KEY = "good key", "good key that was revoked"
GOOD_TOKEN, REVOKED_TOKEN = "good", "good, but revoked by a later sign-in"

SOURCE = Source("all requests", None, 1000)

Operation = dict[str, Any]


def operation(operation_id: str = "echo.show", **more: Any) -> Operation:
    """Return an operation; `more` has other fields of OpenAPI."""
    return {"operationId": operation_id, "responses": {"200": {"description": "Success."}}, **more}


def query(name: str, schema: Mapping[str, Any], *, place: str = "query", **more: Any) -> dict[str, Any]:
    """Return a parameter; `place` is its `in`."""
    return {"name": name, "in": place, "schema": schema, **more}


def json_body(schema: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return the body of a request."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def contract(paths: Mapping[str, Mapping[str, Operation]], **components: Any) -> dict[str, Any]:
    """Return a specification."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Tiny", "version": "1"},
        "servers": [{"url": "/api"}],
        "paths": paths,
        "components": {"securitySchemes": {"account": BEARER, "program": API_KEY}, **components},
    }


def read_token(token: str) -> str:
    """Return the claims of a token."""
    if not token.startswith(GOOD_TOKEN):
        raise Unauthenticated("This token is not valid.", code="token_invalid")
    return token


def authenticate(claims: str) -> str:
    """Return the account of a token that was not revoked."""
    if claims == REVOKED_TOKEN:
        raise Unauthenticated("This token has been revoked.", code="token_revoked")
    return f"account of {claims}"


def read_key(key: str) -> str:
    """Return the claims of a key."""
    if not key.startswith(GOOD_KEY):
        raise Unauthenticated.key_invalid()
    return key


def authenticate_key(claims: str, scope: str) -> str:
    """Return the account of a key with the scope `read` that was not revoked."""
    if claims == REVOKED_KEY:
        raise Unauthenticated.key_revoked()
    if scope != "read":
        raise ScopeMissing("This key may only read.")
    return f"account of {claims}"


SCHEMES = {
    "account": BearerScheme(read_token, authenticate),
    "program": KeyScheme(read_key, authenticate_key, ("read", "write")),
}


def pool_limits(threads: int, *, places: int = 1000, member_places: int = 1000, wait_s: float = 60) -> PoolLimits:
    """Return limits of a thread pool; the defaults are never reached."""
    return PoolLimits(threads, places, member_places, wait_s)


def one_source(request: RequestInfo) -> tuple[str, Source]:
    """Let all requests come from one source, which may fill every thread."""
    return request.pool, SOURCE


def serve(
    file: Path,
    document: Mapping[str, Any] | str | bytes,
    *,
    runtime: object = None,
    threads: int = 4,
    pools: Mapping[str, int] | None = None,
    admit: Admit = one_source,
    lifespan: Callable[[], AbstractContextManager[object]] = nullcontext,
    after_write: Callable[[Any], None] | None = None,
    validate_responses: bool = False,
    origins: Sequence[str] = (),
    cross_origin_headers: Sequence[str] = (),
    pages: Mapping[str, ASGIApp] = MappingProxyType({}),
) -> ASGIApp:
    """Write a specification to a file, and return the application that serves it.

    Args:
        file: the path of the specification.
        document: the specification, or other content of the file.
        runtime: the first argument of handlers.
        threads: of the pool `default`.
        pools: the number of threads of other pools, by name.
        admit: decides the thread pool and the source of a request.
        lifespan: makes the context around the service.
        after_write: gets the account after each successful write of one.
        validate_responses: whether responses are validated too.
        origins: the origins whose pages may call the application.
        cross_origin_headers: further headers that these pages may send.
        pages: other pages, by path.
    """
    text = json.dumps(document) if isinstance(document, Mapping) else document
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return build_application(
        file,
        package=HANDLERS,
        runtime=runtime,
        schemes=SCHEMES,
        pools={name: pool_limits(size) for name, size in {"default": threads, **(pools or {})}.items()},
        admit=admit,
        lifespan=lifespan,
        after_write=after_write,
        validate_responses=validate_responses,
        origins=origins,
        cross_origin_headers=cross_origin_headers,
        pages=pages,
    )
