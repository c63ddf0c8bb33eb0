"""The services that handlers use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

from persistence.database.engine import Database
from persistence.promos.code_lists import CodeLists
from promo_api.antifraud.checks import Antifraud, DisabledAntifraud, open_antifraud
from promo_api.coalescing import Coalescer
from promo_api.config.settings import Settings
from promo_api.health import Health
from promo_api.replicas import Replicas
from promo_api.security.api_keys import ApiKeys
from promo_api.security.cursors import Cursors
from promo_api.security.passwords import Passwords
from promo_api.security.rate_limits import RateLimits
from promo_api.security.reset_tokens import ResetTokens
from promo_api.security.tokens import Tokens
from promo_api.security.webhook_secrets import WebhookSecrets

BUSINESS_CALENDAR = timezone(timedelta(hours=3))


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Runtime:
    """The services of one process. They connect on first use, so a fork may follow."""

    settings: Settings
    database: Database
    replicas: Replicas
    code_lists: CodeLists
    antifraud: Antifraud | DisabledAntifraud
    health: Health
    rate_limits: RateLimits
    passwords: Passwords
    coalescer: Coalescer
    tokens: Tokens
    api_keys: ApiKeys
    reset_tokens: ResetTokens
    webhook_secrets: WebhookSecrets
    cursors: Cursors
    clock: Callable[[], datetime]

    @classmethod
    def open(cls, settings: Settings, clock: Callable[[], datetime] = utc_now) -> "Runtime":
        """Create a runtime."""
        antifraud, database = open_antifraud(settings), Database(settings)
        return cls(
            settings=settings,
            database=database,
            replicas=Replicas(settings, database),
            code_lists=CodeLists(settings.code_lists_memory_mib * 1024**2),
            antifraud=antifraud,
            health=Health(settings, antifraud),
            rate_limits=RateLimits(settings),
            passwords=Passwords(settings),
            coalescer=Coalescer(),
            tokens=Tokens(settings.secret_keys, settings.token_lifetime_h),
            api_keys=ApiKeys(),
            reset_tokens=ResetTokens(settings.secret_keys),
            webhook_secrets=WebhookSecrets(settings.secret_keys),
            cursors=Cursors(settings.secret_keys),
            clock=clock,
        )

    def close(self) -> None:
        """Close all connections."""
        self.health.close()
        self.rate_limits.close()
        self.antifraud.close()
        self.replicas.close()
        self.database.close()

    def forget_user(self, user_id: UUID) -> None:
        """Delete what Redis stores under the id of a user."""
        self.antifraud.delete_verdict(user_id)
        self.rate_limits.delete_activations(user_id)

    def today(self) -> date:
        """Return the business day: the date in UTC+3."""
        return self.clock().astimezone(BUSINESS_CALENDAR).date()
