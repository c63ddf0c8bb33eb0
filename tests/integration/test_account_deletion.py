"""Account deletion: no personal data is left, and other accounts see no difference except for comment authors."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Text, inspect, literal_column, select, text

from handlers import user_profile
from persistence.accounts import deletion
from persistence.accounts.users import find_user
from persistence.schema.tables import metadata
from promo_api import sweeper
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api
from tests.mismatches import find_mismatches

PROFILE = "/user/profile"


def _id(runtime: Runtime, user: Account) -> UUID:
    claims = runtime.tokens.read(user.token, "user")
    return claims.account_id


def _delete(user: Account, password: str = PASSWORD) -> Any:
    return user.api.call("DELETE", PROFILE, token=user.token, json={"password": password})


def _rows(runtime: Runtime) -> Iterator[str]:
    """Yield each row of each table, as PostgreSQL writes it."""
    with runtime.database.autocommit() as connection:
        existing = set(inspect(connection).get_table_names())
        for table in (table for table in metadata.sorted_tables if table.name in existing):
            yield from connection.execute(select(literal_column(table.name).cast(Text)).select_from(table)).scalars()


def _traces_of(runtime: Runtime, cache: Any, value: str) -> list[str]:
    """Return the rows and the Redis keys that contain a string, in any case."""
    keys = [key.decode() for key in cache.scan_iter()]
    return [each for each in [*_rows(runtime), *keys] if value.lower() in each.lower()]


def _is_forgotten(runtime: Runtime, cache: Any, *values: str) -> bool:
    """Wait until the background job has ended the deletion, and return whether nothing contains the strings."""
    return wait_until(lambda: not any(_traces_of(runtime, cache, value) for value in values), 20)


@pytest.fixture
def _no_late_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a deletion end as soon as no row is left."""
    monkeypatch.setattr(deletion, "LATE_MAX", timedelta(0))


class Scene:
    """A company with two promos, and two users with activations and likes; `user` also has a comment."""

    def __init__(self, api: Api, cached_verdict: Callable[[Account], None]) -> None:
        # Other scenes in the same database have accounts that are not deleted.
        word = uuid4().hex
        self.name, self.surname, self.text = f"Name {word}", f"Surname {word}", f"The comment {word}"
        self.avatar = f"https://example.com/{word}.png"
        self.company = api.sign_up_company()
        self.other = api.sign_up_user(country="fr")
        self.user = api.sign_up_user(name=self.name, surname=self.surname, avatar_url=self.avatar, country="FR")
        cached_verdict(self.user)
        self.promos = [
            self.company.create_promo(target={"categories": [uuid4().hex[:20]]}),
            self.company.create_promo(promo_unique=["one", "two", "three", "four"]),
        ]
        for user in (self.other, self.user, self.user):
            for promo_id in self.promos:
                headers = {"Idempotency-Key": str(uuid4())}
                assert user.post(f"/user/promo/{promo_id}/activate", headers=headers).is_success
                assert user.post(f"/user/promo/{promo_id}/like").is_success
        path = f"/user/promo/{self.promos[0]}/comments"
        self.comment = self.user.post(path, json={"text": self.text}, headers={"Idempotency-Key": str(uuid4())}).json()
        self.path = f"{path}/{self.comment['id']}"

    def view_of_company(self) -> list[bytes]:
        """Return the responses that the company gets, byte for byte."""
        paths = ["/business/promo", *(f"/business/promo/{promo_id}" for promo_id in self.promos)]
        paths += [f"/business/promo/{promo_id}/stat" for promo_id in self.promos]
        return [self.company.get(path).content for path in paths]


@pytest.fixture
def scene(api: Api, cached_verdict: Callable[[Account], None]) -> Scene:
    """A company, a user whose account is deleted, and another user."""
    return Scene(api, cached_verdict)


@pytest.mark.usefixtures("_no_late_requests")
def test_no_personal_data_is_left(scene: Scene, runtime: Runtime, cache: Any) -> None:
    """No row and no Redis key contains the id, the e-mail address, a name, the avatar or the password hash."""
    user_id = _id(runtime, scene.user)
    with runtime.database.autocommit() as connection:
        query = text("SELECT password_hash, created_at FROM users WHERE id = :id")
        password_hash, created_at = connection.execute(query, {"id": user_id}).one()
    traces = [str(user_id), scene.user.body["email"], scene.name, scene.surname, scene.avatar, password_hash]
    assert [trace for trace in traces if not _traces_of(runtime, cache, trace)] == [], "each is stored before"
    assert (_delete(scene.user).status_code, scene.user.get(PROFILE).status_code) == (200, 401)
    assert [row for trace in traces[1:] for row in _traces_of(runtime, cache, trace)] == []
    assert _is_forgotten(runtime, cache, *traces)
    with runtime.database.autocommit() as connection:
        same_instant = text("SELECT count(*) FROM users WHERE created_at = :at")
        assert connection.execute(same_instant, {"at": created_at}).scalar_one() == 0
    [comment] = _traces_of(runtime, cache, scene.text)
    assert comment.startswith(f"({scene.promos[0]},{scene.comment['id']},"), (
        "the comment itself, and no stored response"
    )


