"""Allowed imports: a table of packages, a table of libraries, and rules that the tables do not show."""

import sys

from tests.unit.source import PACKAGES, files, imported, imported_names

# Each package, or module outside of a package, and what it may import of this project besides itself.
ALLOWED = {
    "promo_api": "",
    "promo_api.errors": "",
    "promo_api.config": "",
    "promo_api.circuit_breaker": "",
    "promo_api.folding": "",
    "promo_api.short_turns": "",
    "promo_api.specification": "promo_api promo_api.contract",
    "promo_api.backoff": "",
    "promo_api.background": "promo_api.backoff promo_api.errors",
    "promo_api.redis_client": "promo_api.config",
    "promo_api.contract": "promo_api.contract.streams promo_api.errors",
    # The bodies that handlers read and return.
    "promo_api.contract.streams": "promo_api.contract",
    "promo_api.console": "promo_api.contract",
    "promo_api.telemetry": "promo_api.background promo_api.config promo_api.contract promo_api.specification",
    "promo_api.coalescing": "promo_api.telemetry",
    "promo_api.antifraud": (
        "promo_api.circuit_breaker promo_api.config promo_api.errors promo_api.redis_client promo_api.telemetry"
    ),
    "promo_api.security": (
        "promo_api.antifraud promo_api.config promo_api.contract promo_api.errors promo_api.folding "
        "promo_api.redis_client promo_api.specification promo_api.telemetry"
    ),
    "persistence": "",
    "persistence.schema": "",
    "persistence.conditions": "persistence.database persistence.schema",
    "persistence.database": (
        "persistence.schema promo_api.circuit_breaker promo_api.config promo_api.errors promo_api.telemetry"
    ),
    "persistence.pages": "persistence.database",
    "persistence.search": "persistence.schema promo_api.folding",
    "persistence.migrations": "persistence.database persistence.schema",
    "persistence.consistency": "persistence.database persistence.schema",
    "persistence.distribution": "persistence.database",
    "persistence.user_uses": "persistence.database persistence.schema",
    "persistence.accounts": (
        "persistence.database persistence.pages persistence.schema persistence.user_uses promo_api.folding"
    ),
    "persistence.feeds": (
        "persistence.conditions persistence.database persistence.pages persistence.schema persistence.search "
        "persistence.user_uses promo_api.folding"
    ),
    "persistence.promos": (
        "persistence.conditions persistence.database persistence.pages persistence.schema persistence.search "
        "promo_api.folding"
    ),
    "persistence.activations": "persistence.conditions persistence.database persistence.schema",
    "persistence.activity": "persistence.database persistence.schema",
    "persistence.activity_backfills": "persistence.database",
    "persistence.comments": "persistence.database persistence.pages persistence.schema",
    "persistence.comment_reports": "persistence.database persistence.pages persistence.schema",
    "persistence.events": "persistence.conditions persistence.database persistence.pages persistence.schema",
    "persistence.idempotency": "persistence.database persistence.schema",
    "persistence.account_writes": "persistence.database persistence.schema",
    "persistence.jobs": "persistence.database persistence.pages persistence.schema",
    "persistence.likes": "persistence.database",
    "persistence.redemptions": "persistence.database persistence.pages persistence.schema",
    "persistence.webhooks": (
        "persistence.accounts persistence.conditions persistence.database persistence.pages persistence.schema"
    ),
    "promo_api.code_jobs": (
        "persistence.accounts persistence.database persistence.feeds persistence.jobs persistence.promos "
        "promo_api.background promo_api.contract promo_api.errors promo_api.folding promo_api.short_turns "
        "promo_api.specification promo_api.telemetry"
    ),
    "promo_api.mail": (
        "persistence.accounts persistence.database persistence.webhooks promo_api.backoff promo_api.config "
        "promo_api.security promo_api.telemetry"
    ),
    "promo_api.webhooks": (
        "handlers persistence.database persistence.events persistence.webhooks promo_api promo_api.background "
        "promo_api.backoff promo_api.config promo_api.errors promo_api.security promo_api.telemetry"
    ),
    "promo_api.failure_messages": "persistence.database promo_api.errors",
    "promo_api.clocks": "",
    "promo_api.replicas": (
        "persistence.account_writes persistence.database promo_api.circuit_breaker promo_api.config promo_api.errors "
        "promo_api.telemetry"
    ),
    "promo_api.replica_check": (
        "persistence.database promo_api.config promo_api.errors promo_api.failure_messages promo_api.replicas"
    ),
    "promo_api.health": (
        "persistence.database promo_api.antifraud promo_api.config promo_api.failure_messages promo_api.specification"
    ),
    "promo_api.runtime": (
        "persistence.database persistence.promos promo_api.antifraud promo_api.coalescing promo_api.config "
        "promo_api.health promo_api.replicas promo_api.security"
    ),
    "handlers": (
        "persistence.accounts persistence.activations persistence.activity persistence.comment_reports "
        "persistence.comments persistence.events persistence.feeds persistence.idempotency persistence.jobs "
        "persistence.likes persistence.pages persistence.promos persistence.redemptions "
        "persistence.search persistence.webhooks promo_api.code_jobs promo_api.contract.streams promo_api.errors "
        "promo_api.folding promo_api.health promo_api.runtime promo_api.security promo_api.short_turns "
        "promo_api.specification promo_api.telemetry promo_api.time_buckets"
    ),
    "promo_api.time_buckets": "",
    "promo_api.admission": "promo_api.config promo_api.contract promo_api.folding promo_api.security",
    "promo_api.sweeper": (
        "persistence.account_writes persistence.accounts persistence.activity_backfills persistence.database "
        "persistence.feeds persistence.idempotency persistence.jobs persistence.promos persistence.search "
        "promo_api.background promo_api.config promo_api.folding promo_api.mail promo_api.telemetry"
    ),
    "promo_api.event_sweepers": (
        "persistence.database persistence.events promo_api.background promo_api.sweeper promo_api.telemetry"
    ),
    "promo_api.webhook_sweepers": (
        "persistence.database persistence.webhooks promo_api.background promo_api.config promo_api.mail "
        "promo_api.security promo_api.sweeper promo_api.telemetry"
    ),
    "promo_api.inventory": (
        "persistence.database persistence.promos promo_api.background promo_api.config promo_api.redis_client "
        "promo_api.telemetry"
    ),
    "promo_api.key_authentication": (
        "persistence.accounts persistence.database promo_api.background promo_api.errors promo_api.runtime "
        "promo_api.security"
    ),
    # `app` names the handlers as a string: Connexion imports them by operationId.
    "promo_api.app": (
        "persistence.accounts promo_api promo_api.admission promo_api.background promo_api.code_jobs promo_api.config "
        "promo_api.console promo_api.contract promo_api.errors promo_api.event_sweepers promo_api.health "
        "promo_api.inventory promo_api.key_authentication promo_api.runtime promo_api.security "
        "promo_api.specification promo_api.sweeper promo_api.telemetry promo_api.webhook_sweepers promo_api.webhooks"
    ),
    "promo_api.server": "promo_api.config promo_api.contract promo_api.contract.streams promo_api.telemetry",
    "promo_api.distribute": (
        "persistence.database persistence.distribution promo_api.config promo_api.errors promo_api.failure_messages"
    ),
    "promo_api.stored_counts": ("persistence.accounts persistence.consistency persistence.database persistence.feeds"),
    "promo_api.check": (
        "persistence.database persistence.distribution persistence.webhooks promo_api.antifraud promo_api.app "
        "promo_api.clocks promo_api.config promo_api.contract promo_api.errors promo_api.failure_messages "
        "promo_api.mail promo_api.replica_check promo_api.runtime promo_api.stored_counts"
    ),
    "promo_api.operator_commands": (
        "handlers persistence.accounts persistence.database persistence.promos persistence.webhooks "
        "promo_api.config promo_api.errors promo_api.runtime promo_api.security"
    ),
    "promo_api.dev": "promo_api.config",
    "promo_api.dev.demo": (
        "handlers persistence.accounts persistence.comment_reports persistence.comments persistence.database "
        "persistence.events persistence.likes persistence.promos persistence.redemptions persistence.webhooks "
        "promo_api.config promo_api.dev promo_api.errors promo_api.folding promo_api.runtime promo_api.security "
        "promo_api.specification promo_api.webhooks"
    ),
    "promo_api.__main__": (
        "persistence.database persistence.migrations promo_api promo_api.app promo_api.check promo_api.config "
        "promo_api.contract promo_api.dev promo_api.dev.demo promo_api.distribute promo_api.errors "
        "promo_api.failure_messages promo_api.operator_commands promo_api.runtime promo_api.server "
        "promo_api.telemetry"
    ),
}
# Each library, and the packages or modules that may import it.
LIBRARIES = {
    "aiohttp": "promo_api.webhooks.addresses promo_api.webhooks.client",
    "aiosmtpd": "promo_api.dev.mailbox",
    "alembic": "persistence.migrations",
    "argon2": "promo_api.security.passwords",
    "cachetools": "persistence.promos.code_lists promo_api.security.api_keys promo_api.security.local_counters",
    "connexion": "promo_api.contract",
    "cryptography": "promo_api.security.webhook_secrets",
    "dotenv": "promo_api.__main__",
    "flask": "promo_api.contract.flask_views",
    "gunicorn": "promo_api.server.gunicorn_app",
    "httptools": "promo_api.server.pipelining promo_api.server.strict_http",
    "jsonschema_rs": "promo_api.contract.messages promo_api.contract.schemas",
    "jwt": "promo_api.security.tokens",
    "orjson": (
        "handlers.serializers handlers.streamed_rows handlers.versions persistence.database "
        "promo_api.antifraud.client promo_api.code_jobs.rows promo_api.contract "
        "promo_api.security.cursors promo_api.telemetry.logs promo_api.webhooks.sender"
    ),
    "prometheus_client": (
        "promo_api.telemetry.metrics promo_api.telemetry.metrics_server promo_api.telemetry.replica_metrics "
        "promo_api.telemetry.webhook_metrics"
    ),
    "psutil": "promo_api.dev",
    "psycopg": "persistence.database promo_api.dev.postgres",
    "redis": (
        "promo_api.antifraud.verdict_cache promo_api.check promo_api.failure_messages promo_api.inventory "
        "promo_api.redis_client "
        "promo_api.security.rate_limits"
    ),
    "requests": "promo_api.antifraud.client",
    "sqlalchemy": "persistence promo_api.stored_counts",
    "starlette": (
        "promo_api.app promo_api.console promo_api.contract promo_api.server.gunicorn_app promo_api.telemetry.requests"
    ),
    "urllib3": "promo_api.antifraud.client",
    "werkzeug": "promo_api.contract.media_types",
    "uvicorn": "promo_api.server.early_responses promo_api.server.graceful_stop promo_api.server.pipelining",
    "uvloop": "promo_api.webhooks.job",
    "uvicorn_worker": "promo_api.server.gunicorn_app",
    "yaml": "promo_api.contract.document",
}
# Modules of `persistence` that hold no queries: they open and migrate the database, or are shared by queries.
_NOT_QUERIES = (
    "persistence.database", "persistence.schema", "persistence.migrations", "persistence.conditions",
    "persistence.distribution", "persistence.pages", "persistence.feeds.feed_totals",
    "persistence.accounts.ended_resets", "persistence.accounts.events", "persistence.accounts.profiles",
    "persistence.promos.company_ranges", "persistence.promos.company_filters", "persistence.feeds.feed_filters",
    "persistence.search",
)  # fmt: skip
QUERIES = [
    module.removeprefix("persistence.")
    for module, file in files().items()
    if module.startswith("persistence.") and file.name != "__init__.py" and not module.startswith(_NOT_QUERIES)
]
HANDLERS = [module for module in files() if module.startswith("handlers.")]


