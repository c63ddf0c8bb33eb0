"""The values of api.yml that the code needs."""

from typing import Any

from promo_api import SPECIFICATION
from promo_api.contract.document import read_document


def _changeable(resource: Any, change: Any) -> tuple[str, ...]:
    """Return the members of a resource that clients can change."""
    return tuple(name for name in change["properties"] if name in resource["properties"])


def _success(document: Any, path: str) -> Any:
    return document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


def _paths(document: Any) -> dict[str, str]:
    """Return the path of each operation, with the base path."""
    base_path = document["servers"][0]["url"]
    operations = ((path, each) for path, item in document["paths"].items() for each in item.values())
    return {each["operationId"]: base_path + path for path, each in operations}


_document = read_document(SPECIFICATION)
_schemas = _document["components"]["schemas"]

PATHS = _paths(_document)
VERSION: str = _document["info"]["version"]
MAX_TOKEN_CHARS: int = _schemas["Token"]["maxLength"]
MAX_PAGE_ENTRIES: int = _success(_document, "/user/feed")["maxItems"]
MAX_LISTED_CODES: int = _schemas["PromoListedUnique"]["properties"]["promo_unique"]["maxItems"]
UNIQUE_CODE: dict[str, Any] = _schemas["UniqueCode"]
MAX_KEYS: int = _success(_document, "/business/keys")["maxItems"]
MAX_WEBHOOKS: int = _success(_document, "/business/webhooks")["maxItems"]
KEY_SCOPES: tuple[str, ...] = tuple(_schemas["KeyScope"]["enum"])
MAX_NEW_CODES: int = _schemas["CodeGeneration"]["properties"]["count"]["maximum"]
JOB_KINDS: tuple[str, ...] = tuple(_schemas["JobKind"]["x-extensible-enum"])
JOB_FAILURES: tuple[str, ...] = tuple(_schemas["JobFailure"]["x-extensible-enum"])
REDEMPTION_STATES: tuple[str, ...] = tuple(_schemas["RedemptionState"]["x-extensible-enum"])
REDEMPTION_REASONS: tuple[str, ...] = tuple(_schemas["RedemptionReason"]["x-extensible-enum"])
EVENT_TYPES: tuple[str, ...] = tuple(_schemas["EventType"]["x-extensible-enum"])
MAX_CANDIDATES: int = _schemas["PromoCandidates"]["maxItems"]
MAX_BUCKETS: int = _schemas["Series"]["properties"]["buckets"]["maxItems"]
MAX_PERCENT: int = _schemas["Job"]["properties"]["percent"]["maximum"]
MAX_CODES: int = _schemas["CodesCount"]["maximum"]
MAX_EXPORT_ENTRIES: int = _schemas["UserExport"]["properties"]["likes"]["maxItems"]
REFUSAL_REASONS: tuple[str, ...] = tuple(_schemas["RefusalReason"]["x-extensible-enum"])
PROMO_MEMBERS = _changeable(_schemas["PromoReadOnlyCommon"], _schemas["PromoPatch"])
USER_MEMBERS = _changeable(_schemas["User"], _schemas["UserPatch"])
COMPANY_MEMBERS = _changeable(_schemas["CompanyProfile"], _schemas["CompanyPatch"])
COMMENT_MEMBERS = _changeable(_schemas["Comment"], _schemas["CommentWrite"])

del _document, _schemas
