"""The profile of the user: read, change, delete the account."""

from contextlib import suppress
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from handlers import Body
from handlers.accounts import PasswordAttempt, confirm_password
from handlers.serializers import serialize_user
from persistence.accounts.credentials import USER_ACCOUNTS, Credentials
from persistence.accounts.deletion import claim_account_deletion, close_account, delete_account_batch
from persistence.accounts.users import User, find_user, update_user
from promo_api.errors import ServiceUnavailable, Unauthenticated, WrongPassword
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import PASSWORD_CHANGES

# Short, because the request occupies a thread for passwords.
_DELETION_TIME_S = 0.3
_RETRY_S = 0.05


def get_profile(_runtime: Runtime, user: User) -> Body:
    """Return the profile."""
    return serialize_user(user)


def update_profile(runtime: Runtime, user: User, *, body: Body) -> Body:
    """Change the profile; null leaves a member unchanged. Tokens stay valid after a password change."""
    changes = {name: value for name, value in body.items() if value is not None}
    if "password" in changes:
        runtime.rate_limits.count_for(PASSWORD_CHANGES, user.id)
        changes["password_hash"] = runtime.passwords.hash(changes.pop("password"))
    if not changes:
        return serialize_user(user)
    with runtime.database.autocommit() as connection:
        changed_user = update_user(connection, user.id, changes, token_version=user.token_version)
        if changed_user is None:
            is_deleted = find_user(connection, user.id) is None
            raise Unauthenticated.account_deleted() if is_deleted else Unauthenticated.token_revoked()
    return serialize_user(changed_user)


def delete_profile(runtime: Runtime, user: User, *, body: Body, client_address: str) -> Body:
    """Close the account, then delete its rows; a background job deletes the rest of a large account."""

    def find(connection: Any) -> Credentials:
        credentials = USER_ACCOUNTS.find_credentials(connection, user.email)
        # After a deletion, another account may have the e-mail address.
        if credentials is None or credentials.account_id != user.id:
            raise Unauthenticated.account_deleted()
        return credentials

    def close(credentials: Credentials) -> bool | None:
        with runtime.database.autocommit() as connection:
            return close_account(connection, user.id, checked_hash=credentials.password_hash) or None

    confirm_password(
        runtime,
        PasswordAttempt("user", user.email, client_address),
        body["password"],
        find=find,
        on_success=close,
        error=WrongPassword("The password is wrong."),
    )
    runtime.antifraud.delete_verdict(user.id)
    runtime.rate_limits.delete_activations(user.id)
    # The account is closed; the background job can delete the rows later.
    with suppress(ServiceUnavailable):
        _delete_rows(runtime, user.id)
    return {"status": "ok"}


def _delete_rows(runtime: Runtime, user_id: UUID) -> None:
    """Delete rows until none is left or the time is up."""
    ends_at_s = monotonic() + _DELETION_TIME_S
    while monotonic() < ends_at_s:
        with runtime.database.transaction() as connection:
            deletion = claim_account_deletion(connection, user_id)
            if deletion is None:
                return
            rows = delete_account_batch(connection, deletion)
        if not rows:  # a concurrent request has locked the remaining rows
            sleep(_RETRY_S)
