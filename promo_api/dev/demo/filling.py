"""Writes the plan into the database, in the order of its times, as the service would have done."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Any
from uuid import UUID

from persistence.events import PUBLISHED_MAX, insert_end_events, list_waiting_companies, update_event_numbers
from persistence.webhooks.deliveries import claim_deliveries
from promo_api.config.settings import Settings
from promo_api.dev.demo.batches import claim_uses, create_functions, redeem
from promo_api.dev.demo.catalog import MAIN
from promo_api.dev.demo.clock import DatabaseClock
from promo_api.dev.demo.main_company import PlannedWebhook, plan_keys, plan_reported_comments, plan_webhooks
from promo_api.dev.demo.plan import Plan, plan_month
from promo_api.dev.demo.redemptions import RedemptionStep, plan_redemptions
from promo_api.dev.demo.steps import ChangePromo, Comment, CreatePromo, CreateWebhook, SignUp, Step
from promo_api.runtime import BUSINESS_CALENDAR, Runtime
from promo_api.webhooks.outcomes import Outcome
from promo_api.webhooks.results import store_results

Report = Callable[[str], None]
_WINDOW, _DELIVERED = timedelta(hours=6), timedelta(seconds=1.4)
_BEFORE_USES = (SignUp, CreatePromo, ChangePromo, CreateWebhook)
_ENDS, _DELIVERIES, _LEASE = 100, 500, timedelta(minutes=1)
_FIRST_ID = UUID(int=0)
_WEEKS_BEFORE = 13


def fill(settings: Settings, *, password: str, webhook_url: str, report: Report) -> str:
    """Fill an empty database with a month that ends now, and return an API key of the main company.

    Args:
        settings: with one connection, and a long time limit for statements.
        password: of all accounts.
        webhook_url: of the webhook that works.
        report: called with lines about the progress; it may raise to end the filling.
    """
    now = datetime.now(UTC)
    clock = DatabaseClock(now - timedelta(days=365))
    runtime = Runtime.open(settings, clock)
    try:
        plan = plan_month(now, runtime.passwords.hash(password))
        company_id = next(promo.company_id for promo in plan.promos if promo.shop is MAIN)
        promo_ids = [promo.id for promo in plan.promos if promo.shop is MAIN]
        keys = [runtime.api_keys.generate() for _ in range(2)]
        redemptions = [*plan_redemptions(plan)]
        plan.steps += plan_keys(plan, company_id, keys)
        plan.steps += plan_reported_comments(plan, promo_ids[:2])
        webhooks = []
        for step, webhook in plan_webhooks(plan, company_id, webhook_url):
            plan.steps.append(step)
            webhooks.append(webhook)
        _Filling(runtime, clock, plan, redemptions, webhooks).run(report)
    finally:
        runtime.close()
    return keys[0].text


class _Filling:
    def __init__(
        self,
        runtime: Runtime,
        clock: DatabaseClock,
        plan: Plan,
        redemptions: Sequence[RedemptionStep],
        webhooks: Sequence[PlannedWebhook],
    ) -> None:
        self._runtime, self._database, self._clock = runtime, runtime.database, clock
        self._plan, self._webhooks = plan, webhooks
        self._steps = _Timeline(plan.steps)
        self._uses = _Timeline([use for promo in plan.promos for use in promo.uses])
        self._redemptions = _Timeline(redemptions)
        self._delivered_promos = {promo.id for promo in plan.promos if promo.shop is MAIN}

    def run(self, report: Report) -> None:
        with self._clock.in_database(self._database):
            with self._database.autocommit() as connection:
                connection.exec_driver_sql("SET synchronous_commit = off")
                create_functions(connection)
            written = 0
            report(f"{len(self._plan.people):,} users sign up ...")
            for begin, end in pairwise(self._boundaries()):
                written += self._write(begin, end)
                self._deliver(end)
                report(f"{begin:%d %B}, {written:,} of {len(self._uses):,} activations")
        with self._database.autocommit() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")

    def _boundaries(self) -> list[datetime]:
        """Return times between which no promo is changed and the business day stays the same."""
        first = datetime.combine(self._plan.first.astimezone(BUSINESS_CALENDAR), time.min, BUSINESS_CALENDAR)
        windows = int((self._plan.now - first) / _WINDOW) + 1
        grid = {first + _WINDOW * window for window in range(windows)}
        # Before, only accounts sign up.
        weeks = {first - timedelta(weeks=week) for week in range(_WEEKS_BEFORE)}
        changes = {step.at for step in self._plan.steps if isinstance(step, ChangePromo)}
        # So that the latest deliveries of webhooks follow their events at once.
        latest = {
            step.at + _DELIVERED
            for step in self._steps.between(self._plan.at(-2), self._plan.at(-0.01))
            if isinstance(step, Comment) and step.promo_id in self._delivered_promos
        }
        return sorted({self._steps.first, *weeks, *grid, *changes, *latest, self._plan.now})

    def _write(self, begin: datetime, end: datetime) -> int:
        """Write what happens in this time, and return the number of activations."""
        steps, uses = self._steps.between(begin, end), self._uses.between(begin, end)
        redemptions = self._redemptions.between(begin, end)
        with self._database.transaction() as connection:
            self._run_steps(connection, [step for step in steps if isinstance(step, _BEFORE_USES)])
            self._clock.set(connection, begin)
            _check(claim_uses(connection, uses, self._runtime.today()) == len(uses), "an activation")
            _check(redeem(connection, redemptions) == len(redemptions), "a redemption")
            self._run_steps(connection, [step for step in steps if not isinstance(step, _BEFORE_USES)])
            self._clock.set(connection, end)
            insert_end_events(connection, self._runtime.today(), limit=_ENDS)
            for company_id in list_waiting_companies(connection, after=_FIRST_ID, limit=_ENDS):
                while len(update_event_numbers(connection, company_id)) == PUBLISHED_MAX:
                    pass
        return len(uses)

    def _run_steps(self, connection: Any, steps: Sequence[Step]) -> None:
        for step in steps:
            self._clock.set(connection, step.at)
            _check(step.run(self._runtime, connection), step)

    def _deliver(self, now: datetime) -> None:
        for webhook in self._webhooks:
            ids = webhook.company_id, webhook.id
            with self._database.transaction() as connection:
                batch = claim_deliveries(connection, *ids, limit=_DELIVERIES, lease=_LEASE)
            if batch is not None:
                works = now < webhook.works_until
                outcome = Outcome(status=204) if works else Outcome(error="name_not_found")
                store_results(self._database, batch, {each.event_id: outcome for each in batch.deliveries}, [])


class _Timeline:
    """Steps in the order of their times."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self._steps = sorted(steps, key=attrgetter("at"))
        self.first = self._steps[0].at

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._steps)

    def between(self, begin: datetime, end: datetime) -> list[Any]:
        """Return the steps from `begin` until before `end`."""
        first, last = (bisect_left(self._steps, at, key=attrgetter("at")) for at in (begin, end))
        return self._steps[first:last]


def _check(is_done: object, what: object) -> None:
    if not is_done:
        raise RuntimeError(f"The demo data contradicts the rules of the service: {what}.")
