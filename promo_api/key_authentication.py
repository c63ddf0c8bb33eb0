"""The company of an API key, and the time of its last use.

A background job stores the times, so that no request waits for it. A killed process loses those of the last seconds.
"""

from persistence.accounts.api_keys import update_last_use
from persistence.accounts.companies import Company, StoredKey, find_key, find_key_id
from persistence.database.engine import Database
from promo_api.background import BackgroundJob
from promo_api.errors import ScopeMissing, Unauthenticated
from promo_api.runtime import Runtime
from promo_api.security.api_keys import ApiKeys, KeyClaims

_STORE_EVERY_S = 5.0


def authenticate_key(runtime: Runtime, claims: KeyClaims, scope: str) -> Company:
    """Return the company of a key.

    Raises:
        Unauthenticated: the key is not valid.
        ScopeMissing: the key does not have the scope.
    """
    try:
        return _find_company(runtime, claims, scope)
    except Unauthenticated:
        runtime.api_keys.forget(claims.digest)
        raise


def _find_company(runtime: Runtime, claims: KeyClaims, scope: str) -> Company:
    key = _find_key(runtime, claims)
    if key is None:
        raise Unauthenticated.key_invalid()
    if key.is_revoked:
        raise Unauthenticated.key_revoked()
    if key.company is None:
        raise Unauthenticated.account_deleted()
    now = runtime.clock()
    if key.expires_at is not None and key.expires_at <= now:
        raise Unauthenticated.key_expired()
    if claims.key_id is None:
        runtime.api_keys.remember(claims.digest, key.company.id, key.company.key_id)
    runtime.api_keys.record_use(key.company.id, key.company.key_id, last_used_at=key.last_used_at, now=now)
    if scope not in key.scopes:
        raise ScopeMissing(f"This API key does not have the scope `{scope}`, which this operation needs.")
    return key.company


def _find_key(runtime: Runtime, claims: KeyClaims) -> StoredKey | None:
    with runtime.database.autocommit() as connection:
        if claims.account_id is not None and claims.key_id is not None:
            return find_key(connection, claims.account_id, claims.key_id)
        ids = find_key_id(connection, claims.digest)
        return None if ids is None else find_key(connection, *ids)


def key_uses_job(api_keys: ApiKeys, database: Database) -> BackgroundJob:
    """Return the job that stores when keys were used last."""

    def store() -> bool:
        store_key_uses(api_keys, database)
        return False

    return BackgroundJob("key_uses", store, _STORE_EVERY_S)


def store_key_uses(api_keys: ApiKeys, database: Database) -> None:
    """Store the recorded uses: at most one UPDATE for a key and a minute."""
    while (use := api_keys.take_use()) is not None:
        try:
            with database.autocommit() as connection:
                update_last_use(connection, *use)
        except Exception:
            api_keys.return_use(use)
            raise