def _package(module: str) -> str:
    """Return the row of the table for a module."""
    row = module if module in ALLOWED else module.rpartition(".")[0]
    assert row in ALLOWED, f"the table has no row for {module}"
    return row


def _ours(module: str, *, at_top: bool = False) -> set[str]:
    """Return the modules of this project that a module imports."""
    return {name for name in imported(module, at_top=at_top) if name.partition(".")[0] in PACKAGES} - {module}


def _is_in(module: str, places: str) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places.split())


def test_imports_of_ours() -> None:
    """A package imports exactly what the table says."""
    found: dict[str, set[str]] = {package: set() for package in ALLOWED}
    for module in files():
        found[_package(module)] |= {_package(name) for name in _ours(module)}
    differences = {
        package: sorted((names - {package}) ^ set(ALLOWED[package].split())) for package, names in found.items()
    }
    assert {package: names for package, names in differences.items() if names} == {}


def test_imports_of_libraries() -> None:
    """A library is imported only where the table says, and everywhere there."""
    libraries = {module: imported(module) - _ours(module) - sys.stdlib_module_names - {module} for module in files()}
    offences = [
        f"{module} imports {name}"
        for module, names in libraries.items()
        for name in sorted(names)
        if not _is_in(module, LIBRARIES.get(name, ""))
    ]
    offences += [
        f"{place} does not import {name}"
        for name, places in LIBRARIES.items()
        for place in places.split()
        if not any(name in names for module, names in libraries.items() if _is_in(module, place))
    ]
    assert offences == []


