"""When a promo is active, which users it targets, which events a webhook receives, and which webhooks wait for some.

No parameter has the name of a column: SQLAlchemy reserves those for UPDATE.
"""

from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    FromClause,
    ScalarSelect,
    Select,
    SmallInteger,
    Text,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
)

from persistence.database.statements import skip_scan
from persistence.schema.feed_tables import ENDING, LIVE, SCHEDULED
from persistence.schema.tables import promo_counters, promos
from persistence.schema.webhook_tables import IS_DUE, deliveries

TODAY = bindparam("today", type_=Date)
_COUNTRY, _AGE = bindparam("user_country", type_=Text), bindparam("user_age", type_=SmallInteger)
TARGET_COLUMNS = ("country_key", "age_from", "age_until", "category_keys", "active_from", "active_until")


class TargetUser(Protocol):
    """A user that a promo may target."""

    @property
    def id(self) -> UUID:
        """The id."""

    @property
    def age(self) -> int:
        """The age in years."""

    @property
    def country_key(self) -> str:
        """The country, case-folded."""


def has_begun(table: FromClause = promos) -> ColumnElement[bool]:
    """It begins TODAY or earlier."""
    return or_(table.c.active_from.is_(None), table.c.active_from <= TODAY)


def has_not_ended(table: FromClause = promos) -> ColumnElement[bool]:
    """It ends TODAY or later."""
    return or_(table.c.active_until.is_(None), table.c.active_until >= TODAY)


def in_period(table: FromClause = promos) -> ColumnElement[bool]:
    """It runs TODAY."""
    return and_(has_begun(table), has_not_ended(table))


def has_uses_left() -> ColumnElement[bool]:
    """A use is left."""
    return promo_counters.c.used_count < promo_counters.c.use_limit


def read_uses_left(promo_id: ColumnElement[UUID]) -> ScalarSelect[bool]:
    """A use is left, read for each promo that needs it. A join of many promos could read all counters."""
    return select(has_uses_left()).where(promo_counters.c.promo_id == promo_id).scalar_subquery()


def is_usable(uses_left: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """A use is left, and the promo is not paused or archived. Only the period and the target can prevent it."""
    uses_left = has_uses_left() if uses_left is None else uses_left
    return and_(uses_left, not_(promos.c.paused), not_(promos.c.archived))


def is_active(uses_left: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """Its state is `active`."""
    return and_(in_period(), is_usable(uses_left))


def promo_state(uses_left: ColumnElement[bool] | None = None) -> ColumnElement[str]:
    """The PromoState of api.yml."""
    uses_left = has_uses_left() if uses_left is None else uses_left
    return case(
        (promos.c.archived, literal_column("'archived'")),
        (promos.c.paused, literal_column("'paused'")),
        (not_(has_begun()), literal_column("'scheduled'")),
        (not_(has_not_ended()), literal_column("'expired'")),
        (not_(uses_left), literal_column("'exhausted'")),
        else_=literal_column("'active'"),
    )


def period_status(table: FromClause) -> ColumnElement[str]:
    """The status TODAY of a feed entry whose promo is usable."""
    return case((table.c.active_from > TODAY, SCHEDULED), (table.c.active_until <= TODAY, ENDING), else_=LIVE)


def fits_country(table: FromClause = promos, country: ColumnElement[Any] = _COUNTRY) -> ColumnElement[bool]:
    """It targets the country or all."""
    return or_(table.c.country_key.is_(None), table.c.country_key == country)


def fits_age(table: FromClause = promos, age: ColumnElement[Any] = _AGE) -> ColumnElement[bool]:
    """It targets the age."""
    return and_(
        or_(table.c.age_from.is_(None), table.c.age_from <= age),
        or_(table.c.age_until.is_(None), table.c.age_until >= age),
    )


def receives(webhook: Any, event: Any) -> ColumnElement[bool]:
    """Return the condition that a webhook receives an event of its company.

    Args:
        webhook: columns of webhooks.
        event: columns of events.
    """
    is_named = event.data["webhook_id"].astext == webhook.id.cast(Text)
    is_selected = or_(func.cardinality(webhook.event_types) == 0, event.type == any_(webhook.event_types))
    return case(
        (event.type == "webhook.test", is_named),
        (event.type == "webhook.disabled", is_selected & ~is_named),
        else_=is_selected,
    )


def pending_webhooks(company_id: ColumnElement[Any], webhook_id: ColumnElement[Any]) -> CTE:
    """Select the webhooks after another one that have pending deliveries, each with the earliest `due_at`."""
    return skip_scan(_first_pending, company_id, webhook_id)


def _first_pending(company_id: ColumnElement[Any], webhook_id: ColumnElement[Any]) -> Select[Any]:
    """Find the earliest pending delivery of the first webhook after another one."""
    key = (deliveries.c.company_id, deliveries.c.webhook_id)
    found = select(*key, deliveries.c.due_at).where(IS_DUE, tuple_(*key) > tuple_(company_id, webhook_id))
    return found.order_by(*key, deliveries.c.due_at).limit(literal_column("1"))
