"""The reasons why an activation is refused: api.yml lists them, and the code has a condition and a message for each."""

from handlers import user_activations
from persistence import activations
from promo_api.specification import ELIGIBILITY_REASONS


def test_conditions() -> None:
    """Each reason has a condition, in the order of api.yml; `blocked` is a cached verdict."""
    assert [*activations._REASONS, "blocked"] == [*ELIGIBILITY_REASONS]


def test_messages() -> None:
    """Each refusal has a message."""
    assert user_activations._MESSAGES.keys() == {*activations._REASONS, "antifraud"}
