"""The Promo Code API: everything but the operations (`handlers/`) and the database (`persistence/`).

| Module | What it does |
|---|---|
| __main__ | the commands: serve, migrate, check, dev, antifraud-stub |
| config/ | settings |
| server/ | the processes: gunicorn and uvicorn |
| app | the application: api.yml, the contract layer, the handlers |
| contract/ | makes the server follow api.yml |
| admission | thread pools, and requests refused on arrival |
| runtime | the services that handlers use |
| errors | the errors of requests |
| specification | values of api.yml that the code needs |
| security/ | tokens, passwords, rate limits |
| antifraud/ | the anti-fraud check of an activation |
| circuit_breaker | refuses calls to an unavailable service |
| coalescing | processes concurrent requests for a promo together |
| redis_client | a client for Redis |
| background, sweeper | background jobs, and the jobs that clean the database |
| health | health of the dependencies |
| failure_messages | why a dependency is unavailable, in words |
| check, clocks | the command `check`, and its comparison of clocks |
| telemetry/ | logs and metrics |
| dev/ | embedded servers for `dev` and the tests |
"""

from pathlib import Path

__version__ = "0.1.0"

SPECIFICATION = Path(__file__).parent.parent / "api.yml"
