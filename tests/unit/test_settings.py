"""Settings: defaults, bounds, all problems at once, and secrets that are not shown."""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from promo_api.config.settings import Settings, SettingsError, deprecated_names, variable
from tests.cases import all_cases
from tests.unit.required_settings import REQUIRED, SECRET, problem_of, read

NUMBERS = [declared for declared in fields(Settings) if declared.type in (int, float)]
TEXTS = [declared for declared in fields(Settings) if declared.type is str]


def _name(value: object) -> str | None:
    return value.name if isinstance(value, Field) else None


def _value(declared: Field[Any], text: str) -> Any:
    return getattr(read(**{variable(declared): text}), declared.name)


def test_defaults() -> None:
    """Each setting is required or has a default, which is within its bounds."""
    settings = read()
    for declared in fields(Settings):
        value = getattr(settings, declared.name)
        assert value == (REQUIRED.get(variable(declared)) if declared.default is MISSING else declared.default) or (
            declared.name == "antifraud_address"
        )
        measured = len(value) if isinstance(value, str) else value
        assert declared.metadata["low"] is None or declared.metadata["low"] <= measured
        assert declared.metadata["high"] is None or measured <= declared.metadata["high"]


def test_required_settings() -> None:
    """Two settings are required, and both are reported at once, with their meaning."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({})
    first, second = caught.value.problems
    assert first.startswith("ANTIFRAUD_ADDRESS is not set: the anti-fraud service")
    assert second.startswith("SECRET_KEY is not set: key that signs tokens and cursors; of several")


@all_cases("declared", fields(Settings))
def test_settings_are_described(declared: Field[Any]) -> None:
    """A setting has a description, and a number has both bounds and its unit in its name."""
    assert declared.metadata["sentence"]
    assert not declared.metadata["sentence"].endswith(".")
    if declared.type in (int, float):
        assert declared.metadata["low"] < declared.metadata["high"]
    if declared.metadata["unit"]:
        assert declared.name.endswith("_" + declared.metadata["unit"].lower())


@all_cases("bound", ["low", "high"])
@all_cases("declared", NUMBERS)
def test_bounds_of_numbers(declared: Field[Any], bound: str) -> None:
    """A number at its bound is accepted; beyond it the problem names the bound, the value and the meaning."""
    limit = declared.metadata[bound]
    step = (1 if declared.type is int else 0.001) * (-1 if bound == "low" else 1)
    assert _value(declared, str(limit)) == limit
    beyond = f"{limit + step:.3f}" if declared.type is float else str(limit + step)
    words = f"must be at {'least' if bound == 'low' else 'most'} {limit}"
    assert problem_of(**{variable(declared): beyond}) == (
        f"{variable(declared)} {words} (it is {beyond!r}): {declared.metadata['sentence']}."
    )


@all_cases("declared", NUMBERS)
@all_cases(
    "text", ["x", " 5", "5 ", "+5", "5_0", "0x5", "1e1", "\u0665", "5\n", "nan", "inf", "--5", "9" * 19, "5,0", "."]
)
def test_invalid_numbers(declared: Field[Any], text: str) -> None:
    """A value that is not a number in plain digits is a problem."""
    noun = "a whole number" if declared.type is int else "a number"
    assert f" must be {noun} (it is " in problem_of(**{variable(declared): text})


@all_cases("declared", NUMBERS)
def test_fractions(declared: Field[Any]) -> None:
    """Seconds may have fractions, counts may not."""
    if declared.type is int:
        assert "must be a whole number" in problem_of(**{variable(declared): "1.5"})
    else:
        assert _value(declared, "1.5") == 1.5


@pytest.mark.parametrize("declared", [text for text in TEXTS if text.metadata["low"]], ids=_name)
def test_bounds_of_texts(declared: Field[Any]) -> None:
    """A text of the minimum length is accepted; a shorter one is a problem, or counts as unset."""
    low = declared.metadata["low"]
    assert _value(declared, "x" * low) == "x" * low
    if low > 1:
        assert f"must be at least {low} characters long" in problem_of(**{variable(declared): "x" * (low - 1)})


def test_length_is_counted_in_characters() -> None:
    """A key of 32 letters of any script is long enough."""
    assert read(SECRET_KEY="я" * 32).secret_key == "я" * 32


@all_cases("declared", fields(Settings))
def test_empty_values_count_as_unset(declared: Field[Any]) -> None:
    """An empty value counts as unset."""
    if declared.default is MISSING:
        assert "is not set" in problem_of(**{variable(declared): ""})
    else:
        assert _value(declared, "") == declared.default


def test_key_in_a_file(tmp_path: Path) -> None:
    """The key can be in a file, with a line end; SECRET_KEY takes precedence."""
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    assert read(SECRET_KEY="", SECRET_KEY_FILE=str(file)).secret_key == SECRET
    assert read(SECRET_KEY="x" * 32, SECRET_KEY_FILE=str(file)).secret_key == "x" * 32


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "SECRET_KEY can't be read from {file}, no such file or directory"),
        (b"hunter2\n", "SECRET_KEY must be at least 32 characters long; so must each of several keys"),
        (b"hunter2\xff" * 32, "SECRET_KEY can't be read from {file}, which is not UTF-8"),
        (b"\n", "SECRET_KEY is not set"),
    ],
    ids=["no file", "too short", "not UTF-8", "empty"],
)
def test_invalid_key_file(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A file without a valid key is a problem, and its content is not shown."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    assert problem_of(SECRET_KEY="", SECRET_KEY_FILE=str(file)) == (
        f"{problem.format(file=file)}: key that signs tokens and cursors; of several, separated by commas, the first "
        "signs and all verify."
    )


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "REDIS_PASSWORD"])
def test_password_in_a_file(tmp_path: Path, name: str) -> None:
    """A password can be in a file; the setting itself takes precedence, and an empty file means no password."""
    file = tmp_path / "password"
    file.write_text("from-the-file\n")
    assert getattr(read(**{f"{name}_FILE": str(file)}), name.lower()) == "from-the-file"
    assert getattr(read(**{f"{name}_FILE": str(file), name: "given"}), name.lower()) == "given"
    file.write_text("")
    assert getattr(read(**{f"{name}_FILE": str(file)}), name.lower()) == ""
    assert problem_of(**{f"{name}_FILE": str(tmp_path / "none")}).startswith(f"{name} can't be read from ")


def test_redis_password() -> None:
    """The password of Redis belongs to REDIS_HOST; REDIS_URL has its own."""
    assert read().redis.password is None
    assert read(REDIS_PASSWORD="p@ss").redis.password == "p@ss"
    assert read(REDIS_PASSWORD="p@ss", REDIS_URL="redis://:other@cache").redis.password == "other"


def test_keys(tmp_path: Path) -> None:
    """Several keys are separated by commas, in the file also by lines; surrounding spaces are ignored."""
    new, old = "new one " * 4 + "!", "old one " * 4 + "!"
    assert read().secret_keys == (SECRET,)
    assert read(SECRET_KEY=f" {new}").secret_keys == (new,)
    assert read(SECRET_KEY=f"{new},{old}").secret_keys == (new, old)
    file = tmp_path / "keys"
    file.write_text(f"{new},\n{old}\n")
    assert read(SECRET_KEY="", SECRET_KEY_FILE=str(file)).secret_keys == (new, old)


@pytest.mark.parametrize("keys", ["{0},", ",{0}", "{0},,{0}", "{0},hunter2", "hunter2,{0}", "{0}," + " " * 40, ","])
def test_invalid_keys(keys: str) -> None:
    """Each of several keys must have the minimum length, so an extra comma is a problem; no key is shown."""
    problem = problem_of(SECRET_KEY=keys.format(SECRET))
    assert problem.startswith("SECRET_KEY must be at least 32 characters long; so must each of several keys: ")
    assert SECRET not in problem
    assert "hunter2" not in problem


def test_all_problems_at_once() -> None:
    """All problems are reported in the order of the settings, also in the exception's text."""
    changes = {variable(declared): "wrong" for declared in NUMBERS} | {"SECRET_KEY": "short", "SERVER_ADDRESS": "x"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(changes)
    named = [problem.partition(" ")[0] for problem in caught.value.problems]
    order = [variable(declared) for declared in fields(Settings)]
    assert named == [name for name in order if name in {*changes, "ANTIFRAUD_ADDRESS"}]
    assert str(caught.value).splitlines() == caught.value.problems


def test_other_variables_are_ignored() -> None:
    """Other variables are ignored, also names in lower case."""
    assert read(PATH="/bin", postgres_port="wrong", NOSUCH="x") == read()


def test_secrets_are_not_shown() -> None:
    """Neither the text of the settings nor a problem contains a secret, valid or invalid."""
    assert SECRET not in repr(read())
    assert "hunter2" not in repr(read(POSTGRES_PASSWORD="hunter2"))
    assert "hunter2" not in problem_of(SECRET_KEY="hunter2")
    assert [declared.name for declared in fields(Settings) if not declared.repr] == [
        "postgres_password",
        "redis_url",
        "redis_password",
        "antifraud_address",
        "smtp_url",
        "secret_key",
    ]


def test_settings_do_not_change() -> None:
    """Settings cannot be changed."""
    with pytest.raises(AttributeError):
        read().server_workers = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({}, 24),
        ({"SERVER_THREADS": "3"}, 19),
        ({"SERVER_THREADS": "3", "ANTIFRAUD_THREADS": "2"}, 5),
        ({"POSTGRES_POOL_SIZE": "5"}, 5),
        ({"POSTGRES_POOL_SIZE": "0"}, 24),
    ],
)
def test_pool_size(environment: dict[str, str], size: int) -> None:
    """The pool has a connection for each thread, unless POSTGRES_POOL_SIZE is set."""
    assert read(**environment).pool_size == size


def test_deprecated_names_are_read() -> None:
    """A renamed setting is still read by its old name, and the new name wins."""
    assert read(CHECK_ANSWERS="true").validate_responses
    assert read(ANTIFRAUD_TURN_TIMEOUT_S="7").antifraud_lease_timeout_s == 7
    assert not read(CHECK_ANSWERS="true", VALIDATE_RESPONSES="false").validate_responses


def test_deprecated_names_are_reported() -> None:
    """Each old name in the environment is reported with the new one; empty ones and new names are not."""
    assert deprecated_names(
        {"CHECK_ANSWERS": "true", "ANTIFRAUD_TURN_TIMEOUT_S": "", "VALIDATE_RESPONSES": "true"}
    ) == {"CHECK_ANSWERS": "VALIDATE_RESPONSES"}
