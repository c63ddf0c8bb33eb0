"""The story of a promo, with the Python client that openapi-python-client generates from api.yml.

test_python_client.py type-checks this package and runs it with a URL. It calls every operation and prints the data as
JSON.
"""

import json
import sys
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from promo_client import AuthenticatedClient, Client
from promo_client.api.activations import (
    user_activations_activate_promo,
    user_activations_get_eligibility,
    user_activations_list_activations,
    user_activations_list_history,
)
from promo_client.api.comments import (
    user_comments_create_comment,
    user_comments_delete_comment,
    user_comments_get_comment,
    user_comments_list_comments,
    user_comments_report_comment,
    user_comments_update_comment,
)
from promo_client.api.company_accounts import business_auth_sign_in, business_auth_sign_out, business_auth_sign_up
from promo_client.api.events import business_events_list_events
from promo_client.api.feed import user_promos_get_promo, user_promos_list_feed
from promo_client.api.health import health_get_health, health_ping
from promo_client.api.likes import user_likes_like_promo, user_likes_unlike_promo
from promo_client.api.moderation import (
    business_comments_delete_comment,
    business_comments_get_comment,
    business_comments_list_comments,
    business_comments_list_reports,
)
from promo_client.api.promos import (
    business_promos_create_promo,
    business_promos_get_promo,
    business_promos_get_promo_stat,
    business_promos_list_changes,
    business_promos_list_promos,
    business_promos_update_promo,
    business_series_get_company_series,
    business_series_get_promo_series,
)
from promo_client.api.user_accounts import (
    user_auth_sign_in,
    user_auth_sign_out,
    user_auth_sign_up,
    user_export_get_export,
    user_profile_delete_profile,
    user_profile_get_profile,
    user_profile_update_profile,
)
from promo_client.models import (
    AccountDeletion,
    BucketName,
    CommentReportWrite,
    CommentWrite,
    CommonMode,
    CompanySignUp,
    DateChange,
    DependencyState,
    EventTypeFilter,
    MaxCountChange,
    PromoCreateCommon,
    PromoCreateUnique,
    PromoListedUnique,
    PromoPatch,
    PromoReadOnlyCommon,
    PromoSortKey,
    PromoStateFilter,
    ReportReason,
    RequestPart,
    SeriesGroup,
    SignIn,
    Target,
    TargetWrite,
    UniqueMode,
    UserOtherWrite,
    UserPatch,
    UserSignUp,
)
from promo_client.types import UNSET, Unset

from tests.clients.python.company_systems import add_codes, recover, redeem_codes, use_key
from tests.clients.python.responses import PASSWORD, good, refused, signed_in
from tests.clients.python.webhooks import manage_webhooks


def sign_up_company(guest: Client) -> tuple[str, str]:
    """A company signs up, is refused a second sign-up with the same e-mail address, and signs in."""
    assert good(health_ping.sync_detailed(client=guest)).status == "ok"
    assert good(health_get_health.sync_detailed(client=guest)).dependencies.postgres.state is DependencyState.UP
    email = f"python-{uuid4()}@coffee.example"
    body = CompanySignUp(name="Northern Coffee", email=email, password=PASSWORD)
    assert good(business_auth_sign_up.sync_detailed(client=guest, body=body)).company_id.version
    assert refused(business_auth_sign_up.sync_detailed(client=guest, body=body), 409).details is UNSET
    signs_in = business_auth_sign_in.sync_detailed(client=guest, body=SignIn(email=email, password=PASSWORD))
    return email, good(signs_in).token


def create_promos(company: AuthenticatedClient) -> tuple[UUID, UUID]:
    """The company creates a promo of each mode."""
    unique = PromoCreateUnique(
        mode=UniqueMode.UNIQUE,
        promo_unique=["BEAN-1", "BEAN-2"],
        max_count=1,
        description="A free espresso",
        target=TargetWrite(age_from=18, country="fr", categories=["coffee"]),
        active_from=date(2025, 1, 10),
    )
    common = PromoCreateCommon(
        mode=CommonMode.COMMON,
        promo_common="COFFEE-20",
        max_count=5,
        description="Twenty percent off any coffee",
        target=TargetWrite(),
        image_url="https://coffee.example/cup.png",
    )
    return (
        good(business_promos_create_promo.sync_detailed(client=company, body=unique), 201).id,
        good(business_promos_create_promo.sync_detailed(client=company, body=common), 201).id,
    )


