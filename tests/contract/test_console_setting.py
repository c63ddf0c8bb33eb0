"""The setting CONSOLE."""

from dataclasses import replace

import pytest

from promo_api.app import create_app
from promo_api.runtime import Runtime
from tests.contract.asgi import call


@pytest.mark.parametrize(("is_on", "status"), [(True, 200), (False, 404)])
def test_console_setting(bare_runtime: Runtime, is_on: bool, status: int) -> None:
    """The console is served by default, and not found if the setting is off."""
    runtime = replace(bare_runtime, settings=replace(bare_runtime.settings, console=is_on))
    assert call(create_app(runtime), "GET", "/console/").status == status
