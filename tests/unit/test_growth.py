"""tests.bench.growth: when a row is met, and which responses are wrong."""

import pytest

from tests.bench.growth import Query, Row, _check

_QUERY = Query(8080, "/user/feed", "token", total=3)


@pytest.mark.parametrize(("much_ms", "verdict"), [(4.0, "met"), (4.1, "NOT MET")])
def test_verdict(much_ms: float, verdict: str) -> None:
    """A row is met if the ratio of the medians is at most its limit."""
    row = Row("feed", 2, _QUERY, _QUERY, little_ms=[2.0, 2.0, 9.0], much_ms=[0.1, much_ms, 900.0])
    assert row.ratio == pytest.approx(much_ms / 2)
    assert str(row).endswith(f"  {verdict}")


@pytest.mark.parametrize(("total", "body"), [("3", b"[]"), (None, b'{"activations_count": 3}')])
def test_total(total: str | None, body: bytes) -> None:
    """The total in the header or the body must be the expected one."""
    _check(_QUERY, 200, total, body)
    with pytest.raises(RuntimeError, match="/user/feed returned a total of 3 instead of 4"):
        _check(Query(8080, "/user/feed", "token", total=4), 200, total, body)


def test_error_response() -> None:
    """An error response ends the measurement."""
    with pytest.raises(RuntimeError, match="responded with status 503"):
        _check(_QUERY, 503, "3", b"{}")