def list_promos(company: AuthenticatedClient, unique: UUID, common: UUID) -> None:
    """The company lists both promos, with the types of their modes. The error for a bad parameter has its location."""
    listed = business_promos_list_promos.sync_detailed(
        client=company, country=["fr", "DE"], sort_by=PromoSortKey.ACTIVE_FROM, limit=10
    )
    assert listed.headers["X-Total-Count"] == "2"
    first, second = good(listed)
    assert isinstance(first, PromoListedUnique)
    assert (first.promo_id, first.promo_unique, first.active_from) == (unique, ["BEAN-1", "BEAN-2"], date(2025, 1, 10))
    assert isinstance(second, PromoReadOnlyCommon)
    assert (second.promo_id, second.promo_common, second.active_from) == (common, "COFFEE-20", UNSET)
    states = [PromoStateFilter.ACTIVE, PromoStateFilter.PAUSED]
    found = business_promos_list_promos.sync_detailed(client=company, state=states, mode="COMMON", q="coffee-2 off")
    assert [promo.promo_id for promo in good(found)] == [common]
    error = refused(business_promos_list_promos.sync_detailed(client=company, limit=-1), 400)
    assert not isinstance(error.details, Unset)
    assert [(violation.in_, violation.pointer) for violation in error.details] == [(RequestPart.QUERY, "/limit")]


def change_promo(company: AuthenticatedClient, common: UUID) -> None:
    """The company changes one promo, and reads its history of changes."""
    changes = PromoPatch(max_count=7, active_until=date(2999, 12, 31))
    changed = good(business_promos_update_promo.sync_detailed(common, client=company, body=changes))
    assert isinstance(changed, PromoReadOnlyCommon)
    assert (changed.max_count, changed.active_until, changed.target) == (7, date(2999, 12, 31), Target())
    assert good(business_promos_get_promo.sync_detailed(common, client=company)) == changed
    history = business_promos_list_changes.sync_detailed(common, client=company, limit=10)
    assert history.headers["X-Total-Count"] == "2"
    newest, oldest = good(history)
    assert (oldest.event, oldest.number, oldest.changes) == ("created", 1, UNSET)
    assert (newest.event, newest.company_id) == ("changed", changed.company_id)
    assert not isinstance(newest.changes, Unset)
    assert newest.changes.max_count == MaxCountChange(from_=5, to=7)
    assert newest.changes.active_until == DateChange(to=date(2999, 12, 31))
    assert newest.changes.target is UNSET


def sign_up_user(guest: Client) -> tuple[str, str]:
    """A user signs up and signs in."""
    email = f"python-{uuid4()}@mail.example"
    body = UserSignUp(
        name="Marie",
        surname="Blanc",
        email=email,
        password=PASSWORD,
        avatar_url="https://mail.example/marie.jpg",
        other=UserOtherWrite(age=34, country="fr"),
    )
    good(user_auth_sign_up.sync_detailed(client=guest, body=body))
    signs_in = user_auth_sign_in.sync_detailed(client=guest, body=SignIn(email=email, password=PASSWORD))
    return email, good(signs_in).token


def find_and_like(user: AuthenticatedClient, unique: UUID, common: UUID) -> None:
    """The user finds the promo in the feed, likes it, removes the like, and likes it again."""
    feed = good(user_promos_list_feed.sync_detailed(client=user, category="Coffee", active=True, limit=100))
    found = {promo.promo_id for promo in feed}
    assert (unique in found, common in found) == (True, False)
    for likes in (user_likes_like_promo, user_likes_unlike_promo, user_likes_like_promo):
        assert good(likes.sync_detailed(unique, client=user)).status == "ok"
    liked = good(user_promos_list_feed.sync_detailed(client=user, liked=True, q="espresso"))
    assert [promo.promo_id for promo in liked] == [unique]
    assert liked == good(
        user_promos_list_feed.sync_detailed(client=user, company_id=liked[0].company_id, q="COFF free")
    )


