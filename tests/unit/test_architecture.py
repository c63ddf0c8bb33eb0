"""Who may import whom: the rooms of the house and their doors, read from the source."""

import sys
from typing import NamedTuple

import pytest

from tests.unit.source import PACKAGES, files, imported, imported_names


class Room(NamedTuple):
    """What a module may import: modules of ours (`x.*`: all below x), and packages of others."""

    ours: str = ""
    others: str = ""


# The first name that fits counts: a module's own, then that of the room it is in.
ROOMS = {
    "promo_api": Room(),
    "promo_api.errors": Room(),
    "promo_api.redis_url": Room(),
    "promo_api.redis_client": Room("promo_api.redis_url", "redis"),
    "promo_api.setting_values": Room("promo_api.redis_url"),
    "promo_api.settings": Room("promo_api.redis_url promo_api.setting_values"),
    "promo_api.log_stream": Room(),
    "promo_api.logs": Room("promo_api.log_stream promo_api.setting_values", "orjson"),
    "promo_api.request_log": Room("promo_api.contract.observation promo_api.logs"),
    "promo_api.background": Room("promo_api.errors"),
    # Whoever counts something imports it: callbacks through all rooms would be longer, and no easier to follow.
    "promo_api.metrics": Room("promo_api.background", "prometheus_client"),
    "promo_api.exposition": Room("promo_api.background promo_api.setting_values", "prometheus_client"),
    "promo_api.coalescing": Room("promo_api.metrics"),
    "promo_api.sweeper": Room(
        "persistence.account_deletions persistence.engine persistence.idempotency "
        "persistence.standings persistence.tallies "
        "promo_api.background promo_api.metrics"
    ),
    "promo_api.tokens": Room("promo_api.errors promo_api.settings", "jwt"),
    "promo_api.passwords": Room("promo_api.metrics promo_api.settings", "argon2"),
    "promo_api.admission": Room(
        "promo_api.contract.client_address promo_api.contract.fair_queue promo_api.contract.thread_pool "
        "promo_api.contract.thread_pools promo_api.limits promo_api.settings"
    ),
    "promo_api.local_counters": Room("", "cachetools"),
    "promo_api.rate_limit_counter": Room("promo_api.redis_client promo_api.settings"),
    "promo_api.limits": Room(
        "promo_api.contract.client_address promo_api.errors promo_api.local_counters promo_api.metrics "
        "promo_api.rate_limit_counter promo_api.settings promo_api.verdicts",
        "redis",
    ),
    "promo_api.breaker": Room(),
    "promo_api.antifraud_client": Room("promo_api.settings", "orjson requests urllib3"),
    "promo_api.verdicts": Room(
        "promo_api.antifraud_client promo_api.metrics promo_api.redis_client promo_api.settings", "redis"
    ),
    "promo_api.antifraud": Room(
        "promo_api.antifraud_client promo_api.breaker promo_api.metrics promo_api.settings promo_api.verdicts"
    ),
    "promo_api.health": Room(
        "promo_api persistence.engine persistence.revisions promo_api.antifraud promo_api.settings"
    ),
    "persistence": Room(),
    "persistence.orders": Room("", "sqlalchemy"),
    "persistence.tables": Room("persistence.orders", "sqlalchemy"),
    "persistence.trail_tables": Room("persistence.tables", "sqlalchemy"),
    "persistence.feed_tables": Room("persistence.tables", "sqlalchemy"),
    "persistence.account_events": Room("persistence.tables persistence.trail_tables", "sqlalchemy"),
    "persistence.silence": Room("", "sqlalchemy psycopg"),
    "persistence.prepared": Room("persistence.silence", "sqlalchemy"),
    "persistence.engine": Room(
        "persistence.silence persistence.tables promo_api.errors promo_api.metrics promo_api.settings",
        "orjson sqlalchemy psycopg",
    ),
    "persistence.pages": Room("persistence.prepared", "sqlalchemy"),
    "persistence.activity": Room("persistence.feed_tables persistence.tables", "sqlalchemy"),
    "persistence.audience": Room("persistence.tables", "sqlalchemy"),
    "persistence.places": Room("persistence.activity persistence.audience persistence.feed_tables", "sqlalchemy"),
    "persistence.code_lists": Room("persistence.prepared persistence.tables", "cachetools sqlalchemy"),
    "persistence.revisions": Room("", "sqlalchemy"),
    "persistence.migrations": Room("persistence.silence", "sqlalchemy alembic"),
    "persistence.migrations.*": Room("persistence.feed_tables persistence.trail_tables", "alembic"),
    "persistence.*": Room(
        "promo_api.errors persistence.orders persistence.pages persistence.prepared persistence.tables "
        "persistence.trail_tables persistence.feed_tables persistence.activity persistence.audience persistence.places "
        "persistence.account_events",
        "sqlalchemy",
    ),
    "handlers": Room(),
    "handlers.shapes": Room("handlers persistence.*", "orjson"),
    "handlers.accounts": Room(
        "handlers persistence.* promo_api.errors promo_api.limits promo_api.runtime promo_api.tokens"
    ),
    "handlers.idempotency": Room("handlers persistence.* promo_api.errors promo_api.limits promo_api.runtime"),
    "handlers.health": Room("handlers promo_api.health promo_api.runtime"),
    # Why an activation was refused is known nowhere else.
    "handlers.user_activations": Room(
        "handlers handlers.shapes handlers.idempotency persistence.* promo_api.errors promo_api.metrics "
        "promo_api.runtime"
    ),
    # A password that is guessed at is counted wherever it is asked for.
    "handlers.*": Room(
        "handlers handlers.shapes handlers.accounts handlers.idempotency persistence.* promo_api.errors "
        "promo_api.limits promo_api.runtime"
    ),
    "promo_api.contract.*": Room(
        "promo_api.contract.* promo_api.errors promo_api.logs", "connexion flask jsonschema_rs orjson starlette uvicorn"
    ),
    "promo_api.contract": Room(),
    # The shell binds what the other rooms are.
    "promo_api.runtime": Room(
        "persistence.code_lists persistence.engine promo_api.antifraud promo_api.coalescing promo_api.health "
        "promo_api.limits promo_api.passwords promo_api.settings promo_api.tokens"
    ),
    "promo_api.app": Room(
        "promo_api persistence.companies persistence.users promo_api.admission promo_api.contract.application "
        "promo_api.contract.client_address promo_api.contract.observation promo_api.errors promo_api.metrics "
        "promo_api.request_log promo_api.runtime promo_api.sweeper promo_api.tokens",
        "starlette",
    ),
    "promo_api.acceptor": Room("promo_api.contract.connections"),
    "promo_api.files": Room("promo_api.settings"),
    "promo_api.memory": Room(),
    "promo_api.gunicorn_conf": Room(
        "promo_api promo_api.acceptor promo_api.contract.connections promo_api.contract.pipelining "
        "promo_api.contract.protocol promo_api.contract.slow_clients promo_api.exposition promo_api.files "
        "promo_api.memory promo_api.metrics promo_api.settings",
        "gunicorn starlette uvicorn uvicorn_worker",
    ),
    "promo_api.check": Room(
        "persistence.engine persistence.listings persistence.recounts persistence.revisions persistence.silence "
        "persistence.tallies promo_api.app "
        "promo_api.contract.application promo_api.errors promo_api.runtime promo_api.settings",
        "redis requests sqlalchemy",
    ),
    "promo_api.__main__": Room(
        "persistence.engine persistence.migrations persistence.revisions promo_api.app promo_api.check "
        "promo_api.contract.application "
        "promo_api.errors promo_api.exposition promo_api.gunicorn_conf promo_api.logs promo_api.runtime "
        "promo_api.sandbox.antifraud_stub promo_api.sandbox.dev promo_api.setting_values promo_api.settings",
        "dotenv",
    ),
    "promo_api.sandbox": Room(),
    "promo_api.sandbox.*": Room(
        "promo_api promo_api.sandbox promo_api.sandbox.* promo_api.setting_values promo_api.settings",
        "flask psutil psycopg werkzeug",
    ),
}  # fmt: skip
QUERIES = [
    "account_deletions", "accounts", "activations", "cards", "code_lists", "comments", "companies", "exports",
    "idempotency", "likes", "listings", "promo_changes", "promos", "recounts", "standings", "tallies",
    "users",
]  # fmt: skip
HANDLERS = [module for module in files() if module.startswith("handlers.")]


