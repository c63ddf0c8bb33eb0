"""Companies have API keys: their tables, and the events of their creation and revocation.

Processes of an earlier version keep working: they know no keys, and refuse requests with one like
those without a token.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0018"
down_revision = "0017"

_EARLIER_EVENTS = (
    "'signed_up', 'signed_in', 'signed_out', 'password_changed', 'profile_changed', 'deleted', 'password_reset',"
    " 'closed'"
)
_KEY_EVENTS = "'key_created', 'key_revoked'"
_RECORDED = sa.text(f"SELECT count(*) FROM account_events WHERE event IN ({_KEY_EVENTS})")  # noqa: S608 a constant
_KNOWN_EVENT, _KEY = "account_events_known_event_ck", "account_events_key_ck"


def upgrade() -> None:
    """Create the tables, and add the events and the column of their key."""
    op.create_table(
        "api_keys",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        *(sa.Column(name, sa.DateTime(timezone=True)) for name in ("expires_at", "last_used_at", "revoked_at")),
        sa.PrimaryKeyConstraint("company_id", "id", name="api_keys_pk"),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("api_keys_digest_ck")),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("api_keys_scopes_ck")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "api_key_digests",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="api_key_digests_pk"),
    )
    op.add_column("account_events", sa.Column("key_id", sa.Uuid))
    _set_events(f"{_EARLIER_EVENTS}, {_KEY_EVENTS}")
    _add_check(_KEY, f"(event IN ({_KEY_EVENTS})) = (key_id IS NOT NULL)")


def _set_events(events: str) -> None:
    op.drop_constraint(op.f(_KNOWN_EVENT), "account_events")
    _add_check(_KNOWN_EVENT, f"event IN ({events})")


def _add_check(name: str, condition: str) -> None:
    op.create_check_constraint(op.f(name), "account_events", condition)


def downgrade() -> None:
    """Drop the tables, so that all API keys stop working, and remove the events.

    Raises:
        RuntimeError: the audit log has events of keys, which no earlier version knows and which must not change.
    """
    if op.get_bind().execute(_RECORDED).scalar_one():
        raise RuntimeError("The audit log has events of API keys, which an earlier version cannot have.")
    op.drop_constraint(op.f(_KEY), "account_events")
    _set_events(_EARLIER_EVENTS)
    op.drop_column("account_events", "key_id")
    op.drop_table("api_key_digests")
    op.drop_table("api_keys")
