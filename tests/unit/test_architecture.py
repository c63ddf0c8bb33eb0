"""What each module may import, as a table, compared with the source."""

import sys
from typing import NamedTuple

from tests.unit.source import PACKAGES, files, imported, imported_names


class Imports(NamedTuple):
    """What a module may import: modules of this project (`x.*`: all below x), and third-party packages."""

    ours: str = ""
    others: str = ""


# A module without a row of its own takes the row `package.*` of its package.
ALLOWED = {
    "promo_api": Imports(),
    "promo_api.errors": Imports(),
    "promo_api.config.redis_url": Imports(),
    "promo_api.redis_client": Imports("promo_api.config.redis_url", "redis"),
    "promo_api.config.values": Imports("promo_api.config.redis_url"),
    "promo_api.config.settings": Imports("promo_api.config.redis_url promo_api.config.values"),
    "promo_api.telemetry.log_stream": Imports(),
    "promo_api.telemetry.logs": Imports("promo_api.telemetry.log_stream promo_api.config.values", "orjson"),
    "promo_api.telemetry.request_log": Imports("promo_api.contract.observation promo_api.telemetry.logs"),
    "promo_api.background": Imports("promo_api.errors"),
    # Modules import the metrics that they count: callbacks would be longer and harder to follow.
    "promo_api.telemetry.metrics": Imports("promo_api.background", "prometheus_client"),
    "promo_api.exposition": Imports("promo_api.background promo_api.config.values", "prometheus_client"),
    "promo_api.batches": Imports("promo_api.telemetry.metrics"),
    "promo_api.sweeper": Imports(
        "persistence.account_deletions persistence.engine persistence.kept_answers "
        "persistence.standings persistence.tallies "
        "promo_api.background promo_api.telemetry.metrics"
    ),
    "promo_api.security.tokens": Imports("promo_api.errors promo_api.config.settings", "jwt"),
    "promo_api.security.passwords": Imports("promo_api.telemetry.metrics promo_api.config.settings", "argon2"),
    "promo_api.admission": Imports(
        "promo_api.contract.client_address promo_api.contract.fair_queue promo_api.contract.thread_pool "
        "promo_api.contract.thread_pools promo_api.security.rate_limits promo_api.config.settings"
    ),
    "promo_api.security.rate_limits": Imports(
        "promo_api.contract.client_address promo_api.errors "
        "promo_api.telemetry.metrics promo_api.redis_client promo_api.config.values promo_api.config.settings",
        "cachetools limits redis",
    ),
    "promo_api.breaker": Imports(),
    "promo_api.antifraud.client": Imports("promo_api.config.settings", "orjson requests urllib3"),
    "promo_api.antifraud.verdict_cache": Imports(
        "promo_api.antifraud.client promo_api.telemetry.metrics promo_api.redis_client promo_api.config.settings", "redis"
    ),
    "promo_api.antifraud.checks": Imports(
        "promo_api.antifraud.client promo_api.breaker promo_api.telemetry.metrics promo_api.config.settings promo_api.antifraud.verdict_cache"
    ),
    "promo_api.health": Imports(
        "promo_api persistence.engine persistence.revisions promo_api.antifraud.checks promo_api.config.settings"
    ),
    "persistence": Imports(),
    "persistence.orders": Imports("", "sqlalchemy"),
    "persistence.tables": Imports("persistence.orders", "sqlalchemy"),
    "persistence.trail_tables": Imports("persistence.tables", "sqlalchemy"),
    "persistence.feed_tables": Imports("persistence.tables", "sqlalchemy"),
    "persistence.account_events": Imports("persistence.tables persistence.trail_tables", "sqlalchemy"),
    "persistence.silence": Imports("", "sqlalchemy psycopg"),
    "persistence.prepared": Imports("persistence.silence", "sqlalchemy"),
    "persistence.engine": Imports(
        "persistence.silence persistence.tables promo_api.errors promo_api.telemetry.metrics promo_api.config.settings",
        "orjson sqlalchemy psycopg",
    ),
    "persistence.pages": Imports("persistence.prepared", "sqlalchemy"),
    "persistence.activity": Imports("persistence.feed_tables persistence.tables", "sqlalchemy"),
    "persistence.audience": Imports("persistence.tables", "sqlalchemy"),
    "persistence.places": Imports("persistence.activity persistence.audience persistence.feed_tables", "sqlalchemy"),
    "persistence.code_lists": Imports("persistence.prepared persistence.tables", "cachetools sqlalchemy"),
    "persistence.revisions": Imports("", "sqlalchemy"),
    "persistence.migrations": Imports("persistence.silence", "sqlalchemy alembic"),
    "persistence.migrations.*": Imports("persistence.feed_tables persistence.trail_tables", "alembic"),
    "persistence.*": Imports(
        "promo_api.errors persistence.orders persistence.pages persistence.prepared persistence.tables "
        "persistence.trail_tables persistence.feed_tables persistence.activity persistence.audience persistence.places "
        "persistence.account_events",
        "sqlalchemy",
    ),
    "handlers": Imports(),
    "handlers.serializers": Imports("handlers persistence.*", "orjson"),
    "handlers.accounts": Imports(
        "handlers persistence.* promo_api.errors promo_api.security.rate_limits promo_api.runtime promo_api.security.tokens"
    ),
    "handlers.repeats": Imports("handlers persistence.* promo_api.errors promo_api.security.rate_limits promo_api.runtime"),
    "handlers.health": Imports("handlers promo_api.health promo_api.runtime"),
    # Only this module knows why it refused an activation, so it counts that itself.
    "handlers.user_activations": Imports(
        "handlers handlers.serializers handlers.repeats persistence.* promo_api.errors promo_api.security.rate_limits promo_api.telemetry.metrics "
        "promo_api.runtime"
    ),
    # Every handler that checks a password counts the failed attempts.
    "handlers.*": Imports(
        "handlers handlers.serializers handlers.accounts handlers.repeats persistence.* promo_api.errors promo_api.security.rate_limits "
        "promo_api.runtime"
    ),
    "promo_api.contract.*": Imports(
        "promo_api.contract.* promo_api.errors promo_api.telemetry.logs", "connexion flask jsonschema_rs orjson starlette uvicorn"
    ),
    "promo_api.contract": Imports(),
    # The outer layer: it puts the other modules together.
    "promo_api.runtime": Imports(
        "persistence.code_lists persistence.engine promo_api.antifraud.checks promo_api.batches promo_api.health "
        "promo_api.security.rate_limits promo_api.security.passwords promo_api.config.settings promo_api.security.tokens"
    ),
    "promo_api.app": Imports(
        "promo_api persistence.companies persistence.users promo_api.admission promo_api.contract.application "
        "promo_api.contract.client_address promo_api.contract.observation promo_api.errors promo_api.telemetry.metrics "
        "promo_api.telemetry.request_log promo_api.runtime promo_api.sweeper promo_api.security.tokens",
        "starlette",
    ),
    "promo_api.acceptor": Imports("promo_api.contract.connections"),
    "promo_api.files": Imports("promo_api.config.settings"),
    "promo_api.memory": Imports(),
    "promo_api.gunicorn_conf": Imports(
        "promo_api promo_api.acceptor promo_api.contract.connections promo_api.contract.pipelining "
        "promo_api.contract.protocol promo_api.contract.slow_clients promo_api.exposition promo_api.files "
        "promo_api.memory promo_api.telemetry.metrics promo_api.config.settings",
        "gunicorn starlette uvicorn uvicorn_worker",
    ),
    "promo_api.check": Imports(
        "persistence.engine persistence.listings persistence.recounts persistence.revisions persistence.silence "
        "persistence.tallies promo_api.app "
        "promo_api.contract.application promo_api.errors promo_api.runtime promo_api.config.settings",
        "redis requests sqlalchemy",
    ),
    "promo_api.__main__": Imports(
        "persistence.engine persistence.migrations persistence.revisions promo_api.app promo_api.check "
        "promo_api.contract.application "
        "promo_api.errors promo_api.exposition promo_api.gunicorn_conf promo_api.telemetry.logs promo_api.runtime "
        "promo_api.dev.antifraud_stub promo_api.dev.dev promo_api.config.values promo_api.config.settings",
        "dotenv",
    ),
    "promo_api.dev": Imports(),
    "promo_api.dev.*": Imports(
        "promo_api promo_api.dev promo_api.dev.* promo_api.config.values promo_api.config.settings",
        "flask psutil psycopg werkzeug",
    ),
}  # fmt: skip
QUERIES = [
    "account_deletions", "accounts", "activations", "cards", "code_lists", "comments", "companies", "exports",
    "kept_answers", "likes", "listings", "promo_changes", "promos", "recounts", "standings", "tallies",
    "users",
]  # fmt: skip
HANDLERS = [module for module in files() if module.startswith("handlers.")]


