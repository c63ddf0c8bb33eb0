"""The reasons why an activation is refused: api.yml lists them, and the code has a condition and a message for each."""

from handlers import user_activations
from persistence import activations
from promo_api.specification import REFUSAL_REASONS


def test_conditions() -> None:
    """Each reason has a condition, in the order of api.yml; the last two come from the anti-fraud check."""
    assert [*activations._REASONS, "blocked", "antifraud_unavailable"] == [*REFUSAL_REASONS]


def test_messages() -> None:
    """Each reason has another code, and a message."""
    assert user_activations._REFUSALS.keys() == {*REFUSAL_REASONS}
    assert len(set(user_activations._REFUSALS.values())) == len(REFUSAL_REASONS)
