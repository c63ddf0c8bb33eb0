"""The background job that sends deliveries: it runs the event loop of a worker's sender."""

import asyncio
from contextlib import suppress

import uvloop

from persistence.database.engine import Database
from promo_api.background import BackgroundJob
from promo_api.config.settings import Settings
from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.webhooks.client import WebhookClient
from promo_api.webhooks.sender import REQUESTS_MAX, Sender

_POLL_S = 0.5
# After an error, such as an outage of PostgreSQL.
_PAUSE_S, _PAUSE_MAX_S = 1.0, 15.0
_STOP_MAX_S = 2.0


class WebhookJob(BackgroundJob):
    """Sends deliveries until it is stopped. An error ends the event loop; it starts again after a pause."""

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__("webhooks", self._run_loop, _PAUSE_S, _PAUSE_MAX_S)
        self._settings = settings
        self._database = database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def begin_stop(self) -> None:
        """Start no more requests, and give running ones a short time to end."""
        super().begin_stop()
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._stopping.set)

    def _run_loop(self) -> bool:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._stopping = asyncio.Event()
            self._loop = runner.get_loop()
            runner.run(self._send())
        return False

    async def _send(self) -> None:
        secrets = WebhookSecrets(self._settings.secret_keys)
        async with (
            WebhookClient(self._settings, REQUESTS_MAX) as client,
            Sender(self._database, secrets, client) as sender,
        ):
            while not self._stopped.is_set():
                has_more = await sender.start_ready()
                self._failures = 0
                if not has_more:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), _POLL_S)
            sender.is_stopping = True
            with suppress(TimeoutError):
                await asyncio.wait_for(sender.wait(), _STOP_MAX_S)
