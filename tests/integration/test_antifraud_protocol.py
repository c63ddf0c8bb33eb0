"""docs/antifraud-service.yml describes the requests of the client, and the responses that it accepts."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
import requests
import yaml
from openapi_spec_validator import validate

from promo_api.antifraud.client import AntifraudClient, NoVerdict, _verdict
from promo_api.config.settings import Settings
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from tests.integration.test_antifraud import INVALID_RESPONSES
from tests.integration.test_antifraud_client import YES, Service, _sized
from tests.pages import ROOT
from tests.specification import specification

_DOCUMENT = yaml.safe_load((ROOT / "docs" / "antifraud-service.yml").read_text(encoding="utf-8"))
_PATH = "/api/validate"
_OPERATION = _DOCUMENT["paths"][_PATH]["post"]


def _validator(name: str) -> Any:
    return jsonschema_rs.Draft4Validator(_DOCUMENT["components"]["schemas"][name], validate_formats=True)


_ATTEMPT, _VERDICT = _validator("Attempt"), _validator("Verdict")


def test_file_is_openapi() -> None:
    """The file is valid OpenAPI 3.0, and its examples are valid."""
    validate(_DOCUMENT)
    assert _ATTEMPT.is_valid(_DOCUMENT["components"]["schemas"]["Attempt"]["example"])
    assert _VERDICT.is_valid(_DOCUMENT["components"]["schemas"]["Verdict"]["example"])
    assert all(_VERDICT.is_valid(body) for body in _examples())


def _examples() -> Iterator[Any]:
    yield from (
        each["value"] for each in _OPERATION["responses"]["200"]["content"]["application/json"]["examples"].values()
    )


def test_requests_of_the_client(settings: Settings) -> None:
    """The client sends requests of this form."""
    with Service(_sized(YES)) as service:
        address = f"http://127.0.0.1:{service.port}"
        with closing(AntifraudClient(replace(settings, antifraud_address=address))) as client:
            client.ask("Ann.O'Neil@mail.example", uuid4())
    [[request]] = service.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == f"POST {_PATH} HTTP/1.1"
    assert "Content-Type: application/json" in headers
    assert list(_OPERATION["requestBody"]["content"]) == ["application/json"]
    assert _ATTEMPT.validate(json.loads(body)) is None


def test_longest_email() -> None:
    """The maximum length of an e-mail address is that of api.yml."""
    email = _DOCUMENT["components"]["schemas"]["Attempt"]["properties"]["user_email"]
    api = specification()
    assert email["maxLength"] == api["components"]["schemas"]["Email"]["maxLength"]


@pytest.mark.parametrize("behaviour", [{}, {"ok": False}, {"cache_ms": 60_000}, {"ok": False, "cache_ms": -1}])
def test_responses_of_the_stub(behaviour: dict[str, Any]) -> None:
    """The stub responds in this form, and the client accepts its responses."""
    attempt = _DOCUMENT["components"]["schemas"]["Attempt"]["example"]
    with EmbeddedAntifraud() as stub:
        requests.put(f"http://{stub.address}/stub/behaviour", json=behaviour, timeout=10)
        response = requests.post(f"http://{stub.address}{_PATH}", json=attempt, timeout=10)
    assert str(response.status_code) in _OPERATION["responses"]
    assert response.headers["Content-Type"] == "application/json"
    assert _VERDICT.validate(response.json()) is None
    assert _verdict(response.content).ok is behaviour.get("ok", True)


def test_valid_responses() -> None:
    """The client accepts the examples, and every form of a time that is valid here."""
    times = [
        "2026-01-31T09:30:00",
        "2026-01-31T09:30:00.1",
        "2026-01-31T09:30:00.125",
        "2026-01-31T09:30:00.123456789",
        "2026-01-31T09:30:00.125Z",
        "2026-01-31T23:59:59+03:00",
        "9999-12-31T23:59:59.999",
    ]
    bodies = [*_examples(), {"ok": True, "score": 0.3}, *({"ok": False, "cache_until": each} for each in times)]
    for body in bodies:
        assert _VERDICT.is_valid(body), body
        assert _verdict(json.dumps(body).encode()).ok is body["ok"]


@pytest.mark.parametrize("body", [each["body"] for each in INVALID_RESPONSES if "body" in each])
def test_invalid_responses(body: str) -> None:
    """The client rejects invalid responses. It also rejects times out of the range of dates, which a pattern cannot."""
    with pytest.raises(NoVerdict):
        _verdict(body.encode())
    try:
        valid = _VERDICT.is_valid(json.loads(body))
    except json.JSONDecodeError:
        return
    assert valid == ("-01:00" in body or "+01:00" in body)
