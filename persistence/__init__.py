"""What the service keeps, in PostgreSQL: tables, statements and their migrations.

`engine` has the connection pool, `timeouts` its connections, `errors` what their errors mean. `tables`, `feed_tables`
and `trail_tables` say what a row of each table means, and one module per entity holds its statements. Rows leave as
frozen dataclasses. A decision is one statement
that returns no row when it is lost; nothing here commits by itself, sends HTTP or hashes a password.
"""
