"""The operations of a specification."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from connexion.http_facts import METHODS
from starlette.types import Scope

_OPERATION_ID = "contract.operation_id"


class Operation(NamedTuple):
    """An operation.

    Attributes:
        path: without the base path.
        schemes: the alternative security schemes; empty if no account is needed.
        key_scope: the scope that an API key needs; None if no key may call the operation.
    """

    id: str
    method: str
    path: str
    parameters: list[Mapping[str, Any]]
    request_body: Mapping[str, Any] | None
    schemes: tuple[str, ...]
    key_scope: str | None
    responses: Mapping[str, Any]


def operations_of(specification: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations; ValueError if one needs several security schemes at once."""
    for path, item in specification["paths"].items():
        for method in [name for name in item if name in METHODS]:
            declared = item[method]
            yield Operation(
                id=declared["operationId"],
                method=method.upper(),
                path=path,
                parameters=[*item.get("parameters", ()), *declared.get("parameters", ())],
                request_body=declared.get("requestBody"),
                schemes=find_schemes(
                    declared.get("security", specification.get("security", ())), declared["operationId"]
                ),
                key_scope=declared.get("x-key-scope"),
                responses=declared["responses"],
            )


def find_schemes(requirements: Sequence[Mapping[str, Any]], operation_id: str) -> tuple[str, ...]:
    """Return the alternative security schemes of an operation; empty: no account is needed."""
    if any(len(requirement) != 1 for requirement in requirements):
        raise ValueError(f"{operation_id} must not need several security schemes at once, nor make one optional")
    return tuple(name for requirement in requirements for name in requirement)


def set_operation_id(scope: Scope, operation_id: str) -> None:
    """Store the operationId."""
    scope.setdefault("extensions", {})[_OPERATION_ID] = operation_id


def find_operation_id(scope: Scope) -> str:
    """Return the operationId; "" if the request was not routed."""
    operation_id: str = scope.get("extensions", {}).get(_OPERATION_ID, "")
    return operation_id


def operation_id_of(scope: Scope) -> str:
    """Return the operationId of a routed request."""
    operation_id: str = scope["extensions"][_OPERATION_ID]
    return operation_id
