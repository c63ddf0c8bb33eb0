"""What only the main company has: API keys, webhooks and comments that users have reported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from promo_api.dev.demo.people import new_id
from promo_api.dev.demo.plan import Plan
from promo_api.dev.demo.steps import Comment, CreateKey, CreateWebhook, Report, Step, UseKey
from promo_api.dev.demo.texts import REPORTED
from promo_api.security.api_keys import NewKey

# Does not exist, like all names under .example.
_FAILING_URL = "https://hooks.northbean.example/promo-events"
_STOCK_EVENTS = ("promo.exhausted", "promo.low_stock", "promo.expired", "promo.created", "promo.changed")
_FAILING_EVENTS = (*_STOCK_EVENTS, "comment.created")


@dataclass(frozen=True)
class PlannedWebhook:
    """A webhook whose requests succeed until a time."""

    company_id: UUID
    id: UUID
    works_until: datetime


def plan_keys(plan: Plan, company_id: UUID, keys: Sequence[NewKey]) -> Iterator[Step]:
    """Yield the creation and the last use of two keys."""
    till, reports = keys
    plans = (
        (till, "Order system", ["read", "write", "redeem"], None, -29, timedelta(minutes=3)),
        (reports, "Weekly report", ["read"], plan.at(60), -20, timedelta(days=2, hours=5)),
    )
    for key, name, scopes, expires_at, day, unused in plans:
        key_id = new_id(plan.random)
        values = {"digest": key.digest, "prefix": key.prefix, "name": name, "scopes": scopes, "expires_at": expires_at}
        yield CreateKey(plan.in_office_hours(day), company_id, key_id, values)
        yield UseKey(plan.now - unused, company_id, key_id)


def plan_webhooks(plan: Plan, company_id: UUID, working_url: str) -> Iterator[tuple[Step, PlannedWebhook]]:
    """Yield a webhook that works, and one that has been failing since yesterday."""
    for url, types, day, works_until in (
        (working_url, _STOCK_EVENTS, -27.0, plan.at(1)),
        (_FAILING_URL, _FAILING_EVENTS, -9.5, plan.at(-0.8)),
    ):
        webhook = PlannedWebhook(company_id, new_id(plan.random), works_until)
        yield CreateWebhook(plan.in_office_hours(day), company_id, webhook.id, url, types), webhook


def plan_reported_comments(plan: Plan, promo_ids: Sequence[UUID]) -> Iterator[Step]:
    """Yield comments that other users report."""
    random = plan.random
    for place, (text, reason) in enumerate(REPORTED):
        author, *reporters = random.sample(plan.people, 3 + place)
        written_at = plan.in_office_hours(-1.5 - place)
        comment = Comment(written_at, promo_ids[place % len(promo_ids)], new_id(random), author, text)
        yield comment
        for minutes, reporter in enumerate(reporters, 1):
            yield Report(written_at + timedelta(minutes=47 * minutes), comment, reporter, reason)
