"""Wrong stored counts in the database of the tests."""

from promo_api.runtime import Runtime
from promo_api.stored_counts import count_mismatches

# A run that takes longer than ten minutes has older events, because no publisher runs beside the tests.
_UNPUBLISHED = "published events"


def find_mismatches(runtime: Runtime) -> dict[str, int]:
    """Return how many rows have a wrong count, by the name of the count; without unpublished events."""
    with runtime.database.autocommit() as connection:
        found = count_mismatches(connection)
    return {name: number for name, number in found.items() if number and name != _UNPUBLISHED}
