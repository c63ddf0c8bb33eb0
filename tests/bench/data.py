"""Fills a database of any size by SQL. The same size, seed and day give the same rows.

Promos, users and activations are numbered from one. Values are hashes of the number, so rows do not depend on each
other, and ids are as scattered as random ones. The benchmark measures these numbers (see `Size`):

- company 1 has `company_promos` promos, company 2 has FEW_PROMOS;
- promo 1 has `promo_activations` activations, promo 2 has FEW_PROMO_ACTIVATIONS;
- user 1 has `user_activations` activations, user 2 has FEW_USER_ACTIVATIONS.

Their rows are scattered among the others, as after a year of use. There are no likes and no comments.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import md5
from uuid import UUID

import psycopg
from psycopg import sql

from tests.bench.bare_tables import bare_tables
from tests.bench.derived import DERIVED

FEW_PROMOS = 100
FEW_PROMO_ACTIVATIONS = 100
FEW_USER_ACTIVATIONS = 10
# Of users 1 and 2, who read feeds. All promos without a country and many with one target them.
READER_AGE, READER_COUNTRY = 30, "ru"
COMMON_CATEGORY, RARE_CATEGORY = "kind1", "kind50"

_CHUNK = 250_000
_PROMOS_STEP, _USERS_STEP, _ACTIVATIONS_STEP = 1_000, 1_000, 10_000


@dataclass(frozen=True)
class Size:
    """The size of a database.

    Attributes:
        promos: a multiple of 1,000.
        users: a multiple of 1,000.
        activations: a multiple of 10,000.
    """

    promos: int
    users: int
    activations: int

    def __post_init__(self) -> None:
        steps = {"promos": _PROMOS_STEP, "users": _USERS_STEP, "activations": _ACTIVATIONS_STEP}
        for name, step in steps.items():
            if getattr(self, name) < step or getattr(self, name) % step:
                raise ValueError(f"The number of {name} must be a multiple of {step:,}.")

    @property
    def company_promos(self) -> int:
        """The number of promos of company 1."""
        return self.promos // 10

    @property
    def promo_activations(self) -> int:
        """The number of activations of promo 1."""
        return self.activations // 10

    @property
    def user_activations(self) -> int:
        """The number of activations of user 1."""
        return self.activations // 1_000

    @property
    def disk_bytes(self) -> int:
        """The maximum of disk space while the database is filled, including the WAL."""
        return 1_000_000_000 + 1_000 * self.promos + 500 * self.users + 500 * self.activations


def row_id(kind: str, number: int, seed: int) -> UUID:
    """Return the id of a company, promo or user."""
    return UUID(md5(f"{kind} {number} {seed}".encode(), usedforsecurity=False).hexdigest())


def fill(connection: psycopg.Connection, size: Size, *, seed: int, today: date, report: Callable[[str], None]) -> None:
    """Fill a migrated and empty database.

    Args:
        connection: in autocommit mode, of the owner of the tables.
        size: of the database.
        seed: determines the rows.
        today: the business day. Promos were created in the year before last month and activated last month; about
            half of them are active.
        report: called with lines about the progress.
    """
    # After asynchronous commits, VACUUM would not mark the last pages as all-visible, and index-only scans would read
    # the tables.
    connection.execute("SET synchronous_commit = on")
    # For sorting the rows of large indexes.
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("SET work_mem = '128MB'")
    connection.execute("SET timezone = 'UTC'")
    for function in _FUNCTIONS:
        connection.execute(sql.SQL(function).format(seed=sql.Literal(seed)))
    values = {
        "promos": size.promos,
        "users": size.users,
        "activations": size.activations,
        "companies": 2 + size.promos // 100,
        "few_promos_every": size.promos // FEW_PROMOS,
        "few_activations_every": size.activations // FEW_PROMO_ACTIVATIONS,
        "few_user_every": size.activations // FEW_USER_ACTIVATIONS,
        "reader_age": READER_AGE,
        "reader_country": READER_COUNTRY,
        "today": today,
    }
    with bare_tables(connection, report):
        for table, statement in _NUMBERED.items():
            for first, last in _chunks(values[table]):
                connection.execute(statement, {**values, "first": first, "last": last})
                report(f"{table}: {last:,} of {values[table]:,}")
        for name, statement in _COUNTED.items():
            report(name)
            connection.execute(statement, values)
    rebuild(connection, report)
    report("vacuum and analyze")
    connection.execute("VACUUM ANALYZE")


def rebuild(connection: psycopg.Connection, report: Callable[[str], None]) -> None:
    """Fill the tables that are derived from promos and activations."""
    for table, statement in DERIVED.items():
        report(table)
        connection.execute(statement)


def _chunks(rows: int) -> Iterator[tuple[int, int]]:
    for first in range(1, rows + 1, _CHUNK):
        yield first, min(first + _CHUNK - 1, rows)


# `words` returns the same as persistence.search.search_words.
# `pick` returns a hash of n from 0 to size - 1; `salt` makes the values of one number independent of each other.
# `skewed` squares a uniform value, so the first countries and categories are frequent and the last are rare.
_FUNCTIONS = (
    """
    CREATE OR REPLACE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT md5(kind || ' ' || n || ' ' || {seed})::uuid $$
    """,
    """
    CREATE OR REPLACE FUNCTION pg_temp.words(company uuid, public text[], code text[]) RETURNS tsvector IMMUTABLE
    LANGUAGE sql
    AS $$
        SELECT array_to_tsvector(public || array_agg('/' || right(company::text, 8) || '/' || word))
        FROM unnest(public || code) word
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION pg_temp.pick(n bigint, salt text, size bigint) RETURNS integer IMMUTABLE LANGUAGE sql
    AS $$ SELECT ((hashint8extended(n, hashtext(salt)::bigint + {seed}) & 9223372036854775807) % size)::integer $$
    """,
    """
    CREATE OR REPLACE FUNCTION pg_temp.skewed(n bigint, salt text, size integer) RETURNS integer IMMUTABLE LANGUAGE sql
    AS $$ SELECT floor(size * (pg_temp.pick(n, salt, 10000) / 10000.0) ^ 2)::integer $$
    """,
    """
    CREATE OR REPLACE FUNCTION pg_temp.country(n bigint, salt text) RETURNS text IMMUTABLE LANGUAGE sql
    AS $$ SELECT (ARRAY['ru', 'us', 'fr', 'de', 'gb', 'it', 'es', 'pl', 'nl', 'se', 'fi', 'no', 'cz', 'at', 'ch', 'be',
        'pt', 'gr', 'rs', 'tr', 'ge', 'am', 'kz', 'uz', 'in', 'cn', 'jp', 'kr', 'br', 'mx'])[
        1 + pg_temp.skewed(n, salt, 30)] $$
    """,
    """
    CREATE OR REPLACE FUNCTION pg_temp.user_country(n bigint, reader text) RETURNS text IMMUTABLE LANGUAGE sql
    AS $$ SELECT CASE WHEN n <= 2 THEN reader ELSE pg_temp.country(n, 'user') END $$
    """,
)

# By table: insert the rows with the numbers from `first` to `last`. The keys are also names of parameters.
_NUMBERED = {
    "companies": """
        INSERT INTO companies (id, name, email, email_key, password_hash)
        SELECT pg_temp.id('company', n), 'Company ' || n, n || '@company.example', n || '@company.example', 'none'
        FROM generate_series(%(first)s::bigint, %(last)s) n
    """,
    "users": """
        INSERT INTO users (id, name, surname, email, email_key, password_hash, age, country, country_key)
        SELECT pg_temp.id('user', n), 'Ann', 'Lee', n || '@user.example', n || '@user.example', 'none',
            CASE WHEN n <= 2 THEN %(reader_age)s ELSE pg_temp.pick(n, 'age', 101) END, upper(country), country
        FROM generate_series(%(first)s::bigint, %(last)s) n, pg_temp.user_country(n, %(reader_country)s) country
    """,
    "promos": """
        INSERT INTO promos (
            id, company_id, mode, description, country, country_key, age_from, age_until, categories, category_keys,
            active_from, active_until, promo_common, promo_unique, created_at, search_words
        )
        SELECT
            pg_temp.id('promo', n), pg_temp.id('company', company), mode, 'Description of promo ' || n,
            upper(country), country, age_from,
            CASE WHEN pg_temp.pick(n, 'aged until', 2) = 0
                THEN coalesce(age_from, 0) + pg_temp.pick(n, 'age until', 101 - coalesce(age_from, 0)) END,
            nullif(kinds, '{}'), kinds,
            active_from,
            CASE WHEN pg_temp.pick(n, 'ends', 3) > 0
                THEN coalesce(active_from, %(today)s::date - 200) + pg_temp.pick(n, 'period', 400) END,
            CASE mode WHEN 'COMMON' THEN 'value-' || n END,
            CASE mode WHEN 'UNIQUE' THEN '[]'::json END,
            %(today)s::date - 30 - interval '365 days' * (%(promos)s - n) / %(promos)s,
            pg_temp.words(
                pg_temp.id('company', company), ARRAY['description', 'of', 'promo', n::text] || kinds,
                CASE mode WHEN 'COMMON' THEN ARRAY['value', n::text] END
            )
        FROM generate_series(%(first)s::bigint, %(last)s) n,
            LATERAL (SELECT
                CASE WHEN n %% 10 = 1 THEN 1 WHEN n %% %(few_promos_every)s = 2 THEN 2
                    ELSE 3 + pg_temp.pick(n, 'company', %(companies)s - 2) END,
                CASE WHEN n > 2 AND pg_temp.pick(n, 'mode', 20) = 0 THEN 'UNIQUE' ELSE 'COMMON' END,
                CASE WHEN pg_temp.pick(n, 'targeted', 3) > 0 THEN pg_temp.country(n, 'promo') END,
                CASE WHEN pg_temp.pick(n, 'aged from', 2) = 0 THEN pg_temp.skewed(n, 'age from', 61) END,
                CASE WHEN pg_temp.pick(n, 'begins', 3) > 0 THEN %(today)s::date + 60 - pg_temp.pick(n, 'begin', 400) END
            ) decided (company, mode, country, age_from, active_from),
            LATERAL (
                SELECT ARRAY(SELECT DISTINCT 'kind' || 1 + pg_temp.skewed(n, 'kind ' || k, 50)
                    FROM generate_series(1, pg_temp.pick(n, 'kinds', 4)) k)
            ) listed (kinds)
    """,
    "activations": """
        INSERT INTO activations (promo_id, user_id, id, country_key, activated_at)
        SELECT pg_temp.id('promo', promo), pg_temp.id('user', account), pg_temp.id('activation', n),
            pg_temp.user_country(account, %(reader_country)s),
            %(today)s::date - interval '30 days' * (%(activations)s - n) / %(activations)s
        FROM generate_series(%(first)s::bigint, %(last)s) n,
            LATERAL (SELECT
                CASE WHEN n %% 10 = 1 THEN 1 WHEN n %% %(few_activations_every)s = 2 THEN 2
                    ELSE 3 + pg_temp.pick(n, 'promo', %(promos)s - 2) END,
                CASE WHEN n %% 1000 = 500 THEN 1 WHEN n %% %(few_user_every)s = 7 THEN 2
                    ELSE 3 + pg_temp.pick(n, 'user', %(users)s - 2) END
            ) decided (promo, account)
    """,
}

# Computed from those rows, so that all counts agree. Some promos are used up.
_COUNTED = {
    "uses of each promo": """
        CREATE TEMPORARY TABLE uses AS
        SELECT promo_id, used, greatest(used + pg_temp.pick(n, 'uses left', 20), 1) AS allowed
        FROM (
            SELECT n, pg_temp.id('promo', n) AS promo_id FROM generate_series(1, %(promos)s::bigint) n
        ) numbered
        LEFT JOIN (SELECT promo_id, count(*) AS counted FROM activations GROUP BY promo_id) counts USING (promo_id),
        LATERAL (SELECT coalesce(counted, 0)) AS known (used)
    """,
    "promo_counters": """
        INSERT INTO promo_counters (promo_id, use_limit, used_count) SELECT promo_id, allowed, used FROM uses
    """,
    "promo_codes": """
        INSERT INTO promo_codes (promo_id, position, value, activation_id)
        SELECT uses.promo_id, place, 'code-' || place, issued.id
        FROM uses JOIN promos ON promos.id = uses.promo_id AND mode = 'UNIQUE'
        CROSS JOIN LATERAL generate_series(1, allowed) place
        LEFT JOIN (
            SELECT activations.promo_id, activations.id,
                row_number() OVER (PARTITION BY activations.promo_id ORDER BY activated_at, activations.id) AS number
            FROM activations JOIN promos ON promos.id = activations.promo_id AND mode = 'UNIQUE'
        ) issued ON issued.promo_id = uses.promo_id AND issued.number = place
    """,
}
