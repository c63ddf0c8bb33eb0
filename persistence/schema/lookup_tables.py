"""Which promo a code or a redemption belongs to, by company.

On several servers the promo decides where a row is, but a request may name only a code, or the id of a redemption.
On one server these tables are empty: indexes find such rows without the promo.
"""

from sqlalchemy import BigInteger, Column, Table, Uuid

from persistence.schema.tables import metadata

# The promos that have a code with this hash.
code_lookup = Table(
    "code_lookup",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("code_hash", BigInteger, primary_key=True),
    Column("promo_id", Uuid, primary_key=True),
)

# Written before the redemption, which may then fail.
redemption_lookup = Table(
    "redemption_lookup",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("promo_id", Uuid, nullable=False),
)
