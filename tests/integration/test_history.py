"""The history of a user's activations."""

from typing import Any

from tests.accounts import Account, Api

HISTORY = "/user/promo/history"


def _activate(user: Account, promo_id: str) -> None:
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200


def _history(user: Account, **query: Any) -> tuple[list[str], int]:
    """Return the ids of the promos on a page, and the total."""
    response = user.get(HISTORY, params=query)
    assert response.status_code == 200, response.text
    return [promo["promo_id"] for promo in response.json()], int(response.headers["x-total-count"])


def test_no_activations(api: Api) -> None:
    """A user who activated nothing has an empty history."""
    assert _history(api.sign_up_user()) == ([], 0)


def test_latest_activation_first(api: Api) -> None:
    """The history has one entry for each activation, the latest first. A promo can have several."""
    company, user = api.sign_up_company(), api.sign_up_user()
    one, two = company.create_promo(), company.create_promo(promo_unique=["one", "two"])
    for promo_id in (two, one, one, two):
        _activate(user, promo_id)
    assert _history(user) == ([two, one, one, two], 4)


def test_pages(api: Api) -> None:
    """Limit and offset select a page; the default limit is 10; the total counts all activations."""
    company, user = api.sign_up_company(), api.sign_up_user()
    ids = [company.create_promo() for _ in range(4)] * 3
    for promo_id in ids:
        _activate(user, promo_id)
    ids.reverse()
    assert _history(user) == (ids[:10], 12)
    assert _history(user, limit=3, offset=2) == (ids[2:5], 12)
    assert _history(user, limit=100, offset=11) == (ids[11:], 12)
    assert _history(user, offset=12) == ([], 12)
    assert _history(user, limit=0) == ([], 12)


def test_page_of_at_most_100(api: Api) -> None:
    """A page has at most 100 entries, also if the limit is higher."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    for _ in range(101):
        _activate(user, promo_id)
    assert _history(user, limit=1000) == ([promo_id] * 100, 101)
    assert _history(user, limit=1000, offset=100) == ([promo_id], 101)


def test_own_activations_only(api: Api) -> None:
    """The history excludes the activations of other users."""
    promo_id = api.sign_up_company().create_promo()
    one, other = api.sign_up_user(), api.sign_up_user()
    _activate(one, promo_id)
    assert (_history(one), _history(other)) == (([promo_id], 1), ([], 0))


def test_refused_activations_are_excluded(api: Api) -> None:
    """A refused activation leaves no entry."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(max_count=1)
    _activate(user, promo_id)
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
    assert _history(user) == ([promo_id], 1)


def test_entry_of_a_promo_that_no_longer_matches(api: Api) -> None:
    """An entry stays when the promo becomes inactive or targets others, and shows its current state."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    _activate(user, promo_id)
    patch = {"description": "A new description", "target": {"country": "fr"}, "max_count": 1}
    company.patch(f"/business/promo/{promo_id}", json=patch)
    assert user.get(HISTORY).json() == [user.get(f"/user/promo/{promo_id}").json()]
    entry = user.get(HISTORY).json()[0]
    assert (entry["description"], entry["active"], entry["is_activated_by_user"]) == ("A new description", False, True)
