"""Account deletion and exports: users without personal data, and indexes by user.

The indexes may exist already: on large tables, create them beforehand with CREATE INDEX CONCURRENTLY.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    **dict.fromkeys(("name", "surname", "email", "email_key", "country", "country_key", "password_hash"), sa.Text()),
    "age": sa.SmallInteger(),
    "created_at": sa.DateTime(timezone=True),
}
_OF_PERSON = "name, surname, email, email_key, age, country, country_key, password_hash, created_at"
# No password has this hash.
_DUMMY_USERS = """
    UPDATE users SET name = 'Deleted', surname = 'user', email = id || '@deleted.invalid',
        email_key = id || '@deleted.invalid', age = 0, country = 'aq', country_key = 'aq', password_hash = '',
        created_at = now()
    WHERE password_hash IS NULL
"""


def upgrade() -> None:
    """Create the indexes, and permit users without personal data."""
    op.create_index("likes_user", "likes", ["user_id", "promo_id"], if_not_exists=True)
    op.create_index("comments_author", "comments", ["author_id", "created_at", "id"], if_not_exists=True)
    for name, type_ in _TYPES.items():
        op.alter_column("users", name, existing_type=type_, nullable=True)
    condition = f"num_nulls({_OF_PERSON}) = 0 OR num_nonnulls({_OF_PERSON}, avatar_url) = 0"
    op.create_check_constraint(op.f("users_person_ck"), "users", condition)


def downgrade() -> None:
    """Drop the indexes, and give deleted users dummy data."""
    op.drop_constraint(op.f("users_person_ck"), "users")
    op.execute(_DUMMY_USERS)
    for name, type_ in _TYPES.items():
        op.alter_column("users", name, existing_type=type_, nullable=False)
    op.drop_index("comments_author", "comments")
    op.drop_index("likes_user", "likes")
