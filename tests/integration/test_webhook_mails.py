"""Mails about disabled webhooks: each is sent once in normal operation, and given up after a day."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from promo_api.config.settings import Settings
from promo_api.dev.ports import free_port
from promo_api.mail.webhook_mails import WebhookMails
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.outboxes import Outbox, have_doubled
from tests.integration.stored_webhooks import StoredWebhook, delete_all, store_webhook
from tests.mailbox import Mailbox

_NOW = datetime(2026, 5, 4, 9, 30, 15, tzinfo=UTC)


class WebhookOutbox(Outbox):
    """The outbox of mails about webhooks."""

    def disable(self, company: Account, **values: Any) -> StoredWebhook:
        """Store a webhook that was disabled now."""
        company_id = self.runtime.tokens.read(company.token, "company").account_id
        values = {"disabled_reason": "gone", "disabled_at": self.now, "mail_due_at": self.now, **values}
        return store_webhook(self.runtime.database, company_id, enabled=False, **values)


@pytest.fixture
def outbox(runtime: Runtime, settings: Settings, api: Api) -> Iterator[WebhookOutbox]:
    """An outbox without mails."""
    delete_all(runtime.database)
    yield WebhookOutbox(runtime, replace(settings, smtp_timeout_s=5), api, _NOW, WebhookMails)
    delete_all(runtime.database)


def _mail(webhook: StoredWebhook) -> tuple[datetime | None, int]:
    """Return when the mail is due, and its attempts."""
    row = webhook.read()
    assert row is not None
    return row["mail_due_at"], row["mail_attempts"]


def _down() -> str:
    return f"smtp://127.0.0.1:{free_port('127.0.0.1')}"


@pytest.mark.parametrize(
    ("values", "reason", "since"),
    [
        ({}, "responded with status 410", "2026-05-04T09:30:15Z"),
        (
            {"disabled_reason": "failing", "failing_since": _NOW - timedelta(days=3), "failures": 9},
            "No delivery has succeeded since 2026-05-01 09:30 UTC.",
            "2026-05-01T09:30:15Z",
        ),
    ],
)
def test_text(outbox: WebhookOutbox, mailbox: Mailbox, values: dict[str, Any], reason: str, since: str) -> None:
    """The mail has the host without the rest of the URL, the time, the reason, and what to do."""
    company = outbox.api.sign_up_company()
    webhook = outbox.disable(company, url="https://shop.example:8443/hook/9?key=hunter2", **values)
    assert [outbox.sweep(smtp_url=mailbox.url) for _ in range(2)] == [1, 0]
    [message] = mailbox.to(company.email)
    bodies = [message.get_body((kind,)) for kind in ("plain", "html")]
    for body in bodies:
        assert body is not None
        content = body.get_content()
        assert "hunter2" not in content
        assert "/hook" not in content
        for part in (
            "shop.example",
            "2026-05-04 09:30 UTC",
            reason,
            since,
            "30 days",
            f"/business/webhooks/{webhook.id}",
        ):
            assert part in content
    assert _mail(webhook) == (None, 0)


def test_host_is_escaped(outbox: WebhookOutbox, mailbox: Mailbox) -> None:
    """A host cannot add tags to the HTML."""
    company = outbox.api.sign_up_company()
    outbox.disable(company, url="https://<b>shop.example/")
    assert outbox.sweep(smtp_url=mailbox.url) == 1
    [message] = mailbox.to(company.email)
    html = message.get_body(("html",))
    assert html is not None
    assert "Host: &lt;b&gt;shop.example<br>" in html.get_content()


def test_without_a_mail_server(outbox: WebhookOutbox, mailbox: Mailbox) -> None:
    """Without SMTP_URL no mail is sent, also not later, when there is one."""
    company = outbox.api.sign_up_company()
    webhook = outbox.disable(company)
    assert outbox.sweep(smtp_url="") == 0
    assert _mail(webhook) == (None, 0)
    assert outbox.sweep(smtp_url=mailbox.url) == 0
    assert mailbox.now(company.email) == []


@pytest.mark.parametrize(("code", "reason", "is_retried"), [(451, "deferred", True), (550, "refused", False)])
def test_response_codes(
    outbox: WebhookOutbox, mailbox: Mailbox, reasons: Callable[[], Any], code: int, reason: str, is_retried: bool
) -> None:
    """After a 4xx the mail is sent later; after a 5xx it is dropped."""
    company = outbox.api.sign_up_company()
    webhook = outbox.disable(company)
    faulty = Mailbox(rcpt=lambda: f"{code} no")
    with faulty.server():
        assert outbox.sweep(smtp_url=faulty.url) == 1
    assert reasons() == [(reason, is_retried)]
    due_at, attempts = _mail(webhook)
    assert (due_at is not None, attempts) == (is_retried, is_retried)
    outbox.now += timedelta(seconds=5)
    assert outbox.sweep(smtp_url=mailbox.url) == is_retried
    assert len(mailbox.now(company.email)) == is_retried


def test_retries_for_a_day(outbox: WebhookOutbox, reasons: Callable[[], Any]) -> None:
    """Pauses double up to five minutes; after a day the mail is dropped."""
    webhook = outbox.disable(outbox.api.sign_up_company())
    url, pauses_s = _down(), []
    while outbox.sweep(smtp_url=url) and (due_at := _mail(webhook)[0]):
        pauses_s.append((due_at - outbox.now).total_seconds())
        outbox.now = due_at
    assert have_doubled(pauses_s)
    assert timedelta(days=1) <= outbox.now - _NOW <= timedelta(days=1, minutes=5)
    assert reasons()[-2:] == [("unavailable", True), ("expired", False)]
    assert outbox.sweep(smtp_url=url) == 0


def test_killed_process(outbox: WebhookOutbox, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a process dies while it sends a mail, another one sends it again with the same Message-ID."""
    company = outbox.api.sign_up_company()
    outbox.disable(company)
    outbox.sweep_and_die(monkeypatch, smtp_url=mailbox.url)
    assert outbox.sweep(smtp_url=mailbox.url) == 0
    outbox.now += timedelta(seconds=60)  # twelve responses of five seconds
    assert [outbox.sweep(smtp_url=mailbox.url) for _ in range(2)] == [1, 0]
    first, second = mailbox.to(company.email, 2)
    assert first["Message-ID"] == second["Message-ID"]


