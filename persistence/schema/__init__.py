"""The tables.

| Module | What it does |
|---|---|
| tables | accounts, promos, and what users do with promos |
| audit_tables | the append-only audit log |
| feed_tables | derived data for feeds |
| orders | sort orders that indexes and statements share |
"""
