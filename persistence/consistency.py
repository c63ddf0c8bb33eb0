"""Checks of derived data against its source.

Each is one statement, so concurrent writes do not affect it. It reads whole tables.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Table,
    Text,
    and_,
    case,
    desc,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by, array, distinct_on

from persistence.database.statements import Statement, is_distributed
from persistence.schema.activity_tables import activity_backfills, promo_activity, redemption_activity
from persistence.schema.audit_tables import promo_changes
from persistence.schema.event_tables import IS_UNPUBLISHED, event_feeds, events, promo_events
from persistence.schema.job_tables import IS_WAITING, job_errors, job_pieces, jobs
from persistence.schema.redemption_tables import (
    IS_CONFIRMED,
    IS_HELD,
    country_redemptions,
    redemption_counters,
    redemptions,
)
from persistence.schema.tables import (
    TARGET_KEY,
    activations,
    comment_reports,
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
from persistence.schema.webhook_tables import deliveries, webhooks

_COUNTERS = redemption_counters.c


def count_mismatched_uses(connection: Connection) -> int:
    """Count promos with a wrong used_count."""
    stored = select(promo_counters.c.promo_id, promo_counters.c.used_count)
    return _count_mismatched(connection, stored, _count_rows(activations, activations.c.promo_id))


def count_mismatched_likes(connection: Connection) -> int:
    """Count promos with a wrong like_count."""
    stored = select(promo_counters.c.promo_id, promo_counters.c.like_count)
    return _count_mismatched(connection, stored, _count_rows(likes, likes.c.promo_id))


def count_mismatched_comments(connection: Connection) -> int:
    """Count promos with a wrong comment_count."""
    stored = select(promo_counters.c.promo_id, promo_counters.c.comment_count)
    return _count_mismatched(connection, stored, _count_rows(comments, comments.c.promo_id))


def count_mismatched_reports(connection: Connection) -> int:
    """Count promos with a comment that has a wrong report_count."""
    stored = select(comments.c.promo_id, comments.c.id, comments.c.report_count)
    counted = _count_rows(comment_reports, comment_reports.c.promo_id, comment_reports.c.comment_id)
    return _count_mismatched(connection, stored, counted)


def count_mismatched_country_uses(connection: Connection) -> int:
    """Count promos with a wrong number in country_uses."""
    counted = _count_rows(activations, activations.c.promo_id, activations.c.country_key)
    return _count_mismatched(connection, select(country_uses), counted)


def count_mismatched_user_uses(connection: Connection) -> int:
    """Count users with a wrong number in user_uses, except deleted and closed accounts.

    Several servers do not store these numbers: see persistence.user_uses.
    """
    if is_distributed(connection):
        return 0
    existing = select(users.c.id).where(users.c.email_key.is_not(None))
    stored = select(user_uses).where(user_uses.c.user_id.in_(existing))
    counted = _count_rows(activations, activations.c.user_id).where(activations.c.user_id.in_(existing))
    return _count_mismatched(connection, stored, counted)


def count_mismatched_company_promos(connection: Connection) -> int:
    """Count companies with a wrong number in company_promo_counts."""
    keys = (company_promo_counts.c.company_id, company_promo_counts.c.country_key)
    stored = select(*keys, func.sum(company_promo_counts.c.promos_count)).group_by(*keys)
    return _count_mismatched(
        connection, stored, _count_rows(promos, promos.c.company_id, TARGET_KEY).where(not_(promos.c.archived))
    )


def count_mismatched_issued_codes(connection: Connection) -> int:
    """Count UNIQUE promos with an issued code without an activation, or vice versa."""
    issued = select(promo_codes.c.promo_id, promo_codes.c.activation_id, literal(1))
    recorded = select(activations.c.promo_id, activations.c.id, literal(1))
    return _count_mismatched(
        connection,
        issued.where(promo_codes.c.activation_id.is_not(None)),
        recorded.join(promos, promos.c.id == activations.c.promo_id).where(promos.c.mode == "UNIQUE"),
    )


def count_mismatched_code_positions(connection: Connection) -> int:
    """Count promos with an activation whose code_position is that of another code."""
    named = and_(
        promo_codes.c.promo_id == activations.c.promo_id, promo_codes.c.position == activations.c.code_position
    )
    statement = select(func.count(activations.c.promo_id.distinct())).outerjoin_from(activations, promo_codes, named)
    is_other = promo_codes.c.activation_id.is_distinct_from(activations.c.id)
    return _value(connection, statement.where(activations.c.code_position.is_not(None), is_other))


def count_mismatched_code_order(connection: Connection) -> int:
    """Count promos whose issued codes are not the first used_count codes of the list."""
    is_due = promo_codes.c.position <= promo_counters.c.used_count
    statement = select(func.count(promo_codes.c.promo_id.distinct())).join_from(
        promo_codes, promo_counters, promo_counters.c.promo_id == promo_codes.c.promo_id
    )
    return _value(connection, statement.where(is_due != promo_codes.c.activation_id.is_not(None)))


def count_mismatched_codes(connection: Connection) -> int:
    """Count promos whose first codes differ from their list, or whose use_limit is not the number of codes."""
    length = func.json_array_length(promos.c.promo_unique).label("length")
    # Materialized, so that the length of a list is computed once.
    lists = select(promos.c.id, length).cte("lists").prefix_with("MATERIALIZED")
    values = func.jsonb_agg(aggregate_order_by(promo_codes.c.value, promo_codes.c.position), type_=JSONB)
    codes = (
        select(
            promo_codes.c.promo_id,
            func.count().label("number"),
            values.filter(promo_codes.c.position <= lists.c.length).label("list"),
        )
        .join_from(promo_codes, lists, lists.c.id == promo_codes.c.promo_id)
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


def count_mismatched_added_codes(connection: Connection) -> int:
    """Count promos with fewer codes than their list and the jobs that are still stored have added."""
    added = select(jobs.c.promo_id, func.sum(jobs.c.accepted).label("number")).group_by(jobs.c.promo_id)
    counted = added.subquery("added")
    statement = (
        select(func.count())
        .join_from(counted, promos, promos.c.id == counted.c.promo_id)
        .join(promo_counters, promo_counters.c.promo_id == counted.c.promo_id)
        .where(promo_counters.c.use_limit < func.json_array_length(promos.c.promo_unique) + counted.c.number)
    )
    return _value(connection, statement)


def count_mismatched_jobs(connection: Connection) -> int:
    """Count jobs that have lost rejected rows, or a piece of a file that they have not imported yet."""
    rejected = select(func.coalesce(func.sum(func.cardinality(job_errors.c.lines)), 0)).where(
        job_errors.c.company_id == jobs.c.company_id, job_errors.c.job_id == jobs.c.id
    )
    pieces = select(func.count()).where(job_pieces.c.company_id == jobs.c.company_id, job_pieces.c.job_id == jobs.c.id)
    is_import = and_(IS_WAITING, jobs.c.kind == "import")
    statement = select(func.count()).where(
        or_(
            jobs.c.rejected != rejected.scalar_subquery(),
            and_(is_import, jobs.c.steps - jobs.c.steps_done != pieces.scalar_subquery()),
        )
    )
    return _value(connection, statement)


def count_mismatched_redemptions(connection: Connection) -> int:
    """Count COMMON promos with a wrong confirmed_count or held_count in redemption_counters."""
    state = func.unnest(array(["confirmed", "held"]), array([_COUNTERS.confirmed_count, _COUNTERS.held_count]))
    counts = state.table_valued("state", "number", name="counts").render_derived()
    stored = select(_COUNTERS.promo_id, counts.c.state, counts.c.number).join_from(redemption_counters, counts, true())
    counted = _count_rows(redemptions, redemptions.c.promo_id, redemptions.c.state)
    is_counted = redemptions.c.code_position.is_(None) & or_(IS_HELD, IS_CONFIRMED)
    return _count_mismatched(connection, stored, counted.where(is_counted))


def count_mismatched_country_redemptions(connection: Connection) -> int:
    """Count UNIQUE promos with a wrong number in country_redemptions."""
    keys = (country_redemptions.c.promo_id, country_redemptions.c.country_key)
    stored = select(*keys, func.sum(country_redemptions.c.redemptions_count)).group_by(*keys)
    counted = _count_rows(redemptions, redemptions.c.promo_id, redemptions.c.country_key)
    is_counted = redemptions.c.code_position.is_not(None) & IS_CONFIRMED
    return _count_mismatched(connection, stored, counted.where(is_counted))


def count_mismatched_activity(connection: Connection) -> int:
    """Count promos with a wrong number in promo_activity."""
    columns = promo_activity.c
    names = ("activations", "likes", "comments")
    numbers = func.unnest(array(names), array([columns[name] for name in names]))
    counts = numbers.table_valued("name", "number", name="counts").render_derived()
    keys = (columns.promo_id, columns.quarter, columns.country_key)
    stored = select(*keys, counts.c.name, counts.c.number).join_from(promo_activity, counts, true())
    is_left = _is_left(
        "activations",
        activity_backfills.c.promo_id < activations.c.promo_id,
        activity_backfills.c.began_at > activations.c.activated_at,
    )
    counted = union_all(
        _count_activity(activations, "activations", activations.c.activated_at).where(~is_left),
        _count_activity(likes, "likes", likes.c.quarter).where(likes.c.country_key.is_not(None)),
        _count_activity(comments, "comments", comments.c.created_at).where(
            or_(comments.c.country_key.is_not(None), ~_is_left("comments"))
        ),
    )
    return _count_mismatched(connection, stored, counted)


def count_mismatched_redemption_activity(connection: Connection) -> int:
    """Count promos with a wrong number in redemption_activity."""
    keys = [redemption_activity.c[name] for name in ("promo_id", "quarter", "country_key")]
    stored = select(*keys, literal("redemptions"), func.sum(redemption_activity.c.redemptions)).group_by(*keys)
    counted = _count_activity(redemptions, "redemptions", redemptions.c.confirmed_at)
    is_counted = or_(redemptions.c.is_counted, ~_is_left("redemptions"))
    return _count_mismatched(connection, stored, counted.where(IS_CONFIRMED, is_counted))


def _count_activity(rows: Table, name: str, time: ColumnElement[Any]) -> Select[Any]:
    keys = (rows.c.promo_id, func.quarter_of(time), func.coalesce(rows.c.country_key, literal_column("''", Text)))
    return select(*keys, literal(name), func.count()).group_by(*keys)


def _is_left(source: str, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The sweeper has not counted the rows yet."""
    return exists(select(activity_backfills).where(activity_backfills.c.source == source, *conditions))


