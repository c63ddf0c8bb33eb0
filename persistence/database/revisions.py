"""Which revision of the schema the service needs, and which one a database has; to apply them is for `migrations`.

The program that applies them is asked neither: it takes 11 MB, and only `migrate` needs it.
"""

from pathlib import Path

from sqlalchemy import Connection, text

from persistence.database.statements import Statement

_VERSIONS = Path(__file__).parent.parent / "migrations" / "versions"
_TABLE = Statement(text("SELECT to_regclass('alembic_version')"))
_REVISION = Statement(text("SELECT version_num FROM alembic_version"))


def newest_revision() -> str:
    """Return the revision that this version of the service needs: the last one, as their files are numbered."""
    return max(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py"))


def find_revision(connection: Connection) -> str | None:
    """Return the revision of a database; None if no migration has been applied to it."""
    revision: str | None = None if _TABLE.value(connection, {}) is None else _REVISION.value(connection, {})
    return revision
