"""The receiver of a webhook of the demo: it accepts all events and prints their types."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from promo_api.dev.embedded import EmbeddedServer
from promo_api.dev.ports import listen

_HOST = "127.0.0.1"
_POLL_S = 0.05


class WebhookReceiver(EmbeddedServer):
    """Listens in threads of this process."""

    def __init__(self, port: int, report: Callable[[str], None]) -> None:
        self._port = port
        self._report = report
        self._server: ThreadingHTTPServer | None = None

    @staticmethod
    def url(port: int) -> str:
        """Return the URL of the webhook."""
        return f"http://{_HOST}:{port}/promo-events"

    def start(self) -> None:
        """Listen, or raise DevError."""
        listener = listen(_HOST, self._port)
        self._server = _Server((_HOST, self._port), _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.report = self._report
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    report: Callable[[str], None]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with suppress(ValueError, KeyError, TypeError):
            self.server.report(f"Webhook received: {json.loads(body)['type']}")
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, format: str, *_arguments: Any) -> None:  # noqa: A002 the name is http.server's
        """Log nothing else."""
