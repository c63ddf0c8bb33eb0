"""An HTTP client that collects all secrets that it sends and receives."""

from typing import Any

import requests

_SECRETS = ("email", "password", "token", "key", "promo", "promo_common", "promo_unique", "text")
_TIMEOUT_S = 30


class Remote(requests.Session):
    """A client of one server. Each request opens a connection, so that any worker may accept it.

    Attributes:
        secrets: all e-mail addresses, passwords, tokens, API keys, idempotency keys, comments and promo codes so far.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.secrets: set[str] = set()
        self.trust_env = False
        self.headers["Connection"] = "close"

    def request(self, method: str, path: str, **request: Any) -> requests.Response:  # type: ignore[override]
        """Send a request to a path of the server."""
        self._remember(request.get("json"))
        self.secrets.update(value for name, value in request.get("headers", {}).items() if name == "Idempotency-Key")
        response = super().request(method, f"{self._url}{path}", timeout=_TIMEOUT_S, **request)
        if response.content and response.headers.get("content-type") == "application/json":
            self._remember(response.json())
        return response

    def _remember(self, body: Any) -> None:
        if isinstance(body, dict):
            for name in _SECRETS:
                value = body.get(name, [])
                self.secrets.update([value] if isinstance(value, str) else value)
