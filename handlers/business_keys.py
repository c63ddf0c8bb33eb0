"""API keys of a company."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from handlers import Body
from handlers.company_locks import lock_own_company
from handlers.serializers import serialize_key
from persistence.accounts.api_keys import (
    close_key,
    delete_revoked_keys,
    insert_key,
    list_keys as list_company_keys,
)
from persistence.accounts.companies import Company
from promo_api.errors import InvalidInput, NotFound, TooManyKeys
from promo_api.runtime import Runtime
from promo_api.specification import MAX_KEYS

_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def create_key(runtime: Runtime, company: Company, *, body: Body) -> tuple[Body, int]:
    """Create a key, and return it this once."""
    key = runtime.api_keys.generate()
    values = {
        "digest": key.digest,
        "name": body["name"],
        "prefix": key.prefix,
        "scopes": body["scopes"],
        "expires_at": _read_expiry(body.get("expires_at"), runtime.clock()),
    }
    with lock_own_company(runtime, company) as connection:
        created = insert_key(connection, company.id, uuid4(), limit=MAX_KEYS, **values)
    if created is None:
        raise TooManyKeys(f"The company has {MAX_KEYS} API keys. Revoke one that is not needed.")
    return {"key": key.text, **serialize_key(created)}, 201


def list_keys(runtime: Runtime, company: Company) -> list[Body]:
    """List the keys, newest first."""
    with runtime.database.autocommit() as connection:
        keys = list_company_keys(connection, company.id)
    return [serialize_key(key) for key in keys]


def delete_key(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Revoke a key. The last 20 revoked keys are stored, so that they have the code `key_revoked`."""
    with lock_own_company(runtime, company) as connection:
        if not close_key(connection, company.id, id):
            raise NotFound.key()
        delete_revoked_keys(connection, company.id, limit=MAX_KEYS)
    return {"status": "ok"}


def _read_expiry(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        expires_at = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:  # in the year 1 or 9999
        expires_at = _LATEST
    if not now < expires_at < _LATEST:
        raise InvalidInput.body("/expires_at", f"must be in the future, and before the year {_LATEST.year}")
    return expires_at
