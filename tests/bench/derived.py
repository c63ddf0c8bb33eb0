"""What fills each table that is derived from others, by its name, in an order in which it can be done.

The growing data are made without it, and get it as a database gets it that is older than these tables.
"""

from alembic.script import ScriptDirectory

from persistence import migrations

_SCRIPTS = ScriptDirectory.from_config(migrations._config())
_NUMBERS, _FEEDS, _USERS = (_SCRIPTS.get_revision(revision).module for revision in ("0003", "0004", "0006"))

DERIVED: dict[str, str] = {
    "promos": _NUMBERS._CODES,
    "country_uses": _NUMBERS._COUNTRY_USES,
    "company_promo_counts": _NUMBERS._COMPANY_COUNTS,
    "user_uses": _USERS._USER_USES,
    "feed_entries": _FEEDS._ENTRIES,
    "feed_tallies": _FEEDS._TALLIES,
}
