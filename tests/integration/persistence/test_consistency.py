"""Consistency checks: each finds stored counts that do not match their rows, and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from persistence import consistency
from persistence.accounts import consistency as account_consistency
from persistence.accounts.consistency import (
    count_mismatched_addresses,
    count_mismatched_keys,
    count_mismatched_names,
)
from persistence.database.engine import Database
from persistence.feeds.feed_index import insert_feed_entries
from persistence.migrations import update_schema
from persistence.schema.tables import users
from promo_api import stored_counts
from promo_api.config.settings import Settings

_ROWS = """
INSERT INTO companies (id, name, email, email_key, password_hash)
VALUES ({a}, 'Company', 'a', 'a', 'hash'), ({b}, 'Company', 'b', 'b', 'hash');
INSERT INTO users (id, name, surname, email, email_key, password_hash, age, country, country_key)
VALUES ({a}, 'Ann', 'Lee', 'a', 'a', 'hash', 30, 'ru', 'ru');
INSERT INTO promos (id, company_id, mode, description, country_key, category_keys, promo_common, promo_unique)
VALUES ({a}, {a}, 'COMMON', 'A promo', 'ru', '{{}}', 'value', NULL),
    ({b}, {a}, 'UNIQUE', 'A promo', NULL, '{{}}', NULL, '["one", "tw\\u00e9", "one"]');
INSERT INTO promo_counters (promo_id, use_limit, used_count, like_count, comment_count)
VALUES ({a}, 9, 2, 1, 1), ({b}, 4, 1, 0, 0);
INSERT INTO promo_codes (promo_id, position, value, activation_id)
VALUES ({b}, 1, 'one', {b}), ({b}, 2, 'twé', NULL), ({b}, 3, 'one', NULL), ({b}, 4, 'added', NULL);
INSERT INTO activations (promo_id, user_id, id, country_key, code_position)
VALUES ({a}, {a}, {a}, 'ru', NULL), ({a}, {a}, {c}, 'fr', NULL), ({b}, {a}, {b}, 'ru', 1);
INSERT INTO country_uses (promo_id, country_key, activations_count)
VALUES ({a}, 'ru', 1), ({a}, 'fr', 1), ({b}, 'ru', 1);
INSERT INTO user_uses (user_id, activations_count) VALUES ({a}, 3);
INSERT INTO likes (promo_id, user_id) VALUES ({a}, {a});
INSERT INTO comments (promo_id, id, author_id, text) VALUES ({a}, {a}, {a}, 'A comment');
INSERT INTO comment_reports (promo_id, comment_id, user_id, reason) VALUES ({a}, {a}, {b}, 'spam');
UPDATE comments SET report_count = 1;
INSERT INTO jobs (company_id, id, promo_id, kind, state, options, steps, received, accepted, rejected)
VALUES ({a}, {a}, {b}, 'import', 'running', '{{}}', 2, 3, 1, 2);
INSERT INTO job_pieces (company_id, job_id, number, content) VALUES ({a}, {a}, 1, 'one'), ({a}, {a}, 2, 'two');
INSERT INTO job_errors (company_id, job_id, number, lines, reasons)
VALUES ({a}, {a}, 1, '{{4, 7}}', '{{too_short, too_short}}');
INSERT INTO api_keys (company_id, id, digest, name, prefix, scopes, revoked_at)
VALUES ({a}, {a}, sha256('a'), 'Key', 'pk_a', '{{read}}', NULL),
    ({a}, {b}, sha256('b'), 'Key', 'pk_b', '{{read}}', now());
INSERT INTO api_key_digests (digest, company_id, id) VALUES (sha256('a'), {a}, {a}), (sha256('b'), {a}, {b});
INSERT INTO company_promo_counts (company_id, country_key, promos_count)
VALUES ({a}, 'ru', 2), ({a}, 'ru', -1), ({a}, '', 1), ({b}, 'ru', 0);
INSERT INTO promo_changes (promo_id, number, company_id, event, changes)
VALUES ({a}, 1, {a}, 'created', NULL), ({a}, 2, {a}, 'changed', '{{"max_count": {{"from": 7, "to": 8}}}}'),
    ({a}, 3, {a}, 'changed', '{{"max_count": {{"from": 8, "to": 9}}, "description": {{"from": "", "to": "A promo"}}}}'),
    ({b}, 1, {a}, 'changed', '{{"target": {{"from": {{"country": "ru"}}, "to": {{}}}}}}');
