"""Webhooks of companies: creation, change, rotation of the secret, deletion."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from handlers import business_webhooks
from persistence.accounts.companies import find_company
from persistence.schema.audit_tables import account_log
from persistence.schema.tables import stored_responses
from promo_api.errors import InvalidInput
from promo_api.runtime import Runtime
from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.specification import MAX_WEBHOOKS
from tests.accounts import Account, Api
from tests.integration.webhook_rows import PATH, URL, change_row, create_webhook, row_of

_PAST = datetime(2025, 1, 16, 12, 30, tzinfo=UTC)
_FAILING = {"failing_since": _PAST, "failures": 3}


@pytest.fixture
def company(api: Api) -> Account:
    """A company."""
    return api.sign_up_company()


def _path(webhook: dict[str, Any], operation: str = "") -> str:
    return f"{PATH}/{webhook['id']}{operation}"


def _outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_creation(company: Account, runtime: Runtime) -> None:
    """The secret is returned once, and stored encrypted. Without event types a webhook receives all."""
    types = ["promo.exhausted", "webhook.disabled"]
    first, second = create_webhook(company, event_types=types, enabled=False), create_webhook(company)
    assert (first["event_types"], first["enabled"], first["url"]) == (types, False, URL)
    assert ("event_types" in second, second["enabled"]) == (False, True)
    listed = company.get(PATH).json()
    shown = [{name: value for name, value in each.items() if name != "secret"} for each in (second, first)]
    assert listed == shown == [company.get(_path(each)).json() for each in (second, first)]
    for each in (first, second):
        stored = row_of(runtime, each).secret
        assert runtime.webhook_secrets.decrypt(stored) == each["secret"] != stored
    assert first["secret"] != second["secret"]


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"url": "https://"}, "/url"),
        ({"url": "ftp://shop.example/"}, "/url"),
        ({"url": "https://ann@shop.example/"}, "/url"),
        ({"url": "https://ann:secret@shop.example/"}, "/url"),
        ({"url": "https://shop.example/#part"}, "/url"),
        ({"url": "https://shop.example/ hook"}, "/url"),
        ({"url": "https://shop.example/\nhook"}, "/url"),
        ({"url": "https://shop.example/höök"}, "/url"),
        ({"url": "https://shöp.example/"}, "/url"),
        ({"url": "https://shop.example:65536/"}, "/url"),
        ({"url": "https://shop.example:0/"}, "/url"),
        ({"url": "https://shop.example\\@evil.example/"}, "/url"),
        ({"url": "https:/shop.example/"}, "/url"),
        ({"url": "//shop.example/"}, "/url"),
        ({"url": f"https://{'a' * 64}.example/"}, "/url"),
        ({"url": f"https://shop.example/{'x' * 2028}"}, "/url"),
        ({"event_types": []}, "/event_types"),
        ({"event_types": ["promo.gone"]}, "/event_types/0"),
        ({"event_types": ["promo.expired", "promo.expired"]}, "/event_types"),
        ({"event_types": None}, "/event_types"),
        ({"enabled": None}, "/enabled"),
        ({"secret": "whsec_mine"}, "/secret"),
    ],
)
def test_invalid_values(company: Account, values: dict[str, Any], pointer: str) -> None:
    """URL and event types are validated, and a client cannot choose the secret; the same in a change."""
    created = create_webhook(company)
    response = company.post(PATH, json={"url": URL, **values})
    assert response.status_code == 400, response.text
    assert [each["pointer"] for each in response.json()["details"]] == [pointer]
    if values != {"event_types": None}:
        response = company.patch(_path(created), json=values)
        assert [each["pointer"] for each in response.json()["details"]] == [pointer]
    assert len(company.get(PATH).json()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example:65535/a/b;c=1?x=%20&y=a@b:/?",
        "https://203.0.113.7:8443/",
        f"https://shop.example/{'x' * 2027}",
    ],
)
def test_valid_urls(company: Account, url: str) -> None:
    """A URL of up to 2,048 characters is stored as it was sent."""
    assert create_webhook(company, url=url)["url"] == url


def test_insecure_urls(company: Account, runtime: Runtime) -> None:
    """A URL with http:// is refused, unless the operator allows it."""
    body = {"url": "http://shop.example/"}
    with runtime.database.autocommit() as connection:
        caller = find_company(connection, UUID(company.id))
    created = create_webhook(company)
    allowing, refusing = (
        replace(runtime, settings=replace(runtime.settings, webhook_http_allowed=allowed)) for allowed in (True, False)
    )
    assert business_webhooks.create_webhook(allowing, caller, body=body)[1] == 201
    for change in (
        lambda: business_webhooks.create_webhook(refusing, caller, body=body),
        lambda: business_webhooks.update_webhook(refusing, caller, id=UUID(created["id"]), body=body),
    ):
        with pytest.raises(InvalidInput) as error:
            change()
        assert error.value.code == "insecure_url"