def _room(module: str) -> Room:
    room = module if module in ROOMS else f"{module.rpartition('.')[0]}.*"
    assert room in ROOMS, f"{module} is in no room of the table"
    return ROOMS[room]


def _fits(module: str, allowed: str) -> bool:
    return any(module == name or (name.endswith(".*") and module.startswith(name[:-1])) for name in allowed.split())


@pytest.mark.parametrize("module", files())
def test_imports_of_ours(module: str) -> None:
    """A module imports of ours what its room may."""
    ours = {name for name in imported(module) if name.partition(".")[0] in PACKAGES} - {module}
    assert {name for name in ours if not _fits(name, _room(module).ours)} == set()


@pytest.mark.parametrize("module", files())
def test_imports_of_others(module: str) -> None:
    """A module imports of others its one library, and the standard library."""
    others = {name for name in imported(module) if name.partition(".")[0] not in PACKAGES}
    assert others - sys.stdlib_module_names - set(_room(module).others.split()) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_lived_in(room: str) -> None:
    """The table names no room that is not there, and no door that nobody uses."""
    inside = [module for module in files() if _room(module) is ROOMS[room]]
    assert inside
    used = set().union(*(imported(module) for module in inside))
    doors = set(ROOMS[room].others.split())
    assert doors <= used


def test_query_modules_are_all_there() -> None:
    """Beside the query modules stands only what all of them share, and what opens and migrates the database."""
    beside = {
        "engine", "silence", "prepared", "orders", "pages", "tables", "trail_tables", "feed_tables", "activity",
        "audience", "places", "account_events", "revisions", "migrations", "migrations.env",
    }  # fmt: skip
    assert {module.removeprefix("persistence.") for module in files() if module.startswith("persistence.")} == {
        *QUERIES,
        *beside,
    }


