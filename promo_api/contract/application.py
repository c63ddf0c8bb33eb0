"""The ASGI application, on a Connexion FlaskApp."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from connexion import FlaskApp
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.server_error import ServerErrorMiddleware
from starlette.types import ASGIApp

from promo_api.contract.cross_origin import allow_origins
from promo_api.contract.document import read_document
from promo_api.contract.documentation import DocumentationMiddleware
from promo_api.contract.error_responses import add_error_handlers, internal_error
from promo_api.contract.flask_views import KnownView, make_view, run_wsgi, view_finder
from promo_api.contract.handler_resolver import HandlerResolver
from promo_api.contract.response_validation import ResponseValidationMiddleware
from promo_api.contract.routing import RoutingMiddleware
from promo_api.contract.security import Scheme, SecurityMiddleware
from promo_api.contract.security_headers import SecurityHeadersMiddleware
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import Admit, ThreadPools
from promo_api.contract.validation import ValidationMiddleware


class BrokenContract(Exception):
    """The specification is not valid OpenAPI, or it names something that does not exist."""


def build_application(  # noqa: PLR0913 each part of an application
    specification: Path,
    *,
    package: str,
    runtime: object,
    schemes: Mapping[str, Scheme],
    pools: Mapping[str, PoolLimits],
    admit: Admit,
    lifespan: Callable[[], AbstractContextManager[object]],
    on_refusal: Callable[[str, str], None] = lambda _pool, _reason: None,
    after_write: Callable[[Any], None] | None = None,
    validate_responses: bool = False,
    origins: Sequence[str] = (),
    cross_origin_headers: Sequence[str] = (),
    pages: Mapping[str, ASGIApp] = MappingProxyType({}),
) -> ASGIApp:
    """Build an ASGI application that serves an OpenAPI 3.0 file.

    `package` contains the modules of the operationIds, and `runtime` is the first argument of every handler. Operations
    without `x-thread-pool` use the pool `default`. `on_refusal` gets a pool and the reason, `full` or `timeout`.
    `after_write` gets the account after each successful write of one, before the response is sent.
    `pages` are served besides, by path.

    Raises:
        BrokenContract: the specification can't be served.
    """
    closing = ExitStack()
    app = FlaskApp(
        __name__,
        lifespan=_lifespan(lifespan, closing),
        middlewares=_middlewares(schemes, pages, validate_responses=validate_responses),
        resolver=HandlerResolver(package, runtime, after_write),
    )
    add_error_handlers(app)
    try:
        app.add_api(read_document(specification))
        closing.callback(_connect(app, pools, admit, on_refusal).close)
    except Exception as error:
        raise BrokenContract(f"{specification.name} can't be served: {_one_line(error)}") from error
    return SecurityHeadersMiddleware(allow_origins(app, origins, cross_origin_headers))


def _middlewares(
    schemes: Mapping[str, Scheme], pages: Mapping[str, ASGIApp], *, validate_responses: bool
) -> list[Callable[..., ASGIApp]]:
    """Return the middlewares, the outermost first."""
    return [
        *([ResponseValidationMiddleware] if validate_responses else []),
        partial(ServerErrorMiddleware, handler=internal_error),
        ExceptionMiddleware,
        partial(DocumentationMiddleware, pages=pages),
        RoutingMiddleware,
        partial(SecurityMiddleware, schemes=schemes),
        ValidationMiddleware,
        LifespanMiddleware,
    ]


def _one_line(error: Exception) -> str:
    message = str(getattr(error, "message", "") or error)
    return f"{' '.join(message.split())} ({type(error).__name__})"


def _connect(
    app: FlaskApp, limits: Mapping[str, PoolLimits], admit: Admit, on_refusal: Callable[[str, str], None]
) -> ThreadPools:
    """Replace Connexion's views and threads by ours.

    Build the middlewares now, so that an error in the specification stops the start.
    """
    middleware = app.middleware
    middleware.app, middleware.middleware_stack = middleware._build_middleware_stack()  # noqa: SLF001 there is no public way
    views, known, pools = app.app.view_functions, {}, {}
    for rule in app.app.url_map.iter_rules():
        operation = views[rule.endpoint]
        if hasattr(operation, "operation_id"):
            handler = operation.__wrapped__
            views[rule.endpoint] = make_view(handler)
            known[operation.operation_id] = KnownView(rule)
            pools[operation.operation_id] = handler.thread_pool
    app.app.create_url_adapter = view_finder(known)
    thread_pools = ThreadPools(partial(run_wsgi, app.app.wsgi_app), limits, pools, admit=admit, on_refusal=on_refusal)
    app._middleware_app.asgi_app = thread_pools  # noqa: SLF001 there is no public way to replace Connexion's a2wsgi
    return thread_pools


def _lifespan(
    lifespan: Callable[[], AbstractContextManager[object]], closing: ExitStack
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(_app: object) -> AsyncIterator[None]:
        with lifespan(), closing:
            yield

    return run
