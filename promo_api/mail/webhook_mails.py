"""Sends mails to companies whose webhook the service has disabled, at least once, for a day.

As in `reset_mails`, a process moves the due time of a mail forward before it sends the mail.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from persistence.accounts.password_resets import find_email
from persistence.database.engine import Database
from persistence.webhooks.mails import DueMail, claim_due_mail, close_mail, close_mails, update_mail_due
from promo_api.config.settings import Settings
from promo_api.mail.attempts import record_failure, send_mail
from promo_api.mail.messages import disabled_webhook_message
from promo_api.mail.smtp import RESPONSES_MAX, Mailer

_TRIED_FOR = timedelta(days=1)
_CLOSED_PER_STEP = 1000


class WebhookMails:
    """Sends mails that are due; without SMTP_URL none is ever due."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._mailer = None if settings.smtp is None else Mailer(settings, settings.smtp)
        self._lease = timedelta(seconds=RESPONSES_MAX * settings.smtp_timeout_s)
        self._events_days = settings.events_days
        self._clock = clock

    def send_next(self) -> int:
        """Send a mail that is due and return 1, or return 0: no mail is due."""
        now, mailer = self._clock(), self._mailer
        with self._database.autocommit() as connection:
            if mailer is None:
                close_mails(connection, limit=_CLOSED_PER_STEP)
                return 0
            mail = claim_due_mail(connection, now, due_at=now + self._lease)
            if mail is None:
                return 0
            recipient = find_email(connection, "company", mail.webhook.company_id)
        pause_s = None if recipient is None else self._send(mailer, mail, recipient, now)
        with self._database.autocommit() as connection:
            if pause_s is None:
                close_mail(connection, mail.webhook)
            else:
                update_mail_due(connection, mail.webhook, self._clock() + timedelta(seconds=pause_s))
        return 1

    def _send(self, mailer: Mailer, mail: DueMail, recipient: str, now: datetime) -> float | None:
        """Send a mail, and return the pause before the next attempt; None: none follows."""
        if mail.webhook.disabled_at + _TRIED_FOR <= now:
            return record_failure("expired", mail.attempts, is_permanent=True)
        create = partial(
            disabled_webhook_message, mailer.sender, recipient, mail.webhook, date=now, events_days=self._events_days
        )
        return send_mail(mailer, create, recipient, mail.attempts)
