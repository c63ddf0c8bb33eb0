"""The ASGI application: api.yml, the contract layer and the handlers."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from starlette.types import ASGIApp

from persistence.accounts.companies import Company, find_company
from persistence.accounts.users import User, find_user
from promo_api import SPECIFICATION, __version__
from promo_api.admission import Admission, pool_limits
from promo_api.background import BackgroundJob
from promo_api.code_jobs.runner import code_jobs
from promo_api.config.values import LogFormat
from promo_api.console.pages import console_pages
from promo_api.contract.application import build_application
from promo_api.contract.client_address import ClientAddressMiddleware
from promo_api.contract.security import BearerScheme, KeyScheme
from promo_api.errors import ServiceUnavailable
from promo_api.event_sweepers import ended_promos_sweeper, events_backlog_job, events_sweeper, old_events_sweeper
from promo_api.health import Health
from promo_api.inventory import InventoryJob
from promo_api.key_authentication import authenticate_key, key_uses_job, store_key_uses
from promo_api.runtime import Runtime
from promo_api.security.tokens import Claims, check_token_version
from promo_api.specification import KEY_SCOPES
from promo_api.sweeper import (
    account_deletions_sweeper,
    account_writes_sweeper,
    activity_backfills_sweeper,
    category_keys_sweeper,
    earlier_events_sweeper,
    expired_responses_sweeper,
    feed_changes_sweeper,
    feed_status_sweeper,
    job_files_sweeper,
    reset_mails_sweeper,
    search_words_sweeper,
)
from promo_api.telemetry import metrics
from promo_api.telemetry.request_log import RequestLog
from promo_api.telemetry.requests import InstrumentationMiddleware, RequestFinished
from promo_api.webhook_sweepers import (
    deleted_webhooks_sweeper,
    redeliveries_sweeper,
    webhook_mails_sweeper,
    webhook_secrets_sweeper,
    webhooks_job,
)
from promo_api.webhooks.job import WebhookJob

_WATCH_EVERY_S, _WATCH_BACKOFF_MAX_S = 5.0, 15.0


def create_app(runtime: Runtime) -> ASGIApp:
    """Return the ASGI application.

    Raises:
        contract.application.BrokenContract: api.yml and the handlers do not match.
    """
    request_log = RequestLog(with_paths=runtime.settings.log_format is LogFormat.DEV)
    application = build_application(
        SPECIFICATION,
        package="handlers",
        runtime=runtime,
        schemes={
            "companyAuth": BearerScheme(
                partial(runtime.tokens.read, kind="company"), partial(authenticate_company, runtime)
            ),
            "companyKey": KeyScheme(runtime.api_keys.read, partial(authenticate_key, runtime), KEY_SCOPES),
            "userAuth": BearerScheme(partial(runtime.tokens.read, kind="user"), partial(authenticate_user, runtime)),
        },
        pools=pool_limits(runtime.settings),
        admit=Admission(runtime.settings, runtime.rate_limits),
        on_refusal=metrics.request_overloaded,
        after_write=partial(_record_write, runtime) if runtime.replicas.are_configured else None,
        lifespan=partial(_run_jobs, runtime, request_log),
        validate_responses=runtime.settings.validate_responses,
        origins=runtime.settings.origins,
        cross_origin_headers=runtime.settings.cross_origin_headers,
        pages=console_pages() if runtime.settings.console else {},
    )
    if runtime.settings.client_address_header:
        application = ClientAddressMiddleware(application, runtime.settings.client_address_header)
    return InstrumentationMiddleware(application, partial(_finish, request_log), metrics.request_started)


def _record_write(runtime: Runtime, account: Company | User) -> None:
    runtime.replicas.record_write(account.id)


def _finish(request_log: RequestLog, request: RequestFinished) -> None:
    """Count a finished request and log it."""
    metrics.request_finished(request.operation_id, request.status, request.duration_s)
    request_log.add(request)


@contextmanager
def _run_jobs(runtime: Runtime, request_log: RequestLog) -> Iterator[None]:
    """Run the background jobs, and close the runtime at the end."""
    jobs = background_jobs(runtime)
    for job in jobs:
        job.start(runtime.health.had_postgres_outage)
    try:
        with metrics.worker_serving(__version__, runtime.settings.pool_size, runtime.database.count_connections_in_use):
            yield
    finally:
        for job in jobs:  # all at once
            job.begin_stop()
        for job in jobs:
            job.stop()
        with suppress(Exception):
            store_key_uses(runtime.api_keys, runtime.database)
        runtime.close()
        request_log.end()


def background_jobs(runtime: Runtime) -> list[BackgroundJob]:
    """Return the background jobs of a worker, not yet started."""
    jobs: list[BackgroundJob] = [
        BackgroundJob("postgres", partial(_watch_postgres, runtime.health), _WATCH_EVERY_S, _WATCH_BACKOFF_MAX_S),
        expired_responses_sweeper(runtime.database, runtime.clock),
        feed_changes_sweeper(runtime.database),
        account_deletions_sweeper(runtime.database, runtime.forget_user),
        earlier_events_sweeper(runtime.database),
        feed_status_sweeper(runtime.database, runtime.today),
        category_keys_sweeper(runtime.database, runtime.today),
        job_files_sweeper(runtime.database, runtime.clock),
        code_jobs(runtime.database, runtime.today),
        search_words_sweeper(runtime.database),
        activity_backfills_sweeper(runtime.database),
        key_uses_job(runtime.api_keys, runtime.database),
        reset_mails_sweeper(runtime.settings, runtime.database, runtime.clock),
        events_sweeper(runtime.database),
        ended_promos_sweeper(runtime.database, runtime.today),
        old_events_sweeper(runtime.database, runtime.clock, runtime.settings.events_days),
        deleted_webhooks_sweeper(runtime.database),
        redeliveries_sweeper(runtime.database),
        webhook_secrets_sweeper(runtime.database, runtime.webhook_secrets),
        webhook_mails_sweeper(runtime.settings, runtime.database, runtime.clock),
        WebhookJob(runtime.settings, runtime.database),
    ]
    if runtime.replicas.are_configured:
        jobs.append(account_writes_sweeper(runtime.database))
    if runtime.settings.metrics_address is not None:
        jobs.append(InventoryJob(runtime.settings, runtime.database, runtime.today))
        jobs.append(events_backlog_job(runtime.database))
        jobs.append(webhooks_job(runtime.database))
    return jobs


def _watch_postgres(health: Health) -> bool:
    """Make `health` log an outage and its end, even without requests. An error makes the job retry with backoff."""
    if not health.is_postgres_usable():
        raise ServiceUnavailable("", reason="PostgreSQL is unavailable")
    return False


def authenticate_company(runtime: Runtime, claims: Claims) -> Company:
    """Return the company of a token. Raise Unauthenticated if it was deleted or the token was revoked."""
    with runtime.database.autocommit() as connection:
        company = find_company(connection, claims.account_id)
    return check_token_version(company, claims.version)


def authenticate_user(runtime: Runtime, claims: Claims) -> User:
    """Return the user of a token. Raise Unauthenticated if it was deleted or the token was revoked."""
    with runtime.database.autocommit() as connection:
        user = find_user(connection, claims.account_id)
    return check_token_version(user, claims.version)
