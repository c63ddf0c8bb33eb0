"""What fills each table that is derived from others, by its name, in an order in which it can be done.

The growing data are made without it, and get it as a database gets it that is older than these tables.
"""

from alembic.script import ScriptDirectory

from persistence import migrations

_FEEDS = ScriptDirectory.from_config(migrations._config()).get_revision("0004").module

DERIVED: dict[str, str] = {
    "promos": """
        UPDATE promos SET promo_unique =
            (SELECT json_agg(value ORDER BY position) FROM promo_codes WHERE promo_codes.promo_id = promos.id)
        WHERE mode = 'UNIQUE'
    """,
    "country_uses": """
        INSERT INTO country_uses (promo_id, country_key, activations_count)
        SELECT promo_id, country_key, count(*) FROM activations GROUP BY promo_id, country_key
    """,
    "company_promo_counts": """
        INSERT INTO company_promo_counts (company_id, country_key, promos_count)
        SELECT company_id, coalesce(country_key, ''), count(*) FROM promos GROUP BY 1, 2
    """,
    "feed_entries": _FEEDS._ENTRIES,
    "feed_tallies": _FEEDS._TALLIES,
}
