"""The table of the measurement of growth: what counts as met, and what is no answer."""

import pytest

from tests.bench.growth import Question, Row, _check

_QUESTION = Question(8080, "/user/feed", "token", total=3)


@pytest.mark.parametrize(("much_ms", "told"), [(4.0, "met"), (4.1, "NOT MET")])
def test_verdict(much_ms: float, told: str) -> None:
    """A row is met up to its bound, by the medians, whatever a few answers took."""
    row = Row("feed", 2, _QUESTION, _QUESTION, little_ms=[2.0, 2.0, 9.0], much_ms=[0.1, much_ms, 900.0])
    assert row.ratio == pytest.approx(much_ms / 2)
    assert str(row).endswith(f"  {told}")


@pytest.mark.parametrize(("total", "body"), [("3", b"[]"), (None, b'{"activations_count": 3}')])
def test_right_answer(total: str | None, body: bytes) -> None:
    """An answer tells of as many things as there are, in its header or its body."""
    _check(_QUESTION, 200, total, body)
    with pytest.raises(RuntimeError, match="/user/feed tells of 3 where there are 4"):
        _check(Question(8080, "/user/feed", "token", total=4), 200, total, body)


def test_refusal() -> None:
    """An answer that is an error is not measured."""
    with pytest.raises(RuntimeError, match="answered with 503"):
        _check(_QUESTION, 503, "3", b"{}")
