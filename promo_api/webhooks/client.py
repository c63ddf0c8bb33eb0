"""One request to a webhook, and what came of it."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import aiohttp

from promo_api import __version__
from promo_api.config.settings import Settings
from promo_api.webhooks.addresses import CheckedResolver, CheckedSockets, ForbiddenAddress
from promo_api.webhooks.outcomes import TOO_LARGE, Outcome
from promo_api.webhooks.retry_after import parse_retry_after
from promo_api.webhooks.signatures import sign

REQUEST_MAX_S = 15.0
_BODY_MAX = 64 * 1024
# A connection serves further requests if its response ends within these.
_RESPONSE_MAX, _RESPONSE_MAX_S = 4096, 1.0
# Shorter than the patience of receivers, so that a request does not meet a connection that is being closed.
_IDLE_MAX_S = 1.0
_HEADERS = {
    "User-Agent": f"promo-api/{__version__}",
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
# The first that fits.
_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (ssl.SSLError, "tls_failed"),
    (aiohttp.ClientConnectorDNSError, "name_not_found"),
    (aiohttp.ClientConnectorError, "connection_failed"),
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.ClientResponseError, "invalid_response"),
    (aiohttp.ClientError, "connection_lost"),
    (OSError, "connection_lost"),
    (ValueError, "invalid_url"),
)


class WebhookClient:
    """Sends requests; for one event loop. It follows no redirects, and stores no cookies."""

    def __init__(self, settings: Settings, connections: int) -> None:
        networks = settings.webhook_networks
        self._http_allowed = settings.webhook_http_allowed
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(cafile=settings.webhook_ca_file or None),
                resolver=CheckedResolver(networks),
                socket_factory=CheckedSockets(networks),
                limit=connections,
                keepalive_timeout=_IDLE_MAX_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=REQUEST_MAX_S),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(self, url: str, secrets: Sequence[str], id_: str, body: bytes) -> Outcome:
        """Send a signed event; never raises an error of the receiver."""
        if len(body) > _BODY_MAX:
            return Outcome(error=TOO_LARGE)
        if not self._http_allowed and not url.lower().startswith("https://"):
            return Outcome(error="insecure_url")
        timestamp_s = int(time.time())
        headers = {
            "webhook-id": id_,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign(secrets, id_, timestamp_s, body),
        }
        try:
            return await self._post(url, headers, body)
        except Exception as error:  # noqa: BLE001 a URL must not stop the deliveries of others
            return Outcome(error=_error_of(error))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            # The status decides. The body is read only to use the connection again.
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(_RESPONSE_MAX_S):
                    await _discard(response)
            retry_after_s = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            return Outcome(response.status, None, retry_after_s)


async def _discard(response: aiohttp.ClientResponse) -> None:
    """Read a small body; close the connection if it is larger."""
    left = _RESPONSE_MAX
    while chunk := await response.content.read(left):
        left -= len(chunk)
        if not left:
            response.close()
            return


def _error_of(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddress):
        return "address_forbidden"
    return next((word for kind, word in _ERRORS if isinstance(error, kind)), "internal_error")