def _row(module: str) -> str:
    """Return the key of the row for a module."""
    row = module if module in ALLOWED else f"{module.rpartition('.')[0]}.*"
    assert row in ALLOWED, f"the table has no row for {module}"
    return row


def _allowed(module: str) -> Imports:
    return ALLOWED[_row(module)]


def _fits(module: str, allowed: str) -> bool:
    return any(module == name or (name.endswith(".*") and module.startswith(name[:-1])) for name in allowed.split())


def _ours(module: str, *, at_top: bool = False) -> set[str]:
    """Return the modules of this project that a module imports."""
    return {name for name in imported(module, at_top=at_top) if name.partition(".")[0] in PACKAGES} - {module}


def test_imports_of_ours() -> None:
    """A module imports only the modules of this project that the table allows it."""
    offences = [
        f"{module} imports {name}"
        for module in files()
        for name in sorted(_ours(module))
        if not _fits(name, _allowed(module).ours)
    ]
    assert offences == []


def test_imports_of_others() -> None:
    """A module imports only the third-party packages that the table allows it, and the standard library."""
    offences = [
        f"{module} imports {name}"
        for module in files()
        for name in sorted(imported(module) - _ours(module) - {module} - sys.stdlib_module_names)
        if name not in _allowed(module).others.split()
    ]
    assert offences == []


