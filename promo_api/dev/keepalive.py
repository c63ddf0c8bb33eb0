"""An HTTP server for a WSGI app that keeps connections alive.

Werkzeug's own request handler answers every request with `Connection: close`, because an app may leave a part of the
body unread and Werkzeug then discards whatever it finds. The handler here reads the body before the app runs.
"""

import socket
import threading
from contextlib import suppress
from io import BytesIO
from typing import Any

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

_BODY_BYTES = 1 << 20


class KeepAliveServer:
    """Serves `app` on `listener`, each connection in a thread; the listener may be closed after this."""

    def __init__(self, app: Flask, host: str, listener: socket.socket) -> None:
        self._server = _Server(host, listener.getsockname()[1], app, _Handler, fd=listener.fileno())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        """Accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections and close those that there are, also in the middle of an answer."""
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()


class _Server(ThreadedWSGIServer):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        # Else a client that keeps its connection would still be answered after the stop.
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out as two packets: without this the second waits for the receipt of the first, some 40 ms.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        body = self._read_body()
        if body is None:
            self.send_error(413 if "Content-Length" in self.headers else 411)
            self.close_connection = True
            return
        environ["wsgi.input"] = BytesIO(body)
        answer = Response.from_app(self.server.app, environ)
        content = answer.get_data()
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _read_body(self) -> bytes | None:
        """Return the body, or None if its end can't be told or it is too long to be of any use here."""
        text = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not text.isdecimal() or int(text) > _BODY_BYTES:
            return None
        return self.rfile.read(int(text))

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 the name is Werkzeug's
        """Log nothing: the calls are counted, and a line for each would be in the way of whoever reads `dev`."""
