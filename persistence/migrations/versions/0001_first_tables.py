"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _account_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("token_version", sa.Integer, nullable=False, server_default="1"),
        _created_at(),
    ]


def _created_at() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "companies", *_account_columns(), sa.UniqueConstraint("email_key", name=op.f("companies_email_key_uq"))
    )
    op.create_table(
        "users",
        *_account_columns(),
        sa.Column("surname", sa.Text, nullable=False),
        sa.Column("avatar_url", sa.Text),
        sa.Column("age", sa.SmallInteger, nullable=False),
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("country_key", sa.Text, nullable=False),
        sa.UniqueConstraint("email_key", name=op.f("users_email_key_uq")),
    )
    _create_promos()
    _create_promo_parts()
    _create_user_parts()


def _create_promos() -> None:
    op.create_table(
        "promos",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("company_id", sa.Uuid, sa.ForeignKey("companies.id"), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("image_url", sa.Text),
        sa.Column("country", sa.Text),
        sa.Column("country_key", sa.Text),
        sa.Column("age_from", sa.SmallInteger),
        sa.Column("age_until", sa.SmallInteger),
        sa.Column("categories", sa.ARRAY(sa.Text)),
        sa.Column("category_keys", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("active_from", sa.Date),
        sa.Column("active_until", sa.Date),
        sa.Column("promo_common", sa.Text),
        _created_at(),
        sa.CheckConstraint("(mode = 'COMMON') = (promo_common IS NOT NULL)", name=op.f("promos_mode_ck")),
        sa.CheckConstraint("mode IN ('COMMON', 'UNIQUE')", name=op.f("promos_known_mode_ck")),
        sa.CheckConstraint("age_from <= age_until", name=op.f("promos_ages_ck")),
        sa.CheckConstraint("active_from <= active_until", name=op.f("promos_period_ck")),
    )
    newest = [sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("promos_newest", "promos", newest)
    op.create_index("promos_company_newest", "promos", ["company_id", *newest])
    op.create_index("promos_category", "promos", ["category_keys"], postgresql_using="gin")


def _create_promo_parts() -> None:
    op.create_table(
        "promo_counters",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("use_limit", sa.Integer, nullable=False),
        sa.Column("used_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("like_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("comment_count", sa.Integer, nullable=False, server_default="0"),
        sa.CheckConstraint("used_count BETWEEN 0 AND use_limit", name=op.f("promo_counters_used_ck")),
        sa.CheckConstraint("like_count >= 0", name=op.f("promo_counters_likes_ck")),
        sa.CheckConstraint("comment_count >= 0", name=op.f("promo_counters_comments_ck")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "promo_codes",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("activation_id", sa.Uuid),
    )
    op.create_index(
        "promo_codes_free",
        "promo_codes",
        ["promo_id", "position"],
        postgresql_where=sa.text("activation_id IS NULL"),
    )


def _create_user_parts() -> None:
    op.create_table(
        "activations",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("country_key", sa.Text, nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("activations_country", "activations", ["promo_id", "country_key"])
    op.create_index("activations_history", "activations", ["user_id", sa.text("activated_at DESC"), sa.text("id DESC")])
    op.create_table(
        "likes",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), primary_key=True),
    )
    op.create_table(
        "comments",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("author_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        _created_at(),
    )
    op.create_index("comments_newest", "comments", ["promo_id", sa.text("created_at DESC"), sa.text("id DESC")])


def downgrade() -> None:
    """Drop all tables."""
    for table in ("comments", "likes", "activations", "promo_codes", "promo_counters", "promos", "users", "companies"):
        op.drop_table(table)
