"""The address of Redis: one server, Sentinels or a Cluster.

| URL | Server |
|---|---|
| redis://HOST:PORT/DATABASE | one server |
| redis+sentinel://HOST:PORT,HOST:PORT/SERVICE | the primary, found through these Sentinels |
| redis+cluster://HOST:PORT,HOST:PORT | a Cluster |

`rediss` means TLS. USER:PASSWORD@ or :PASSWORD@, percent-encoded, is sent to the servers, not to Sentinels.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Self
from urllib.parse import unquote

_PORT_MAX = 65535
_URL = re.compile(r"redis(s?)(?:\+(sentinel|cluster))?://(?:([^:@/]*):([^:@/]+)@)?([^@/]+)(?:/([A-Za-z0-9._-]*))?")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
_FORMS = (
    "must be redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT"
)


class Mode(Enum):
    """How Redis is deployed."""

    STANDALONE = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, kw_only=True)
class RedisUrl:
    """A parsed URL; `str()` omits credentials. `path`: the database, or Sentinel service."""

    hosts: tuple[tuple[str, int], ...]
    mode: Mode = Mode.STANDALONE
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str = ""

    def __str__(self) -> str:
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts}/{self.path}" if self.path else hosts

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL, or raise ValueError, which does not repeat it."""
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError(_FORMS)
        tls, mode, username, password, hosts, path = match.groups(default="")
        url = cls(
            hosts=tuple(_parse_host(host, 26379 if mode == "sentinel" else 6379) for host in hosts.split(",")),
            mode=Mode(mode),
            tls=bool(tls),
            username=unquote(username) or None,
            password=unquote(password) or None,
            path=path,
        )
        if not url._is_complete():
            raise ValueError(_FORMS)
        return url

    def _is_complete(self) -> bool:
        if self.mode is Mode.STANDALONE:
            return len(self.hosts) == 1 and (not self.path or self.path.isdecimal())
        return bool(self.path) == (self.mode is Mode.SENTINEL)


def _parse_host(text: str, default_port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match[3] or default_port) <= _PORT_MAX:
        raise ValueError(_FORMS)
    return match[1] or match[2], int(match[3] or default_port)
