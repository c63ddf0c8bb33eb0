"""Secrets of webhooks."""

from base64 import b64decode

from standardwebhooks import Webhook

from promo_api.security.webhook_secrets import WebhookSecrets

_OLD, _NEW = "old secret key " * 3, "new secret key " * 3


def test_generated_secret() -> None:
    """A secret has 32 random bytes, and the library of Standard Webhooks takes it."""
    secret, other = WebhookSecrets.generate(), WebhookSecrets.generate()
    assert secret != other
    assert secret.startswith("whsec_")
    assert len(b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    Webhook(secret)


def test_encryption() -> None:
    """The stored text does not contain the secret, differs each time, and gives the secret back."""
    secrets = WebhookSecrets([_NEW])
    secret = secrets.generate()
    stored = secrets.encrypt(secret)
    assert secret.removeprefix("whsec_") not in stored
    assert stored != secrets.encrypt(secret)
    assert secrets.decrypt(stored) == secret


def test_replaced_secret_key() -> None:
    """The secret key before a replacement still decrypts; reencrypting makes it unnecessary."""
    old, both, new = (WebhookSecrets(keys) for keys in ([_OLD], [_NEW, _OLD], [_NEW]))
    secret = old.generate()
    stored = old.encrypt(secret)
    assert both.decrypt(stored) == secret
    assert new.decrypt(stored) is None
    moved = both.reencrypt(stored)
    assert moved is not None
    assert new.decrypt(moved) == secret


def test_nothing_to_reencrypt() -> None:
    """A secret of the first key is not encrypted again, and neither is one that no key decrypts."""
    both, unknown = WebhookSecrets([_NEW, _OLD]), WebhookSecrets(["unknown secret key " * 2])
    assert both.reencrypt(both.encrypt("whsec_AAAA")) is None
    assert both.reencrypt(unknown.encrypt("whsec_AAAA")) is None


def test_damaged_text() -> None:
    """A text that is no encrypted secret decrypts to None."""
    secrets = WebhookSecrets([_NEW])
    damaged = secrets.encrypt("whsec_AAAA")[:-4]
    assert [secrets.decrypt(text) for text in ("", "whsec_AAAA", damaged, "é")] == [None] * 4
