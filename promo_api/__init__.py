"""The Promo Code API: everything but the operations (`handlers/`) and the database (`persistence/`).

| Module | What it does |
|---|---|
| __main__ | the commands: serve, migrate, check, reset-password, close-account, dev, demo, antifraud-stub |
| config/ | settings |
| server/ | the processes: gunicorn and uvicorn |
| app | the application: api.yml, the contract layer, the handlers |
| contract/ | makes the server follow api.yml |
| console/ | the console for companies |
| key_authentication | the company of an API key |
| admission | thread pools, and requests refused on arrival |
| runtime | the services that handlers use |
| errors | the errors of requests |
| folding | keys for the comparison of texts |
| specification | values of api.yml that the code needs |
| security/ | tokens, API keys, passwords, rate limits |
| antifraud/ | the anti-fraud check of an activation |
| circuit_breaker | refuses calls to an unavailable service |
| coalescing | processes concurrent requests for a promo together |
| code_jobs/ | works through the jobs that add codes |
| mail/ | mails that reset a password, and about disabled webhooks |
| webhooks/ | delivery of events to webhooks |
| redis_client | a client for Redis |
| replicas | reads from replicas of PostgreSQL |
| time_buckets | hours, days, weeks and months of a time zone |
| short_turns | lets requests run between the steps of a long computation |
| background, backoff | threads that repeat a task, and pauses after failures |
| sweeper, inventory | background jobs: cleaning of the database, and a count for metrics |
| event_sweepers | background jobs that publish and delete events |
| webhook_sweepers | background jobs that clean up webhooks and send mails about them |
| health | health of the dependencies |
| failure_messages | why a dependency is unavailable, in words |
| check, clocks, replica_check | the command `check`, with its comparison of clocks and its check of a replica |
| stored_counts | the counts that `check` computes again |
| distribute | the command `distribute` |
| operator_commands | the commands `reset-password` and `close-account` |
| telemetry/ | logs and metrics |
| dev/ | embedded servers for `dev` and the tests |
"""

from pathlib import Path

__version__ = "0.2.0"

SPECIFICATION = Path(__file__).parent.parent / "api.yml"
