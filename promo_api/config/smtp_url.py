"""The address of the mail server.

| URL | Connection |
|---|---|
| smtp://HOST:PORT | plain, then TLS by STARTTLS if the server offers it; port 25 by default |
| smtp://HOST:PORT?starttls=required | no mail without STARTTLS |
| smtps://HOST:PORT | TLS from the start; port 465 by default |

USER:PASSWORD@, percent-encoded, signs in. Then STARTTLS is required, so that no password is sent in plain text.
"""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

_PORT_MAX = 65535
_URL = re.compile(
    r"smtp(s?)://(?:([^:@/?]+):([^:@/?]+)@)?(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?/?"
    r"(\?starttls=required)?"
)
_FORMS = "must be smtp://HOST:PORT, smtp://USER:PASSWORD@HOST:PORT or smtps://, maybe with ?starttls=required"


@dataclass(frozen=True, kw_only=True)
class SmtpUrl:
    """A parsed URL; `str()` omits credentials."""

    host: str
    port: int
    tls: bool
    starttls_required: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL, or raise ValueError, which does not repeat it."""
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError(_FORMS)
        tls, username, password, ipv6, host, port, required = match.groups(default="")
        number = int(port or (465 if tls else 25))
        if not 0 < number <= _PORT_MAX:
            raise ValueError(_FORMS)
        return cls(
            host=ipv6 or host,
            port=number,
            tls=bool(tls),
            starttls_required=not tls and bool(required or username),
            username=unquote(username) or None,
            password=unquote(password) or None,
        )
