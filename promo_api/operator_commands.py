"""The commands of operators about an account: `reset-password` and `close-account`.

An interrupted command can be run again: it continues where it ended.
"""

import logging
import sys
from collections.abc import Callable
from datetime import date, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from handlers.promo_changes import change_promo
from persistence.accounts.api_keys import delete_keys
from persistence.accounts.companies import close_company, delete_company_email, find_company_by_email
from persistence.accounts.credentials import COMPANY_ACCOUNTS, USER_ACCOUNTS
from persistence.accounts.deletion import close_account_by_operator, delete_account_portion, update_deletion
from persistence.database.errors import MissingPrivilege
from persistence.database.revisions import find_revision, newest_revision
from persistence.promos.promos import Promo, list_promos
from persistence.webhooks.upkeep import close_webhooks
from promo_api.config.settings import Settings
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from promo_api.security.passwords import generate_password

_ACCOUNTS = {"company": COMPANY_ACCOUNTS, "user": USER_ACCOUNTS}
_PROMOS = 100
_REPORT_EVERY_S = 1.0


class _Failure(Exception):
    """Why a command failed, in a sentence."""


def reset_password(settings: Settings, kind: str, email: str) -> int:
    """Replace the password by a random one, print it, and revoke all tokens. Return the exit status."""
    return _run(settings, lambda runtime: _reset_password(runtime, kind, email))


def close_account(settings: Settings, kind: str, email: str, *, is_confirmed: bool) -> int:
    """Close an account. Return the exit status. If it is not confirmed, ask for confirmation on the terminal."""
    close = {"company": _close_company, "user": _close_user}[kind]
    return _run(settings, lambda runtime: close(runtime, email, is_confirmed=is_confirmed))


def _run(settings: Settings, command: Callable[[Runtime], None]) -> int:
    # Sentences say what failed.
    logging.basicConfig(handlers=[logging.NullHandler()])
    runtime = Runtime.open(settings)
    try:
        _check_schema(runtime)
        command(runtime)
    except _Failure as error:
        print(error, file=sys.stderr)
    except (ServiceUnavailable, MissingPrivilege) as error:
        print(f"The command failed, and can be run again: {error.reason}", file=sys.stderr)
    except KeyboardInterrupt:
        print("The command was interrupted, and can be run again.", file=sys.stderr)
    else:
        return 0
    finally:
        runtime.close()
    return 1


def _check_schema(runtime: Runtime) -> None:
    needed = newest_revision()
    with runtime.database.autocommit() as connection:
        current = find_revision(connection)
    if current is None or current < needed:
        raise _Failure(f"The schema is at {current or 'no revision'}, not {needed}. Run python -m promo_api migrate.")


def _reset_password(runtime: Runtime, kind: str, email: str) -> None:
    password = generate_password()
    new_hash = runtime.passwords.hash(password)
    with runtime.database.autocommit() as connection:
        if not _ACCOUNTS[kind].update_password(connection, email, new_hash=new_hash):
            raise _unknown(kind)
    print(password)
    print("This is the new password. It is shown only once. All tokens of the account are revoked.", file=sys.stderr)
    if not runtime.rate_limits.delete_sign_ins(kind, email):
        print("Redis is unavailable. After many failed sign-ins the account stays locked for a while.", file=sys.stderr)


def _close_user(runtime: Runtime, email: str, *, is_confirmed: bool) -> None:
    """Delete the account as `DELETE /user/profile` does."""
    with runtime.database.autocommit() as connection:
        credentials = USER_ACCOUNTS.find_credentials_by_email(connection, email)
    if credentials is None:
        raise _unknown("user")
    _confirm(f"This deletes the user {credentials.account_id}. It cannot be undone.", is_confirmed=is_confirmed)
    with runtime.database.autocommit() as connection:
        if not close_account_by_operator(connection, credentials.account_id, email):
            raise _unknown("user")
    print("The account is closed. Its rows are being deleted.")
    runtime.forget_user(credentials.account_id)
    if not runtime.rate_limits.delete_sign_ins("user", email):
        print("Redis is unavailable. What it stores of the account expires there.", file=sys.stderr)
    _delete_rows(runtime, credentials.account_id)
    print("The database has no personal data of the account any more. The workers delete what late requests write.")


def _delete_rows(runtime: Runtime, user_id: UUID) -> None:
    progress = _Progress("rows deleted or made anonymous")
    rows = 1
    while rows:
        with runtime.database.autocommit() as connection:
            rows = delete_account_portion(connection, user_id)
        progress.add(rows)
    with runtime.database.autocommit() as connection:
        update_deletion(connection, user_id, has_rows=False)


def _close_company(runtime: Runtime, email: str, *, is_confirmed: bool) -> None:
    """End the promos of the company, and remove its password and its e-mail address."""
    with runtime.database.autocommit() as connection:
        company = find_company_by_email(connection, email)
    if company is None:
        raise _unknown("company")
    _confirm(
        f"This closes the company {company.id} and ends its promos. It cannot be undone.", is_confirmed=is_confirmed
    )
    with runtime.database.transaction() as connection:
        close_company(connection, company.id)
        delete_keys(connection, company.id)
        close_webhooks(connection, company.id)
    print("The company is closed. Its promos are being ended.")
    _end_promos(runtime, company.id)
    with runtime.database.autocommit() as connection:
        delete_company_email(connection, company.id, email)
    runtime.rate_limits.delete_sign_ins("company", email)
    print("All its promos have ended, and its e-mail address is removed.")


def _end_promos(runtime: Runtime, company_id: UUID) -> None:
    """End all promos. The company is closed, so nothing else changes them or adds one."""
    progress = _Progress("promos ended")
    today = runtime.today()
    while promos := _list_promos_to_end(runtime, company_id, today):
        for promo in promos:
            with runtime.database.transaction() as connection:
                change_promo(connection, promo.id, _ended(promo, today), today)
            progress.add(1)


def _list_promos_to_end(runtime: Runtime, company_id: UUID, today: date) -> list[Promo]:
    with runtime.database.autocommit() as connection:
        # Those without an end come first, then the latest ends.
        promos = list_promos(
            connection, company_id, today, countries=None, sort_by="active_until", limit=_PROMOS, offset=0
        )
    return [promo for promo in promos.entries if promo.active_until is None or promo.active_until >= today]


def _ended(promo: Promo, today: date) -> dict[str, Any]:
    """Return the values that end a promo: its last day was yesterday."""
    yesterday = today - timedelta(days=1)
    begins = {} if promo.active_from is None else {"active_from": min(promo.active_from, yesterday)}
    return {"active_until": yesterday, **begins}


def _confirm(consequence: str, *, is_confirmed: bool) -> None:
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise _Failure("Nothing was changed. Confirm with --yes.")
    try:
        answer = input(f"{consequence} Continue? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise _Failure("Nothing was changed.")


def _unknown(kind: str) -> _Failure:
    return _Failure(f"No {kind} has this e-mail address. Nothing was changed.")


class _Progress:
    """Prints a number every second."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._number = 0
        self._next_s = monotonic() + _REPORT_EVERY_S

    def add(self, number: int) -> None:
        """Count, and print the sum if it is due."""
        self._number += number
        if monotonic() >= self._next_s:
            self._next_s = monotonic() + _REPORT_EVERY_S
            print(f"{self._number:,} {self._what}", flush=True)
