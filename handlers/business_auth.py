"""Sign-up, sign-in, sign-out and forgotten passwords of companies."""

from handlers import Body, accounts, password_resets
from persistence.accounts.companies import Company
from persistence.accounts.credentials import COMPANY_ACCOUNTS
from promo_api.runtime import Runtime


def sign_up(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Create a company account."""
    values = {"name": body["name"], "email": body["email"]}
    company_id, token = accounts.sign_up(
        runtime, COMPANY_ACCOUNTS, "company", client_address, password=body["password"], values=values
    )
    return {"token": token, "company_id": company_id}


def sign_in(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Return a new token and revoke the earlier ones."""
    return {"token": accounts.sign_in(runtime, COMPANY_ACCOUNTS, "company", client_address, body)}


def sign_out(runtime: Runtime, company: Company) -> Body:
    """Revoke all tokens of the company."""
    return accounts.sign_out(runtime, COMPANY_ACCOUNTS, company.id, company.token_version)


def forgot_password(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Send a mail with a link to reset the password, if the account exists."""
    return password_resets.request_reset(runtime, "company", client_address, email=body["email"])


def reset_password(runtime: Runtime, *, body: Body, client_address: str) -> Body:
    """Replace the password by a token of a mail."""
    return password_resets.reset_password(runtime, COMPANY_ACCOUNTS, "company", client_address, body)
