"""What `check` says about replicas."""

from contextlib import closing
from dataclasses import replace

import pytest

from promo_api import replica_check
from promo_api.check import _replicas, _Warning
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from tests.accounts import Account
from tests.integration.replicas.replica_service import Service


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"postgres_read_port": "5433"},
            r"is unavailable: no such file .* and POSTGRES_READ_HOST and POSTGRES_READ_PORT",
        ),
        ({"postgres_read_host": "PRIMARY"}, "is unavailable: .*standby"),
    ],
)
def test_check_of_an_unused_replica(
    service: Service, replica_settings: Settings, changes: dict[str, str], problem: str
) -> None:
    """`check` warns about a replica that can't be used, and says why."""
    changes = {name: value.replace("PRIMARY", service.pair.primary.host) for name, value in changes.items()}
    runtime = Runtime.open(replace(replica_settings, **changes))  # type: ignore[arg-type]
    with closing(runtime), pytest.raises(_Warning, match=f"The replica .* {problem}"):
        _replicas(runtime)


def test_check_of_a_late_replica(service: Service, company: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` warns about a replica that is too far behind."""
    monkeypatch.setattr(replica_check, "LAG_MAX_S", 0)
    with service.paused_replay():
        company.create_promo()
        with pytest.raises(_Warning, match="s behind the primary"):
            _replicas(service.runtime)


def test_check(service: Service, replica_settings: Settings) -> None:
    """`check` reports the replicas in use."""
    assert _replicas(service.runtime) == f"In use: {replica_settings.postgres_read_host}:5432."


def test_check_without_replicas(runtime: Runtime) -> None:
    """Without replicas, `check` says so."""
    assert _replicas(runtime) == "POSTGRES_READ_HOST is not set, so all reads use the primary."
