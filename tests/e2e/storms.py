"""A storm of activations of one promo, with kills of workers."""

from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.server import Server

# The worker was killed before or while it responded.
CUT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
_ACTIVATIONS, _THREADS = 600, 16
_TIMEOUT_S = 60


def _ignore(_number: int) -> None:
    pass


def activate_during_kills(
    server: Server,
    users: list[Account],
    promo_id: str,
    kills: Container[int],
    before_each: Callable[[int], object] = _ignore,
) -> None:
    """Send 600 activations, more than the promo allows, and kill a worker before those with the numbers `kills`."""

    def activate(number: int) -> Any:
        if number in kills:
            server.kill_worker()
        before_each(number)
        try:
            return users[number % len(users)].post(f"/user/promo/{promo_id}/activate")
        except CUT:
            return None

    with ThreadPoolExecutor(_THREADS) as threads:
        responses = [each for each in threads.map(activate, range(_ACTIVATIONS)) if each is not None]
    assert {each.status_code for each in responses} <= {200, 403, 503}
    assert wait_until(server.responds, _TIMEOUT_S)
