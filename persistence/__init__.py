"""Queries of PostgreSQL.

| Module | What it does |
|---|---|
| database/ | connections and statements |
| schema/ | the tables |
| conditions | when a promo is active, whom it targets, which events a webhook receives |
| search | words of promos, and queries for them |
| user_uses | the number of activations of a user |
| accounts/ | sign-in, companies, users, account deletion |
| promos/ | company promos |
| feeds/ | feed pages, exact totals |
| activations, likes, comments, comment_reports | user actions |
| redemptions | redemptions of codes |
| activity, activity_backfills | statistics over time, and the counting of what happened before they existed |
| jobs | jobs of companies, with their files and rejected rows |
| events | events of companies |
| webhooks/ | webhooks of companies, and what is delivered to them |
| idempotency | stored responses |
| account_writes | positions of writes, for reads from replicas |
| pages | pages by offset or after a key |
| consistency | checks of derived data |
| distribution | the tables on several servers, with Citus |
| migrations/ | Alembic revisions |

One statement decides each race, and returns no row to the loser. The caller opens and ends transactions.
"""
