"""Is it alive, and is it well?"""

from typing import Any

from handlers import Body, Headers
from promo_api.health import Finding
from promo_api.runtime import Runtime

_TRY_AGAIN_S = 1


def ping(_runtime: Runtime) -> Body:
    """Answer, without asking anything that could be down."""
    return {"status": "ok"}


def get_health(runtime: Runtime) -> Body | tuple[Body, int, Headers]:
    """Say how what the service needs is, and whether requests should be sent elsewhere."""
    report = runtime.health.report()
    schema = {"needed": report.needed_revision}
    if report.found_revision is not None:
        schema["found"] = report.found_revision
    body: Body = {
        "status": report.status,
        "version": runtime.health.version,
        "schema": schema,
        "dependencies": {name: _shape(finding) for name, finding in report.findings.items()},
    }
    if report.is_draining:
        body["draining"] = True
    return (body, 503, {"Retry-After": str(_TRY_AGAIN_S)}) if report.status == "failing" else body


def _shape(finding: Finding) -> dict[str, Any]:
    shape: dict[str, Any] = {"state": "down" if finding.reason else "up"}
    if finding.latency_ms is not None:
        shape["latency_ms"] = round(finding.latency_ms, 1)
    if finding.reason:
        shape["reason"] = finding.reason
    return shape
