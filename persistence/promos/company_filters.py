"""The promos that match the filters of a company's list, as a query that other statements can include."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, Uuid, bindparam, cast, func, not_, select

from persistence.conditions import promo_state, read_uses_left
from persistence.schema.tables import TARGET_KEY, promos
from persistence.search import is_found, search_query, without_index
from promo_api.folding import fold

ORDER_COLUMNS = (promos.c.id, promos.c.created_at, promos.c.active_from, promos.c.active_until)
COMPANY_ID = bindparam("company", type_=Uuid)
# The countries of a filter, and '' for promos for all countries.
COUNTRY_KEYS = bindparam("country_keys", type_=ARRAY(Text))
_ARCHIVED = "archived"
_STATE = promo_state(read_uses_left(promos.c.id))
ONE_OF_COUNTRIES = func.any(cast(COUNTRY_KEYS, ARRAY(Text)))
_ONE_OF_STATES = func.any(cast(bindparam("states"), ARRAY(Text)))
# By whether archived promos, and whether others match: each has its own indexes.
_SCOPES: dict[tuple[bool, bool], list[ColumnElement[bool]]] = {
    (False, True): [not_(promos.c.archived)],
    (True, False): [promos.c.archived],
    (True, True): [],
}


class CompanyFilters(NamedTuple):
    """The filters of a company's list; None: not filtered."""

    countries: Sequence[str] | None = None
    states: Sequence[str] | None = None
    mode: str | None = None
    search: str | None = None

    @property
    def have_counts(self) -> bool:
        """Whether company_promo_counts has the total."""
        return self.states is None and self.mode is None and self.search is None

    def kind(self) -> "FilterKind":
        """Return what the statement depends on."""
        states = set(self.states or ())
        return FilterKind(
            by_country=self.countries is not None,
            by_mode=self.mode is not None,
            by_search=self.search is not None,
            by_state=bool(states - {_ARCHIVED}),
            has_archived=_ARCHIVED in states,
        )

    def values(self, company_id: UUID) -> dict[str, Any]:
        """Return the parameters of the statement."""
        return {
            "company": company_id,
            "country_keys": sorted({"", *map(fold, self.countries or ())}),
            "states": list(self.states or ()),
            "promo_mode": self.mode,
            "search": None if self.search is None else search_query(self.search, company_id),
        }


class FilterKind(NamedTuple):
    """The filters that a statement has."""

    by_country: bool
    by_mode: bool
    by_search: bool
    by_state: bool
    has_archived: bool


def select_matching(kind: FilterKind) -> Select[Any]:
    """Select the promos of a company that match, without an order.

    A search reads the promos with its words, and the other filters use no index. Otherwise all promos of the company
    are read, or those for the countries.
    """
    filters = [promos.c.company_id == COMPANY_ID, *_SCOPES[kind.has_archived, kind.by_state or not kind.has_archived]]
    if kind.by_country:
        filters.append(TARGET_KEY == ONE_OF_COUNTRIES)
    if kind.by_mode:
        filters.append(promos.c.mode == bindparam("promo_mode", type_=Text))
    if kind.by_state:
        filters.append(_STATE == _ONE_OF_STATES)
    if kind.by_search:
        filters = [is_found(), *map(without_index, filters)]
    return select(*ORDER_COLUMNS).where(*filters)
