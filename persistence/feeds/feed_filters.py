"""The promos that match a search or another filter of a feed that the feed index does not have, as a query."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, Uuid, bindparam, cast, not_, select
from sqlalchemy.dialects.postgresql import array

from persistence.conditions import fits_age, fits_country, is_active, read_uses_left
from persistence.schema.tables import likes, promos
from persistence.search import is_found, search_query, without_index

_IS_ACTIVE = is_active(read_uses_left(promos.c.id))


class FeedFilters(NamedTuple):
    """The filters of a feed; None: not filtered."""

    category: str | None = None
    active: bool | None = None
    company_id: UUID | None = None
    is_liked: bool = False
    search: str | None = None

    def kind(self) -> "FilterKind":
        """Return what the statement depends on."""
        return FilterKind(
            self.category is not None, self.active, self.company_id is not None, self.is_liked, self.search is not None
        )

    def values(self) -> dict[str, Any]:
        """Return the parameters of the statement, except those of the user and of the category."""
        return {"company": self.company_id, "search": None if self.search is None else search_query(self.search)}


class FilterKind(NamedTuple):
    """The filters that a statement has."""

    by_category: bool
    active: bool | None
    by_company: bool
    is_liked: bool
    by_search: bool


def select_matching(kind: FilterKind) -> Select[Any]:
    """Select the promos that match and target the user, without an order.

    One filter selects the promos that are read, with an index: likes, or else the company, or else the search.
    """
    matching = select(promos.c.created_at, promos.c.id.label("promo_id")).select_from(promos)
    filters: list[ColumnElement[bool]] = []
    if kind.is_liked:
        matching = matching.join(likes, likes.c.promo_id == promos.c.id)
        filters.append(likes.c.user_id == bindparam("user", type_=Uuid))
    if kind.by_company:
        filters.append(promos.c.company_id == bindparam("company", type_=Uuid))
    if kind.by_search:
        filters.append(is_found())
    filters += [fits_country(), fits_age()]
    if kind.by_category:
        category = array([bindparam("category", type_=Text)])
        filters.append(promos.c.category_keys.op("@>")(cast(category, ARRAY(Text))))
    if kind.active is not None:
        filters.append(_IS_ACTIVE if kind.active else not_(_IS_ACTIVE))
    # Visible to the planner, because the indexes of a company's promos have this condition.
    is_listed = not_(promos.c.archived)
    return matching.where(filters[0], is_listed, *map(without_index, filters[1:]))
