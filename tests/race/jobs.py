"""Requests for `together` and for queues: functions without arguments, and the statuses of their responses."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tests.accounts import Account


def activation(user: Account, promo_id: str) -> Callable[[], Any]:
    """Return a request that activates a promo."""
    return partial(user.post, f"/user/promo/{promo_id}/activate")


def patch(company: Account, promo_id: str, **changes: Any) -> Callable[[], Any]:
    """Return a request that changes a promo."""
    return partial(company.patch, f"/business/promo/{promo_id}", json=changes)


def statuses(responses: Sequence[Any]) -> list[int]:
    """Return the statuses of responses, in order."""
    return [response.status_code for response in responses]
