"""Texts of mails: any address and link arrives unchanged, and neither adds a header."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest

from promo_api.mail.messages import reset_message
from tests.cases import all_cases

_NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
_TOKEN = "t" * 64
_LINE_MAX = 998


class _Links(HTMLParser):
    """Collects the tags and the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag."""
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]


def _received(recipient: str = "anna@mail.example", link: str = "https://shop.example/#t") -> EmailMessage:
    """Return the mail as a mail program reads it."""
    message = reset_message("Shop <s@shop.example>", recipient, link, date=_NOW, expires_at=_NOW, reference="1")
    content = message.as_bytes()
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= _LINE_MAX
    received = message_from_bytes(content, policy=policy.default)
    assert isinstance(received, EmailMessage)
    return received


@all_cases(
    "address",
    [
        "anna+shop.2026@mail.example",
        "o'brien!#$%&*/=?^_`{|}~-@mail.example",
        f"{'a' * 64}@{'b' * 40}.{'c' * 10}.de",
        f"x@{'.'.join(['d' * 25] * 4)}.com",
        "a@xn--bcher-kva.xn--p1ai",
    ],
)
def test_addresses(address: str) -> None:
    """An address is the only recipient, also if its header is longer than a line."""
    message = _received(recipient=address)
    assert [each.addr_spec for each in message["To"].addresses] == [address]
    assert sorted(message.keys()) == sorted(_received().keys())


@all_cases(
    "address",
    [
        "anna@mail.example\nBcc: eve@mail.example",
        "anna@mail.example\r\n\r\nText",
        "anna@mail.example, eve@mail.example",
        "Anna <anna@mail.example>",
        "=?utf-8?q?anna?=@mail.example",
        "anna",
    ],
)
def test_invalid_addresses(address: str) -> None:
    """An address that is more than an address, or could be read as another one, is refused."""
    with pytest.raises(ValueError, match=r"."):
        _received(recipient=address)


@all_cases(
    "link",
    [
        f"https://shop.example/reset?lang=en&copy=1&token={_TOKEN}",
        f"https://shop.example/user/reset?a=1#token={_TOKEN}&kind=user",
        f"https://shop.example/reset/{_TOKEN}/=3D=20",
        f"https://shop.example/'+alert(1)+'/$link/${{link}}#{_TOKEN}",
        f"https://shop.example/{'p' * 2000}#{_TOKEN}",
    ],
)
def test_links(link: str) -> None:
    """A link is the same in the text and in HTML, also if it has a query, a fragment or many characters."""
    message = _received(link=link)
    plain, html = (message.get_body((version,)) for version in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines().count(link) == 1
    page = _Links()
    page.feed(html.get_content())
    assert page.links == [link]


def test_html_is_escaped() -> None:
    """A link cannot add tags or attributes to the HTML."""
    usual, hostile = _Links(), _Links()
    link = 'https://shop.example/"><script src="//eve.example">&amp;<b onclick=x>'
    for page, each in ((usual, "https://shop.example/"), (hostile, link)):
        html = _received(link=each).get_body(("html",))
        assert html is not None
        page.feed(html.get_content())
    assert hostile.tags == usual.tags
    assert hostile.links == [link]
