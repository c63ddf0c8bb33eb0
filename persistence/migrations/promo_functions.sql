-- The functions that write the tables of a promo (migration 0025). Each is called with its promo as a parameter, and
-- each statement names this promo for each table: see docs/decisions/0024-promo-functions-and-outbox.md.

-- Counts activations by user. A function of its own, because the table belongs to the users.
CREATE FUNCTION count_user_uses(user_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO user_uses AS uses (user_id, activations_count)
    SELECT claim.user_id, count(*) FROM unnest(user_ids) AS claim (user_id) GROUP BY claim.user_id ORDER BY claim.user_id
    ON CONFLICT (user_id) DO UPDATE SET activations_count = uses.activations_count + excluded.activations_count;
END $$;

-- Grants all claims or none. Its first statement locks the promo, so the next ones see each change that was committed
-- before. The codes are issued in the order of the claims.
CREATE OR REPLACE FUNCTION claim_uses(
    claimed_promo uuid, claim_ids uuid[], claim_users uuid[], claim_countries text[], claim_ages smallint[], today date
) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    size CONSTANT integer := cardinality(claim_ids);
    used_before integer;
    use_limit integer;
    moment timestamptz;
    claimed_country text;
    claims_count integer;
    issued_count integer;
    promo record;
BEGIN
    -- Citus may move the promo to another server after the SELECT, and its lock does not count there. The UPDATE keeps
    -- the promo from moving until COMMIT.
    LOOP
        SELECT counters.used_count, counters.use_limit INTO used_before, use_limit
        FROM promo_counters AS counters
        WHERE counters.promo_id = claimed_promo AND counters.used_count + size <= counters.use_limit
        FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;

        SELECT mode, promo_common, country_key, age_from, age_until, category_keys, active_from, active_until,
            created_at, paused, archived, max_per_user
        INTO promo FROM promos WHERE id = claimed_promo;
        IF promo.paused OR promo.archived OR promo.active_from > today OR promo.active_until < today
            OR promo.country_key <> ANY (claim_countries)
            OR promo.age_from > ANY (claim_ages) OR promo.age_until < ANY (claim_ages)
        THEN
            RETURN;
        END IF;
        -- Not one condition, because Citus would plan it for each promo.
        IF promo.max_per_user IS NOT NULL THEN
            IF EXISTS (
                SELECT FROM unnest(claim_users) AS claimant (id)
                GROUP BY claimant.id
                HAVING promo.max_per_user < count(*) + (
                    SELECT count(*) FROM activations WHERE promo_id = claimed_promo AND user_id = claimant.id
                )
            ) THEN
                RETURN;
            END IF;
        END IF;

        UPDATE promo_counters SET used_count = used_before + size
        WHERE promo_id = claimed_promo AND used_count = used_before;
        EXIT WHEN FOUND;
    END LOOP;

    moment := clock_timestamp();
    PERFORM count_user_uses(claim_users);
    -- Most calls claim one use. Citus inserts its VALUES at once, but writes the rows of a query to a file first.
    IF size = 1 THEN
        INSERT INTO activations (promo_id, user_id, id, country_key, activated_at, code_position)
        VALUES (
            claimed_promo, claim_users[1], claim_ids[1], claim_countries[1], moment,
            CASE WHEN promo.mode = 'UNIQUE' THEN used_before + 1 END
        );
    ELSE
        INSERT INTO activations (promo_id, user_id, id, country_key, activated_at, code_position)
        SELECT claimed_promo, claim.user_id, claim.id, claim.country_key, moment,
            CASE WHEN promo.mode = 'UNIQUE' THEN used_before + claim.number END
        FROM unnest(claim_ids, claim_users, claim_countries) WITH ORDINALITY
            AS claim (id, user_id, country_key, number);
    END IF;
    FOR claimed_country, claims_count IN
        SELECT claim.country_key, count(*) FROM unnest(claim_countries) AS claim (country_key)
        GROUP BY claim.country_key ORDER BY claim.country_key
    LOOP
        INSERT INTO country_uses AS uses (promo_id, country_key, activations_count)
        VALUES (claimed_promo, claimed_country, claims_count)
        ON CONFLICT (promo_id, country_key)
        DO UPDATE SET activations_count = uses.activations_count + excluded.activations_count;
        INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, activations)
        VALUES (claimed_promo, quarter_of(moment), claimed_country, claims_count)
        ON CONFLICT (promo_id, quarter, country_key)
        DO UPDATE SET activations = stored.activations + excluded.activations;
    END LOOP;
    IF used_before + size = use_limit THEN
        UPDATE feed_entries SET standing = 'exhausted'
        WHERE category_key = ANY (promo.category_keys || ''::text) AND country_key = coalesce(promo.country_key, '')
            AND created_at = promo.created_at AND promo_id = claimed_promo AND standing IS DISTINCT FROM 'exhausted';
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
        SET activation_id = claim.id, country_key = claim.country_key, issued_at = moment
        FROM unnest(claim_ids, claim_countries) WITH ORDINALITY AS claim (id, country_key, number)
        WHERE codes.promo_id = claimed_promo AND codes.position = used_before + claim.number
        RETURNING codes.position, codes.value
    )
    SELECT issued.value FROM issued ORDER BY issued.position;
    GET DIAGNOSTICS issued_count = ROW_COUNT;
    IF issued_count <> size THEN
        RAISE EXCEPTION 'a code of promo % is missing', claimed_promo USING TABLE = 'promo_codes';
    END IF;
