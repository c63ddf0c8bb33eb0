"""API keys of companies.

They belong to the accounts: no table of promos refers to them. The key itself is stored nowhere.
"""

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, LargeBinary, Table, Text, Uuid, func

from persistence.schema.tables import metadata

# The last 20 revoked keys of a company stay, so that requests with them are distinguished from those with a wrong key.
# Changes of the keys of a company lock the company.
api_keys = Table(
    "api_keys",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the key
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),  # the first characters of the key
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("expires_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),  # to the minute
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint("cardinality(scopes) > 0", name="scopes"),
    # Room for HOT updates of last_used_at.
    postgresql_with={"fillfactor": "50"},
)

# From the digest of a key to its row, because a request names no company.
api_key_digests = Table(
    "api_key_digests",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
)
