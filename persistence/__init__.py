"""Everything that is stored in PostgreSQL.

database/     connections, how statements run, the state of a server
schema/       the tables: what a row means, and who writes it
conditions    when a promo is active, and which users it targets
feeds/        feed pages, exact feed totals, and the derived tables that make both fast
accounts/     sign-in, users, companies, account events, account deletion, exports
promos/       promos of a company, their changes, their code lists
activations, likes, comments, kept_answers    one module for each
pages         pages by limit and offset
consistency   derived data compared with its source
migrations/   Alembic revisions

Rows leave as frozen dataclasses. One statement decides each race, and returns no row if it is lost. The caller opens
and ends transactions.
"""
