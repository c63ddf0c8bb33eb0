"""The shell around the contract: api.yml at the top, plain handlers and a thin persistence layer below.

A map, from the outside in:

| Module | What it does |
|---|---|
| __main__ | the commands: serve, dev, migrate, check, antifraud-stub |
| settings, setting_values | every setting, read once, and how their values are written |
| server/ | the processes: gunicorn and uvicorn, strict HTTP, limits of connections, the graceful stop |
| logs, log_stream, request_log | what they write: lines, where these go, and the one of each request |
| telemetry/ | request instrumentation |
| app | api.yml + contract layer + handlers, bound to a runtime |
| contract/ | all that knows Connexion, Starlette or Flask from inside |
| runtime | what a handler gets: settings, database, antifraud, rate limits, passwords, tokens, clock and more |
| tokens, passwords | each around one library |
| antifraud | may this user activate? The rule, with one attempt at a time for each user |
| verdicts, antifraud_client | its parts: what Redis keeps, one call over HTTP |
| circuit_breaker | refuses calls to an unavailable service: anti-fraud, PostgreSQL |
| admission | thread pools, whose turn a request takes, and what is refused on arrival |
| limits | rate limits of accounts and client addresses |
| rate_limit_counter, local_counters | their counters: in Redis, and in the memory of a worker |
| redis_url, redis_client | where Redis is: one server, Sentinels or a Cluster |
| background | threads that repeat a task and survive any error |
| sweeper | background jobs that delete expired responses, merge changes of feeds and finish account deletions |
| coalescing | concurrent requests for the same thing are processed together |
| health | is what the service needs well? Asked often, and in nobody's way |
| metrics, metrics_server | the metrics, and the port from which Prometheus reads them |
| specification | the values of api.yml that the code needs |
| errors | what can go wrong with a request, one class for each meaning |
| check | looks at everything that the service needs |
| dev/ | embedded PostgreSQL and Valkey and an anti-fraud stub, for `dev` and the tests |

Beside this package: `handlers/` (one function per operationId) and `persistence/` (tables and statements).
"""

from pathlib import Path

__version__ = "0.1.0"

SPECIFICATION = Path(__file__).parent.parent / "api.yml"
