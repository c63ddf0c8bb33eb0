"""Does an answer keep the contract? Asked of every answer that a test gets."""

from typing import Any

from connexion.spec import Specification

from promo_api.app import SPECIFICATION
from promo_api.contract.schemas import compile_schema
from promo_api.contract.security_headers import SECURITY_HEADERS
from tests.specification import specification

_ERROR = {"status": "error"}


class Conformance:
    """The contract, as a judge of answers."""

    def __init__(self) -> None:
        self._paths = Specification.load(SPECIFICATION)["paths"]
        self._checkers: dict[int, Any] = {}
        self.seen: set[tuple[str, int]] = set()

    def check(self, method: str, path: str, answer: Any) -> None:
        """Assert that an answer is one that api.yml describes; `path` is the one that was asked, without /api."""
        assert answer.headers["x-request-id"]
        assert all(answer.headers[name.decode()] == value.decode() for name, value in SECURITY_HEADERS)
        operation = self._operation(path)
        if operation is None or method.lower() not in operation:
            assert answer.status_code in (404, 405), answer.status_code
            assert answer.json() | _ERROR == answer.json()
            return
        declared = operation[method.lower()]
        assert str(answer.status_code) in declared["responses"], f"{declared['operationId']}: {answer.status_code}"
        self.seen.add((declared["operationId"], answer.status_code))
        response = declared["responses"][str(answer.status_code)]
        assert answer.headers["content-type"] == "application/json"
        self._check(response["content"]["application/json"]["schema"], answer.json())
        for name, header in response.get("headers", {}).items():
            assert name in answer.headers or not header.get("required"), f"{name} is missing"
            if name not in answer.headers:
                continue
            text = answer.headers[name]
            self._check(header["schema"], int(text) if header["schema"]["type"] == "integer" else text)

    def _operation(self, path: str) -> Any:
        given = path.partition("?")[0].split("/")
        for template, operations in self._paths.items():
            declared = template.split("/")
            if len(declared) == len(given) and all(
                ours == theirs or (ours.startswith("{") and theirs)
                for ours, theirs in zip(declared, given, strict=True)
            ):
                return operations
        return None

    def _check(self, schema: Any, value: Any) -> None:
        checker = self._checkers.setdefault(id(schema), compile_schema(schema))
        assert checker.violations(value, "body") == []


def operations() -> dict[str, dict[str, Any]]:
    """Return the operations of api.yml by operationId, references not resolved."""
    paths = specification()["paths"]
    return {operation["operationId"]: operation for methods in paths.values() for operation in methods.values()}
