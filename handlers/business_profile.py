"""The profile of the company: read and change."""

from functools import partial

from handlers import Body
from handlers.accounts import PasswordAttempt, confirm_password, find_own_credentials
from handlers.versions import Versions, check_version, read_if_match, versioned
from persistence.accounts.companies import Company, find_company, update_company
from persistence.accounts.credentials import COMPANY_ACCOUNTS, Credentials
from promo_api.errors import InvalidInput, PreconditionFailed, WrongPassword
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import PASSWORD_CHANGES
from promo_api.security.tokens import check_token_version
from promo_api.specification import COMPANY_MEMBERS


@versioned(COMPANY_MEMBERS)
def get_profile(_runtime: Runtime, company: Company) -> Body:
    """Return the profile."""
    return _serialize(company)


@versioned(COMPANY_MEMBERS)
def update_profile(
    runtime: Runtime, company: Company, *, body: Body, client_address: str, if_match: str | None = None
) -> Body:
    """Change the profile; null leaves a member unchanged. Tokens stay valid after a password change."""
    versions = read_if_match(if_match)
    changes = {name: value for name, value in body.items() if value is not None}
    old_password = changes.pop("old_password", None)
    if ("password" in changes) != (old_password is not None):
        pointer, other = ("/old_password", "password") if old_password is None else ("/password", "old_password")
        raise InvalidInput.body(pointer, f"is required with {other}")
    if "password" in changes:
        runtime.rate_limits.count_for(PASSWORD_CHANGES, company.id)
    check_version(versions, _serialize(company), COMPANY_MEMBERS)
    if old_password is not None:
        attempt = PasswordAttempt("company", company.email, client_address)
        return _change_password(runtime, company, changes, versions, attempt, old_password)
    if not changes:
        return _serialize(company)
    with runtime.database.autocommit() as connection:
        changed = update_company(connection, company, changes, any_name=versions is None)
        if changed is None:
            check_token_version(find_company(connection, company.id), company.token_version)
            raise PreconditionFailed.changed()
    return _serialize(changed)


def _change_password(
    runtime: Runtime, company: Company, changes: Body, versions: Versions, attempt: PasswordAttempt, old_password: str
) -> Body:
    """Change the password, and maybe the name, if the old password is right."""
    password = changes.pop("password")

    def change(credentials: Credentials) -> Body | None:
        values = {**changes, "password_hash": runtime.passwords.hash(password)}
        with runtime.database.autocommit() as connection:
            changed = update_company(
                connection, company, values, any_name=versions is None, checked_hash=credentials.password_hash
            )
            if changed is not None:
                return _serialize(changed)
            current = check_token_version(find_company(connection, company.id), company.token_version)
        if versions is not None and current.name != company.name:
            raise PreconditionFailed.changed()
        return None  # the hash has changed

    return confirm_password(
        runtime,
        attempt,
        old_password,
        find=partial(find_own_credentials, COMPANY_ACCOUNTS, company.id),
        on_success=change,
        error=WrongPassword("The password is wrong."),
    )


def _serialize(company: Company) -> Body:
    return {"id": str(company.id), "name": company.name, "email": company.email}
