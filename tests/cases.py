"""Many cases of one rule in a single test."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest


def all_cases(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[..., Any]:
    """Run a test for every case, as `pytest.mark.parametrize` does, but as one test that reports all failures.

    Args:
        names: of the test's arguments, as for `parametrize`.
        cases: a value for each case, or a tuple of values if there are several names.
    """
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    rows = [_values(case, len(arguments)) for case in cases]
    assert rows, "there are no cases"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            errors = [error for row in rows if (error := _run(test, fixtures, dict(zip(arguments, row, strict=True))))]
            if errors:
                raise ExceptionGroup(f"{len(errors)} of {len(rows)} cases failed", errors)

        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        run.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return run

    return decorate


def _values(case: Any, number: int) -> tuple[Any, ...]:
    if isinstance(case, type(pytest.param())):
        return tuple(case.values)
    return (case,) if number == 1 else tuple(case)


def _run(test: Callable[..., None], fixtures: dict[str, Any], case: dict[str, Any]) -> Exception | None:
    try:
        test(**fixtures, **case)
    except Exception as error:  # noqa: BLE001 the test fails with all errors
        error.add_note(f"case: {case!r}"[:500])
        return error
    return None