def test_query_modules_do_not_import_each_other() -> None:
    """A query module imports neither another query module nor the engine that opens its connections."""
    shared = (
        "persistence.schema persistence.conditions persistence.pages persistence.database.statements "
        "persistence.feeds.feed_totals persistence.promos.company_ranges "
        "persistence.promos.company_filters persistence.feeds.feed_filters persistence.search "
        "persistence.user_uses persistence.accounts.addresses persistence.accounts.company_names "
        "persistence.accounts.ended_resets persistence.accounts.events persistence.accounts.profiles "
        "promo_api.folding"
    )
    modules = [f"persistence.{name}" for name in QUERIES]
    offences = [
        f"{module} imports {name}" for module in modules for name in sorted(_ours(module)) if not _is_in(name, shared)
    ]
    assert offences == []


def test_handlers_open_nothing() -> None:
    """A handler imports the runtime as a type only, and neither the engine nor the tables."""
    offences: list[str] = []
    for module in HANDLERS:
        forbidden = imported_names(module, "promo_api.runtime") - {"Runtime"}
        forbidden |= {name for name in _ours(module) if _is_in(name, "persistence.database persistence.schema")}
        offences += [f"{module} imports {name}" for name in sorted(forbidden)]
    assert offences == []


def test_serializers_do_not_query() -> None:
    """The serializers import the classes of rows, and no function that reads them."""
    names = {
        name for module in files() for name in imported_names("handlers.serializers", module) if "persistence" in module
    }
    assert names
    assert [name for name in sorted(names) if not name[0].isupper()] == []


def test_the_service_does_not_need_the_development_servers() -> None:
    """Only three commands import `promo_api.dev`, when they run: production does not install its packages."""
    offences: list[str] = []
    for module in files():
        if not module.startswith("promo_api.dev"):
            names = _ours(module, at_top=module == "promo_api.__main__")
            offences += [f"{module} imports {name}" for name in sorted(names) if name.startswith("promo_api.dev")]
    assert offences == []


def test_workers_do_not_import_the_migrations() -> None:
    """No import of a worker leads to the program that applies migrations, which would only take memory."""
    seen: set[str] = set()
    ahead = {"promo_api.app", "promo_api.server.gunicorn_app"}
    while ahead:
        module = ahead.pop()
        seen.add(module)
        ahead |= {name for name in imported(module) if name in files()} - seen
    assert "persistence.database.engine" in seen
    assert "persistence.migrations" not in seen


def test_no_import_cycles() -> None:
    """No module imports itself through other modules."""
    imports = {module: {name for name in imported(module) if name in files()} - {module} for module in files()}
    while imports:
        leaves = {module for module, names in imports.items() if not names & imports.keys()}
        assert leaves, f"these modules import each other: {sorted(imports)}"
        imports = {module: names for module, names in imports.items() if module not in leaves}