def test_repeated_creation(company: Account, runtime: Runtime) -> None:
    """A request with a used Idempotency-Key returns the same secret, which the stored response does not contain."""
    text = uuid4().hex
    key = {"Idempotency-Key": text}
    first, again = (company.post(PATH, json={"url": URL}, headers=key) for _ in range(2))
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert "idempotent-replayed" not in first.headers
    assert len(company.get(PATH).json()) == 1
    with runtime.database.autocommit() as connection:
        [body] = connection.scalars(select(stored_responses.c.body).where(stored_responses.c.key == text))
    assert body["id"] == first.json()["id"]
    assert first.json()["secret"] not in str(body)
    assert _outcome(company.post(PATH, json={"url": f"{URL}/2"}, headers=key)) == (422, "idempotency_key_reused")


def test_secret_that_no_key_decrypts(company: Account, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated creation is refused if the operator has removed the key that encrypted its secret."""
    key = {"Idempotency-Key": uuid4().hex}
    assert company.post(PATH, json={"url": URL}, headers=key).status_code == 201
    monkeypatch.setattr(runtime.webhook_secrets, "_all", WebhookSecrets(["another key"])._all)
    assert _outcome(company.post(PATH, json={"url": URL}, headers=key)) == (422, "idempotency_key_reused")


def test_limit(company: Account) -> None:
    """A company has at most 20 webhooks. A disabled one counts, and a deleted one does not."""
    created = [create_webhook(company, enabled=False) for _ in range(MAX_WEBHOOKS)]
    assert _outcome(company.post(PATH, json={"url": URL})) == (409, "too_many_webhooks")
    assert company.delete(_path(created[3])).status_code == 200
    create_webhook(company)
    assert _outcome(company.post(PATH, json={"url": URL})) == (409, "too_many_webhooks")
    assert len(company.get(PATH).json()) == MAX_WEBHOOKS


def test_deletion(company: Account, runtime: Runtime) -> None:
    """A deleted webhook is not found by any operation. Its row stays for a sweeper."""
    webhook, other = create_webhook(company), create_webhook(company)
    assert company.delete(_path(webhook)).json() == {"status": "ok"}
    responses = [
        company.delete(_path(webhook)),
        company.get(_path(webhook)),
        company.patch(_path(webhook), json={"enabled": True}),
        company.post(_path(webhook, "/rotate-secret")),
        company.post(_path(webhook, "/test")),
        company.get(_path(webhook, "/deliveries")),
        company.post(_path(webhook, "/redeliver"), json={"since": "2025-01-16T12:30:00Z"}),
    ]
    assert {_outcome(each) for each in responses} == {(404, "webhook_not_found")}
    assert [each["id"] for each in company.get(PATH).json()] == [other["id"]]
    assert row_of(runtime, webhook).deleted_at is not None
    assert row_of(runtime, other).deleted_at is None


def test_changes(company: Account) -> None:
    """A member that is left out stays as it is, and null stands for all event types."""
    webhook = create_webhook(company, event_types=["promo.expired"])
    expected = {name: value for name, value in webhook.items() if name != "secret"}
    for changes in (
        {},
        {"url": f"{URL}/2"},
        {"enabled": False},
        {"event_types": ["promo.created", "webhook.test"]},
        {"event_types": None},
        {"enabled": True, "url": URL},
    ):
        response = company.patch(_path(webhook), json=changes)
        expected = {name: value for name, value in {**expected, **changes}.items() if value is not None}
        assert (response.status_code, response.json()) == (200, expected)
        assert company.get(_path(webhook)).json() == expected


@pytest.mark.parametrize(
    ("changes", "is_cleared"),
    [
        ({"event_types": ["promo.expired"]}, False),
        ({"enabled": False}, False),
        ({"enabled": False, "url": f"{URL}/2"}, False),
        ({"enabled": True}, True),
        ({"url": f"{URL}/2"}, True),
        ({"url": URL}, False),
    ],
)
def test_failing_webhook(company: Account, runtime: Runtime, changes: dict[str, Any], is_cleared: bool) -> None:
    """Another URL, or an explicit `enabled`, ends the pause after failures. Other changes do not."""
    webhook = create_webhook(company)
    later = datetime.now(UTC) + timedelta(minutes=4)
    change_row(runtime, webhook, **_FAILING, paused_until=later)
    assert company.get(_path(webhook)).json()["failing_since"] == _PAST.isoformat()
    changed = company.patch(_path(webhook), json=changes).json()
    assert ("failing_since" in changed, "paused_until" in changed) == (not is_cleared, not is_cleared)
    row = row_of(runtime, webhook)
    assert (row.failing_since, row.failures, row.paused_until) == ((None, 0, None) if is_cleared else (_PAST, 3, later))


def test_pause_that_is_over(company: Account, runtime: Runtime) -> None:
    """The end of a pause is shown until it has passed."""
    webhook = create_webhook(company)
    change_row(runtime, webhook, **_FAILING, paused_until=_PAST)
    assert company.get(_path(webhook)).json().keys() & {"failing_since", "paused_until"} == {"failing_since"}


def test_enabling_a_disabled_webhook(company: Account, runtime: Runtime) -> None:
    """Enabling a webhook that the service has disabled removes the reason, and a mail that is due."""
    webhook = create_webhook(company)
    disabled = {"enabled": False, "disabled_reason": "gone", "disabled_at": _PAST}
    change_row(runtime, webhook, **_FAILING, **disabled, mail_due_at=_PAST, mail_attempts=2)
    shown = company.get(_path(webhook)).json()
    assert (shown["enabled"], shown["disabled_reason"], shown["disabled_at"]) == (False, "gone", _PAST.isoformat())
    changed = company.patch(_path(webhook), json={"url": f"{URL}/2"}).json()
    assert changed["disabled_reason"] == "gone"
    changed = company.patch(_path(webhook), json={"enabled": True}).json()
    assert changed["enabled"]
    assert not changed.keys() & {"disabled_reason", "disabled_at", "failing_since"}
    row = row_of(runtime, webhook)
    assert (row.mail_due_at, row.mail_attempts, row.failures, row.disabled_reason) == (None, 0, 0, None)


def test_rotation(company: Account, runtime: Runtime) -> None:
    """A new secret replaces the other, which signs too for 24 hours. Only the last two sign."""
    webhook = create_webhook(company)
    secrets = [webhook["secret"]]
    for _ in range(2):
        rotated = company.post(_path(webhook, "/rotate-secret")).json()
        secrets.append(rotated["secret"])
        row = row_of(runtime, webhook)
        stored = [runtime.webhook_secrets.decrypt(each) for each in (row.previous_secret, row.secret)]
        assert stored == secrets[-2:]
        overlap = row.previous_until - datetime.now(UTC)
        assert timedelta(hours=23, minutes=59) < overlap <= timedelta(hours=24)
        assert rotated["previous_secret_until"] == company.get(_path(webhook)).json()["previous_secret_until"]
    assert len({*secrets}) == 3
    change_row(runtime, webhook, previous_until=_PAST)
    assert "previous_secret_until" not in company.get(_path(webhook)).json()


def test_repeated_rotation(company: Account, runtime: Runtime) -> None:
    """A repeated rotation with a key returns the same secret, and the previous one still signs."""
    webhook, key = create_webhook(company), {"Idempotency-Key": uuid4().hex}
    first, again = (company.post(_path(webhook, "/rotate-secret"), headers=key) for _ in range(2))
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert runtime.webhook_secrets.decrypt(row_of(runtime, webhook).previous_secret) == webhook["secret"]
    other = create_webhook(company)
    assert _outcome(company.post(_path(other, "/rotate-secret"), headers=key)) == (422, "idempotency_key_reused")


def test_audit_log(company: Account, runtime: Runtime) -> None:
    """Creation, change, rotation and deletion are recorded. A request that changes nothing is not."""
    webhook = create_webhook(company)
    for changes in ({}, {"enabled": True}, {"enabled": False}):
        company.patch(_path(webhook), json=changes)
    company.post(_path(webhook, "/rotate-secret"))
    for _ in range(2):
        company.delete(_path(webhook))
    events = account_log.c
    query = select(events.event, events.webhook_id).where(events.account_id == UUID(company.id)).order_by(events.id)
    with runtime.database.autocommit() as connection:
        recorded = [(event, str(webhook_id)) for event, webhook_id in connection.execute(query)][1:]
    names = ["webhook_created", "webhook_changed", "webhook_secret_rotated", "webhook_deleted"]
    assert recorded == [(name, webhook["id"]) for name in names]
