"""The shell around the contract: api.yml at the top, plain handlers and a thin persistence layer below.

A map, from the outside in:

| Module | What it does |
|---|---|
| __main__ | the commands: serve, dev, migrate, check, antifraud-stub |
| settings, setting_values | every setting, read once, and how their values are written |
| gunicorn_conf, acceptor, files, memory | how the processes run, accept connections, limit files and release memory |
| logs, log_stream, request_log | what they write: lines, where these go, and the one of each request |
| app | api.yml + contract layer + handlers, bound to a runtime |
| contract/ | all that knows Connexion, Starlette or Flask from inside |
| runtime | what a handler gets: settings, database, antifraud, rate limits, passwords, tokens, clock and more |
| tokens, passwords | each around one library |
| antifraud | may this user activate? One attempt per user at a time calls the service |
| verdicts, antifraud_client, breaker | its parts: verdict cache and leases in Redis, HTTP client, circuit breaker |
| admission | thread pools, whose turn a request takes, and what is refused on arrival |
| limits | rate limits of accounts and client addresses |
| rate_limit_counter, local_counters | their counters: in Redis, and in the memory of a worker |
| redis_url, redis_client | where Redis is: one server, Sentinels or a Cluster |
| background | threads that repeat a task and survive any error |
| sweeper | background jobs that delete expired responses, merge changes of feeds and finish account deletions |
| coalescing | concurrent requests for the same thing are processed together |
| health | is what the service needs well? Asked often, and in nobody's way |
| metrics, exposition | what is counted, and how Prometheus gets it |
| errors | what can go wrong with a request, one class for each meaning |
| check | looks at everything that the service needs |
| sandbox/ | embedded PostgreSQL, Valkey and an anti-fraud stand-in, for `dev` and the tests |

Beside this package: `handlers/` (one function per operationId) and `persistence/` (tables and statements).
"""

from pathlib import Path

__version__ = "0.1.0"

SPECIFICATION = Path(__file__).parent.parent / "api.yml"
