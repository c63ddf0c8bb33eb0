"""The stories that are told of a server, told of the containers."""

from tests.e2e.test_readme import test_story_in_curl
from tests.e2e.test_story import (
    test_contract_is_served,
    test_documentation_page,
    test_sign_in_ends_tokens_on_all_processes,
    test_values_of_two_processes,
    test_whole_story,
)

__all__ = [
    "test_contract_is_served",
    "test_documentation_page",
    "test_sign_in_ends_tokens_on_all_processes",
    "test_story_in_curl",
    "test_values_of_two_processes",
    "test_whole_story",
]