def test_company_sees_no_difference(scene: Scene, runtime: Runtime) -> None:
    """Promos, counts and statistics of a company stay the same to the byte, and stored counts match the rows."""
    before = scene.view_of_company(), find_mismatches(runtime)
    assert _delete(scene.user).status_code == 200
    assert (scene.view_of_company(), find_mismatches(runtime)) == before


@pytest.mark.usefixtures("_no_late_requests")
def test_many_comments(scene: Scene, runtime: Runtime, cache: Any) -> None:
    """An account with more rows than one portion deletes is removed completely."""
    values = {"promo": scene.promos[0], "user": _id(runtime, scene.user), "many": 100}
    # In several transactions, because a trigger counts each in the same row.
    for _ in range(2 * deletion._PORTION_ROWS // 100 + 1):
        with runtime.database.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO comments (promo_id, id, author_id, text, country_key)"
                    " SELECT :promo, gen_random_uuid(), :user, 'One of many', 'ru' FROM generate_series(1, :many)"
                ),
                values,
            )
            counters = text("UPDATE promo_counters SET comment_count = comment_count + :many WHERE promo_id = :promo")
            connection.execute(counters, values)
    before = scene.view_of_company()
    assert _delete(scene.user).status_code == 200
    assert _is_forgotten(runtime, cache, str(values["user"]))
    assert scene.view_of_company() == before


