"""Mails of password resets: each fault of the mail server has an outcome, and no mail is lost.

The clock of these mails is ahead, so that the sweeper of the service under test leaves them alone.
"""

import logging
import ssl
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiosmtpd.smtp import AuthResult
from sqlalchemy import text

from persistence.accounts.password_resets import PasswordReset, insert_reset
from promo_api.config.settings import Settings
from promo_api.dev.ports import free_port, listen
from promo_api.mail.reset_mails import ResetMails
from promo_api.runtime import Runtime
from promo_api.telemetry import metrics
from tests.accounts import Api
from tests.certificates import make_ca, make_server_certificate
from tests.integration.outboxes import Outbox, have_doubled
from tests.mailbox import Mailbox, token_of

_AHEAD = timedelta(days=1)
_LIFETIME = timedelta(minutes=30)


class ResetOutbox(Outbox):
    """The outbox of mails that reset passwords."""

    def request(self, **changes: Any) -> str:
        """Request a mail for a new user, and return the address."""
        user = self.api.sign_up_user(**changes)
        account_id = self.runtime.tokens.read(user.token, "user").account_id
        self.insert("user", account_id)
        return user.email

    def insert(self, kind: str, account_id: UUID) -> None:
        """Store a mail that is due."""
        nonce, digest = self.runtime.reset_tokens.create()
        reset = PasswordReset(account_id, kind, digest, nonce, self.now + _LIFETIME)
        with self.runtime.database.autocommit() as connection:
            insert_reset(connection, "no account", reset, self.now)

    def pending(self) -> list[tuple[float, int]]:
        """Return the pause and the attempts of the mails that are to be sent."""
        query = text("SELECT mail_due_at, mail_attempts FROM password_resets WHERE mail_due_at > :since")
        with self.runtime.database.autocommit() as connection:
            rows = connection.execute(query, {"since": datetime.now(UTC) + _AHEAD / 2}).all()
        return [((due_at - self.now).total_seconds(), attempts) for due_at, attempts in rows]


@pytest.fixture
def outbox(runtime: Runtime, settings: Settings, api: Api) -> Iterator[ResetOutbox]:
    """An outbox without mails, whose clock is a day ahead."""
    # Mails of other tests, which the sweeper of the service has not sent yet, would be due here.
    with runtime.database.autocommit() as connection:
        connection.execute(text("DELETE FROM password_resets"))
    outbox = ResetOutbox(runtime, replace(settings, smtp_timeout_s=0.5), api, datetime.now(UTC) + _AHEAD, ResetMails)
    yield outbox
    with runtime.database.autocommit() as connection:
        connection.execute(
            text("DELETE FROM password_resets WHERE expires_at > :since"), {"since": datetime.now(UTC) + _AHEAD / 2}
        )


def _is_retried(outbox: ResetOutbox) -> bool:
    """Return whether the mail waits for its second attempt, of 3.75 to 5 seconds later."""
    [(pause_s, attempts)] = outbox.pending()
    return attempts == 1 and 3.7 < pause_s <= 5


def _assert_sent_later(outbox: ResetOutbox, mailbox: Mailbox, email: str) -> None:
    """Assert that the next attempt sends the mail, and no other follows."""
    outbox.now += timedelta(seconds=5)
    assert outbox.sweep(smtp_url=mailbox.url) == 1
    assert len(mailbox.to(email)) == 1
    assert outbox.pending() == []
    assert outbox.sweep(smtp_url=mailbox.url) == 0


