"""API keys: exact limits, one revocation, and no change by a revoked token or a closed company."""

from collections import Counter
from functools import partial
from uuid import UUID

from sqlalchemy import text

from persistence.accounts.companies import close_company
from persistence.schema.tables import companies
from promo_api.runtime import Runtime
from promo_api.specification import MAX_KEYS
from tests.accounts import Account, Api
from tests.race.interleaving import Stage, together

_BODY = {"name": "Shop", "scopes": ["read"]}


def _count_keys(runtime: Runtime, company: Account) -> int:
    """Return the number of keys that are not revoked."""
    with runtime.database.engine.connect() as connection:
        query = text("SELECT count(*) FROM api_keys WHERE company_id = :id AND revoked_at IS NULL")
        return int(connection.scalar(query, {"id": company.id}) or 0)


def test_limit(api: Api) -> None:
    """Of many concurrent creations, as many succeed as the company may have."""
    company = api.sign_up_company()
    responses = together([partial(company.post, "/business/keys", json=_BODY)] * (MAX_KEYS + 12))
    assert Counter(response.status_code for response in responses) == {201: MAX_KEYS, 409: 12}
    assert len(company.get("/business/keys").json()) == MAX_KEYS


def test_one_revocation(api: Api, runtime: Runtime) -> None:
    """Of concurrent revocations of a key one succeeds, and the audit log has one event."""
    company = api.sign_up_company()
    key = company.post("/business/keys", json=_BODY).json()
    responses = together([partial(company.delete, f"/business/keys/{key['id']}")] * 12)
    assert Counter(response.status_code for response in responses) == {200: 1, 404: 11}
    with runtime.database.engine.connect() as connection:
        query = text("SELECT count(*) FROM account_log WHERE event = 'key_revoked' AND key_id = :id")
        assert connection.scalar(query, {"id": key["id"]}) == 1


def test_creations_and_revocations(api: Api) -> None:
    """Concurrent creations and revocations neither fail nor exceed the limit."""
    company = api.sign_up_company()
    keys = [company.post("/business/keys", json=_BODY).json() for _ in range(MAX_KEYS)]
    revocations = [partial(company.delete, f"/business/keys/{key['id']}") for key in keys[:8]]
    responses = together([*revocations, *[partial(company.post, "/business/keys", json=_BODY)] * 16])
    assert {response.status_code for response in responses[:8]} == {200}
    created = Counter(response.status_code for response in responses[8:])
    assert created.keys() <= {201, 409}
    assert len(company.get("/business/keys").json()) == MAX_KEYS - 8 + created[201] <= MAX_KEYS


def test_creation_during_the_closing(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A company that is being closed creates no key, also if it was authenticated before."""
    company = api.sign_up_company()
    with stage.lock_row(companies, id=UUID(company.id)) as (holder, queue):
        queue.add(partial(company.post, "/business/keys", json=_BODY))
        assert close_company(holder, UUID(company.id))
    [refused] = queue.results()
    assert (refused.status_code, refused.json()["code"]) == (401, "account_deleted")
    assert _count_keys(runtime, company) == 0


def test_changes_during_the_revocation_of_the_token(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Once a token is revoked, it neither creates nor revokes a key, even if it was authenticated before."""
    company = api.sign_up_company()
    key = company.post("/business/keys", json=_BODY).json()
    with stage.lock_row(companies, id=UUID(company.id)) as (holder, queue):
        queue.add(
            partial(company.post, "/business/keys", json=_BODY), partial(company.delete, f"/business/keys/{key['id']}")
        )
        holder.execute(
            text("UPDATE companies SET token_version = token_version + 1 WHERE id = :id"), {"id": company.id}
        )
    outcomes = [(response.status_code, response.json()["code"]) for response in queue.results()]
    assert outcomes == [(401, "token_revoked")] * 2
    assert _count_keys(runtime, company) == 1