@pytest.mark.parametrize("module", [f"persistence.{name}" for name in QUERIES])
def test_queries_do_not_know_each_other(module: str) -> None:
    """A query module imports no other one, nor the engine that lends it connections."""
    ours = {name for name in imported(module) if name.partition(".")[0] in PACKAGES}
    names = "prepared orders pages tables trail_tables feed_tables activity audience places account_events"
    shared = {f"persistence.{name}" for name in names.split()}
    assert ours <= {*shared, "promo_api.errors"}


@pytest.mark.parametrize("module", HANDLERS)
def test_handlers_know_the_runtime_by_its_type(module: str) -> None:
    """A handler takes the runtime that it is given, and opens nothing."""
    assert imported_names(module, "promo_api.runtime") <= {"Runtime"}
    assert imported_names(module, "persistence.engine") == set()
    assert not {"persistence.tables", "persistence.trail_tables", "persistence.feed_tables"} & imported(module)


def test_shapes_do_not_query() -> None:
    """Shapes take rows, which are classes, and no functions that get them."""
    names = {
        name for module in files() for name in imported_names("handlers.shapes", module) if "persistence" in module
    }
    assert names
    assert all(name[0].isupper() for name in names)


@pytest.mark.parametrize("module", [module for module in files() if not module.startswith("promo_api.sandbox")])
def test_the_service_does_not_need_the_sandbox(module: str) -> None:
    """Only two commands import the sandbox, when they run: its packages are not installed in production."""
    assert not [name for name in imported(module, at_top=True) if name.startswith("promo_api.sandbox")]
    if module != "promo_api.__main__":
        assert not [name for name in imported(module) if name.startswith("promo_api.sandbox")]


def test_workers_do_without_the_migrations() -> None:
    """What a worker imports leads nowhere to the program that applies migrations: it would take memory for nothing."""
    seen: set[str] = set()
    ahead = {"promo_api.app", "promo_api.gunicorn_conf"}
    while ahead:
        module = ahead.pop()
        seen.add(module)
        ahead |= {name for name in imported(module) if name in files()} - seen
    assert "persistence.engine" in seen
    assert "persistence.migrations" not in seen


def test_nobody_calls_upward() -> None:
    """No import leads in a circle."""
    ways = {module: {name for name in imported(module) if name in files()} - {module} for module in files()}
    while ways:
        ends = {module for module, further in ways.items() if not further & ways.keys()}
        assert ends, f"these import each other: {sorted(ways)}"
        ways = {module: further for module, further in ways.items() if module not in ends}
