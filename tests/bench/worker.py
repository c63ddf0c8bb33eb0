"""The gunicorn worker of the service, for applications that gunicorn loads by name."""

from typing import Any

from promo_api.config.settings import Settings
from promo_api.server.gunicorn_app import Worker


class BenchWorker(Worker):
    """Runs with default settings. In the service, `GunicornApp` provides them."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.app.on_drain = lambda: None
        self.app.settings = Settings(antifraud_address="127.0.0.1:1", secret_key="-" * 32)
