"""api.yml as data."""

from functools import cache
from typing import Any

from promo_api import SPECIFICATION
from promo_api.contract.document import read_document


@cache
def specification() -> Any:
    """Return api.yml. All callers share the object: do not change it."""
    return read_document(SPECIFICATION)
