"""The address of Redis: one server, Sentinels or a Cluster.

| URL | Server |
|---|---|
| redis://HOST:PORT/DATABASE | one server |
| redis+sentinel://HOST:PORT,HOST:PORT/SERVICE | the primary of a service, found through these Sentinels |
| redis+cluster://HOST:PORT,HOST:PORT | a Cluster, found through these nodes |

`rediss` means TLS. Credentials are percent-encoded, USER:PASSWORD@ or :PASSWORD@ before the hosts; they are sent to the
servers, not to Sentinels. Ports and the database are optional.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Self
from urllib.parse import unquote

_PORT_MAX = 65535
_WHOLE = re.compile(r"redis(s?)(?:\+(sentinel|cluster))?://(?:([^:@/]*):([^:@/]+)@)?([^@/]+)(?:/([A-Za-z0-9._-]*))?")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
_FORMS = (
    "must be redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT"
)


class Kind(Enum):
    """How the server is found."""

    ONE = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, kw_only=True)
class RedisUrl:
    """A parsed URL; `str()` leaves out the password.

    Attributes:
        hosts: (host, port) pairs, at least one.
        part: the database of a single server, or the service of Sentinels; otherwise empty.
    """

    hosts: tuple[tuple[str, int], ...]
    kind: Kind = Kind.ONE
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    part: str = ""

    def __str__(self) -> str:
        named = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{named}/{self.part}" if self.part else named

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a URL.

        Raises:
            ValueError: the URL is invalid. The message does not contain it.
        """
        found = _WHOLE.fullmatch(text)
        if found is None:
            raise ValueError(_FORMS)
        tls, kind, username, password, hosts, part = found.groups(default="")
        url = cls(
            hosts=tuple(_host(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",")),
            kind=Kind(kind),
            tls=bool(tls),
            username=unquote(username) or None,
            password=unquote(password) or None,
            part=part,
        )
        if not url._is_complete():
            raise ValueError(_FORMS)
        return url

    def _is_complete(self) -> bool:
        """Return whether it has all parts that its kind needs, and no others."""
        if self.kind is Kind.ONE:
            return len(self.hosts) == 1 and (not self.part or self.part.isdecimal())
        return bool(self.part) == (self.kind is Kind.SENTINEL)


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found[3] or port) <= _PORT_MAX:
        raise ValueError(_FORMS)
    return found[1] or found[2], int(found[3] or port)