def comment(user: AuthenticatedClient, unique: UUID) -> None:
    """The user writes, changes and deletes a comment."""
    text = CommentWrite(text="The best one in town")
    written = good(user_comments_create_comment.sync_detailed(unique, client=user, body=text), 201)
    assert written.date <= datetime.now(UTC)
    assert good(user_comments_list_comments.sync_detailed(unique, client=user)) == [written]
    text = CommentWrite(text="The second best one in town")
    edited = good(user_comments_update_comment.sync_detailed(unique, written.id, client=user, body=text))
    assert (edited.id, edited.date, edited.author.surname) == (written.id, written.date, "Blanc")
    assert good(user_comments_get_comment.sync_detailed(unique, written.id, client=user)) == edited
    assert good(user_promos_get_promo.sync_detailed(unique, client=user)).comment_count == 1
    good(user_comments_delete_comment.sync_detailed(unique, written.id, client=user))
    refused(user_comments_get_comment.sync_detailed(unique, written.id, client=user), 404)


def moderate(company: AuthenticatedClient, user: AuthenticatedClient, unique: UUID) -> None:
    """The company reads a comment, and removes it. The author cannot report it."""
    text = CommentWrite(text="The worst one in town")
    written = good(user_comments_create_comment.sync_detailed(unique, client=user, body=text), 201)
    report = CommentReportWrite(ReportReason.SPAM)
    error = refused(user_comments_report_comment.sync_detailed(unique, written.id, client=user, body=report), 403)
    assert error.code == "own_comment"
    (listed,) = good(business_comments_list_comments.sync_detailed(unique, client=company))
    assert (listed.id, listed.text, listed.reports_count) == (written.id, written.text, UNSET)
    assert good(business_comments_get_comment.sync_detailed(unique, written.id, client=company)) == listed
    assert good(business_comments_list_reports.sync_detailed(unique, written.id, client=company)) == []
    assert good(business_comments_delete_comment.sync_detailed(unique, written.id, client=company)).status == "ok"
    assert good(business_comments_list_comments.sync_detailed(unique, client=company, reported=True)) == []


def _activated(user: AuthenticatedClient, promo: UUID, key: str) -> tuple[str, str | None]:
    response = user_activations_activate_promo.sync_detailed(promo, client=user, idempotency_key=key)
    return good(response).promo, response.headers.get("Idempotent-Replayed")


def activate(user: AuthenticatedClient, unique: UUID) -> None:
    """The user activates all codes, and lists them. A repeated request returns the same code."""
    assert good(user_activations_get_eligibility.sync_detailed(unique, client=user)).eligible
    keys = [str(uuid4()), str(uuid4())]
    codes = [_activated(user, unique, key) for key in [*keys, *keys]]
    assert {code for code, _ in codes[:2]} == {"BEAN-1", "BEAN-2"}
    assert codes[2:] == [(code, "true") for code, _ in codes[:2]]
    error = refused(user_activations_activate_promo.sync_detailed(unique, client=user), 403)
    assert (error.code, error.reasons) == ("promo_exhausted", ["exhausted"])
    eligibility = good(user_activations_get_eligibility.sync_detailed(unique, client=user))
    assert (eligibility.eligible, eligibility.reasons) == (False, ["exhausted"])
    history = user_activations_list_history.sync_detailed(client=user)
    assert history.headers["X-Total-Count"] == "2"
    assert [(entry.promo_id, entry.is_activated_by_user) for entry in good(history)] == [(unique, True)] * 2
    assert (good(history)[0].mode, good(history)[0].categories) == ("UNIQUE", ["coffee"])
    assert (good(history)[0].active_from, good(history)[0].active_until) == (date(2025, 1, 10), UNSET)
    listed = user_activations_list_activations.sync_detailed(client=user, limit=10)
    assert listed.headers["X-Total-Count"] == "2"
    assert [(entry.promo_id, entry.code) for entry in good(listed)] == [(unique, codes[1][0]), (unique, codes[0][0])]
    assert good(listed)[0].activated_at >= good(listed)[1].activated_at


def list_events(company: AuthenticatedClient) -> None:
    """The company reads its events. They are published within a second or two, so the list may still be empty."""
    response = business_events_list_events.sync_detailed(client=company, type_=[EventTypeFilter.PROMO_EXHAUSTED])
    assert {event.type_ for event in good(response)} <= {"promo.exhausted"}
    assert response.headers["X-Next-Cursor"]


