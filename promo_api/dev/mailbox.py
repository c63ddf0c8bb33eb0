"""A mail server that delivers nothing: it stores and prints mails, for the command `dev`, and for the tests."""

import asyncio
import email
import email.policy
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiosmtpd.smtp import SMTP

from promo_api.dev.embedded import EmbeddedServer
from promo_api.dev.ports import listen

_HOST = "127.0.0.1"
_LINK = re.compile(r"https?://\S+")


class MailServer(EmbeddedServer):
    """Receives mails in a thread, on a free port, which it keeps.

    Args:
        handler: the hooks of aiosmtpd.
        options: of aiosmtpd.smtp.SMTP.
        tls: a context for TLS from the start.
    """

    def __init__(self, handler: Any, *, tls: Any = None, **options: Any) -> None:
        self._handler = handler
        self._tls = tls
        self._options = {"hostname": "localhost", "enable_SMTPUTF8": True, **options}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self.port: int | None = None

    @property
    def address(self) -> str:
        """HOST:PORT, for SMTP_URL."""
        return f"{_HOST}:{self.port}"

    def start(self) -> None:
        """Listen unless it is running, or raise DevError."""
        if self._thread is None:
            listener = listen(_HOST, self.port)
            self.port = int(listener.getsockname()[1])
            ready = Event()
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._run, args=(self._loop, listener, ready.set), daemon=True)
            self._thread.start()
            ready.wait()

    def stop(self) -> None:
        """Stop, and close all connections."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop, listener: Any, on_ready: Callable[[], object]) -> None:
        sessions: list[SMTP] = []

        def accept() -> SMTP:
            sessions.append(SMTP(self._handler, loop=loop, **self._options))
            return sessions[-1]

        server = loop.run_until_complete(loop.create_server(accept, sock=listener, ssl=self._tls))
        loop.call_soon(on_ready)
        loop.run_forever()
        server.close()
        for session in sessions:
            if session.transport is not None:
                session.transport.abort()
        if tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks))
        # The event loop closes the sockets in its next round.
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class _Folder:
    """Stores each mail as a file, and reports its recipient and link."""

    def __init__(self, folder: Path, report: Callable[[str], object]) -> None:
        self._folder = folder
        self._report = report

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 the name is aiosmtpd's
        content: bytes = envelope.content
        file = self._folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.eml"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(content)
        message = email.message_from_bytes(content, policy=email.policy.default)
        body = message.get_body(("plain",))
        link = _LINK.search(body.get_content()) if body is not None else None
        self._report(
            f"Mail to {', '.join(envelope.rcpt_tos)}: {message['Subject']}\n  {link[0] if link else ''}\n  {file}"
        )
        return "250 OK"


def dev_mailbox(folder: Path, report: Callable[[str], object]) -> MailServer:
    """Return a server that stores mails in a folder and reports each."""
    return MailServer(_Folder(folder, report))
