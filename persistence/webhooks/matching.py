"""Which events of a company a webhook receives."""

from typing import Any

from sqlalchemy import ColumnElement, Text, any_, case, func, or_


def is_for(webhook: Any, event: Any) -> ColumnElement[bool]:
    """Return the condition that a webhook receives an event of its company.

    Args:
        webhook: columns of webhooks.
        event: columns of events.
    """
    is_named = event.data["webhook_id"].astext == webhook.id.cast(Text)
    is_selected = or_(func.cardinality(webhook.event_types) == 0, event.type == any_(webhook.event_types))
    return case(
        (event.type == "webhook.test", is_named),
        (event.type == "webhook.disabled", is_selected & ~is_named),
        else_=is_selected,
    )
