"""Background jobs that add codes to UNIQUE promos.

| Module | What it does |
|---|---|
| code_rules | which codes are allowed |
| rows | the rows of an uploaded file |
| patterns | generated codes |
| runner | works through the jobs |
"""
