"""Settings for tests: the required ones, and the changes of a test."""

import pytest

from promo_api.config.settings import Settings, SettingsError

SECRET = "a key that must never appear in any text"
REQUIRED = {"ANTIFRAUD_ADDRESS": "antifraud:9090", "SECRET_KEY": SECRET}


def read(**changes: str) -> Settings:
    """Return the required settings with changes."""
    return Settings.from_environment(REQUIRED | changes)


def problem_of(**changes: str) -> str:
    """Return the only problem of these settings."""
    with pytest.raises(SettingsError) as caught:
        read(**changes)
    (problem,) = caught.value.problems
    return problem
