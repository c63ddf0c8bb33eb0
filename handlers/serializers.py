"""Conversion of rows to the JSON objects of api.yml, without null."""

from typing import Any

from orjson import Fragment

from handlers import Body
from persistence.accounts.api_keys import ApiKey
from persistence.accounts.exports import OwnEvent
from persistence.accounts.own_activations import OwnActivation
from persistence.accounts.users import User
from persistence.comments import Comment
from persistence.events import Event
from persistence.feeds.user_promos import PromoForUser
from persistence.jobs import Job
from persistence.promos.changes import PromoChange
from persistence.promos.codes import Code
from persistence.promos.promos import Promo
from persistence.redemptions import Redemption
from persistence.webhooks.redeliveries import Delivery
from persistence.webhooks.webhooks import Webhook
from promo_api.specification import MAX_PERCENT, PROMO_MEMBERS

# The author of a comment whose account was deleted.
_DELETED_AUTHOR = {"name": "Deleted", "surname": "user"}


def serialize_promo(promo: Promo, company_name: str, code_list: bytes | None) -> Body:
    """Return a PromoReadOnly. `code_list` is a JSON array of codes."""
    target = {
        "age_from": promo.age_from,
        "age_until": promo.age_until,
        "country": promo.country,
        "categories": promo.categories,
    }
    return _without_none(
        {
            "promo_id": promo.id,
            "company_id": promo.company_id,
            "company_name": company_name,
            "mode": promo.mode,
            "description": promo.description,
            "image_url": promo.image_url,
            "target": _without_none(target),
            "max_count": promo.max_count,
            "active_from": promo.active_from,
            "active_until": promo.active_until,
            "promo_common": promo.promo_common,
            "promo_unique": code_list and Fragment(code_list),
            "codes_count": promo.codes_count,
            "like_count": promo.like_count,
            "used_count": promo.used_count,
            "active": promo.active,
            "state": promo.state,
            "paused": promo.paused or None,
            "archived": promo.archived or None,
            "max_per_user": promo.max_per_user,
            "comments_enabled": None if promo.comments_enabled else False,
            "low_stock_percent": promo.low_stock_percent,
            "activation_events": promo.activation_events or None,
        }
    )


def find_changed_members(before: Promo, after: Promo) -> Body:
    """Return the old (`from`) and new (`to`) value of each member that differs."""
    old, new = (serialize_promo(promo, "", None) for promo in (before, after))
    return {
        name: _without_none({"from": old.get(name), "to": new.get(name)})
        for name in PROMO_MEMBERS
        if old.get(name) != new.get(name)
    }


def serialize_change(change: PromoChange) -> Body:
    """Return a PromoChange."""
    return _without_none(vars(change))


def serialize_code(code: Code) -> Body:
    """Return a CodeEntry."""
    return _without_none(
        {
            "code": code.value,
            "position": code.position,
            "state": code.state,
            "issued_at": code.issued_at,
            "country": code.country,
        }
    )


def serialize_redemption(redemption: Redemption) -> Body:
    """Return a Redemption."""
    return _without_none(vars(redemption))


def serialize_job(job: Job) -> Body:
    """Return a Job."""
    names = ("id", "kind", "promo_id", "state", "failure", "received", "accepted", "duplicates", "rejected")
    times = ("created_at", "started_at", "finished_at")
    percent = MAX_PERCENT * job.steps_done // job.steps if job.steps else 0
    return _without_none({**{name: getattr(job, name) for name in (*names, *times)}, "percent": percent})


def serialize_company_event(event: Event) -> Body:
    """Return an Event."""
    data = _without_none({"promo_id": event.promo_id, **event.data})
    return {"id": event.id, "type": event.type, "timestamp": event.created_at, "data": data}


def serialize_key(key: ApiKey) -> Body:
    """Return an ApiKey."""
    return _without_none(vars(key))


def serialize_webhook(webhook: Webhook) -> Body:
    """Return a Webhook."""
    return _without_none({**vars(webhook), "event_types": webhook.event_types or None})


def serialize_delivery(delivery: Delivery) -> Body:
    """Return a Delivery."""
    values = vars(delivery)
    return _without_none({"next_attempt_at" if name == "due_at" else name: value for name, value in values.items()})


def serialize_promo_for_user(promo: PromoForUser) -> Body:
    """Return a PromoForUser."""
    return _without_none({**vars(promo), "categories": promo.categories or None})


def serialize_activation(activation: OwnActivation) -> Body:
    """Return an Activation."""
    return {name: value for name, value in vars(activation).items() if name != "country"}


def serialize_exported_activation(activation: OwnActivation) -> Body:
    """Return an ExportedActivation."""
    return {
        "id": activation.id,
        "promo_id": activation.promo_id,
        "promo": activation.code,
        "country": activation.country,
        "date": activation.activated_at,
    }


def serialize_user(user: User) -> Body:
    """Return a User."""
    return _without_none(
        {
            "name": user.name,
            "surname": user.surname,
            "email": user.email,
            "avatar_url": user.avatar_url,
            "other": {"age": user.age, "country": user.country},
        }
    )


def serialize_comment(comment: Comment) -> Body:
    """Return a Comment with its author."""
    author = {"name": comment.name, "surname": comment.surname, "avatar_url": comment.avatar_url}
    return {
        "id": comment.id,
        "text": comment.text,
        "date": comment.created_at,
        "author": _DELETED_AUTHOR if comment.name is None else _without_none(author),
    }


def serialize_moderated_comment(comment: Comment) -> Body:
    """Return a ModeratedComment."""
    return _without_none({**serialize_comment(comment), "reports_count": comment.report_count or None})


def serialize_event(event: OwnEvent) -> Body:
    """Return an ExportedEvent."""
    return _without_none(vars(event))


def _without_none(values: dict[str, Any]) -> Body:
    return {name: value for name, value in values.items() if value is not None}
