"""The part of a user that the user can change, as a condition of statements."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Text, and_, bindparam, or_

from persistence.schema.tables import users


@dataclass(frozen=True)
class Profile:
    """A profile without its password."""

    name: str
    surname: str
    avatar_url: str | None


PROFILE_COLUMNS = (*Profile.__dataclass_fields__,)


def has_profile() -> ColumnElement[bool]:
    """Return the condition that a user has the profile of `profile_values`."""
    old = {name: bindparam(f"old_{name}", type_=Text) for name in PROFILE_COLUMNS}
    is_same = and_(*(users.c[name].is_not_distinct_from(value) for name, value in old.items()))
    return or_(bindparam("any_profile", type_=Boolean), is_same)


def profile_values(profile: Profile | None) -> dict[str, Any]:
    """Return the values for `has_profile`; None: any profile."""
    return {"any_profile": profile is None} | {f"old_{name}": getattr(profile, name, None) for name in PROFILE_COLUMNS}
