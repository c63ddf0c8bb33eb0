"""Attempts to send a mail, and the pauses between them."""

import logging
from collections.abc import Callable
from email.message import EmailMessage

from promo_api.backoff import backoff_s
from promo_api.mail.smtp import Mailer, MailError
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

_FIRST_RETRY_S, _RETRY_MAX_S = 5.0, 300.0


def send_mail(mailer: Mailer, create: Callable[[], EmailMessage], recipient: str, attempts: int) -> float | None:
    """Send a mail, and return the pause before the next attempt; None: none follows.

    `attempts` includes the present one. `create` returns the mail, or raises ValueError if the address of the recipient
    cannot be in a mail.
    """
    try:
        message = create()
    except ValueError:
        return record_failure("invalid_address", attempts, is_permanent=True)
    try:
        mailer.send(message, recipient)
    except MailError as error:
        return record_failure(error.reason, attempts, is_permanent=error.is_permanent)
    metrics.mail_sent()
    return None


def record_failure(reason: str, attempts: int, *, is_permanent: bool = False) -> float | None:
    """Record that a mail was not sent, and return the pause before the next attempt; None: none follows."""
    _log.warning("mail_failed", extra={"reason": reason, "attempts": attempts, "will_retry": not is_permanent})
    metrics.mail_failed(will_retry=not is_permanent)
    return None if is_permanent else backoff_s(attempts, _FIRST_RETRY_S, _RETRY_MAX_S)
