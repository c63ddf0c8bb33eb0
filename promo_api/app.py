"""The application: api.yml, the contract layer, and the handlers bound to a runtime."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from starlette.types import ASGIApp

from persistence.companies import Company, find_company
from persistence.users import User, find_user
from promo_api import SPECIFICATION, __version__, metrics
from promo_api.admission import Admission, pool_limits
from promo_api.contract.application import build_application
from promo_api.contract.client_address import ClientAddressMiddleware
from promo_api.contract.observation import Answered, ObservationMiddleware
from promo_api.errors import Unauthenticated
from promo_api.request_log import RequestLog
from promo_api.runtime import Runtime
from promo_api.sweeper import (
    sweeper_of_answers,
    sweeper_of_changes,
    sweeper_of_deletions,
    sweeper_of_standings,
)
from promo_api.tokens import Claims


def create_app(runtime: Runtime) -> ASGIApp:
    """Return the ASGI application.

    Raises:
        contract.application.BrokenContract: api.yml can't be served.
    """
    request_log = RequestLog()
    application = build_application(
        SPECIFICATION,
        package="handlers",
        runtime=runtime,
        authenticate={
            "companyAuth": partial(authenticate_company, runtime),
            "userAuth": partial(authenticate_user, runtime),
        },
        tokens=runtime.tokens,
        pools=pool_limits(runtime.settings),
        admit=Admission(runtime.settings, runtime.rate_limits),
        on_refusal=metrics.request_overloaded,
        lifetime=partial(_serving, runtime, request_log),
        check_answers=runtime.settings.check_answers,
        origins=runtime.settings.origins,
    )
    if runtime.settings.client_address_header:
        application = ClientAddressMiddleware(application, runtime.settings.client_address_header)
    return ObservationMiddleware(application, partial(_observe, request_log), metrics.request_began)


def _observe(request_log: RequestLog, answered: Answered) -> None:
    """Count a request, and write its log line."""
    metrics.request_ended(answered.operation_id, answered.status, answered.duration_s)
    request_log.add(answered)


@contextmanager
def _serving(runtime: Runtime, request_log: RequestLog) -> Iterator[None]:
    """Do what goes on beside requests while a process serves, and close the runtime at the end."""
    sweepers = [
        sweeper_of_answers(runtime.database, runtime.clock),
        sweeper_of_changes(runtime.database),
        sweeper_of_deletions(runtime.database),
        sweeper_of_standings(runtime.database, runtime.today),
    ]
    for sweeper in sweepers:
        sweeper.start()
    try:
        with metrics.worker_serving(__version__, runtime.settings.pool_size, runtime.database.count_lent):
            yield
    finally:
        for sweeper in sweepers:
            sweeper.stop()
        runtime.close()
        request_log.end()


def authenticate_company(runtime: Runtime, claims: Claims) -> Company:
    """Return the company of a token; Unauthenticated if a later sign-in has ended it, or the account is gone."""
    with runtime.database.autocommit() as connection:
        company = find_company(connection, claims.account_id)
    if company is None or company.token_version != claims.version:
        raise _ended()
    return company


def authenticate_user(runtime: Runtime, claims: Claims) -> User:
    """Return the user of a token; Unauthenticated if a later sign-in has ended it, or the account is gone."""
    with runtime.database.autocommit() as connection:
        user = find_user(connection, claims.account_id)
    if user is None or user.token_version != claims.version:
        raise _ended()
    return user


def _ended() -> Unauthenticated:
    return Unauthenticated("This token does not count any more. Sign in for a new one.")
