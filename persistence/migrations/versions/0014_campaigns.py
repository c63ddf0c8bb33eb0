"""Companies pause and archive promos, and limit the activations of a user. Claims become a function.

A statement sees the database as it was at its start. The function runs a statement for the lock and others after it,
so a claim that waited for the lock sees all that was committed meanwhile: codes, a pause, activations of its user.

Processes of an earlier version keep working: their claims ignore pauses and limits of users. Stop them before the
first use of either.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


_CLAIM = """
    CREATE FUNCTION claim_uses(
        claimed_promo uuid, claim_ids uuid[], claim_users uuid[], claim_countries text[], claim_ages smallint[],
        today date
    ) RETURNS SETOF text LANGUAGE plpgsql AS $$
    DECLARE
        size CONSTANT integer := cardinality(claim_ids);
        used_before integer;
        use_limit integer;
        issued_count integer;
        promo record;
    BEGIN
        SELECT counters.used_count, counters.use_limit INTO used_before, use_limit
        FROM promo_counters AS counters
        WHERE counters.promo_id = claimed_promo AND counters.used_count + size <= counters.use_limit
        FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;

        SELECT mode, promo_common, country_key, age_from, age_until, category_keys, active_from, active_until,
            paused, archived, max_per_user
        INTO promo FROM promos WHERE id = claimed_promo;
        IF promo.paused OR promo.archived OR promo.active_from > today OR promo.active_until < today
            OR promo.country_key <> ANY (claim_countries)
            OR promo.age_from > ANY (claim_ages) OR promo.age_until < ANY (claim_ages)
        THEN
            RETURN;
        END IF;
        IF promo.max_per_user IS NOT NULL AND EXISTS (
            SELECT FROM unnest(claim_users) AS claimant (id)
            GROUP BY claimant.id
            HAVING promo.max_per_user < count(*) + (
                SELECT count(*) FROM activations WHERE promo_id = claimed_promo AND user_id = claimant.id
            )
        ) THEN
            RETURN;
        END IF;

        UPDATE promo_counters SET used_count = used_before + size WHERE promo_id = claimed_promo;
        INSERT INTO activations (promo_id, user_id, id, country_key, code_position)
        SELECT claimed_promo, claim.user_id, claim.id, claim.country_key,
            CASE WHEN promo.mode = 'UNIQUE' THEN used_before + claim.number END
        FROM unnest(claim_ids, claim_users, claim_countries) WITH ORDINALITY
            AS claim (id, user_id, country_key, number);
        INSERT INTO country_uses AS uses (promo_id, country_key, activations_count)
        SELECT claimed_promo, claim.country_key, count(*)
        FROM unnest(claim_countries) AS claim (country_key)
        GROUP BY claim.country_key ORDER BY claim.country_key
        ON CONFLICT (promo_id, country_key)
        DO UPDATE SET activations_count = uses.activations_count + excluded.activations_count;
        INSERT INTO user_uses AS uses (user_id, activations_count)
        SELECT claim.user_id, count(*)
        FROM unnest(claim_users) AS claim (user_id)
        GROUP BY claim.user_id ORDER BY claim.user_id
        ON CONFLICT (user_id)
        DO UPDATE SET activations_count = uses.activations_count + excluded.activations_count;
        IF used_before + size = use_limit THEN
            INSERT INTO feed_tally_changes (
                promo_count, usable_count, country_key, age_from, age_until, category_keys, active_from, active_until
            ) VALUES (
                0, -1, promo.country_key, promo.age_from, promo.age_until, promo.category_keys, promo.active_from,
                promo.active_until
            );
        END IF;

        IF promo.mode = 'COMMON' THEN
            RETURN QUERY SELECT promo.promo_common FROM generate_series(1, size);
            RETURN;
        END IF;
        RETURN QUERY
        WITH issued AS (
            UPDATE promo_codes AS codes
            SET activation_id = claim_ids[codes.position - used_before],
                country_key = claim_countries[codes.position - used_before],
                issued_at = clock_timestamp()
            WHERE codes.promo_id = claimed_promo
                AND codes.position > used_before AND codes.position <= used_before + size
            RETURNING codes.position, codes.value
        )
        SELECT issued.value FROM issued ORDER BY issued.position;
        GET DIAGNOSTICS issued_count = ROW_COUNT;
        IF issued_count <> size THEN
            RAISE EXCEPTION 'a code of promo % is missing', claimed_promo USING TABLE = 'promo_codes';
        END IF;
    END $$
"""


_ORDERS = {
    "newest": "",
    "active_from": "active_from DESC NULLS LAST, ",
    "active_until": "active_until DESC NULLS FIRST, ",
}
_KEYS = {"company": "company_id", "country": "company_id, coalesce(country_key, '')"}


def upgrade() -> None:
    """Add the columns, the function, and the indexes of the promos that are not archived.

    The indexes may exist already: on a large table, create them beforehand (see docs/deployment.md).
    """
    op.add_column("promos", sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("promos", sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("promos", sa.Column("max_per_user", sa.Integer))
    op.add_column("promo_codes", sa.Column("issued_at", sa.DateTime(timezone=True)))
    op.add_column("promo_codes", sa.Column("country_key", sa.Text))
    op.execute("ALTER TABLE promo_codes SET (fillfactor = 80)")
    op.execute(_CLAIM)
    for scope, key in _KEYS.items():
        for name, order in _ORDERS.items():
            _create_index(f"promos_{scope}_{name}_listed", f"{key}, {order}created_at DESC, id DESC", "NOT archived")
    _create_index("promos_company_archived", "company_id, created_at DESC, id DESC", "archived")


def _create_index(name: str, columns: str, condition: str) -> None:
    op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON promos ({columns}) WHERE {condition}")


def downgrade() -> None:
    """Drop the function and the columns, and the indexes with them: all promos are in use again."""
    op.execute("DROP FUNCTION claim_uses")
    op.execute("ALTER TABLE promo_codes RESET (fillfactor)")
    for name in ("issued_at", "country_key"):
        op.drop_column("promo_codes", name)
    for name in ("paused", "archived", "max_per_user"):
        op.drop_column("promos", name)
