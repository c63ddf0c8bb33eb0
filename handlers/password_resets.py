"""Forgotten passwords. No database connection is held while a password is hashed."""

from datetime import timedelta
from hmac import compare_digest
from uuid import UUID

from handlers import Body
from persistence.accounts.credentials import Accounts
from persistence.accounts.password_resets import PasswordReset, find_reset_digest, insert_reset
from promo_api.errors import InvalidInput, MailNotConfigured
from promo_api.runtime import Runtime
from promo_api.security.reset_tokens import ResetToken
from promo_api.security.tokens import Kind

_LIFETIME = timedelta(seconds=1800)


def request_reset(runtime: Runtime, kind: Kind, address: str, *, email: str) -> Body:
    """Store a token, and the mail with it, which the sweeper sends.

    For an unknown e-mail address the same statement stores a row that sends no mail. So neither the response nor the
    time reveals whether the account exists.
    """
    if not runtime.settings.smtp_url:
        raise MailNotConfigured("This server sends no mails. Ask its operator to reset the password.")
    runtime.rate_limits.count(runtime.rate_limits.forgot_passwords(kind, email, address))
    unknown_id = UUID(hex=runtime.rate_limits.digest_account(kind, email))
    nonce, digest = runtime.reset_tokens.create()
    now = runtime.clock()
    reset = PasswordReset(unknown_id, kind, digest, nonce, now + _LIFETIME)
    with runtime.database.autocommit() as connection:
        insert_reset(connection, email, reset, now)
    return {"status": "ok"}


def reset_password(runtime: Runtime, accounts: Accounts, kind: Kind, address: str, body: Body) -> Body:
    """Use up a token: replace the password and revoke all tokens of the account."""
    failures = runtime.rate_limits.failed_resets(address)
    runtime.rate_limits.check(failures)
    token = runtime.reset_tokens.read(body["token"])
    email = None
    # Before the hash, which is slow: a guess costs one statement.
    if token is not None and _is_open(runtime, kind, token):
        new_hash = runtime.passwords.hash(body["password"])
        with runtime.database.autocommit() as connection:
            email = accounts.claim_password_reset(
                connection, token.account_id, digest=token.digest, now=runtime.clock(), new_hash=new_hash
            )
    if email is None:
        runtime.rate_limits.count(failures)
        raise InvalidInput("This token is wrong, expired or used. Request a new mail.", code="reset_token_invalid")
    # Earlier failed sign-ins must not lock the account now.
    runtime.rate_limits.delete_sign_ins(kind, email)
    return {"status": "ok"}


def _is_open(runtime: Runtime, kind: Kind, token: ResetToken) -> bool:
    with runtime.database.autocommit() as connection:
        digest = find_reset_digest(connection, token.account_id, kind, runtime.clock())
    return digest is not None and compare_digest(digest, token.digest)
