"""Reads the values of settings from the environment and from files."""

from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any

from promo_api.config.values import parse_value

_SETTINGS_WITH_FILE = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY", "SMTP_URL")


def read_text(name: str, formerly: str, environment: Mapping[str, str]) -> str:
    """Return the value of a setting as a text, from its variable, its file or its deprecated name; "": it is not set.

    Raises:
        ValueError: the file can't be read. The message follows the setting's name.
    """
    return environment.get(name, "") or _read_file(name, environment) or environment.get(formerly, "")


def _read_file(name: str, environment: Mapping[str, str]) -> str:
    file = environment.get(f"{name}_FILE", "") if name in _SETTINGS_WITH_FILE else ""
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"can't be read from {file}, {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError:
        # No cause: its message contains a part of the file.
        raise ValueError(f"can't be read from {file}, which is not UTF-8") from None


def parse_setting(declared: Field[Any], text: str) -> Any:
    """Return the value of a setting.

    Raises:
        ValueError: the text is invalid or beyond the bounds. The message follows the setting's name.
    """
    value = parse_value(declared.name, declared.type, text)
    low, high = declared.metadata["low"], declared.metadata["high"]
    size = len(value) if isinstance(value, str) else value
    unit = " characters long" if isinstance(value, str) else ""
    if low is not None and size < low:
        raise ValueError(f"must be at least {low}{unit}")
    if high is not None and size > high:
        raise ValueError(f"must be at most {high}{unit}")
    return value
