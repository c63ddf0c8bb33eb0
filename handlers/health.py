"""Liveness and health of the service."""

from typing import Any

from handlers import Body, Headers
from promo_api.health import DependencyHealth
from promo_api.runtime import Runtime

_RETRY_AFTER_S = 1


def ping(_runtime: Runtime) -> Body:
    """Respond without using any dependency."""
    return {"status": "ok"}


def get_health(runtime: Runtime) -> Body | tuple[Body, int, Headers]:
    """Return the state of the dependencies; 503 if the service cannot work without them."""
    report = runtime.health.report()
    schema = {"needed": report.needed_revision}
    if report.current_revision is not None:
        schema["found"] = report.current_revision
    body: Body = {
        "status": report.status,
        "version": runtime.health.version,
        "schema": schema,
        "dependencies": {name: _serialize(dependency) for name, dependency in report.dependencies.items()},
    }
    if report.warnings:
        body["warnings"] = list(report.warnings)
    if report.is_draining:
        body["draining"] = True
    return (body, 503, {"Retry-After": str(_RETRY_AFTER_S)}) if report.status == "failing" else body


def _serialize(dependency: DependencyHealth) -> dict[str, Any]:
    body: dict[str, Any] = {"state": "down" if dependency.reason else "up"}
    if dependency.latency_ms is not None:
        body["latency_ms"] = round(dependency.latency_ms, 1)
    if dependency.reason:
        body["reason"] = dependency.reason
    return body
