"""Users who leave: nothing of the person is kept anywhere, and nobody else sees a difference but for the author."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Text, literal_column, select, text

from handlers import user_profile
from persistence.accounts import deletion
from persistence.accounts.deletion import claim_account_deletion
from persistence.accounts.users import find_user
from persistence.schema.tables import metadata
from promo_api import check, sweeper
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api

PROFILE = "/user/profile"
AVATAR = "https://example.com/avatar-of-a-leaver.png"
NAME, SURNAME, TEXT = "Leocadia", "Wegganger", "What a leaver had to say."


def _id(runtime: Runtime, user: Account) -> UUID:
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    return claims.account_id


def _leave(user: Account, password: str = PASSWORD) -> Any:
    return user.api.call("DELETE", PROFILE, token=user.token, json={"password": password})


def _rows(runtime: Runtime) -> Iterator[str]:
    """Yield each row of each table, as PostgreSQL writes it."""
    with runtime.database.autocommit() as connection:
        for table in metadata.sorted_tables:
            yield from connection.execute(select(literal_column(table.name).cast(Text)).select_from(table)).scalars()


def _kept(runtime: Runtime, cache: Any, sought: str) -> list[str]:
    """Return the rows and the keys of Redis that have it in them, in whatever case."""
    keys = [key.decode() for key in cache.scan_iter()]
    return [each for each in [*_rows(runtime), *keys] if sought.lower() in each.lower()]


def _recounted(runtime: Runtime) -> dict[str, int]:
    """Return for how many things each kind of what is kept twice does not agree."""
    with runtime.database.autocommit() as connection:
        return {name: recount(connection) for name, recount in check._COUNTS.items()}


class House:
    """A company with two promos, and what a user, who is to leave, and another one have done with them."""

    def __init__(self, api: Api, trust: Callable[[Account], None]) -> None:
        self.company = api.sign_up_company()
        self.other = api.sign_up_user(country="fr")
        self.user = api.sign_up_user(name=NAME, surname=SURNAME, avatar_url=AVATAR, country="FR")
        trust(self.user)
        self.promos = [
            self.company.create_promo(target={"categories": [uuid4().hex[:20]]}),
            self.company.create_promo(promo_unique=["one", "two", "three", "four"]),
        ]
        for each in (self.other, self.user, self.user):
            for promo_id in self.promos:
                keyed = {"Idempotency-Key": str(uuid4())}
                assert each.post(f"/user/promo/{promo_id}/activate", headers=keyed).is_success
                assert each.post(f"/user/promo/{promo_id}/like").is_success
        path = f"/user/promo/{self.promos[0]}/comments"
        self.comment = self.user.post(path, json={"text": TEXT}, headers={"Idempotency-Key": str(uuid4())}).json()
        self.path = f"{path}/{self.comment['id']}"

    def seen_by_the_company(self) -> list[bytes]:
        """Return what the company sees, byte for byte."""
        paths = ["/business/promo", *(f"/business/promo/{promo_id}" for promo_id in self.promos)]
        paths += [f"/business/promo/{promo_id}/stat" for promo_id in self.promos]
        return [self.company.get(path).content for path in paths]


@pytest.fixture
def house(api: Api, trust: Callable[[Account], None]) -> House:
    """A company, a user who is to leave and another one."""
    return House(api, trust)


def test_nothing_of_the_person_is_kept(house: House, runtime: Runtime, cache: Any) -> None:
    """No row of any table and no key of Redis has the id, the address, a name, the avatar or the hash in it."""
    user_id = _id(runtime, house.user)
    with runtime.database.autocommit() as connection:
        query = text("SELECT password_hash, created_at FROM users WHERE id = :id")
        password_hash, created_at = connection.execute(query, {"id": user_id}).one()
    traces = [str(user_id), house.user.body["email"], NAME, SURNAME, AVATAR, password_hash]
    assert [trace for trace in traces if not _kept(runtime, cache, trace)] == [], "they are found as long as there are"
    assert (_leave(house.user).status_code, house.user.get(PROFILE).status_code) == (200, 401)
    assert [row for trace in traces for row in _kept(runtime, cache, trace)] == []
    with runtime.database.autocommit() as connection:
        of_the_instant = text("SELECT count(*) FROM users WHERE created_at = :at")
        assert connection.execute(of_the_instant, {"at": created_at}).scalar_one() == 0
    [comment] = _kept(runtime, cache, TEXT)
    assert comment.startswith(f"({house.promos[0]},{house.comment['id']},"), "the comment itself, and no kept answer"


def test_the_company_sees_no_difference(house: House, runtime: Runtime) -> None:
    """Its promos, their counts and statistics are the same to the byte, and what is kept twice agrees."""
    before = house.seen_by_the_company(), _recounted(runtime)
    assert _leave(house.user).status_code == 200
    assert (house.seen_by_the_company(), _recounted(runtime)) == before


def test_who_has_said_a_great_deal(house: House, runtime: Runtime, cache: Any) -> None:
    """Whoever has done more than one statement hands over leaves like anybody else, and is in none of it."""
    values = {"promo": house.promos[0], "user": _id(runtime, house.user), "many": 2 * deletion._BATCH_ROWS + 1}
    with runtime.database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO comments (promo_id, id, author_id, text)"
                " SELECT :promo, gen_random_uuid(), :user, 'One of a great many' FROM generate_series(1, :many)"
            ),
            values,
        )
        counted = text("UPDATE promo_counters SET comment_count = comment_count + :many WHERE promo_id = :promo")
        connection.execute(counted, values)
    before = house.seen_by_the_company()
    assert _leave(house.user).status_code == 200
    assert wait_until(lambda: not _kept(runtime, cache, str(values["user"])), 20)
    assert house.seen_by_the_company() == before


def _leave_without_rows(user: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Delete the account while no batch of the deletion can run."""

    def claim(*_arguments: Any) -> None:
        raise ServiceUnavailable("Try again later.", reason="no connection")

    for module in (user_profile, sweeper):
        monkeypatch.setattr(module, "claim_account_deletion", claim)
    return _leave(user)


