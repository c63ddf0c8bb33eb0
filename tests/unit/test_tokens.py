"""Tokens: only tokens exactly as issued are valid."""

import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from jwt.utils import base64url_encode

from promo_api.errors import Unauthenticated
from promo_api.security.tokens import Claims, Kind, Tokens
from tests.cases import all_cases

KEY = "a key for tests " * 3
ACCOUNT = UUID("0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63")
KINDS: list[Kind] = ["company", "user"]
TOKENS = Tokens([KEY], 12)
INVALID = "token_invalid"


def _read(tokens: Tokens, token: str, kind: Kind) -> Claims | str:
    """Return the claims of a token, or the code of the error."""
    try:
        return tokens.read(token, kind)
    except Unauthenticated as error:
        return error.code


def _payload(**changes: Any) -> dict[str, Any]:
    """Return the claims of a valid user token with changes; None removes a claim."""
    now = datetime.now(UTC)
    valid = {"sub": str(ACCOUNT), "aud": "user", "ver": 3, "iat": now, "exp": now + timedelta(hours=1)}
    return {name: value for name, value in (valid | changes).items() if value is not None}


def _signed(key: str = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(_payload(**changes), key, algorithm)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [1, 2, 2**31 - 1])
def test_round_trip(kind: Kind, version: int) -> None:
    """Reading a token returns its claims."""
    claims = Claims(uuid4(), kind, version)
    assert _read(TOKENS, TOKENS.issue(claims), kind) == claims


def test_tokens_of_another_process() -> None:
    """Processes with the same key read each other's tokens."""
    token = Tokens([KEY], 1).issue(Claims(ACCOUNT, "user", 3))
    assert _read(Tokens([KEY], 24), token, "user") == Claims(ACCOUNT, "user", 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_has_at_most_300_characters(kind: Kind) -> None:
    """The longest possible token has the length that api.yml states."""
    token = TOKENS.issue(Claims(UUID(int=2**128 - 1), kind, 2**63 - 1))
    assert len(token) <= 300
    assert token.isascii()


@pytest.mark.parametrize("hours", [1, 12, 24])
def test_lifetime(hours: int) -> None:
    """A token expires after the configured number of hours."""
    before = datetime.now(UTC).replace(microsecond=0)
    payload = jwt.decode(Tokens([KEY], hours).issue(Claims(ACCOUNT, "user", 1)), KEY, ["HS256"], audience="user")
    assert payload["exp"] - payload["iat"] == hours * 3600
    assert before <= datetime.fromtimestamp(payload["iat"], UTC) <= datetime.now(UTC)


def test_token_has_only_necessary_claims() -> None:
    """Tokens are readable, so they contain neither e-mail address nor name."""
    payload = jwt.decode(TOKENS.issue(Claims(ACCOUNT, "user", 1)), KEY, ["HS256"], audience="user")
    assert payload.keys() == {"sub", "aud", "ver", "iat", "exp"}


def test_valid_token() -> None:
    """The token that the next tests change is valid."""
    assert _read(TOKENS, _signed(), "user") == Claims(ACCOUNT, "user", 3)


@pytest.mark.parametrize(("issued", "wanted"), [("company", "user"), ("user", "company")])
def test_wrong_kind(issued: Kind, wanted: Kind) -> None:
    """A company's token is not valid for a user, and the reverse."""
    assert _read(TOKENS, TOKENS.issue(Claims(ACCOUNT, issued, 1)), wanted) == "token_wrong_kind"


def test_other_key() -> None:
    """A token that was signed with another key is invalid."""
    assert _read(TOKENS, _signed(key=KEY[::-1]), "user") == INVALID


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithm(algorithm: str) -> None:
    """Only HS256 is accepted, not the algorithm that the token names."""
    assert _read(TOKENS, _signed(algorithm=algorithm, key=KEY * 2), "user") == INVALID
    assert _read(Tokens([KEY * 2], 1), _signed(algorithm=algorithm, key=KEY * 2), "user") == INVALID


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_algorithm_none(name: str) -> None:
    """A token with the algorithm `none` is invalid in any spelling, with or without a signature."""
    assert _read(TOKENS, jwt.encode(_payload(), None, "none"), "user") == INVALID
    payload, signature = _signed().split(".")[1:]
    head = base64url_encode(json.dumps({"alg": name, "typ": "JWT"}).encode()).decode()
    for end in ("", signature):
        assert _read(TOKENS, f"{head}.{payload}.{end}", "user") == INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": None},
        {"typ": "at+jwt"},
        {"typ": "jwt"},
        {"kid": "1"},
        {"jku": "https://keys.example/"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://keys.example/"},
        {"crit": ["exp"]},
        {"zip": "DEF"},
    ],
    ids=str,
)
def test_other_header(changes: dict[str, Any]) -> None:
    """A token with any other header, such as another type or a key, is invalid."""
    assert _read(TOKENS, jwt.encode(_payload(), KEY, headers=changes), "user") == INVALID


def test_token_has_only_one_text() -> None:
    """No other text is read as the same token: not with another last letter, nor with a suffix."""
    token = _signed()
    letters = string.ascii_letters + string.digits + "-_"
    read = [last for last in letters if _read(TOKENS, token[:-1] + last, "user") != INVALID]
    assert read == [token[-1]]
    assert all(_read(TOKENS, token + more, "user") == INVALID for more in ("=", "==", "A", ".", " ", "\n"))


