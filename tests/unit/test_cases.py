"""`all_cases` runs every case of a test and reports every failure."""

import pytest

from tests.cases import all_cases


def test_every_case_runs() -> None:
    """The other cases run after a failure, and each failure names its case."""
    seen: list[tuple[int, str]] = []

    @all_cases("number", [1, pytest.param(2, id="two"), 3])
    @all_cases(("text", "fails"), [("a", False), ("b", True)])
    def example(number: int, text: str, fails: bool) -> None:
        seen.append((number, text))
        assert not fails or number == 2

    with pytest.raises(ExceptionGroup, match="2 of 3 cases failed") as caught:
        example()
    assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "b")]
    assert [error.__notes__ for error in caught.value.exceptions] == [["case: {'number': 1}"], ["case: {'number': 3}"]]


@all_cases("text", ["x"])
def test_fixtures_reach_the_test(text: str, request: pytest.FixtureRequest) -> None:
    """The other arguments of a test are fixtures."""
    assert (text, request.node.name) == ("x", "test_fixtures_reach_the_test")
