"""The profile of the user: read, change, delete the account."""

from contextlib import suppress
from functools import partial
from time import monotonic
from uuid import UUID

from handlers import Body
from handlers.accounts import PasswordAttempt, confirm_password, find_own_credentials
from handlers.serializers import serialize_user
from handlers.versions import Versions, check_version, read_if_match, versioned
from persistence.accounts.credentials import USER_ACCOUNTS, Credentials
from persistence.accounts.deletion import close_account, delete_account_portion, update_deletion
from persistence.accounts.profiles import Profile
from persistence.accounts.users import User, find_user, update_user
from promo_api.errors import PreconditionFailed, ServiceUnavailable, WrongPassword
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import PASSWORD_CHANGES
from promo_api.security.tokens import check_token_version
from promo_api.specification import USER_MEMBERS

# Short, because the request occupies a thread for passwords.
_DELETION_TIME_S = 0.3


@versioned(USER_MEMBERS)
def get_profile(_runtime: Runtime, user: User) -> Body:
    """Return the profile."""
    return serialize_user(user)


@versioned(USER_MEMBERS)
def update_profile(runtime: Runtime, user: User, *, body: Body, if_match: str | None = None) -> Body:
    """Change the profile; null leaves a member unchanged. Tokens stay valid after a password change."""
    versions = read_if_match(if_match)
    changes = {name: value for name, value in body.items() if value is not None}
    if "password" in changes:
        runtime.rate_limits.count_for(PASSWORD_CHANGES, user.id)
    check_version(versions, serialize_user(user), USER_MEMBERS)
    if "password" in changes:
        changes["password_hash"] = runtime.passwords.hash(changes.pop("password"))
    if not changes:
        return serialize_user(user)
    with runtime.database.autocommit() as connection:
        changed_user = update_user(
            connection,
            user.id,
            changes,
            token_version=user.token_version,
            old_profile=_old_profile(user, versions),
        )
        if changed_user is None:
            check_token_version(find_user(connection, user.id), user.token_version)
            raise PreconditionFailed.changed()
    return serialize_user(changed_user)


def delete_profile(
    runtime: Runtime, user: User, *, body: Body, client_address: str, if_match: str | None = None
) -> Body:
    """Close the account, then delete its rows; a background job deletes the rest of a large account."""
    versions = read_if_match(if_match)

    def close(credentials: Credentials) -> bool | None:
        check_version(versions, serialize_user(user), USER_MEMBERS)
        old_profile = _old_profile(user, versions)
        with runtime.database.autocommit() as connection:
            if close_account(
                connection, user.id, user.email, checked_hash=credentials.password_hash, old_profile=old_profile
            ):
                return True
            current_user = find_user(connection, user.id)
        if current_user is not None:
            check_version(versions, serialize_user(current_user), USER_MEMBERS)
        return None

    confirm_password(
        runtime,
        PasswordAttempt("user", user.email, client_address),
        body["password"],
        find=partial(find_own_credentials, USER_ACCOUNTS, user.id),
        on_success=close,
        error=WrongPassword("The password is wrong."),
    )
    runtime.forget_user(user.id)
    # The account is closed; the background job can delete the rows later.
    with suppress(ServiceUnavailable):
        _delete_rows(runtime, user.id)
    return {"status": "ok"}


def _old_profile(user: User, versions: Versions) -> Profile | None:
    """Return the profile that the user must still have; None: any."""
    return None if versions is None else Profile(user.name, user.surname, user.avatar_url)


def _delete_rows(runtime: Runtime, user_id: UUID) -> None:
    """Delete rows until none is left or the time is up."""
    ends_at_s = monotonic() + _DELETION_TIME_S
    has_rows = True
    while has_rows and monotonic() < ends_at_s:
        with runtime.database.autocommit() as connection:
            has_rows = delete_account_portion(connection, user_id) > 0
    with runtime.database.autocommit() as connection:
        update_deletion(connection, user_id, has_rows=has_rows)
