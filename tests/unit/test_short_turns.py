"""Short turns of threads during long computations."""

from sys import getswitchinterval

import pytest

from promo_api.short_turns import short_turns


def test_turns_during_computations() -> None:
    """Turns are short until the last of several computations ends, also by an error."""
    before_s = getswitchinterval()
    with short_turns():
        with pytest.raises(ZeroDivisionError), short_turns():
            _ = 1 / 0
        assert getswitchinterval() < before_s
    assert getswitchinterval() == before_s
