"""What companies and users do at a time, each by a function of the service. The clock shows the time already."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from handlers.promo_changes import change_promo
from persistence.accounts.api_keys import insert_key, update_last_use
from persistence.accounts.credentials import Accounts
from persistence.comment_reports import insert_report
from persistence.comments import insert_comment
from persistence.likes import insert_like
from persistence.promos.promos import insert_promo
from persistence.webhooks.webhooks import insert_webhook
from promo_api.dev.demo.people import Person
from promo_api.runtime import Runtime
from promo_api.specification import MAX_KEYS, MAX_WEBHOOKS


@dataclass(frozen=True)
class Step(ABC):
    """A change of the database at a time."""

    at: datetime

    @abstractmethod
    def run(self, runtime: Runtime, connection: Any) -> object:
        """Change the database; the result is false if nothing was changed."""


@dataclass(frozen=True)
class SignUp(Step):
    """A company or a user signs up."""

    accounts: Accounts
    id: UUID
    values: Mapping[str, Any]

    def run(self, _runtime: Runtime, connection: Any) -> object:
        """Insert the account."""
        return self.accounts.insert_account(connection, self.id, self.values)


@dataclass(frozen=True)
class CreatePromo(Step):
    """A company creates a promo."""

    id: UUID
    values: Mapping[str, Any]
    use_limit: int
    codes: Sequence[str] | None

    def run(self, runtime: Runtime, connection: Any) -> object:
        """Insert the promo."""
        today = runtime.today()
        return insert_promo(connection, self.id, self.values, today, use_limit=self.use_limit, codes=self.codes)


@dataclass(frozen=True)
class ChangePromo(Step):
    """A company changes a promo."""

    id: UUID
    values: Mapping[str, Any]

    def run(self, runtime: Runtime, connection: Any) -> object:
        """Change the promo."""
        change_promo(connection, self.id, self.values, runtime.today())
        return True


@dataclass(frozen=True)
class CreateKey(Step):
    """A company creates an API key."""

    company_id: UUID
    id: UUID
    values: Mapping[str, Any]

    def run(self, _runtime: Runtime, connection: Any) -> object:
        """Insert the key."""
        return insert_key(connection, self.company_id, self.id, limit=MAX_KEYS, **self.values)


@dataclass(frozen=True)
class UseKey(Step):
    """A program sends a request with an API key."""

    company_id: UUID
    id: UUID

    def run(self, _runtime: Runtime, connection: Any) -> object:
        """Record the use."""
        update_last_use(connection, self.company_id, self.id, self.at.replace(second=0, microsecond=0))
        return True


@dataclass(frozen=True)
class CreateWebhook(Step):
    """A company creates a webhook."""

    company_id: UUID
    id: UUID
    url: str
    event_types: Sequence[str]

    def run(self, runtime: Runtime, connection: Any) -> object:
        """Insert the webhook with a new secret."""
        secret = runtime.webhook_secrets.encrypt(runtime.webhook_secrets.generate())
        return insert_webhook(
            connection, self.company_id, self.id, url=self.url, event_types=self.event_types, enabled=True,
            secret=secret, limit=MAX_WEBHOOKS,
        )  # fmt: skip


@dataclass(frozen=True)
class Like(Step):
    """A user likes a promo."""

    promo_id: UUID
    user: Person

    def run(self, _runtime: Runtime, connection: Any) -> object:
        """Insert the like."""
        return insert_like(connection, self.promo_id, self.user.id, self.user.country_key)


@dataclass(frozen=True)
class Comment(Step):
    """A user comments on a promo."""

    promo_id: UUID
    id: UUID
    user: Person
    text: str

    def run(self, _runtime: Runtime, connection: Any) -> object:
        """Insert the comment."""
        author = self.user
        written = insert_comment(
            connection, self.promo_id, comment_id=self.id, author_id=author.id, country_key=author.country_key,
            text=self.text,
        )  # fmt: skip
        return written and written.written_at


@dataclass(frozen=True)
class Report(Step):
    """A user reports a comment."""

    comment: Comment
    user: Person
    reason: str

    def run(self, _runtime: Runtime, connection: Any) -> object:
        """Insert the report."""
        comment = self.comment
        return insert_report(connection, comment.promo_id, comment.id, user_id=self.user.id, reason=self.reason)
