"""The stories of test_story.py and test_readme.py, on the containers."""

from tests.e2e.test_readme import test_example_session
from tests.e2e.test_story import (
    test_concurrent_activations_on_two_workers,
    test_contract_is_served,
    test_documentation_page,
    test_sign_in_revokes_tokens_on_all_workers,
    test_whole_story,
)

__all__ = [
    "test_concurrent_activations_on_two_workers",
    "test_contract_is_served",
    "test_documentation_page",
    "test_example_session",
    "test_sign_in_revokes_tokens_on_all_workers",
    "test_whole_story",
]
