"""Queries of PostgreSQL.

| Module | What it does |
|---|---|
| database/ | connections, and how statements run |
| schema/ | the tables |
| conditions | when a promo is active, and which users it targets |
| accounts/ | sign-in, companies, users, account deletion |
| promos/ | promos of a company |
| feeds/ | promos of a user: feed pages, exact totals |
| activations, likes, comments | what a user does with a promo |
| idempotency | stored responses by idempotency key |
| pages | pages by limit and offset |
| consistency | compares derived data with its source |
| migrations/ | Alembic revisions |

Queries return rows as frozen dataclasses. One statement decides each race, and returns no row to the loser. The caller
opens and ends transactions.
"""