def test_account_is_closed_before_its_rows_move(
    house: House, runtime: Runtime, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed account is deleted for everyone although its rows are still there; a background job removes them."""
    before, user_id = house.seen_by_the_company(), str(_id(runtime, house.user))
    answer = _leave_without_rows(house.user, monkeypatch)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"}), "the client need not care for the rows"
    assert house.user.get(PROFILE).status_code == 401
    credentials = {"email": house.user.body["email"], "password": PASSWORD}
    assert house.user.api.call("POST", "/user/auth/sign-in", json=credentials).status_code == 401
    assert house.other.get(house.path).json()["author"] == {"name": "Deleted", "surname": "user"}
    assert (house.seen_by_the_company(), set(_recounted(runtime).values())) == (before, {0})
    personal = [row for trace in (house.user.body["email"], NAME, AVATAR) for row in _kept(runtime, cache, trace)]
    assert [row for row in personal if ",user_comments.create_comment," not in row] == [], "but in a stored response"
    assert _kept(runtime, cache, user_id), "rows are left"
    again = house.user.api.sign_up_user(email=house.user.body["email"])
    assert again.get(PROFILE).status_code == 200
    monkeypatch.undo()
    job = sweeper.account_deletions_sweeper(runtime.database)
    assert wait_until(lambda: job.sweep() == 0 and not _kept(runtime, cache, user_id), 20)
    assert (house.seen_by_the_company(), set(_recounted(runtime).values())) == (before, {0})


def test_request_leaves_large_accounts_to_the_job(
    house: House, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request stops working on a deletion after its time, and succeeds."""
    user_id = _id(runtime, house.user)
    monkeypatch.setattr(user_profile, "_DELETION_TIME_S", 0.0)
    monkeypatch.setattr(sweeper, "claim_account_deletion", lambda _connection: None)
    assert _leave(house.user).status_code == 200
    with runtime.database.transaction() as connection:
        assert claim_account_deletion(connection, user_id) is not None


def test_others_see_a_comment_of_nobody(house: House) -> None:
    """The comment keeps its id, text and date; its author has left. Counts and likes are as before."""
    card = house.other.get(f"/user/promo/{house.promos[0]}").content
    _leave(house.user)
    kept = house.comment | {"author": {"name": "Deleted", "surname": "user"}}
    assert house.other.get(house.path).json() == kept
    assert house.other.get(house.path.rpartition("/")[0]).json() == [kept]
    assert house.other.get(f"/user/promo/{house.promos[0]}").content == card
    assert house.other.put(house.path, json={"text": "Not my own comment"}).status_code == 403
    assert house.other.delete(house.path).status_code == 403


def test_the_address_is_free(house: House, runtime: Runtime, cache: Any) -> None:
    """Nobody can sign in by it; whoever signs up with it is somebody new, to whom nothing belongs."""
    credentials = {"email": house.user.body["email"], "password": PASSWORD}
    _leave(house.user)
    assert house.user.api.call("POST", "/user/auth/sign-in", json=credentials).status_code == 401
    again = house.user.api.sign_up_user(email=house.user.body["email"].upper())
    assert house.user.get(PROFILE).status_code == 401, "the new account does not revive tokens of the old one"
    export = again.get("/user/export").json()
    assert [export[name] for name in ("likes", "comments", "activations", "idempotency_keys")] == [[]] * 4
    assert again.delete(house.path).status_code == 403
    assert _kept(runtime, cache, str(_id(runtime, house.user))) == []


def test_wrong_password(house: House) -> None:
    """With a wrong password nothing happens, and the token goes on to count."""
    answer = _leave(house.user, "Wr0ngPass!")
    assert (answer.status_code, answer.json()["message"]) == (403, "The password is wrong.")
    assert "www-authenticate" not in answer.headers
    assert house.user.get(house.path).json() == house.comment
    assert house.user.get(PROFILE).json()["name"] == NAME


def test_guesses_are_counted(house: House) -> None:
    """Wrong passwords count as sign-ins that failed: after some the right one is refused as well, here and there."""
    guesses = [_leave(house.user, f"Wr0ngPass!{n}") for n in range(30)]
    assert (guesses[0].status_code, guesses[-1].status_code) == (403, 429)
    credentials = {"email": house.user.body["email"], "password": PASSWORD}
    assert house.user.api.call("POST", "/user/auth/sign-in", json=credentials).status_code == 429
    assert _leave(house.user).status_code == 429
    assert house.user.get(PROFILE).status_code == 200


def test_changed_password(house: House) -> None:
    """The password that confirms is the one of today."""
    house.user.patch(PROFILE, json={"password": "An0ther!pass"})
    assert [_leave(house.user, password).status_code for password in (PASSWORD, "An0ther!pass")] == [403, 200]


@pytest.mark.parametrize("body", [None, {}, {"password": "short"}, {"password": PASSWORD, "email": "a@b.example"}])
def test_body_that_confirms_nothing(api: Api, body: Any) -> None:
    """Without a body that holds a password and nothing else the request is refused, and nothing happens."""
    user = api.sign_up_user()
    assert api.call("DELETE", PROFILE, token=user.token, **({} if body is None else {"json": body})).status_code == 400
    assert user.get(PROFILE).status_code == 200


def test_who_did_nothing_leaves_too(api: Api, runtime: Runtime, cache: Any) -> None:
    """There need be nothing that the user did, nor an avatar; a company of the address stays."""
    user = api.sign_up_user()
    company = api.sign_up_company(email=user.body["email"])
    assert _leave(user).json() == {"status": "ok"}
    assert _kept(runtime, cache, str(_id(runtime, user))) == []
    assert company.get("/business/promo").status_code == 200


def test_nobody_is_no_user(house: House, runtime: Runtime) -> None:
    """What is left of a user is found by no id, so that no token could be for it."""
    _leave(house.user)
    with runtime.database.autocommit() as connection:
        owners = text("SELECT DISTINCT user_id FROM activations WHERE promo_id = :promo")
        found = [find_user(connection, owner) for owner in connection.scalars(owners, {"promo": house.promos[0]})]
    assert len(found) == 2
    assert [user.email for user in found if user is not None] == [house.other.body["email"]]
