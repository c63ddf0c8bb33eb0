"""Statistics over time: what happened with the promos of a company in each hour, day, week or month."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from handlers import Body
from handlers.promo_owners import check_owner
from handlers.replica_reads import reads_replica
from handlers.streamed_rows import stream_rows
from persistence.accounts.companies import Company
from persistence.activity import Activity, Countries, list_activity
from persistence.promos.promos import find_promo_owner
from promo_api.code_jobs.rows import CSV
from promo_api.contract.streams import StreamedResponse
from promo_api.errors import InvalidInput
from promo_api.runtime import Runtime
from promo_api.specification import MAX_BUCKETS
from promo_api.time_buckets import DEFAULT_PERIOD, find_time_zone, list_boundaries

_MEASURES = tuple(Activity.__dataclass_fields__)


@dataclass(frozen=True)
class _Series:
    """The buckets that a request asks for; the last boundary is their end."""

    bucket: str
    time_zone: str
    first: date
    end: date
    by: str | None
    boundaries: list[datetime]


@reads_replica
def get_promo_series(
    runtime: Runtime, company: Company, *, id: UUID, media_type: str, connection: Any, **query: Any
) -> Body | StreamedResponse:
    """Return the statistics of a promo over time."""
    series = _read(runtime, **query)
    check_owner(find_promo_owner(connection, id), company)
    activity = list_activity(connection, series.boundaries, promo_id=id, by_country=series.by is not None)
    return _respond(series, activity, media_type)


@reads_replica
def get_company_series(
    runtime: Runtime, company: Company, *, media_type: str, connection: Any, **query: Any
) -> Body | StreamedResponse:
    """Return the statistics of all promos of the company over time."""
    series = _read(runtime, **query)
    activity = list_activity(connection, series.boundaries, company_id=company.id, by_country=series.by is not None)
    return _respond(series, activity, media_type)


def _read(
    runtime: Runtime,
    *,
    bucket: str,
    time_zone: str,
    from_: str | None = None,
    to: str | None = None,
    by: str | None = None,
) -> _Series:
    zone = find_time_zone(time_zone)
    if zone is None:
        raise InvalidInput.query("/time_zone", "is not the name of a time zone of IANA", code="unknown_time_zone")
    end = date.fromisoformat(to) if to else runtime.clock().astimezone(zone).date() + timedelta(days=1)
    first = date.fromisoformat(from_) if from_ else end - DEFAULT_PERIOD
    if first >= end:
        raise InvalidInput.query("/to", "must be after `from`")
    boundaries = list_boundaries(bucket, first, end, zone, maximum=MAX_BUCKETS)
    if boundaries is None:
        message = f"must be at most {MAX_BUCKETS} buckets after `from`; use a larger bucket or a shorter period"
        raise InvalidInput.query("/to", message, code="too_many_buckets")
    return _Series(bucket, time_zone, first, end, by, boundaries)


def _respond(series: _Series, activity: list[Countries], media_type: str) -> Body | StreamedResponse:
    buckets = list(zip(series.boundaries, activity, strict=False))
    if media_type == CSV:
        by_country = series.by is not None
        columns = ("start", *(("country",) if by_country else ()), *_MEASURES)
        rows = (_list_rows(start, countries) for start, countries in buckets)
        return stream_rows(media_type, columns, rows, dict)
    return {
        "bucket": series.bucket,
        "time_zone": series.time_zone,
        "from": series.first,
        "to": series.end,
        "buckets": [_serialize(start, countries, series.by) for start, countries in buckets],
    }


def _serialize(start: datetime, countries: Countries, by: str | None) -> Body:
    total = sum(countries.values(), Activity())
    entries = [{"country": name, **vars(countries[name])} for name in _active(countries) if name]
    return {"start": start, **vars(total), **({"countries": entries} if by else {})}


def _list_rows(start: datetime, countries: Countries) -> Iterator[Body]:
    """Yield a row for each country with activity, or else one with zeros."""
    for name in _active(countries) or [""]:
        yield {"start": start, "country": name, **vars(countries.get(name, Activity()))}


def _active(countries: Countries) -> list[str]:
    return sorted(name for name, activity in countries.items() if activity != Activity())
