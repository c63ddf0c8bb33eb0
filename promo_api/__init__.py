"""The shell around the contract: api.yml at the top, plain handlers and a thin persistence layer below.

A map, from the outside in:

| Module | What it does |
|---|---|
| __main__ | the commands: serve, dev, migrate, check, antifraud-stub |
| settings, setting_values | every setting, read once, and how their values are written |
| gunicorn_conf, acceptor, files, memory | how the processes run, accept connections, limit files and release memory |
| logs, log_stream, request_log | what they write: lines, where these go, and the one of each request |
| telemetry/ | request instrumentation |
| app | api.yml + contract layer + handlers, bound to a runtime |
| contract/ | all that knows Connexion, Starlette or Flask from inside |
| runtime | what a handler gets: settings, database, antifraud, limits, passwords, tokens, clock and more |
| tokens, passwords | each around one library |
| antifraud | may this user activate? The rule, with one attempt at a time for each user |
| verdicts, antifraud_client, breaker | its parts: what Redis keeps, one call over HTTP, when to call no more |
| admission | thread pools, whose turn a request takes, and what is refused on arrival |
| limits | how often one may fail to sign in, sign up, like, comment, activate or create promos |
| redis_url, redis_client | where Redis is: one server, Sentinels or a Cluster |
| background | threads that repeat a task and survive any error |
| sweeper | background jobs that delete expired responses, merge changes of feeds and finish account deletions |
| batches | work that several threads want done is done together |
| health | is what the service needs well? Asked often, and in nobody's way |
| metrics, exposition | what is counted, and how Prometheus gets it |
| specification | the values of api.yml that the code needs |
| errors | what can go wrong with a request, one class for each meaning |
| check | looks at everything that the service needs |
| sandbox/ | embedded PostgreSQL, Valkey and an anti-fraud stand-in, for `dev` and the tests |

Beside this package: `handlers/` (one function per operationId) and `persistence/` (tables and statements).
"""

from pathlib import Path

__version__ = "0.1.0"

SPECIFICATION = Path(__file__).parent.parent / "api.yml"