def test_table_has_no_unused_row() -> None:
    """Each row of the table applies to a module, and each third-party package in it is imported."""
    offences: list[str] = []
    for row, allowed in ALLOWED.items():
        modules = [module for module in files() if _row(module) == row]
        used = set().union(*(imported(module) for module in modules))
        offences += [] if modules else [f"{row}: no such module"]
        offences += [f"{row}: {name} is not imported" for name in allowed.others.split() if name not in used]
    assert offences == []


def test_query_modules_are_all_there() -> None:
    """Every module of `persistence` is a query module, shared by query modules, or opens or migrates the database."""
    beside = {
        "engine", "silence", "prepared", "orders", "pages", "tables", "trail_tables", "feed_tables", "activity",
        "audience", "places", "account_events", "revisions", "migrations", "migrations.env",
    }  # fmt: skip
    assert {module.removeprefix("persistence.") for module in files() if module.startswith("persistence.")} == {
        *QUERIES,
        *beside,
    }


def test_query_modules_do_not_import_each_other() -> None:
    """A query module imports neither another query module nor the engine that opens its connections."""
    names = "prepared orders pages tables trail_tables feed_tables activity audience places account_events"
    shared = {f"persistence.{name}" for name in names.split()} | {"promo_api.errors"}
    modules = [f"persistence.{name}" for name in QUERIES]
    offences = [f"{module} imports {name}" for module in modules for name in sorted(_ours(module) - shared)]
    assert offences == []


def test_handlers_open_nothing() -> None:
    """A handler imports the runtime as a type only, and neither the engine nor the tables."""
    tables = {"persistence.tables", "persistence.trail_tables", "persistence.feed_tables"}
    offences: list[str] = []
    for module in HANDLERS:
        forbidden = imported_names(module, "promo_api.runtime") - {"Runtime"}
        forbidden |= imported_names(module, "persistence.engine") | (tables & imported(module))
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
    """Only two commands import `promo_api.dev`, when they run: production does not install its packages."""
    offences: list[str] = []
    for module in files():
        if not module.startswith("promo_api.dev"):
            names = _ours(module, at_top=module == "promo_api.__main__")
            offences += [f"{module} imports {name}" for name in sorted(names) if name.startswith("promo_api.dev")]
    assert offences == []


def test_workers_do_not_import_the_migrations() -> None:
    """No import of a worker leads to the program that applies migrations, which would only take memory."""
    seen: set[str] = set()
    ahead = {"promo_api.app", "promo_api.gunicorn_conf"}
    while ahead:
        module = ahead.pop()
        seen.add(module)
        ahead |= {name for name in imported(module) if name in files()} - seen
    assert "persistence.engine" in seen
    assert "persistence.migrations" not in seen


def test_no_import_cycles() -> None:
    """No module imports itself through other modules."""
    imports = {module: {name for name in imported(module) if name in files()} - {module} for module in files()}
    while imports:
        leaves = {module for module, names in imports.items() if not names & imports.keys()}
        assert leaves, f"these modules import each other: {sorted(imports)}"
        imports = {module: names for module, names in imports.items() if module not in leaves}
