"""A real mail server for the tests, and how it fails."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Condition
from typing import Any

from promo_api.dev.mailbox import MailServer

_ARRIVES_S = 30


@dataclass
class Mailbox:
    """Stores mails, unless `rcpt` or `data` returns another response: a status line, or None to accept."""

    rcpt: Callable[[], str | None] = lambda: None
    data: Callable[[Any], str | None] = lambda _server: None
    url: str = ""
    _mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    _changed: Condition = field(default_factory=Condition)

    @contextmanager
    def server(self, **options: Any) -> Iterator[MailServer]:
        """Run the server; `options` are those of MailServer."""
        with MailServer(self, **options) as server:
            self.url = f"smtp://{server.address}"
            yield server

    async def handle_RCPT(  # noqa: N802 the name is aiosmtpd's
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Respond to a recipient."""
        response = self.rcpt()
        if response is None:
            envelope.rcpt_tos.append(address)
        return response or "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 the name is aiosmtpd's
        """Store a mail."""
        response = self.data(server)
        if response is not None:
            return response
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        with self._changed:
            self._mails += [(address, message) for address in envelope.rcpt_tos]
            self._changed.notify_all()
        return "250 OK"

    def to(self, email: str, count: int = 1) -> list[EmailMessage]:
        """Wait for `count` mails to an address, and return all of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.now(email)) >= count, _ARRIVES_S), "no mail arrives"
            return self.now(email)

    def now(self, email: str) -> list[EmailMessage]:
        """Return the mails to an address that have arrived."""
        return [message for address, message in self._mails if address == email]

    def token(self, email: str, count: int = 1) -> str:
        """Return the token of the latest of `count` mails."""
        return token_of(self.to(email, count)[-1])


def token_of(message: EmailMessage) -> str:
    """Return the token of a mail, which is the same in both versions of its text."""
    versions = [message.get_body((kind,)) for kind in ("plain", "html")]
    [token] = {found for body in versions if body for found in re.findall(r"#([A-Za-z0-9_-]+)", body.get_content())}
    return token
