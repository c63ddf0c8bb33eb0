"""Sends due deliveries, in an event loop: many webhooks at a time, and many requests to each that is quick.

Each worker does so, and leases deliveries before it sends them. One thread calls the database, on one connection.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import orjson

from handlers.serializers import serialize_company_event
from persistence.database.engine import Database
from persistence.events import Event
from persistence.webhooks.deliveries import Batch, Delivery, DueWebhook, claim_deliveries, list_ready_webhooks
from promo_api.errors import ServiceUnavailable
from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.telemetry import webhook_metrics
from promo_api.webhooks.client import REQUEST_MAX_S, WebhookClient
from promo_api.webhooks.outcomes import EVENT_DELETED, SECRET_UNREADABLE, Outcome
from promo_api.webhooks.results import store_results

_log = logging.getLogger(__name__)

REQUESTS_MAX = 256
_BATCH_MAX = 256
_REQUESTS_PER_WEBHOOK, _WEBHOOKS_MAX, _WEBHOOKS_PER_PAGE = 32, 256, 100
LEASE = timedelta(seconds=60)
# A request that begins later could end after the lease.
_START_MAX_S = LEASE.total_seconds() - 2 * REQUEST_MAX_S
_QUICK_S, _SLOW_S = 1.0, 5.0
# After a defect, which no retry mends.
_DEFECT_PAUSE_S = 60.0
_NO_SECRET, _NO_EVENT = Outcome(error=SECRET_UNREADABLE), Outcome(error=EVENT_DELETED)
_FIRST = UUID(int=0), UUID(int=0)

_Key = tuple[UUID, UUID]
_T = TypeVar("_T")


class Sender:
    """Sends deliveries until it is stopped; for one event loop."""

    def __init__(self, database: Database, secrets: WebhookSecrets, client: WebhookClient) -> None:
        self._database = database
        self._secrets = secrets
        self._client = client
        self._slots = asyncio.Semaphore(REQUESTS_MAX)
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._after: _Key = _FIRST
        self._stack = AsyncExitStack()
        self.is_stopping = False

    async def __aenter__(self) -> Self:
        """Start the thread for the database."""
        self._thread = self._stack.enter_context(ThreadPoolExecutor(1, "webhooks-database"))
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End the thread, and all tasks."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._stack.aclose()

    async def start_ready(self) -> bool:
        """Start a task for each webhook of the next page, and return whether there are more pages.

        Raises:
            ServiceUnavailable: the database is unavailable, also for a task that was started before.
        """
        self._forget_ended()
        ready = await self._call(self._list_ready)
        for key in ready:
            if len(self._tasks) == _WEBHOOKS_MAX:
                return False
            self._after = key
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._drain(*key))
        if len(ready) < _WEBHOOKS_PER_PAGE:
            self._after = _FIRST
        return len(ready) == _WEBHOOKS_PER_PAGE

    async def wait(self) -> None:
        """Wait for the tasks that run."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())
            self._forget_ended()

    def _forget_ended(self) -> None:
        for key in [key for key, task in self._tasks.items() if task.done()]:
            self._tasks.pop(key).result()

    def _list_ready(self) -> list[_Key]:
        with self._database.autocommit() as connection:
            return list_ready_webhooks(connection, after=self._after, limit=_WEBHOOKS_PER_PAGE)

    def _claim(self, company_id: UUID, webhook_id: UUID, limit: int) -> Batch | None:
        with self._database.autocommit() as connection:
            return claim_deliveries(connection, company_id, webhook_id, limit=limit, lease=LEASE)

    async def _call(self, call: Callable[..., _T], *values: Any) -> _T:
        """Call the database in the thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(call, *values))

    async def _drain(self, company_id: UUID, webhook_id: UUID) -> None:
        """Send the due deliveries of a webhook, in batches that grow while its receiver is quick."""
        try:
            size = 1
            while not self.is_stopping:
                batch = await self._call(self._claim, company_id, webhook_id, size)
                if batch is None:
                    return
                duration_s = await self._send(batch)
                if duration_s < _QUICK_S:
                    size = min(2 * size, _BATCH_MAX)
                elif duration_s > _SLOW_S:
                    size = max(size // 2, 1)
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 a defect must not stop the deliveries of others
            _log.error("webhook_defect", extra={"webhook_id": str(webhook_id)}, exc_info=error)
            # Nothing is sent to this webhook meanwhile, and the others go on.
            await asyncio.sleep(_DEFECT_PAUSE_S)

    async def _send(self, batch: Batch) -> float:
        """Send a batch, store the results, and return the duration of the requests in seconds."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        outcomes: dict[UUID, Outcome] = {}
        secrets = self._decrypt(batch.webhook)
        waiting = iter(batch.deliveries)
        has_failed = False

        async def send_next() -> None:
            nonlocal has_failed
            while not (has_failed or self.is_stopping or loop.time() - began_s > _START_MAX_S):
                delivery = next(waiting, None)
                if delivery is None:
                    return
                outcome = await self._send_one(batch.webhook, secrets, delivery)
                outcomes[delivery.event_id] = outcome
                has_failed = has_failed or not outcome.has_succeeded

        await asyncio.gather(*(send_next() for _ in range(min(len(batch.deliveries), _REQUESTS_PER_WEBHOOK))))
        duration_s = loop.time() - began_s
        unsent = [each.event_id for each in batch.deliveries if each.event_id not in outcomes]
        reason = await self._call(store_results, self._database, batch, outcomes, unsent)
        _report(batch.webhook, outcomes, reason)
        return duration_s

    async def _send_one(self, webhook: DueWebhook, secrets: list[str], delivery: Delivery) -> Outcome:
        body = _body(delivery)
        if body is None:
            return _NO_EVENT
        if not secrets:
            return _NO_SECRET
        async with self._slots:
            with webhook_metrics.request_sent():
                return await self._client.send(webhook.url, secrets, str(delivery.event_id), body)

    def _decrypt(self, webhook: DueWebhook) -> list[str]:
        """Return the secrets that sign; empty: the current one can't be decrypted."""
        stored = [webhook.secret, *([webhook.previous_secret] if webhook.previous_secret else [])]
        secrets = [self._secrets.decrypt(each) for each in stored]
        return [] if secrets[0] is None else [each for each in secrets if each is not None]


def _body(delivery: Delivery) -> bytes | None:
    """Return the event as in the list of events; None: it was deleted."""
    if delivery.type is None or delivery.created_at is None:
        return None
    event = Event(
        delivery.event_id, delivery.type, delivery.promo_id, delivery.data or {}, delivery.created_at, number=0
    )
    return orjson.dumps(serialize_company_event(event))


def _report(webhook: DueWebhook, outcomes: dict[UUID, Outcome], disabled_reason: str | None) -> None:
    """Count the outcomes, and log the first failure of a batch."""
    for outcome in outcomes.values():
        webhook_metrics.delivery_attempted(outcome.result)
    company_id, webhook_id = str(webhook.company_id), str(webhook.id)
    failure = next((each for each in outcomes.values() if not each.has_succeeded), None)
    if failure is not None:
        _log.info(
            "webhook_failed",
            extra={
                "company_id": company_id,
                "webhook_id": webhook_id,
                "status": failure.status,
                "reason": failure.error,
            },
        )
    if disabled_reason is not None:
        _log.warning(
            "webhook_disabled", extra={"company_id": company_id, "webhook_id": webhook_id, "reason": disabled_reason}
        )