def test_refused_connection(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """If the mail server is down, the mail is sent later."""
    email = outbox.request()
    assert outbox.sweep(smtp_url=f"smtp://127.0.0.1:{free_port('127.0.0.1')}") == 1
    assert reasons() == [("unavailable", True)]
    assert _is_retried(outbox)
    _assert_sent_later(outbox, mailbox, email)


@pytest.mark.parametrize("stage", ["rcpt", "data"])
@pytest.mark.parametrize(("code", "reason", "is_retried"), [(451, "deferred", True), (550, "refused", False)])
def test_response_codes(
    outbox: ResetOutbox,
    mailbox: Mailbox,
    reasons: Callable[[], Any],
    stage: str,
    code: int,
    reason: str,
    is_retried: bool,
) -> None:
    """After a 4xx the mail is sent later; after a 5xx it is dropped."""
    email = outbox.request()
    faulty = Mailbox(**{stage: lambda *_: f"{code} no"})
    with faulty.server():
        assert outbox.sweep(smtp_url=faulty.url) == 1
    assert reasons() == [(reason, is_retried)]
    if is_retried:
        assert _is_retried(outbox)
        _assert_sent_later(outbox, mailbox, email)
    else:
        assert outbox.pending() == []


def test_timeout(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """If the mail server does not respond in time, the mail is sent later."""
    email = outbox.request()
    with _silent_server() as address:
        assert outbox.sweep(smtp_url=f"smtp://{address}") == 1
    assert reasons() == [("timeout", True)]
    assert _is_retried(outbox)
    _assert_sent_later(outbox, mailbox, email)


def test_disconnect_in_data(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """If the connection ends before the mail is accepted, the mail is sent later."""
    email = outbox.request()

    def disconnect(server: Any) -> str:
        server.transport.abort()
        return "250 OK"

    faulty = Mailbox(data=disconnect)
    with faulty.server():
        assert outbox.sweep(smtp_url=faulty.url) == 1
    assert reasons() == [("disconnected", True)]
    assert _is_retried(outbox)
    _assert_sent_later(outbox, mailbox, email)


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_tls(outbox: ResetOutbox, reasons: Callable[[], Any], tmp_path: Path, scheme: str) -> None:
    """TLS and STARTTLS need a certificate of a trusted CA; with another one, the mail is sent later."""
    ca = make_ca(tmp_path, "ca")
    certificate = make_server_certificate(tmp_path, ca, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    options = {"tls": context} if scheme == "smtps" else {"tls_context": context, "require_starttls": True}
    email, secure = outbox.request(), Mailbox()
    with secure.server(**options) as server:
        url = f"{scheme}://{server.address}"
        assert outbox.sweep(smtp_url=url) == 1
        assert reasons() == [("tls_failed", True)]
        assert _is_retried(outbox)
        outbox.now += timedelta(seconds=5)
        assert outbox.sweep(smtp_url=url, smtp_ca_file=str(ca.certificate)) == 1
        assert len(secure.to(email)) == 1


def test_starttls_is_required(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """With starttls=required, or a password, no mail is sent in plain text."""
    email = outbox.request()
    for url in (f"{mailbox.url}?starttls=required", mailbox.url.replace("//", "//name:password@")):
        assert outbox.sweep(smtp_url=url) == 1
        outbox.now += timedelta(seconds=10)
    assert reasons() == [("not_supported", True)] * 2
    assert mailbox.now(email) == []
    _assert_sent_later(outbox, mailbox, email)


def test_sign_in(outbox: ResetOutbox, reasons: Callable[[], Any], tmp_path: Path) -> None:
    """The service signs in to the mail server; with a wrong password, the mail is sent later."""
    ca = make_ca(tmp_path, "ca")
    certificate = make_server_certificate(tmp_path, ca, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"shop", b"p@ss word"), handled=False)

    email, secure = outbox.request(), Mailbox()
    options = {"tls_context": context, "authenticator": authenticate, "auth_required": True}
    with secure.server(**options) as server:
        for password in ("wrong", "p%40ss%20word"):
            url = f"smtp://shop:{password}@{server.address}"
            assert outbox.sweep(smtp_url=url, smtp_ca_file=str(ca.certificate)) == 1
            outbox.now += timedelta(seconds=5)
        assert reasons() == [("login_failed", True)]
        assert len(secure.to(email)) == 1


def test_killed_process(outbox: ResetOutbox, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a process dies after the mail was accepted, another sends the same mail again, once, after the lease."""
    email = outbox.request()
    outbox.sweep_and_die(monkeypatch, smtp_url=mailbox.url)
    assert outbox.sweep(smtp_url=mailbox.url) == 0
    outbox.now += timedelta(seconds=6)  # twelve responses of half a second
    assert outbox.sweep(smtp_url=mailbox.url) == 1
    assert outbox.sweep(smtp_url=mailbox.url) == 0
    first, second = mailbox.to(email, 2)
    assert token_of(first) == token_of(second)
    assert first["Message-ID"] == second["Message-ID"]


def test_concurrent_processes(outbox: ResetOutbox, mailbox: Mailbox) -> None:
    """Several processes send each mail once."""
    emails = [outbox.request() for _ in range(12)]
    outbox.sweep_concurrently(smtp_url=mailbox.url, smtp_timeout_s=30)
    assert [len(mailbox.to(email)) for email in emails] == [1] * 12
    assert outbox.pending() == []


def test_retries_until_the_link_expires(outbox: ResetOutbox, reasons: Callable[[], Any]) -> None:
    """Pauses double up to five minutes; a mail whose link has expired is dropped, and its row deleted."""
    outbox.request()
    ends_at, url = outbox.now + _LIFETIME, f"smtp://127.0.0.1:{free_port('127.0.0.1')}"
    pauses_s = []
    while outbox.sweep(smtp_url=url) and outbox.pending():
        [(pause_s, _)] = outbox.pending()
        pauses_s.append(pause_s)
        outbox.now += timedelta(seconds=pause_s)
    assert have_doubled(pauses_s)
    assert ends_at <= outbox.now <= ends_at + timedelta(minutes=5)
    assert reasons() == [*[("unavailable", True)] * len(pauses_s), ("expired", False)]
    with outbox.runtime.database.autocommit() as connection:
        count = text("SELECT count(*) FROM password_resets WHERE expires_at = :at")
        assert connection.scalar(count, {"at": ends_at}) == 1
        assert outbox.sweep(smtp_url=url) == 0
        assert connection.scalar(count, {"at": ends_at}) == 0


def test_newer_request_during_a_mail(outbox: ResetOutbox, mailbox: Mailbox) -> None:
    """A request while the earlier mail is being sent has its own mail."""
    user = outbox.api.sign_up_user()
    account_id = outbox.runtime.tokens.read(user.token, "user").account_id
    outbox.insert("user", account_id)

    def request_again(_server: Any) -> None:
        outbox.insert("user", account_id)

    first = Mailbox(data=request_again)
    with first.server():
        assert outbox.sweep(smtp_url=first.url) == 1
    assert outbox.sweep(smtp_url=mailbox.url) == 1
    assert token_of(first.to(user.email)[0]) != mailbox.token(user.email)
    assert outbox.sweep(smtp_url=mailbox.url) == 0


def test_closed_and_unknown_accounts(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """No mail is sent for an unknown address; its row stays until it expires, as that of an account."""
    outbox.insert("user", uuid4())
    outbox.insert("company", uuid4())
    assert [outbox.sweep(smtp_url=mailbox.url) for _ in range(3)] == [1, 1, 0]
    assert (outbox.pending(), reasons()) == ([], [])


@pytest.mark.parametrize(
    ("url", "start", "end"),
    [
        ("https://shop.example/reset?lang=en&token={token}", "https://shop.example/reset?lang=en&token=", ""),
        ("https://shop.example/?a=1#kind={kind}&t={token}&b", "https://shop.example/?a=1#kind=user&t=", "&b"),
        ("http://localhost:3000/{kind}/reset/{token}/", "http://localhost:3000/user/reset/", "/"),
    ],
)
def test_link(outbox: ResetOutbox, mailbox: Mailbox, url: str, start: str, end: str) -> None:
    """The token stands where the setting says, also in a URL with a query or a fragment."""
    email = outbox.request()
    assert outbox.sweep(smtp_url=mailbox.url, password_reset_url=url) == 1
    body = mailbox.to(email)[0].get_body(("plain",))
    assert body is not None
    link = body.get_content().splitlines()[2]
    token = link.removeprefix(start).removesuffix(end)
    assert (link, len(urlsafe_b64decode(token))) == (f"{start}{token}{end}", 48)


def test_mail_has_no_input(outbox: ResetOutbox, mailbox: Mailbox) -> None:
    """A mail contains no text that a user or company has entered, except the address."""
    name = "<b>Eve</b> Bcc: eve@mail.example"
    user_email = outbox.request(name=name, surname=name)
    company = outbox.api.sign_up_company(name=name)
    outbox.insert("company", outbox.runtime.tokens.read(company.token, "company").account_id)
    assert [outbox.sweep(smtp_url=mailbox.url) for _ in range(3)] == [1, 1, 0]
    for email in (user_email, company.email):
        [message] = mailbox.to(email)
        assert "Bcc" not in message
        assert "eve" not in message.as_string().lower()


def test_address_that_no_mail_can_have(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """A mail is dropped if its address, which is a valid one, looks like an encoded header."""
    email = outbox.request(email=f"=?utf-8?q?{uuid4().hex}?=@mail.example")
    assert outbox.sweep(smtp_url=mailbox.url) == 1
    assert (reasons(), mailbox.now(email), outbox.pending()) == ([("invalid_address", False)], [], [])


def test_key_rotation(outbox: ResetOutbox, mailbox: Mailbox, reasons: Callable[[], Any]) -> None:
    """Mails of an earlier key are sent while the key is configured, afterwards by a process that has it."""
    email, key = outbox.request(), outbox.settings.secret_key
    assert outbox.sweep(smtp_url=mailbox.url, secret_key=f"{'a newer key of tests' * 3},{key}") == 1
    assert len(urlsafe_b64decode(mailbox.token(email))) == 48
    email = outbox.request()
    assert outbox.sweep(smtp_url=mailbox.url, secret_key="a newer key of tests" * 3) == 1
    assert (reasons(), mailbox.now(email)) == ([("unknown_key", True)], [])
    _assert_sent_later(outbox, mailbox, email)


def test_log_has_no_address(outbox: ResetOutbox, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a failed mail contains neither the address nor the link nor the password of the mail server."""
    caplog.set_level(logging.DEBUG)
    email = outbox.request()
    caplog.clear()
    outbox.sweep(smtp_url=f"smtp://shop:hunter2@127.0.0.1:{free_port('127.0.0.1')}")
    logged = "".join(str(record.__dict__) for record in caplog.records if record.name.startswith("promo_api"))
    assert "mail_failed" in logged
    assert not [secret for secret in (email, "shop.example", "hunter2") if secret in logged]


def test_metrics(outbox: ResetOutbox, mailbox: Mailbox) -> None:
    """Sent, failed and dropped mails are counted."""
    counters = {result: metrics._mails[result] for result in ("sent", "failed", "dropped")}
    before = {result: counter._value.get() for result, counter in counters.items()}
    refusing = Mailbox(rcpt=lambda: "550 no")
    with refusing.server():
        for url in (mailbox.url, f"smtp://127.0.0.1:{free_port('127.0.0.1')}", refusing.url):
            outbox.request()
            outbox.sweep(smtp_url=url)
    assert {result: counter._value.get() - before[result] for result, counter in counters.items()} == {
        "sent": 1, "failed": 1, "dropped": 1,
    }  # fmt: skip


@contextmanager
def _silent_server() -> Iterator[str]:
    """Listen without a response."""
    with listen("127.0.0.1", None) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
