"""Whatever is kept twice, held against the rows that it tells of.

Each comparison is one statement, which sees one moment, so it is right while others write. It reads whole tables, and
takes minutes where these have many millions of rows.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    and_,
    desc,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by, distinct_on

from persistence.database.statements import Statement
from persistence.schema.audit_tables import promo_changes
from persistence.schema.tables import (
    TARGET_KEY,
    activations,
    comments,
    company_promo_counts,
    country_uses,
    likes,
    promo_codes,
    promo_counters,
    promos,
    user_uses,
    users,
)


def count_wrong_uses(connection: Connection) -> int:
    """Return how many promos have another used_count than activations."""
    kept = select(promo_counters.c.promo_id, promo_counters.c.used_count)
    return _count_differing(connection, kept, _counted(activations, activations.c.promo_id))


def count_wrong_likes(connection: Connection) -> int:
    """Return how many promos have another like_count than likes."""
    kept = select(promo_counters.c.promo_id, promo_counters.c.like_count)
    return _count_differing(connection, kept, _counted(likes, likes.c.promo_id))


def count_wrong_comments(connection: Connection) -> int:
    """Return how many promos have another comment_count than comments."""
    kept = select(promo_counters.c.promo_id, promo_counters.c.comment_count)
    return _count_differing(connection, kept, _counted(comments, comments.c.promo_id))


def count_wrong_country_uses(connection: Connection) -> int:
    """Return how many promos have other numbers in country_uses than activations from there."""
    told = _counted(activations, activations.c.promo_id, activations.c.country_key)
    return _count_differing(connection, select(country_uses), told)


def count_wrong_user_uses(connection: Connection) -> int:
    """Return how many users have another number in user_uses than activations; deleted and closed accounts aside."""
    persons = select(users.c.id).where(users.c.email_key.is_not(None))
    stored = select(user_uses).where(user_uses.c.user_id.in_(persons))
    counted = _counted(activations, activations.c.user_id).where(activations.c.user_id.in_(persons))
    return _count_differing(connection, stored, counted)


def count_wrong_company_promos(connection: Connection) -> int:
    """Return how many companies have, for some country or for all of them, another number of promos than promos."""
    keys = (company_promo_counts.c.company_id, company_promo_counts.c.country_key)
    kept = select(*keys, func.sum(company_promo_counts.c.promos_count)).group_by(*keys)
    return _count_differing(connection, kept, _counted(promos, promos.c.company_id, TARGET_KEY))


def count_wrong_issues(connection: Connection) -> int:
    """Return how many UNIQUE promos have a code that no activation issued, or an activation without a code."""
    issued = select(promo_codes.c.promo_id, promo_codes.c.activation_id, literal(1))
    recorded = select(activations.c.promo_id, activations.c.id, literal(1))
    return _count_differing(
        connection,
        issued.where(promo_codes.c.activation_id.is_not(None)),
        recorded.join(promos, promos.c.id == activations.c.promo_id).where(promos.c.mode == "UNIQUE"),
    )


def count_wrong_turns(connection: Connection) -> int:
    """Return how many promos have issued other codes than the first ones of their list, as many as there were uses."""
    is_due = promo_codes.c.position <= promo_counters.c.used_count
    out_of_turn = select(func.count(promo_codes.c.promo_id.distinct())).join_from(
        promo_codes, promo_counters, promo_counters.c.promo_id == promo_codes.c.promo_id
    )
    statement = out_of_turn.where(is_due != promo_codes.c.activation_id.is_not(None))
    return _value(connection, statement)


def count_wrong_codes(connection: Connection) -> int:
    """Return how many promos have other codes than their list has, or more or fewer uses to give than codes."""
    values = aggregate_order_by(promo_codes.c.value, promo_codes.c.position)
    codes = (
        select(promo_codes.c.promo_id, func.count().label("number"), func.jsonb_agg(values, type_=JSONB).label("list"))
        .group_by(promo_codes.c.promo_id)
        .subquery("codes")
    )
    differ = or_(
        promos.c.promo_unique.cast(JSONB).is_distinct_from(codes.c.list),
        and_(promos.c.mode == "UNIQUE", promo_counters.c.use_limit.is_distinct_from(codes.c.number)),
    )
    statement = (
        select(func.count())
        .select_from(promos)
        .join(promo_counters, promo_counters.c.promo_id == promos.c.id)
        .outerjoin(codes, codes.c.promo_id == promo_counters.c.promo_id)
        .where(differ)
    )
    return _value(connection, statement)


def count_wrong_change_numbers(connection: Connection) -> int:
    """Return how many promos have a trail in whose numbers there is a gap."""
    whose = promo_changes.c.promo_id
    gaps = select(whose).group_by(whose).having(func.max(promo_changes.c.number) != func.count()).subquery("gaps")
    return _value(connection, select(func.count()).select_from(gaps))


def count_wrong_changes(connection: Connection) -> int:
    """Return how many promos have, in some member, another value than the newest change of it tells."""
    member = func.jsonb_each(promo_changes.c.changes.cast(JSONB)).table_valued("key", "value", name="member")
    whose = (promo_changes.c.promo_id, member.c.key)
    newest = (
        select(*whose, member.c.value.cast(JSONB)["to"].label("told"))
        .join_from(promo_changes, member, true())
        .ext(distinct_on(*whose))
        .order_by(*whose, desc(promo_changes.c.number))
        .subquery("newest")
    )
    statement = (
        select(func.count(newest.c.promo_id.distinct()))
        .join_from(newest, promos, promos.c.id == newest.c.promo_id)
        .join(promo_counters, promo_counters.c.promo_id == newest.c.promo_id)
        .where(_members()[newest.c.key].is_distinct_from(newest.c.told))
    )
    return _value(connection, statement)


def _members() -> ColumnElement[Any]:
    """Return the members of a promo that its company may change, as an object of the API's own form."""
    columns = {name: promos.c[name] for name in ("description", "image_url", "active_from", "active_until")}
    target = _object({name: promos.c[name] for name in ("age_from", "age_until", "country", "categories")})
    return _object({**columns, "target": target, "max_count": promo_counters.c.use_limit})


def _object(members: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    pairs = [part for name, value in members.items() for part in (literal(name, Text), value)]
    return func.jsonb_strip_nulls(func.jsonb_build_object(*pairs, type_=JSONB), type_=JSONB)


def _count_differing(connection: Connection, kept: Select[Any], told: Select[Any]) -> int:
    """Return for how many promos, companies or users what is kept differs from what the rows tell.

    Args:
        connection: where to run it.
        kept: a promo, company or user, further keys if there are any, and at last the number; one row for all of these.
        told: the same as the rows tell it; a number that one side does not have is 0.
    """
    left, right = kept.subquery("kept"), told.subquery("told")
    *keys, (kept_number, told_number) = zip(left.c, right.c, strict=True)
    pairs = left.join(right, and_(*(one == other for one, other in keys)), full=True)
    whose = func.coalesce(*keys[0])
    differ = func.coalesce(kept_number, 0) != func.coalesce(told_number, 0)
    return _value(connection, select(func.count(whose.distinct())).select_from(pairs).where(differ))


def _counted(rows: Table, *keys: ColumnElement[Any]) -> Select[Any]:
    return select(*keys, func.count()).select_from(rows).group_by(*keys)


def _value(connection: Connection, statement: Select[Any]) -> int:
    return int(Statement(statement).value(connection, {}))
