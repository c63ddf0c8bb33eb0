"""Sends the mails of password resets, at least once.

A process moves the due time of a mail forward before it sends the mail, outside of a transaction. If the process dies,
another one sends the mail at that time. A mail that fails is tried again until its link expires.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from persistence.accounts.password_resets import (
    DueMail,
    claim_due_mail,
    close_mail,
    delete_expired_resets,
    find_email,
    update_mail_due,
)
from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.mail.attempts import record_failure, send_mail
from promo_api.mail.messages import reset_message
from promo_api.mail.smtp import RESPONSES_MAX, Mailer
from promo_api.security.reset_tokens import ResetTokens

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
        # Without a recipient: an unknown address, or the account was closed.
        pause_s = None if recipient is None else self._send(mailer, mail, recipient, now)
        with self._database.autocommit() as connection:
            if pause_s is None:
                close_mail(connection, mail.reset)
            else:
                update_mail_due(connection, mail.reset, self._clock() + timedelta(seconds=pause_s))
        return 1

    def _send(self, mailer: Mailer, mail: DueMail, recipient: str, now: datetime) -> float | None:
        """Send a mail, and return the pause before the next attempt; None: none follows."""
        reset = mail.reset
        if reset.expires_at <= now:
            return record_failure("expired", mail.attempts, is_permanent=True)
        token = self._tokens.issue(reset.account_id, reset.nonce, reset.digest)
        if token is None:
            # Another process may have the key, while SECRET_KEY is being replaced.
            return record_failure("unknown_key", mail.attempts)
        create = partial(
            reset_message,
            mailer.sender,
            recipient,
            self._link.replace("{kind}", _KINDS[reset.kind]).replace("{token}", token),
            date=now,
            expires_at=reset.expires_at,
            reference=reset.digest[:16].hex(),
        )
        return send_mail(mailer, create, recipient, mail.attempts)
