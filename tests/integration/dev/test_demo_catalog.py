"""The texts of the demo keep the limits of api.yml, although the demo does not write them by HTTP."""

from datetime import UTC, datetime
from typing import Any

from promo_api.dev.demo.catalog import SHOPS
from promo_api.dev.demo.command import PASSWORD
from promo_api.dev.demo.offers import Offer
from promo_api.dev.demo.plan import plan_month
from promo_api.dev.demo.steps import Comment
from promo_api.dev.demo.texts import REPORTED
from tests.accounts import Account, Api


def test_accounts_and_promos(api: Api) -> None:
    """The service accepts each company, each promo, and users of each country."""
    for shop in SHOPS:
        company = api.sign_up_company(name=shop.name, email=shop.email, password=PASSWORD)
        for offer in shop.offers:
            company.create_promo(**_body(offer))
    people = {person.country: person for person in plan_month(datetime.now(UTC), "").people}
    for person in people.values():
        names = {name: getattr(person, name) for name in ("name", "surname", "email")}
        api.sign_up_user(age=person.age, country=person.country, password=PASSWORD, **names)


def test_comments(api: Api) -> None:
    """The service accepts each text of a comment."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    steps = plan_month(datetime.now(UTC), "").steps
    texts = {text for text, _ in REPORTED} | {step.text for step in steps if isinstance(step, Comment)}
    assert len(texts) > 300
    longest = sorted(texts, key=len)[-20:]
    for text in (*longest, min(texts, key=len), *(text for text, _ in REPORTED)):
        assert _comment(user, promo_id, text) == 201


def _comment(user: Account, promo_id: str, text: str) -> int:
    return int(user.post(f"/user/promo/{promo_id}/comments", json={"text": text}).status_code)


def _body(offer: Offer) -> dict[str, Any]:
    youngest, oldest = offer.ages
    target = {"country": offer.country, "age_from": youngest, "age_until": oldest, "categories": [*offer.categories]}
    body: dict[str, Any] = {
        "description": offer.description,
        "target": {name: value for name, value in target.items() if value is not None},
        "max_per_user": offer.max_per_user,
        "low_stock_percent": offer.low_stock_percent,
        "activation_events": offer.activation_events,
        "comments_enabled": offer.comments_enabled,
    }
    if offer.is_unique:
        return body | {"promo_unique": [f"{offer.code}-{number:04}-ABCD" for number in range(offer.limit)]}
    return body | {"promo_common": offer.code, "max_count": offer.limit}
