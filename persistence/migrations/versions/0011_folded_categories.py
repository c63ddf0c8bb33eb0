"""Category keys are compared in Unicode normal form NFC, and with one letter i for the dotted and the dotless i.

Processes of an earlier version keep working, and write keys of the earlier form. The index finds both these and the
existing ones for the service, which computes them again. A later release drops it.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

_IS_OUTDATED = "category_key IS NOT NFC NORMALIZED OR category_key ~ '\u0131|i\u0307'"


def upgrade() -> None:
    """Create the index, which may exist already: on a large table, create it beforehand (see docs/deployment.md).

    Raises:
        RuntimeError: the encoding is not UTF8, so PostgreSQL cannot normalize.
    """
    encoding = op.get_bind().exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise RuntimeError(
            f"The database has the encoding {encoding} and needs UTF8. Restore a dump in a new database."
        )
    op.create_index(
        "feed_entries_outdated_key", "feed_entries", ["promo_id"], postgresql_where=_IS_OUTDATED, if_not_exists=True
    )


def downgrade() -> None:
    """Drop the index. The earlier version does not find the categories whose keys have changed."""
    op.drop_index("feed_entries_outdated_key", "feed_entries")