def count_mismatched_live_redemptions(connection: Connection) -> int:
    """Count promos with a redeemed or held code that is not issued, or with more redemptions than activations."""
    live = or_(
        IS_CONFIRMED,
        and_(IS_HELD, redemptions.c.held_until > func.clock_timestamp()),
    )
    keys = (redemptions.c.promo_id, redemptions.c.code_position)
    taken = select(*keys, func.count().label("number")).where(live).group_by(*keys).subquery("taken")
    is_code = and_(promo_codes.c.promo_id == taken.c.promo_id, promo_codes.c.position == taken.c.code_position)
    allowed = case(
        (taken.c.code_position.is_(None), promo_counters.c.used_count),
        (promo_codes.c.activation_id.is_not(None), 1),
        else_=0,
    )
    statement = (
        select(func.count(taken.c.promo_id.distinct()))
        .join_from(taken, promo_counters, promo_counters.c.promo_id == taken.c.promo_id)
        .outerjoin(promo_codes, is_code)
        .where(taken.c.number > allowed)
    )
    return _value(connection, statement)


def count_mismatched_event_numbers(connection: Connection) -> int:
    """Count companies whose numbers of events have a gap, or do not end with last_number."""
    last = func.max(events.c.number)
    numbers = (
        select(events.c.company_id, last.label("last"), (last - func.min(events.c.number) + 1).label("number"))
        .add_columns(func.count().label("rows"))
        .where(~IS_UNPUBLISHED)
        .group_by(events.c.company_id)
        .subquery("numbers")
    )
    feed = event_feeds.c
    statement = select(func.count()).outerjoin_from(numbers, event_feeds, feed.company_id == numbers.c.company_id)
    is_wrong = or_(numbers.c.number != numbers.c.rows, feed.last_number.is_distinct_from(numbers.c.last))
    return _value(connection, statement.where(is_wrong))


