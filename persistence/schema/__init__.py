"""The tables.

| Module | What it does |
|---|---|
| tables | accounts, promos, activations, likes, comments |
| audit_tables | the append-only audit log |
| feed_tables | derived data for feeds |
| orders | sort orders of indexes and statements |
"""
