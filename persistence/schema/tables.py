"""The tables: what one row means and who writes it.

All that grows or is hot (promo_counters, promo_codes, activations, country_uses, likes, comments) has promo_id first in
its primary key, so that it can be spread over machines by it; what feeds are read from, feed_entries and feed_tallies,
is read across all promos. Locks are taken in the order promo_counters, promos, promo_codes, activations, country_uses,
user_uses, likes, comments, feed_entries; rows of company_promo_counts come last, without a wait; only the sweeper locks
those of feed_tallies. The sweeper of feed_entries skips rows that are locked. A column named `..._key` holds the
case-folded form of its neighbour, made by Python, since a database in the C locale folds ASCII only. `check` recounts
all derived data.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    desc,
    func,
    literal_column,
)

from persistence.schema.orders import company_order

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_uq",
        "ck": "%(table_name)s_%(constraint_name)s_ck",
    }
)


# So that a new version of a row needs no new index entry.
_HALF_FREE = {"fillfactor": "50"}


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


# A company account. Written by sign-up; token_version grows with each sign-in, which ends every earlier token.
companies = Table(
    "companies",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("token_version", Integer, nullable=False, server_default="1"),
    _created_at(),
)

# A user account. Written by sign-up and by profile changes; token_version as in companies. A deleted user leaves rows
# without a person under random ids: a placeholder, which owns what the user did, and the owner of the account's events.
# A closed account has no person either, and keeps its id until its deletion is finished (account_deletions).
_OF_PERSON = "name, surname, email, email_key, age, country, country_key, password_hash, created_at"
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
    CheckConstraint(f"num_nulls({_OF_PERSON}) = 0 OR num_nonnulls({_OF_PERSON}, avatar_url) = 0", name="person"),
)

# An account that is closed and has rows left to move. Inserted by the close, deleted with the last of these rows.
# A batch holds the lock of this row, so only one process at a time works on a deletion.
account_deletions = Table(
    "account_deletions",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("placeholder_id", Uuid, nullable=False),
    Column("closed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# The definition of a promo: what its company said of it. Written by its company, seldom.
# promo_common is the one value of a COMMON promo, promo_unique the list of a UNIQUE one as its company gave it; neither
# ever changes. The list is kept to be shown, as JSON, since that goes into the answer as it is.
promos = Table(
    "promos",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("company_id", Uuid, ForeignKey("companies.id"), nullable=False),
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
    Column("promo_common", Text),
    _created_at(),
    Column("promo_unique", JSON(none_as_null=True)),
    CheckConstraint("(mode = 'COMMON') = (promo_common IS NOT NULL)", name="mode"),
    CheckConstraint("(mode = 'UNIQUE') = (promo_unique IS NOT NULL)", name="unique_mode"),
    CheckConstraint("mode IN ('COMMON', 'UNIQUE')", name="known_mode"),
    CheckConstraint("age_from <= age_until", name="ages"),
    CheckConstraint("active_from <= active_until", name="period"),
)
# The country that a promo is for, '' for one that is for all: an index finds these as it finds any other. '' is no
# parameter, since a plan that knows no parameters could not tell the index by it.
TARGET_KEY = func.coalesce(promos.c.country_key, literal_column("''", Text))

# For each order of a company's list one index that has all its promos in it, and one that has those for each country.
for _sort_by in (None, "active_from", "active_until"):
    _order = company_order(promos.c, _sort_by)
    Index(f"promos_company_{_sort_by or 'newest'}", promos.c.company_id, *_order)
    Index(f"promos_country_{_sort_by or 'newest'}", promos.c.company_id, TARGET_KEY, *_order)

# The numbers of a promo: one row for each row of promos, changed by every activation, like and comment.
# use_limit is how many activations it allows in all: max_count of a COMMON promo, the number of codes of a UNIQUE one.
# It stands here and not in promos since an activation is decided by this row alone: read from another table, the limit
# would be the one of the statement's snapshot, and a PATCH that lowers it could be overrun by those who waited.
promo_counters = Table(
    "promo_counters",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("use_limit", Integer, nullable=False),
    Column("used_count", Integer, nullable=False, server_default="0"),
    Column("like_count", Integer, nullable=False, server_default="0"),
    Column("comment_count", Integer, nullable=False, server_default="0"),
    CheckConstraint("used_count BETWEEN 0 AND use_limit", name="used"),
    CheckConstraint("like_count >= 0", name="likes"),
    CheckConstraint("comment_count >= 0", name="comments"),
    postgresql_with=_HALF_FREE,
)

# One value of a UNIQUE promo, at its place in the list as the company gave it, from one on. Inserted with the promo;
# the activation that issues it sets activation_id. They are issued in their order: as many as promo_counters has uses.
promo_codes = Table(
    "promo_codes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("value", Text, nullable=False),
    Column("activation_id", Uuid),
)

# One activation: who, where from (country_key of the user at that moment), when. Only ever inserted.
activations = Table(
    "activations",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("country_key", Text, nullable=False),
    Column("activated_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)
Index("activations_history", activations.c.user_id, desc(activations.c.activated_at), desc(activations.c.id))

# How many activations of a promo came from a country: one row for each country that there was any from. Changed by the
# statement that records the activations, which has the lock of the promo's row in promo_counters.
country_uses = Table(
    "country_uses",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("country_key", Text, primary_key=True),
    Column("activations_count", Integer, nullable=False),
    CheckConstraint("activations_count > 0", name="activations"),
    postgresql_with=_HALF_FREE,
)

# How many activations a user has, if any; deleted users have no row. Changed by the statement that records them, after
# country_uses, and in the order of the users where it is for several: so no two of them wait for each other.
user_uses = Table(
    "user_uses",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Column("activations_count", Integer, nullable=False),
    CheckConstraint("activations_count > 0", name="activations"),
    postgresql_with=_HALF_FREE,
)

# A like that is in force: inserted by like, deleted by unlike.
likes = Table(
    "likes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
)
Index("likes_user", likes.c.user_id, likes.c.promo_id)

# A comment, written, edited and deleted by its author.
comments = Table(
    "comments",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("author_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("text", Text, nullable=False),
    _created_at(),
)
Index("comments_author", comments.c.author_id, comments.c.created_at, comments.c.id)
Index("comments_newest", comments.c.promo_id, desc(comments.c.created_at), desc(comments.c.id))

# A part of the number of promos that a company has for a country ('' in country_key: for all countries); the number is
# the sum over the parts. Changed in the transaction that makes a promo or changes its country: it takes a part that no
# other transaction holds, or makes one. So nobody waits for another one's commit, and there are no more parts than
# there were transactions at once. A part may be below zero, the sum never is.
company_promo_counts = Table(
    "company_promo_counts",
    metadata,
    Column("company_id", Uuid, ForeignKey("companies.id"), primary_key=True),
    Column("country_key", Text, primary_key=True),
    Column("part", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("promos_count", Integer, nullable=False),
    postgresql_with=_HALF_FREE,
)

# An answer that is given again when its request comes again: what one operation did for an account, of either kind,
# under an Idempotency-Key. Inserted in the transaction of what it tells of; deleted when it has expired. The primary
# key decides between requests that come at once: the second one waits for the first, and then fails.
kept_answers = Table(
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
Index("kept_answers_expiry", kept_answers.c.expires_at)
