-- Some rows of a database of revision 0002: a company with three promos, and their activations.

CREATE FUNCTION pg_temp.id(n integer) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;

INSERT INTO companies (id, name, email, email_key, password_hash)
SELECT pg_temp.id(n), 'Company', n || '@example.com', n || '@example.com', 'hash'
FROM generate_series(1, 2) n;

INSERT INTO users (id, name, surname, email, email_key, password_hash, age, country, country_key)
VALUES (pg_temp.id(1), 'Ann', 'Lee', 'a@example.com', 'a@example.com', 'hash', 30, 'ru', 'ru');

INSERT INTO promos (id, company_id, mode, description, country, country_key, category_keys, promo_common, created_at)
VALUES
    (pg_temp.id(1), pg_temp.id(1), 'COMMON', 'A description', NULL, NULL, '{}', 'value', '2025-01-01'),
    (pg_temp.id(2), pg_temp.id(1), 'COMMON', 'A description', 'Fr', 'fr', '{}', 'value', '2025-01-02'),
    (pg_temp.id(3), pg_temp.id(1), 'UNIQUE', 'A description', 'Ru', 'ru', '{}', NULL, '2025-01-03');

INSERT INTO promo_counters (promo_id, use_limit, used_count)
VALUES (pg_temp.id(1), 9, 3), (pg_temp.id(2), 9, 0), (pg_temp.id(3), 4, 1);

INSERT INTO promo_codes (promo_id, position, value, activation_id)
VALUES
    (pg_temp.id(3), 2, 'a', NULL), (pg_temp.id(3), 1, 'b', pg_temp.id(4)),
    (pg_temp.id(3), 4, 'b', NULL), (pg_temp.id(3), 3, 'é"', NULL);

INSERT INTO activations (promo_id, user_id, id, country_key)
VALUES
    (pg_temp.id(1), pg_temp.id(1), pg_temp.id(1), 'fr'),
    (pg_temp.id(1), pg_temp.id(1), pg_temp.id(2), 'ru'),
    (pg_temp.id(1), pg_temp.id(1), pg_temp.id(3), 'fr'),
    (pg_temp.id(3), pg_temp.id(1), pg_temp.id(4), 'ru');
