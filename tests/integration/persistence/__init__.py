"""Persistence against a real PostgreSQL: migrations, connections and their limits, failures, plans."""