INSERT INTO webhooks (company_id, id, url, event_types, secret) VALUES ({c}, {a}, 'u', '{{}}', 's');
INSERT INTO event_feeds (company_id, last_number) VALUES ({c}, 1);
INSERT INTO events (company_id, id, type, number, published_at) VALUES ({c}, {a}, 'x', 1, now());
INSERT INTO deliveries (company_id, webhook_id, event_id) VALUES ({c}, {a}, {a});
"""
_IDS = {name: f"'{UUID(int=number)}'" for number, name in enumerate("abc", 1)}
# A statement that breaks the counts, the check that finds it, and the number of promos or companies it returns.
_MISMATCHES = {
    "used": ("UPDATE promo_counters SET used_count = used_count + 1", consistency.count_mismatched_uses, 2),
    "not used": ("UPDATE promo_counters SET used_count = 0 WHERE promo_id = {a}", consistency.count_mismatched_uses, 1),
    "likes": ("UPDATE promo_counters SET like_count = 1", consistency.count_mismatched_likes, 1),
    "like lost": ("DELETE FROM likes", consistency.count_mismatched_likes, 1),
    "comments": ("UPDATE promo_counters SET comment_count = 7", consistency.count_mismatched_comments, 2),
    "reports": ("UPDATE comments SET report_count = 2", consistency.count_mismatched_reports, 1),
    "report lost": ("DELETE FROM comment_reports", consistency.count_mismatched_reports, 1),
    "comments enabled": (
        """INSERT INTO promo_changes (promo_id, number, company_id, event, changes) VALUES
        ({b}, 2, {a}, 'changed', json_build_object('comments_enabled', json_build_object('to', false)))""",
        consistency.count_mismatched_changes,
        1,
    ),
    "comment lost": ("DELETE FROM comments", consistency.count_mismatched_comments, 1),
    "country": (
        "UPDATE country_uses SET country_key = 'us' WHERE country_key = 'ru'",
        consistency.count_mismatched_country_uses,
        2,
    ),
    "country lost": ("DELETE FROM country_uses WHERE country_key = 'fr'", consistency.count_mismatched_country_uses, 1),
    "country more": (
        "UPDATE country_uses SET activations_count = 2 WHERE country_key = 'fr'",
        consistency.count_mismatched_country_uses,
        1,
    ),
    "user": ("UPDATE user_uses SET activations_count = 2", consistency.count_mismatched_user_uses, 1),
    "user lost": ("DELETE FROM user_uses", consistency.count_mismatched_user_uses, 1),
    "part": ("DELETE FROM company_promo_counts WHERE promos_count < 0", consistency.count_mismatched_company_promos, 1),
    "other company": (
        "UPDATE company_promo_counts SET company_id = {b} WHERE country_key = ''",
        consistency.count_mismatched_company_promos,
        2,
    ),
    "issued": (
        "UPDATE promo_codes SET activation_id = {c} WHERE position = 2",
        consistency.count_mismatched_issued_codes,
        1,
    ),
    "issue lost": ("UPDATE promo_codes SET activation_id = NULL", consistency.count_mismatched_issued_codes, 1),
    "position": (
        "UPDATE activations SET code_position = 2 WHERE promo_id = {b}",
        consistency.count_mismatched_code_positions,
        1,
    ),
    "position of nothing": (
        "UPDATE activations SET code_position = 1 WHERE promo_id = {a}",
        consistency.count_mismatched_code_positions,
        1,
    ),
    "turn": (
        "UPDATE promo_codes SET activation_id = CASE position WHEN 2 THEN {b}::uuid END",
        consistency.count_mismatched_code_order,
        1,
    ),
    "value": ("UPDATE promo_codes SET value = 'four' WHERE position = 2", consistency.count_mismatched_codes, 1),
    "order": (
        "UPDATE promo_codes SET position = position + 4 WHERE position = 1",
        consistency.count_mismatched_codes,
        1,
    ),
    "codes lost": ("DELETE FROM promo_codes", consistency.count_mismatched_codes, 1),
    "key lost": ("DELETE FROM api_keys WHERE id = {b}", count_mismatched_keys, 1),
    "digest lost": ("DELETE FROM api_key_digests", count_mismatched_keys, 2),
    "key of another company": (
        "UPDATE api_key_digests SET company_id = {b} WHERE id = {a}",
        count_mismatched_keys,
        2,
    ),
    "other digest": (
        "UPDATE api_keys SET digest = sha256('c') WHERE id = {a}",
        count_mismatched_keys,
        2,
    ),
    "address lost": ("DELETE FROM addresses WHERE kind = 'user'", count_mismatched_addresses, 1),
    "address of another account": ("UPDATE addresses SET account_id = {c}", count_mismatched_addresses, 3),
    "address of no account": ("INSERT INTO addresses VALUES ('b', 'user', {b})", count_mismatched_addresses, 1),
    "name lost": ("DELETE FROM company_names WHERE company_id = {a}", count_mismatched_names, 1),
    "other name": ("UPDATE company_names SET name = 'Other'", count_mismatched_names, 2),
    "added codes": (
        "UPDATE jobs SET received = 4, accepted = 2",
        consistency.count_mismatched_added_codes,
        1,
    ),
    "rejected rows lost": ("UPDATE job_errors SET lines = '{{4}}'", consistency.count_mismatched_jobs, 1),
    "piece lost": ("DELETE FROM job_pieces WHERE number = 2", consistency.count_mismatched_jobs, 1),
    "redemption counted": (
        "INSERT INTO redemption_counters (promo_id, confirmed_count) VALUES ({b}, 1)",
        consistency.count_mismatched_redemptions,
        1,
    ),
    "redemption of a country counted": (
        "INSERT INTO country_redemptions (promo_id, country_key, redemptions_count) VALUES ({b}, 'ru', 1)",
        consistency.count_mismatched_country_redemptions,
        1,
    ),
    "activity": (
        "UPDATE promo_activity SET activations = activations + 1 WHERE country_key = 'fr'",
        consistency.count_mismatched_activity,
        1,
    ),
    "like not counted": ("DELETE FROM promo_activity WHERE likes = 1", consistency.count_mismatched_activity, 1),
    "time of a comment": (
        "UPDATE comments SET created_at = created_at - interval '1 hour'",
        consistency.count_mismatched_activity,
        1,
    ),
    "redemption of a time counted": (
        "INSERT INTO redemption_activity (promo_id, quarter, country_key, redemptions) VALUES ({b}, now(), 'ru', 1)",
        consistency.count_mismatched_redemption_activity,
        1,
    ),
    "redeemed too often": (
        (
            "INSERT INTO redemptions (promo_id, id, company_id, state, created_at, confirmed_at)"
            " SELECT {b}, gen_random_uuid(), {a}, 'confirmed', now(), now() FROM generate_series(1, 100)"
        ),
        consistency.count_mismatched_live_redemptions,
        1,
    ),
    "event missing": (
        (
            "WITH feed AS (INSERT INTO event_feeds VALUES ({b}, 3)) INSERT INTO events"
            " (company_id, type, number, published_at) VALUES ({b}, 'x', 1, now()), ({b}, 'x', 3, now())"
        ),
        consistency.count_mismatched_event_numbers,
        1,
    ),
    "last event missing": (
        (
            "WITH feed AS (INSERT INTO event_feeds VALUES ({b}, 4)) INSERT INTO events"
            " (company_id, type, number, published_at) VALUES ({b}, 'x', 2, now()), ({b}, 'x', 3, now())"
        ),
        consistency.count_mismatched_event_numbers,
        1,
    ),
    "event without a feed": (
        "INSERT INTO events (company_id, type, number, published_at) VALUES ({b}, 'x', 1, now())",
        consistency.count_mismatched_event_numbers,
        1,
    ),
    "event not published": (
        "INSERT INTO events (company_id, type, created_at) VALUES ({b}, 'x', now() - interval '11 minutes')",
        consistency.count_mismatched_publications,
        1,
    ),
    "event of a promo not published": (
        (
            "INSERT INTO promo_events (promo_id, company_id, type, created_at)"
            " VALUES ({a}, {a}, 'x', now() - interval '11 minutes')"
        ),
        consistency.count_mismatched_publications,
        1,
    ),
    "delivery without an event": (
        (
            "WITH webhook AS (INSERT INTO webhooks (company_id, id, url, event_types, secret)"
            " VALUES ({b}, {a}, 'u', '{{}}', 's')) INSERT INTO deliveries (company_id, webhook_id, event_id)"
            " VALUES ({b}, {a}, {c})"
        ),
        consistency.count_mismatched_deliveries,
        1,
    ),
    "delivery before the publication": (
        (
            "WITH webhook AS (INSERT INTO webhooks (company_id, id, url, event_types, secret)"
            " VALUES ({b}, {a}, 'u', '{{}}', 's')), event AS (INSERT INTO events (company_id, id, type)"
            " VALUES ({b}, {c}, 'x')) INSERT INTO deliveries (company_id, webhook_id, event_id)"
            " VALUES ({b}, {a}, {c})"
        ),
        consistency.count_mismatched_deliveries,
        1,
    ),
    "delivery without a webhook": (
        (
            "WITH event AS (INSERT INTO events (company_id, id, type, number, published_at)"
            " VALUES ({b}, {c}, 'x', 1, now())) INSERT INTO deliveries (company_id, webhook_id, event_id)"
            " VALUES ({b}, {a}, {c})"
        ),
        consistency.count_mismatched_deliveries,
        1,
    ),
    "gap": (
        "INSERT INTO promo_changes (promo_id, number, company_id, event) VALUES ({b}, 3, {a}, 'created')",
        consistency.count_mismatched_change_numbers,
        1,
    ),
    "description": ("UPDATE promos SET description = 'Another'", consistency.count_mismatched_changes, 1),
    "image": (
        """INSERT INTO promo_changes (promo_id, number, company_id, event, changes) VALUES
        ({b}, 2, {a}, 'changed', json_build_object('image_url', json_build_object('to', 'http')))""",
        consistency.count_mismatched_changes,
        1,
    ),
    "target": ("UPDATE promos SET age_from = 1", consistency.count_mismatched_changes, 1),
    "limit changed": (
        "UPDATE promo_counters SET use_limit = 10 WHERE promo_id = {a}",
        consistency.count_mismatched_changes,
        1,
    ),
    "limit": ("UPDATE promo_counters SET use_limit = 5 WHERE promo_id = {b}", consistency.count_mismatched_codes, 1),
}


@pytest.fixture(scope="module")
def small(empty_for_module: Settings) -> Iterator[Database]:
    """A database with one or two rows in each table, and correct counts."""
    with closing(Database(empty_for_module)) as database:
        update_schema(database.engine)
        with database.engine.begin() as connection:
            connection.exec_driver_sql(_ROWS.format(**_IDS), execution_options={"no_parameters": True})
            for number in (1, 2):
                insert_feed_entries(connection, UUID(int=number), date(2025, 6, 1))
        yield database


@pytest.fixture
def connection(small: Database) -> Iterator[Connection]:
    """A connection to that database, in a transaction that is rolled back."""
    with small.engine.connect() as connection:
        yield connection


@pytest.mark.parametrize("name", _MISMATCHES)
def test_mismatch_is_found(connection: Connection, name: str) -> None:
    """A mismatch is found, whether the count or the rows are wrong."""
    change, recount, mismatches = _MISMATCHES[name]
    assert recount(connection) == 0
    connection.execute(text(change.format(**_IDS)))
    assert recount(connection) == mismatches


def test_uses_of_a_deleted_user_do_not_count(connection: Connection) -> None:
    """A deleted user needs no row in user_uses, and may have one."""
    columns = ", ".join(f"{name} = NULL" for name in users.c.keys() if name not in ("id", "token_version"))  # noqa: SIM118
    connection.execute(text(f"UPDATE users SET {columns}"))  # noqa: S608 names of columns
    assert consistency.count_mismatched_user_uses(connection) == 0
    connection.execute(text("DELETE FROM user_uses"))
    assert consistency.count_mismatched_user_uses(connection) == 0


def test_all_checks_are_run(connection: Connection) -> None:
    """The command `check` runs every consistency check, and none reports correct data."""
    defined: set[Callable[[Connection], int]] = {
        getattr(module, name)
        for module in (consistency, account_consistency)
        for name in dir(module)
        if name.startswith("count_mismatched_")
    }
    assert defined <= set(stored_counts.COUNTS.values())
    assert {name: recount(connection) for name, recount in stored_counts.COUNTS.items() if recount(connection)} == {}
    assert defined == {recount for _, recount, _ in _MISMATCHES.values()}
