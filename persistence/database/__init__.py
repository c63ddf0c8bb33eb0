"""The database as a server.

| Module | What it does |
|---|---|
| engine | the connection pool |
| timeouts | connections that stop waiting for an unresponsive server |
| statements | compiled statements: the one way to run SQL |
| errors | errors of PostgreSQL, translated for requests |
| revisions | the schema revision |
| server | version and settings of a server |
"""
