"""The limit of open files, and the number of connections that follows from it."""

import resource
import sys
from dataclasses import replace

import pytest
from uvicorn import Config

from promo_api.config.settings import Settings
from promo_api.server.file_limits import max_connections, raise_file_limit
from promo_api.server.graceful_stop import GracefulServer

_SETTINGS = Settings(antifraud_address="x", secret_key="x" * 40, server_threads=8, antifraud_threads=16)


def test_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit becomes the hard one."""
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, both: limits.append(both))
    raise_file_limit()
    assert limits == [(4096, 4096)]


@pytest.mark.parametrize(
    ("files", "connections"), [(1024, 864), (20_000, 19_840), (200, 100), (resource.RLIM_INFINITY, sys.maxsize)]
)
def test_files_are_reserved(monkeypatch: pytest.MonkeyPatch, files: int, connections: int) -> None:
    """Files are left for PostgreSQL, Redis and the anti-fraud service, but never more than half of them."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (files, files))
    assert max_connections(_SETTINGS) == connections


def test_files_for_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are left for as many connections to replicas as to the primary."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 1024))
    with_replica = replace(_SETTINGS, postgres_read_host="replica")
    assert max_connections(with_replica) == max_connections(_SETTINGS) - _SETTINGS.pool_size


@pytest.mark.parametrize(
    ("changes", "is_limited"),
    [
        ({}, True),
        ({"server_connections_per_address": 0}, False),
        ({"client_address_header": "X-Real-IP"}, False),
    ],
)
def test_address_limit(changes: dict[str, object], is_limited: bool) -> None:
    """Connections of an address are limited, unless the limit is 0 or all connections come from a proxy."""
    settings = replace(_SETTINGS, **changes)  # type: ignore[arg-type]
    server = GracefulServer(Config(lambda: None, log_config=None), settings=settings, on_drain=lambda: None)
    assert (server._address_limit is not None) == is_limited
