"""The settings of mails: valid and invalid ones, and passwords that are not shown."""

from typing import Any

import pytest

from promo_api.config.settings import Settings, SettingsError
from promo_api.config.smtp_url import SmtpUrl
from tests.cases import all_cases

_REQUIRED = {"ANTIFRAUD_ADDRESS": "antifraud:9090", "SECRET_KEY": "a key for tests " * 3}
_MAIL = {"MAIL_FROM": "noreply@shop.example", "PASSWORD_RESET_URL": "https://shop.example/reset#{token}"}


def _url(host: str, port: int, *, tls: bool = False, required: bool = False, **login: str) -> SmtpUrl:
    return SmtpUrl(host=host, port=port, tls=tls, starttls_required=required, **login)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("smtp://m", _url("m", 25)),
        ("smtp://m:587/", _url("m", 587)),
        ("smtp://m:587?starttls=required", _url("m", 587, required=True)),
        ("smtp://u:p%40ss@m", _url("m", 25, required=True, username="u", password="p@ss")),
        ("smtps://m", _url("m", 465, tls=True)),
        ("smtps://a%40b.example:p@[::1]:1", _url("::1", 1, tls=True, username="a@b.example", password="p")),
    ],
)
def test_urls(text: str, url: SmtpUrl) -> None:
    """A URL is parsed; a password requires STARTTLS, so that it is not sent in plain text."""
    assert SmtpUrl.parse(text) == url
    assert Settings.from_environment(_REQUIRED | _MAIL | {"SMTP_URL": text}).smtp == url
    assert "p@ss" not in f"{url} {url!r}"


@all_cases(
    "text",
    [
        *("m:25", "http://m", "smtp://:1", "smtp://m:0", "smtp://m:65536", "smtp://m/x", "smtp://u@m", "smtp://u:@m"),
        *("smtp://m?starttls=never", "smtp://m?tls=1", "smtp://a b", "smtp://m\n", "smtp://a@b:hunter2@m"),
    ],
)
def test_invalid_urls(text: str) -> None:
    """An invalid URL is a problem that shows the valid forms, and does not repeat the URL."""
    with pytest.raises(SettingsError, match=r"^SMTP_URL must be smtp://HOST:PORT, ") as caught:
        Settings.from_environment(_REQUIRED | _MAIL | {"SMTP_URL": text})
    assert text not in str(caught.value)


@pytest.mark.parametrize("name", _MAIL)
def test_required_settings(name: str) -> None:
    """SMTP_URL needs the sender and the page of the link; without it neither is needed."""
    with pytest.raises(SettingsError, match=f"^{name} is not set: SMTP_URL needs it.$"):
        Settings.from_environment(_REQUIRED | _MAIL | {"SMTP_URL": "smtp://m", name: ""})
    assert Settings.from_environment(_REQUIRED).smtp is None


def test_url_in_a_file(tmp_path: Any) -> None:
    """The URL can be read from a file, since it may contain a password."""
    file = tmp_path / "smtp"
    file.write_text("smtp://m\n")
    assert Settings.from_environment(_REQUIRED | _MAIL | {"SMTP_URL_FILE": str(file)}).smtp == _url("m", 25)


@all_cases(
    "case",
    [
        *(("MAIL_FROM", text) for text in ("x", "a@b.example, c@d.example", "a@b.example\nBcc: c", "Ä <a@b.example>")),
        *(
            ("PASSWORD_RESET_URL", text)
            for text in (
                "https://shop.example/reset",
                "https://{token}",
                "ftp://shop.example/{token}",
                "https://shop.example/{name}/{token}",
                "https://shop.example/{token}/{token}",
                'https://shop.example/"{token}',
            )
        ),
    ],
)
def test_invalid_settings(case: tuple[str, str]) -> None:
    """A sender that is not one ASCII address, and a link without exactly one token, are refused at the start."""
    name, text = case
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings.from_environment(_REQUIRED | {name: text})


@pytest.mark.parametrize("text", ["a@b.example", "Shop <a@b.example>", '"Shop, Ltd" <a@b.example>'])
def test_senders(text: str) -> None:
    """The sender may have a name."""
    assert Settings.from_environment(_REQUIRED | {"MAIL_FROM": text}).mail_from == text
