"""API keys: their form, their checksum, and what a worker remembers of them."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4
from zlib import crc32

import pytest

from promo_api.errors import Unauthenticated
from promo_api.security import api_keys
from promo_api.security.api_keys import ApiKeys, KeyClaims, KeyUse
from tests.specification import specification

_SCHEMAS = specification()["components"]["schemas"]
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _number(text: str) -> int:
    number = 0
    for digit in text:
        number = 62 * number + _DIGITS.index(digit)
    return number


def test_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key has 160 random bits and their CRC32 in base62, for the smallest and the largest number."""
    for random in (0, 1, 2**160 - 1):
        monkeypatch.setattr(api_keys, "randbits", {160: random}.__getitem__)
        key = ApiKeys().generate()
        assert re.fullmatch(_SCHEMAS["ApiKeyText"]["pattern"], key.text)
        assert (_number(key.text[3:30]), _number(key.text[30:])) == (random, crc32(key.text[:30].encode()))
        assert key.digest == sha256(key.text.encode()).digest()
        assert key.text.startswith(key.prefix)
        assert re.fullmatch(_SCHEMAS["ApiKeyPrefix"]["pattern"], key.prefix)


def test_keys_differ() -> None:
    """No two keys are the same."""
    keys = ApiKeys()
    assert len({keys.generate().text for _ in range(1000)}) == 1000


def test_every_typo_is_found() -> None:
    """A key with one other character, or two that are swapped, has a wrong checksum."""
    keys = ApiKeys()
    text = keys.generate().text
    wrong = {text[:at] + other + text[at + 1 :] for at in range(len(text)) for other in _DIGITS}
    wrong |= {text[:at] + text[at + 1] + text[at] + text[at + 2 :] for at in range(len(text) - 1)}
    for each in wrong - {text}:
        with pytest.raises(Unauthenticated):
            keys.read(each)
    assert keys.read(text).digest == sha256(text.encode()).digest()


def test_example_is_a_key() -> None:
    """The example in api.yml has the right checksum."""
    assert ApiKeys().read(_SCHEMAS["ApiKeyText"]["example"]).account_id is None


def test_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of a key are remembered until it is forgotten, or too many others have been used since."""
    monkeypatch.setattr(api_keys, "_KEYS_MAX", 2)
    keys = ApiKeys()
    texts = [keys.generate().text for _ in range(3)]
    first, second, third = (keys.read(text).digest for text in texts)
    company_id, key_id = uuid4(), uuid4()
    keys.remember(first, company_id, key_id)
    assert keys.read(texts[0]) == KeyClaims(first, company_id, key_id)
    assert [keys.read(text).account_id for text in texts] == [company_id, None, None]
    keys.forget(first)
    keys.forget(first)
    assert keys.read(texts[0]) == KeyClaims(first, None)
    keys.remember(first, company_id, key_id)
    keys.remember(second, company_id, key_id)
    keys.read(texts[0])
    keys.remember(third, company_id, key_id)
    assert [keys.read(text).account_id for text in texts] == [company_id, None, company_id]


def test_uses() -> None:
    """The minute of a use is recorded once, unless the database has it."""
    keys, company, key = ApiKeys(), uuid4(), uuid4()
    now = datetime(2026, 5, 4, 12, 30, 59, 999999, tzinfo=UTC)
    minute = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    for last_used_at in (minute, now + timedelta(minutes=1)):
        keys.record_use(company, key, last_used_at=last_used_at, now=now)
    assert keys.take_use() is None
    for last_used_at in (None, minute - timedelta(minutes=1)):
        keys.record_use(company, key, last_used_at=last_used_at, now=now)
    assert [keys.take_use(), keys.take_use()] == [KeyUse(company, key, minute), None]


def test_use_that_could_not_be_stored() -> None:
    """A use that is returned is recorded again, unless there was a later one meanwhile."""
    keys, company, key = ApiKeys(), uuid4(), uuid4()
    now = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    keys.record_use(company, key, last_used_at=None, now=now)
    use = keys.take_use()
    assert use is not None
    keys.return_use(use)
    assert keys.take_use() == use
    keys.record_use(company, key, last_used_at=None, now=now + timedelta(minutes=1))
    keys.return_use(use)
    later = keys.take_use()
    assert later is not None
    assert (later.minute, keys.take_use()) == (now + timedelta(minutes=1), None)