def test_longest_token() -> None:
    """A token of more than 300 characters is invalid, even if it is signed with the key."""
    tokens = [_signed(pad="x" * length) for length in range(100)]
    assert {299, 300} & {len(token) for token in tokens}
    assert len(tokens[-1]) > 300
    valid = [token for token in tokens if _read(TOKENS, token, "user") != INVALID]
    assert valid == [token for token in tokens if len(token) <= 300]


def test_key_rotation() -> None:
    """The first key signs. A token of another key is valid until that key is removed."""
    old, new = "the old one " * 3, "the new one " * 3
    claims = Claims(ACCOUNT, "user", 3)
    before, between, after = Tokens([old], 12), Tokens([new, old], 12), Tokens([new], 12)
    first, second = before.issue(claims), between.issue(claims)
    assert [_read(tokens, first, "user") for tokens in (before, between, after)] == [claims, claims, INVALID]
    assert [_read(tokens, second, "user") for tokens in (before, between, after)] == [INVALID, claims, claims]
    assert _read(between, _signed(), "user") == INVALID
    assert _read(between, _signed(key=old, aud="company"), "user") == "token_wrong_kind"


def test_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of the first key is verified once, with this key only; then it is cached."""
    tokens, tried = Tokens([KEY, "x" * 32, "y" * 32], 12), []
    decode = jwt.decode_complete
    monkeypatch.setattr(jwt, "decode_complete", lambda *args, **options: (tried.append(1), decode(*args, **options))[1])
    token = tokens.issue(Claims(ACCOUNT, "user", 3))
    assert _read(tokens, token, "user") == _read(tokens, token, "user") == Claims(ACCOUNT, "user", 3)
    assert len(tried) == 1


def test_changed_token() -> None:
    """A token that was changed after signing is invalid."""
    head, _, signature = _signed().split(".")
    _, other, _ = _signed(ver=4).split(".")
    assert _read(TOKENS, f"{head}.{other}.{signature}", "user") == INVALID
    assert _read(TOKENS, f"{head}.{other}.", "user") == INVALID


@pytest.mark.parametrize("claim", ["sub", "aud", "ver", "iat", "exp"])
def test_missing_claim(claim: str) -> None:
    """A token without one of the claims is invalid."""
    assert _read(TOKENS, jwt.encode(_payload(**{claim: None}), KEY), "user") == INVALID


def test_cached_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached token is invalid from its expiry on, and for other kinds and keys."""
    tokens, expires_at = Tokens([KEY], 12), datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    token = _signed(exp=expires_at)
    claims = Claims(ACCOUNT, "user", 3)
    assert _read(tokens, token, "user") == claims
    for seconds, is_valid in ((-0.001, True), (0, False), (60, False)):
        now = (expires_at + timedelta(seconds=seconds)).timestamp
        monkeypatch.setattr("promo_api.security.tokens.time", now)
        assert _read(tokens, token, "user") == (claims if is_valid else "token_expired")
    monkeypatch.undo()
    assert _read(tokens, token, "user") == claims
    assert _read(tokens, token, "company") == "token_wrong_kind"
    assert _read(Tokens(["another key " * 3], 12), token, "user") == INVALID


@pytest.mark.parametrize("ago", [timedelta(seconds=1), timedelta(days=400)])
def test_expired(ago: timedelta) -> None:
    """An expired token is invalid."""
    assert _read(TOKENS, _signed(exp=datetime.now(UTC) - ago), "user") == "token_expired"


@all_cases(
    "changes",
    [
        {"ver": "x"},
        {"ver": []},
        {"ver": {}},
        {"ver": ""},
        {"ver": "3"},
        {"ver": 3.5},
        {"ver": True},
        {"ver": float("inf")},
        {"sub": "x"},
        {"sub": 5},
        {"sub": ""},
        {"sub": ACCOUNT.hex + "0"},
        {"aud": ["user"]},
        {"aud": ["user", "company"]},
        {"aud": "admin"},
        {"aud": 5},
        {"aud": ""},
        {"exp": "x"},
        {"exp": []},
        {"exp": "7258118400"},
        {"exp": 7_258_118_400.5},
        {"exp": float("inf")},
        {"exp": True},
        {"nbf": 7_258_118_400},
    ],
)
def test_claims_of_other_types(changes: dict[str, Any]) -> None:
    """A token with a claim of another type is invalid: a version is an integer, an audience is one kind."""
    if not isinstance(changes.get("sub", ""), str):
        token = jwt.api_jws.encode(jwt.PyJWT()._encode_payload(_payload() | changes | {"iat": 1, "exp": 2**40}), KEY)
    else:
        token = _signed(**changes)
    assert _read(TOKENS, token, "user") in (INVALID, "token_wrong_kind", "token_expired")


@all_cases(
    "token",
    ["", " ", "x", "a.b.c", "....", "é", "\x00", "\ud800", "x" * 100_000, "eyJhbGciOiJIUzI1NiJ9.e30.", "null", "=.=.="],
)
def test_other_texts(token: str) -> None:
    """Other texts are invalid tokens, and raise nothing."""
    assert _read(TOKENS, token, "user") == INVALID


def test_kind() -> None:
    """A token is valid for its own kind of account only."""
    user, company = Claims(ACCOUNT, "user", 1), Claims(ACCOUNT, "company", 1)
    assert _read(TOKENS, TOKENS.issue(user), "user") == user
    assert _read(TOKENS, TOKENS.issue(company), "company") == company
    assert _read(TOKENS, TOKENS.issue(company), "user") == "token_wrong_kind"
    assert _read(TOKENS, TOKENS.issue(user), "company") == "token_wrong_kind"
