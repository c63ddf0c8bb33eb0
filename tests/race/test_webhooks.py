"""Webhooks: an exact limit, one creation for each Idempotency-Key, and no change by a revoked token."""

from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, text

from persistence.accounts.companies import close_company
from persistence.schema.event_tables import events
from persistence.schema.tables import companies
from persistence.schema.webhook_tables import deliveries, webhooks
from promo_api.runtime import Runtime
from promo_api.specification import MAX_WEBHOOKS
from tests.accounts import Account, Api
from tests.integration.events import fill, read
from tests.integration.webhook_rows import PATH, URL, create_webhook, row_of
from tests.race.interleaving import Stage, together

_BODY = {"url": URL}


def _count(runtime: Runtime, table: Any, company: Account) -> int:
    query = select(func.count()).select_from(table).where(table.c.company_id == UUID(company.id))
    with runtime.database.autocommit() as connection:
        return connection.execute(query).scalar_one()


def test_limit(api: Api) -> None:
    """Of many concurrent creations, as many succeed as the company may have."""
    company = api.sign_up_company()
    responses = together([partial(company.post, PATH, json=_BODY)] * (MAX_WEBHOOKS + 12))
    assert Counter(response.status_code for response in responses) == {201: MAX_WEBHOOKS, 409: 12}
    assert len(company.get(PATH).json()) == MAX_WEBHOOKS


def test_last_webhook_with_an_idempotency_key(api: Api) -> None:
    """Concurrent requests with one key create the last webhook once, and all get it with its secret."""
    company = api.sign_up_company()
    for _ in range(MAX_WEBHOOKS - 1):
        create_webhook(company)
    request = {"json": _BODY, "headers": {"Idempotency-Key": uuid4().hex}}
    responses = together([partial(company.post, PATH, **request)] * 8)
    assert {response.status_code for response in responses} == {201}
    assert len({(response.json()["id"], response.json()["secret"]) for response in responses}) == 1
    assert len(company.get(PATH).json()) == MAX_WEBHOOKS


def test_one_deletion(api: Api) -> None:
    """Of concurrent deletions of a webhook one succeeds."""
    company = api.sign_up_company()
    webhook = create_webhook(company)
    responses = together([partial(company.delete, f"{PATH}/{webhook['id']}")] * 12)
    assert Counter(response.status_code for response in responses) == {200: 1, 404: 11}


def test_concurrent_changes(api: Api) -> None:
    """Concurrent changes of different members are all kept."""
    company = api.sign_up_company()
    for _ in range(5):
        webhook = create_webhook(company)
        changes: list[dict[str, Any]] = [{"enabled": False}, {"url": f"{URL}/2"}, {"event_types": ["promo.expired"]}]
        path = f"{PATH}/{webhook['id']}"
        together([partial(company.patch, path, json=each) for each in changes])
        changed = company.get(path).json()
        assert {name: changed[name] for each in changes for name in each} == {**changes[0], **changes[1], **changes[2]}


def test_change_while_the_service_disables(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A change waits for the sender, and leaves the webhook disabled if the sender disables it meanwhile."""
    company = api.sign_up_company()
    webhook = create_webhook(company)
    with stage.lock_row(webhooks, id=UUID(webhook["id"])) as (holder, queue):
        queue.add(partial(company.patch, f"{PATH}/{webhook['id']}", json={"event_types": ["promo.expired"]}))
        disabled = {"enabled": False, "disabled_reason": "gone", "disabled_at": func.now()}
        failing = {"failing_since": func.now(), "failures": 1}
        holder.execute(webhooks.update().where(webhooks.c.id == UUID(webhook["id"])).values(**disabled, **failing))
    [changed] = queue.results()
    assert changed.status_code == 200, changed.text
    assert (changed.json()["enabled"], changed.json()["disabled_reason"]) == (False, "gone")
    row = row_of(runtime, webhook)
    assert (row.enabled, row.failures, row.event_types) == (False, 1, ["promo.expired"])


def test_redelivery_during_the_deletion_of_the_event(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A redelivery waits for the deletion of an old event, and leaves no delivery without its event."""
    company = api.sign_up_company()
    fill(runtime.database, UUID(company.id), 1)
    [event] = read(runtime, company)
    webhook = create_webhook(company)
    with stage.lock_row(events, id=UUID(event["id"])) as (holder, queue):
        path = f"{PATH}/{webhook['id']}/redeliver"
        queue.add(partial(company.post, path, json={"event_id": event["id"]}))
        for table in (deliveries, events):
            holder.execute(table.delete().where(table.c.company_id == UUID(company.id)))
    [refused] = queue.results()
    assert (refused.status_code, refused.json()["code"]) == (404, "event_not_found")
    assert _count(runtime, deliveries, company) == 0


def _all_changes(company: Account, webhook: dict[str, Any]) -> list[Any]:
    path = f"{PATH}/{webhook['id']}"
    return [
        partial(company.post, PATH, json=_BODY),
        partial(company.patch, path, json={"enabled": False}),
        partial(company.post, f"{path}/rotate-secret"),
        partial(company.post, f"{path}/test"),
        partial(company.post, f"{path}/redeliver", json={"since": "2025-01-16T12:30:00Z"}),
        partial(company.delete, path),
    ]


def test_changes_during_the_closing(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A company that is being closed changes no webhook, also if it was authenticated before."""
    company = api.sign_up_company()
    webhook = create_webhook(company)
    before = row_of(runtime, webhook)
    with stage.lock_row(companies, id=UUID(company.id)) as (holder, queue):
        queue.add(*_all_changes(company, webhook))
        assert close_company(holder, UUID(company.id))
    outcomes = {(response.status_code, response.json()["code"]) for response in queue.results()}
    assert outcomes == {(401, "account_deleted")}
    assert (_count(runtime, webhooks, company), _count(runtime, events, company)) == (1, 0)
    assert row_of(runtime, webhook) == before


def test_changes_during_the_revocation_of_the_token(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Once a token is revoked, it changes no webhook, even if it was authenticated before."""
    company = api.sign_up_company()
    webhook = create_webhook(company)
    before = row_of(runtime, webhook)
    with stage.lock_row(companies, id=UUID(company.id)) as (holder, queue):
        queue.add(*_all_changes(company, webhook))
        holder.execute(
            text("UPDATE companies SET token_version = token_version + 1 WHERE id = :id"), {"id": company.id}
        )
    outcomes = {(response.status_code, response.json()["code"]) for response in queue.results()}
    assert outcomes == {(401, "token_revoked")}
    assert (_count(runtime, webhooks, company), _count(runtime, events, company)) == (1, 0)
    assert row_of(runtime, webhook) == before
