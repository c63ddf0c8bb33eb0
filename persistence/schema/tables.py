"""Accounts, promos, activations, likes and comments.

Lock order: promo_counters, promos, user_uses, activations, country_uses, feed_entries, promo_codes, the tables of
redemptions, likes, comments, comment_reports, company_promo_counts. Sweepers skip locked rows, or lock in this order.
promo_activity comes after activations, likes and comments. A portion of an account deletion locks rows in one table
only. For addresses and their accounts see persistence.accounts.addresses.

No table of promos has a foreign key to an account. So a row may belong to a user that has been deleted.

Primary keys of large tables begin with promo_id, for sharding. Columns `..._key` are folded in Python
(promo_api.folding), because the C locale folds ASCII only.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    and_,
    desc,
    false,
    func,
    literal_column,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from persistence.schema.orders import company_order

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_uq",
        "ck": "%(table_name)s_%(constraint_name)s_ck",
    }
)


# fillfactor 50 leaves room for HOT updates.
_HALF_FREE = {"fillfactor": "50"}


class SearchWords(TSVECTOR):
    """A tsvector; parameters are cast from text."""

    render_bind_cast = True


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


# A closed company has no password. It loses its e-mail address when all its promos have ended.
companies = Table(
    "companies",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("email_key", Text, unique=True),
    Column("password_hash", Text),
    # Tokens of other versions are revoked.
    Column("token_version", Integer, nullable=False, server_default="1"),
    _created_at(),
    CheckConstraint(
        "num_nulls(email, email_key) IN (0, 2) AND (email IS NOT NULL OR password_hash IS NULL)", name="closed"
    ),
)

# A closed account has no row. Processes of the version before leave rows without personal data: of the closed account,
# until its deletion begins, and with random ids. A later release removes them.
_PERSONAL = "name, surname, email, email_key, age, country, country_key, password_hash, created_at"
users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    *(Column(name, Text) for name in ("name", "surname", "email", "avatar_url", "country", "country_key")),
    Column("email_key", Text, unique=True),
    Column("age", SmallInteger),
    Column("password_hash", Text),
    Column("token_version", Integer, nullable=False, server_default="1"),
    Column("created_at", DateTime(timezone=True), server_default=func.now()),
    CheckConstraint(f"num_nulls({_PERSONAL}) = 0 OR num_nonnulls({_PERSONAL}, avatar_url) = 0", name="person"),
)

# The only place where e-mail addresses are unique and looked up. Until a later release, triggers (migration 0024) write
# the rows of processes of the version before.
addresses = Table(
    "addresses",
    metadata,
    Column("email_key", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    CheckConstraint("kind IN ('company', 'user')", name="known_kind"),
)

# What every card shows of a company, also of a closed one; changes hardly ever.
company_names = Table(
    "company_names",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
)

# Closed accounts of users whose rows are being deleted or handed over, see persistence.accounts.deletion.
account_deletions = Table(
    "account_deletions",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    # Processes of the version before make the rows over to it. A later release drops it.
    Column("placeholder_id", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    Column("closed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # The new account id of the events in account_log.
    Column("log_id", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    # When to do the next portion. A process that does one moves this time forward, as a lease.
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Promos are never deleted.
promos = Table(
    "promos",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("mode", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("image_url", Text),
    Column("country", Text),
    Column("country_key", Text),
    Column("age_from", SmallInteger),
    Column("age_until", SmallInteger),
    Column("categories", ARRAY(Text)),
    Column("category_keys", ARRAY(Text), nullable=False),
    Column("active_from", Date),
    Column("active_until", Date),
    Column("promo_common", Text),  # never changes
    _created_at(),
    # The codes of the creation, also in promo_codes; never changes. Responses include this JSON text unparsed.
    Column("promo_unique", JSON(none_as_null=True)),
    Column("paused", Boolean, nullable=False, server_default=false()),
    # Archived promos are in no feed, and in lists only on request.
    Column("archived", Boolean, nullable=False, server_default=false()),
    # Activations of one user; NULL: no limit.
    Column("max_per_user", Integer),
    # False: users cannot write or edit comments.
    Column("comments_enabled", Boolean, nullable=False, server_default=true()),
    # See persistence.search. A trigger (migration 0017) clears them when the texts change. NULL: an earlier version has
    # written the promo; the sweeper computes them.
    Column("search_words", SearchWords),
    # The ends up to this day have been reported as events. NULL: none since the promo was created or extended.
    Column("reported_until", Date),
    CheckConstraint("(mode = 'COMMON') = (promo_common IS NOT NULL)", name="mode"),
    CheckConstraint("(mode = 'UNIQUE') = (promo_unique IS NOT NULL)", name="unique_mode"),
    CheckConstraint("mode IN ('COMMON', 'UNIQUE')", name="known_mode"),
    CheckConstraint("age_from <= age_until", name="ages"),
    CheckConstraint("active_from <= active_until", name="period"),
)
# '': all countries. A literal, because a generic plan could not match a parameter with an index.
TARGET_KEY = func.coalesce(promos.c.country_key, literal_column("''", Text))

# Of the indexes of all promos, lists of archived and other promos need promos_company_*. A later release drops
# promos_country_*, which processes of an earlier version need.
for _sort_by in (None, "active_from", "active_until"):
    _order = company_order(promos.c, _sort_by)
    for _ending, _condition in (("", None), ("_listed", ~promos.c.archived)):
        _name = f"{_sort_by or 'newest'}{_ending}"
        Index(f"promos_company_{_name}", promos.c.company_id, *_order, postgresql_where=_condition)
        Index(f"promos_country_{_name}", promos.c.company_id, TARGET_KEY, *_order, postgresql_where=_condition)
Index(
    "promos_company_archived", promos.c.company_id, *company_order(promos.c, None), postgresql_where=promos.c.archived
)

# The list of new entries is short, because each search reads all of it.
Index(
    "promos_search",
    promos.c.search_words,
    postgresql_using="gin",
    postgresql_with={"gin_pending_list_limit": 256},
)
Index("promos_without_words", promos.c.id, postgresql_where=promos.c.search_words.is_(None))
HAS_UNREPORTED_END = or_(promos.c.reported_until.is_(None), promos.c.reported_until < promos.c.active_until)
Index(
    "promos_unreported_end",
    promos.c.active_until,
    promos.c.id,
    postgresql_where=and_(promos.c.active_until.is_not(None), HAS_UNREPORTED_END),
)

promo_counters = Table(
    "promo_counters",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    # max_count, or the number of codes.
    Column("use_limit", Integer, nullable=False),
    Column("used_count", Integer, nullable=False, server_default="0"),
    Column("like_count", Integer, nullable=False, server_default="0"),
    Column("comment_count", Integer, nullable=False, server_default="0"),
    # Here, so that the triggers that write events need no other row: see event_tables.
    Column("low_stock_percent", SmallInteger),
    Column("activation_events", Boolean, nullable=False, server_default=false()),
    CheckConstraint("used_count BETWEEN 0 AND use_limit", name="used"),
    CheckConstraint("like_count >= 0", name="likes"),
    CheckConstraint("comment_count >= 0", name="comments"),
    postgresql_with=_HALF_FREE,
)

# A code is issued if position <= used_count. The activation, its time and country are NULL until then.
promo_codes = Table(
    "promo_codes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # from 1
    Column("value", Text, nullable=False),
    Column("activation_id", Uuid),
    Column("issued_at", DateTime(timezone=True)),
    Column("country_key", Text),
    # In a generated code hyphens are for reading only.
    Column("generated", Boolean, nullable=False, server_default=false()),
    # Room for HOT updates: a page of codes is issued in order.
    postgresql_with={"fillfactor": "80"},
)
# Finds duplicates; not unique, because a company may want a code twice. The C collation compares fastest.
Index("promo_codes_value", promo_codes.c.promo_id, promo_codes.c.value.collate("C"))
# Find codes in any spelling: code_hash (migrations/code_hash.sql) ignores case and hyphens.
Index("promo_codes_hash", func.code_hash(promo_codes.c.value), promo_codes.c.promo_id, promo_codes.c.position)
Index(
    "promos_code_hash",
    promos.c.company_id,
    func.code_hash(promos.c.promo_common),
    postgresql_where=promos.c.promo_common.is_not(None),
)

activations = Table(
    "activations",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("country_key", Text, nullable=False),  # of the user at that time
    # claim_uses sets it, and counts the activation. A trigger does both for processes of an earlier version.
    Column("activated_at", DateTime(timezone=True), nullable=False),
    # In promo_codes. NULL: the promo is COMMON, or a version before 0012 has issued the code.
    Column("code_position", Integer),
)
Index("activations_history", activations.c.user_id, desc(activations.c.activated_at), desc(activations.c.id))

country_uses = Table(
    "country_uses",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("country_key", Text, primary_key=True),
    Column("activations_count", Integer, nullable=False),
    CheckConstraint("activations_count > 0", name="activations"),
    postgresql_with=_HALF_FREE,
)

# Deleted users have no row.
user_uses = Table(
    "user_uses",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("activations_count", Integer, nullable=False),
    CheckConstraint("activations_count > 0", name="activations"),
    postgresql_with=_HALF_FREE,
)

likes = Table(
    "likes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    # Where promo_activity counts it. NULL: not counted, because a version before 0021 has written it.
    Column("quarter", DateTime(timezone=True)),
    Column("country_key", Text),  # of the user at that time
)
Index("likes_user", likes.c.user_id, likes.c.promo_id)

comments = Table(
    "comments",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("author_id", Uuid, nullable=False),
    Column("text", Text, nullable=False),
    _created_at(),
    Column("report_count", Integer, nullable=False, server_default="0"),
    # Of the author at that time. NULL: a version before 0021 has written it, and promo_activity does not count it yet.
    Column("country_key", Text),
    CheckConstraint("report_count >= 0", name="reports"),
)
Index("comments_author", comments.c.author_id, comments.c.created_at, comments.c.id)
Index("comments_newest", comments.c.promo_id, desc(comments.c.created_at), desc(comments.c.id))
Index(
    "comments_reported",
    comments.c.promo_id,
    desc(comments.c.created_at),
    desc(comments.c.id),
    postgresql_where=comments.c.report_count > literal_column("0"),
)

# One per user and comment, deleted with the comment.
comment_reports = Table(
    "comment_reports",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("comment_id", Uuid, primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("reported_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["promo_id", "comment_id"],
        ["comments.promo_id", "comments.id"],
        name="comment_reports_comment_fk",
        ondelete="CASCADE",
    ),
)
Index("comment_reports_user", comment_reports.c.user_id, comment_reports.c.promo_id, comment_reports.c.comment_id)
Index(
    "comment_reports_newest",
    comment_reports.c.promo_id,
    comment_reports.c.comment_id,
    desc(comment_reports.c.reported_at),
    desc(comment_reports.c.user_id),
)

# Promos of a company by country ('': all countries), as a sum of parts, which may be negative. A transaction changes an
# unlocked part or inserts one, so transactions do not wait for each other.
company_promo_counts = Table(
    "company_promo_counts",
    metadata,
    Column("company_id", Uuid, ForeignKey("companies.id"), primary_key=True),
    Column("country_key", Text, primary_key=True),
    Column("part", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("promos_count", Integer, nullable=False),
    postgresql_with=_HALF_FREE,
)

# The primary key decides between concurrent requests with one Idempotency-Key: the second waits, and then fails.
stored_responses = Table(
    "kept_answers",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("body", JSON, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
Index("kept_answers_expiry", stored_responses.c.expires_at)
