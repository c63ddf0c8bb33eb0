"""The background jobs of webhooks, except for the sender: deletion, redelivery, mails, secrets and metrics."""

from collections.abc import Callable
from datetime import datetime

from persistence.database.engine import Database
from persistence.webhooks.redeliveries import insert_redeliveries
from persistence.webhooks.upkeep import (
    FIRST_WEBHOOK,
    count_webhooks,
    delete_webhook_batch,
    list_secrets,
    update_encryption,
)
from promo_api.background import BackgroundJob
from promo_api.config.settings import Settings
from promo_api.mail.webhook_mails import WebhookMails
from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.sweeper import Sweeper
from promo_api.telemetry import metrics

_DELETED, _DELETED_EVERY_S = 1000, 5.0
_REDELIVERIES_EVERY_S = 1.0
_SECRETS, _SECRETS_EVERY_S = 1000, 60.0
_MAILS_EVERY_S, _UNSENT_MAILS_EVERY_S = 1.0, 60.0
# A mail server may hang for longer than a stop may take. Another process sends the mail then.
_MAIL_STOP_MAX_S = 2.0
_COUNTED_MAX, _COUNTED_WEBHOOKS_MAX, _COUNT_EVERY_S = 100_000, 2_000, 15.0


def deleted_webhooks_sweeper(database: Database, every_s: float = _DELETED_EVERY_S) -> Sweeper:
    """Return the sweeper that deletes webhooks with their deliveries."""

    def step() -> int:
        with database.transaction() as connection:
            return delete_webhook_batch(connection, limit=_DELETED)

    return Sweeper("deleted_webhooks", step, 1, every_s)


def redeliveries_sweeper(database: Database, every_s: float = _REDELIVERIES_EVERY_S) -> Sweeper:
    """Return the sweeper that delivers earlier events again: webhooks take turns."""

    def step() -> int:
        with database.transaction() as connection:
            return insert_redeliveries(connection)

    return Sweeper("redeliveries", step, 1, every_s)


def webhook_secrets_sweeper(database: Database, secrets: WebhookSecrets, every_s: float = _SECRETS_EVERY_S) -> Sweeper:
    """Return the sweeper that encrypts secrets with the first SECRET_KEY. It reads a batch of webhooks at a time."""
    after = FIRST_WEBHOOK

    def step() -> int:
        nonlocal after
        with database.autocommit() as connection:
            webhooks = list_secrets(connection, after=after, limit=_SECRETS)
            after = (webhooks[-1].company_id, webhooks[-1].id) if len(webhooks) == _SECRETS else FIRST_WEBHOOK
            return sum(
                update_encryption(connection, webhook, name, new)
                for webhook in webhooks
                for name in ("secret", "previous_secret")
                if (stored := getattr(webhook, name)) is not None and (new := secrets.reencrypt(stored)) is not None
            )

    return Sweeper("webhook_secrets", step, _SECRETS, every_s)


def webhook_mails_sweeper(settings: Settings, database: Database, clock: Callable[[], datetime]) -> Sweeper:
    """Return the sweeper that sends mails about disabled webhooks."""
    every_s = _MAILS_EVERY_S if settings.smtp_url else _UNSENT_MAILS_EVERY_S
    mails = WebhookMails(settings, database, clock)
    return Sweeper("webhook_mails", mails.send_next, 1, every_s, stop_max_s=_MAIL_STOP_MAX_S)


def webhooks_job(database: Database, every_s: float = _COUNT_EVERY_S) -> BackgroundJob:
    """Return the job that counts webhooks and pending deliveries."""

    def count() -> bool:
        with database.autocommit() as connection:
            counts = count_webhooks(connection, limit=_COUNTED_MAX, webhooks_limit=_COUNTED_WEBHOOKS_MAX)
        states = {"enabled": counts.enabled, "failing": counts.failing, "disabled": counts.disabled}
        metrics.webhooks_counted(states, counts.pending, counts.oldest_due_s)
        return False

    return BackgroundJob("webhook_counts", count, every_s)
