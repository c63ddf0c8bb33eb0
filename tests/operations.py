"""The operations of api.yml, for tests that cover all of them."""

from typing import Any, NamedTuple

from tests.specification import specification


class Operation(NamedTuple):
    """An operation of api.yml.

    Attributes:
        id: the operationId.
        method: in capitals.
        path: without `/api`, with parameters in braces.
        account: the kind of account that may call it, `company` or `user`; "" if it needs none.
        key_scope: the scope that an API key needs; "" if no key may call it.
        declared: as in the file; references are not resolved.
    """

    id: str
    method: str
    path: str
    account: str
    key_scope: str
    declared: dict[str, Any]

    @property
    def takes_body(self) -> bool:
        """Whether it has a request body."""
        return "requestBody" in self.declared


def _operation(path: str, method: str, declared: dict[str, Any]) -> Operation:
    names = [name for requirement in declared["security"] for name in requirement]
    account = "".join(name.removesuffix("Auth") for name in names if name != "companyKey")
    key_scope = declared["x-key-scope"] if "companyKey" in names else ""
    return Operation(declared["operationId"], method.upper(), path, account, key_scope, declared)


def allowed_methods(path: str) -> set[str]:
    """Return the methods of a path of api.yml, and HEAD where GET is."""
    methods = {operation.method for operation in OPERATIONS if operation.path == path}
    return methods | {"HEAD"} if "GET" in methods else methods


OPERATIONS = [
    _operation(path, method, declared)
    for path, methods in specification()["paths"].items()
    for method, declared in methods.items()
]
