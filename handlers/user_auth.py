"""Sign-up, sign-in, sign-out and forgotten passwords of users."""

from handlers import Body, accounts, password_resets
from persistence.accounts.credentials import USER_ACCOUNTS
from persistence.accounts.users import User
from promo_api.folding import fold
from promo_api.runtime import Runtime


def sign_up(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Create a user account."""
    country = body["other"]["country"]
    values = {
        "name": body["name"],
        "surname": body["surname"],
        "email": body["email"],
        "avatar_url": body.get("avatar_url"),
        "age": body["other"]["age"],
        "country": country,
        "country_key": fold(country),
    }
    password = body["password"]
    _, token = accounts.sign_up(runtime, USER_ACCOUNTS, "user", client_address, password=password, values=values)
    return {"token": token}


def sign_in(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Return a new token and revoke the earlier ones."""
    return {"token": accounts.sign_in(runtime, USER_ACCOUNTS, "user", client_address, body)}


def sign_out(runtime: Runtime, user: User) -> Body:
    """Revoke all tokens of the user."""
    return accounts.sign_out(runtime, USER_ACCOUNTS, user.id, user.token_version)


def forgot_password(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Send a mail with a link to reset the password, if the account exists."""
    return password_resets.request_reset(runtime, "user", client_address, email=body["email"])


def reset_password(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Replace the password by a token of a mail."""
    return password_resets.reset_password(runtime, USER_ACCOUNTS, "user", client_address, body)
