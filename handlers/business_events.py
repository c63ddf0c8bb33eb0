"""The events of a company."""

from handlers import Body
from handlers.pages import PageRequest, paged, serialize_page
from handlers.serializers import serialize_company_event
from persistence.accounts.companies import Company
from persistence.events import list_events as list_company_events
from persistence.pages import Page
from promo_api.runtime import Runtime


@paged
def list_events(runtime: Runtime, company: Company, *, page: PageRequest, type: list[str] | None = None) -> Page[Body]:
    """List the events, the oldest first."""
    with runtime.database.autocommit() as connection:
        events = list_company_events(connection, company.id, types=type, limit=page.limit, after=page.after)
    if events.entries:
        # A replica must not be behind the events.
        runtime.replicas.record_write(company.id)
    return serialize_page(events, serialize_company_event)
