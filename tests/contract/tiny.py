"""Small contracts, made up by tests, and the applications that serve them."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from promo_api.contract.application import build_application
from promo_api.contract.fair_queue import Source
from promo_api.contract.security import BearerScheme
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import Admit, RequestInfo
from promo_api.errors import Unauthenticated

HANDLERS = "tests.contract.doubles"
BEARER = {"type": "http", "scheme": "bearer"}
GOOD_TOKEN, ENDED_TOKEN = "good", "good, but ended by a later sign-in"

SOURCE = Source("everyone", None, 1000)

Operation = dict[str, Any]


def operation(operation_id: str = "echo.show", **more: Any) -> Operation:
    """Return an operation; `more` as OpenAPI has it."""
    return {"operationId": operation_id, "responses": {"200": {"description": "It went well."}}, **more}


def query(name: str, schema: Mapping[str, Any], *, place: str = "query", **more: Any) -> dict[str, Any]:
    """Return a parameter."""
    return {"name": name, "in": place, "schema": schema, **more}


def json_body(schema: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return the body of a request."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def contract(paths: Mapping[str, Mapping[str, Operation]], **components: Any) -> dict[str, Any]:
    """Return a whole contract."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Tiny", "version": "1"},
        "servers": [{"url": "/api"}],
        "paths": paths,
        "components": {"securitySchemes": {"account": BEARER}, **components},
    }


def read_token(token: str) -> str | None:
    """Return the claims of a token; a valid one says so itself."""
    return token if token.startswith(GOOD_TOKEN) else None


def authenticate(claims: str) -> str:
    """Return the account of a token that was not revoked."""
    if claims == ENDED_TOKEN:
        raise Unauthenticated("This token has been revoked.")
    return f"account of {claims}"


SCHEMES = {"account": BearerScheme(read_token, authenticate)}


def pool_limits(threads: int, *, places: int = 1000, member_places: int = 1000, wait_s: float = 60) -> PoolLimits:
    """Return limits of a thread pool that no test meets by accident."""
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
    validate_responses: bool = False,
    origins: Sequence[str] = (),
) -> ASGIApp:
    """Write a contract into a file, and return the application that serves it.

    Args:
        file: where to write it.
        document: the contract, or what stands in the file instead of one.
        runtime: what handlers get first.
        threads: how many handlers run at once.
        pools: the same for pools with another name than `default`; None: there are none.
        admit: decides where a request comes from.
        lifespan: makes the context around the service.
        validate_responses: whether responses are validated too.
        origins: whose pages may call it.
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
        validate_responses=validate_responses,
        origins=origins,
    )
