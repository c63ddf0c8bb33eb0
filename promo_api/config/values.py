"""Parsers for the values of settings."""

import re
import ssl
from collections.abc import Callable
from email.policy import SMTP
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from promo_api.config.redis_url import RedisUrl
from promo_api.config.smtp_url import SmtpUrl

PORT_MAX = 65535
KEY_MIN_CHARACTERS = 32
Network = IPv4Network | IPv6Network
# Lower case and without a path, as browsers send it.
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class Address(NamedTuple):
    """The host and port that a server listens on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse host:port, with an IPv6 address in brackets, or raise ValueError."""
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
        if match is None or not 0 < int(match[3]) <= PORT_MAX:
            raise ValueError("must be host:port")
        return cls(match[1] or match[2], int(match[3]))


class Rate(NamedTuple):
    """A rate limit: at most `times` events in a period; 0 times: no limit."""

    times: int
    period_s: int

    def __str__(self) -> str:
        return f"{self.times}/{self.period_s}" if self.times else "0"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse times/seconds or 0, or raise ValueError."""
        match = re.fullmatch(r"0|([1-9][0-9]{0,8})/([1-9][0-9]{0,5})", text)
        if match is None:
            raise ValueError("must be times/seconds, such as 20/900, or 0")
        return cls(int(match[1] or 0), int(match[2] or 1))


class LogFormat(StrEnum):
    """The format of log lines."""

    JSON = "json"
    TEXT = "text"
    DEV = "dev"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse networks separated by commas, or raise ValueError; empty: none."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",")) if text else ()
    except ValueError:
        raise ValueError("must be a network such as 10.1.0.0/16, or several separated by commas") from None


def parse_value(name: str, type_: Any, text: str) -> Any:
    """Parse the value of the field `name`.

    Raises:
        ValueError: the message follows the setting's name, and does not repeat the text.
    """
    parse = _PARSERS_BY_NAME.get(name) or _PARSERS[type_]
    return parse(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError("must be a whole number")
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text):
        raise ValueError("must be a number")
    return float(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _log_format(text: str) -> LogFormat:
    if text not in set(LogFormat):
        raise ValueError("must be json, text or dev")
    return LogFormat(text)


def _ports(text: str) -> str:
    ports = text.split(",")
    if not all(re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= PORT_MAX for port in ports):
        raise ValueError(f"must be a port from 1 to {PORT_MAX}, or several separated by commas")
    return text


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", text):
        raise ValueError("must be the name of a header")
    return text


def _cors_origins(text: str) -> str:
    origins = [origin.strip() for origin in text.split(",")]
    if origins != ["*"] and not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be an origin such as https://shop.example, several separated by commas, or *")
    return ",".join(origins)


def _cors_headers(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name) for name in names):
        raise ValueError("must be the name of a header, or several separated by commas")
    return ",".join(names)


def _secret_key(text: str) -> str:
    keys = [key.strip() for key in text.split(",")]
    if min(map(len, keys)) < KEY_MIN_CHARACTERS:
        raise ValueError(f"must be at least {KEY_MIN_CHARACTERS} characters long; so must each of several keys")
    return ",".join(keys)


def _redis_url(text: str) -> str:
    RedisUrl.parse(text)
    return text


def _smtp_url(text: str) -> str:
    SmtpUrl.parse(text)
    return text


def _mail_from(text: str) -> str:
    header = SMTP.header_factory("From", text if text.isascii() and text.isprintable() else "")
    addresses: tuple[Any, ...] = getattr(header, "addresses", ())
    if header.defects or len(addresses) != 1 or not addresses[0].username or not addresses[0].domain:
        raise ValueError("must be an e-mail address, such as noreply@shop.example or Shop <noreply@shop.example>")
    return text


def _password_reset_url(text: str) -> str:
    example = text.replace("{kind}", "user").replace("{token}", "token", 1)
    is_url = re.fullmatch(r"https?://[a-zA-Z0-9.\[\]:-]+(/[!#-;=?-z~|]*)?", example)
    if (
        "{token}" not in text.partition("//")[2].partition("/")[2]
        or not is_url
        or not _has_host(example.partition("?")[0].partition("#")[0])
    ):
        raise ValueError("must be an http or https URL with {token}, such as https://shop.example/reset#{token}")
    return text


def _antifraud_url(text: str) -> str | None:
    if text.lower() == "none":
        return None
    url = text if "://" in text else f"http://{text}"
    if not re.fullmatch(r"https?://[!-~]+", url) or not _has_host(url):
        raise ValueError("must be host:port, an http or https URL, or none")
    return url.rstrip("/")


def _ca_file(path: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("must be a PEM file of certificates") from None
    except OSError as error:
        raise ValueError(f"can't be read, {(error.strerror or str(error)).lower()}") from None
    if not context.cert_store_stats()["x509"]:
        raise ValueError("must be a PEM file of certificates")
    return path


def _networks(text: str) -> str:
    parse_networks(text)
    return text


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:
        return False


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _integer,
    float: _number,
    bool: _boolean,
    Address: Address.parse,
    Address | None: Address.parse,
    LogFormat: _log_format,
    Rate: Rate.parse,
}
_PARSERS_BY_NAME: dict[str, Callable[[str], Any]] = {
    "postgres_port": _ports,
    "postgres_read_port": _ports,
    "redis_url": _redis_url,
    "cors_origins": _cors_origins,
    "cors_headers": _cors_headers,
    "secret_key": _secret_key,
    "antifraud_address": _antifraud_url,
    "antifraud_ca_file": _ca_file,
    "smtp_url": _smtp_url,
    "smtp_ca_file": _ca_file,
    "webhook_allowed_networks": _networks,
    "webhook_ca_file": _ca_file,
    "mail_from": _mail_from,
    "password_reset_url": _password_reset_url,
    "client_address_header": _header,
}
