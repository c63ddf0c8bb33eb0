"""Redemptions of codes, and their counts.

They belong to the promos: their keys begin with the promo, and company_id is no foreign key. Functions of migration
0020 write them. Lock order: the code in promo_codes or the row of redemption_counters, redemptions,
country_redemptions.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    and_,
    desc,
    false,
    func,
    literal_column as literal,
)

from persistence.schema.tables import metadata

# A redemption of a code of a UNIQUE promo, or of the code of a COMMON promo.
redemptions = Table(
    "redemptions",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("code_position", Integer),  # in promo_codes; NULL: the promo is COMMON
    Column("country_key", Text),  # of the activation; NULL: the promo is COMMON
    # `held` also after held_until. `expired`: after held_until the code was redeemed or held again, or, for a COMMON
    # promo, its place was needed.
    Column("state", Text, nullable=False),
    Column("order_ref", Text),
    Column("held_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    # In redemption_activity, of all that are confirmed. A trigger of migration 0021 sets it.
    Column("is_counted", Boolean, nullable=False, server_default=false()),
    CheckConstraint("state IN ('held', 'confirmed', 'released', 'expired', 'voided')", name="known_state"),
    CheckConstraint("state <> 'held' OR held_until IS NOT NULL", name="held"),
    CheckConstraint("(state IN ('confirmed', 'voided')) = (confirmed_at IS NOT NULL)", name="confirmed"),
    CheckConstraint("(state IN ('released', 'expired', 'voided')) = (ended_at IS NOT NULL)", name="ended"),
)
# Literals, so that the planner can use the partial indexes.
IS_HELD, IS_CONFIRMED = (redemptions.c.state == literal(f"'{state}'") for state in ("held", "confirmed"))
# At most one of a code of a UNIQUE promo.
IS_OF_CODE = and_(
    redemptions.c.state.in_([literal("'held'"), literal("'confirmed'")]), redemptions.c.code_position.is_not(None)
)
IS_COMMON_HOLD = and_(IS_HELD, redemptions.c.code_position.is_(None))
_NEWEST = desc(redemptions.c.created_at), desc(redemptions.c.id)
Index("redemptions_code", redemptions.c.promo_id, redemptions.c.code_position, unique=True, postgresql_where=IS_OF_CODE)
# Finds a redemption by the id in a path.
Index("redemptions_id", redemptions.c.company_id, redemptions.c.id)
Index("redemptions_newest", redemptions.c.company_id, redemptions.c.state, *_NEWEST)
Index("redemptions_promo_newest", redemptions.c.promo_id, redemptions.c.state, *_NEWEST)
Index(
    "redemptions_order",
    redemptions.c.company_id,
    redemptions.c.order_ref,
    *_NEWEST,
    postgresql_where=redemptions.c.order_ref.is_not(None),
)
Index("redemptions_held_order", redemptions.c.promo_id, redemptions.c.order_ref, postgresql_where=IS_COMMON_HOLD)
Index("redemptions_held_until", redemptions.c.promo_id, redemptions.c.held_until, postgresql_where=IS_COMMON_HOLD)

# Of a COMMON promo. The two together never exceed the used_count of the promo.
redemption_counters = Table(
    "redemption_counters",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("confirmed_count", Integer, nullable=False, server_default="0"),
    Column("held_count", Integer, nullable=False, server_default="0"),  # the rows with state `held`
    CheckConstraint("confirmed_count >= 0 AND held_count >= 0", name="counts"),
    postgresql_with={"fillfactor": "50"},
)

# Confirmed redemptions of a UNIQUE promo by country, as a sum of parts, which may be negative, like
# company_promo_counts.
country_redemptions = Table(
    "country_redemptions",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("country_key", Text, primary_key=True),
    Column("part", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("redemptions_count", Integer, nullable=False),
    postgresql_with={"fillfactor": "50"},
)
