"""Statistics of a promo."""

from typing import Any
from uuid import uuid4

from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import Account, Api


def _stat(company: Account, promo_id: str) -> Any:
    return company.get(f"/business/promo/{promo_id}/stat").json()


def _activate(user: Account, promo_id: str, times: int = 1) -> None:
    for _ in range(times):
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200


def test_no_activations(api: Api) -> None:
    """A promo without activations has a count of 0 and no countries."""
    company = api.sign_up_company()
    assert _stat(company, company.create_promo()) == {"activations_count": 0, "countries": []}


def test_countries_in_lower_case_from_a_to_z(api: Api) -> None:
    """Activations are counted by country in any case, and sorted by the lower-case code."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    for country, times in (("ru", 1), ("RU", 2), ("Ax", 1), ("fR", 1), ("ad", 3), ("ru", 1)):
        _activate(api.sign_up_user(country=country), promo_id, times)
    assert _stat(company, promo_id) == {
        "activations_count": 9,
        "countries": [
            {"country": "ad", "activations_count": 3},
            {"country": "ax", "activations_count": 1},
            {"country": "fr", "activations_count": 1},
            {"country": "ru", "activations_count": 4},
        ],
    }


def test_refused_activations_do_not_count(api: Api) -> None:
    """Refused activations are not counted."""
    company, user = api.sign_up_company(), api.sign_up_user(country="us")
    promo_id = company.create_promo(promo_unique=["one"], target={"country": "us"})
    _activate(user, promo_id)
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
    assert api.sign_up_user(country="ru").post(f"/user/promo/{promo_id}/activate").status_code == 403
    stat = {"activations_count": 1, "countries": [{"country": "us", "activations_count": 1}]}
    assert _stat(company, promo_id) == stat


def test_activations_belong_to_one_promo(api: Api) -> None:
    """Activations of one promo do not count for another."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id, other_id = company.create_promo(), company.create_promo()
    _activate(user, promo_id)
    assert [_stat(company, each)["activations_count"] for each in (promo_id, other_id)] == [1, 0]


def test_country_at_the_activation(api: Api, runtime: Runtime) -> None:
    """An activation counts for the country that the user had when it happened."""
    company, user = api.sign_up_company(), api.sign_up_user(country="No")
    promo_id = company.create_promo()
    _activate(user, promo_id)
    with runtime.database.engine.begin() as connection:
        move = "UPDATE users SET country = 'Se', country_key = 'se' WHERE email = :email"
        assert connection.execute(text(move), {"email": user.body["email"]}).rowcount == 1
    _activate(user, promo_id)
    countries = [{"country": "no", "activations_count": 1}, {"country": "se", "activations_count": 1}]
    assert _stat(company, promo_id) == {"activations_count": 2, "countries": countries}


def test_statistics_stay_after_a_change(api: Api) -> None:
    """A change of the target or the limit keeps the counts."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    _activate(user, promo_id, 2)
    before = _stat(company, promo_id)
    company.patch(f"/business/promo/{promo_id}", json={"target": {"country": "fr"}, "max_count": 2})
    assert _stat(company, promo_id) == before
    assert before["activations_count"] == 2


def test_statistics_of_another_company(api: Api) -> None:
    """Statistics of another company's promo are refused; those of an unknown promo are 404."""
    promo_id, other = api.sign_up_company().create_promo(), api.sign_up_company()
    assert other.get(f"/business/promo/{promo_id}/stat").status_code == 403
    assert other.get(f"/business/promo/{uuid4()}/stat").status_code == 404