END $$;

-- Changes the number of promos of a company for a country ('': all countries). The number is the sum of parts. A writer
-- changes an unlocked part or inserts one, so none waits.
CREATE FUNCTION change_promo_count(owner uuid, country text, difference integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    unlocked uuid;
BEGIN
    SELECT part INTO unlocked FROM company_promo_counts
    WHERE company_id = owner AND country_key = country LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE company_promo_counts SET promos_count = promos_count + difference
        WHERE company_id = owner AND country_key = country AND part = unlocked;
    ELSE
        INSERT INTO company_promo_counts (company_id, country_key, promos_count) VALUES (owner, country, difference);
    END IF;
END $$;

-- Inserts the feed entries of a promo and counts it; nothing if it is archived.
CREATE FUNCTION insert_feed_entries(listed_promo uuid, today date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    promo record;
BEGIN
    SELECT country_key, age_from, age_until, category_keys, active_from, active_until, created_at,
        used_count < use_limit AND NOT paused AS is_usable
    INTO promo FROM promos, promo_counters
    WHERE promos.id = listed_promo AND promo_counters.promo_id = listed_promo AND NOT archived;
    IF FOUND THEN
        INSERT INTO feed_entries (
            category_key, country_key, created_at, promo_id, age_from, age_until, active_from, active_until, standing
        )
        SELECT DISTINCT category.key, coalesce(promo.country_key, ''), promo.created_at, listed_promo, promo.age_from,
            promo.age_until, promo.active_from, promo.active_until, CASE
                WHEN NOT promo.is_usable THEN 'exhausted'
                WHEN promo.active_from > today THEN 'scheduled'
                WHEN promo.active_until <= today THEN 'ending'
                ELSE 'live'
            END
        FROM unnest(promo.category_keys || ''::text) AS category (key);
        INSERT INTO feed_tally_changes (
            promo_count, usable_count, country_key, age_from, age_until, category_keys, active_from, active_until
        ) VALUES (
            1, promo.is_usable::integer, promo.country_key, promo.age_from, promo.age_until, promo.category_keys,
            promo.active_from, promo.active_until
        );
    END IF;
END $$;

-- Deletes the feed entries of a promo, which must be locked and not changed yet, and stops counting it.
CREATE FUNCTION delete_feed_entries(listed_promo uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    promo record;
BEGIN
    SELECT country_key, age_from, age_until, category_keys, active_from, active_until, created_at,
        used_count < use_limit AND NOT paused AS is_usable
    INTO promo FROM promos, promo_counters
    WHERE promos.id = listed_promo AND promo_counters.promo_id = listed_promo AND NOT archived;
    IF FOUND THEN
        DELETE FROM feed_entries
        WHERE category_key = ANY (promo.category_keys || ''::text) AND country_key = coalesce(promo.country_key, '')
            AND created_at = promo.created_at AND promo_id = listed_promo;
        INSERT INTO feed_tally_changes (
            promo_count, usable_count, country_key, age_from, age_until, category_keys, active_from, active_until
        ) VALUES (
            -1, -(promo.is_usable::integer), promo.country_key, promo.age_from, promo.age_until, promo.category_keys,
            promo.active_from, promo.active_until
        );
    END IF;
END $$;

-- Inserts a promo and its rows in all other tables; false if its company is closed. `members` has columns of promos and
-- promo_counters, and `codes` is NULL for other modes than UNIQUE.
CREATE FUNCTION create_promo(new_id uuid, members jsonb, codes text[], new_limit integer, today date) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    promo CONSTANT promos := jsonb_populate_record(NULL::promos, members);
    options CONSTANT promo_counters := jsonb_populate_record(NULL::promo_counters, members);
BEGIN
    -- The lock of a foreign key, so that the company is not closed before the promo is inserted.
    PERFORM FROM companies WHERE id = promo.company_id AND password_hash IS NOT NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO promos (
        id, company_id, mode, description, image_url, country, country_key, age_from, age_until, categories,
        category_keys, active_from, active_until, promo_common, promo_unique, max_per_user, comments_enabled,
        search_words
    ) VALUES (
        new_id, promo.company_id, promo.mode, promo.description, promo.image_url, promo.country, promo.country_key,
        promo.age_from, promo.age_until, promo.categories, promo.category_keys, promo.active_from, promo.active_until,
        promo.promo_common, to_json(codes), promo.max_per_user, promo.comments_enabled, promo.search_words
    );
    INSERT INTO promo_counters (promo_id, use_limit, low_stock_percent, activation_events)
    VALUES (new_id, new_limit, options.low_stock_percent, options.activation_events);
    IF codes IS NOT NULL THEN
        INSERT INTO promo_codes (promo_id, position, value)
        SELECT new_id, code.position, code.value FROM unnest(codes) WITH ORDINALITY AS code (value, position);
    END IF;
    INSERT INTO promo_changes (promo_id, number, company_id, event) VALUES (new_id, 1, promo.company_id, 'created');
    PERFORM insert_feed_entries(new_id, today);
    PERFORM change_promo_count(promo.company_id, coalesce(promo.country_key, ''), 1);
    RETURN true;
END $$;

-- Inserts a like from a country unless it exists; false: no such promo.
CREATE FUNCTION like_promo(liked_promo uuid, liking_user uuid, country text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM promo_counters WHERE promo_id = liked_promo FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO likes (promo_id, user_id, quarter, country_key)
    VALUES (liked_promo, liking_user, quarter_of(statement_timestamp()), country) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        UPDATE promo_counters SET like_count = like_count + 1 WHERE promo_id = liked_promo;
    END IF;
    RETURN true;
END $$;

-- Deletes a like if it exists; false: no such promo.
CREATE FUNCTION unlike_promo(liked_promo uuid, liking_user uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM promo_counters WHERE promo_id = liked_promo FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM likes WHERE promo_id = liked_promo AND user_id = liking_user;
    IF FOUND THEN
        UPDATE promo_counters SET like_count = like_count - 1 WHERE promo_id = liked_promo;
    END IF;
    RETURN true;
END $$;

-- Inserts a comment if the promo has comments enabled; no row: no such promo. `written_at` is NULL if they are disabled.
CREATE FUNCTION add_comment(commented_promo uuid, new_id uuid, author uuid, country text, new_text text)
RETURNS TABLE (is_enabled boolean, written_at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM promo_counters WHERE promo_id = commented_promo FOR NO KEY UPDATE;
    -- Waits for a change of the promo, and reads the newest version.
    SELECT comments_enabled INTO is_enabled FROM promos WHERE id = commented_promo FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF is_enabled THEN
        UPDATE promo_counters SET comment_count = comment_count + 1 WHERE promo_id = commented_promo;
        INSERT INTO comments (promo_id, id, author_id, text, country_key)
        VALUES (commented_promo, new_id, author, new_text, country) RETURNING created_at INTO written_at;
    END IF;
    RETURN NEXT;
END $$;

-- Changes the text of a comment if the promo has comments enabled; no row: no such promo. `written_at` is NULL if they
-- are disabled, or the author has no such comment with the old text (NULL: any).
CREATE FUNCTION edit_comment(commented_promo uuid, changed_id uuid, author uuid, new_text text, old_text text)
RETURNS TABLE (is_enabled boolean, written_at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    SELECT comments_enabled INTO is_enabled FROM promos WHERE id = commented_promo FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE comments SET text = new_text
    WHERE is_enabled AND promo_id = commented_promo AND id = changed_id AND author_id = author
        AND text = coalesce(old_text, text)
    RETURNING created_at INTO written_at;
    RETURN NEXT;
END $$;

-- Deletes a comment and its reports; false: no such comment. The author and the text are NULL if any will do.
CREATE FUNCTION delete_comment(commented_promo uuid, deleted_id uuid, author uuid, old_text text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM promo_counters WHERE promo_id = commented_promo FOR NO KEY UPDATE;
    DELETE FROM comments
    WHERE promo_id = commented_promo AND id = deleted_id AND author_id = coalesce(author, author_id)
        AND text = coalesce(old_text, text);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE promo_counters SET comment_count = comment_count - 1 WHERE promo_id = commented_promo;
    RETURN true;
END $$;

-- Reports a comment unless the user wrote it or has reported it. Returns the author; NULL: no such comment.
CREATE FUNCTION report_comment(commented_promo uuid, reported_comment uuid, reporter uuid, new_reason text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    author uuid;
BEGIN
    -- So the first of simultaneous reports of a user is the one that is stored.
    SELECT author_id INTO author FROM comments
    WHERE promo_id = commented_promo AND id = reported_comment FOR NO KEY UPDATE;
    IF author <> reporter THEN
        INSERT INTO comment_reports (promo_id, comment_id, user_id, reason)
        VALUES (commented_promo, reported_comment, reporter, new_reason) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            UPDATE comments SET report_count = report_count + 1
            WHERE promo_id = commented_promo AND id = reported_comment;
        END IF;
    END IF;
    RETURN author;
END $$;

-- Calls redeem_code for one redemption after the other.
CREATE FUNCTION redeem_codes(
    redeemed_promo uuid, redeemed_position integer, new_ids uuid[], redeeming_company uuid, new_order_refs text[],
    holds_s integer[]
) RETURNS TABLE (
    outcome text, id uuid, state text, order_ref text, held_until timestamptz, created_at timestamptz,
    confirmed_at timestamptz, ended_at timestamptz
) LANGUAGE plpgsql AS $$
BEGIN
    FOR number IN 1..cardinality(new_ids) LOOP
        RETURN QUERY SELECT * FROM redeem_code(
            redeemed_promo, redeemed_position, new_ids[number], redeeming_company, new_order_refs[number],
            holds_s[number]
        );
    END LOOP;
END $$;

-- Writes the event of a promo whose last day has ended; false: it has no such end, or is locked.
CREATE FUNCTION report_end(ended_promo uuid, today date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    owner uuid;
    last_day date;
BEGIN
    SELECT company_id, active_until INTO owner, last_day FROM promos
    WHERE id = ended_promo AND active_until < today AND (reported_until IS NULL OR reported_until < active_until)
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE promos SET reported_until = last_day WHERE id = ended_promo;
    INSERT INTO promo_events (promo_id, company_id, type, data)
    VALUES (ended_promo, owner, 'promo.expired', jsonb_build_object('active_until', last_day));
    RETURN true;
END $$;

-- The triggers of migration 0022, which now write to promo_events.
CREATE OR REPLACE FUNCTION record_use_events() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_use CONSTANT integer := CASE TG_ARGV[0]
        WHEN 'promo.activated' THEN OLD.used_count + 1
        ELSE NEW.used_count
    END;
    percent CONSTANT smallint := CASE TG_ARGV[0] WHEN 'promo.low_stock' THEN NEW.low_stock_percent END;
    owner uuid;
BEGIN
    SELECT company_id INTO owner FROM promos WHERE id = NEW.promo_id;
    FOR use_number IN first_use..NEW.used_count LOOP
        INSERT INTO promo_events (promo_id, company_id, type, data)
        VALUES (NEW.promo_id, owner, TG_ARGV[0], jsonb_strip_nulls(jsonb_build_object(
            'used_count', use_number, 'use_limit', NEW.use_limit, 'low_stock_percent', percent
        )));
    END LOOP;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION record_promo_events() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    members CONSTANT jsonb := CASE WHEN NEW.changes IS NULL THEN '{}' ELSE jsonb_build_object(
        'members', ARRAY(SELECT json_object_keys(NEW.changes))
    ) END;
BEGIN
    INSERT INTO promo_events (promo_id, company_id, type, data)
    VALUES (NEW.promo_id, NEW.company_id, 'promo.' || NEW.event, members);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION record_redemption_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO promo_events (promo_id, company_id, type, data)
    VALUES (NEW.promo_id, NEW.company_id, 'redemption.' || NEW.state, jsonb_strip_nulls(jsonb_build_object(
        'redemption_id', NEW.id, 'order_ref', NEW.order_ref
    )));
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION record_comment_events() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner uuid;
BEGIN
    SELECT company_id INTO owner FROM promos WHERE id = NEW.promo_id;
    INSERT INTO promo_events (promo_id, company_id, type, data)
    VALUES (NEW.promo_id, owner, 'comment.created', jsonb_build_object('comment_id', NEW.id));
    RETURN NULL;
END $$;

-- The counts of migration 0021 by triggers for each row, which Citus can run.
CREATE OR REPLACE FUNCTION count_likes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, likes)
    VALUES (NEW.promo_id, NEW.quarter, NEW.country_key, 1)
    ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET likes = stored.likes + 1;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION count_comments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, comments)
    VALUES (NEW.promo_id, quarter_of(NEW.created_at), NEW.country_key, 1)
    ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET comments = stored.comments + 1;
    RETURN NULL;
END $$;

-- Completes an activation of an earlier claim_uses that began before this migration and goes on after it.
CREATE FUNCTION complete_activation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.activated_at := clock_timestamp();
    INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, activations)
    VALUES (NEW.promo_id, quarter_of(NEW.activated_at), NEW.country_key, 1)
    ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET activations = stored.activations + 1;
    RETURN NEW;
END $$;

-- Only for claims of an earlier version.
CREATE OR REPLACE FUNCTION mark_feed_entries_exhausted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE feed_entries SET standing = 'exhausted'
    FROM promos
    WHERE promos.id = NEW.promo_id
        AND feed_entries.category_key = ANY (promos.category_keys || ''::text)
        AND feed_entries.country_key = coalesce(promos.country_key, '')
        AND feed_entries.created_at = promos.created_at
        AND feed_entries.promo_id = promos.id
        AND feed_entries.standing IS DISTINCT FROM 'exhausted';
    RETURN NULL;
END $$;
