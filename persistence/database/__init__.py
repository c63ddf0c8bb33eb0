"""The database as a server.

| Module | What it does |
|---|---|
| engine | the connection pool |
| timeouts | client-side response timeouts |
| statements | compiled statements: the one way to run SQL |
| errors | translation of PostgreSQL's errors |
| revisions | the schema revision |
| server | version and settings of a server |
| cluster | the servers of a Citus cluster |
"""
