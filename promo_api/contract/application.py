"""The layer, put together on a Connexion FlaskApp."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from connexion import FlaskApp
from connexion.middleware.context import ContextMiddleware
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.security import SecurityMiddleware
from connexion.middleware.server_error import ServerErrorMiddleware
from starlette.types import ASGIApp

from promo_api.contract.binding import Authenticate, BearerHandler, HandlerResolver
from promo_api.contract.bridge import FoundView, make_view, view_finder
from promo_api.contract.conformance import ConformanceMiddleware
from promo_api.contract.cross_origin import allow_origins
from promo_api.contract.documentation import DocumentationMiddleware
from promo_api.contract.responses import add_error_handlers, broken
from promo_api.contract.routing import RoutingMiddleware
from promo_api.contract.security_headers import SecurityHeadersMiddleware
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import Admit, ThreadPools
from promo_api.contract.validation import ValidationMiddleware

# From the outside in: what Connexion has by default, with ours in place of what is too loose or too slow.
_MIDDLEWARES = (
    partial(ServerErrorMiddleware, handler=broken),
    ExceptionMiddleware,
    DocumentationMiddleware,
    RoutingMiddleware,
    SecurityMiddleware,
    ValidationMiddleware,
    LifespanMiddleware,
    ContextMiddleware,
)


class BrokenContract(Exception):
    """The contract can't be served as it is written: it is no OpenAPI, or names what does not exist."""


def build_application(  # noqa: PLR0913 all that an application is put together from
    specification: Path,
    *,
    package: str,
    runtime: object,
    authenticate: Mapping[str, Authenticate],
    tokens: object,
    pools: Mapping[str, PoolLimits],
    admit: Admit,
    lifetime: Callable[[], AbstractContextManager[object]],
    on_refusal: Callable[[str, str], None] = lambda _pool, _reason: None,
    check_answers: bool = False,
    origins: Sequence[str] = (),
) -> ASGIApp:
    """Build an ASGI application that serves a contract.

    Args:
        specification: the OpenAPI 3.0 file.
        package: where the modules of the operationIds are.
        runtime: the first argument of every handler.
        authenticate: by security scheme: what makes the account that asks out of what its token says.
        tokens: the first argument of the functions that the security schemes name to read a token.
        pools: the limits of each thread pool. An operation names its pool as `x-thread-pool`; without it, its pool is
            `default`. `event-loop` is no pool: the handler waits for nothing and runs on the event loop.
        admit: decides on arrival where a request comes from, or refuses it.
        lifetime: makes what is entered when a process begins to serve, and left when it has served its last request.
        on_refusal: called with the name of a pool and a word for the reason, `full` or `timeout`.
        check_answers: whether answers are held against the contract too.
        origins: whose pages browsers may let call the application; `*` is any.

    Raises:
        BrokenContract: with a sentence that says what is wrong with the contract.
    """
    closing = ExitStack()
    app = FlaskApp(
        __name__,
        specification_dir=specification.parent,
        lifespan=_lifespan(lifetime, closing),
        middlewares=[*((ConformanceMiddleware,) if check_answers else ()), *_MIDDLEWARES],
        resolver=HandlerResolver(package, runtime, authenticate),
        security_map={"bearer": lambda: BearerHandler(tokens)},
    )
    add_error_handlers(app)
    try:
        app.add_api(specification.name)
        closing.callback(_connect(app, pools, admit, on_refusal).close)
    except Exception as error:
        raise BrokenContract(f"{specification.name} can't be served: {_sentence(error)}") from error
    return SecurityHeadersMiddleware(allow_origins(app, origins))


def _sentence(error: Exception) -> str:
    """Return what an error says, in one line; those of schemas have a short form of it."""
    said = str(getattr(error, "message", "") or error)
    return f"{' '.join(said.split())} ({type(error).__name__})"


def _connect(
    app: FlaskApp, limits: Mapping[str, PoolLimits], admit: Admit, on_refusal: Callable[[str, str], None]
) -> ThreadPools:
    """Build the stack now and not at the first request, so that broken wiring stops the start."""
    middleware = app.middleware
    middleware.app, middleware.middleware_stack = middleware._build_middleware_stack()  # noqa: SLF001 there is no public way
    views, found, choices = app.app.view_functions, {}, {}
    for rule in app.app.url_map.iter_rules():
        operation = views[rule.endpoint]
        if hasattr(operation, "operation_id"):
            views[rule.endpoint] = make_view(operation.__wrapped__)
            found[operation.operation_id] = FoundView(rule)
            choices[operation.operation_id] = operation.__wrapped__.pool
    app.app.create_url_adapter = view_finder(found)
    pools = ThreadPools(app.app.wsgi_app, limits, choices, admit=admit, on_refusal=on_refusal)
    app._middleware_app.asgi_app = pools  # noqa: SLF001 there is no public way to replace Connexion's a2wsgi
    return pools


def _lifespan(
    lifetime: Callable[[], AbstractContextManager[object]], closing: ExitStack
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        with lifetime(), closing:
            yield

    return lifespan