def count_mismatched_publications(connection: Connection) -> int:
    """Count companies with an event that was written ten minutes ago or earlier and is not published."""
    since = func.clock_timestamp() - text("interval '10 minutes'")
    late = union_all(
        select(promo_events.c.company_id).where(promo_events.c.created_at < since),
        select(events.c.company_id).where(IS_UNPUBLISHED, events.c.created_at < since),
    ).subquery("late")
    return _value(connection, select(func.count(late.c.company_id.distinct())))


def count_mismatched_deliveries(connection: Connection) -> int:
    """Count companies with a delivery whose event is missing or not published, or whose webhook is missing."""
    of = deliveries.c
    event = select(events.c.id).where(events.c.company_id == of.company_id, events.c.id == of.event_id, ~IS_UNPUBLISHED)
    webhook = select(webhooks.c.id).where(webhooks.c.company_id == of.company_id, webhooks.c.id == of.webhook_id)
    is_alone = or_(~exists(event), ~exists(webhook))
    return _value(connection, select(func.count(of.company_id.distinct())).where(is_alone))


def count_mismatched_change_numbers(connection: Connection) -> int:
    """Count promos with a gap in the numbers of their changes."""
    promo_id = promo_changes.c.promo_id
    gaps = select(promo_id).group_by(promo_id).having(func.max(promo_changes.c.number) != func.count()).subquery("gaps")
    return _value(connection, select(func.count()).select_from(gaps))


