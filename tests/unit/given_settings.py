"""Settings that are read from what a test gives, beside the least that must be given."""

import pytest

from promo_api.config.settings import Settings, SettingsError

SECRET = "a key that nobody may ever read anywhere"
LEAST = {"ANTIFRAUD_ADDRESS": "antifraud:9090", "SECRET_KEY": SECRET}


def read(**changes: str) -> Settings:
    """Return the settings."""
    return Settings.from_environment(LEAST | changes)


def problem_of(**changes: str) -> str:
    """Return the one problem that there is with them."""
    with pytest.raises(SettingsError) as caught:
        read(**changes)
    (problem,) = caught.value.problems
    return problem
