"""The metrics of active promos and codes left.

One process counts every 5 minutes, because that reads all promos. All others read its result in Redis.
"""

from collections.abc import Callable
from datetime import date

import redis

from persistence.database.engine import Database
from persistence.promos.inventory import Inventory, count_inventory
from promo_api.background import BackgroundJob
from promo_api.config.settings import Settings
from promo_api.redis_client import RedisClient
from promo_api.telemetry import metrics

_LEASE, _LEASE_S = "inventory:lease", 300
# Longer than the lease, so that it outlives the next count.
_RESULT, _RESULT_S = "inventory:result", 900
_EVERY_S = 60.0


class InventoryJob(BackgroundJob):
    """Publishes the inventory once a minute. Without Redis the last result stays."""

    def __init__(self, settings: Settings, database: Database, today: Callable[[], date]) -> None:
        super().__init__("inventory", self.publish, _EVERY_S)
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)
        self._database = database
        self._today = today

    def stop(self) -> None:
        """Wait until the thread ends, and close the connection to Redis."""
        super().stop()
        self._redis.close()

    def publish(self) -> bool:
        """Publish the inventory; count it if the last count is too old."""
        try:
            self._count_if_due()
            with self._redis.client() as client:
                result = client.get(_RESULT)
        except redis.RedisError:
            return False
        if result is not None:
            metrics.inventory_counted(*map(int, result.split()))
        return False

    def _count_if_due(self) -> None:
        with self._redis.client() as client:
            if not client.set(_LEASE, "1", nx=True, ex=_LEASE_S):
                return
        inventory = self._count()
        with self._redis.client() as client:
            client.set(_RESULT, f"{inventory.active_promos} {inventory.codes_left}", ex=_RESULT_S)

    def _count(self) -> Inventory:
        with self._database.autocommit() as connection:
            return count_inventory(connection, self._today())
