"""docs/errors.md, made from api.yml; `python -m tests.error_page` updates it."""

from typing import Any

from tests.operations import OPERATIONS, Operation
from tests.pages import ROOT
from tests.specification import specification

PAGE = "docs/errors.md"
_HEAD = """\
# Error codes

`python -m tests.error_page` makes this page from api.yml.

Every error has the same body. `code` is for programs: a code never changes its meaning. `message` is for people: its
wording may change. New versions may add codes, so treat an unknown code like its HTTP status.

```json
{
  "status": "error",
  "code": "promo_not_started",
  "message": "This promo has not started yet.",
  "reasons": ["not_started", "country"]
}
```

- `details` lists the violations of a 400: where (`in` and a JSON pointer), and the rule that was broken.
- `reasons` lists all reasons against an activation. `code` is that of the first.
- 401 has the header `WWW-Authenticate`. 429, 503 and the code `antifraud_unavailable` have `Retry-After`, in seconds.
"""


def codes() -> list[str]:
    """Return all codes, in the order of api.yml."""
    listed: list[str] = specification()["components"]["schemas"]["ErrorCode"]["x-extensible-enum"]
    return listed


def codes_of(operation: Operation) -> dict[str, list[str]]:
    """Return the codes of an operation by status: the examples of its error responses."""
    examples = {
        status: _resolve(response).get("content", {}).get("application/json", {}).get("examples", {})
        for status, response in operation.declared["responses"].items()
    }
    return {status: list(found) for status, found in examples.items() if status >= "400" and _has_codes(found)}


def _has_codes(examples: dict[str, Any]) -> bool:
    """Return whether these are errors; the 503 of GET /health is none."""
    return all("code" in _resolve(example)["value"] for example in examples.values())


def rendered() -> str:
    """Return the page."""
    statuses: dict[str, str] = {}
    rows = []
    for operation in OPERATIONS:
        for status, found in sorted(codes_of(operation).items()):
            statuses |= dict.fromkeys(found, status)
            rows.append(f"| {operation.id} | {status} | {', '.join(f'`{code}`' for code in found)} |")
    return "\n".join(
        [
            _HEAD,
            "## Codes",
            "",
            "A code without a status can be in the response to any request.",
            "",
            "| Code | Status | Meaning | Message | Advice |",
            "|---|---|---|---|---|",
            *(_code_row(code, statuses) for code in codes()),
            "",
            "## Codes by operation",
            "",
            "| Operation | Status | Codes |",
            "|---|---|---|",
            *rows,
            "",
        ]
    ).replace("|  |", "| |")


def _code_row(code: str, statuses: dict[str, str]) -> str:
    example = specification()["components"]["examples"][code]
    cells = (f"`{code}`", statuses.get(code, ""), example["summary"], example["value"]["message"])
    return f"| {' | '.join(cells)} | {example.get('description', '')} |"


def _resolve(node: Any) -> Any:
    """Return the component that a reference names, or the node itself."""
    if "$ref" not in node:
        return node
    _, _, kind, name = node["$ref"].split("/")
    return specification()["components"][kind][name]


def main() -> None:
    """Write the page."""
    (ROOT / PAGE).write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
