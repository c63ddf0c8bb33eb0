"""The life of a promo, from sign-up to statistics."""

from tests.accounts import Api


def test_company_and_user_meet(api: Api) -> None:
    """A user finds and activates the promo of a company, and has it in the history; the company sees the statistics."""
    company, user = api.sign_up_company(), api.sign_up_user(age=30, country="Ru")
    promo_id = company.create_promo(target={"country": "rU", "age_from": 18}, promo_unique=["one", "two"])
    assert promo_id in [promo["promo_id"] for promo in user.get("/user/feed?limit=100").json()]
    assert {user.post(f"/user/promo/{promo_id}/activate").json()["promo"] for _ in range(2)} == {"one", "two"}
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
    assert [promo["promo_id"] for promo in user.get("/user/promo/history").json()] == [promo_id, promo_id]
    stat = {"activations_count": 2, "countries": [{"country": "ru", "activations_count": 2}]}
    assert company.get(f"/business/promo/{promo_id}/stat").json() == stat
