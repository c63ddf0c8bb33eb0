-- 20,000 promos of 100 companies, 30,000 of another company, and the actions of 1,000 users on the first promos. Row n of
-- each table has the id UUID(int=n).

CREATE FUNCTION pg_temp.id(n integer) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;

INSERT INTO companies (id, name, email, email_key, password_hash)
SELECT pg_temp.id(n), 'Company', n || '@example.com', n || '@example.com', 'hash'
FROM generate_series(1, 101) n;

INSERT INTO users (id, name, surname, email, email_key, password_hash, age, country, country_key)
SELECT pg_temp.id(n), 'Ann', 'Lee', n || '@example.com', n || '@example.com', 'hash', n % 100, 'ru', 'ru'
FROM generate_series(1, 1000) n;

INSERT INTO promos (
    id, company_id, mode, description, country, country_key, age_from, categories, category_keys,
    active_from, active_until, promo_common, created_at, search_words
)
SELECT
    pg_temp.id(n), company, 'COMMON', 'A description', country, country, n % 90,
    ARRAY['kind' || n % 500], ARRAY['kind' || n % 500],
    date '2025-01-01' + n % 300, date '2026-01-01' + n % 300, 'value',
    timestamptz '2025-01-01' + n * interval '1 minute',
    array_to_tsvector(ARRAY(SELECT scope || word FROM unnest(scopes) scope, unnest(words) word) || (scopes[2] || 'value'))
FROM generate_series(1, 50000) n,
    LATERAL (SELECT (ARRAY['ru', 'us', 'fr', NULL])[1 + n % 4]) AS targeted (country),
    LATERAL (SELECT pg_temp.id(CASE WHEN n <= 20000 THEN 1 + n % 100 ELSE 101 END)) AS owner (company),
    -- As persistence.search.search_words.
    LATERAL (SELECT ARRAY['', '/' || right(company::text, 8) || '/'], ARRAY['a', 'description', 'kind' || n % 500])
        AS searched (scopes, words);

INSERT INTO promo_counters (promo_id, use_limit, used_count, like_count, comment_count)
SELECT pg_temp.id(n), 1000, 3, 3, CASE WHEN n <= 2000 THEN 10 ELSE 0 END
FROM generate_series(1, 50000) n;

-- Each count is split into twenty rows, as after concurrent inserts.
INSERT INTO company_promo_counts (company_id, country_key, promos_count)
SELECT company_id, coalesce(country_key, ''), count(*)
FROM promos
GROUP BY company_id, country_key, extract(epoch FROM created_at)::bigint / 6000 % 20;

-- Triggers for each row would take seconds.
SET LOCAL session_replication_role = replica;

INSERT INTO activations (promo_id, user_id, id, country_key, activated_at)
SELECT pg_temp.id(1 + n % 20000), pg_temp.id(1 + n % 1000), pg_temp.id(n), 'ru', clock_timestamp()
FROM generate_series(1, 60000) n;

INSERT INTO country_uses (promo_id, country_key, activations_count)
SELECT promo_id, country_key, count(*)
FROM activations
GROUP BY promo_id, country_key;

INSERT INTO user_uses (user_id, activations_count)
SELECT user_id, count(*)
FROM activations
GROUP BY user_id;

INSERT INTO likes (promo_id, user_id)
SELECT pg_temp.id(1 + n % 20000), pg_temp.id(1 + (n * 7 + n / 20000) % 1000)
FROM generate_series(0, 59999) n;

INSERT INTO comments (promo_id, id, author_id, text)
SELECT pg_temp.id(1 + n % 2000), pg_temp.id(n), pg_temp.id(1 + n % 1000), 'A comment'
FROM generate_series(1, 20000) n;

INSERT INTO comment_reports (promo_id, comment_id, user_id, reason)
SELECT promo_id, id, pg_temp.id((1 + n % 1000)::integer), 'spam'
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM comments) AS numbered;

INSERT INTO promo_codes (promo_id, position, value)
SELECT pg_temp.id(1 + n % 10), n, 'code' || n
FROM generate_series(1, 20000) n;

INSERT INTO promo_changes (promo_id, number, company_id, event)
SELECT id, 1, company_id, 'created'
FROM promos;

INSERT INTO promo_changes (promo_id, number, company_id, event, changes)
SELECT pg_temp.id(777), n, pg_temp.id(1), 'changed', '{"max_count": {"from": 1, "to": 2}}'
FROM generate_series(2, 100000) n;

INSERT INTO account_log (account_id, event)
SELECT pg_temp.id(1 + n % 1000), 'signed_in'
FROM generate_series(1, 60000) n;

INSERT INTO account_events (user_id, event)
SELECT pg_temp.id(1 + n % 1000), 'signed_in'
FROM generate_series(1, 60000) n;

INSERT INTO account_events (company_id, event)
SELECT pg_temp.id(1 + n % 100), 'signed_in'
FROM generate_series(1, 60000) n;

INSERT INTO feed_entries (
    category_key, country_key, created_at, promo_id, age_from, age_until, active_from, active_until, standing
)
SELECT unnest(category_keys || ''::text), coalesce(country_key, ''), created_at, id, age_from, age_until,
    active_from, active_until, 'live'
FROM promos;

INSERT INTO feed_tally_changes (
    promo_count, usable_count, country_key, age_from, age_until, category_keys, active_from, active_until
)
SELECT 1, 1, country_key, age_from, age_until, category_keys, active_from, active_until
FROM promos;

INSERT INTO kept_answers (account_id, operation, key, fingerprint, status, body, expires_at)
SELECT pg_temp.id(1 + n % 1000), 'user_comments.create_comment', 'key' || n, '', 201, '{}', timestamptz '2099-01-01'
FROM generate_series(1, 20000) n;
