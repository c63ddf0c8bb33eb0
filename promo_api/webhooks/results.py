"""What follows from the requests of a batch: results of deliveries, and the state of the webhook.

A webhook that fails is paused as a whole, so that a receiver that is down is not asked for each delivery.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from persistence.database.engine import Database
from persistence.webhooks.deliveries import (
    Batch,
    Delivery,
    Result,
    update_deliveries,
    update_disabled,
    update_failing,
    update_unsent,
    update_working,
)
from promo_api.backoff import backoff_s
from promo_api.webhooks.outcomes import EVENT_DELETED, TOO_LARGE, Outcome

# No retry helps, and the receiver is not to blame.
_PERMANENT = (TOO_LARGE, EVENT_DELETED)
_GONE = 410

_FIRST_RETRY_S, _RETRY_MAX_S, _PAUSE_MAX_S = 5.0, 86400.0, 300.0
_FAILING_MAX = _RETRIED_MAX = timedelta(days=3)


def store_results(
    database: Database, batch: Batch, outcomes: Mapping[UUID, Outcome], unsent: Sequence[UUID]
) -> str | None:
    """Store the results of a batch, and return why the webhook was disabled; None: it was not."""
    failures = [each for each in outcomes.values() if not each.has_succeeded and each.error not in _PERMANENT]
    results = [_result(each, outcomes[each.event_id]) for each in batch.deliveries if each.event_id in outcomes]
    has_success = any(each.has_succeeded for each in outcomes.values())
    if not failures and not batch.webhook.failures and not unsent:
        with database.autocommit() as connection:
            update_deliveries(connection, batch, results, lifetime=_RETRIED_MAX)
        return None
    pause_s = _pause_s(failures, 1 if has_success else batch.webhook.failures + 1) if failures else 0.0
    reason = None
    with database.transaction() as connection:
        if failures:
            is_over = update_failing(
                connection, batch.webhook, is_first=has_success, pause=timedelta(seconds=pause_s), lifetime=_FAILING_MAX
            )
            reason = "gone" if any(each.status == _GONE for each in failures) else "failing" if is_over else None
            if reason is not None and not update_disabled(connection, batch.webhook, reason):
                reason = None
        elif has_success:
            update_working(connection, batch.webhook)
        update_deliveries(connection, batch, results, lifetime=_RETRIED_MAX)
        update_unsent(connection, batch, unsent, pause=timedelta(seconds=pause_s))
    return reason


def _result(delivery: Delivery, outcome: Outcome) -> Result:
    is_final = outcome.has_succeeded or outcome.status == _GONE or outcome.error in _PERMANENT
    retry_s = None if is_final else _retry_s(outcome, backoff_s(delivery.attempts + 1, _FIRST_RETRY_S, _RETRY_MAX_S))
    return Result(delivery.event_id, outcome.has_succeeded, outcome.status, outcome.error, retry_s)


def _pause_s(failures: Sequence[Outcome], number: int) -> float:
    """Return the pause of a webhook: the longest that its receiver has asked for, or a backoff."""
    backoff = backoff_s(number, _FIRST_RETRY_S, _PAUSE_MAX_S)
    return max(_retry_s(each, backoff) for each in failures)


def _retry_s(outcome: Outcome, backoff: float) -> float:
    if outcome.retry_after_s is None:
        return backoff
    return min(max(outcome.retry_after_s, _FIRST_RETRY_S), _RETRY_MAX_S)
