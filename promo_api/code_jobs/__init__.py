"""Background jobs that add codes to UNIQUE promos.

| Module | What it does |
|---|---|
| code_rules | which codes are allowed |
| rows | the rows of an uploaded file |
| patterns | generated codes |
| added_codes | limit, feed entries and audit log of a promo with new codes |
| runner | works through the jobs |
"""
