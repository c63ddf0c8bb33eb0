"""Schema revisions, without Alembic, which takes 11 MB of memory."""

from pathlib import Path

from sqlalchemy import Connection, text

from persistence.database.statements import Statement

_VERSIONS = Path(__file__).parent.parent / "migrations" / "versions"
_TABLE = Statement(text("SELECT to_regclass('alembic_version')"))
_REVISION = Statement(text("SELECT version_num FROM alembic_version"))


def newest_revision() -> str:
    """Return the highest number of a migration."""
    return max(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py"))


def find_revision(connection: Connection) -> str | None:
    """Return the database's revision; None: no migration yet."""
    revision: str | None = None if _TABLE.value(connection, {}) is None else _REVISION.value(connection, {})
    return revision