def test_concurrent_processes(outbox: WebhookOutbox, mailbox: Mailbox) -> None:
    """Several processes send each mail once."""
    company = outbox.api.sign_up_company()
    for _ in range(12):
        outbox.disable(company)
    outbox.sweep_concurrently(smtp_url=mailbox.url)
    assert len({message["Message-ID"] for message in mailbox.to(company.email, 12)}) == 12
    assert len(mailbox.now(company.email)) == 12


def test_enabled_during_a_mail(outbox: WebhookOutbox, mailbox: Mailbox) -> None:
    """A webhook that is enabled and disabled again while a mail is being sent has its own mail then."""
    company = outbox.api.sign_up_company()
    webhook = outbox.disable(company)

    def disable_again(_server: Any) -> None:
        later = outbox.now + timedelta(seconds=1)
        webhook.change(disabled_at=later, mail_due_at=later, mail_attempts=0)

    first = Mailbox(data=disable_again)
    with first.server():
        assert outbox.sweep(smtp_url=first.url) == 1
    outbox.now += timedelta(seconds=1)
    assert [outbox.sweep(smtp_url=mailbox.url) for _ in range(2)] == [1, 0]
    assert len(mailbox.now(company.email)) == 1


@pytest.mark.parametrize(
    "values", [{"deleted_at": _NOW}, {"enabled": True, "disabled_at": None, "disabled_reason": None}]
)
def test_no_longer_disabled(outbox: WebhookOutbox, mailbox: Mailbox, values: dict[str, Any]) -> None:
    """A webhook that was deleted or enabled meanwhile needs no mail."""
    company = outbox.api.sign_up_company()
    outbox.disable(company).change(**values)
    assert outbox.sweep(smtp_url=mailbox.url) == 0
    assert mailbox.now(company.email) == []


def test_closed_company(outbox: WebhookOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """A company that is closed gets no mail."""
    webhook = store_webhook(
        outbox.runtime.database, enabled=False, disabled_reason="gone", disabled_at=_NOW, mail_due_at=_NOW
    )
    assert [outbox.sweep(smtp_url=mailbox.url) for _ in range(2)] == [1, 0]
    assert (_mail(webhook), reasons()) == ((None, 0), [])
