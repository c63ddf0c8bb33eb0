"""Sends the mails of password resets, at least once.

A process moves the due time of a mail forward before it sends the mail, outside of a transaction. If the process dies,
another one sends the mail at that time. A mail that fails is tried again until its link expires.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from persistence.accounts.password_resets import (
    DueMail,
    PasswordReset,
    claim_due_mail,
    close_mail,
    delete_expired_resets,
    find_email,
    update_mail_due,
)
from persistence.database.engine import Database
from promo_api.backoff import backoff_s
from promo_api.config.settings import Settings
from promo_api.mail.messages import reset_message
from promo_api.mail.smtp import RESPONSES_MAX, Mailer, MailError
from promo_api.security.reset_tokens import ResetTokens
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

_FIRST_RETRY_S, _RETRY_MAX_S = 5.0, 300.0
_DELETED_PER_STEP = 1000
# As in the paths of the API.
_KINDS = {"company": "business", "user": "user"}


class ResetMails:
    """Sends mails that are due, and deletes expired resets; without SMTP_URL it only deletes."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._mailer = None if settings.smtp is None else Mailer(settings, settings.smtp)
        self._tokens = ResetTokens(settings.secret_keys)
        self._link = settings.password_reset_url
        self._lease = timedelta(seconds=RESPONSES_MAX * settings.smtp_timeout_s)
        self._clock = clock

    def send_next(self) -> int:
        """Send a mail that is due and return 1, or return 0: no mail is due, and expired resets are deleted."""
        now, mailer = self._clock(), self._mailer
        with self._database.autocommit() as connection:
            mail = claim_due_mail(connection, now, due_at=now + self._lease) if mailer else None
            if mail is None or mailer is None:
                delete_expired_resets(connection, now, limit=_DELETED_PER_STEP)
                return 0
            recipient = find_email(connection, mail.reset.kind, mail.reset.account_id)
        if recipient is None:  # an unknown address, or the account was closed
            self._close(mail.reset)
        elif mail.reset.expires_at <= now:
            self._fail(mail, "expired", is_permanent=True)
        else:
            self._send(mailer, mail, recipient)
        return 1

    def _send(self, mailer: Mailer, mail: DueMail, recipient: str) -> None:
        reset = mail.reset
        token = self._tokens.issue(reset.account_id, reset.nonce, reset.digest)
        if token is None:
            # Another process may have the key, while SECRET_KEY is being replaced.
            self._fail(mail, "unknown_key")
            return
        link = self._link.replace("{kind}", _KINDS[reset.kind]).replace("{token}", token)
        try:
            message = reset_message(
                mailer.sender,
                recipient,
                link,
                date=self._clock(),
                expires_at=reset.expires_at,
                reference=reset.digest[:16].hex(),
            )
        except ValueError:
            self._fail(mail, "invalid_address", is_permanent=True)
            return
        try:
            mailer.send(message, recipient)
        except MailError as error:
            self._fail(mail, error.reason, is_permanent=error.is_permanent)
        else:
            metrics.mail_sent()
            self._close(reset)

    def _fail(self, mail: DueMail, reason: str, *, is_permanent: bool = False) -> None:
        """Record a failure, and try again later unless it is permanent."""
        _log.warning("mail_failed", extra={"reason": reason, "attempts": mail.attempts, "will_retry": not is_permanent})
        metrics.mail_failed(will_retry=not is_permanent)
        if is_permanent:
            self._close(mail.reset)
            return
        pause_s = backoff_s(mail.attempts, _FIRST_RETRY_S, _RETRY_MAX_S)
        with self._database.autocommit() as connection:
            update_mail_due(connection, mail.reset, self._clock() + timedelta(seconds=pause_s))

    def _close(self, reset: PasswordReset) -> None:
        with self._database.autocommit() as connection:
            close_mail(connection, reset)
