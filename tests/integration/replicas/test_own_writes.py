"""An account sees its own writes at once, and others see them after the lag."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from persistence.account_writes import delete_old_writes, find_positions
from promo_api import replicas
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.telemetry.replica_metrics import RESULTS
from tests.accounts import Account
from tests.integration.replicas.replica_service import TIMEOUT_S, Service, assert_success
from tests.metric_delta import MetricDelta
from tests.statements import sent_statements


def test_reads_use_the_replica(service: Service, company: Account, user: Account) -> None:
    """Operations that show data read the replica, and all others the primary."""
    promo_id = company.create_promo(promo_unique=["one", "two"])
    comments = f"/user/promo/{promo_id}/comments"
    comment_id = user.post(comments, json={"text": "Nice and warm."}).json()["id"]
    promo = f"/business/promo/{promo_id}"
    service.pair.catch_up()
    of_user = ["/feed", "/feed?q=half", f"/promo/{promo_id}", "/promo/history", "/activations"]
    of_company = ["", f"/{promo_id}", f"/{promo_id}/stat", f"/{promo_id}/codes", f"/{promo_id}/comments"]
    days = "bucket=day&time_zone=UTC"
    reads = [
        *((user, f"/user{path}") for path in of_user),
        *((user, path) for path in (comments, f"{comments}/{comment_id}")),
        *((company, f"/business/promo{path}") for path in of_company),
        (company, f"{promo}/comments/{comment_id}"),
        (company, f"{promo}/stat/series?{days}"),
        (company, f"/business/stat/series?{days}"),
        (company, "/business/redemptions"),
    ]
    for account, path in reads:
        assert service.result_of(lambda: assert_success(account.get(path))) == "replica", path  # noqa: B023 it runs at once
    counted = MetricDelta()
    others = ["/user/profile", f"/user/promo/{promo_id}/eligibility", "/user/export"]
    assert [user.get(path).status_code for path in others] == [200] * 3
    assert company.get(f"{promo}/codes", headers={"Accept": "text/csv"}).status_code == 200
    assert sum(counted("promo_replica_reads_total", result=result) for result in RESULTS) == 0


def test_own_writes(service: Service, company: Account, user: Account) -> None:
    """While the replica replays nothing, an account sees its writes, and others the state before."""
    other, promo_id = service.api.sign_up_user(), company.create_promo()
    comments, promo = f"/user/promo/{promo_id}/comments", f"/user/promo/{promo_id}"
    assert user.post(comments, json={"text": "Nice and warm."}).is_success
    service.pair.catch_up()
    with service.paused_replay():
        user.post(f"{promo}/like")
        assert user.get(promo).json()["is_liked_by_user"]
        assert other.get(promo).json()["like_count"] == 0
        user.post(comments, json={"text": "Still warm, too."})
        assert [len(each.get(comments).json()) for each in (user, other)] == [2, 1]
        user.patch("/user/profile", json={"name": "Renamed"})
        assert user.get(comments).json()[-1]["author"]["name"] == "Renamed"
        assert other.get(comments).json()[-1]["author"]["name"] != "Renamed"
        new_id = company.create_promo()
        assert [each["promo_id"] for each in company.get("/business/promo").json()] == [new_id, promo_id]
        assert new_id not in [each["promo_id"] for each in other.get("/user/feed?limit=100").json()]
        assert service.result_of(lambda: user.get(promo)) == "own_write"
        assert service.result_of(lambda: other.get(promo)) == "replica"
    service.pair.catch_up()
    assert service.result_of(lambda: user.get(promo)) == "replica"
    assert other.get(promo).json()["like_count"] == 1


def test_writes_with_an_api_key(service: Service, company: Account) -> None:
    """A write with an API key is a write of the company: its token shows it at once."""
    key = company.post("/business/keys", json={"name": "Shop", "scopes": ["read", "write"]}).json()["key"]
    promo_id = company.create_promo()
    service.pair.catch_up()
    with service.paused_replay():
        headers = {"X-Api-Key": key}
        path = f"/business/promo/{promo_id}"
        assert service.api.call("PATCH", path, json={"description": "Changed by a key."}, headers=headers).is_success
        assert company.get(path).json()["description"] == "Changed by a key."


def test_results_of_jobs(service: Service, company: Account) -> None:
    """Once a company has seen that a job has finished, it sees the codes, although a background job stored them."""
    promo_id = company.create_promo(promo_unique=["one"])
    service.pair.catch_up()
    with service.paused_replay():
        job = company.post(f"/business/promo/{promo_id}/codes", json=["two", "three"]).json()
        state = "SELECT state FROM jobs WHERE id = %s"
        assert wait_until(lambda: service.pair.on_primary(state, job["id"]) == [("succeeded",)], TIMEOUT_S)
        # As if the replica had replayed the request, but not the job.
        service.pair.on_primary("DELETE FROM account_writes WHERE account_id = %s", company.id)
        assert company.get(f"/business/jobs/{job['id']}").json()["state"] == "succeeded"
        codes = company.get(f"/business/promo/{promo_id}/codes").json()
        assert [each["code"] for each in codes] == ["one", "two", "three"]


def test_missing_on_the_replica(service: Service, company: Account, user: Account) -> None:
    """What only the primary has is found there."""
    with service.paused_replay():
        promo_id = company.create_promo()
        assert service.result_of(lambda: assert_success(user.get(f"/user/promo/{promo_id}"))) == "not_found"
        assert user.get(f"/user/promo/{uuid4()}").status_code == 404


def test_statements(service: Service, company: Account, user: Account) -> None:
    """With a replica a write takes one statement more, and a read two: one of each server."""
    promo = f"/user/promo/{company.create_promo()}"
    service.pair.catch_up()
    with sent_statements() as sent:
        user.get(promo)
    assert len(sent) == 4
    with sent_statements() as sent:
        user.post(f"{promo}/like")
    assert len(sent) == 3
    with sent_statements() as sent:
        assert user.post(f"/user/promo/{uuid4()}/like").status_code == 404
    assert len(sent) == 2


def test_unrecorded_write(company: Account, user: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write whose position can't be stored is no success, because a later read might not show it."""
    promo = f"/user/promo/{company.create_promo()}"

    def fail(_connection: Any, _account_id: UUID) -> int:
        raise ServiceUnavailable("The database is unavailable.", reason="test")

    with monkeypatch.context() as patch:
        patch.setattr(replicas, "insert_write", fail)
        assert user.post(f"{promo}/like").status_code == 503
        assert user.get(promo).status_code == 200


def test_old_positions_are_deleted(service: Service, user: Account) -> None:
    """The sweeper deletes old positions, and not the one that shows that the table is complete."""
    user.post(f"/user/promo/{uuid4()}/like")
    assert service.result_of(lambda: user.get("/user/feed")) in RESULTS
    service.pair.on_primary("UPDATE account_writes SET written_at = now() - interval '1 hour'")
    user.patch("/user/profile", json={"name": "Renamed"})
    with service.runtime.database.autocommit() as connection:
        delete_old_writes(connection, limit=1000)
        assert service.pair.on_primary("SELECT count(*) FROM account_writes") == [(2,)]
        before = find_positions(connection, uuid4()).complete_from
        assert find_positions(connection, UUID(int=1)).of_account == 0
    assert before > 0


def test_positions_of_another_server(service: Service, user: Account) -> None:
    """A stored position beyond the end of the WAL, which comes from the backup of another server, is ignored."""
    user.patch("/user/profile", json={"name": "Renamed"})
    service.pair.on_primary("UPDATE account_writes SET lsn = lsn + 1000000000000")
    service.result_of(lambda: user.get("/user/feed"))
    service.pair.catch_up()
    assert service.result_of(lambda: user.get("/user/feed")) == "replica"
