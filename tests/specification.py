"""api.yml as data."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from promo_api.app import SPECIFICATION


def load(file: Path) -> Any:
    """Load a YAML file with the fast parser."""
    return yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


@cache
def specification() -> Any:
    """Return api.yml. All callers share the object: do not change it."""
    return load(SPECIFICATION)