def count_mismatched_changes(connection: Connection) -> int:
    """Count promos with a member that differs from its newest entry in the audit log.

    Except codes_count, which jobs change before they record it.
    """
    member = func.jsonb_each(promo_changes.c.changes.cast(JSONB)).table_valued("key", "value", name="member")
    key = (promo_changes.c.promo_id, member.c.key)
    newest = (
        select(*key, member.c.value.cast(JSONB)["to"].label("value"))
        .join_from(promo_changes, member, true())
        .ext(distinct_on(*key))
        .order_by(*key, desc(promo_changes.c.number))
        .subquery("newest")
    )
    statement = (
        select(func.count(newest.c.promo_id.distinct()))
        .join_from(newest, promos, promos.c.id == newest.c.promo_id)
        .join(promo_counters, promo_counters.c.promo_id == newest.c.promo_id)
        .where(newest.c.key != "codes_count", _members()[newest.c.key].is_distinct_from(newest.c.value))
    )
    return _value(connection, statement)


def _members() -> ColumnElement[Any]:
    columns = {name: promos.c[name] for name in ("description", "image_url", "active_from", "active_until")}
    target = _object({name: promos.c[name] for name in ("age_from", "age_until", "country", "categories")})
    flags = {name: func.nullif(promos.c[name], false()) for name in ("paused", "archived")}
    flags["comments_enabled"] = func.nullif(promos.c.comments_enabled, true())
    flags["activation_events"] = func.nullif(promo_counters.c.activation_events, false())
    numbers = {"max_count": promo_counters.c.use_limit, "max_per_user": promos.c.max_per_user}
    numbers["low_stock_percent"] = promo_counters.c.low_stock_percent
    return _object({**columns, **flags, **numbers, "target": target})


def _object(members: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    pairs = [part for name, value in members.items() for part in (literal(name, Text), value)]
    return func.jsonb_strip_nulls(func.jsonb_build_object(*pairs, type_=JSONB), type_=JSONB)


def _count_mismatched(connection: Connection, stored: Select[Any], counted: Select[Any] | CompoundSelect[Any]) -> int:
    """Count ids with a difference between two selects of id, further keys, number. No row means 0."""
    left, right = stored.subquery("stored"), counted.subquery("counted")
    *keys, (stored_number, counted_number) = zip(left.c, right.c, strict=True)
    pairs = left.join(right, and_(*(stored_key == counted_key for stored_key, counted_key in keys)), full=True)
    id_ = func.coalesce(*keys[0])
    differ = func.coalesce(stored_number, 0) != func.coalesce(counted_number, 0)
    return _value(connection, select(func.count(id_.distinct())).select_from(pairs).where(differ))


def _count_rows(rows: Table, *keys: ColumnElement[Any]) -> Select[Any]:
    return select(*keys, func.count()).select_from(rows).group_by(*keys)


def _value(connection: Connection, statement: Select[Any]) -> int:
    return int(Statement(statement).value(connection, {}))
