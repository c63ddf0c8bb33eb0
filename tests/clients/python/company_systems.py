"""The part of the story about codes, redemption, API keys and the recovery of accounts."""

from datetime import UTC, datetime
from uuid import UUID

from promo_client import AuthenticatedClient, Client
from promo_client.api.api_keys import business_keys_create_key, business_keys_delete_key, business_keys_list_keys
from promo_client.api.codes import (
    business_codes_append_codes,
    business_codes_generate_codes,
    business_codes_list_codes,
    business_jobs_get_job,
    business_jobs_list_job_errors,
    business_jobs_list_jobs,
)
from promo_client.api.company_accounts import (
    business_auth_forgot_password,
    business_auth_reset_password,
    business_profile_get_profile,
    business_profile_update_profile,
)
from promo_client.api.feed import user_promos_get_promo
from promo_client.api.promos import business_promos_get_promo_stat, business_promos_update_promo
from promo_client.api.redemptions import (
    business_redemptions_confirm_redemption,
    business_redemptions_create_redemption,
    business_redemptions_get_redemption,
    business_redemptions_list_redemptions,
    business_redemptions_release_redemption,
    business_redemptions_validate_code,
    business_redemptions_void_redemption,
)
from promo_client.api.user_accounts import user_auth_forgot_password, user_auth_reset_password
from promo_client.models import (
    ApiKeyCreate,
    CodeGeneration,
    CodeStateName,
    CodeValidation,
    CompanyPatch,
    ForgottenPassword,
    Job,
    KeyScope,
    PasswordReset,
    PromoPatch,
    RedemptionCreate,
)
from promo_client.types import UNSET

from tests.clients.python.responses import PASSWORD, good, refused


def recover(guest: Client, company: AuthenticatedClient, email: str) -> None:
    """The server sends mails, if it can, and refuses a guessed token. The company changes its password."""
    for mail in (business_auth_forgot_password, user_auth_forgot_password):
        assert mail.sync_detailed(client=guest, body=ForgottenPassword(email)).status_code in (200, 503)
    for guess in (business_auth_reset_password, user_auth_reset_password):
        refused(guess.sync_detailed(client=guest, body=PasswordReset("x" * 64, PASSWORD)), 400)
    body = CompanyPatch(password=PASSWORD, old_password=PASSWORD)
    assert good(business_profile_update_profile.sync_detailed(client=company, body=body)).email == email
    assert good(business_profile_get_profile.sync_detailed(client=company)).email == email


def _finished(company: AuthenticatedClient, job: Job) -> Job:
    """Read a job until it has finished."""
    while job.finished_at is UNSET:
        job = good(business_jobs_get_job.sync_detailed(job.id, client=company))
    return job


def add_codes(company: AuthenticatedClient, user: AuthenticatedClient, unique: UUID) -> None:
    """The company adds codes to the exhausted promo, and generates some. The promo is active again."""
    added = business_codes_append_codes.sync_detailed(unique, client=company, body=["BEAN-2", "BEAN-3"])
    job = _finished(company, good(added, 202))
    assert (job.state, job.received, job.accepted, job.duplicates) == ("succeeded", 2, 1, 1)
    assert good(user_promos_get_promo.sync_detailed(unique, client=user)).active
    body = CodeGeneration(count=5, pattern="BEAN-########")
    generated = good(business_codes_generate_codes.sync_detailed(unique, client=company, body=body), 202)
    assert _finished(company, generated).accepted == 5
    assert [each.id for each in good(business_jobs_list_jobs.sync_detailed(client=company))] == [generated.id, job.id]
    assert good(business_jobs_list_job_errors.sync_detailed(job.id, client=company)).payload.read() == b""
    codes = good(business_codes_list_codes.sync_detailed(unique, client=company, state=CodeStateName.AVAILABLE))
    assert [(code.position, code.state) for code in codes] == [(number, "available") for number in range(3, 9)]
    assert codes[0].code == "BEAN-3"


def redeem_codes(company: AuthenticatedClient) -> None:
    """The company checks a code, holds it, confirms and voids the redemption, and releases another hold."""
    code, hold = CodeValidation(code="bean-1"), RedemptionCreate(code="bean-1", order_ref="A-1", hold_s=60)
    assert good(business_redemptions_validate_code.sync_detailed(client=company, body=code)).valid
    held = good(business_redemptions_create_redemption.sync_detailed(client=company, body=hold), 201)
    assert good(business_redemptions_confirm_redemption.sync_detailed(held.id, client=company)).state == "confirmed"
    assert good(business_redemptions_void_redemption.sync_detailed(held.id, client=company)).state == "voided"
    other = good(business_redemptions_create_redemption.sync_detailed(client=company, body=hold), 201)
    assert good(business_redemptions_release_redemption.sync_detailed(other.id, client=company)).state == "released"
    assert good(business_redemptions_get_redemption.sync_detailed(other.id, client=company)).code == "BEAN-1"
    assert len(good(business_redemptions_list_redemptions.sync_detailed(client=company, order_ref="A-1"))) == 2


def use_key(company: AuthenticatedClient, url: str, unique: UUID) -> None:
    """The company creates an API key, which reads its promos and changes none, and revokes it."""
    body = ApiKeyCreate(name="Reports", scopes=[KeyScope.READ], expires_at=datetime(2999, 1, 31, tzinfo=UTC))
    created = good(business_keys_create_key.sync_detailed(client=company, body=body), 201)
    [listed] = good(business_keys_list_keys.sync_detailed(client=company))
    assert (listed.id, listed.scopes, listed.expires_at) == (created.id, ["read"], datetime(2999, 1, 31, tzinfo=UTC))
    with AuthenticatedClient(base_url=url, token=created.key, prefix="", auth_header_name="X-Api-Key") as program:
        assert good(business_promos_get_promo_stat.sync_detailed(unique, client=program)).activations_count == 2
        change = PromoPatch(max_count=1)
        error = refused(business_promos_update_promo.sync_detailed(unique, client=program, body=change), 403)
        assert error.code == "scope_missing"
        assert good(business_keys_delete_key.sync_detailed(created.id, client=company)).status == "ok"
        error = refused(business_promos_get_promo_stat.sync_detailed(unique, client=program), 401)
        assert error.code == "key_revoked"
