"""The operations of a specification."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from connexion.http_facts import METHODS
from starlette.types import Scope

_OPERATION_ID = "contract.operation_id"


class Operation(NamedTuple):
    """An operation. `path` lacks the base path; `scheme` is None if no token is needed."""

    id: str
    method: str
    path: str
    parameters: list[Mapping[str, Any]]
    request_body: Mapping[str, Any] | None
    scheme: str | None
    responses: Mapping[str, Any]


def operations_of(specification: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations; ValueError if one has more than one security scheme."""
    for path, item in specification["paths"].items():
        for method in [name for name in item if name in METHODS]:
            declared = item[method]
            yield Operation(
                id=declared["operationId"],
                method=method.upper(),
                path=path,
                parameters=[*item.get("parameters", ()), *declared.get("parameters", ())],
                request_body=declared.get("requestBody"),
                scheme=find_scheme(
                    declared.get("security", specification.get("security", ())), declared["operationId"]
                ),
                responses=declared["responses"],
            )


def find_scheme(requirements: Sequence[Mapping[str, Any]], operation_id: str) -> str | None:
    """Return the security scheme of an operation; None: no token is needed."""
    names = [name for requirement in requirements for name in requirement]
    if not requirements:
        return None
    if len(requirements) != 1 or len(names) != 1:
        raise ValueError(f"{operation_id} must have one security scheme, or none")
    return names[0]


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
