"""Random promos, and the expected feed of them, computed in Python from the promos alone."""

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, insert, select, update

from persistence.activations import Claim, claim_values
from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries
from persistence.feeds.feed_status import update_feed_status
from persistence.promos.promos import insert_promo, update_counters, update_promo
from persistence.schema.tables import companies, promo_counters, promos, users

COUNTRIES = [None, "Ru", "rU", "us", "FR"]
CATEGORIES = ["Кофе", "кОФЕ", "кофе", "tea", "Straße", "STRASSE", "a,{b}"]
TODAY = date(2026, 3, 17)
_COMPANY, _USER = UUID(int=1), UUID(int=2)


@dataclass(frozen=True)
class Viewer:
    """The user whose feed is read."""

    age: int
    country_key: str
    id: UUID = _USER


def seeded(seed: int) -> Random:
    """Return a random generator that gives the same values in each run."""
    return Random(seed)  # noqa: S311 test data


def insert_accounts(connection: Connection) -> None:
    """Insert the company of all promos, and the user of all claims."""
    account = {"name": "Ann", "email": "a@b.example", "email_key": "a@b.example", "password_hash": "hash"}
    connection.execute(insert(companies), {"id": _COMPANY, **account})
    user = {"surname": "Lee", "age": 30, "country": "ru", "country_key": "ru"}
    connection.execute(insert(users), {"id": _USER, **account, **user})


def random_target(random: Random) -> dict[str, Any]:
    """Return a random target, with extreme ages, and with duplicate categories in different letter cases."""
    ages = sorted(random.choice([0, 1, 17, 18, 30, 99, 100, random.randrange(101)]) for _ in range(2))
    return {
        "country": random.choice(COUNTRIES),
        "age_from": random.choice([None, ages[0]]),
        "age_until": random.choice([None, ages[1]]),
        "categories": random.choice([None, [], random.choices(CATEGORIES, k=3)]),
    }


def random_period(random: Random) -> dict[str, date | None]:
    """Return a random period: around TODAY, unlimited, or at the ends of the calendar."""
    days = sorted(
        random.choice([date.min, date.max, TODAY, TODAY + timedelta(random.randrange(-500, 500))]) for _ in range(2)
    )
    return {
        "active_from": random.choice([None, days[0]]),
        "active_until": random.choice([None, days[1]]),
    }


def create_promo(connection: Connection, random: Random) -> UUID:
    """Create a promo as the handler does, in the transaction of the connection."""
    values = {"company_id": _COMPANY, "mode": "COMMON", "description": "A promo", "promo_common": "value"}
    promo_id = uuid4()
    values |= random_target(random) | random_period(random)
    insert_promo(connection, promo_id, values, TODAY, use_limit=random.randrange(3), codes=None)
    return promo_id


def change_promo(connection: Connection, promo_id: UUID, random: Random) -> None:
    """Change the target, period or use limit of a promo as the handler does, in the transaction of the connection."""
    delete_feed_entries(connection, promo_id)
    if random.random() < 0.5:
        update_counters(connection, promo_id, {"use_limit": random.randrange(4)})
    if random.random() < 0.7:
        update_promo(connection, promo_id, random_target(random))
    if random.random() < 0.5:
        update_promo(connection, promo_id, random_period(random))
    insert_feed_entries(connection, promo_id, TODAY)


def store_earlier_keys(connection: Connection, promo_id: UUID) -> None:
    """Give a promo the category keys of an earlier version, which only folded case, as its processes do."""
    delete_feed_entries(connection, promo_id)
    is_promo = promos.c.id == promo_id
    categories = connection.scalars(select(promos.c.categories).where(is_promo)).one()
    keys = [category.casefold() for category in categories]
    connection.execute(update(promos).where(is_promo).values(category_keys=keys))
    insert_feed_entries(connection, promo_id, TODAY)


def update_all_standings(connection: Connection, today: date) -> int:
    """Update the standing of all entries for a day, and return the number of updated entries."""
    return update_feed_status(connection, today, limit=1_000_000)


def use_promo(connection: Connection, promo_id: UUID) -> None:
    """Activate a promo, if it is active and targets the user."""
    claim_values(connection, promo_id, [Claim(uuid4(), _USER, "ru", 30)], TODAY)


def list_all(connection: Connection) -> list[Row[Any]]:
    """Return all promos with their remaining uses, newest first."""
    left = (promo_counters.c.use_limit - promo_counters.c.used_count).label("uses_left")
    joined = select(promos, left).join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    return list(connection.execute(joined.order_by(promos.c.created_at.desc(), promos.c.id.desc())))


def fitting(rows: list[Row[Any]], viewer: Viewer, today: date, category: str | None, active: bool | None) -> list[UUID]:
    """Return the ids of the promos that a feed must list, in its order."""
    key = None if category is None else category.casefold()
    return [
        row.id
        for row in rows
        if not row.archived
        and (row.age_from or 0) <= viewer.age <= (100 if row.age_until is None else row.age_until)
        and (row.country is None or row.country.casefold() == viewer.country_key)
        and (key is None or key in [listed.casefold() for listed in row.categories or ()])
        and active in (None, _is_active(row, today))
    ]


def _is_active(row: Row[Any], today: date) -> bool:
    return (
        (row.active_from or date.min) <= today <= (row.active_until or date.max)
        and row.uses_left > 0
        and not row.paused
    )
