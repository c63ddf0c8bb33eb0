"""When a promo is active: the conditions on its period and on its uses, and the standing of its feed entries."""

from sqlalchemy import ColumnElement, Date, FromClause, and_, bindparam, case, or_

from persistence.feed_tables import ENDING, LIVE, SCHEDULED
from persistence.tables import promo_counters, promos

# Parameters of statements are not named like columns: SQLAlchemy would take those of an UPDATE for values to set.
# Today by the business calendar: a parameter of every statement that asks whether a promo is active.
TODAY = bindparam("today", type_=Date)


def has_begun(of: FromClause = promos) -> ColumnElement[bool]:
    """Return the condition on promos that TODAY is not before the period, whose first day belongs to it."""
    return or_(of.c.active_from.is_(None), of.c.active_from <= TODAY)


def has_not_ended(of: FromClause = promos) -> ColumnElement[bool]:
    """Return the condition on promos that TODAY is not after the period, whose last day belongs to it."""
    return or_(of.c.active_until.is_(None), of.c.active_until >= TODAY)


def in_period(of: FromClause = promos) -> ColumnElement[bool]:
    """Return the condition on promos, or on a table `of` the same columns, that TODAY lies within the period."""
    return and_(has_begun(of), has_not_ended(of))


def has_uses_left() -> ColumnElement[bool]:
    """Return the condition on promo_counters that a use is left."""
    return promo_counters.c.used_count < promo_counters.c.use_limit


def is_active() -> ColumnElement[bool]:
    """Return the condition on promos and promo_counters that a promo is active TODAY: within its period, uses left."""
    return and_(in_period(), has_uses_left())


def period_standing(of: FromClause) -> ColumnElement[str]:
    """Return the standing, as of TODAY, of an entry that has uses left; `of` has the columns of a period."""
    return case((of.c.active_from > TODAY, SCHEDULED), (of.c.active_until <= TODAY, ENDING), else_=LIVE)
