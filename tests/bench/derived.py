"""Statements that fill the derived tables, by table, in the order of their dependencies.

Most are those of the migrations, which fill these tables in databases of older versions.
"""

from alembic.script import ScriptDirectory

from persistence import migrations

_SCRIPTS = ScriptDirectory.from_config(migrations._config())
_NUMBERS, _FEEDS, _USERS = (_SCRIPTS.get_revision(revision).module for revision in ("0003", "0004", "0006"))
_ENTRIES = _FEEDS._ENTRIES.replace("active_until", "active_until, 'live'")
_STANDINGS = """
    UPDATE feed_entries SET standing = CASE
        WHEN used_count = use_limit THEN 'exhausted'
        WHEN active_from > current_date THEN 'scheduled'
        WHEN active_until <= current_date THEN 'ending'
        ELSE 'live'
    END
    FROM promo_counters WHERE promo_counters.promo_id = feed_entries.promo_id
"""
# A sweeper does it in steps.
_ACTIVITY = """
    INSERT INTO promo_activity (promo_id, quarter, country_key, activations)
    SELECT promo_id, quarter_of(activated_at), country_key, count(*) FROM activations GROUP BY 1, 2, 3
"""

DERIVED: dict[str, str] = {
    "promos": _NUMBERS._CODES,
    "country_uses": _NUMBERS._COUNTRY_USES,
    "company_promo_counts": _NUMBERS._COMPANY_COUNTS,
    "user_uses": _USERS._USER_USES,
    "feed_entries": f"{_ENTRIES}; {_STANDINGS}",
    "feed_tallies": _FEEDS._TALLIES,
    "promo_activity": _ACTIVITY,
}