def _delete_without_rows(user: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Delete the account while no portion of the deletion can run."""

    def delete_portion(*_arguments: Any) -> None:
        raise ServiceUnavailable("Try again later.", reason="no connection")

    for module in (user_profile, sweeper):
        monkeypatch.setattr(module, "delete_account_portion", delete_portion)
    return _delete(user)


def test_account_is_closed_before_its_rows_change(
    scene: Scene, runtime: Runtime, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed account is deleted for all other accounts at once; a background job removes its rows later."""
    before, user_id = scene.view_of_company(), str(_id(runtime, scene.user))
    response = _delete_without_rows(scene.user, monkeypatch)
    assert (response.status_code, response.json()) == (200, {"status": "ok"}), "the request does not wait for the rows"
    assert scene.user.get(PROFILE).status_code == 401
    credentials = {"email": scene.user.body["email"], "password": PASSWORD}
    assert scene.user.api.call("POST", "/user/auth/sign-in", json=credentials).status_code == 401
    assert scene.other.get(scene.path).json()["author"] == {"name": "Deleted", "surname": "user"}
    assert (scene.view_of_company(), find_mismatches(runtime)) == (before, {})
    traces = scene.user.body["email"], scene.name, scene.avatar
    personal = [row for trace in traces for row in _traces_of(runtime, cache, trace)]
    assert [row for row in personal if ",user_comments.create_comment," not in row] == [], "except in a stored response"
    assert _traces_of(runtime, cache, user_id), "rows are left"
    successor = scene.user.api.sign_up_user(email=scene.user.body["email"])
    assert successor.get(PROFILE).status_code == 200
    monkeypatch.undo()
    monkeypatch.setattr(deletion, "LATE_MAX", timedelta(0))
    assert _is_forgotten(runtime, cache, user_id)
    assert (scene.view_of_company(), find_mismatches(runtime)) == (before, {})


def test_request_leaves_large_accounts_to_the_job(
    scene: Scene, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request stops working on a deletion after its time, and succeeds."""
    user_id = _id(runtime, scene.user)
    monkeypatch.setattr(user_profile, "_DELETION_TIME_S", 0.0)
    monkeypatch.setattr(sweeper, "claim_account_deletion", lambda _connection: None)
    assert _delete(scene.user).status_code == 200
    is_due = text("SELECT due_at <= clock_timestamp() FROM account_deletions WHERE user_id = :user")
    with runtime.database.autocommit() as connection:
        assert connection.scalar(is_due, {"user": user_id}) is True


def test_comment_of_a_deleted_user(scene: Scene) -> None:
    """A comment keeps its id, text and date, but its author is "Deleted user". Counts and likes stay."""
    promo = scene.other.get(f"/user/promo/{scene.promos[0]}").content
    _delete(scene.user)
    comment = scene.comment | {"author": {"name": "Deleted", "surname": "user"}}
    assert scene.other.get(scene.path).json() == comment
    assert scene.other.get(scene.path.rpartition("/")[0]).json() == [comment]
    assert scene.other.get(f"/user/promo/{scene.promos[0]}").content == promo
    assert scene.other.put(scene.path, json={"text": "Not my own comment"}).status_code == 403
    assert scene.other.delete(scene.path).status_code == 403


@pytest.mark.usefixtures("_no_late_requests")
def test_email_address_is_free(scene: Scene, runtime: Runtime, cache: Any) -> None:
    """Sign-in fails after the deletion. A new account with the same e-mail address has no data of the old one."""
    credentials = {"email": scene.user.body["email"], "password": PASSWORD}
    _delete(scene.user)
    assert scene.user.api.call("POST", "/user/auth/sign-in", json=credentials).status_code == 401
    successor = scene.user.api.sign_up_user(email=scene.user.body["email"].upper())
    assert scene.user.get(PROFILE).status_code == 401, "the new account does not revive tokens of the old one"
    export = successor.get("/user/export").json()
    assert [export[name] for name in ("likes", "comments", "activations", "idempotency_keys")] == [[]] * 4
    assert successor.delete(scene.path).status_code == 403
    assert _is_forgotten(runtime, cache, str(_id(runtime, scene.user)))


def test_wrong_password(scene: Scene) -> None:
    """With a wrong password nothing is deleted, and the token stays valid."""
    response = _delete(scene.user, "Wr0ngPass!")
    assert (response.status_code, response.json()["message"]) == (403, "The password is wrong.")
    assert "www-authenticate" not in response.headers
    assert scene.user.get(scene.path).json() == scene.comment
    assert scene.user.get(PROFILE).json()["name"] == scene.name


def test_wrong_passwords_are_limited(scene: Scene) -> None:
    """Wrong passwords count as failed sign-ins. Above the limit deletion and sign-in refuse the right password too."""
    guesses = [_delete(scene.user, f"Wr0ngPass!{n}") for n in range(30)]
    assert (guesses[0].status_code, guesses[-1].status_code) == (403, 429)
    credentials = {"email": scene.user.body["email"], "password": PASSWORD}
    assert scene.user.api.call("POST", "/user/auth/sign-in", json=credentials).status_code == 429
    assert _delete(scene.user).status_code == 429
    assert scene.user.get(PROFILE).status_code == 200


def test_changed_password(scene: Scene) -> None:
    """Only the current password confirms a deletion."""
    scene.user.patch(PROFILE, json={"password": "An0ther!pass"})
    assert [_delete(scene.user, password).status_code for password in (PASSWORD, "An0ther!pass")] == [403, 200]


@pytest.mark.parametrize("body", [None, {}, {"password": 5}, {"password": PASSWORD, "email": "a@b.example"}])
def test_invalid_body(api: Api, body: Any) -> None:
    """A body without a password, or with other members, is refused, and nothing is deleted."""
    user = api.sign_up_user()
    assert api.call("DELETE", PROFILE, token=user.token, **({} if body is None else {"json": body})).status_code == 400
    assert user.get(PROFILE).status_code == 200


@pytest.mark.usefixtures("_no_late_requests")
def test_account_without_data(api: Api, runtime: Runtime, cache: Any) -> None:
    """An account without data or avatar can be deleted. A company with the same e-mail address stays."""
    user = api.sign_up_user()
    company = api.sign_up_company(email=user.body["email"])
    assert _delete(user).json() == {"status": "ok"}
    assert _is_forgotten(runtime, cache, str(_id(runtime, user)))
    assert company.get("/business/promo").status_code == 200


def test_deleted_user_is_not_found(scene: Scene, runtime: Runtime) -> None:
    """No id finds a deleted user, so no token is valid for the owner of its activations."""
    _delete(scene.user)
    with runtime.database.autocommit() as connection:
        owners = text("SELECT DISTINCT user_id FROM activations WHERE promo_id = :promo")
        users = [find_user(connection, owner) for owner in connection.scalars(owners, {"promo": scene.promos[0]})]
    assert len(users) == 2
    assert [user.email for user in users if user is not None] == [scene.other.body["email"]]
