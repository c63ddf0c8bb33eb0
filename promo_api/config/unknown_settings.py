"""Variables that look like misspelt settings.

Other programs share the environment, so only a name that is very similar to an unset setting counts there. In `.env`, a
less similar name counts too, and so does a name with the first word of a setting, such as LOG_LEVEL.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches

from promo_api.config.settings import Settings, known_names, variable

_SIMILAR, _VERY_SIMILAR = 0.75, 0.87
_SETTINGS = [variable(declared) for declared in fields(Settings)]
_FIRST_WORDS = {name.partition("_")[0] for name in _SETTINGS}


def find_unknown_settings(environment: Mapping[str, str], names_in_file: Iterable[str]) -> dict[str, str]:
    """Return the names, each with the most similar setting; "": no setting is similar.

    Args:
        environment: all variables, including those of `.env`.
        names_in_file: names in `.env`.
    """
    return _in_environment(environment) | _in_file(names_in_file)


def describe_unknown_setting(name: str, similar: str) -> str:
    """Return a sentence about a name."""
    return f"{name} is not a setting." + (f" Did you mean {similar}?" if similar else "")


def _in_environment(environment: Mapping[str, str]) -> dict[str, str]:
    found = {name: _most_similar(name, _VERY_SIMILAR) for name in sorted(environment.keys() - known_names())}
    return {name: similar for name, similar in found.items() if similar and not environment.get(similar)}


def _in_file(names: Iterable[str]) -> dict[str, str]:
    found = {name: _most_similar(name, _SIMILAR) for name in sorted(set(names) - known_names())}
    return {name: similar for name, similar in found.items() if similar or name.partition("_")[0] in _FIRST_WORDS}


def _most_similar(name: str, cutoff: float) -> str:
    return next(iter(get_close_matches(name.upper(), _SETTINGS, n=1, cutoff=cutoff)), "")
