"""Searches of promos: their words and an index of them.

A trigger clears the words of a promo whose texts change; the new version then computes them in the same transaction.
Processes of an earlier version keep working: they leave the words empty, and the sweeper of the new version computes
them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_FUNCTION = """
    CREATE FUNCTION clear_search_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.search_words := NULL;
        RETURN NEW;
    END $$
"""
_TRIGGER = """
    CREATE TRIGGER clear_search_words BEFORE UPDATE OF description, categories ON promos
    FOR EACH ROW WHEN ((NEW.description, NEW.categories) IS DISTINCT FROM (OLD.description, OLD.categories))
    EXECUTE FUNCTION clear_search_words()
"""


def upgrade() -> None:
    """Add the column, empty, the indexes and the trigger.

    The indexes may exist already: on a large table, create them beforehand (see docs/deployment.md).
    """
    op.execute("ALTER TABLE promos ADD COLUMN IF NOT EXISTS search_words tsvector")
    op.create_index(
        "promos_search",
        "promos",
        ["search_words"],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 256},
        if_not_exists=True,
    )
    op.create_index(
        "promos_without_words",
        "promos",
        ["id"],
        postgresql_where=sa.text("search_words IS NULL"),
        if_not_exists=True,
    )
    op.execute(_FUNCTION)
    op.execute(_TRIGGER)


def downgrade() -> None:
    """Drop the trigger and the column, and the indexes with it."""
    op.execute("DROP TRIGGER clear_search_words ON promos")
    op.execute("DROP FUNCTION clear_search_words()")
    op.drop_column("promos", "search_words")
