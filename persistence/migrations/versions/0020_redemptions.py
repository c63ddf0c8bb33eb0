"""Companies redeem issued codes: redemptions, their counts, and an index that finds a code in any spelling.

The functions run a statement for the lock and others after it, so they see each change that was committed before.
Processes of an earlier version keep working: they neither read nor write the new tables.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from persistence import migrations

revision = "0020"
down_revision = "0019"

_HASH = Path(migrations.__file__).with_name("code_hash.sql")

# The columns of the results: a reason, or `ok` and the redemption.
_COLUMNS = """
    outcome text, id uuid, state text, order_ref text, held_until timestamptz, created_at timestamptz,
    confirmed_at timestamptz, ended_at timestamptz
"""
_RESULT = """
        RETURN QUERY SELECT reason, redemption.id, redemption.state, redemption.order_ref, redemption.held_until,
            redemption.created_at, redemption.confirmed_at, redemption.ended_at;
"""
# All redemptions of a COMMON promo take turns by its row.
_LOCK = """
    CREATE FUNCTION lock_redemption_counters(locked_promo uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM redemption_counters WHERE promo_id = locked_promo FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            INSERT INTO redemption_counters (promo_id) VALUES (locked_promo) ON CONFLICT DO NOTHING;
            PERFORM FROM redemption_counters WHERE promo_id = locked_promo FOR NO KEY UPDATE;
        END IF;
    END $$
"""
# Returns `ok` if the code of a COMMON promo can be redeemed once more. Expired holds are closed only when they matter.
# The uses never become fewer, so one closed hold is room enough.
_FIND_ROOM = """
    CREATE FUNCTION find_redemption_room(common_promo uuid, moment timestamptz) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        uses integer;
        confirmed integer;
        held integer;
        closed integer;
    BEGIN
        SELECT used_count INTO uses FROM promo_counters WHERE promo_id = common_promo;
        SELECT confirmed_count, held_count INTO confirmed, held FROM redemption_counters WHERE promo_id = common_promo;
        IF confirmed + held < uses THEN
            RETURN 'ok';
        END IF;
        UPDATE redemptions SET state = 'expired', ended_at = held_until
        WHERE promo_id = common_promo AND id IN (
            SELECT id FROM redemptions
            WHERE promo_id = common_promo AND code_position IS NULL AND state = 'held' AND held_until <= moment
            ORDER BY held_until LIMIT 1000
        );
        GET DIAGNOSTICS closed = ROW_COUNT;
        IF closed > 0 THEN
            UPDATE redemption_counters SET held_count = held_count - closed WHERE promo_id = common_promo;
            RETURN 'ok';
        END IF;
        RETURN CASE WHEN uses = 0 THEN 'not_issued' WHEN confirmed >= uses THEN 'already_redeemed' ELSE 'held' END;
    END $$
"""
# Redemptions of UNIQUE promos do not wait for each other: each changes an unlocked part of a count, or adds one.
_COUNT = """
    CREATE FUNCTION count_redemption(
        counted_promo uuid, is_common boolean, country text, confirmed integer, held integer
    ) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF is_common THEN
            UPDATE redemption_counters
            SET confirmed_count = confirmed_count + confirmed, held_count = held_count + held
            WHERE promo_id = counted_promo;
        ELSIF confirmed <> 0 THEN
            UPDATE country_redemptions SET redemptions_count = redemptions_count + confirmed
            WHERE promo_id = counted_promo AND country_key = country AND part = (
                SELECT part FROM country_redemptions WHERE promo_id = counted_promo AND country_key = country
                LIMIT 1 FOR UPDATE SKIP LOCKED
            );
            IF NOT FOUND THEN
                INSERT INTO country_redemptions (promo_id, country_key, redemptions_count)
                VALUES (counted_promo, country, confirmed);
            END IF;
        END IF;
    END $$
"""
# Redeems a code, or holds it for `hold_s` seconds. A position is that of a code of a UNIQUE promo; NULL: of a COMMON
# promo.
_REDEEM = """
    CREATE FUNCTION redeem_code(
        redeemed_promo uuid, redeemed_position integer, new_id uuid, redeeming_company uuid, new_order_ref text,
        hold_s integer
    ) RETURNS TABLE (COLUMNS) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE
        is_common CONSTANT boolean := redeemed_position IS NULL;
        is_confirmed CONSTANT boolean := hold_s IS NULL;
        new_state CONSTANT text := CASE WHEN hold_s IS NULL THEN 'confirmed' ELSE 'held' END;
        moment timestamptz;
        issued_to uuid;
        country text;
        is_extended boolean;
        reason text := 'ok';
        redemption redemptions%ROWTYPE;
    BEGIN
        IF is_common THEN
            PERFORM lock_redemption_counters(redeemed_promo);
            moment := clock_timestamp();
            SELECT * INTO redemption FROM redemptions
            WHERE promo_id = redeemed_promo AND code_position IS NULL AND order_ref = new_order_ref
                AND state = 'held' AND held_until > moment;
            is_extended := FOUND;
            IF NOT is_extended THEN
                reason := find_redemption_room(redeemed_promo, moment);
            END IF;
        ELSE
            SELECT activation_id, country_key INTO issued_to, country FROM promo_codes
            WHERE promo_id = redeemed_promo AND position = redeemed_position FOR NO KEY UPDATE;
            moment := clock_timestamp();
            SELECT * INTO redemption FROM redemptions
            WHERE promo_id = redeemed_promo AND code_position = redeemed_position AND state IN ('held', 'confirmed');
            is_extended := FOUND;
            IF issued_to IS NULL THEN
                reason := 'not_issued';
            ELSIF redemption.state = 'confirmed' THEN
                reason := 'already_redeemed';
            ELSIF redemption.held_until > moment THEN
                reason := CASE WHEN redemption.order_ref = new_order_ref THEN 'ok' ELSE 'held' END;
            ELSIF is_extended THEN
                UPDATE redemptions SET state = 'expired', ended_at = held_until
                WHERE promo_id = redeemed_promo AND id = redemption.id;
                is_extended := false;
            END IF;
            IF reason = 'ok' AND country IS NULL THEN
                -- An earlier version has issued the code.
                SELECT country_key INTO country FROM activations
                WHERE promo_id = redeemed_promo AND id = issued_to;
            END IF;
        END IF;
        IF reason <> 'ok' THEN
            redemption := NULL;
        ELSIF is_extended THEN
            UPDATE redemptions
            SET state = new_state, confirmed_at = CASE WHEN is_confirmed THEN moment END,
                held_until = greatest(held_until, moment + make_interval(secs => hold_s))
            WHERE promo_id = redeemed_promo AND id = redemption.id RETURNING * INTO redemption;
            IF is_confirmed THEN
                PERFORM count_redemption(redeemed_promo, is_common, redemption.country_key, 1, -1);
            END IF;
        ELSE
            INSERT INTO redemptions (
                promo_id, id, company_id, code_position, country_key, state, order_ref, held_until, created_at,
                confirmed_at
            ) VALUES (
                redeemed_promo, new_id, redeeming_company, redeemed_position, country, new_state, new_order_ref,
                moment + make_interval(secs => hold_s), moment, CASE WHEN is_confirmed THEN moment END
            ) RETURNING * INTO redemption;
            PERFORM count_redemption(
                redeemed_promo, is_common, country, is_confirmed::integer, (NOT is_confirmed)::integer
            );
        END IF;
RESULT
    END $$
"""
# Confirms, releases or voids a redemption. In its state already, it stays as it is.
_CHANGE = """
    CREATE FUNCTION change_redemption(changed_promo uuid, changed_id uuid, new_state text)
    RETURNS TABLE (COLUMNS) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE
        moment timestamptz;
        is_common boolean;
        was_held boolean;
        is_allowed boolean;
        reason text := 'ok';
        redemption redemptions%ROWTYPE;
    BEGIN
        SELECT * INTO redemption FROM redemptions WHERE promo_id = changed_promo AND id = changed_id;
        is_common := redemption.code_position IS NULL;
        IF is_common THEN
            PERFORM lock_redemption_counters(changed_promo);
        ELSE
            PERFORM FROM promo_codes
            WHERE promo_id = changed_promo AND position = redemption.code_position FOR NO KEY UPDATE;
        END IF;
        moment := clock_timestamp();
        SELECT * INTO redemption FROM redemptions WHERE promo_id = changed_promo AND id = changed_id;
        was_held := redemption.state = 'held';
        IF redemption.state <> new_state THEN
            is_allowed := CASE new_state
                WHEN 'confirmed' THEN was_held OR (is_common AND redemption.state = 'expired')
                WHEN 'released' THEN was_held AND redemption.held_until > moment
                WHEN 'voided' THEN redemption.state = 'confirmed'
            END;
            IF is_allowed AND redemption.state = 'expired' THEN
                is_allowed := find_redemption_room(changed_promo, moment) = 'ok';
            END IF;
            IF is_allowed THEN
                UPDATE redemptions
                SET state = new_state,
                    confirmed_at = CASE WHEN new_state = 'confirmed' THEN moment ELSE confirmed_at END,
                    ended_at = CASE WHEN new_state <> 'confirmed' THEN moment END
                WHERE promo_id = changed_promo AND id = changed_id RETURNING * INTO redemption;
                PERFORM count_redemption(
                    changed_promo, is_common, redemption.country_key,
                    CASE new_state WHEN 'confirmed' THEN 1 WHEN 'voided' THEN -1 ELSE 0 END,
                    -(was_held::integer)
                );
            ELSE
                reason := 'redemption_state';
            END IF;
        END IF;
RESULT
    END $$
"""
_FUNCTIONS = (
    _LOCK,
    _FIND_ROOM,
    _COUNT,
    *(text.replace("COLUMNS", _COLUMNS).replace("RESULT", _RESULT) for text in (_REDEEM, _CHANGE)),
)
_TIMES = ("held_until", "created_at", "confirmed_at", "ended_at")


def upgrade() -> None:
    """Create the tables, the functions and the indexes of codes.

    `code_hash` and its indexes may exist already: on large tables, create them beforehand (see docs/deployment.md).
    """
    op.add_column("promo_codes", sa.Column("generated", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "redemptions",
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("code_position", sa.Integer),
        sa.Column("country_key", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("order_ref", sa.Text),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=name != "created_at") for name in _TIMES),
        sa.PrimaryKeyConstraint("promo_id", "id", name="redemptions_pk"),
        sa.CheckConstraint(
            "state IN ('held', 'confirmed', 'released', 'expired', 'voided')", name=op.f("redemptions_known_state_ck")
        ),
        sa.CheckConstraint("state <> 'held' OR held_until IS NOT NULL", name=op.f("redemptions_held_ck")),
        sa.CheckConstraint(
            "(state IN ('confirmed', 'voided')) = (confirmed_at IS NOT NULL)", name=op.f("redemptions_confirmed_ck")
        ),
        sa.CheckConstraint(
            "(state IN ('released', 'expired', 'voided')) = (ended_at IS NOT NULL)", name=op.f("redemptions_ended_ck")
        ),
    )
    newest = "created_at DESC, id DESC"
    common_hold = "state = 'held' AND code_position IS NULL"
    live = "state IN ('held', 'confirmed') AND code_position IS NOT NULL"
    op.execute(f"CREATE UNIQUE INDEX redemptions_code ON redemptions (promo_id, code_position) WHERE {live}")
    op.execute("CREATE UNIQUE INDEX redemptions_company ON redemptions (company_id, id)")
    op.execute(f"CREATE INDEX redemptions_newest ON redemptions (company_id, state, {newest})")
    op.execute(f"CREATE INDEX redemptions_promo_newest ON redemptions (promo_id, state, {newest})")
    op.execute(
        f"CREATE INDEX redemptions_order ON redemptions (company_id, order_ref, {newest}) WHERE order_ref IS NOT NULL"
    )
    op.execute(f"CREATE INDEX redemptions_held_order ON redemptions (promo_id, order_ref) WHERE {common_hold}")
    op.execute(f"CREATE INDEX redemptions_held_until ON redemptions (promo_id, held_until) WHERE {common_hold}")
    op.create_table(
        "redemption_counters",
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("confirmed_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("held_count", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("promo_id", name="redemption_counters_pk"),
        sa.CheckConstraint("confirmed_count >= 0 AND held_count >= 0", name=op.f("redemption_counters_counts_ck")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "country_redemptions",
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("country_key", sa.Text, nullable=False),
        sa.Column("part", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("redemptions_count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("promo_id", "country_key", "part", name="country_redemptions_pk"),
        postgresql_with={"fillfactor": "50"},
    )
    for function in (_HASH.read_text(encoding="utf-8"), *_FUNCTIONS):
        op.execute(function)
    op.execute('CREATE INDEX IF NOT EXISTS promo_codes_hash ON promo_codes (code_hash(value), promo_id, "position")')
    op.execute(
        "CREATE INDEX IF NOT EXISTS promos_code_hash ON promos (company_id, code_hash(promo_common))"
        " WHERE promo_common IS NOT NULL"
    )


def downgrade() -> None:
    """Drop the redemptions: all codes count as not redeemed."""
    for name in ("promos_code_hash", "promo_codes_hash"):
        op.execute(f"DROP INDEX {name}")
    for name in (
        "change_redemption", "redeem_code", "count_redemption", "find_redemption_room", "lock_redemption_counters",
        "code_hash",
    ):  # fmt: skip
        op.execute(f"DROP FUNCTION {name}")
    for name in ("country_redemptions", "redemption_counters", "redemptions"):
        op.drop_table(name)
    op.drop_column("promo_codes", "generated")