def change_profile(user: AuthenticatedClient, unique: UUID) -> None:
    """The user changes the surname; null leaves a value unchanged. Then the user exports all stored data."""
    changes = UserPatch(surname="Noir", avatar_url=None)
    changed = good(user_profile_update_profile.sync_detailed(client=user, body=changes))
    assert (changed.surname, changed.avatar_url) == ("Noir", "https://mail.example/marie.jpg")
    assert good(user_profile_get_profile.sync_detailed(client=user)) == changed
    exported = good(user_export_get_export.sync_detailed(client=user))
    assert (exported.profile, exported.likes, exported.next_offset) == (changed, [unique], UNSET)
    assert {(entry.promo_id, entry.promo) for entry in exported.activations} == {(unique, "BEAN-1"), (unique, "BEAN-2")}


def look_at_statistics(company: AuthenticatedClient, unique: UUID) -> None:
    """The company reads the statistics. Its token is refused by operations of users."""
    stat = good(business_promos_get_promo_stat.sync_detailed(unique, client=company))
    assert stat.activations_count == 2
    assert [(entry.country, entry.activations_count) for entry in stat.countries] == [("fr", 2)]
    look_at_series(company, unique)
    refused(user_profile_get_profile.sync_detailed(client=company), 401)


def look_at_series(company: AuthenticatedClient, unique: UUID) -> None:
    """The company reads its statistics over time, of one promo by country, and of all promos."""
    series = good(
        business_series_get_promo_series.sync_detailed(
            unique, client=company, bucket=BucketName.WEEK, time_zone="Asia/Kathmandu", by=SeriesGroup.COUNTRY
        )
    )
    assert [(entry.country, entry.activations) for entry in series.buckets[-1].countries] == [("fr", 2)]
    of_all = good(business_series_get_company_series.sync_detailed(client=company))
    assert len(of_all.buckets) == 30


def end_accounts(url: str) -> None:
    """Another company and another user sign out. The user signs in again and deletes the account."""
    email = f"python-{uuid4()}@mail.example"
    company = CompanySignUp("Southern Coffee", email, PASSWORD)
    person = UserSignUp(name="Paul", surname="Gris", email=email, password=PASSWORD, other=UserOtherWrite(41, "fr"))
    with Client(base_url=url, raise_on_unexpected_status=True) as guest:
        with signed_in(url, good(business_auth_sign_up.sync_detailed(client=guest, body=company)).token) as client:
            assert good(business_auth_sign_out.sync_detailed(client=client)).status == "ok"
        with signed_in(url, good(user_auth_sign_up.sync_detailed(client=guest, body=person)).token) as client:
            assert good(user_auth_sign_out.sync_detailed(client=client)).status == "ok"
        signs_in = user_auth_sign_in.sync_detailed(client=guest, body=SignIn(email=email, password=PASSWORD))
        with signed_in(url, good(signs_in).token) as user:
            good(user_profile_delete_profile.sync_detailed(client=user, body=AccountDeletion(PASSWORD)))


def run(url: str) -> dict[str, str]:
    """Run the story, and return the created data."""
    with Client(base_url=url, raise_on_unexpected_status=True) as guest:
        company_email, company_token = sign_up_company(guest)
        user_email, user_token = sign_up_user(guest)
        with signed_in(url, company_token) as company:
            recover(guest, company, company_email)
    with signed_in(url, company_token) as company, signed_in(url, user_token) as user:
        unique, common = create_promos(company)
        list_promos(company, unique, common)
        change_promo(company, common)
        find_and_like(user, unique, common)
        comment(user, unique)
        moderate(company, user, unique)
        activate(user, unique)
        add_codes(company, user, unique)
        redeem_codes(company)
        list_events(company)
        manage_webhooks(company)
        change_profile(user, unique)
        look_at_statistics(company, unique)
        use_key(company, url, unique)
    end_accounts(url)
    accounts = {"company_email": company_email, "company_token": company_token, "user_email": user_email}
    return {**accounts, "user_token": user_token, "unique": str(unique), "common": str(common)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1])))
